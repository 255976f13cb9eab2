//! Directives whose fate does not depend on what they say.

use super::remark::Fate::{self, Changed, Left, Unneeded};

/// Some directives, and what becomes of them.
pub(super) type Known = (&'static [&'static str], Fate, &'static str);

const ANNOUNCED: &str =
    "a new holder announces its VIPs at once, several times, and at a pace that switches bear";
const OWN_PROTOCOL: &str = "the machines talk to each other by a protocol of their own, which is no VRRP";
const PUNCTUAL: &str = "heartbeats have real-time priority and locked memory anyway";
const NO_MAIL: &str = "no mail is sent: let the group's notify run a script that sends it";
const LVS: &str = "IPVS is not configured here: keep it in ipvsadm, ldirectord or a keepalived of virtual_server sections alone";
const ADVERT: &str = "leases take the place of adverts and timers: see interval and lease";
const STATIC: &str =
    "what is always there belongs to the system's network configuration (systemd-networkd, ifupdown)";
const MOVES: &str = "addresses alone move: let notify_master and notify_backup run `ip route` or `ip rule`";

/// Blocks and directives outside of all blocks.
pub(super) const TOP: &[Known] = &[
    (&["virtual_server", "virtual_server_group", "SSL"], Left, LVS),
    (&["bfd_instance"], Left, "a dead holder is found out by the end of its lease: see lease"),
    (&["static_ipaddress", "static_routes", "static_rules", "static_virtual_ipaddress"], Left, STATIC),
    (&["track_group"], Left, "is for static addresses and routes, which are not made here"),
    (&["garp_group"], Unneeded, ANNOUNCED),
    (&["linkbeat_interfaces", "linkbeat_use_polling"], Unneeded, "the kernel tells when a carrier is lost"),
    (&["interface_up_down_delays"], Left, "a carrier that is lost counts at once"),
    (
        &["net_namespace"],
        Left,
        "start the daemon within it: NetworkNamespacePath= in its unit, or ip netns exec",
    ),
    (&["net_namespace_ipvs"], Left, LVS),
    (
        &["instance", "use_pid_dir", "namespace_with_ipsets", "child_wait_time"],
        Unneeded,
        "there is one daemon per interface, and no file of its process id",
    ),
];

/// In `global_defs`.
pub(super) const GLOBALS: &[Known] = &[
    (
        &[
            "notification_email",
            "notification_email_from",
            "smtp_server",
            "smtp_helo_name",
            "smtp_connect_timeout",
            "no_email_faults",
            "email_to",
        ],
        Unneeded,
        "is for mail alone; see smtp_alert",
    ),
    (&["smtp_alert", "smtp_alert_vrrp"], Left, NO_MAIL),
    (&["smtp_alert_checker", "checker_log_all_failures"], Left, LVS),
    (
        &[
            "vrrp_mcast_group4",
            "vrrp_mcast_group6",
            "vrrp_version",
            "vrrp_skip_check_adv_addr",
            "vrrp_check_unicast_src",
            "vrrp_strict",
            "vrrp_owner_ignore_adverts",
        ],
        Unneeded,
        OWN_PROTOCOL,
    ),
    (
        &["vrrp_down_timer_adverts", "vrrp_lower_prio_no_advert", "vrrp_higher_prio_send_advert"],
        Unneeded,
        ADVERT,
    ),
    (
        &[
            "vrrp_garp_master_delay",
            "vrrp_garp_master_repeat",
            "vrrp_garp_master_refresh",
            "vrrp_garp_master_refresh_repeat",
            "vrrp_garp_lower_prio_delay",
            "vrrp_garp_lower_prio_repeat",
            "vrrp_garp_lower_prio_rep",
            "vrrp_garp_interval",
            "vrrp_gna_interval",
            "vrrp_min_garp",
            "vrrp_garp_extra_if",
            "vrrp_garp_extra_if_vmac",
        ],
        Unneeded,
        ANNOUNCED,
    ),
    (
        &[
            "vrrp_iptables",
            "vrrp_ipsets",
            "nftables",
            "nftables_priority",
            "nftables_ifindex",
            "nftables_counters",
        ],
        Unneeded,
        "who does not hold a VIP is fenced off by XDP, without a firewall",
    ),
    (
        &[
            "vrrp_priority",
            "vrrp_no_swap",
            "vrrp_rt_priority",
            "vrrp_rlimit_rttime",
            "vrrp_rlimit_rtime",
            "vrrp_cpu_affinity",
            "vrrp_process_name",
            "process_names",
            "process_name",
            "checker_process_name",
            "bfd_process_name",
            "bfd_priority",
            "bfd_no_swap",
            "bfd_rt_priority",
            "bfd_rlimit_rttime",
            "bfd_cpu_affinity",
            "max_auto_priority",
            "min_auto_priority_delay",
            "vrrp_rx_bufs_policy",
            "vrrp_rx_bufs_multiplier",
            "use_symlink_paths",
        ],
        Unneeded,
        PUNCTUAL,
    ),
    (
        &[
            "notify_fifo",
            "vrrp_notify_fifo",
            "notify_fifo_script",
            "vrrp_notify_fifo_script",
            "fifo_write_vrrp_states_on_reload",
            "vrrp_notify_priority_changes",
        ],
        Left,
        "there is no FIFO: run its reader by notify, or have notify write to it",
    ),
    (
        &[
            "lvs_notify_fifo",
            "lvs_notify_fifo_script",
            "lvs_sync_daemon",
            "lvs_timeouts",
            "lvs_flush",
            "lvs_flush_on_stop",
            "lvs_flush_onstop",
            "lvs_netlink_cmd_rcv_bufs",
            "lvs_netlink_monitor_rcv_bufs",
            "checker_priority",
            "checker_no_swap",
            "checker_rt_priority",
            "checker_rlimit_rttime",
            "checker_cpu_affinity",
            "rs_init_notifies",
            "no_checker_emails",
        ],
        Left,
        LVS,
    ),
    (&["enable_script_security"], Changed, "not looked at: let root alone be able to write the scripts"),
    (
        &[
            "enable_snmp_vrrp",
            "enable_snmp_rfc",
            "enable_snmp_rfcv2",
            "enable_snmp_rfcv3",
            "enable_snmp_keepalived",
            "enable_snmp_checker",
            "enable_traps",
            "snmp_socket",
            "enable_dbus",
            "dbus_service_name",
        ],
        Left,
        "there is no SNMP and no D-Bus: programs read `vip-user status --json` or the metrics",
    ),
    (&["startup_script", "startup_script_timeout"], Left, "use ExecStartPre= in the service's unit"),
    (&["shutdown_script", "shutdown_script_timeout"], Left, "use ExecStopPost= in the service's unit"),
    (
        &["dynamic_interfaces", "allow_if_changes"],
        Left,
        "the interfaces have to be there when the daemon starts",
    ),
    (&["linkbeat_use_polling"], Unneeded, "the kernel tells when a carrier is lost"),
    (
        &[
            "disable_local_igmp",
            "log_unknown_vrids",
            "umask",
            "tmp_config_directory",
            "config_save_dir",
            "reload_check_config",
            "reload_time_file",
            "reload_repeat",
            "reload_file",
            "data_use_instance",
            "json_version",
            "vrrp_startup_delay",
            "random_seed",
            "plugin_dir",
            "iproute_usr_dir",
            "iproute_etc_dir",
            "vmac_prefix",
            "vmac_addr_prefix",
        ],
        Unneeded,
        "is about keepalived itself",
    ),
];

/// Anywhere, where VRRP is spoken beside keepalived: these mean something else then.
pub(super) const BESIDE: &[Known] = &[
    (&["mcast_src_ip"], Left, "adverts come from the interface's primary address"),
    (
        &["mcast_dst_ip", "vrrp_mcast_group4", "vrrp_mcast_group6"],
        Left,
        "adverts go to 224.0.0.18 and ff02::12: take it out on all machines",
    ),
    (&["down_timer_adverts", "vrrp_down_timer_adverts"], Left, "a backup waits for three adverts"),
    (&["vmac_xmit_base"], Left, "with virtual_mac, adverts come from the virtual MAC address"),
    (&["unicast_ttl", "old_unicast_checksum"], Left, "adverts are as RFC 5798 has them"),
    (
        &[
            "native_ipv6",
            "check_unicast_src",
            "vrrp_check_unicast_src",
            "skip_check_adv_addr",
            "vrrp_skip_check_adv_addr",
            "strict_mode",
            "vrrp_strict",
            "owner_ignore_adverts",
            "vrrp_owner_ignore_adverts",
            "kernel_rx_buf_size",
            "lower_prio_no_advert",
            "vrrp_lower_prio_no_advert",
            "higher_prio_send_advert",
            "vrrp_higher_prio_send_advert",
        ],
        Unneeded,
        "VRRP is spoken as RFC 9568 has it",
    ),
];

/// In `vrrp_instance`.
pub(super) const INSTANCE: &[Known] = &[
    (
        &[
            "version",
            "native_ipv6",
            "mcast_src_ip",
            "mcast_dst_ip",
            "check_unicast_src",
            "unicast_ttl",
            "old_unicast_checksum",
            "unicast_fault_no_peer",
            "skip_check_adv_addr",
            "strict_mode",
            "kernel_rx_buf_size",
            "owner_ignore_adverts",
        ],
        Unneeded,
        OWN_PROTOCOL,
    ),
    (&["lower_prio_no_advert", "higher_prio_send_advert", "down_timer_adverts"], Unneeded, ADVERT),
    (
        &[
            "garp_master_delay",
            "garp_master_repeat",
            "garp_master_refresh",
            "garp_master_refresh_repeat",
            "garp_lower_prio_delay",
            "garp_lower_prio_repeat",
            "garp_extra_if",
            "garp_interval",
            "gna_interval",
        ],
        Unneeded,
        ANNOUNCED,
    ),
    (&["linkbeat_use_polling"], Unneeded, "the kernel tells when a carrier is lost"),
    (
        &["debug", "promote_secondaries", "track_src_ip", "preempt", "accept"],
        Unneeded,
        "is so anyway, or not needed",
    ),
    (
        &["vmac_xmit_base", "vmac_garp_intvl"],
        Unneeded,
        "heartbeats have the interface's own MAC address anyway",
    ),
    (&["use_vmac_addr"], Changed, "see virtual_mac: it is for all VIPs of the group"),
    (
        &["use_ipvlan"],
        Left,
        "there is no ipvlan: the VIPs are on a dummy interface, behind the interface's own MAC address",
    ),
    (&["vrf"], Left, "the machines talk on node.iface"),
    (&["lvs_sync_daemon_interface", "lvs_sync_daemon"], Left, LVS),
    (&["dont_track_primary"], Left, "a machine without a carrier cannot serve, and does not hold its groups"),
    (
        &["no_accept"],
        Left,
        "a holder takes what is sent to its VIPs: drop it by a firewall, if it is to be a router only",
    ),
    (&["virtual_routes", "virtual_rules"], Left, MOVES),
    (&["track_bfd"], Left, "a dead holder is found out by the end of its lease"),
    (&["smtp_alert"], Left, NO_MAIL),
    (
        &["notify_priority_changes", "notify_deleted", "notify_master_rx_lower_pri"],
        Left,
        "scripts are told of MASTER, BACKUP, FAULT and STOP alone",
    ),
];

/// In `vrrp_sync_group`.
pub(super) const SYNC: &[Known] = &[
    (&["track_bfd"], Left, "a dead holder is found out by the end of its lease"),
    (&["smtp_alert"], Left, NO_MAIL),
    (
        &["notify_priority_changes", "notify_deleted"],
        Left,
        "scripts are told of MASTER, BACKUP, FAULT and STOP alone",
    ),
    (
        &["global_tracking", "sync_group_tracking_weight"],
        Unneeded,
        "the VIPs are one group, with one priority",
    ),
];

/// What is known of this directive.
pub(super) fn find(known: &'static [Known], keyword: &str) -> Option<(Fate, &'static str)> {
    let (_, fate, why) = known.iter().find(|(keywords, ..)| keywords.contains(&keyword))?;
    Some((*fate, why))
}

//! Metrics in the text format of Prometheus, with its conventions for names: base units, counters that end in `_total`.
//!
//! Everything is told of this node, as it sees it: what the whole cluster does is for who reads the metrics of all nodes.

mod families;

use prometheus::Error;
use vip_common::maps::{COUNTERS, Counter};

use self::families::{Families, Sample, labels};
use super::snapshot::{GroupFigures, HandlerFigures, Snapshot};
use crate::status::{CheckStatus, GroupState, GroupStatus, InterfaceState, Member, MemberStatus};

/// All metrics as text.
///
/// # Errors
/// When a metric cannot be written, which would be a fault of its definition here.
pub fn exposition(snapshot: &Snapshot) -> Result<String, Error> {
    let mut families = Families::default();
    node(snapshot, &mut families);
    groups(snapshot, &mut families);
    holding(snapshot, &mut families);
    members(snapshot, &mut families);
    voters(snapshot, &mut families);
    heartbeats(snapshot, &mut families);
    checks(snapshot, &mut families);
    packets(snapshot, &mut families);
    workload(snapshot, &mut families);
    families.text()
}

fn node(snapshot: &Snapshot, families: &mut Families) {
    let Snapshot { status, cluster, interval, stuck_for, .. } = snapshot;
    let version = labels([("version", &status.version)]);
    families.gauges("vip_user_build_info", "The daemon's version; always 1.", [(version, 1.0)]);
    let xdp = status.xdp.to_string();
    let who = labels([("cluster", cluster), ("node", &status.node), ("iface", &status.iface), ("xdp", &xdp)]);
    families.gauges(
        "vip_user_node_info",
        "Who this node is, and how XDP is attached; always 1.",
        [(who, 1.0)],
    );
    families.gauge(
        "vip_user_lease_thread_up",
        "Whether the thread that renews leases comes to its work.",
        stuck_for.is_none().into(),
    );
    families.gauge("vip_user_insecure", "Whether messages are not authenticated.", status.insecure.into());
    families.gauge(
        "vip_user_egress_fence",
        "Whether packets from VIPs that another node serves are kept from leaving.",
        status.egress_fence.into(),
    );
    families.gauge(
        "vip_user_lease_duration_seconds",
        "How long a lease is (cluster.lease).",
        status.lease_ms / 1e3,
    );
    families.gauge(
        "vip_user_renewal_interval_seconds",
        "The time between two renewals (cluster.interval).",
        interval.as_secs_f64(),
    );
    let up = status.interfaces.iter().map(|interface| {
        (labels([("iface", &interface.name)]), (interface.state == InterfaceState::Up).into())
    });
    families.gauges("vip_user_interface_up", "Whether an interface that is served works.", up);
}

const STATES: [(GroupState, &str); 7] = [
    (GroupState::Master, "master"),
    (GroupState::Backup, "backup"),
    (GroupState::Candidate, "candidate"),
    (GroupState::Quarantine, "quarantine"),
    (GroupState::Fault, "fault"),
    (GroupState::Maintenance, "maintenance"),
    (GroupState::Witness, "witness"),
];

/// What this node is in each group, and what it knows of it.
fn groups(snapshot: &Snapshot, families: &mut Families) {
    let groups = &snapshot.status.groups;
    let states = groups.iter().flat_map(|group| {
        STATES.map(|(state, name)| {
            (labels([("group", &group.name), ("state", name)]), (group.state == state).into())
        })
    });
    families.gauges("vip_user_group_state", "1 for this node's state in a group, 0 for all others.", states);
    let holders = groups.iter().filter_map(|group| Some((&group.name, group.holder.as_ref()?)));
    families.gauges(
        "vip_user_group_holder_info",
        "The node that holds a group, as far as this one knows; always 1.",
        holders.map(|(group, holder)| (labels([("group", group), ("holder", holder)]), 1.0)),
    );
    let each = |value: fn(&GroupStatus) -> f64| {
        groups.iter().map(move |group| (labels([("group", &group.name)]), value(group)))
    };
    families.gauges(
        "vip_user_lease_remaining_seconds",
        "What remains of the lease on a group, whoever has it; 0 if nobody has.",
        each(|group| group.lease_remaining_ms / 1e3),
    );
    families.gauges(
        "vip_user_group_priority",
        "This node's priority for a group.",
        each(|group| group.priority.into()),
    );
    families.gauges("vip_user_group_vips", "The VIPs of a group.", each(|group| group.vips.len() as f64));
    families.counters(
        "vip_user_group_transitions_total",
        "Changes of this node's state in a group.",
        each(|group| group.transitions as f64),
    );
}

/// How holding a group has come and gone.
fn holding(snapshot: &Snapshot, families: &mut Families) {
    let groups = snapshot.status.groups.iter().zip(&snapshot.groups);
    let each = |value: fn(&GroupFigures) -> f64| {
        groups.clone().map(move |(group, figures)| (labels([("group", &group.name)]), value(figures)))
    };
    families.counters(
        "vip_user_group_candidacies_total",
        "How often this node stood for a group.",
        each(|figures| figures.candidacies as f64),
    );
    families.counters(
        "vip_user_group_promotions_total",
        "How often this node came to hold a group.",
        each(|figures| figures.promotions as f64),
    );
    let demotions = groups.clone().flat_map(|(group, figures)| {
        let reasons = [
            ("lapsed", figures.lapses),
            ("released", figures.releases),
            ("unfit", figures.unfit),
            ("handed_over", figures.handovers),
        ];
        reasons.map(|(reason, count)| (labels([("group", &group.name), ("reason", reason)]), count as f64))
    });
    families.counters(
        "vip_user_group_demotions_total",
        "How often this node ceased to hold a group.",
        demotions,
    );
    families.counters(
        "vip_user_group_outages_total",
        "How often this node saw that nobody held a group any more.",
        each(|figures| figures.outages as f64),
    );
    families.counters(
        "vip_user_group_outage_seconds_total",
        "How long nobody held a group, as this node saw it.",
        each(|figures| figures.outage.as_secs_f64()),
    );
}

/// The other nodes. A node that has failed, and the one that has its name now, are told apart by their ids.
fn members(snapshot: &Snapshot, families: &mut Families) {
    let others = || snapshot.status.members.iter().filter(|member| member.id != snapshot.status.id);
    let each = |value: fn(&Member) -> Option<f64>| {
        others().filter_map(move |member| {
            Some((labels([("member", &member.name), ("id", &member.id.to_string())]), value(member)?))
        })
    };
    families.gauges(
        "vip_user_member_up",
        "Whether another node is alive.",
        each(|member| Some((member.status == MemberStatus::Alive).into())),
    );
    families.gauges(
        "vip_user_member_last_heard_seconds",
        "The time since a message of another node was accepted.",
        each(|member| Some(member.last_heard_ms? / 1e3)),
    );
    families.gauges(
        "vip_user_member_round_trip_seconds",
        "How long a question to another node's daemon and the answer took last.",
        each(|member| Some(member.round_trip_ms? / 1e3)),
    );
}

const MEMBER_STATUSES: [(MemberStatus, &str); 4] = [
    (MemberStatus::Alive, "alive"),
    (MemberStatus::Leaving, "leaving"),
    (MemberStatus::Failed, "failed"),
    (MemberStatus::Left, "left"),
];

/// Whether there is a majority.
fn voters(snapshot: &Snapshot, families: &mut Families) {
    let members = &snapshot.status.members;
    let by_status = MEMBER_STATUSES.map(|(status, name)| {
        let count = members.iter().filter(|member| member.status == status).count();
        (labels([("status", name)]), count as f64)
    });
    families.gauges("vip_user_members", "The nodes that this one knows, itself among them.", by_status);
    let voters = members.iter().filter(|member| member.voter);
    let alive = voters.clone().filter(|member| member.status == MemberStatus::Alive).count();
    let all = voters.count();
    families.gauge("vip_user_voters", "The voters of the configuration.", all as f64);
    families.gauge("vip_user_voters_alive", "The voters that are alive.", alive as f64);
    let quorum = if all == 0 { 0 } else { all / 2 + 1 };
    families.gauge("vip_user_quorum", "The voters that it takes to hold a group.", quorum as f64);
    let epoch = snapshot.status.epoch as f64;
    families.gauge("vip_user_epoch", "The number of the configuration of voters; 0 before the first.", epoch);
}

/// How punctual renewals are, and how soon they are answered.
fn heartbeats(snapshot: &Snapshot, families: &mut Families) {
    families.histograms(
        "vip_user_renewal_lateness_seconds",
        "How much later than it was due this node made a renewal.",
        [(Vec::new(), &snapshot.lateness)],
    );
    let name = |id: u16| {
        let member = snapshot.status.members.iter().find(|member| member.id == id);
        member.map_or("", |member| member.name.as_str())
    };
    let round_trips = snapshot
        .round_trips
        .iter()
        .map(|(id, round_trips)| (labels([("member", name(*id)), ("id", &id.to_string())]), round_trips));
    families.histograms(
        "vip_user_heartbeat_round_trip_seconds",
        "How long a renewal to a voter and its answer took, of one renewal a second.",
        round_trips,
    );
}

/// What this node's fitness is judged by.
fn checks(snapshot: &Snapshot, families: &mut Families) {
    families.gauge(
        "vip_user_maintenance",
        "Whether an operator wants this node to hold nothing.",
        snapshot.status.maintenance.into(),
    );
    let each = |value: fn(&CheckStatus) -> f64| {
        let labels = |check: &CheckStatus| labels([("check", &check.name), ("type", &check.kind)]);
        snapshot.status.checks.iter().map(move |check| (labels(check), value(check)))
    };
    families.gauges(
        "vip_user_check_passing",
        "Whether a health check passes; 0 while that is not known, too.",
        each(|check| check.passing.into()),
    );
    families.counters(
        "vip_user_check_runs_total",
        "How often a health check was run.",
        each(|check| check.runs as f64),
    );
    families.counters(
        "vip_user_check_failures_total",
        "How many runs of a health check have failed.",
        each(|check| check.failures as f64),
    );
    families.gauges(
        "vip_user_check_duration_seconds",
        "How long the last run of a health check took.",
        each(|check| check.took_ms / 1e3),
    );
}

const OUTCOMES: [(Counter, &str); COUNTERS] = [
    (Counter::Other, "other"),
    (Counter::ArpReply, "arp_reply"),
    (Counter::ArpFenced, "arp_fenced"),
    (Counter::ArpConflict, "arp_conflict"),
    (Counter::NdReply, "nd_reply"),
    (Counter::NdFenced, "nd_fenced"),
    (Counter::NdConflict, "nd_conflict"),
    (Counter::NdInvalid, "nd_invalid"),
    (Counter::VipPassed, "vip_passed"),
    (Counter::VipFenced, "vip_fenced"),
    (Counter::VipForwarded, "vip_forwarded"),
    (Counter::VipKept, "vip_kept"),
    (Counter::VipSilenced, "vip_silenced"),
    (Counter::TeeAdmitted, "tee_admitted"),
    (Counter::TeeUnmatched, "tee_unmatched"),
    (Counter::TeeCopied, "tee_copied"),
    (Counter::TeeFailed, "tee_failed"),
    (Counter::LeaseReply, "lease_reply"),
    (Counter::LeaseSilent, "lease_silent"),
    (Counter::LeaseRenewed, "lease_renewed"),
    (Counter::MessagePassed, "message_passed"),
    (Counter::OwnEcho, "own_echo"),
    (Counter::RejectedMalformed, "rejected_malformed"),
    (Counter::RejectedCluster, "rejected_cluster"),
    (Counter::RejectedTag, "rejected_tag"),
    (Counter::RejectedReplay, "rejected_replay"),
    (Counter::RejectedSender, "rejected_sender"),
    (Counter::RejectedGroup, "rejected_group"),
    (Counter::RejectedEpoch, "rejected_epoch"),
    (Counter::VrrpAdvert, "vrrp_advert"),
    (Counter::VrrpWrongTtl, "vrrp_wrong_ttl"),
    (Counter::VrrpWrongVersion, "vrrp_wrong_version"),
    (Counter::VrrpWrongChecksum, "vrrp_wrong_checksum"),
    (Counter::VrrpMalformed, "vrrp_malformed"),
];

fn packets(snapshot: &Snapshot, families: &mut Families) {
    let outcomes =
        OUTCOMES.map(|(counter, name)| (labels([("outcome", name)]), snapshot.outcomes.get(counter) as f64));
    families.counters(
        "vip_user_packets_total",
        "What became of the frames that came in, each once.",
        outcomes,
    );
}

/// What the daemon had to do, and what it did not come to.
fn workload(snapshot: &Snapshot, families: &mut Families) {
    let lost = [("letters", snapshot.lost_letters), ("reports", snapshot.lost_reports)];
    families.counters(
        "vip_user_queue_drops_total",
        "Letters of other nodes, and reports of its own lease thread, that the daemon was too busy for.",
        lost.map(|(queue, count)| (labels([("queue", queue)]), count as f64)),
    );
    families.counters(
        "vip_user_log_lines_suppressed_total",
        "Lines of the log that were kept back, since there were too many like them.",
        [(Vec::new(), snapshot.suppressed_lines as f64)],
    );
    let handlers = (1..).zip(&snapshot.handlers);
    let each = |value: fn(&HandlerFigures) -> u64| {
        handlers.clone().map(move |(number, handler): (usize, _)| -> Sample {
            let labels = labels([("handler", &number.to_string()), ("run", &handler.run)]);
            (labels, value(handler) as f64)
        })
    };
    families.counters(
        "vip_user_handler_runs_total",
        "How often a handler was run, by its place in the configuration.",
        each(|handler| handler.runs),
    );
    families.counters(
        "vip_user_handler_failures_total",
        "How often a handler failed, or took too long.",
        each(|handler| handler.failures),
    );
    families.counters(
        "vip_user_handler_drops_total",
        "Events that a handler was not told of, since too many waited.",
        each(|handler| handler.lost),
    );
}

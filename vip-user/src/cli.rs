//! The command line: what can be asked for, and its help. Each command is in a module of its own.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::{
    config::{Overrides, Settings, Source, Vip, XdpMode, parse_duration, parse_interface_name, parse_peer},
    exit::Failure,
    logging::LogFormat,
    supervisor,
};

pub mod check;
pub mod client;
pub mod depart;
pub mod history;
pub mod import;
pub mod join;
pub mod keygen;
pub mod maintenance;
pub mod reload;
pub mod tell;
pub mod upgrade;
mod watch;

const EXAMPLES: &str = "\
Examples:
  Make the cluster's key once, and copy it to every node:
    (umask 077; vip-user keygen > /etc/vip-user/cluster.key)
  Try a configuration, then serve it:
    vip-user check --config /etc/vip-user/vip.toml
    vip-user --config /etc/vip-user/vip.toml
  Serve one VIP without a configuration file:
    vip-user --iface eth0 --vip 10.77.0.100/24
  See who holds what, live:
    vip-user status --watch
  See what has changed in the last hour, also after a crash:
    vip-user history --since 1h
  Free this machine for maintenance, without a gap, and take it back into service:
    vip-user maintenance on
    vip-user maintenance off
  Find the cluster through a member on another segment:
    vip-user join 10.77.0.1
  Put a changed configuration in force, without a gap:
    vip-user reload
  Take this machine out of the cluster for good; or another one that does not come back:
    vip-user leave
    vip-user forget lb3

Exit status:
  0   done
  1   refused or failed
  2   the command line is wrong
  69  no daemon answers
  77  a privilege is missing; the message names it
  78  the configuration is wrong; the message names file, line and key";

const SERVE: &str = "\
Virtual IPs that fail over in milliseconds, and are never held twice.

Without a command, serves: this machine and the others of its cluster share the configured VIPs, one \
holds them at a time, and another takes over when it fails. SIGTERM hands the VIPs over and stops.";

/// The parsed command line.
#[derive(Debug, Parser)]
#[command(name = "vip-user", version, about = "Virtual IPs that fail over in milliseconds", long_about = SERVE)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; without one, serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to serve.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// How to serve it.
    #[command(flatten)]
    pub life: LifeArgs,
    /// What to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Everything but serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the state of the daemon: groups, members, counters
    Status(StatusArgs),
    /// Show the nodes of the cluster
    Members(MembersArgs),
    /// Show what has changed: who took over and why, who failed, for how long nobody served
    ///
    /// Each node keeps a journal of what it has done and seen, also on its disk (about 2 MiB, in paths.state). This command
    /// asks the daemon for it; if none answers, it reads what the last one has written.
    ///
    ///   vip-user history                          the last 50 changes
    ///   vip-user history --since 24h --group web  all of a group within a day
    ///   vip-user history --follow --json          for programs: a line of JSON each
    #[command(verbatim_doc_comment)]
    History(HistoryArgs),
    /// Hand groups that this node holds over to another node, without a gap
    ///
    /// To be run on the node that holds them. Their leases go over while they run: this node stops
    /// serving, and the other one starts, within a round trip. The command waits until that is done.
    ///
    ///   vip-user handover                  all groups, each to the fittest other node
    ///   vip-user handover web --to lb2     one group, to a node of your choice
    ///
    /// The other node has to be alive, a voter, and of priority above 0 in the group. If it does not
    /// take the lease within two lease lengths, this node goes on holding, and the command fails.
    /// A group with `preempt = true` goes back to a fitter node by itself.
    #[command(verbatim_doc_comment)]
    Handover(HandoverArgs),
    /// Free this node of all groups, or let it take them again
    ///
    /// `on`: what the node holds goes to other nodes without a gap, and the node takes nothing, as one of priority 0, until
    /// `off`. It goes on voting, and stays in maintenance when its daemon is started again. A group that no other node can take
    /// goes on being served here until one can: maintenance never takes a service away. The command waits for the handovers, says
    /// what has become of each group, and its exit status is 1 if one has stayed.
    ///
    /// `off`: the node is a candidate again. It gets its groups back as after any recovery: when the holder fails or hands over,
    /// or, with `preempt = true` and the higher priority, after `preempt_delay`.
    ///
    /// Doing either twice does no harm.
    ///
    ///   vip-user maintenance on && reboot
    #[command(verbatim_doc_comment)]
    Maintenance(MaintenanceArgs),
    /// Take this node out of the cluster: it votes no more, and its daemon ends
    ///
    /// A daemon that is only stopped stays a voter, and counts as one that has failed: the others still need a majority
    /// with it. This command lets the voters count the node out first. What the node holds goes to another one, without
    /// waiting for the lease to end. A majority of the voters has to be there, before and after.
    ///
    /// A daemon that is started again on this node later becomes a voter after a few seconds, by itself.
    Leave(LeaveArgs),
    /// Take a node that has failed or left out of the voters
    ///
    /// For a machine that does not come back: as long as it counts as a voter, the others need a majority with it. A
    /// majority of the voters has to be there. A node that is alive is not forgotten: run `vip-user leave` there.
    ///
    /// A forgotten node that is started after all becomes a voter after a few seconds, by itself.
    Forget(ForgetArgs),
    /// Find the cluster through any of its members, where multicast does not reach
    ///
    /// The daemon asks the nodes at these addresses where the others are, and from then on they hear each other by unicast.
    /// The command waits until each has answered, for five seconds at most. What the daemon finds so is good until it ends;
    /// `cluster.join` or `--join` says it at each start.
    Join(JoinArgs),
    /// Tell all members something, for their handlers
    ///
    /// Every member's handlers for `user` or `user:NAME` run once, those of this node too, in the order in which events are
    /// made; members that are cut off for a moment hear of it when they are back. Unless --coalesce=false, of several
    /// events of one name within a second only the last one runs.
    ///
    ///   vip-user event deploy v42
    #[command(verbatim_doc_comment)]
    Event(EventArgs),
    /// Ask members something, and show what their handlers answer
    ///
    /// The handlers for `query` or `query:NAME` run, and what one writes to its standard output is the answer. The
    /// command ends when all have answered, or at the timeout; the exit status is 1 if somebody was not reached.
    ///
    ///   vip-user query uptime
    ///   vip-user query uptime --node lb1 --node lb2 --timeout 500ms
    #[command(verbatim_doc_comment)]
    Query(QueryArgs),
    /// Have the daemon read its configuration anew, and follow it
    ///
    /// All of it is checked first: a file that is wrong, or that says what cannot change while a daemon runs, changes
    /// nothing, and the command says why. Leases of groups that stay are not touched; a group that goes is handed over
    /// first, and one that comes is served as after a start. SIGHUP does the same, and the log says what came of it.
    Reload(ReloadArgs),
    /// Have the program file that is on the disk now take over from the daemon
    ///
    /// To be run when another version has been put in its place; or to start the daemon again for what a reload cannot
    /// change. The file is asked first whether it accepts the configuration. If it has the same XDP program as the one that
    /// runs, the kernel serves on meanwhile, and leases do not notice; if it has another one, what this node holds is handed
    /// over first. The command waits until the next daemon answers. It takes a daemon that was started with --supervise,
    /// whose process goes on, as systemd wants it. SIGUSR2 to that process does the same.
    Upgrade(UpgradeArgs),
    /// Read the configuration and say what would run; change nothing
    Check(CheckArgs),
    /// Make a configuration from one of keepalived
    ///
    /// Writes our configuration to standard output, or to a file that is not there yet, and says on standard error what has
    /// become of each directive: carried over, changed, not needed, or left out, with the line and what to do. The exit
    /// status is 1 if anything is left out that somebody has to look after. Nothing is run, and nothing else is written.
    ///
    ///   vip-user import /etc/keepalived/keepalived.conf > vip.toml
    ///   vip-user import /etc/keepalived/keepalived.conf --output /etc/vip-user
    #[command(verbatim_doc_comment)]
    Import(ImportArgs),
    /// Print a new key for the cluster
    ///
    /// Every node needs the same key, readable by its owner alone. Make it on one node, and copy it:
    ///
    ///   (umask 077; vip-user keygen > /etc/vip-user/cluster.key)
    #[command(verbatim_doc_comment)]
    Keygen,
}

/// The configuration file, and what wins over it.
#[derive(Args, Debug)]
pub struct SettingsArgs {
    /// The interface to serve VIPs on; wins over node.iface
    #[arg(long, value_name = "NAME", value_parser = parse_interface_name)]
    pub iface: Option<String>,
    /// The configuration [default: /etc/vip-user/vip.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A VIP to serve, as in 10.77.0.100/24 or "10.88.0.100/24 dev eth1"; may be repeated. Those that no configured group
    /// has form the group "vip"
    #[arg(long = "vip", value_name = "ADDR/LEN")]
    pub vips: Vec<Vip>,
    /// How to attach the XDP program, if at all; wins over node.xdp
    #[arg(long, value_name = "MODE", value_enum)]
    pub xdp: Option<XdpMode>,
    /// A member to find the others through where multicast does not reach, as in 10.77.0.1; may be repeated, and adds to
    /// cluster.join
    #[arg(long, value_name = "ADDR", value_parser = parse_peer)]
    pub join: Vec<IpAddr>,
}

impl SettingsArgs {
    /// Reads the configuration, and lets the flags win.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn load(&self) -> Result<Settings, Failure> {
        self.source().load()
    }

    /// Where the settings come from.
    #[must_use]
    pub fn source(&self) -> Source {
        let overrides = Overrides {
            iface: self.iface.clone(),
            vips: self.vips.clone(),
            xdp: self.xdp,
            join: self.join.clone(),
        };
        Source { file: self.config.clone(), overrides }
    }

    /// The file that [`SettingsArgs::load`] looks for.
    #[must_use]
    pub fn file(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(crate::config::DEFAULT_FILE))
    }
}

/// Who looks after the daemon.
#[derive(Args, Debug)]
pub struct LifeArgs {
    /// Start the daemon again at once when it is killed, so that it goes on with its leases before they end
    #[arg(long = supervisor::SUPERVISE)]
    pub supervise: bool,
    /// The process that does so, for the daemon itself.
    #[arg(long = supervisor::SUPERVISED_BY, value_name = "PID", hide = true, conflicts_with = supervisor::SUPERVISE)]
    pub supervised_by: Option<u32>,
    /// The daemon that the program before this one has left, for the supervisor.
    #[arg(long = supervisor::SUCCEEDS, value_name = "PID", hide = true, requires = supervisor::SUPERVISE)]
    pub succeeds: Option<u32>,
}

/// What to log, and how.
#[derive(Args, Debug)]
pub struct LogArgs {
    /// How log records are written, on standard error
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// The least level to log, as in "debug", or directives as in "info,aya=debug"
    #[arg(long = "log", value_name = "LEVEL", env = "RUST_LOG", default_value = "info")]
    pub filter: String,
}

/// Which daemon to ask.
#[derive(Args, Debug)]
pub struct DaemonArgs {
    /// The daemon that serves this interface [default: the only one there is]
    #[arg(long, value_name = "NAME", value_parser = parse_interface_name)]
    pub iface: Option<String>,
    /// The configuration, for paths.runtime [default: /etc/vip-user/vip.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The daemon's control socket itself
    #[arg(long, value_name = "PATH", conflicts_with_all = ["iface", "config"])]
    pub socket: Option<PathBuf>,
}

/// Flags of `status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Which daemon to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
    /// Show it live, until q or Ctrl-C; not on a terminal, the text anew twice a second; with --json, a line each time
    #[arg(long)]
    pub watch: bool,
}

/// Flags of `members`.
#[derive(Args, Debug)]
pub struct MembersArgs {
    /// Which daemon to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `history`.
#[derive(Args, Debug)]
pub struct HistoryArgs {
    /// Which daemon to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Print a line of JSON for each change
    #[arg(long)]
    pub json: bool,
    /// Only what this group is about
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// Only what is not older, as in 90s, 30m or 24h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub since: Option<Duration>,
    /// The newest ones, so many [default: 50, or all with --since]
    #[arg(short = 'n', long = "lines", value_name = "COUNT")]
    pub count: Option<usize>,
    /// Go on with what comes, until interrupted
    #[arg(short, long)]
    pub follow: bool,
}

/// What to hand over, and to whom.
#[derive(Args, Debug)]
pub struct HandoverArgs {
    /// Which daemon to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// The group to hand over [default: all that this node holds]
    pub group: Option<String>,
    /// The name or id of the node to hand over to [default: for each group, the fittest other one]
    #[arg(long, value_name = "NODE")]
    pub to: Option<String>,
}

/// Flags of `upgrade`.
#[derive(Args, Debug)]
pub struct UpgradeArgs {
    /// Which daemon to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// What to read.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// In place of the summary, say which version this is, and which data plane it has: for a daemon that it is to succeed.
    #[arg(long, hide = true)]
    pub data_plane: bool,
}

/// Flags of `reload`.
#[derive(Args, Debug)]
pub struct ReloadArgs {
    /// Which daemon to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `maintenance`.
#[derive(Args, Debug)]
pub struct MaintenanceArgs {
    /// Whether the node is to hold nothing from now on
    #[arg(value_enum, value_name = "on|off")]
    pub switch: Switch,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
    /// Which daemon to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It begins.
    On,
    /// It is over.
    Off,
}

/// Flags of `leave`.
#[derive(Args, Debug)]
pub struct LeaveArgs {
    /// Which daemon to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Flags of `forget`.
#[derive(Args, Debug)]
pub struct ForgetArgs {
    /// The name or id of the node, as `vip-user members` shows them
    #[arg(value_name = "NODE")]
    pub node: String,
    /// Which daemon to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Flags of `event`.
#[derive(Args, Debug)]
pub struct EventArgs {
    /// What it is called: 1 to 128 bytes
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What goes with it: at most 896 bytes
    #[arg(value_name = "PAYLOAD", default_value = "", hide_default_value = true)]
    pub payload: String,
    /// Whether the last one of several of this name will do
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub coalesce: bool,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
    /// Which daemon to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Flags of `query`.
#[derive(Args, Debug)]
pub struct QueryArgs {
    /// What it is called: 1 to 128 bytes
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What goes with it: at most 896 bytes
    #[arg(value_name = "PAYLOAD", default_value = "", hide_default_value = true)]
    pub payload: String,
    /// The name or id of a node to ask; may be repeated [default: all that are alive]
    #[arg(long = "node", value_name = "NODE")]
    pub nodes: Vec<String>,
    /// How long to wait for answers, at most 5m
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    pub timeout: Duration,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
    /// Which daemon to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Flags of `import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// keepalived's configuration; what it includes is read, too
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where ours is written; in a folder, to vip.toml. What is there already stays [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The interface where the machines talk to each other [default: that of the first vrrp_instance]
    #[arg(long, value_name = "NAME", value_parser = parse_interface_name)]
    pub iface: Option<String>,
    /// Have the groups speak VRRP, to take the place of one keepalived beside others [default: groups of the lease]
    #[arg(long)]
    pub vrrp: bool,
    /// Which lines that begin with @ID are for this machine [default: the host name without its domain]
    #[arg(long, value_name = "ID")]
    pub config_id: Option<String>,
    /// Print one line of JSON on standard output, with what has become of each directive
    #[arg(long)]
    pub json: bool,
}

/// Flags of `join`.
#[derive(Args, Debug)]
pub struct JoinArgs {
    /// The address of a member, as in 10.77.0.1
    #[arg(value_name = "ADDR", required = true, value_parser = parse_peer)]
    pub addresses: Vec<IpAddr>,
    /// Which daemon to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_the_flags_say_what_to_serve() {
        let line = "vip-user --iface eth0 --config /c --vip 10.0.0.1/24 --vip 10.0.0.2/24 --xdp generic \
                    --log-format json --log debug";
        let Cli { command, settings, life, log } = parse(line).unwrap();
        assert!(!life.supervise && life.supervised_by.is_none());
        assert!(command.is_none());
        assert_eq!(settings.iface.as_deref(), Some("eth0"));
        assert_eq!(settings.file(), Path::new("/c"));
        let vips: Vec<_> = settings.vips.iter().map(Vip::to_string).collect();
        assert_eq!(vips, ["10.0.0.1/24", "10.0.0.2/24"]);
        assert_eq!(settings.xdp, Some(XdpMode::Generic));
        assert_eq!((log.log_format, log.filter.as_str()), (LogFormat::Json, "debug"));
    }

    #[test]
    fn flags_of_serving_are_no_flags_of_commands() {
        assert_eq!(parse("vip-user --iface eth0 status").unwrap_err().kind(), ErrorKind::ArgumentConflict);
        assert_eq!(
            parse("vip-user status --vip 10.0.0.1/24").unwrap_err().kind(),
            ErrorKind::UnknownArgument
        );
    }

    #[test]
    fn a_daemon_is_named_in_one_way_only() {
        assert!(parse("vip-user status --iface eth0 --config /c --json --watch").is_ok());
        let error = parse("vip-user members --socket /s --iface eth0").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
    }

    #[test]
    fn a_handover_names_a_group_a_node_both_or_none() {
        let named = |line: &str| match parse(line).unwrap().command {
            Some(Command::Handover(HandoverArgs { group, to, .. })) => (group, to),
            command => panic!("{command:?}"),
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(named("vip-user handover"), (None, None));
        assert_eq!(named("vip-user handover web --iface eth0"), (some("web"), None));
        assert_eq!(named("vip-user handover --to lb2"), (None, some("lb2")));
        assert_eq!(named("vip-user handover --to 2 web"), (some("web"), some("2")));
    }

    #[test]
    fn history_is_of_a_group_a_time_and_a_number() {
        let parsed = parse("vip-user history --group web --since 2h -n 7 --follow --json").unwrap().command;
        let Some(Command::History(args)) = parsed else { panic!("{parsed:?}") };
        assert_eq!((args.group.as_deref(), args.since), (Some("web"), Some(Duration::from_secs(7200))));
        assert_eq!((args.count, args.follow, args.json), (Some(7), true, true));
        assert!(parse("vip-user history --since yesterday").is_err());
    }

    #[test]
    fn an_import_names_keepaliveds_configuration() {
        let line =
            "vip-user import keepalived.conf --output /etc/vip-user --iface eth1 --config-id lb1 --json";
        let Some(Command::Import(args)) = parse(line).unwrap().command else { panic!("another command") };
        assert_eq!(args.file, Path::new("keepalived.conf"));
        assert_eq!(args.output.as_deref(), Some(Path::new("/etc/vip-user")));
        assert_eq!(
            (args.iface.as_deref(), args.config_id.as_deref(), args.json),
            (Some("eth1"), Some("lb1"), true)
        );
        assert_eq!(parse("vip-user import").unwrap_err().kind(), ErrorKind::MissingRequiredArgument);
    }

    #[test]
    fn maintenance_is_on_or_off() {
        let switch = |line: &str| match parse(line).unwrap().command {
            Some(Command::Maintenance(MaintenanceArgs { switch, json, .. })) => (switch, json),
            command => panic!("{command:?}"),
        };
        assert_eq!(switch("vip-user maintenance on --iface eth0"), (Switch::On, false));
        assert_eq!(switch("vip-user maintenance off --json"), (Switch::Off, true));
        assert_eq!(parse("vip-user maintenance").unwrap_err().exit_code(), 2);
        assert_eq!(parse("vip-user maintenance true").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_reload_and_an_upgrade_have_the_settings_of_the_daemon() {
        for line in ["vip-user reload --iface eth0 --json", "vip-user upgrade --socket /s --json"] {
            assert!(parse(line).is_ok(), "{line}");
        }
        let error = parse("vip-user reload --vip 10.0.0.1/24").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownArgument);
        assert_eq!(parse("vip-user --succeeds=3").unwrap_err().kind(), ErrorKind::MissingRequiredArgument);
    }

    #[test]
    fn the_node_to_forget_is_named() {
        assert!(parse("vip-user leave --iface eth0").is_ok());
        assert!(parse("vip-user forget lb3 --iface eth0").is_ok());
        assert_eq!(parse("vip-user forget").unwrap_err().kind(), ErrorKind::MissingRequiredArgument);
    }

    #[test]
    fn a_flag_that_is_not_valid_is_a_usage_error_that_says_why() {
        let cases = [
            ("vip-user --vip 10.0.0.1", "has no prefix length; write it as in 10.77.0.100/24"),
            ("vip-user --vip ::1/64", "is the loopback address"),
            ("vip-user --iface lo", "is the loopback interface"),
            ("vip-user status --iface a/b", "is no interface name"),
            ("vip-user --join 10.0.0.1:5680", "is not an IP address without a port"),
            ("vip-user join 239.0.0.1", "is a multicast address"),
            ("vip-user join", "<ADDR>"),
            ("vip-user --xdp skb", "possible values: auto, native, generic, off"),
        ];
        for (line, expected) in cases {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(expected), "{line}: {error}");
        }
    }
}

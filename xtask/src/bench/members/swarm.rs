//! What runs on the nodes: daemons of this project, or Serf's agents, as few settings apart as can be.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;
use vip_tests::{
    lab::{Daemon, DaemonOptions, Lab},
    serf,
};

use super::{System, VOTERS, handler};
use crate::setup;

/// Long enough that a busy machine does not let leases lapse.
pub(super) const INTERVAL: Duration = Duration::from_millis(50);
pub(super) const LEASE: Duration = Duration::from_secs(1);
/// How much of a log goes into an error.
const LOG_TAIL_LINES: usize = 15;

/// A system on the nodes of a lab, of which some run. Dropping it ends them, and then the lab.
pub(super) trait Swarm {
    fn lab(&self) -> &Lab;

    /// Does not wait for anything.
    fn start(&mut self, node: u8) -> Result<()>;

    /// Node `from` tells all others, each time.
    fn event(&self, from: u8, name: &str) -> Result<()>;

    /// All of the node's, without handlers.
    fn processes(&self, node: u8) -> Result<Vec<Pid>>;

    /// For the message of a failure.
    fn log_tail(&self, node: u8) -> String;
}

/// Nothing runs on it yet.
pub(super) fn of(system: System, lab: Lab, daemon: &Path) -> Result<Box<dyn Swarm>> {
    Ok(match system {
        System::VipUser => Box::new(Ours { daemons: BTreeMap::new(), lab, binary: daemon.to_owned() }),
        System::Serf => Box::new(Serf { agents: BTreeMap::new(), lab, program: program()? }),
    })
}

/// What a node is called, in both.
pub(super) fn name(node: u8) -> String {
    format!("lb{node}")
}

/// As Serf says itself, which with Debian's 0.9.4 is another one.
pub(super) fn serf_version() -> Result<String> {
    let output = Command::new(program()?).arg("version").output().context("serf version")?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.lines().next().unwrap_or_default().to_owned())
}

fn program() -> Result<PathBuf> {
    let program = setup::serf::place().join(serf::PROGRAM);
    ensure!(program.is_file(), "no Serf at {}: `cargo xtask setup` gets it where it can", program.display());
    Ok(program)
}

/// The first nodes vote, and are all that ever do.
struct Ours {
    // Before their namespaces.
    daemons: BTreeMap<u8, Daemon>,
    lab: Lab,
    binary: PathBuf,
}

impl Ours {
    fn daemon(&self, node: u8) -> Result<&Daemon> {
        self.daemons.get(&node).with_context(|| format!("no daemon on node {node}"))
    }
}

impl Swarm for Ours {
    fn lab(&self) -> &Lab {
        &self.lab
    }

    fn start(&mut self, node: u8) -> Result<()> {
        let command = handler::command(&self.lab, node);
        let events = r#"["member-join", "member-failed", "user"]"#;
        let options = DaemonOptions {
            binary: Some(self.binary.clone()),
            expect: VOTERS,
            interval: INTERVAL,
            lease: LEASE,
            more_of_cluster: "voter_after = \"24h\"".to_owned(),
            more_of_group: format!("[[handler]]\non = {events}\nshell = true\nrun = {command:?}\n"),
            // As the service unit has it.
            args: vec!["--supervise".to_owned()],
            ..DaemonOptions::default()
        };
        self.daemons.insert(node, self.lab.start(node, &options)?);
        Ok(())
    }

    fn event(&self, from: u8, name: &str) -> Result<()> {
        let mut command = Command::new(&self.binary);
        command.args(["event", name, "--coalesce=false", "--socket"]).arg(self.daemon(from)?.socket());
        succeed(&mut command)
    }

    fn processes(&self, node: u8) -> Result<Vec<Pid>> {
        let supervisor = self.daemon(node)?;
        let daemon = supervisor.supervised()?.with_context(|| format!("no daemon on node {node}"))?;
        Ok(vec![supervisor.pid(), daemon])
    }

    fn log_tail(&self, node: u8) -> String {
        self.daemons.get(&node).map(Daemon::log_tail).unwrap_or_default()
    }
}

/// At its defaults, which are those for a local network.
struct Serf {
    // Before their namespaces.
    agents: BTreeMap<u8, Agent>,
    lab: Lab,
    program: PathBuf,
}

/// Dropping it kills it.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Serf {
    fn log(&self, node: u8) -> PathBuf {
        self.lab.home(node).join("serf.log")
    }
}

impl Swarm for Serf {
    fn lab(&self) -> &Lab {
        &self.lab
    }

    fn start(&mut self, node: u8) -> Result<()> {
        let log = File::create(self.log(node))?;
        let mut command = self.lab.command(node, &self.program)?;
        command.args(["agent", "-profile=lan", "-rpc-addr=127.0.0.1:7373"]);
        command.arg(format!("-node={}", name(node))).arg(format!("-bind={}", self.lab.address(node)));
        command.arg(format!("-event-handler={}", handler::command(&self.lab, node)));
        if node != 1 {
            command.arg(format!("-join={}", self.lab.address(1)));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        self.agents.insert(node, Agent(child));
        Ok(())
    }

    fn event(&self, from: u8, name: &str) -> Result<()> {
        let mut command = self.lab.command(from, &self.program)?;
        succeed(command.args(["event", "-coalesce=false", name]))
    }

    fn processes(&self, node: u8) -> Result<Vec<Pid>> {
        let Agent(child) = self.agents.get(&node).with_context(|| format!("no agent on node {node}"))?;
        // The kernel's pid_max is far below i32::MAX.
        Ok(vec![Pid::from_raw(child.id().cast_signed())])
    }

    fn log_tail(&self, node: u8) -> String {
        let log = fs::read_to_string(self.log(node)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

fn succeed(command: &mut Command) -> Result<()> {
    let output =
        command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

//! A daemon on a node: starting it, breaking it, asking it.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    net::IpAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use serde_json::Value;

use super::{Lab, VIP, config};
use crate::{machine::slowness, wait};

/// How long a client command may take: a stopped daemon answers nothing.
const STATUS_SECONDS: &str = "2";
/// How long a command may take that waits for what it has ordered.
const ORDER_SECONDS: &str = "60";
/// How long a daemon may take to end: the kernel detaches programs, sockets and interfaces after RCU grace periods, and
/// each takes seconds where the processors are busy.
const EXIT: Duration = Duration::from_secs(60);
/// How much of the log goes into an error.
const LOG_TAIL_LINES: usize = 30;

/// Every lab's cluster is its own segment: one key serves them all.
const KEY: &str = "00112233445566778899aabbccddeeff\n";

/// What a daemon is started with.
#[derive(Clone, Debug)]
pub struct DaemonOptions {
    /// The program; `None`: see [`daemon_binary`].
    pub binary: Option<PathBuf>,
    /// A program with arguments that becomes the daemon, whose command line follows them; none: nothing of the kind.
    pub wrapper: Vec<String>,
    /// `[cluster] name`.
    pub cluster: String,
    /// `[node] name`; `None`: `lb` and the node's number.
    pub name: Option<String>,
    /// `[node] id`; `None`: the node's number.
    pub id: Option<u16>,
    /// `[node] priority`; 0 makes a witness.
    pub priority: u8,
    /// The content of `[cluster] key_file`.
    pub key: String,
    /// `[cluster] insecure`, in place of a key.
    pub insecure: bool,
    /// `[cluster] group_address`; none: the product's default.
    pub group_address: Option<String>,
    /// `[cluster] peers`; none: multicast.
    pub peers: Vec<IpAddr>,
    /// `[cluster] join`.
    pub join: Vec<IpAddr>,
    /// `[cluster] expect`.
    pub expect: u8,
    /// `[cluster] interval`; whole microseconds.
    pub interval: Duration,
    /// `[cluster] lease`; whole microseconds.
    pub lease: Duration,
    /// The VIPs of the one group, "web".
    pub vips: Vec<String>,
    /// More keys of that group, as in the file; sections of further groups may follow them.
    pub more_of_group: String,
    /// Further lines of the section of the cluster.
    pub more_of_cluster: String,
    /// Further lines of the section of the node.
    pub more_of_node: String,
    /// Further lines of the section of paths.
    pub more_of_paths: String,
    /// Arguments after `--iface` and `--config`.
    pub args: Vec<String>,
}

impl Default for DaemonOptions {
    /// The product's defaults, for a cluster of three; with longer leases on an emulated machine.
    fn default() -> Self {
        Self {
            binary: None,
            wrapper: Vec::new(),
            cluster: "lab".to_owned(),
            name: None,
            id: None,
            key: KEY.to_owned(),
            insecure: false,
            group_address: None,
            peers: Vec::new(),
            join: Vec::new(),
            priority: 100,
            expect: 3,
            interval: Duration::from_millis(10) * slowness(),
            lease: Duration::from_millis(50) * slowness(),
            vips: vec![format!("{VIP}/24")],
            more_of_group: String::new(),
            more_of_cluster: String::new(),
            more_of_node: String::new(),
            more_of_paths: String::new(),
            args: Vec::new(),
        }
    }
}

/// The daemon to test: `$VIP_USER_BIN`, or else `vip-user` from the build that this program is part of.
pub fn daemon_binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("VIP_USER_BIN") {
        return Ok(path.into());
    }
    let this = env::current_exe().context("cannot find this program's own file")?;
    // target/<profile>/vip-user is beside target/<profile>/xtask, and one above target/<profile>/deps/<test>.
    let places = this.ancestors().skip(1).take(2).map(|dir| dir.join("vip-user"));
    places.into_iter().find(|path| path.is_file()).with_context(|| {
        format!("no vip-user beside {}: run `cargo build -p vip-user`, or set VIP_USER_BIN", this.display())
    })
}

/// Starts the daemon of `node`; its stderr is appended to `vip-user.log` in the node's directory.
pub(super) fn start(lab: &Lab, node: u8, options: &DaemonOptions) -> Result<Daemon> {
    let binary = options.binary.clone().map_or_else(daemon_binary, Ok)?;
    let config = lab.write_config(node, options)?;
    let log = lab.home(node).join("vip-user.log");
    let stderr = File::options().create(true).append(true).open(&log)?;

    let mut words = options.wrapper.iter().map(OsStr::new).chain([binary.as_os_str()]);
    let mut command = lab.command(node, words.next().unwrap_or_default())?;
    command.args(words).args(["--iface", "eth0", "--config"]).arg(config).args(&options.args);
    // A process group of its own: Ctrl-C in a terminal is for the program that made the lab, which ends its daemons, each
    // with those that it has started.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).process_group(0);
    let child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
    Ok(Daemon { node, binary, child, log, socket: config::socket(lab, node) })
}

/// A daemon that has been started; dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    node: u8,
    binary: PathBuf,
    child: Child,
    log: PathBuf,
    socket: PathBuf,
}

impl Daemon {
    /// The node that it runs on.
    pub fn node(&self) -> u8 {
        self.node
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        // The kernel's pid_max is far below i32::MAX.
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Its youngest child: where it was started with `--supervise`, the one that serves.
    pub fn supervised(&self) -> Result<Option<Pid>> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        let children = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Ok(children.split_whitespace().next_back().map(|pid| pid.parse().map(Pid::from_raw)).transpose()?)
    }

    /// Where its control socket is, once it serves.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether its process has not ended.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// All that it has logged, and the daemons before it on the same node.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal and does not wait for what it does.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the daemon of node {} ended before {signal}: {status}{}", self.node, self.log_tail());
        }
        kill(self.pid(), signal).with_context(|| format!("cannot send {signal} to node {}", self.node))
    }

    /// SIGKILL for its whole process group, and waits for the end. Its pins and its XDP program stay.
    pub fn kill(&mut self) -> Result<()> {
        self.signal_all(Signal::SIGKILL)?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends a signal to its whole process group.
    pub fn signal_all(&mut self, signal: Signal) -> Result<()> {
        killpg(self.pid(), signal)
            .with_context(|| format!("cannot send {signal} to all of node {}{}", self.node, self.log_tail()))
    }

    /// Sends a signal to the daemon that was started with `--supervise`, and not to its supervisor.
    pub fn signal_supervised(&self, signal: Signal) -> Result<()> {
        let daemon = self.supervised()?.with_context(|| format!("no daemon on node {}", self.node))?;
        kill(daemon, signal)
            .with_context(|| format!("cannot send {signal} to the daemon of node {}", self.node))
    }

    /// SIGSTOP: it lives and does nothing.
    pub fn stop(&mut self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT: it goes on where it was stopped.
    pub fn cont(&mut self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait_exit(EXIT)
    }

    /// Waits until it has ended by itself.
    pub fn wait_exit(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let what = format!("the end of the daemon of node {}", self.node);
        let status = wait::until(&what, timeout, || Ok(self.child.try_wait()?));
        status.with_context(|| self.log_tail())
    }

    /// What `vip-user status --json` says.
    pub fn status(&self) -> Result<Value> {
        let output = self.client("status")?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!("status of node {}: {}: {}", self.node, output.status, stderr.trim());
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("status of node {} is no JSON", self.node))
    }

    /// Runs `vip-user <name> --json` for this daemon, whether it lives or not.
    pub fn client(&self, name: &str) -> Result<Output> {
        self.ask(STATUS_SECONDS, &[name, "--json"])
    }

    /// Runs `vip-user <arguments>`, a command that waits for its outcome, for this daemon.
    pub fn order(&self, arguments: &[&str]) -> Result<Output> {
        self.ask(ORDER_SECONDS, arguments)
    }

    /// As [`Daemon::order`], without waiting for the outcome.
    pub fn begin_order(&self, arguments: &[&str]) -> Result<Child> {
        let mut command = self.asking(ORDER_SECONDS, arguments);
        Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    /// As [`Daemon::order`], by another program file than its own.
    pub fn order_by(&self, binary: &Path, arguments: &[&str]) -> Result<Output> {
        Ok(self.asking_by(binary, ORDER_SECONDS, arguments).output()?)
    }

    fn ask(&self, seconds: &str, arguments: &[&str]) -> Result<Output> {
        Ok(self.asking(seconds, arguments).output()?)
    }

    fn asking(&self, seconds: &str, arguments: &[&str]) -> Command {
        self.asking_by(&self.binary, seconds, arguments)
    }

    fn asking_by(&self, binary: &Path, seconds: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", seconds]).arg(binary).args(arguments);
        command.arg("--socket").arg(&self.socket);
        command
    }

    /// The last lines of its log, for the message of a failure.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
        format!("\n--- log of node {}, last lines ---\n{}\n---", self.node, tail.join("\n"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A test has failed: its daemons may know why.
        if thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
        // Both fail only if it has ended already.
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

//! HAProxy or nginx on the nodes of a lab: what VIPs are kept alive for. Each binds the VIP, whether its node has it or not, and
//! passes requests on to two servers in a namespace of their own; an answer says which node it came through.
//!
//! Here: starting and killing them. What they are told is in `config`.

mod config;
mod program;

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

pub use self::program::{Program, environment};
use crate::{
    lab::{BACKEND, Lab},
    net::in_netns,
    wait,
};

/// The environment variable for the folder that Debian's packages are unpacked in, if they are not installed; by default,
/// [`FOLDER`] of the build's own.
pub const PLACE: &str = "VIP_TESTS_FRONTS";
/// The folder's name, where nothing else is said.
pub const FOLDER: &str = "fronts";
/// The port on the VIP.
pub const PORT: u16 = 80;
/// What answers with 200 on each node while its front end runs, and on that node alone.
pub const HEALTH: &str = "http://127.0.0.1:8404/health";
/// The header of an answer with the name of the node that it came through.
pub const SERVED_BY: &str = "x-served-by";

/// The address that [`HEALTH`] is asked at.
const HEALTH_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8404);
/// Of the servers behind.
const BACKEND_PORTS: [u16; 2] = [8001, 8002];
/// How long one may take to listen.
const START: Duration = Duration::from_secs(30);
/// One look at a port.
const LOOK: Duration = Duration::from_millis(200);

/// What takes the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Software {
    /// In the foreground, without a process that starts it again.
    Haproxy,
    /// Likewise; a master and one worker.
    Nginx,
}

impl Software {
    /// Its command.
    pub fn program(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }
}

/// The servers behind the nodes. Dropping them ends them.
#[derive(Debug)]
pub struct Backend {
    _process: Process,
}

impl Backend {
    /// Starts them in a namespace of their own, once in a lab; waits until they answer.
    pub fn start(lab: &Lab) -> Result<Self> {
        let netns = lab.add_backend()?;
        let folder = lab.home(1).with_file_name("backend");
        fs::create_dir_all(&folder)?;
        let file = written(folder.join("haproxy.cfg"), &config::servers(BACKEND, &BACKEND_PORTS))?;
        let mut process = Process::start(Software::Haproxy, &netns, &file)?;
        process.wait_listening(SocketAddr::new(BACKEND.into(), BACKEND_PORTS[0]))?;
        Ok(Self { _process: process })
    }
}

/// A front end of a node. Dropping it kills it.
#[derive(Debug)]
pub struct Front {
    process: Process,
}

impl Front {
    /// Starts it on `vip` of node `node`, which need not have the address yet, or keep it; waits until it answers.
    pub fn start(lab: &Lab, node: u8, software: Software, vip: Ipv4Addr) -> Result<Self> {
        let netns = lab.node_netns(node);
        in_netns(&netns, bind_everything)?;
        let name = format!("lb{node}");
        let servers = BACKEND_PORTS.map(|port| SocketAddr::new(BACKEND.into(), port));
        let text = match software {
            Software::Haproxy => config::haproxy(&name, vip, &servers),
            Software::Nginx => config::nginx(&name, vip, &servers, &lab.home(node)),
        };
        let file = written(lab.home(node).join(format!("{}.cfg", software.program())), &text)?;
        let mut process = Process::start(software, &netns, &file)?;
        process.wait_listening(HEALTH_ADDRESS)?;
        Ok(Self { process })
    }

    /// SIGKILL for all of its processes; the kernel closes their connections.
    pub fn kill(mut self) -> Result<()> {
        self.process.end()
    }
}

/// As on the machines of a cluster: a front end starts before its node has the VIP.
fn bind_everything() -> Result<()> {
    let path = "/proc/sys/net/ipv4/ip_nonlocal_bind";
    fs::write(path, "1").with_context(|| format!("cannot write {path}"))
}

fn written(path: PathBuf, text: &str) -> Result<PathBuf> {
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// A program with its children, a process group of their own.
#[derive(Debug)]
struct Process {
    child: Child,
    netns: String,
    log: PathBuf,
}

impl Process {
    fn start(software: Software, netns: &str, config: &Path) -> Result<Self> {
        let log = config.with_extension("log");
        let stderr = File::options().create(true).append(true).open(&log)?;
        let program = Program::find(software.program()).map_err(anyhow::Error::msg)?;
        let mut command = program.command_in(netns)?;
        match software {
            Software::Haproxy => command.arg("-db").arg("-f").arg(config),
            Software::Nginx => command.arg("-c").arg(config),
        };
        command.stdin(Stdio::null()).stdout(stderr.try_clone()?).stderr(stderr).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {}", software.program()))?;
        Ok(Self { child, netns: netns.to_owned(), log })
    }

    fn wait_listening(&mut self, address: SocketAddr) -> Result<()> {
        wait::until_calmly(&format!("{address} to be listened on"), START, || {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(Err(anyhow!("it has ended: {status}; {}", self.log()))));
            }
            in_netns(&self.netns, || Ok(TcpStream::connect_timeout(&address, LOOK)?)).map(|_| Some(Ok(())))
        })?
    }

    fn end(&mut self) -> Result<()> {
        let group = Pid::from_raw(self.child.id().cast_signed());
        if let Some(status) = self.child.try_wait()? {
            bail!("it had ended by itself: {status}; {}", self.log());
        }
        killpg(group, Signal::SIGKILL)?;
        self.child.wait()?;
        Ok(())
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It fails only if it has ended already.
        let _ = self.end();
    }
}

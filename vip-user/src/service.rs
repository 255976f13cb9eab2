//! The service manager's side of the daemon's life, as systemd has it (sd_notify(3)): it is told that the daemon serves, what it
//! does, that it lives and that it stops.
//!
//! Telling never waits: a manager that does not read is no reason to keep a cluster waiting.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::parent_id;
use std::process;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tracing::debug;

/// What the manager gives to a service. It is not for programs that the daemon starts: those could speak in its name.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// The manager of the service that this process is the daemon of.
#[derive(Debug)]
pub struct ServiceManager {
    socket: UnixDatagram,
    address: SocketAddr,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment tells of; `None` if none wants to be told anything.
    #[must_use]
    pub fn of_environment() -> Option<Self> {
        let address = env::var_os("NOTIFY_SOCKET")?;
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        let watched = number("WATCHDOG_PID");
        // The service's main process may be the supervisor.
        let is_watched = watched.is_none_or(|pid| [process::id(), parent_id()].map(u64::from).contains(&pid));
        let watchdog = number("WATCHDOG_USEC").filter(|_| is_watched).map(Duration::from_micros);
        match Self::at(&address, watchdog) {
            Ok(manager) => Some(manager),
            Err(error) => {
                debug!("the service manager at {} cannot be told anything: {error}", address.display());
                None
            }
        }
    }

    fn at(address: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(address)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address, watchdog })
    }

    /// Within what time it wants to be told again and again that the daemon lives, if it does.
    #[must_use]
    pub const fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The daemon serves, or is ready to.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// The configuration is read anew, from now until [`ServiceManager::ready`] is said.
    ///
    /// # Panics
    /// Never: the clock is always there.
    #[expect(clippy::expect_used, reason = "Linux has had this clock since 2.5.63")]
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC is always there");
        let micros = Duration::from(now).as_micros();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The daemon is asked to stop, and does.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// What the daemon does, in a line for people.
    pub fn status(&self, line: &str) {
        self.tell(&format!("STATUS={line}"));
    }

    /// The daemon lives.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, state: &str) {
        if let Err(error) = self.socket.send_to_addr(state.as_bytes(), &self.address) {
            debug!("the service manager was not told {state}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;

    #[test]
    fn it_is_told_at_a_path_and_at_an_abstract_address() {
        let folder = Folder::new();
        let path = folder.path().join("notify");
        let name = format!("vip-user-test-{}", process::id());
        let at_path = UnixDatagram::bind(&path).unwrap();
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        let at_name = UnixDatagram::bind_addr(&abstract_address).unwrap();
        let address = format!("@{name}");
        for (listener, address) in [(at_path, path.as_os_str()), (at_name, OsStr::new(&address))] {
            let manager = ServiceManager::at(address, None).unwrap();
            manager.ready();
            manager.status("holds web");
            let mut heard = [0; 64];
            for expected in ["READY=1", "STATUS=holds web"] {
                let length = listener.recv(&mut heard).unwrap();
                assert_eq!(&heard[..length], expected.as_bytes());
            }
        }
    }

    #[test]
    fn a_manager_that_does_not_read_keeps_nobody_waiting() {
        let folder = Folder::new();
        let path = folder.path().join("notify");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let manager = ServiceManager::at(path.as_os_str(), None).unwrap();
        // More than any queue of datagrams takes.
        (0..100_000).for_each(|_| manager.alive());
    }
}

//! Which addresses a daemon without XDP may leave on its interface: a file that says so from before the first
//! of them is there until after the last one is gone. What a killed daemon has left is taken off by it at the
//! next start.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use tracing::warn;

/// The file, one address a line.
#[derive(Clone, Debug)]
pub struct Record(PathBuf);

impl Record {
    /// That of an interface: `<runtime>/<iface>.addresses`.
    pub fn of(runtime: &Path, iface: &str) -> Self {
        Self(runtime.join(format!("{iface}.addresses")))
    }

    /// What may be on the interface; nothing if there is no file.
    ///
    /// # Errors
    /// The file cannot be read, with its name.
    pub fn read(&self) -> io::Result<Vec<IpAddr>> {
        match fs::read_to_string(&self.0) {
            Ok(text) => Ok(text.lines().filter_map(|line| self.parse(line)).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.failed("reading", &error)),
        }
    }

    /// From now on, these may be.
    ///
    /// # Errors
    /// The file cannot be written, with its name.
    pub fn write(&self, addresses: &[IpAddr]) -> io::Result<()> {
        let text: String = addresses.iter().map(|address| format!("{address}\n")).collect();
        fs::write(&self.0, text).map_err(|error| self.failed("writing", &error))
    }

    /// None of them is there any more.
    ///
    /// # Errors
    /// The file is there and cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed("removing", &error)),
            _ => Ok(()),
        }
    }

    fn parse(&self, line: &str) -> Option<IpAddr> {
        let address = line.parse().ok();
        if address.is_none() {
            warn!("{}: {line:?} is no address; ignored", self.0.display());
        }
        address
    }

    fn failed(&self, what: &str, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{what} {}: {error}", self.0.display()))
    }
}

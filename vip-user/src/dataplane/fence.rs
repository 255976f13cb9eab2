//! The program's hold on its interface, as user space sees it. Nothing can refuse to be taken away by root, and the kernel
//! tells nobody when it was: so it has to be looked at.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::net::if_::if_nametoindex;

use super::pins::{link_info, open_pin};

/// The link between program and interface. While this lives, the program stays on the interface even without its pin.
#[derive(Debug)]
pub struct Fence {
    link: OwnedFd,
    pin: PathBuf,
    iface: String,
    index: u32,
    /// The kernel's id of the program.
    program: u32,
}

/// How the fence was lost, and what the operator can do about it.
#[derive(Debug, thiserror::Error)]
pub enum FenceLost {
    /// The interface is gone, or was made anew.
    #[error("the interface {0} is gone; start again when it is back")]
    Gone(String),
    /// The link has no interface any more.
    #[error(
        "the XDP program was taken off {0}, so that nothing fences the VIPs there: find out by what, and start again"
    )]
    Detached(String),
    /// The link has another program.
    #[error(
        "another program took the place of the XDP program on {0}, so that nothing fences the VIPs there: find out by \
         what, and start again"
    )]
    Replaced(String),
    /// The link would end with this process.
    #[error(
        "the pin {} is gone, so that nothing would fence the VIPs if this daemon were killed: start again",
        .0.display()
    )]
    Unpinned(PathBuf),
    /// The kernel does not tell.
    #[error("cannot look at the XDP program on {0}: {1}")]
    Unknown(String, io::Error),
}

impl Fence {
    pub(super) fn open(iface: &str, index: u32, program: u32, pin: &Path) -> io::Result<Self> {
        Ok(Self { link: open_pin(pin)?, pin: pin.to_owned(), iface: iface.to_owned(), index, program })
    }

    /// Looks whether it is up and will stay so without this process. Two system calls.
    ///
    /// # Errors
    /// [`FenceLost`]: the VIPs must go off this machine, now.
    pub fn check(&self) -> Result<(), FenceLost> {
        let iface = || self.iface.clone();
        let info = link_info(&self.link).map_err(|error| FenceLost::Unknown(iface(), error))?;
        if info.interface != self.index {
            let is_there = if_nametoindex(self.iface.as_str()) == Ok(self.index);
            return Err(if is_there { FenceLost::Detached(iface()) } else { FenceLost::Gone(iface()) });
        }
        if info.program != self.program {
            return Err(FenceLost::Replaced(iface()));
        }
        if !self.pin.exists() {
            return Err(FenceLost::Unpinned(self.pin.clone()));
        }
        Ok(())
    }
}

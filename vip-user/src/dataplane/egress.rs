//! The egress program on an interface, by a link that outlives the daemon (TCX, Linux 6.6).

use std::io;
use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};

use super::{Error, Program};

const PROGRAM: &str = "vip_egress";

impl Program {
    /// Keeps what is from a VIP from leaving by an interface while this node does not serve it. The link is pinned at `pin`,
    /// or the program of the one that is pinned there is replaced.
    ///
    /// # Errors
    /// The kernel's, which has no such links before Linux 6.6; nothing is left behind.
    pub fn attach_egress(&mut self, iface: &str, pin: &Path) -> Result<(), Error> {
        let program: &mut SchedClassifier = self
            .ebpf
            .program_mut(PROGRAM)
            .and_then(|program| program.try_into().ok())
            .ok_or(Error::Object(PROGRAM))?;
        program.load().map_err(Error::verify)?;
        if pin.exists() {
            if replace(program, pin).is_some() {
                return Ok(());
            }
            remove(pin)?;
        }
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        let attached = program.attach_with_options(iface, TcAttachType::Egress, options);
        let link = attached.and_then(|id| program.take_link(id)).map_err(Error::Program)?;
        let link = FdLink::try_from(link).map_err(|_| Error::NoLink)?;
        link.pin(pin).map(drop).map_err(|error| Error::pin(pin, error))
    }
}

/// Takes the program that is pinned there off its interface, if there is one.
///
/// # Errors
/// [`Error::Pin`].
pub fn remove(pin: &Path) -> Result<(), Error> {
    match std::fs::remove_file(pin) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::Pin { path: pin.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// `None` for what is no such link, or one whose interface is gone.
fn replace(program: &mut SchedClassifier, pin: &Path) -> Option<()> {
    let link = PinnedLink::from_pin(pin).ok()?;
    let id = program.attach_to_link(SchedClassifierLink::try_from(FdLink::from(link)).ok()?).ok()?;
    // The pin holds it.
    program.take_link(id).ok().map(drop)
}

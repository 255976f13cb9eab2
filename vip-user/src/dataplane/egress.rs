//! The egress program on an interface, by a link that outlives the daemon (TCX, Linux 6.6).

use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};

use super::program::Code;
use super::{Error, Program, remove_pin};

const PROGRAM: &str = "vip_egress";

impl Program {
    /// Keeps what is from a VIP from leaving by an interface while this node does not serve it. The link is pinned at `pin`,
    /// or the program of the one that is pinned there is replaced. `false` if a former run has found out that the kernel has
    /// no such links.
    ///
    /// # Errors
    /// The kernel's, which has no such links before Linux 6.6; nothing is left behind.
    pub fn attach_egress(&mut self, iface: &str, pin: &Path) -> Result<bool, Error> {
        let Code::Loaded { ebpf, .. } = &mut self.code else { return Ok(pin.exists()) };
        let program: &mut SchedClassifier = ebpf
            .program_mut(PROGRAM)
            .and_then(|program| program.try_into().ok())
            .ok_or(Error::Object(PROGRAM))?;
        program.load().map_err(Error::verify)?;
        if pin.exists() {
            if replace(program, pin).is_some() {
                return Ok(true);
            }
            remove_pin(pin)?;
        }
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        let attached = program.attach_with_options(iface, TcAttachType::Egress, options);
        let link = attached.and_then(|id| program.take_link(id)).map_err(Error::Program)?;
        let link = FdLink::try_from(link).map_err(|_| Error::NoLink)?;
        link.pin(pin).map(|_| true).map_err(|error| Error::pin(pin, error))
    }
}

/// `None` for what is no such link, or one whose interface is gone.
fn replace(program: &mut SchedClassifier, pin: &Path) -> Option<()> {
    let link = PinnedLink::from_pin(pin).ok()?;
    let id = program.attach_to_link(SchedClassifierLink::try_from(FdLink::from(link)).ok()?).ok()?;
    // The pin holds it.
    program.take_link(id).ok().map(drop)
}

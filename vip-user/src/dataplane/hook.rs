//! Programs of traffic control on an interface, in ways that outlive the daemon: by a pinned link (TCX, Linux 6.6), and before that
//! as a filter of the interface's clsact qdisc. A filter's pin is that of its program: it shows later runs that there is one.

use std::mem;
use std::path::Path;

use aya::Ebpf;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, SchedClassifierLinkId, TcAttachOptions, TcError, qdisc_add_clsact,
    qdisc_detach_program,
};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};
use tracing::info;

use super::{Error, remove_pin};

/// Where a program of the object goes.
pub(super) struct Hook {
    /// Its name in the object, and among an interface's filters.
    pub(super) program: &'static str,
    /// Of the two ways, the one that its packets take.
    pub(super) way: TcAttachType,
}

impl Hook {
    /// Puts the program on an interface, with a pin at `pin`, and first of all there; or in the place of a former run's.
    ///
    /// # Errors
    /// The kernel's, which may lack traffic control; nothing is left behind.
    pub(super) fn attach(&self, ebpf: &mut Ebpf, iface: &str, pin: &Path) -> Result<(), Error> {
        let program: &mut SchedClassifier = ebpf
            .program_mut(self.program)
            .and_then(|program| program.try_into().ok())
            .ok_or(Error::Object(self.program))?;
        // Once, for all interfaces.
        if program.fd().is_err() {
            program.load().map_err(Error::verify)?;
        }
        if pin.exists() && replace(program, pin).is_some() {
            return Ok(());
        }
        self.remove(iface, pin)?;
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        match program.attach_with_options(iface, self.way, options) {
            Ok(id) => pin_link(program, id, pin),
            Err(error) => {
                info!(
                    "no TCX link on {iface}, as before Linux 6.6 ({error}): a filter of clsact in its place"
                );
                self.add_filter(program, iface, pin)
            }
        }
    }

    /// Takes the program off an interface, and its pin away.
    ///
    /// # Errors
    /// The kernel's; where there is no such program, or no such interface any more, there is none.
    pub(super) fn remove(&self, iface: &str, pin: &Path) -> Result<(), Error> {
        match qdisc_detach_program(iface, self.way, self.program) {
            Ok(()) | Err(TcError::IoError(_)) => remove_pin(pin),
            Err(error) => Err(Error::Program(error.into())),
        }
    }

    fn add_filter(&self, program: &mut SchedClassifier, iface: &str, pin: &Path) -> Result<(), Error> {
        program.pin(pin).map_err(|error| Error::pin(pin, error))?;
        // It may be there already. If it cannot be made, the filter cannot either.
        let _ = qdisc_add_clsact(iface);
        let options = TcAttachOptions::Netlink(NlOptions::default());
        let added = program.attach_with_options(iface, self.way, options);
        match added.and_then(|id| program.take_link(id)) {
            Ok(filter) => {
                // Dropped, it would take the filter away.
                mem::forget(filter);
                Ok(())
            }
            Err(error) => {
                remove_pin(pin)?;
                Err(Error::Program(error))
            }
        }
    }
}

/// `None` for what is no such link, or one whose interface is gone.
fn replace(program: &mut SchedClassifier, pin: &Path) -> Option<()> {
    let link = PinnedLink::from_pin(pin).ok()?;
    let id = program.attach_to_link(SchedClassifierLink::try_from(FdLink::from(link)).ok()?).ok()?;
    // The pin holds it.
    program.take_link(id).ok().map(drop)
}

fn pin_link(program: &mut SchedClassifier, id: SchedClassifierLinkId, pin: &Path) -> Result<(), Error> {
    let link = program.take_link(id).map_err(Error::Program)?;
    let link = FdLink::try_from(link).map_err(|_| Error::NoLink)?;
    link.pin(pin).map(drop).map_err(|error| Error::pin(pin, error))
}

//! The egress program on an interface.

use std::path::Path;

use aya::programs::TcAttachType;

use super::hook::Hook;
use super::program::Code;
use super::{Error, Program};

const EGRESS: Hook = Hook { program: "vip_egress", way: TcAttachType::Egress };

impl Program {
    /// Keeps what is from a VIP from leaving by an interface while this node does not serve it, with a pin at `pin`. The program
    /// takes the place of a former run's. `false` if a former run has found out that the kernel cannot do that.
    ///
    /// # Errors
    /// The kernel's, which may lack traffic control; nothing is left behind.
    pub fn attach_egress(&mut self, iface: &str, pin: &Path) -> Result<bool, Error> {
        let Code::Loaded { ebpf, .. } = &mut self.code else { return Ok(pin.exists()) };
        EGRESS.attach(ebpf, iface, pin).map(|()| true)
    }
}

/// Takes the egress program off an interface, and its pin away.
///
/// # Errors
/// The kernel's; where there is no such program, or no such interface any more, there is none.
pub fn remove_egress(iface: &str, pin: &Path) -> Result<(), Error> {
    EGRESS.remove(iface, pin)
}

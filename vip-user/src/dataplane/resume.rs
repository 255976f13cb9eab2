//! A start that finds everything where it wants it: after the death of a daemon alone, and after a restart. The program
//! is not loaded and verified anew, which takes longer than a short lease lasts.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;

use aya::programs::Xdp;
use aya_obj::programs::XdpAttachType;
use vip_common::maps;

use super::program::Code;
use super::{DataPlane, Error, Maps, OBJECT, Parts, Pins, Program, ProgramLog, pins, remove_pin};

/// What the pins of programs begin with.
const PREFIX: &str = "program-";

/// What a start has to have in common with the run before, for it to go on with that one's programs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Wishes {
    /// Whether there is to be an egress fence, where the kernel can have one.
    pub egress_fence: bool,
    /// Programs that log are loaded anew.
    pub log: ProgramLog,
}

/// The data plane of a former run of this build, with these wishes, whose program is on all of these interfaces (by name and
/// index) and whose maps are whole; `None` if it is not quite that: [`load`](super::load) then.
pub fn resume(pins: &Pins, interfaces: &[(&str, u32)], wishes: Wishes) -> Option<DataPlane> {
    let pin = pin(pins, wishes)?;
    if !pin.exists() || !interfaces.iter().all(|(iface, index)| pins.fence(iface, *index)) {
        return None;
    }
    let program = Xdp::from_pin(pin, XdpAttachType::Interface).ok()?;
    let id = program.info().ok()?.id();
    let is_on = |iface: &str| pins::link_program(&pins.link(iface)).is_ok_and(|program| program == id);
    if !interfaces.iter().all(|(iface, _)| is_on(iface)) {
        return None;
    }
    let parts = Parts::take(&mut Maps::Pinned(pins)).ok()?;
    Some(parts.with(Program::resumed(program), true))
}

impl Program {
    /// Lets a later start [`resume`] with what is on the interface now: to be called once all of it is.
    ///
    /// # Errors
    /// [`Error::Pin`]; the later start loads the program anew.
    pub fn let_resume(&mut self, pins: &Pins, wishes: Wishes) -> Result<(), Error> {
        if matches!(self.code, Code::Resumed(_)) {
            return Ok(());
        }
        for former in pins.all_named(PREFIX) {
            remove_pin(&former)?;
        }
        let Some(pin) = pin(pins, wishes) else { return Ok(()) };
        self.xdp_mut()?.pin(&pin).map_err(|error| Error::pin(&pin, error))
    }
}

/// What tells this build's data plane from others': its programs, and the layout of its maps.
pub fn identity() -> String {
    let mut hasher = DefaultHasher::new();
    (OBJECT, maps::LAYOUT_VERSION).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Where the program is pinned: its name tells builds and wishes apart. `None` where no start can go on with it.
fn pin(pins: &Pins, wishes: Wishes) -> Option<PathBuf> {
    if wishes.log == ProgramLog::Debug {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    (OBJECT, wishes).hash(&mut hasher);
    Some(pins.map(&format!("{PREFIX}{:016x}", hasher.finish())))
}

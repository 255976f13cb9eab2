//! How the data plane runs, and why not better: what `status` says of it.

use crate::config::XdpMode;
use crate::dataplane::Attached;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Mode {
    /// Native, generic or off.
    pub(super) xdp: XdpMode,
    /// Why it is not native; none where it is.
    pub(super) reason: Option<String>,
}

impl Mode {
    /// That of a program on an interface, where `wished` was tried, for which `why_wished` may say why, and
    /// `why_not_native` is what the kernel said against the better mode.
    pub(super) fn of_xdp(
        is_generic: bool,
        attached: Attached,
        why_wished: Option<String>,
        why_not_native: Option<&str>,
    ) -> Self {
        if !is_generic {
            return Self { xdp: XdpMode::Native, reason: None };
        }
        let refusal = why_not_native.map(|why| format!("native XDP is refused: {why}"));
        let reason = match attached {
            Attached::Replaced | Attached::Resumed => "a former run has attached the program so".to_owned(),
            Attached::Native | Attached::Generic => {
                why_wished.or(refusal).unwrap_or_else(|| "the kernel chose so".to_owned())
            }
        };
        Self { xdp: XdpMode::Generic, reason: Some(reason) }
    }

    /// None at all.
    pub(super) const fn off(reason: String) -> Self {
        Self { xdp: XdpMode::Off, reason: Some(reason) }
    }
}

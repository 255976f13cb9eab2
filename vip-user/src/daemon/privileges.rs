//! The capabilities that the daemon cannot do without, and the limits, checked before anything is touched.

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::XdpMode;
use crate::exit::Failure;

const NEEDED: [(Capability, &str); 2] = [
    (Capability::CAP_NET_ADMIN, "XDP, addresses and sysctls"),
    (Capability::CAP_NET_RAW, "ARP announcements"),
];

/// What XDP takes besides.
const NEEDED_FOR_XDP: [(Capability, &str); 2] =
    [(Capability::CAP_PERFMON, "loading the XDP program"), (Capability::CAP_BPF, "loading the XDP program")];

/// Files that have to be allowed to be open: of the program and its maps about 50, of clients 32, and those of handlers.
const OPEN_FILES: u64 = 128;

/// Sees to it that enough files can be open.
///
/// # Errors
/// [`Exit::Refused`](crate::exit::Exit::Refused) if the hard limit forbids it.
pub(super) fn allow_open_files() -> Result<(), Failure> {
    let failed = |error| Failure::refused(format!("cannot see to the limit of open files: {error}"));
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    if soft >= OPEN_FILES {
        return Ok(());
    }
    if hard < OPEN_FILES {
        return Err(Failure::refused(format!(
            "only {hard} files can be open at a time, and {OPEN_FILES} are needed: raise the limit (`ulimit -n`, or \
             LimitNOFILE of the service)"
        )));
    }
    setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, hard).map_err(failed)
}

/// Checks the effective capabilities of this process for what is to run.
///
/// # Errors
/// [`Exit::NoPrivilege`](crate::exit::Exit::NoPrivilege), with all that are missing.
pub(super) fn check(xdp: XdpMode) -> Result<(), Failure> {
    let effective = caps::read(None, CapSet::Effective)
        .map_err(|error| Failure::refused(format!("cannot read this process's capabilities: {error}")))?;
    let missing = missing(&effective, xdp);
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::no_privilege(format!(
        "missing {}; run as root, or grant them to the service",
        missing.join(", ")
    )))
}

fn missing(effective: &CapsHashSet, xdp: XdpMode) -> Vec<String> {
    let for_xdp = NEEDED_FOR_XDP.iter().filter(|_| xdp != XdpMode::Off);
    let lacking = NEEDED.iter().chain(for_xdp).filter(|(capability, _)| !effective.contains(capability));
    lacking.map(|(capability, purpose)| format!("{capability} (for {purpose})")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_missing_with_all_capabilities_and_all_is_without() {
        assert_eq!(missing(&caps::all(), XdpMode::Auto), Vec::<String>::new());
        let none = CapsHashSet::new();
        assert_eq!(missing(&none, XdpMode::Auto).len(), NEEDED.len() + NEEDED_FOR_XDP.len());
        assert_eq!(
            missing(&none, XdpMode::Off).len(),
            NEEDED.len(),
            "without XDP, no privilege for it is needed"
        );
    }

    #[test]
    fn a_missing_capability_is_named() {
        let mut all = caps::all();
        all.remove(&Capability::CAP_BPF);
        assert_eq!(missing(&all, XdpMode::Native), ["CAP_BPF (for loading the XDP program)"]);
    }
}

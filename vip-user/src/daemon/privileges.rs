//! The capabilities that the daemon cannot do without, checked before anything is touched.

use std::fs;

use crate::config::XdpMode;
use crate::exit::Failure;

/// Name, number (`linux/capability.h`) and what it is for.
type Capability = (&'static str, u32, &'static str);

const NEEDED: [Capability; 2] =
    [("CAP_NET_ADMIN", 12, "XDP, addresses and sysctls"), ("CAP_NET_RAW", 13, "ARP announcements")];

/// What XDP takes besides.
const NEEDED_FOR_XDP: [Capability; 2] =
    [("CAP_PERFMON", 38, "loading the XDP program"), ("CAP_BPF", 39, "loading the XDP program")];

/// Checks the effective capabilities of this process for what is to run.
///
/// # Errors
/// [`Exit::NoPrivilege`](crate::exit::Exit::NoPrivilege), with all that are missing.
pub(super) fn check(xdp: XdpMode) -> Result<(), Failure> {
    let status = fs::read_to_string("/proc/self/status").map_err(|error| {
        Failure::refused(format!("cannot read /proc/self/status: {error}; is /proc mounted?"))
    })?;
    let missing = missing(effective(&status).unwrap_or(0), xdp);
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::no_privilege(format!(
        "missing {}; run as root, or grant them to the service",
        missing.join(", ")
    )))
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn missing(effective: u64, xdp: XdpMode) -> Vec<String> {
    let for_xdp = NEEDED_FOR_XDP.iter().filter(|_| xdp != XdpMode::Off);
    let lacking = NEEDED.iter().chain(for_xdp).filter(|(_, number, _)| effective >> number & 1 == 0);
    lacking.map(|(name, _, purpose)| format!("{name} (for {purpose})")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_missing_with_all_capabilities_and_all_is_without() {
        assert_eq!(missing(u64::MAX, XdpMode::Auto), Vec::<String>::new());
        assert_eq!(missing(0, XdpMode::Auto).len(), NEEDED.len() + NEEDED_FOR_XDP.len());
        assert_eq!(
            missing(0, XdpMode::Off).len(),
            NEEDED.len(),
            "without XDP, no privilege for it is needed"
        );
    }

    #[test]
    fn a_missing_capability_is_named() {
        assert_eq!(missing(!(1 << 39), XdpMode::Native), ["CAP_BPF (for loading the XDP program)"]);
    }

    #[test]
    fn the_effective_set_is_read_from_the_status_file() {
        let status = "Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t00000000a80425fb\nCapBnd:\t0\n";
        assert_eq!(effective(status), Some(0xa804_25fb));
        assert_eq!(effective("Name:\tx\n"), None);
    }
}

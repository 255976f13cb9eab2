//! The capabilities that the daemon cannot do without, checked before anything is touched.

use std::fs;

use crate::exit::Failure;

/// Name, number (`linux/capability.h`) and what it is for.
const NEEDED: [(&str, u32, &str); 4] = [
    ("CAP_NET_ADMIN", 12, "XDP, addresses and sysctls"),
    ("CAP_NET_RAW", 13, "ARP announcements"),
    ("CAP_PERFMON", 38, "loading the XDP program"),
    ("CAP_BPF", 39, "loading the XDP program"),
];

/// Checks the effective capabilities of this process.
///
/// # Errors
/// [`Exit::NoPrivilege`](crate::exit::Exit::NoPrivilege), with all that are missing.
pub(super) fn check() -> Result<(), Failure> {
    let status = fs::read_to_string("/proc/self/status").map_err(|error| {
        Failure::refused(format!("cannot read /proc/self/status: {error}; is /proc mounted?"))
    })?;
    let missing = missing(effective(&status).unwrap_or(0));
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

fn missing(effective: u64) -> Vec<String> {
    let lacking = NEEDED.iter().filter(|(_, number, _)| effective >> number & 1 == 0);
    lacking.map(|(name, _, purpose)| format!("{name} (for {purpose})")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_missing_with_all_capabilities_and_all_is_without() {
        assert_eq!(missing(u64::MAX), Vec::<String>::new());
        assert_eq!(missing(0).len(), NEEDED.len());
    }

    #[test]
    fn a_missing_capability_is_named() {
        assert_eq!(missing(!(1 << 39)), ["CAP_BPF (for loading the XDP program)"]);
    }

    #[test]
    fn the_effective_set_is_read_from_the_status_file() {
        let status = "Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t00000000a80425fb\nCapBnd:\t0\n";
        assert_eq!(effective(status), Some(0xa804_25fb));
        assert_eq!(effective("Name:\tx\n"), None);
    }
}

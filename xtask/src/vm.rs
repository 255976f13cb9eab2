//! `cargo xtask test --vm`: tests that run here, run on other kernels as well, in virtual machines.
//!
//! Here: which kernels and which tests, and what came out. Where the kernels come from is in `kernel`, what is booted with
//! them in `initramfs`, and a machine's life in `guest`.

mod guest;
mod initramfs;
mod kernel;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use vip_tests::{interrupt, machine};

use self::{guest::Guest, initramfs::Initramfs, kernel::Kernel};
use crate::{
    cargo::{Profile, build_daemon, build_tests, target_dir},
    setup,
};

/// Debian's lines of kernels for virtual machines.
const LINES: [&str; 2] = ["6.1", "6.12"];
/// What the kernels may have as modules, each behind those that it needs.
const MODULES: [&str; 21] = [
    "failover",
    "net_failover",
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_net",
    "veth",
    "llc",
    "stp",
    "bridge",
    "dummy",
    "sch_ingress",
    "cls_bpf",
    "garp",
    "mrp",
    "8021q",
    "tls",
    "bonding",
    "macvlan",
];
/// What the tests run.
const TOOLS: [&str; 3] = ["ip", "ethtool", "timeout"];
/// For a client and three nodes; as a guest calls them.
const CARDS: [&str; 4] = ["eth0", "eth1", "eth2", "eth3"];
const DAEMON: &str = "vip-user";
/// Begins the line that a guest writes before a check.
const MARK: &str = "check: ";

/// Tests that run in each guest. Few, since each loads the program, and the verifier takes seconds in a guest.
struct Check {
    name: &'static str,
    /// The test program.
    program: &'static str,
    /// The tests' full names.
    tests: &'static [&'static str],
    /// Whether client and nodes are connected by network cards of the machine, and not by veth.
    on_cards: bool,
}

/// One for each kind of frame, and for each kernel facility that not all frames need.
const DATA_PLANE: &[&str] = &[
    "dataplane::arp::a_request_for_a_held_vip_is_answered_as_rfc_826_has_it",
    "dataplane::ndp::s7_2_4_a_solicitation_for_a_held_vip_is_answered",
    "dataplane::ipv4::the_fence_closes_when_the_lease_ends_without_anybody_doing_anything",
    "dataplane::ipv6::extension_headers_are_fenced_like_any_packet",
    "dataplane::requests::prepare_is_promised_and_propose_accepted",
    "dataplane::answers::a_quorum_of_accepted_answers_extends_the_lease_word",
    "dataplane::forwarding::while_a_lease_changes_hands_what_comes_for_the_vip_is_kept",
    "dataplane::vrrp::adverts_of_every_version_reach_the_daemon",
    "dataplane::egress::what_is_from_a_vip_leaves_while_it_is_held_also_without_a_daemon_and_under_the_next_one",
    "dataplane::tee::fragments_follow_their_first_one",
    "dataplane::tee::the_holder_sends_each_standby_one_copy_of_what_clients_send",
];
const FAILOVER: &[&str] =
    &["cluster::faults::when_the_holder_is_killed_another_node_serves_and_keeps_serving"];
/// The kinds of interfaces that the kernels of other machines may lack.
const STACKS: &[&str] = &["cluster::stacks::a_vip_moves_from_a_vlan_to_a_bond_and_a_macvlan"];
const CHECKS: [Check; 4] = [
    Check { name: "data plane", program: "dataplane", tests: DATA_PLANE, on_cards: false },
    Check { name: "failover, native XDP on veth", program: "cluster", tests: FAILOVER, on_cards: false },
    Check { name: "failover, native XDP on virtio-net", program: "cluster", tests: FAILOVER, on_cards: true },
    Check {
        name: "VLAN, bond and macvlan, with XDP and without",
        program: "cluster",
        tests: STACKS,
        on_cards: false,
    },
];

/// Runs the checks on every kernel, and says what came out; `false` if something failed.
///
/// # Errors
/// When something is missing that it takes, and cannot be had.
pub(crate) fn passes() -> Result<bool> {
    let place = place()?;
    let kernels = LINES.iter().map(|line| kernel(line, &place)).collect::<Result<_>>()?;
    check(kernels, &place)
}

/// As [`passes`], for the kernels that can be had; says which cannot, and why.
pub(crate) fn passes_where_it_runs() -> Result<bool> {
    let place = place()?;
    let mut kernels = Vec::new();
    for line in LINES {
        match kernel(line, &place) {
            Ok(kernel) => kernels.push(kernel),
            Err(missing) => {
                interrupt::check()?;
                eprintln!("NOT RUN ON LINUX {line}: {missing:#}");
            }
        }
    }
    if kernels.is_empty() { Ok(true) } else { check(kernels, &place) }
}

/// Where kernels, file systems and logs are.
fn place() -> Result<PathBuf> {
    let place = target_dir().join("vm");
    fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    Ok(place)
}

/// A kernel, and what it takes to boot it.
fn kernel(line: &str, place: &Path) -> Result<Kernel> {
    setup::ensure_vm_tools()?;
    Kernel::get(line, place)
}

/// Boots all kernels at a time.
fn check(kernels: Vec<Kernel>, place: &Path) -> Result<bool> {
    let programs = programs(place)?;
    let boot = |kernel: Kernel| {
        let [initramfs, log] = ["cpio", "log"].map(|kind| place.join(format!("{}.{kind}", kernel.release)));
        with_modules(programs.clone(), &kernel)?.write(&initramfs)?;
        Guest::boot(kernel, &initramfs, CARDS.len(), log)
    };
    let guests = kernels.into_iter().map(boot).collect::<Result<Vec<_>>>()?;
    let mut all_passed = true;
    for guest in guests {
        all_passed &= tell(guest)?;
    }
    Ok(all_passed)
}

/// What runs in every guest.
fn programs(place: &Path) -> Result<Initramfs> {
    let mut files = Initramfs::default();
    files.add_program("bin/busybox", &path_of("busybox")?, place)?;
    for tool in TOOLS {
        files.add_program(&format!("usr/bin/{tool}"), &path_of(tool)?, place)?;
    }
    files.add_program(DAEMON, &build_daemon(Profile::Dev)?, place)?;
    for (name, program) in build_tests()? {
        if CHECKS.iter().any(|check| check.program == name) {
            files.add_program(&name, &program, place)?;
        }
    }
    for directory in ["dev", "proc", "run", "sys", "tmp"] {
        files.add_directory(directory);
    }
    files.add("init", init().into_bytes());
    Ok(files)
}

fn with_modules(mut files: Initramfs, kernel: &Kernel) -> Result<Initramfs> {
    for (number, name) in MODULES.iter().enumerate() {
        if let Some(content) = kernel.module(name)? {
            files.add(format!("modules/{number:02}-{name}.ko"), content);
        }
    }
    Ok(files)
}

/// The first program of a guest: runs the checks one after the other.
fn init() -> String {
    let mut script = format!(
        r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin VIP_USER_BIN=/{DAEMON} {emulated}=1 {complete}=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t bpf bpf /sys/fs/bpf
for module in /modules/*; do insmod $module; done
ip link set lo up
# Also where nobody waits for its end any more.
(sleep {limit}; poweroff -f) &
"#,
        emulated = machine::EMULATED,
        complete = machine::COMPLETE,
        limit = guest::LIMIT.as_secs(),
    );
    for Check { name, program, tests, on_cards } in CHECKS {
        let cards = if on_cards { CARDS.join(" ") } else { String::new() };
        script += &format!("echo '{MARK}{name}'\n");
        let command = format!("/{program} --test-threads=1 --exact {}", tests.join(" "));
        script += &format!("{}='{cards}' {command}\n", machine::CARDS);
    }
    script + "poweroff -f\n"
}

/// Waits for a guest's end and says what came out; `false` if a check failed.
fn tell(mut guest: Guest) -> Result<bool> {
    let said = guest.wait()?;
    let passed = CHECKS.map(|check| {
        let passed = has_passed(&said, &check);
        let outcome = if passed { "passed" } else { "FAILED" };
        println!("Linux {}, {}: {outcome}", guest.kernel.release, check.name);
        passed
    });
    let all_passed = passed.iter().all(|passed| *passed);
    if !all_passed {
        guest.show_last_words(&said);
    }
    Ok(all_passed)
}

/// Whether all tests of a check ran and passed.
fn has_passed(said: &str, check: &Check) -> bool {
    let mut lines = said.lines().map(str::trim_end);
    let begun = lines.any(|line| line.strip_prefix(MARK) == Some(check.name));
    let result = format!("test result: ok. {} passed; 0 failed", check.tests.len());
    begun && lines.take_while(|line| !line.starts_with(MARK)).any(|line| line.starts_with(&result))
}

/// A program of this machine.
fn path_of(program: &str) -> Result<PathBuf> {
    setup::find_program(program).with_context(|| format!("no program {program}"))
}

/// Runs a command to its end and gives what it has written.
fn run(command: &mut Command) -> Result<Vec<u8>> {
    let program = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {program}"))?;
    interrupt::check()?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_has_passed_if_all_its_tests_have() {
        let said = "check: one\r\ntest result: ok. 2 passed; 0 failed; 0 ignored\r\n\
                    check: two\r\ntest result: FAILED. 1 passed; 1 failed\r\n\
                    check: three\r\n\
                    check: four\r\ntest result: ok. 1 passed; 0 failed\r\n";
        let cases = [("one", true), ("two", false), ("three", false), ("four", false), ("five", false)];
        for (name, passed) in cases {
            let check = Check { name, program: "", tests: &["a", "b"], on_cards: false };
            assert_eq!(has_passed(said, &check), passed, "{name}");
        }
    }
}

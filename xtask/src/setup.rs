//! `cargo xtask setup`: what the eBPF build and the tests need, by apt where rustup and cargo cannot.
//!
//! It changes nothing that is there already, so the other commands run it first and it is silent when all is well.

mod debian;
pub(crate) mod fronts;
pub(crate) mod serf;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result, bail};
use ebpf_build::Toolchain;
use nix::unistd::geteuid;
use vip_tests::lab::{BPFFS, mount_bpffs};

use crate::{cargo::cargo, dist::program::find_unwinder};

/// Commands that the tests run, and the Debian packages that have them.
const TOOLS: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("bpftool", "bpftool"),
    ("ethtool", "ethtool"),
    ("strace", "strace"),
    ("tcpdump", "tcpdump"),
];
/// What the tests look at the web page with, likewise.
const BROWSERS: [(&str, &str); 1] = [("chromium", "chromium")];
/// Commands that run other kernels in virtual machines, and the Debian packages that have them.
const VM_TOOLS: [(&str, &str); 3] =
    [("qemu-system-x86_64", "qemu-system-x86"), ("busybox", "busybox-static"), ("strip", "binutils")];
/// Commands that `cargo xtask dist` needs besides a compiler, likewise.
const DIST_TOOLS: [(&str, &str); 2] = [("musl-gcc", "musl-tools"), ("dpkg-deb", "dpkg")];
/// What the standard library unwinds with where there is no glibc.
const UNWINDER: &str = "libunwind-19-dev";
/// Commands that only `cargo xtask bench traffic` runs, likewise.
const TRAFFIC_TOOLS: [(&str, &str); 1] = [("iperf3", "iperf3")];
/// What benches compare with, and the Debian packages that have it.
const PEERS: [(&str, &str); 2] = [("keepalived", "keepalived"), ("ucarp", "ucarp")];
/// What the tests speak VRRP with, and read it by, likewise.
const ROUTERS: [(&str, &str); 3] = [("keepalived", "keepalived"), ("vtysh", "frr"), ("tshark", "tshark")];
/// A compiler with the sources of `core`, for machines where rustup has no nightly with them.
const TOOLCHAIN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// The newest that uses the LLVM of the Rust compiler, and needs none of its own.
const BPF_LINKER_VERSION: &str = "0.10.3";

/// Does everything, and says what it did or found, a line for each.
pub(crate) fn run() -> Result<ExitCode> {
    let steps = BUILD_STEPS.iter().chain(&TEST_STEPS).chain(&BROWSER_STEPS).chain(&SERF_STEPS);
    for step in steps.chain(&FRONT_STEPS).chain(&FUZZ_STEPS).chain(&VM_STEPS) {
        match step()? {
            Outcome::Found(what) => println!("found      {what}"),
            Outcome::Did(what) => println!("set up     {what}"),
            Outcome::Missing(what) => println!("missing    {what}"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What it takes to build the XDP object; says only what had to be done.
pub(crate) fn ensure_build_tools() -> Result<()> {
    ensure(&BUILD_STEPS)
}

/// What it takes to build everything and to test it; says only what had to be done.
pub(crate) fn ensure_all() -> Result<()> {
    ensure(&BUILD_STEPS)?;
    ensure(&TEST_STEPS)
}

/// What tests look at the web page with; says only what had to be done.
pub(crate) fn ensure_browser() -> Result<()> {
    ensure(&BROWSER_STEPS)
}

/// What tests compare handlers with, where it can be had; says only what had to be done, or could not be.
pub(crate) fn ensure_serf() -> Result<()> {
    ensure(&SERF_STEPS)
}

/// What tests and benches put on the VIPs, where it can be had; says only what had to be done, or could not be.
pub(crate) fn ensure_fronts() -> Result<()> {
    ensure(&FRONT_STEPS)
}

/// What the tests speak VRRP with; says only what had to be done.
pub(crate) fn ensure_routers() -> Result<()> {
    ensure(&ROUTER_STEPS)
}

/// What it takes to build the fuzz targets beyond [`ensure_build_tools`]; says only what had to be done.
pub(crate) fn ensure_fuzz_tools() -> Result<()> {
    ensure(&FUZZ_STEPS)
}

/// What it takes to run tests on other kernels beyond [`ensure_all`]; says only what had to be done.
pub(crate) fn ensure_vm_tools() -> Result<()> {
    ensure(&VM_STEPS)
}

/// What it takes to build what is shipped; says only what had to be done.
pub(crate) fn ensure_dist_tools() -> Result<()> {
    ensure(&BUILD_STEPS)?;
    ensure(&DIST_STEPS)
}

/// What `cargo xtask bench traffic` needs beyond [`ensure_all`]; says only what had to be done.
pub(crate) fn ensure_traffic_tools() -> Result<()> {
    ensure(&TRAFFIC_STEPS)
}

/// The peers that benches compare with; says only what had to be done.
pub(crate) fn ensure_peers() -> Result<()> {
    ensure(&PEER_STEPS)
}

type Step = fn() -> Result<Outcome>;

const BUILD_STEPS: [Step; 2] = [toolchain, bpf_linker];
const TEST_STEPS: [Step; 2] = [tools, bpf_file_system];
const BROWSER_STEPS: [Step; 1] = [|| install_missing("browser", &BROWSERS)];
const SERF_STEPS: [Step; 2] = [serf::program, serf::library];
const FRONT_STEPS: [Step; 1] = [fronts::programs];
/// Not among those of [`run`], as [`PEER_STEPS`].
const ROUTER_STEPS: [Step; 1] = [|| install_missing("routers", &ROUTERS)];
const FUZZ_STEPS: [Step; 1] = [cxx_compiler];
const VM_STEPS: [Step; 1] = [virtual_machines];
const DIST_STEPS: [Step; 2] = [|| install_missing("what is shipped", &DIST_TOOLS), unwinder];
const TRAFFIC_STEPS: [Step; 1] = [|| install_missing("traffic", &TRAFFIC_TOOLS)];
/// Not among those of [`run`]: who measures nothing wants no other keepalived on the machine.
const PEER_STEPS: [Step; 1] = [|| install_missing("peers", &PEERS)];

enum Outcome {
    /// Nothing had to be done.
    Found(String),
    /// It was missing and is there now.
    Did(String),
    /// It cannot be had, and things go on without.
    Missing(String),
}

fn ensure(steps: &[Step]) -> Result<()> {
    for step in steps {
        match step()? {
            Outcome::Found(_) => {}
            Outcome::Did(what) => eprintln!("set up: {what}"),
            Outcome::Missing(what) => eprintln!("missing: {what}"),
        }
    }
    Ok(())
}

fn toolchain() -> Result<Outcome> {
    let describe = |toolchain: Toolchain| format!("compiler for the BPF target: {}", toolchain.name);
    if let Ok(toolchain) = Toolchain::find() {
        return Ok(Outcome::Found(describe(toolchain)));
    }
    apt_install(&TOOLCHAIN_PACKAGES).context(
        "no compiler for the BPF target; `rustup toolchain install nightly --component rust-src` gets one, too",
    )?;
    Ok(Outcome::Did(describe(Toolchain::find()?)))
}

fn bpf_linker() -> Result<Outcome> {
    if is_installed("bpf-linker") {
        return Ok(Outcome::Found("bpf-linker".to_owned()));
    }
    let status =
        cargo("install").args(["bpf-linker", "--version", BPF_LINKER_VERSION, "--locked"]).status()?;
    if !status.success() {
        bail!("cargo install bpf-linker --version {BPF_LINKER_VERSION} --locked: {status}");
    }
    Ok(Outcome::Did(format!("bpf-linker {BPF_LINKER_VERSION}")))
}

fn tools() -> Result<Outcome> {
    install_missing("tools", &TOOLS)
}

fn unwinder() -> Result<Outcome> {
    if let Ok(file) = find_unwinder() {
        return Ok(Outcome::Found(file.display().to_string()));
    }
    apt_install(&[UNWINDER])?;
    Ok(Outcome::Did(find_unwinder()?.display().to_string()))
}

fn virtual_machines() -> Result<Outcome> {
    install_missing("virtual machines", &VM_TOOLS)
}

/// Sees to it that these commands are there, each with the package that has it.
fn install_missing(what: &str, tools: &[(&str, &str)]) -> Result<Outcome> {
    let (missing, present): (Vec<_>, Vec<_>) = tools.iter().partition(|(command, _)| !is_installed(command));
    let list =
        |tools: &[&(&str, &str)]| tools.iter().map(|(command, _)| *command).collect::<Vec<_>>().join(", ");
    if missing.is_empty() {
        return Ok(Outcome::Found(format!("{what}: {}", list(&present))));
    }
    apt_install(&missing.iter().map(|(_, package)| *package).collect::<Vec<_>>())?;
    Ok(Outcome::Did(format!("{what}: {}", list(&missing))))
}

fn bpf_file_system() -> Result<Outcome> {
    let what = format!("BPF file system on {BPFFS}");
    Ok(if mount_bpffs()? { Outcome::Did(what) } else { Outcome::Found(what) })
}

/// For libFuzzer, which is written in C++. Called `c++`, unless CXX says otherwise.
fn cxx_compiler() -> Result<Outcome> {
    let command = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    if is_installed(&command) {
        return Ok(Outcome::Found(format!("C++ compiler: {command}")));
    }
    apt_install(&["g++"]).with_context(|| format!("no C++ compiler {command}, which libFuzzer needs"))?;
    Ok(Outcome::Did("C++ compiler: g++".to_owned()))
}

/// Installs Debian packages; what apt says goes to stderr, as stdout may be for programs.
fn apt_install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if !is_installed("apt-get") {
        bail!("missing: {list} (Debian's names); without apt-get, install them by hand");
    }
    if !geteuid().is_root() {
        bail!("missing: {list}; run `cargo xtask setup` with sudo");
    }
    update_package_lists()?;
    apt_get(&[&["install", "--quiet=2", "--yes", "--no-install-recommends"], packages].concat())
}

/// Fetches apt's lists of packages, once in a run.
pub(crate) fn update_package_lists() -> Result<()> {
    static UPDATED: AtomicBool = AtomicBool::new(false);
    if UPDATED.swap(true, Ordering::Relaxed) { Ok(()) } else { apt_get(&["update", "--quiet=2"]) }
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(std::io::stderr());
    let status = command.status().context("cannot run apt-get")?;
    if !status.success() {
        bail!("apt-get {}: {status}", arguments.join(" "));
    }
    Ok(())
}

fn is_installed(command: &str) -> bool {
    find_program(command).is_some()
}

/// The file of a command. Also looks where cargo installs to, which sudo may have taken out of `PATH`.
pub(crate) fn find_program(command: &str) -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(Into::into);
    let cargo_home = home.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")));
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(cargo_home.map(|home| home.join("bin")));
    directories.map(|directory| directory.join(command)).find(|file| file.is_file())
}

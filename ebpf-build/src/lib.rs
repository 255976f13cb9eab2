//! The one way to build the XDP object: `vip-user`'s build script and `cargo xtask build-ebpf` both call [`build`].
//!
//! The BPF target has no prebuilt `core`, so the compiler needs its own sources. Two toolchains have them where they
//! are installed: rustup's nightly with `rust-src`, and Debian's packages. `bpf-linker` links, and borrows LLVM from
//! a rustc.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

const TARGET: &str = "bpfel-unknown-none";
const OBJECT: &str = "vip-ebpf";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

/// A compiler that can build `core` for the BPF target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// As told to people.
    pub name: String,
    rustc: PathBuf,
    cargo: PathBuf,
}

impl Toolchain {
    /// The toolchain that [`build`] will take: a rustup nightly with `rust-src`, else Debian's.
    ///
    /// # Errors
    /// When there is neither; the message has the command to run.
    pub fn find() -> Result<Self> {
        [Self::nightly(), Self::debian()].into_iter().flatten().find(Self::has_core_sources).context(
            "no toolchain can build for the BPF target: run `cargo xtask setup` \
             (or `rustup toolchain install nightly --component rust-src`)",
        )
    }

    fn nightly() -> Option<Self> {
        let which = |tool| {
            let path = output(Command::new("rustup").args(["which", "--toolchain", "nightly", tool]))?;
            Some(PathBuf::from(path))
        };
        Some(Self { name: "rustup's nightly".into(), rustc: which("rustc")?, cargo: which("cargo")? })
    }

    fn debian() -> Option<Self> {
        let (rustc, cargo) = (PathBuf::from(DEBIAN_RUSTC), PathBuf::from(DEBIAN_CARGO));
        let exists = rustc.exists() && cargo.exists();
        exists.then(|| Self { name: "Debian's rustc-web".into(), rustc, cargo })
    }

    fn has_core_sources(&self) -> bool {
        self.sysroot().is_some_and(|root| root.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists())
    }

    fn sysroot(&self) -> Option<PathBuf> {
        output(Command::new(&self.rustc).args(["--print", "sysroot"])).map(PathBuf::from)
    }

    /// A cargo command for the eBPF crate with everything set that must be; `subcommand` is `build` or `clippy`.
    ///
    /// # Errors
    /// When `bpf-linker` or an LLVM for it is missing; the message has the command to run.
    pub fn cargo(&self, subcommand: &str, target_dir: &Path) -> Result<Command> {
        let mut command = self.std_cargo(subcommand);
        command
            .args(["--package", "vip-ebpf", "--release", "--target", TARGET])
            .args(["-Z", "build-std=core", "--target-dir"])
            .arg(target_dir)
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags())
            .env("LD_LIBRARY_PATH", llvm_directory()?)
            .env("PATH", path_with_cargo_bin()?);
        Ok(command)
    }

    /// A cargo command in this workspace that can build parts of the standard library (`-Z build-std`).
    pub fn std_cargo(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.cargo);
        command
            .arg(subcommand)
            .current_dir(workspace())
            .env("RUSTC", &self.rustc)
            .env("RUSTC_BOOTSTRAP", "1");
        // Set by the cargo that runs a build script, for another compiler than this one.
        for inherited in
            ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "CARGO", "RUSTUP_TOOLCHAIN"]
        {
            command.env_remove(inherited);
        }
        command
    }
}

/// Builds the XDP object and puts it into `out_dir`; gives its path. Cargo's own output goes to standard error.
///
/// What is built on the way is in one place, whoever asks for the object: `core` takes most of the time.
///
/// # Errors
/// When a tool is missing (the message has the command to run), or the program does not compile.
pub fn build(out_dir: &Path) -> Result<PathBuf> {
    let target_dir = target_dir().join("ebpf");
    let toolchain = Toolchain::find()?;
    let status =
        toolchain.cargo("build", &target_dir)?.status().context("cannot run cargo for the eBPF crate")?;
    if !status.success() {
        bail!("the eBPF crate does not build with {} ({status})", toolchain.name);
    }
    let built = target_dir.join(TARGET).join("release").join(OBJECT);
    let object = out_dir.join("vip-ebpf.o");
    fs::copy(&built, &object)
        .with_context(|| format!("cannot copy {} to {}", built.display(), object.display()))?;
    Ok(object)
}

/// Directories whose change makes the object stale, for a build script's `rerun-if-changed`.
pub fn sources() -> impl Iterator<Item = PathBuf> {
    ["vip-ebpf/src", "vip-ebpf/Cargo.toml", "vip-common/src", "Cargo.lock"]
        .into_iter()
        .map(|path| workspace().join(path))
}

/// Where this workspace's build results go.
pub fn target_dir() -> PathBuf {
    workspace().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| OsString::from("target")))
}

/// The root of this repository.
pub fn workspace() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// Headers in packets lie at any alignment; the kernel takes such accesses where the machine does.
const MISALIGNED: &str = "-Ctarget-feature=+allows-misaligned-mem-access";

fn rustflags() -> OsString {
    let arch = format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH);
    let flags = [arch.as_str(), "-Cdebuginfo=2", "-Clink-arg=--btf", "-Clinker=bpf-linker", MISALIGNED];
    flags.join("\x1f").into()
}

/// Where a `libLLVM` for bpf-linker is: Debian's rustc links LLVM statically, rustup's toolchains ship it.
fn llvm_directory() -> Result<PathBuf> {
    let sysroots = ["rustc"].into_iter().filter_map(|rustc| {
        output(Command::new(rustc).env_remove("RUSTUP_TOOLCHAIN").args(["--print", "sysroot"]))
    });
    let rustup = ["stable", "nightly"].into_iter().filter_map(|toolchain| {
        output(Command::new("rustup").args(["run", toolchain, "rustc", "--print", "sysroot"]))
    });
    sysroots.chain(rustup).map(|root| Path::new(&root).join("lib")).find(|lib| ships_llvm(lib)).context(
        "bpf-linker finds no libLLVM: install a rustup toolchain (`rustup toolchain install stable`)",
    )
}

fn ships_llvm(lib: &Path) -> bool {
    let Ok(entries) = fs::read_dir(lib) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libLLVM"))
}

/// `PATH` with cargo's own bin directory, where `cargo install` puts bpf-linker.
fn path_with_cargo_bin() -> Result<OsString> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let path = env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> =
        home.map(|home| home.join("bin")).into_iter().chain(env::split_paths(&path)).collect();
    if !directories.iter().any(|directory| directory.join("bpf-linker").exists()) {
        bail!(
            "bpf-linker is missing: run `cargo xtask setup` (or `cargo install bpf-linker --version 0.10.3`)"
        );
    }
    env::join_paths(directories).context("PATH")
}

/// The first line that a command prints, if it succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned)
}

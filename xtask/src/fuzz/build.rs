//! The targets, compiled so that libFuzzer sees which way each input takes.
//!
//! The flags are those of cargo-fuzz 0.13. Any rustc takes them, so neither that nor a nightly is needed. AddressSanitizer
//! is an unstable flag and a library that not every toolchain ships: it is taken where it is there.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use vip_tests::interrupt;

use super::TARGETS;
use crate::cargo::{cargo, target_dir, workspace};

/// LLVM counts the edges of the control flow and shows the operands of comparisons (SanitizerCoverage).
const COVERAGE: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-sanitizer-coverage-stack-depth",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "--cfg=fuzzing",
];
const SANITIZER: &str = "-Zsanitizer=address";
/// Lets a stable rustc take [`SANITIZER`].
const UNSTABLE_FLAGS: &str = "RUSTC_BOOTSTRAP";

/// How this machine's rustc instruments programs.
pub(super) struct Instrumentation {
    host: String,
    sanitizer: bool,
}

/// A target that is built.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) path: PathBuf,
    /// The inputs that are kept in the repository.
    pub(super) kept: PathBuf,
    /// Words that inputs are made of.
    pub(super) dictionary: Option<PathBuf>,
}

impl Instrumentation {
    /// Asks rustc what it can do.
    ///
    /// # Errors
    /// When it cannot instrument; the message says what to do.
    pub(super) fn find() -> Result<Self> {
        let version = output(rustc().arg("-vV")).context("cannot run rustc")?;
        let host =
            version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
        if !takes(&[])? {
            bail!(
                "{} cannot instrument programs for libFuzzer: use a rustc that is built with LLVM, such as rustup's",
                version.lines().next().unwrap_or("rustc")
            );
        }
        let sanitizer = ships_sanitizer() && takes(&[SANITIZER])?;
        Ok(Self { host: host.to_owned(), sanitizer })
    }

    /// Whether the targets also find accesses to memory that is not theirs.
    pub(super) const fn has_sanitizer(&self) -> bool {
        self.sanitizer
    }

    /// Builds the targets that are `chosen` by their names, showing cargo's progress. `profile` is one of those in
    /// `fuzz/Cargo.toml`.
    pub(super) fn build(&self, profile: &str, chosen: impl Fn(&str) -> bool) -> Result<Vec<Program>> {
        let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).filter(|name| chosen(name)).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut flags = COVERAGE.to_vec();
        let mut command = cargo("build");
        if self.sanitizer {
            flags.push(SANITIZER);
            command.env(UNSTABLE_FLAGS, "1");
        }
        let fuzz = workspace().join("fuzz");
        let built = target_dir().join("fuzz");
        // With a target, flags are for its programs alone, and not for build scripts and macros.
        command.args(["--profile", profile, "--target", &self.host, "--target-dir"]).arg(&built);
        command.arg("--manifest-path").arg(fuzz.join("Cargo.toml"));
        command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        for name in &names {
            command.args(["--bin", name]);
        }
        let status = command.status().context("cannot run cargo")?;
        interrupt::check()?;
        if !status.success() {
            bail!("the fuzz targets do not build ({status})");
        }
        let program = |name| Program {
            name,
            path: built.join(&self.host).join(profile).join(name),
            kept: fuzz.join("corpus").join(name),
            dictionary: Some(fuzz.join("dictionaries").join(format!("{name}.dict")))
                .filter(|path| path.is_file()),
        };
        Ok(names.into_iter().map(program).collect())
    }
}

/// Whether rustc compiles with the flags for coverage and these.
fn takes(flags: &[&str]) -> Result<bool> {
    let directory = target_dir().join("fuzz");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let mut command = rustc();
    command.args(["--crate-name", "probe", "--crate-type", "lib", "--emit", "obj", "-o"]);
    command.arg(directory.join("probe.o")).args(COVERAGE).args(flags).arg("-");
    command.env(UNSTABLE_FLAGS, "1").stdin(Stdio::null()).stderr(Stdio::null());
    Ok(command.status().context("cannot run rustc")?.success())
}

/// Whether the toolchain has the sanitizer's run-time library.
fn ships_sanitizer() -> bool {
    let Some(directory) = output(rustc().args(["--print", "target-libdir"])) else { return false };
    let Ok(entries) = fs::read_dir(Path::new(directory.trim())) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().ends_with("_rt.asan.a"))
}

/// The compiler that cargo uses here.
fn rustc() -> Command {
    let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc")));
    command.current_dir(workspace());
    command
}

/// What a command prints, if it succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

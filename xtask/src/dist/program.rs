//! The program as it is shipped: linked with musl, so that it runs on every distribution, and in a container without any.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use ebpf_build::Toolchain;
use vip_tests::interrupt;

use crate::cargo::{target_dir, workspace};

/// Where Debian's packages libunwind-*-dev put what Rust's standard library unwinds with; GCC's own is for glibc alone.
const LLVMS: &str = "/usr/lib";
/// Compiles and links for musl.
const LINKER: &str = "musl-gcc";
const UNWINDER: &str = "libunwind.a";

/// Builds it, with the standard library, of which there is none for this target on most machines; gives its path.
pub(super) fn build() -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-musl", env::consts::ARCH);
    let build_dir = target_dir().join("musl");
    // Of its own, so that no other library of that directory is linked in.
    let libraries = build_dir.join("lib");
    fs::create_dir_all(&libraries)?;
    fs::copy(find_unwinder()?, libraries.join(UNWINDER))?;

    let toolchain = Toolchain::find()?;
    let mut command = toolchain.std_cargo("build");
    command
        .args(["--package", "vip-user", "--bin", "vip-user", "--release", "--locked", "--target", &target])
        .args(["-Z", "build-std=std,panic_abort", "--config", "profile.release.strip=\"debuginfo\""])
        .arg("--target-dir")
        .arg(&build_dir)
        .env(format!("CC_{}", target.replace('-', "_")), LINKER)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&libraries).join("\x1f"));
    let status = command.status().context("cannot run cargo for the program")?;
    interrupt::check()?;
    if !status.success() {
        bail!("the program does not build with {}: {status}", toolchain.name);
    }
    Ok(build_dir.join(target).join("release/vip-user"))
}

/// Of the compiler. The paths of this machine are nobody's business, and would make another program of the same sources.
fn flags(libraries: &Path) -> Vec<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")));
    let remapped = [Some((workspace(), "/vip-user")), home.map(|home| (home, "/cargo"))];
    let remapped = remapped.into_iter().flatten();
    let mut flags: Vec<_> =
        remapped.map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect();
    flags.extend(
        [
            &format!("-Clinker={LINKER}"),
            "-Clink-self-contained=no",
            "-Ctarget-feature=+crt-static",
            "-Crelocation-model=static",
        ]
        .map(|flag: &str| flag.to_owned()),
    );
    flags.push(format!("-L{}", libraries.display()));
    flags
}

/// The newest there is of the library that the standard library unwinds with, but for GCC's.
///
/// # Errors
/// There is none.
pub(crate) fn find_unwinder() -> Result<PathBuf> {
    let entries = fs::read_dir(LLVMS).with_context(|| format!("cannot read {LLVMS}"))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let versions = names.filter_map(|name| name.strip_prefix("llvm-")?.parse::<u32>().ok());
    let files =
        versions.map(|version| (version, PathBuf::from(format!("{LLVMS}/llvm-{version}/lib/{UNWINDER}"))));
    let newest = files.filter(|(_, file)| file.is_file()).max();
    newest.map(|(_, file)| file).context("no libunwind.a of LLVM below /usr/lib")
}

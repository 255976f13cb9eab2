//! `cargo xtask dist`: what is shipped, in target/dist: a program that needs no library, a Debian package, an archive, and
//! their checksums. One program is packed to the same bytes each time.

mod debian;
mod manuals;
pub(crate) mod program;
mod tree;
mod trial;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};

use self::tree::Tree;
use crate::{
    cargo::{target_dir, workspace},
    setup,
};

/// The workspace's.
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Package this program, in place of building one that needs no library
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Try the package: install, use, upgrade and remove it, on a machine made of namespaces; needs root and systemd
    #[arg(long)]
    pub(crate) check: bool,
}

/// Makes all of it, and prints the paths.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let out = target_dir().join("dist");
    // What is there from another time is not to be shipped.
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("cannot empty {}", out.display()))?;
    }
    fs::create_dir_all(&out)?;
    let built = match &arguments.program {
        Some(program) => program.clone(),
        None => {
            setup::ensure_dist_tools()?;
            program::build()?
        }
    };
    let program = out.join("vip-user");
    fs::copy(&built, &program).with_context(|| format!("cannot copy {}", built.display()))?;
    let manuals = manuals::write(&out)?;
    let made_at = made_at()?;
    let tree = Tree::new(&out.join("tree"), &program, &manuals)?;
    let package = debian::package(&tree, &out, made_at)?;
    let archive = archive(&tree, &out, made_at)?;
    for scratch in [manuals, tree.root().to_owned()] {
        fs::remove_dir_all(scratch)?;
    }
    if arguments.check {
        let home = out.join("machine");
        fs::create_dir(&home)?;
        let passed = trial::passes(&package, &home)?;
        fs::remove_dir(&home)?;
        if !passed {
            bail!("{} is not as it should be: see above", package.display());
        }
    }
    let results = [program, package, archive];
    let sums = checksums(&results, &out)?;
    results.iter().chain([&sums]).for_each(|path| println!("{}", path.display()));
    Ok(ExitCode::SUCCESS)
}

/// The time that all files bear, in seconds since 1970: that of the last commit, unless `SOURCE_DATE_EPOCH` says otherwise.
fn made_at() -> Result<u64> {
    let text = match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => output(Command::new("git").current_dir(workspace()).args(["log", "-1", "--format=%ct"]))?,
    };
    text.trim().parse().with_context(|| format!("{text:?} is no time in seconds: set SOURCE_DATE_EPOCH"))
}

/// The same files for systems without dpkg: to be unpacked to /.
fn archive(tree: &Tree, out: &Path, made_at: u64) -> Result<PathBuf> {
    let path = out.join(format!("vip-user_{VERSION}_{}.tar.gz", env::consts::ARCH));
    // Without the name and time of the file that it has packed.
    let compress = "--use-compress-program=gzip --no-name --best";
    run_tool(
        Command::new("tar")
            .args(["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", compress])
            .arg(format!("--mtime=@{made_at}"))
            .arg(format!("--file={}", path.display()))
            .arg(format!("--directory={}", tree.root().display()))
            .arg("."),
    )?;
    Ok(path)
}

/// As `sha256sum --check` reads them, in the directory of the files.
fn checksums(files: &[PathBuf], out: &Path) -> Result<PathBuf> {
    let names = files.iter().filter_map(|file| file.file_name());
    let sums = output(Command::new("sha256sum").current_dir(out).args(names))?;
    let path = out.join("SHA256SUMS");
    fs::write(&path, sums)?;
    Ok(path)
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn run_tool(command: &mut Command) -> Result<()> {
    output(command).map(|_| ())
}

//! The Debian package: the tree, with what dpkg wants to know and to run.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{VERSION, output, run_tool, tree::Tree};
use crate::cargo::workspace;

/// What dpkg runs, see deb-postinst(5) and its neighbours.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Makes it in `out`; gives its path. `made_at` is in seconds since 1970.
pub(super) fn package(tree: &Tree, out: &Path, made_at: u64) -> Result<PathBuf> {
    tree.put_compressed("usr/share/doc/vip-user/changelog", changelog(made_at)?.as_bytes())?;
    tree.put("usr/share/lintian/overrides/vip-user", &read("lintian-overrides")?, 0o644)?;
    let size = installed_kib(tree.root())?;
    let control = String::from_utf8(read("control")?)?;
    let control =
        [("@VERSION@", VERSION), ("@ARCHITECTURE@", architecture()?), ("@SIZE@", &size.to_string())]
            .into_iter()
            .fold(control, |text, (name, value)| text.replace(name, value));
    tree.put("DEBIAN/control", control.as_bytes(), 0o644)?;
    tree.put("DEBIAN/md5sums", md5sums(tree.root())?.as_bytes(), 0o644)?;
    for script in SCRIPTS {
        tree.put(&format!("DEBIAN/{script}"), &read(script)?, 0o755)?;
    }
    let path = out.join(format!("vip-user_{VERSION}_{}.deb", architecture()?));
    let mut command = Command::new("dpkg-deb");
    command.args(["--root-owner-group", "--build"]).arg(tree.root()).arg(&path);
    run_tool(command.env("SOURCE_DATE_EPOCH", made_at.to_string()))?;
    fs::remove_dir_all(tree.root().join("DEBIAN"))?;
    Ok(path)
}

fn read(name: &str) -> Result<Vec<u8>> {
    let path = workspace().join("packaging/debian").join(name);
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Debian's name of this machine's kind.
fn architecture() -> Result<&'static str> {
    match env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no Debian package is made for {other}"),
    }
}

/// The one entry that dpkg's tools want: what has changed is in the repository's history.
fn changelog(made_at: u64) -> Result<String> {
    let date = output(Command::new("date").args(["--utc", "--rfc-email", &format!("--date=@{made_at}")]))?;
    let maintainer = String::from_utf8(read("control")?)?
        .lines()
        .find_map(|line| line.strip_prefix("Maintainer: ").map(str::to_owned))
        .context("packaging/debian/control names no maintainer")?;
    let what = "  * The repository's history tells what has changed.";
    Ok(format!("vip-user ({VERSION}) unstable; urgency=medium\n\n{what}\n\n -- {maintainer}  {date}"))
}

/// As deb-control(5) counts.
fn installed_kib(root: &Path) -> Result<u64> {
    let sizes = output(Command::new("find").arg(root).args(["-type", "f", "-printf", "%s\n"]))?;
    sizes.lines().map(|size| Ok(size.parse::<u64>()?.div_ceil(1024))).sum()
}

fn md5sums(root: &Path) -> Result<String> {
    let list = "find usr lib etc -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum";
    output(Command::new("sh").current_dir(root).args(["-c", list]))
}

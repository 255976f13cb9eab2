//! The copy of the sources in which guards are taken out, so that nothing is ever changed in the sources themselves.
//!
//! Of the daemon, it has the modules that decide, and none that touch the kernel: so it builds in seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::guard::{Edit, Guard};
use crate::cargo::{cargo, target_dir, workspace};

/// What is copied as it is: files, and folders with all that is in them.
const COPIED: [&str; 13] = [
    "Cargo.lock",
    "vip-common/Cargo.toml",
    "vip-common/src",
    "simulation/Cargo.toml",
    "simulation/src",
    "simulation/tests",
    "vip-user/src/election",
    "vip-user/src/events",
    "vip-user/src/gossip",
    "vip-user/src/membership",
    "vip-user/src/pace.rs",
    "vip-user/src/pair",
    "vip-user/src/vrrp",
];
/// The heads of copied modules.
const HEADS: [&str; 6] = [
    "vip-user/src/election.rs",
    "vip-user/src/events.rs",
    "vip-user/src/gossip.rs",
    "vip-user/src/membership.rs",
    "vip-user/src/pair.rs",
    "vip-user/src/vrrp.rs",
];

/// The part of the daemon that is copied, as a package.
const DAEMON: &str = r#"[package]
name = "vip-user"
version.workspace = true
edition.workspace = true

[dependencies]
postcard.workspace = true
rand.workspace = true
serde.workspace = true
thiserror.workspace = true
vip-common.workspace = true
"#;
const MODULES: &str = "pub mod election;\npub mod events;\npub mod gossip;\npub mod membership;\npub mod pace;\npub mod pair;\npub mod vrrp;\n";

/// Of the root manifest, what the copy has others of.
const MEMBERS: [&str; 2] = ["members = ", "default-members = "];

/// A copy of the sources under the target directory.
#[derive(Debug)]
pub(super) struct Copy {
    root: PathBuf,
}

/// Files of the copy that are not as they should be, until this is dropped.
#[derive(Debug)]
pub(super) struct Mutation {
    /// What they are to be again.
    originals: Vec<(PathBuf, String)>,
}

impl Copy {
    /// Makes the copy like the sources again, touching only what differs: the rest need not be built anew.
    pub(super) fn refresh() -> Result<Self> {
        let root = target_dir().join("mutants");
        let mut files = Vec::new();
        for path in COPIED.into_iter().chain(HEADS) {
            gather(Path::new(path), &mut files)?;
        }
        for file in &files {
            write(&root.join(file), &read(&workspace().join(file))?)?;
        }
        write(&root.join("Cargo.toml"), &manifest(&read(&workspace().join("Cargo.toml"))?))?;
        write(&root.join("vip-user/Cargo.toml"), DAEMON)?;
        write(&root.join("vip-user/src/lib.rs"), MODULES)?;
        Ok(Self { root })
    }

    /// Takes the guard out, until the result is dropped.
    pub(super) fn without(&self, guard: &Guard) -> Result<Mutation> {
        let mut mutation = Mutation { originals: Vec::new() };
        for edit in guard.edits {
            let path = self.root.join(edit.file);
            let code = read(&path)?;
            let mutated = apply(edit, &code).with_context(|| format!("guard \"{}\"", guard.name))?;
            if !mutation.originals.iter().any(|(other, _)| *other == path) {
                mutation.originals.push((path.clone(), code));
            }
            write(&path, &mutated)?;
        }
        Ok(mutation)
    }

    /// A cargo command on the copy, with a target directory of its own; everything is compiled as for the simulation.
    pub(super) fn cargo(&self, subcommand: &str) -> Command {
        let mut command = cargo(subcommand);
        command.current_dir(&self.root).env("CARGO_INCREMENTAL", "1").arg("--target-dir").arg(self.target());
        command.args(["--quiet", "--profile", "simulation"]);
        command
    }

    /// The simulation that was built last.
    pub(super) fn simulation(&self) -> PathBuf {
        self.target().join("simulation/vip-simulation")
    }

    fn target(&self) -> PathBuf {
        self.root.join("target")
    }
}

impl Drop for Mutation {
    fn drop(&mut self) {
        for (path, code) in &self.originals {
            // What could not be written is written when the copy is made the next time.
            let _ = write(path, code);
        }
    }
}

/// The code after the edit. A text that is not there, or more than once, is one that somebody has changed since.
fn apply(edit: &Edit, code: &str) -> Result<String> {
    match code.matches(edit.text).count() {
        1 => Ok(code.replacen(edit.text, edit.becomes, 1)),
        count => bail!(
            "{} has this text {count} times, not once: adapt the guard's edit to the code\n{}",
            edit.file,
            edit.text
        ),
    }
}

/// The root manifest, with the copied packages only.
fn manifest(original: &str) -> String {
    let kept = original.lines().filter(|line| !MEMBERS.iter().any(|key| line.starts_with(key)));
    let lines = kept.flat_map(|line| {
        let members =
            (line == "[workspace]").then_some(r#"members = ["vip-common", "vip-user", "simulation"]"#);
        [Some(line), members].into_iter().flatten()
    });
    lines.fold(String::new(), |text, line| text + line + "\n")
}

/// All files under a path of the workspace.
fn gather(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let original = workspace().join(path);
    if !original.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(&original).with_context(|| format!("cannot read {}", original.display()))?;
    for entry in entries {
        gather(&path.join(entry?.file_name()), files)?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file, unless it has that content already.
fn write(path: &Path, content: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edits_of_all_guards_fit_the_code_as_it_stands() {
        for edit in super::super::guards::all().flat_map(|guard| guard.edits) {
            let code = read(&workspace().join(edit.file)).unwrap();
            assert_ne!(apply(edit, &code).unwrap(), code);
        }
    }

    #[test]
    fn an_edit_is_of_a_text_that_is_there_once() {
        let edit = Edit { file: "lib.rs", text: "a > b", becomes: "true" };
        assert_eq!(apply(&edit, "if a > b {}").unwrap(), "if true {}");
        for code in ["if a < b {}", "a > b || a > b"] {
            let error = apply(&edit, code).unwrap_err().to_string();
            assert!(error.contains("lib.rs") && error.contains("not once"), "{error}");
        }
    }

    #[test]
    fn the_copys_manifest_differs_in_its_members_only() {
        let original =
            "[workspace]\nresolver = \"3\"\nmembers = [\"xtask\"]\ndefault-members = []\n[profile.x]\n";
        let members =
            "[workspace]\nmembers = [\"vip-common\", \"vip-user\", \"simulation\"]\nresolver = \"3\"\n";
        assert_eq!(manifest(original), format!("{members}[profile.x]\n"));
    }
}

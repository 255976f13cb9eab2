//! The files as they are installed, below a directory that stands for /.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{manuals::pages, run_tool};
use crate::cargo::workspace;

const DOC: &str = "usr/share/doc/vip-user";

/// A file of the repository, and where it is installed.
const FILES: [(&str, &str); 4] = [
    ("config/vip-user.sysusers", "usr/lib/sysusers.d/vip-user.conf"),
    ("config/vip-user.tmpfiles", "usr/lib/tmpfiles.d/vip-user.conf"),
    ("packaging/debian/copyright", "usr/share/doc/vip-user/copyright"),
    ("README.md", "usr/share/doc/vip-user/README.md"),
];

/// All of them.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Puts them below `root`, which does not exist: the program, and what was made of its command line.
    pub(super) fn new(root: &Path, program: &Path, manuals: &Path) -> Result<Self> {
        let tree = Self { root: root.to_owned() };
        tree.put("usr/sbin/vip-user", &fs::read(program)?, 0o755)?;
        for (from, to) in FILES {
            tree.put(to, &read(from)?, 0o644)?;
        }
        // It is written for a program that was installed by hand.
        let unit = String::from_utf8(read("config/vip-user.service")?)?.replace("/usr/local/", "/usr/");
        tree.put("lib/systemd/system/vip-user.service", unit.as_bytes(), 0o644)?;
        // What an operator begins with, and where the key is to be: only for those who run the daemon.
        tree.directory("etc/vip-user", 0o755)?;
        tree.copy_all("docs", &format!("{DOC}/docs"))?;
        tree.copy_all("config", &format!("{DOC}/examples"))?;
        for page in pages(manuals)? {
            let name = page.file_name().unwrap_or_default().to_string_lossy();
            tree.put_compressed(&format!("usr/share/man/man8/{name}"), &fs::read(&page)?)?;
        }
        let completions = [
            ("vip-user.bash", "usr/share/bash-completion/completions/vip-user"),
            ("_vip-user", "usr/share/zsh/vendor-completions/_vip-user"),
            ("vip-user.fish", "usr/share/fish/vendor_completions.d/vip-user.fish"),
        ];
        for (from, to) in completions {
            tree.put(to, &fs::read(manuals.join(from))?, 0o644)?;
        }
        Ok(tree)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Puts a file there, with the directories above it.
    pub(super) fn put(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.directory(above, 0o755)?;
        }
        let file = self.root.join(path);
        fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(fs::set_permissions(&file, Permissions::from_mode(mode))?)
    }

    /// As [`Tree::put`], by gzip, as `path` and `.gz`.
    pub(super) fn put_compressed(&self, path: &str, content: &[u8]) -> Result<()> {
        self.put(path, content, 0o644)?;
        run_tool(Command::new("gzip").args(["--no-name", "--best"]).arg(self.root.join(path)))
    }

    /// Makes a directory, and those above it, whatever this process's umask is.
    fn directory(&self, path: &str, mode: u32) -> Result<()> {
        let directory = self.root.join(path);
        fs::create_dir_all(&directory)?;
        let made = directory.ancestors().take_while(|above| above.starts_with(&self.root));
        for above in made {
            fs::set_permissions(above, Permissions::from_mode(0o755))?;
        }
        Ok(fs::set_permissions(&directory, Permissions::from_mode(mode))?)
    }

    /// All files of a directory of the repository, which has no others in it.
    fn copy_all(&self, from: &str, to: &str) -> Result<()> {
        for entry in fs::read_dir(workspace().join(from)).with_context(|| format!("cannot read {from}"))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                let name = entry.file_name();
                self.put(&format!("{to}/{}", name.to_string_lossy()), &fs::read(entry.path())?, 0o644)?;
            }
        }
        Ok(())
    }
}

fn read(path: &str) -> Result<Vec<u8>> {
    fs::read(workspace().join(path)).with_context(|| format!("cannot read {path}"))
}

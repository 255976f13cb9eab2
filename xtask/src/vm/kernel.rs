//! Debian's kernels for virtual machines: a package of each, unpacked and not installed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::run;
use crate::setup;

/// A kernel that has been unpacked.
#[derive(Debug)]
pub(super) struct Kernel {
    /// Such as "6.1.0-56-cloud-amd64".
    pub(super) release: String,
    directory: PathBuf,
}

impl Kernel {
    /// The kernel of a line, such as "6.1", that was unpacked in `place` before, or else the newest that apt knows.
    pub(super) fn get(line: &str, place: &Path) -> Result<Self> {
        let directory = place.join(line);
        if !directory.exists() {
            download(line, place, &directory)?;
        }
        let release = files(&directory.join("boot"))?
            .find_map(|name| Some(name.strip_prefix("vmlinuz-")?.to_owned()))
            .with_context(|| format!("no kernel in {}: remove that directory", directory.display()))?;
        Ok(Self { release, directory })
    }

    /// What is booted.
    pub(super) fn image(&self) -> PathBuf {
        self.directory.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// The module of this name, as the kernel loads it; `None` if it is a part of the kernel itself.
    pub(super) fn module(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let modules = self.directory.join("lib/modules").join(&self.release);
        let list = modules.join("modules.order");
        let list = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
        let Some(path) = list.lines().find(|path| path.ends_with(&format!("/{name}.ko"))) else {
            return Ok(None);
        };
        let path = modules.join(path);
        let content = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                run(Command::new("busybox").arg("xzcat").arg(path.with_extension("ko.xz")))
            }
            read => read.with_context(|| format!("cannot read {}", path.display())),
        };
        content.map(Some)
    }
}

/// Gets the newest kernel of a line and unpacks it at `directory`.
fn download(line: &str, place: &Path, directory: &Path) -> Result<()> {
    setup::update_package_lists()?;
    let package = newest(line)?;
    let unpacked = place.join(format!("{line}.partial"));
    remove_if_there(&unpacked)?;
    fs::create_dir_all(&unpacked)?;
    // apt-get downloads into the directory that it runs in.
    run(Command::new("apt-get").args(["download", "--quiet=2", &package]).current_dir(&unpacked))?;
    let archive = files(&unpacked)?.next().with_context(|| format!("apt-get download {package}: no file"))?;
    let archive = unpacked.join(archive);
    run(Command::new("dpkg-deb").arg("--extract").args([&archive, &unpacked]))?;
    fs::remove_file(archive)?;
    Ok(fs::rename(unpacked, directory)?)
}

/// The package of the newest kernel of a line that apt knows.
fn newest(line: &str) -> Result<String> {
    let pattern = format!(r"^linux-image-{}\.[0-9+a-z-]+-cloud-amd64$", line.replace('.', r"\."));
    let found = run(Command::new("apt-cache").args(["search", "--names-only", &pattern]))?;
    let found = String::from_utf8_lossy(&found);
    let packages = found.lines().filter_map(|line| line.split_whitespace().next());
    let Some(newest) = packages.max_by_key(|package| numbers(package)) else {
        bail!("apt knows no kernel {line}: Debian 12 has its package");
    };
    Ok(newest.to_owned())
}

/// The numbers in a name, by which versions are in order.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|character: char| !character.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

fn files(directory: &Path) -> Result<impl Iterator<Item = String>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()))
}

fn remove_if_there(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_of_their_numbers() {
        let packages = ["6.1.0-9", "6.1.0-50", "6.12.99+deb12", "6.12.117+deb12"];
        assert!(packages.is_sorted_by_key(|package| numbers(package)));
    }
}

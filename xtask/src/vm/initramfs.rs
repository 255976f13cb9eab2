//! The only file system of a guest: busybox, the kernel's modules, the programs with their libraries, and what runs them.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::run;

/// Files and directories by their paths, without the leading slash.
#[derive(Clone, Debug, Default)]
pub(super) struct Initramfs {
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Clone, Debug)]
enum Entry {
    Directory,
    /// Anybody may run it.
    File(Vec<u8>),
}

impl Initramfs {
    /// Puts a file there, in place of a former one, with the directories above it.
    pub(super) fn add(&mut self, path: impl AsRef<Path>, content: Vec<u8>) {
        let path = path.as_ref();
        for directory in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            self.add_directory(directory);
        }
        self.entries.insert(path.to_owned(), Entry::File(content));
    }

    /// Puts an empty directory there, in one that is there.
    pub(super) fn add_directory(&mut self, path: impl AsRef<Path>) {
        self.entries.insert(path.as_ref().to_owned(), Entry::Directory);
    }

    /// Puts a program of this machine there, without what debuggers need, and the libraries that it is linked with. A file of
    /// its own in the directory `scratch` comes and goes.
    pub(super) fn add_program(&mut self, path: &str, program: &Path, scratch: &Path) -> Result<()> {
        let stripped = scratch.join("stripped");
        run(Command::new("strip").arg("-o").args([&stripped, program]))?;
        self.add(path, fs::read(&stripped)?);
        fs::remove_file(stripped)?;
        // It fails for programs without libraries.
        let libraries = Command::new("ldd").arg(program).output().context("cannot run ldd")?.stdout;
        let libraries = String::from_utf8_lossy(&libraries);
        for library in libraries.split_whitespace().filter_map(|word| word.strip_prefix('/')) {
            let content = fs::read(Path::new("/").join(library));
            self.add(library, content.with_context(|| format!("cannot read /{library}"))?);
        }
        Ok(())
    }

    /// Writes it as the kernel unpacks it (Documentation/driver-api/early-userspace/buffer-format.rst).
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let write = || {
            let mut out = io::BufWriter::new(fs::File::create(file)?);
            for (inode, (path, entry)) in (1..).zip(&self.entries) {
                let (mode, content) = match entry {
                    Entry::Directory => (nix::libc::S_IFDIR | 0o755, &[][..]),
                    Entry::File(content) => (nix::libc::S_IFREG | 0o755, content.as_slice()),
                };
                write_entry(&mut out, inode, path.as_os_str().as_bytes(), mode, content)?;
            }
            write_entry(&mut out, 0, b"TRAILER!!!", 0, &[])?;
            out.flush()
        };
        write().with_context(|| format!("cannot write {}", file.display()))
    }
}

fn write_entry(out: &mut impl Write, inode: usize, name: &[u8], mode: u32, content: &[u8]) -> io::Result<()> {
    let (length, name_length) = (content.len(), name.len() + 1);
    // Inode, mode, user, group, links, time, length, two devices of two numbers each, length of the name, checksum.
    let fields = [inode, mode as usize, 0, 0, 1, 0, length, 0, 0, 0, 0, name_length, 0];
    let header = fields.iter().fold("070701".to_owned(), |text, field| text + &format!("{field:08x}"));
    out.write_all(header.as_bytes())?;
    out.write_all(name)?;
    // Name and content end at multiples of four bytes, the name with a zero at least.
    out.write_all(&[0; 4][..4 - (header.len() + name.len()) % 4])?;
    out.write_all(content)?;
    out.write_all(&[0; 4][..(4 - length % 4) % 4])
}

//! Type `process`: whether a process of a name runs, by /proc.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tokio::task::{JoinError, spawn_blocking};

use crate::health::errand::Errand;

/// The kernel cuts the name of a process to so many bytes.
const MAX_COMM: usize = 15;

#[derive(Debug)]
pub(in crate::health) struct ProcessWatch {
    name: String,
    /// The process that was found last: it is looked at first, so that a run is two small reads as long as it lives.
    known: Option<u32>,
    look: Errand<Result<io::Result<Option<u32>>, JoinError>>,
}

impl ProcessWatch {
    pub(super) fn new(name: String) -> Self {
        Self { name, known: None, look: Errand::default() }
    }

    pub(super) async fn look(&mut self) -> Result<(), String> {
        let (name, known) = (self.name.clone(), self.known);
        // There may be very many processes.
        let found = self.look.run(|| spawn_blocking(move || find(&name, known))).await;
        self.known = found
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|error| format!("/proc cannot be read: {error}"))?;
        self.known.map(drop).ok_or_else(|| format!("no process {} runs", self.name))
    }
}

/// A process of this name, if there is one: the known one if it is.
fn find(name: &str, known: Option<u32>) -> io::Result<Option<u32>> {
    if let Some(pid) = known.filter(|pid| is_called(*pid, name)) {
        return Ok(Some(pid));
    }
    for entry in fs::read_dir("/proc")? {
        let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(pid) = pid.filter(|pid| is_called(*pid, name)) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// Whether the process runs under this name: the kernel's for it, or the program that it was started as. Threads of the kernel,
/// and dead processes that nobody has waited for, have no command line.
fn is_called(pid: u32, name: &str) -> bool {
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let command = read("cmdline");
    if command.is_empty() {
        return false;
    }
    let short = &name.as_bytes()[..name.len().min(MAX_COMM)];
    let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
    let program = Path::new(OsStr::from_bytes(program)).file_name();
    read("comm").trim_ascii_end() == short || program == Some(OsStr::new(name))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// Ends its process.
    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_process_is_found_by_its_program_and_by_its_name_until_it_ends() {
        let folder = crate::folder::Folder::new();
        let name = "a-name-of-more-than-15-bytes";
        let program = folder.path().join(name);
        fs::copy("/bin/sleep", &program).unwrap();
        let mut running = Running(Command::new(&program).arg("60").spawn().unwrap());
        let pid = running.0.id();
        let has_arguments = || !fs::read(format!("/proc/{pid}/cmdline")).unwrap().is_empty();
        // The kernel says that the program is started, and gives it its arguments after that (load_elf_binary in fs/binfmt_elf.c).
        while !has_arguments() {}
        assert_eq!(find(name, None).unwrap(), Some(pid));
        assert_eq!(find(name, Some(pid)).unwrap(), Some(pid));
        assert_eq!(find(name, Some(1)).unwrap(), Some(pid));

        // Input: dead, and not waited for yet. Expected: it does not run.
        running.0.kill().unwrap();
        while has_arguments() {}
        assert_eq!(find(name, Some(pid)).unwrap(), None);
    }

    #[test]
    fn a_thread_of_the_kernel_is_no_process() {
        assert_eq!(find("kthreadd", None).unwrap(), None);
    }
}

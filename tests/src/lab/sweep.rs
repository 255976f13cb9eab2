//! Removing what a lab has made: its own end, and the remains of runs that were killed before they could.

use std::{
    collections::BTreeSet,
    fs, io,
    os::linux::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Error, Result, anyhow};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{BPFFS, freezer::cgroup_root};
use crate::{
    net::{NETNS_DIR, netns_path, run},
    wait,
};

const PREFIX: &str = "viplab-";
/// How long killed processes may take to end: what they hold in the kernel goes with them, which takes seconds where
/// the processors are busy.
const INHABITANTS_END: Duration = Duration::from_secs(60);

/// The name of the `count`th lab of process `pid`; [`sweep_leftovers`] reads the pid from it.
pub(super) fn lab_name(pid: u32, count: u32) -> String {
    format!("{PREFIX}{pid}-{count}")
}

/// Removes the labs of processes that no longer exist, and says which.
///
/// Call it before the first lab of a run; a lab of a living process is left alone.
pub fn sweep_leftovers() -> Result<Vec<String>> {
    let [namespaces, pins, dirs] =
        [Path::new(NETNS_DIR), Path::new(BPFFS), &std::env::temp_dir()].map(leftovers_in);
    let cgroups = cgroup_root().map_or_else(Vec::new, |root| leftovers_in(&root));
    let paths: Vec<PathBuf> = pins.iter().chain(&dirs).cloned().collect();
    let namespaces: Vec<String> =
        namespaces.iter().filter_map(|path| Some(file_name(path)?.to_owned())).collect();

    let labs: BTreeSet<String> = paths
        .iter()
        .filter_map(|path| file_name(path))
        .chain(namespaces.iter().map(String::as_str))
        .chain(cgroups.iter().filter_map(|path| file_name(path)))
        .filter_map(|name| Some(lab_name(owner(name)?, count(name)?)))
        .collect();
    match remove(&namespaces, &cgroups, &paths).into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(labs.into_iter().collect()),
    }
}

/// Removes namespaces with what runs in them, then cgroups and directories; goes on after a failure and gives all of
/// them.
pub(super) fn remove(namespaces: &[String], cgroups: &[PathBuf], dirs: &[PathBuf]) -> Vec<Error> {
    let mut problems = Vec::new();
    for name in namespaces.iter().filter(|name| netns_path(name).exists()) {
        problems.extend(end_inhabitants(name).err());
        problems.extend(run(Command::new("ip").args(["netns", "delete", name])).err());
    }
    // A cgroup's files go with it, and cannot be removed one by one.
    problems.extend(cgroups.iter().filter_map(|cgroup| problem(cgroup, fs::remove_dir(cgroup))));
    problems.extend(dirs.iter().filter_map(|dir| problem(dir, fs::remove_dir_all(dir))));
    problems
}

/// What kept `path` from being removed, if it was there.
fn problem(path: &Path, removed: io::Result<()>) -> Option<Error> {
    let error = removed.err().filter(|error| error.kind() != io::ErrorKind::NotFound)?;
    Some(Error::new(error).context(format!("{}", path.display())))
}

/// Kills the processes that run in the namespace, and waits until they have left it: a lab made the namespace, so
/// they are the lab's. A namespace with a process in it, and every interface in it, would outlive its name.
fn end_inhabitants(netns: &str) -> Result<()> {
    let namespace = netns_path(netns).metadata()?.st_ino();
    wait::until_even_if_interrupted(&format!("the processes in {netns} to end"), INHABITANTS_END, || {
        let inhabitants = inhabitants(namespace);
        for pid in &inhabitants {
            // It may have ended by itself meanwhile.
            let _ = kill(*pid, Signal::SIGKILL);
        }
        if inhabitants.is_empty() { Ok(Some(())) } else { Err(anyhow!("{inhabitants:?} still run")) }
    })
}

fn inhabitants(namespace: u64) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|ns| ns.st_ino() == namespace)
    })
    .map(Pid::from_raw)
    .collect()
}

/// The entries of `place` that belong to labs of processes that are gone.
fn leftovers_in(place: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let gone = |pid: u32| !Path::new(&format!("/proc/{pid}")).exists();
    entries
        .map(|entry| entry.path())
        .filter(|path| file_name(path).and_then(owner).is_some_and(gone))
        .collect()
}

/// The process that made the lab which `name` belongs to.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

fn count(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').nth(1)?.parse().ok()
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_process_and_foreign_names_tell_none() {
        assert_eq!(owner(&lab_name(4711, 3)), Some(4711));
        assert_eq!(owner("viplab-4711-3-switch"), Some(4711));
        assert_eq!(owner("viplab-"), None);
        assert_eq!(owner("systemd-private-1"), None);
    }

    #[test]
    fn the_labs_of_the_living_are_left_alone_and_those_of_the_dead_removed() {
        let mut dead = Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        let (leftover, living) = (lab_name(dead.id(), 7), lab_name(std::process::id(), 999));
        let paths = [&leftover, &living].map(|name| std::env::temp_dir().join(name));
        for path in &paths {
            fs::create_dir(path).unwrap();
        }
        let swept = sweep_leftovers();
        let left = [paths[0].exists(), paths[1].exists()];
        fs::remove_dir(&paths[1]).unwrap();
        assert!(swept.unwrap().contains(&leftover));
        assert_eq!(left, [false, true]);
    }
}

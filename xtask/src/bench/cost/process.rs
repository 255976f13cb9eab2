//! What the kernel knows of a process: the time that it and its BPF programs have run, and its memory.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context, Result};
use nix::unistd::Pid;

/// Time that all threads have run, in user space and in the kernel, to the nanosecond
/// (`Documentation/scheduler/sched-stats.rst`).
pub(in crate::bench) fn on_cpu(pid: Pid) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let nanoseconds = text.split_whitespace().next().context("schedstat is empty")?;
        total += Duration::from_nanos(nanoseconds.parse()?);
    }
    Ok(total)
}

/// What of its memory is in RAM, shared pages included.
pub(in crate::bench) fn resident_mib(pid: Pid) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// Of BPF programs, while the kernel takes their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    pub(super) count: u64,
    pub(super) time: Duration,
}

/// Those of the programs that the process has descriptors of.
pub(super) fn program_runs(pid: Pid) -> Result<Runs> {
    let mut programs = BTreeMap::new();
    for info in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // It may have been closed meanwhile.
        let Ok(text) = fs::read_to_string(info?.path()) else { continue };
        // Several descriptors may be of one program.
        programs.extend(parse(&text));
    }
    let sum = |sum: Runs, runs: &Runs| Runs { count: sum.count + runs.count, time: sum.time + runs.time };
    Ok(programs.values().fold(Runs::default(), sum))
}

/// The program's id and runs; `None`: not a descriptor of a program.
fn parse(info: &str) -> Option<(u64, Runs)> {
    let number = |name: &str| {
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.trim().parse().ok()
    };
    let runs = Runs { count: number("run_cnt")?, time: Duration::from_nanos(number("run_time_ns")?) };
    Some((number("prog_id")?, runs))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Input: as Linux 6.18 prints it, in short.
    #[test]
    fn runs_are_read_from_the_descriptor_of_a_program_and_of_nothing_else() {
        let program = "pos:\t0\nprog_type:\t6\nprog_id:\t42\nrun_time_ns:\t1500\nrun_cnt:\t3\n";
        assert_eq!(parse(program), Some((42, Runs { count: 3, time: Duration::from_nanos(1500) })));
        assert_eq!(parse("pos:\t0\nflags:\t02\nmap_id:\t7\n"), None);
    }
}

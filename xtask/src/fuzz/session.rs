//! One target, run by libFuzzer for a while, and what it says about that.

use std::{
    collections::VecDeque,
    env, fs,
    io::{self, BufRead, BufReader, IsTerminal, Read},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use vip_tests::interrupt;

use super::{
    build::Program,
    report::{Crash, Outcome},
};
use crate::cargo::target_dir;

/// Time between two lines of progress, and two looks for an interrupt.
const TICK: Duration = Duration::from_millis(200);
/// An input that takes so long is a finding.
const LONGEST: &str = "-timeout=10";
/// So is one that asks for so much memory at once: nothing that is decoded is longer than 16 MiB.
const LARGEST: &str = "-malloc_limit_mb=64";
/// Lines of a target's last words that are kept: a panic and its trace.
const MAX_SAID: usize = 60;
/// Kept in memory, where there is such a directory: targets write a file for each input, and sync it.
const MEMORY: &str = "/dev/shm";

/// A directory for the targets' own files, gone when this is dropped.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> io::Result<Self> {
        let memory = Path::new(MEMORY);
        let base = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        let path = base.join(format!("vip-fuzz-{}", process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} was not removed: {error}", self.0.display());
        }
    }
}

/// How much is tried of each target.
#[derive(Clone, Copy)]
pub(super) struct Effort {
    pub(super) seconds: u32,
    /// What libFuzzer's choices begin with; none: something else each time.
    pub(super) seed: Option<u32>,
}

/// Runs a target. It starts from the inputs that are kept and those that earlier runs have found;
/// these are in the target directory, and so is what it adds.
pub(super) fn run(program: &Program, effort: Effort, scratch: &Scratch) -> Result<Outcome> {
    let Effort { seconds, seed } = effort;
    let name = program.name;
    let [found, crashes] = ["corpus", "crashes"].map(|kind| target_dir().join("fuzz").join(kind).join(name));
    for directory in [&found, &crashes] {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let mut command = Command::new(&program.path);
    command.arg(&found).arg(&program.kept).args([LONGEST, LARGEST, "-print_final_stats=1"]);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", crashes.display()));
    command.args(seed.map(|seed| format!("-seed={seed}")));
    if let Some(dictionary) = &program.dictionary {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    command.env("TMPDIR", &scratch.0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());

    let started = Instant::now();
    let mut running =
        Running(command.spawn().with_context(|| format!("cannot run {}", program.path.display()))?);
    let lines = running.0.stderr.take().map(lines).context("no pipe to the target")?;
    let mut log = Log::default();
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => log.read(&line),
            Err(RecvTimeoutError::Timeout) => show(name, seconds, started, &log),
            Err(RecvTimeoutError::Disconnected) => break,
        }
        interrupt::check()?;
    }
    let status = running.0.wait()?;
    interrupt::check()?;
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    let crash = (!status.success()).then(|| Crash::new(name, status, log.input, log.said.into()));
    let seconds = started.elapsed().as_secs_f64();
    let Counts { executions, edges, features, new_inputs } = log.counts;
    Ok(Outcome { target: name, seconds, executions, edges, features, new_inputs, crash })
}

/// Runs a target on one input, showing all that it says; `false` if the input breaks it.
pub(super) fn repeat(program: &Program, input: &Path) -> Result<bool> {
    let scratch = Scratch::new().context("cannot make a directory for the target's files")?;
    let status =
        Command::new(&program.path).args([LONGEST, LARGEST]).arg(input).env("TMPDIR", &scratch.0).status();
    interrupt::check()?;
    Ok(status.with_context(|| format!("cannot run {}", program.path.display()))?.success())
}

/// A target that is killed if nobody waits for its end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended by itself, unless this run is interrupted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines of a pipe, from a thread that ends with it.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(io::Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn show(name: &str, seconds: u32, started: Instant, log: &Log) {
    if io::stderr().is_terminal() {
        let Counts { executions, features, .. } = log.counts;
        let elapsed = started.elapsed().as_secs();
        eprint!(
            "\r{name}: {elapsed} s of {seconds}, more than {executions} inputs, {features} features \x1b[K"
        );
    }
}

/// What libFuzzer has said so far.
#[derive(Debug, Default)]
struct Log {
    counts: Counts,
    /// The one that broke the target.
    input: Option<PathBuf>,
    /// The last lines that are neither counts nor information.
    said: VecDeque<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    executions: u64,
    edges: u64,
    features: u64,
    new_inputs: u64,
}

impl Log {
    /// Takes in a line: a status (`#12 NEW cov: 3 ft: 4 …`), a final count (`stat::number_of_executed_units: 12`), the path
    /// of an input, or something for people.
    fn read(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        let number = |word: Option<&str>| word.and_then(|word| word.parse::<u64>().ok());
        if let Some(executions) = number(first.strip_prefix('#')) {
            self.counts.executions = executions;
            while let Some(word) = words.next() {
                match word {
                    "cov:" => self.counts.edges = number(words.next()).unwrap_or_default(),
                    "ft:" => self.counts.features = number(words.next()).unwrap_or_default(),
                    _ => {}
                }
            }
        } else if let Some(stat) = first.strip_prefix("stat::") {
            match stat {
                "number_of_executed_units:" => {
                    self.counts.executions = number(words.next()).unwrap_or_default()
                }
                "new_units_added:" => self.counts.new_inputs = number(words.next()).unwrap_or_default(),
                _ => {}
            }
        } else if let Some((_, path)) = line.split_once("Test unit written to ") {
            self.input = Some(path.into());
        } else if first != "INFO:" {
            if self.said.len() == MAX_SAID {
                self.said.pop_front();
            }
            self.said.push_back(line.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Input: lines of libFuzzer as it prints them.
    #[test]
    fn the_last_status_and_the_final_counts_are_read() {
        let mut log = Log::default();
        for line in [
            "INFO: Running with entropic power schedule (0xFF, 100).",
            "#26\tINITED cov: 310 ft: 402 corp: 24/3Kb exec/s: 0 rss: 41Mb",
            "#65536\tpulse  cov: 322 ft: 431 corp: 30/4Kb lim: 4096 exec/s: 32768 rss: 60Mb",
            "#70000\tDONE   cov: 323 ft: 433 corp: 31/4Kb lim: 4096 exec/s: 35000 rss: 61Mb",
            "Done 70000 runs in 2 second(s)",
            "stat::number_of_executed_units: 70000",
            "stat::new_units_added:          7",
        ] {
            log.read(line);
        }
        assert_eq!(log.counts, Counts { executions: 70_000, edges: 323, features: 433, new_inputs: 7 });
        assert_eq!(log.input, None);
        assert_eq!(log.said, ["Done 70000 runs in 2 second(s)"]);
    }

    #[test]
    fn of_a_crash_the_input_and_the_last_words_are_kept() {
        let mut log = Log::default();
        for line in [
            "thread '<unnamed>' panicked at targets/key.rs:33:13:",
            "artifact_prefix='crashes/key/'; Test unit written to crashes/key/crash-0a1b",
        ] {
            log.read(line);
        }
        assert_eq!(log.input.as_deref(), Some(Path::new("crashes/key/crash-0a1b")));
        assert_eq!(log.said, ["thread '<unnamed>' panicked at targets/key.rs:33:13:"]);
    }
}

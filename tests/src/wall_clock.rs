//! A time of day for one daemon, to be set forward and back at will.
//!
//! Time namespaces do not have CLOCK_REALTIME, and the machine's own clock is everybody's. So the daemon is started with
//! a shared object in front of the C library, which moves that clock, and no other, by what a file says at the moment.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use crate::lab::Lab;

static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/wall_clock.so"));

/// The time of day on one node.
#[derive(Debug)]
pub struct WallClock {
    object: PathBuf,
    offset: PathBuf,
}

impl WallClock {
    /// Right at first.
    pub fn new(lab: &Lab, node: u8) -> Result<Self> {
        let home = lab.home(node);
        let clock = Self { object: home.join("wall_clock.so"), offset: home.join("wall_clock") };
        fs::write(&clock.object, OBJECT)
            .with_context(|| format!("cannot write {}", clock.object.display()))?;
        clock.set_right()?;
        Ok(clock)
    }

    /// The [`wrapper`](crate::lab::DaemonOptions::wrapper) of a daemon that goes by this clock.
    pub fn wrapper(&self) -> Vec<String> {
        let variable = |name: &str, path: &PathBuf| format!("{name}={}", path.display());
        vec!["env".to_owned(), variable("LD_PRELOAD", &self.object), variable("WALL_CLOCK", &self.offset)]
    }

    /// From now on it is so much ahead of the right time; running daemons see it step.
    pub fn set_ahead(&self, by: Duration) -> Result<()> {
        self.set(i64::try_from(by.as_secs())?)
    }

    /// From now on it is so much behind the right time.
    pub fn set_behind(&self, by: Duration) -> Result<()> {
        self.set(-i64::try_from(by.as_secs())?)
    }

    /// From now on it is right.
    pub fn set_right(&self) -> Result<()> {
        self.set(0)
    }

    /// The file is there with its old or its new content at every moment.
    fn set(&self, seconds: i64) -> Result<()> {
        let new = self.offset.with_extension("new");
        let written = fs::write(&new, seconds.to_ne_bytes()).and_then(|()| fs::rename(&new, &self.offset));
        written.with_context(|| format!("cannot write {}", self.offset.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    /// What `date` takes for the time, with this clock.
    fn seen(lab: &Lab, clock: &WallClock) -> i64 {
        let wrapper = clock.wrapper();
        let mut command = lab.command(1, &wrapper[0]).unwrap();
        let output = command.args(&wrapper[1..]).args(["date", "+%s"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }

    #[test]
    fn a_program_sees_the_time_that_it_is_given() {
        let lab = Lab::new(1).unwrap();
        let clock = WallClock::new(&lab, 1).unwrap();
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let day = Duration::from_secs(86_400);
        let minute = -60..=60;
        assert!(minute.contains(&(seen(&lab, &clock) - now)));
        clock.set_ahead(day).unwrap();
        assert!(minute.contains(&(seen(&lab, &clock) - now - 86_400)));
        clock.set_behind(day).unwrap();
        assert!(minute.contains(&(seen(&lab, &clock) - now + 86_400)));
    }
}

//! Threads that take processor time from everybody else, for a bounded time.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;

use crate::{clock::Stamp, realtime};

/// How the hogs are scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// SCHED_OTHER: a fair share each.
    Ordinary,
    /// SCHED_FIFO at this priority on processor 0: all of it, as far as the kernel's throttling lets it, for everything
    /// below that priority.
    Fifo(i32),
}

/// Running hogs. Dropping them ends them.
#[derive(Debug)]
pub struct Hogs {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Hogs {
    /// Starts `count` hogs that end by themselves after `limit`, whatever becomes of the caller.
    pub fn start(count: usize, class: Class, limit: Duration) -> Result<Self> {
        let end = Stamp::now() + limit;
        let mut hogs = Self { stop: Arc::default(), threads: Vec::new() };
        for _ in 0..count {
            let stop = Arc::clone(&hogs.stop);
            let spin = move || {
                while !stop.load(Ordering::Relaxed) && Stamp::now() < end {
                    std::hint::spin_loop();
                }
            };
            let (report, started) = std::sync::mpsc::sync_channel(1);
            let hog = move || {
                let scheduled = schedule(class);
                let goes_on = scheduled.is_ok();
                // Its receiver waits for it.
                let _ = report.send(scheduled);
                if goes_on {
                    spin();
                }
            };
            hogs.threads.push(thread::Builder::new().name("hog".into()).spawn(hog)?);
            started.recv()??;
        }
        Ok(hogs)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Its only failure is a panic, which has been reported by then.
            let _ = thread.join();
        }
    }
}

fn schedule(class: Class) -> io::Result<()> {
    match class {
        Class::Ordinary => Ok(()),
        Class::Fifo(priority) => realtime::pin(0).and_then(|()| realtime::fifo(priority)),
    }
}

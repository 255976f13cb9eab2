//! Threads that take processor time from everybody else, for a bounded time.

use std::{io, time::Duration};

use anyhow::Result;

use crate::{clock::Stamp, realtime, worker::Worker};

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
    _threads: Vec<Worker<()>>,
}

impl Hogs {
    /// Starts `count` hogs that end by themselves after `limit`, whatever becomes of the caller.
    pub fn start(count: usize, class: Class, limit: Duration) -> Result<Self> {
        let end = Stamp::now() + limit;
        let hog = |_| {
            Worker::start_with(
                "hog",
                move || schedule(class),
                move |order| {
                    while !order.is_to_end() && Stamp::now() < end {
                        std::hint::spin_loop();
                    }
                },
            )
        };
        Ok(Self { _threads: (0..count).map(hog).collect::<Result<_>>()? })
    }
}

fn schedule(class: Class) -> io::Result<()> {
    match class {
        Class::Ordinary => Ok(()),
        Class::Fifo(priority) => realtime::pin(0).and_then(|()| realtime::fifo(priority)),
    }
}

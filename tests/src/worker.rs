//! A thread that works until it is told to end, and does not outlive its owner.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::sync_channel,
    },
    thread::{Builder, JoinHandle},
};

use anyhow::{Result, anyhow};

/// The running thread. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Worker<T> {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<T>>,
}

/// What a worker has to look at again and again.
#[derive(Debug)]
pub(crate) struct Order(Arc<AtomicBool>);

impl Order {
    /// Whether it is to end.
    pub(crate) fn is_to_end(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<T: Send + 'static> Worker<T> {
    /// Starts it.
    pub(crate) fn start(name: &str, work: impl FnOnce(Order) -> T + Send + 'static) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let order = Order(Arc::clone(&stop));
        let thread = Builder::new().name(name.to_owned()).spawn(move || work(order))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Starts it, and returns when its thread has done `first`.
    ///
    /// # Errors
    /// That of `first`; then it does not work.
    pub(crate) fn start_with(
        name: &str,
        first: impl FnOnce() -> io::Result<()> + Send + 'static,
        work: impl FnOnce(Order) -> T + Send + 'static,
    ) -> Result<Self>
    where
        T: Default,
    {
        let (report, begun) = sync_channel(1);
        let worker = Self::start(name, move |order| {
            let done = first();
            let goes_on = done.is_ok();
            // Its receiver waits for it.
            let _ = report.send(done);
            if goes_on { work(order) } else { T::default() }
        })?;
        begun.recv()??;
        Ok(worker)
    }
}

impl<T> Worker<T> {
    /// Ends it; gives what it has worked out.
    pub(crate) fn finish(mut self) -> Result<T> {
        let ended = self.end().and_then(Result::ok);
        ended.ok_or_else(|| anyhow!("a thread has panicked"))
    }

    fn end(&mut self) -> Option<std::thread::Result<T>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join)
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        // Its only failure is a panic, which has been reported by then.
        let _ = self.end();
    }
}

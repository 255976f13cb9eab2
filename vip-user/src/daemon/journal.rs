//! The daemon's side of the [journal](crate::journal): everything that changes passes here, to the log, to those who ask,
//! and to the disk, which nobody waits for.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tracing::field::display;
use tracing::{error, info, warn};

use super::LAST_WRITE;
use crate::clock;
use crate::journal::{Entry, Happening, Kind, REMEMBERED, file};
use crate::membership::Severity;
use crate::status::rfc3339_millis;

/// Entries that wait for the disk. More, as when it hangs, are not written.
const WAITING: usize = 256;

/// What has changed on this node and in its cluster.
pub(super) struct Journal {
    /// Of the next entry.
    number: u64,
    /// Of this run, oldest first.
    entries: VecDeque<Entry>,
    /// Of former runs, once they are read.
    former: Arc<OnceLock<Vec<Entry>>>,
    disk: mpsc::Sender<Entry>,
    lost: Arc<AtomicU64>,
    writer: Option<JoinHandle<()>>,
    /// How the run before this one has ended, if anything is known of it.
    last_kind: Option<Kind>,
}

impl Journal {
    /// Goes on with the one in this state directory. To be called on a runtime, which reads and writes the files in the
    /// background.
    pub(super) fn open(state: &Path) -> Self {
        let last = file::last(state).unwrap_or_else(|error| {
            warn!("{}: {error}; the journal begins anew", file::path(state).display());
            None
        });
        let (disk, entries) = mpsc::channel(WAITING);
        let (former, lost) = (Arc::new(OnceLock::new()), Arc::new(AtomicU64::new(0)));
        let keeper = Keeper { state: state.to_owned(), former: Arc::clone(&former), lost: Arc::clone(&lost) };
        Self {
            number: last.as_ref().map_or(1, |last| last.number + 1),
            entries: VecDeque::new(),
            former,
            disk,
            lost,
            writer: Some(tokio::spawn(keeper.keep(entries))),
            last_kind: last.map(|last| last.what.kind),
        }
    }

    /// Whether the run before this one has left without a word: killed, or its machine gone.
    pub(super) fn is_after_crash(&self) -> bool {
        self.last_kind.is_some_and(|kind| kind != Kind::DaemonStop)
    }

    /// Something has changed: says so in the log, and keeps it.
    pub(super) fn tell(&mut self, what: Happening) {
        log(&what);
        self.keep(what);
    }

    /// As [`Journal::tell`], where the log has it already.
    pub(super) fn keep(&mut self, what: Happening) {
        let (at, boottime_us) = (rfc3339_millis(SystemTime::now()), clock::now() / 1000);
        let entry = Entry { number: self.number, at, boottime_us, what };
        self.number += 1;
        if self.entries.len() == REMEMBERED {
            self.entries.pop_front();
        }
        if self.disk.try_send(entry.clone()).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        self.entries.push_back(entry);
    }

    /// The newest entries, [`REMEMBERED`] at most, oldest first; those of former runs among them, once they are read.
    pub(super) fn recent(&self) -> impl Iterator<Item = &Entry> {
        let former = self.former.get().map_or(&[][..], Vec::as_slice);
        let surplus = (former.len() + self.entries.len()).saturating_sub(REMEMBERED);
        former.iter().chain(&self.entries).skip(surplus)
    }

    /// The newest entries, `count` at most, oldest first.
    pub(super) fn newest(&self, count: usize) -> Vec<Entry> {
        let surplus = self.recent().count().saturating_sub(count);
        self.recent().skip(surplus).cloned().collect()
    }

    /// The entries with numbers above `after`. A number that none has reached is of another journal, whose reader has seen
    /// nothing of this one.
    pub(super) fn since(&self, after: Option<u64>) -> Vec<Entry> {
        let after = after.filter(|after| *after < self.number);
        self.recent().filter(|entry| after.is_none_or(|after| entry.number > after)).cloned().collect()
    }

    /// The daemon ends. Gives what is to be waited for, so that all is on the disk.
    pub(super) fn close(&mut self) -> Closing {
        // The writer ends when nobody can send to it any more.
        self.disk = mpsc::channel(1).0;
        Closing(self.writer.take())
    }
}

/// A journal that is written to its end.
#[must_use = "what was told last may not be on the disk yet"]
pub(super) struct Closing(Option<JoinHandle<()>>);

impl Closing {
    /// Waits for the disk, but not for long.
    pub(super) async fn finish(self) {
        if let Some(writer) = self.0
            && timeout(LAST_WRITE, writer).await.is_err()
        {
            warn!("the end of the journal is not on the disk: writing takes too long");
        }
    }
}

fn log(what: &Happening) {
    let Happening { severity, group, ballot, text, .. } = what;
    let (group, ballot) = (group.as_ref().map(display), ballot.as_ref().map(display));
    match severity {
        Severity::Info => info!(group, ballot, "{text}"),
        Severity::Warn => warn!(group, ballot, "{text}"),
        Severity::Error => error!(group, ballot, "{text}"),
    }
}

/// The journal's task.
struct Keeper {
    state: PathBuf,
    former: Arc<OnceLock<Vec<Entry>>>,
    lost: Arc<AtomicU64>,
}

impl Keeper {
    /// Reads what is there, then writes what comes. What cannot be written is lost, and said to be.
    async fn keep(self, mut entries: mpsc::Receiver<Entry>) {
        let state = self.state.clone();
        if let Ok(Ok(mut former)) = spawn_blocking(move || file::read(&state)).await {
            former.drain(..former.len().saturating_sub(REMEMBERED));
            // Nobody else sets it.
            let _ = self.former.set(former);
        }
        let (mut writer, mut is_failing) = (file::Writer::new(&self.state), false);
        loop {
            let mut batch = Vec::new();
            if entries.recv_many(&mut batch, WAITING).await == 0 {
                return;
            }
            let count = batch.len() as u64;
            let written = spawn_blocking(move || {
                let result = writer.append(&batch);
                (writer, result)
            });
            // In vain only when the runtime is gone.
            let Ok((kept, result)) = written.await else { return };
            writer = kept;
            match result {
                Ok(()) => {
                    let lost = self.lost.swap(0, Ordering::Relaxed);
                    if lost > 0 {
                        warn!("the journal is written again; {lost} entries are missing there");
                    }
                    is_failing = false;
                }
                Err(error) => {
                    self.lost.fetch_add(count, Ordering::Relaxed);
                    if !is_failing {
                        let path = file::path(&self.state);
                        warn!(
                            "the journal cannot be written: {}: {error}; what happens meanwhile is kept in memory alone",
                            path.display()
                        );
                    }
                    is_failing = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;

    fn texts(journal: &Journal) -> Vec<String> {
        journal.recent().map(|entry| entry.what.text.clone()).collect()
    }

    /// Once what former runs have left is read.
    async fn opened(state: &Path) -> Journal {
        let journal = Journal::open(state);
        while journal.former.get().is_none() {
            tokio::task::yield_now().await;
        }
        journal
    }

    #[tokio::test]
    async fn a_run_goes_on_with_the_journal_of_the_one_before_and_sees_how_that_ended() {
        let folder = Folder::new();
        let mut first = opened(folder.path()).await;
        assert!(!first.is_after_crash(), "nothing is known");
        first.keep(Happening::new(Kind::DaemonStart, "one"));
        first.close().finish().await;

        let mut second = opened(folder.path()).await;
        assert!(second.is_after_crash());
        second.keep(Happening::new(Kind::DaemonStop, "two"));
        assert_eq!(texts(&second), ["one", "two"]);
        second.close().finish().await;

        let third = opened(folder.path()).await;
        assert!(!third.is_after_crash());
        let numbers = |after| third.since(after).iter().map(|entry| entry.number).collect::<Vec<_>>();
        assert_eq!(numbers(None), [1, 2]);
        assert_eq!(numbers(Some(1)), [2]);
        assert_eq!(numbers(Some(2)), [0; 0]);
        assert_eq!(numbers(Some(3)), [1, 2], "of another journal");
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_kept_in_memory_and_bounded_there() {
        let folder = Folder::new();
        // Whatever is done, there can be no file of this name.
        std::fs::create_dir(file::path(folder.path())).unwrap();
        let mut journal = Journal::open(folder.path());
        for number in 0..=REMEMBERED {
            journal.keep(Happening::new(Kind::Vacant, number.to_string()));
            tokio::task::yield_now().await;
        }
        let texts = texts(&journal);
        assert_eq!((texts.len(), texts.first().unwrap().as_str()), (REMEMBERED, "1"));
        let lost = Arc::clone(&journal.lost);
        journal.close().finish().await;
        assert_eq!(lost.load(Ordering::Relaxed), REMEMBERED as u64 + 1);
    }
}

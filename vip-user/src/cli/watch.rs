//! `vip-user status --watch` in a terminal: a view that stays open until `q`, Ctrl-C or a signal, and leaves the terminal as it
//! found it.

use std::{
    io::{self, IsTerminal},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process,
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant, SystemTime},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};

use crate::{
    control::{self, Request},
    exit::Failure,
    journal::Entry,
    logging::has_colours,
    status::{Status, rfc3339_millis, view::View},
};

/// The time between two questions to the daemon.
const ASK_INTERVAL: Duration = Duration::from_millis(250);
/// How long a key or a signal may wait.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Whether there is a terminal for it.
pub(super) fn is_possible() -> bool {
    io::stdout().is_terminal()
}

/// Shows the daemon's state until somebody has seen enough. A daemon that is gone meanwhile is waited for.
///
/// # Errors
/// If no daemon answers at first, or the terminal refuses.
pub(super) fn watch(socket: PathBuf) -> Result<(), Failure> {
    let started = Instant::now();
    let first: Status = control::request(&socket, Request::Status)?;
    let mut view = View::new(first, started.elapsed(), now(), has_colours(&io::stdout()));
    let signals = catch_signals().map_err(refused)?;
    let (sender, answers) = mpsc::channel();
    thread::spawn(move || ask(&socket, &sender));
    thread::spawn(end_with_terminal);
    // From here on, a panic puts the terminal back, too.
    let mut terminal = ratatui::try_init().map_err(refused)?;
    let shown = show(&mut terminal, &mut view, &answers, &signals, started);
    ratatui::try_restore().map_err(refused)?;
    shown.map_err(refused)
}

fn refused(error: io::Error) -> Failure {
    Failure::refused(format!("cannot show it on this terminal: {error}"))
}

fn now() -> String {
    rfc3339_millis(SystemTime::now())
}

/// What ends the view from outside; blocked in this thread and those that it starts, so that it can be looked for.
fn catch_signals() -> io::Result<SignalFd> {
    let set = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Ends the process when its terminal is gone, of which the kernel tells whoever polls it: crossterm would go on reading it, without
/// a pause and for ever.
fn end_with_terminal() {
    let stdout = io::stdout();
    loop {
        let mut terminal = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        match poll(&mut terminal, PollTimeout::NONE) {
            Ok(_) => process::exit(0),
            Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

/// A status and what has changed since the one before it; or why there is none.
type Answer = Result<(Status, Vec<Entry>), Failure>;

/// Asks again and again, on a thread of its own: a daemon that hangs holds up no key.
fn ask(socket: &Path, answers: &Sender<Answer>) {
    let mut last = None;
    while answers.send(look(socket, &mut last)).is_ok() {
        thread::sleep(ASK_INTERVAL);
    }
}

/// `last`: the number of the last change that was seen.
fn look(socket: &Path, last: &mut Option<u64>) -> Answer {
    let status = control::request(socket, Request::Status)?;
    // A daemon of an earlier version has no journal.
    let changes: Vec<Entry> = control::request(socket, Request::History { after: *last }).unwrap_or_default();
    *last = changes.last().map(|entry| entry.number).or(*last);
    Ok((status, changes))
}

fn show(
    terminal: &mut DefaultTerminal,
    view: &mut View,
    answers: &Receiver<Answer>,
    signals: &SignalFd,
    started: Instant,
) -> io::Result<()> {
    let mut is_stale = true;
    loop {
        for answer in answers.try_iter() {
            match answer {
                Ok((status, changes)) => view.update(status, changes, started.elapsed(), now()),
                Err(failure) => view.lose(failure.message),
            }
            is_stale = true;
        }
        if is_stale {
            terminal.draw(|frame| view.draw(frame))?;
        }
        is_stale = false;
        if signals.read_signal()?.is_some() {
            return Ok(());
        }
        if event::poll(LOOK_INTERVAL)? {
            match event::read()? {
                Event::Key(key) if ends(key) => return Ok(()),
                Event::Resize(..) => is_stale = true,
                _ => {}
            }
        }
    }
}

/// `q`, Esc or Ctrl-C.
fn ends(key: KeyEvent) -> bool {
    let is_interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press && (is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

//! `vip-user history`: what has changed, from the daemon, or from its journal on the disk if none answers.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    HistoryArgs,
    client::{find_daemon, json_line, print},
};
use crate::{
    config::Paths,
    control::{self, Request},
    exit::{Exit, Failure},
    journal::{Entry, REMEMBERED, Selection, file},
    logging::has_colours,
    membership::Severity,
};

/// How many entries are shown where nobody says how many.
const SHOWN: usize = 50;
/// The time between two looks of `--follow`.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);

/// Shows the journal, and with `--follow` what comes, until interrupted.
///
/// # Errors
/// If no daemon answers, and there is no journal on the disk that may be read.
pub fn history(args: &HistoryArgs) -> Result<(), Failure> {
    let selection = Selection {
        group: args.group.clone(),
        since: args.since.map(Selection::ago),
        count: args.count.or(args.since.is_none().then_some(SHOWN)),
    };
    let socket = find_daemon(&args.daemon);
    let mut entries = match socket.as_ref().map_err(Failure::clone).and_then(|socket| ask(socket, None)) {
        Ok(entries) => with_older(args, entries, &selection),
        Err(failure) if failure.exit == Exit::NoDaemon => left_by_the_last(args, failure)?,
        Err(failure) => return Err(failure),
    };
    let last = entries.last().map(|entry| entry.number);
    selection.select(&mut entries);
    show(&entries, args.json)?;
    if args.follow { follow(args, &socket?, last, Selection { count: None, ..selection }) } else { Ok(()) }
}

fn ask(socket: &Path, after: Option<u64>) -> Result<Vec<Entry>, Failure> {
    control::request(socket, Request::History { after })
}

/// Shows what comes after the entry `last`. A daemon that is gone may come back, so it is waited for.
fn follow(
    args: &HistoryArgs,
    socket: &Path,
    mut last: Option<u64>,
    selection: Selection,
) -> Result<(), Failure> {
    let mut is_there = true;
    loop {
        thread::sleep(FOLLOW_INTERVAL);
        match ask(socket, last) {
            Ok(mut entries) => {
                is_there = true;
                last = entries.last().map(|entry| entry.number).or(last);
                selection.select(&mut entries);
                show(&entries, args.json)?;
            }
            Err(failure) if failure.exit != Exit::NoDaemon => return Err(failure),
            Err(failure) => {
                if is_there {
                    remark(&format!("{failure}; waiting for it"));
                }
                is_there = false;
            }
        }
    }
}

/// Where the journal is on the disk; a socket alone does not say.
fn state(args: &HistoryArgs) -> Result<Option<PathBuf>, Failure> {
    if args.daemon.socket.is_some() {
        return Ok(None);
    }
    Ok(Some(Paths::load(args.daemon.config.as_deref())?.state))
}

/// Puts those before them that the daemon does not remember any more, if they may be wanted.
fn with_older(args: &HistoryArgs, entries: Vec<Entry>, selection: &Selection) -> Vec<Entry> {
    let wanted = entries.iter().filter(|entry| selection.wants(entry)).count();
    if entries.len() < REMEMBERED || selection.count.is_some_and(|count| wanted >= count) {
        return entries;
    }
    let Ok(Some(state)) = state(args) else { return entries };
    let first = entries.first().map_or(0, |entry| entry.number);
    let older = file::read(&state).unwrap_or_else(|error| {
        remark(&format!("older entries cannot be read: {}: {error}", state.display()));
        Vec::new()
    });
    older.into_iter().filter(|entry| entry.number < first).chain(entries).collect()
}

/// What the last daemon has written; `failure` is why none answers.
fn left_by_the_last(args: &HistoryArgs, failure: Failure) -> Result<Vec<Entry>, Failure> {
    let Some(state) = state(args)? else { return Err(failure) };
    let path = file::path(&state);
    let entries = file::read(&state).map_err(|error| {
        let text = format!("{failure}; and its journal cannot be read: {}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::PermissionDenied => Failure::no_privilege(text),
            _ => Failure::no_daemon(text),
        }
    })?;
    if entries.is_empty() {
        return Err(failure);
    }
    remark(&format!("{failure}; this is what the last one has written to {}", path.display()));
    Ok(entries)
}

/// Says something beside the answer.
fn remark(text: &str) {
    // Nobody can be told that standard error is closed.
    let _ = writeln!(io::stderr(), "vip-user: {text}");
}

fn show(entries: &[Entry], json: bool) -> Result<(), Failure> {
    if json {
        return entries.iter().try_for_each(|entry| print(&json_line(entry)?));
    }
    print(&lines(entries, has_colours(&io::stdout())))
}

/// A line for each: when, of which group, what.
fn lines(entries: &[Entry], colours: bool) -> String {
    let line = |entry: &Entry| {
        let text = format!("{}  {:<15}  {}", entry.at, entry.what.kind.as_str(), entry.what.text);
        // Names come from other machines, and must not command the terminal.
        let text = text.replace(char::is_control, "\u{fffd}");
        match (colours, entry.what.severity) {
            (false, _) | (true, Severity::Info) => text + "\n",
            (true, Severity::Warn) => format!("\x1b[33m{text}\x1b[0m\n"),
            (true, Severity::Error) => format!("\x1b[31m{text}\x1b[0m\n"),
        }
    };
    entries.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        cli::DaemonArgs,
        folder::Folder,
        journal::{Happening, Kind},
    };

    fn entry(number: u64) -> Entry {
        let what = Happening::warning(Kind::Demoted, format!("number {number}\x1b[2J")).group("web");
        Entry { number, at: "2026-01-01T00:00:00.000Z".to_owned(), boottime_us: number, what }
    }

    /// Asked of a machine whose state and sockets are in `folder`.
    fn args(folder: &Path) -> HistoryArgs {
        let config = folder.join("vip.toml");
        fs::write(&config, format!("[paths]\nruntime = {folder:?}\nstate = {folder:?}")).unwrap();
        let daemon = DaemonArgs { iface: None, config: Some(config), socket: None };
        HistoryArgs { daemon, json: false, group: None, since: None, count: None, follow: false }
    }

    #[test]
    fn a_line_says_when_and_what_and_cannot_command_the_terminal() {
        let plain = "2026-01-01T00:00:00.000Z  demoted          number 1\u{fffd}[2J";
        assert_eq!(lines(&[entry(1)], false), format!("{plain}\n"));
        assert_eq!(lines(&[entry(1)], true), format!("\x1b[33m{plain}\x1b[0m\n"));
    }

    #[test]
    fn without_a_daemon_the_disk_tells_if_it_has_something_to_tell() {
        let folder = Folder::new();
        let args = args(folder.path());
        let failure = history(&args).unwrap_err();
        assert_eq!(failure.exit, Exit::NoDaemon);
        file::Writer::new(folder.path()).append(&[entry(1)]).unwrap();
        assert_eq!(left_by_the_last(&args, failure).unwrap(), [entry(1)]);
        history(&args).unwrap();
    }

    #[test]
    fn what_the_daemon_does_not_remember_any_more_comes_from_the_disk_where_it_is_wanted() {
        let folder = Folder::new();
        let args = args(folder.path());
        let written: Vec<Entry> = (1..=20).map(entry).collect();
        file::Writer::new(folder.path()).append(&written).unwrap();
        let remembered: Vec<Entry> = (11..).map(entry).take(REMEMBERED).collect();
        let numbers = |count| {
            let selection = Selection { count, ..Selection::default() };
            let all = with_older(&args, remembered.clone(), &selection);
            (all.first().unwrap().number, all.len())
        };
        assert_eq!(numbers(None), (1, REMEMBERED + 10));
        assert_eq!(numbers(Some(REMEMBERED)), (11, REMEMBERED));
    }
}

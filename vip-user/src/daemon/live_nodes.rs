//! The list of live nodes: a file that always has all of them, for programs that watch it and ask nobody.
//!
//! Who reads it sees one list or the next one, whole: each is a new file that takes the old one's place. It is written when
//! the list changes, by a task that nobody waits for.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tracing::warn;

use crate::clock;
use crate::events::Node;
use crate::pace::Pace;

/// Time between two warnings that it cannot be written, in ns.
const WARNING_PERIOD: u64 = 10_000_000_000;

/// One node of the list.
#[derive(Clone, Debug)]
pub(super) struct LiveNode {
    pub(super) node: Node,
    pub(super) priority: u8,
    pub(super) is_voter: bool,
}

#[derive(Serialize)]
struct List<'a> {
    cluster: &'a str,
    node: &'a str,
    nodes: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    id: u16,
    address: IpAddr,
    status: &'a str,
    voter: bool,
    priority: u8,
    tags: &'a BTreeMap<String, String>,
}

impl<'a> Entry<'a> {
    fn of(live: &'a LiveNode) -> Self {
        let LiveNode { node: Node { id, name, address, tags }, priority, is_voter } = live;
        let (id, address, voter, priority) = (*id, *address, *is_voter, *priority);
        Self { name, id, address, status: "alive", voter, priority, tags }
    }
}

/// The file's text, as the node `node` has it.
pub(super) fn text(cluster: &str, node: &str, nodes: &[LiveNode]) -> String {
    let list = List { cluster, node, nodes: nodes.iter().map(Entry::of).collect() };
    // Fails for maps whose keys are no strings, and there are none.
    serde_json::to_string(&list).unwrap_or_default() + "\n"
}

/// The file, and what is to be in it.
#[derive(Debug)]
pub(super) struct LiveNodes {
    wanted: watch::Sender<String>,
}

impl LiveNodes {
    /// The list in this file, which is not written yet. To be called on a runtime.
    pub(super) fn start(path: PathBuf) -> Self {
        let (wanted, texts) = watch::channel(String::new());
        tokio::spawn(keep(path, texts));
        Self { wanted }
    }

    /// This is to be in the file, unless it is there already.
    pub(super) fn put(&mut self, text: String) {
        self.wanted.send_if_modified(|wanted| {
            let is_new = *wanted != text;
            *wanted = text;
            is_new
        });
    }
}

/// Writes the newest list again and again, until there is none to come.
async fn keep(path: PathBuf, mut texts: watch::Receiver<String>) {
    let mut warnings = Pace::new(0, WARNING_PERIOD);
    while texts.changed().await.is_ok() {
        let (path, text) = (path.clone(), texts.borrow_and_update().clone());
        let shown = path.display().to_string();
        let written = spawn_blocking(move || replace(&path, text.as_bytes())).await;
        if let Err(error) = written.unwrap_or_else(|error| Err(io::Error::other(error)))
            && warnings.allows(clock::now())
        {
            warn!(
                "the list of live nodes cannot be written to {shown}: {error}; trying again when it changes"
            );
        }
    }
}

/// Puts a file with this content in the place of `path`.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    let new = path.with_file_name(name);
    match fs::remove_file(&new) {
        // What a former run has left half written, or what somebody else has put there to have it written through.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = File::create_new(&new).and_then(|mut file| file.write_all(content));
    written.and_then(|()| fs::rename(&new, path)).inspect_err(|_| {
        // It is of no use to anybody.
        let _ = fs::remove_file(&new);
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::folder::Folder;

    fn live(id: u16) -> LiveNode {
        let tags = [("role".to_owned(), "web".to_owned())].into();
        let node = Node { id, name: format!("lb{id}"), address: [10, 77, 0, 1].into(), tags };
        LiveNode { node, priority: 100, is_voter: id == 1 }
    }

    #[test]
    fn the_list_has_all_that_is_said_of_a_node() {
        assert_eq!(
            text("edge", "lb1", &[live(1), live(2)]),
            "{\"cluster\":\"edge\",\"node\":\"lb1\",\"nodes\":[\
             {\"name\":\"lb1\",\"id\":1,\"address\":\"10.77.0.1\",\"status\":\"alive\",\"voter\":true,\"priority\":100,\
             \"tags\":{\"role\":\"web\"}},\
             {\"name\":\"lb2\",\"id\":2,\"address\":\"10.77.0.1\",\"status\":\"alive\",\"voter\":false,\"priority\":100,\
             \"tags\":{\"role\":\"web\"}}]}\n"
        );
    }

    #[tokio::test]
    async fn readers_see_one_list_or_the_next_one_and_never_a_part() {
        let folder = Folder::new();
        let path = folder.path().join("live.json");
        let mut list = LiveNodes::start(path.clone());
        list.put(text("edge", "lb1", &[]));
        let last = text("edge", "lb1", &[live(9)]);
        let (seen, last_text) = (path.clone(), last.clone());
        let reader = std::thread::spawn(move || {
            let begin = Instant::now();
            let mut reads = 0_u64;
            while begin.elapsed() < Duration::from_secs(60) {
                match fs::read_to_string(&seen) {
                    Ok(text) if text == last_text => return reads,
                    Ok(text) => {
                        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
                        assert!(value["nodes"].is_array());
                        reads += 1;
                    }
                    // Before the first one.
                    Err(error) => assert_eq!((error.kind(), reads), (io::ErrorKind::NotFound, 0)),
                }
            }
            panic!("the last list was never seen");
        });
        for round in 0..300 {
            let nodes: Vec<LiveNode> = (1..=round % 200).map(live).collect();
            list.put(text("edge", "lb1", &nodes));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        list.put(last);
        let reads = tokio::task::spawn_blocking(move || reader.join().unwrap()).await.unwrap();
        assert!(reads > 0);
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [path], "nothing else is left behind");
    }

    #[tokio::test]
    async fn it_is_written_when_it_changes_and_only_then_and_after_a_failure_with_the_next_change() {
        let folder = Folder::new();
        let path = folder.path().join("list/live.json");
        let mut list = LiveNodes::start(path.clone());
        let reads = async |wanted: Option<&str>| {
            let begin = Instant::now();
            while fs::read_to_string(&path).ok().as_deref() != wanted {
                assert!(begin.elapsed() < Duration::from_secs(60), "{wanted:?} is not there");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        // The folder is not there: nothing can be written.
        list.put("one".to_owned());
        reads(None).await;
        fs::create_dir(path.parent().unwrap()).unwrap();
        list.put("two".to_owned());
        reads(Some("two")).await;

        // Who has taken it away gets it back with the next change, not before.
        fs::remove_file(&path).unwrap();
        list.put("two".to_owned());
        list.put("two".to_owned());
        list.put("three".to_owned());
        reads(Some("three")).await;
    }

    #[test]
    fn what_lies_where_the_new_file_is_made_is_not_written_through() {
        let folder = Folder::new();
        let (path, victim) = (folder.path().join("live.json"), folder.path().join("victim"));
        fs::write(&victim, "untouched").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join(".live.json.new")).unwrap();
        replace(&path, b"list").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
        assert_eq!(fs::read_to_string(&path).unwrap(), "list");
    }
}

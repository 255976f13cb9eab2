//! keepalived's configurations, as `vip-user import` reads them.
//!
//! Promised: what comes of one is valid, has a group, and is the same each time. What is refused is refused in one line. What is
//! said of its lines is said in one line each, of a file and a line that are there, and shows no password. No file is read but
//! those that it includes.

#![no_main]

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vip_fuzz::{assert_plain, directory};
use vip_user::config::{Overrides, Settings};
use vip_user::import::{Files, Import, Options, Place, Remark, import};

const FILE: &str = "/etc/keepalived/keepalived.conf";
/// Of a second file, which the first one may include: it begins after a line with this.
const INCLUDED: &str = "/etc/keepalived/more.conf";
const CUT: &str = "\n=== more.conf ===\n";

static MADE: LazyLock<PathBuf> = LazyLock::new(|| directory().join("vip.toml"));

struct Given {
    first: String,
    second: String,
}

impl Files for Given {
    fn read(&self, path: &Path) -> io::Result<String> {
        match path.to_str() {
            Some(FILE) => Ok(self.first.clone()),
            Some(INCLUDED) => Ok(self.second.clone()),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn find(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        match pattern {
            "" => Err("is empty".to_owned()),
            pattern if pattern.contains('*') => Ok(vec![INCLUDED.into()]),
            pattern => Ok(vec![pattern.into()]),
        }
    }
}

fuzz_target!(|text: &str| {
    [false, true].into_iter().for_each(|vrrp| try_import(text, vrrp));
});

fn try_import(text: &str, vrrp: bool) {
    let (first, second) = text.split_once(CUT).unwrap_or((text, ""));
    let files = Given { first: first.to_owned(), second: second.to_owned() };
    let translate = || {
        let options = Options { iface: None, config_id: "lb1".to_owned(), vrrp };
        import(&files, Path::new(FILE), &options)
    };
    match translate() {
        Ok(made) => {
            let again = translate().expect("the same file");
            assert_eq!((&again.text, &again.remarks), (&made.text, &made.remarks));
            is_valid(&made);
            made.remarks.iter().for_each(|remark| is_of_a_line(remark, &files));
        }
        Err(failure) => assert_plain(&failure.message),
    }
}

fn is_valid(Import { text, .. }: &Import) {
    // No file of theirs is there.
    let text = text.replace("key_file = \"/etc/vip-user/cluster.key\"", "insecure = true");
    let lines = text.lines().filter(|line| !line.starts_with("auth"));
    let text = lines.collect::<Vec<_>>().join("\n");
    fs::write(&*MADE, &text).expect("a file");
    let settings = Settings::load(Some(&MADE), &Overrides::default());
    let settings = settings.unwrap_or_else(|failure| panic!("{failure}\n{text}"));
    assert!(!settings.groups.is_empty());
}

fn is_of_a_line(Remark { place, directive, why, .. }: &Remark, files: &Given) {
    assert_plain(directive);
    assert!(!why.contains(char::is_control), "{why:?}");
    let secret = directive.split_once("auth_pass");
    assert!(secret.is_none_or(|(_, shown)| shown == " ..."), "{directive}");
    let Some(Place { file, line }) = place else { return };
    let text = files.read(Path::new(file)).expect("a file that is there");
    assert!((1..=text.lines().count()).contains(line), "{file}:{line}");
}

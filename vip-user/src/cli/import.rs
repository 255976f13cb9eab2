//! `vip-user import`: our configuration from keepalived's.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::Serialize;

use super::{ImportArgs, client::print};
use crate::{
    exit::{Exit, Failure},
    import::{Fate, Files, Import, Options, Remark, import as translate},
};

/// The name of the file in a folder.
const FILE_NAME: &str = "vip.toml";

/// Writes the configuration, and says what has become of each directive. The status is that of a refusal where something is left
/// out.
///
/// # Errors
/// keepalived's configuration makes no sense, nothing of it can be carried over, or ours cannot be written.
pub fn import(args: &ImportArgs) -> Result<ExitCode, Failure> {
    let config_id = args.config_id.clone().unwrap_or_else(default_config_id);
    let options = Options { iface: args.iface.clone(), config_id, vrrp: args.vrrp };
    let imported = translate(&Disk, &args.file, &options)?;
    let written = args.output.as_deref().map(|output| write(output, &imported.text)).transpose()?;
    if args.json {
        print(&(json(&imported, written.is_none())? + "\n"))?;
    } else {
        if written.is_none() {
            print(&imported.text)?;
        }
        // Nobody can be told that standard error is closed.
        let _ = io::stderr().write_all(list(&imported.remarks).as_bytes());
    }
    let is_whole = imported.remarks.iter().all(|remark| remark.fate != Fate::Left);
    Ok(if is_whole { ExitCode::SUCCESS } else { Exit::Refused.into() })
}

/// As keepalived: the host's name without its domain.
fn default_config_id() -> String {
    let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    host.split('.').next().unwrap_or_default().to_owned()
}

/// What has become of each directive, a line each, and how many there are of each kind.
fn list(remarks: &[Remark]) -> String {
    let lines: String = remarks.iter().map(|remark| format!("{remark}\n")).collect();
    let count = |fate| remarks.iter().filter(|remark| remark.fate == fate).count();
    let left = match count(Fate::Left) {
        0 => "nothing left out".to_owned(),
        left => format!("{left} left out: look after these yourself"),
    };
    let (carried, changed, unneeded) = (count(Fate::Carried), count(Fate::Changed), count(Fate::Unneeded));
    format!("{lines}\n{carried} carried over, {changed} changed, {unneeded} not needed, {left}\n")
}

#[derive(Serialize)]
struct Report<'r> {
    /// The configuration, unless it is in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration: Option<&'r str>,
    remarks: &'r [Remark],
}

fn json(imported: &Import, with_text: bool) -> Result<String, Failure> {
    let report =
        Report { configuration: with_text.then_some(imported.text.as_str()), remarks: &imported.remarks };
    serde_json::to_string(&report)
        .map_err(|error| Failure::refused(format!("cannot be said in JSON: {error}")))
}

/// Writes a file that was not there before: nobody's configuration is lost.
fn write(output: &Path, text: &str) -> Result<PathBuf, Failure> {
    let path = if output.is_dir() { output.join(FILE_NAME) } else { output.to_owned() };
    let written = fs::File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| Failure::refused(format!("{} cannot be written: {error}", path.display())))?;
    Ok(path)
}

/// The files of this machine.
struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        // Comments may be in any encoding.
        fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn find(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        if pattern.contains('{') {
            return Err("braces in a pattern are not understood: import each file".to_owned());
        }
        let found = glob::glob(pattern).map_err(|error| error.to_string())?;
        Ok(found.flatten().filter(|path| path.is_file()).collect())
    }
}

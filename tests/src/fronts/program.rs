//! Where a program is: installed, or unpacked with the libraries that it needs.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{FOLDER, PLACE};
use crate::{net::command_in, unpacked};

/// A program that can be run.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    /// Where its libraries are, beside those of the machine.
    libraries: Option<OsString>,
}

impl Program {
    /// By its name, or why there is none.
    pub fn find(name: &str) -> Result<Self, String> {
        // Services are where the paths of users do not lead to.
        let path = env::var_os("PATH").unwrap_or_default();
        let installed = in_folders(name, env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]));
        if let Some(path) = installed {
            return Ok(Self { path, libraries: None });
        }
        let place = unpacked::place(PLACE, FOLDER).unwrap_or_default();
        let unpacked = in_folders(name, ["usr/sbin", "usr/bin"].iter().map(|folder| place.join(folder)));
        let path = unpacked
            .ok_or_else(|| format!("{name} is not there; `cargo xtask setup` gets it where it can"))?;
        Ok(Self { path, libraries: Some(libraries(&place)) })
    }

    /// A command that will run it in the namespace `netns`.
    pub fn command_in(&self, netns: &str) -> Result<Command> {
        let mut command = command_in(netns, &self.path)?;
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        Ok(command)
    }
}

/// The variables with which a shell finds the programs by their names: those on `path`, or else those that were unpacked.
pub fn environment(path: &str) -> Vec<(&'static str, OsString)> {
    let place = unpacked::place(PLACE, FOLDER).filter(|place| place.is_dir());
    let Some(place) = place else { return vec![("PATH", path.into())] };
    let path = format!("{path}:{0}/usr/sbin:{0}/usr/bin", place.display());
    vec![("PATH", path.into()), ("LD_LIBRARY_PATH", libraries(&place))]
}

fn in_folders(name: &str, folders: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The folder of each architecture's libraries, as Debian has them.
fn libraries(place: &Path) -> OsString {
    let folders =
        fs::read_dir(place.join("usr/lib")).into_iter().flatten().flatten().map(|entry| entry.path());
    // Of folders with a colon in their names there are none in packages.
    env::join_paths(folders).unwrap_or_default()
}

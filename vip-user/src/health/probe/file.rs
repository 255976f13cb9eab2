//! Type `file`: whether a file is there.

use std::fs;
use std::io;
use std::path::PathBuf;

use tokio::task::{JoinError, spawn_blocking};

use crate::health::errand::Errand;

#[derive(Debug)]
pub(in crate::health) struct FileWatch {
    path: PathBuf,
    /// Whether its being there is the failure.
    absent: bool,
    look: Errand<Result<io::Result<bool>, JoinError>>,
}

impl FileWatch {
    pub(super) fn new(path: PathBuf, absent: bool) -> Self {
        Self { path, absent, look: Errand::default() }
    }

    pub(super) async fn look(&mut self) -> Result<(), String> {
        let path = self.path.clone();
        // Its disk may not answer.
        let is_there = self.look.run(|| spawn_blocking(move || fs::exists(path))).await;
        match is_there.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(is_there) if is_there != self.absent => Ok(()),
            Ok(true) => Err(format!("{} is there", self.path.display())),
            Ok(false) => Err(format!("{} is not there", self.path.display())),
            Err(error) => Err(format!("{} cannot be looked for: {error}", self.path.display())),
        }
    }
}

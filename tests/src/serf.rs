//! Serf itself, and a library that handlers of it are written with: what handlers here are compared with. `cargo xtask setup`
//! gets them where it can.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Child, Output, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{lab::Lab, net::command_in, unpacked};

/// The environment variable for the folder that Debian's package is unpacked in; by default, [`FOLDER`] of the build's own.
pub const PLACE: &str = "VIP_TESTS_SERF";
/// The folder's name, where nothing else is said.
pub const FOLDER: &str = "serf";

/// Serf's program within the folder.
pub const PROGRAM: &str = "usr/bin/serf";
/// The folder of the Python library within the folder.
pub const LIBRARY: &str = "python";
/// The library.
pub const MODULE: &str = "serf_master";

/// Serf's program, or why there is none.
pub fn program() -> Result<PathBuf, String> {
    find(PROGRAM, "Serf")
}

/// The folder with the Python library `serf_master`, or why there is none.
pub fn library() -> Result<PathBuf, String> {
    find(&format!("{LIBRARY}/{MODULE}"), MODULE).map(|module| module.with_file_name(""))
}

fn find(within: &str, what: &str) -> Result<PathBuf, String> {
    let place = unpacked::place(PLACE, FOLDER);
    let found = place.map(|place| place.join(within)).filter(|path| path.exists());
    found.ok_or_else(|| format!("{what} is not there; `cargo xtask setup` gets it where it can"))
}

/// A Serf agent on a node of a lab, with a handler for all events. Dropping it kills it.
#[derive(Debug)]
pub struct Agent {
    netns: String,
    home: PathBuf,
    program: PathBuf,
    child: Child,
}

impl Agent {
    /// Starts it with these tags, and with the shell's text `handler`; it joins the agent of the node `join`. It is called as
    /// the node's daemon would be.
    pub fn start(
        lab: &Lab,
        node: u8,
        tags: &[(&str, &str)],
        handler: &str,
        join: Option<u8>,
    ) -> Result<Self> {
        let program = program().map_err(anyhow::Error::msg)?;
        let home = lab.home(node);
        let script = home.join("serf-handler.sh");
        fs::write(&script, handler)?;
        let settings = serde_json::json!({
            "node_name": format!("lb{node}"),
            "bind": format!("{}:7946", lab.address(node)),
            // Silence is noticed within seconds, and who has left is forgotten at the next look.
            "profile": "local",
            "tombstone_timeout": "1s",
            "tags": tags.iter().copied().collect::<BTreeMap<_, _>>(),
            "event_handlers": [format!("/bin/sh {}", script.display())],
            "retry_join": join.iter().map(|join| lab.address(*join).to_string()).collect::<Vec<_>>(),
            "retry_interval": "1s",
        });
        let config = home.join("serf.json");
        fs::write(&config, settings.to_string())?;
        let log = fs::File::create(home.join("serf.log"))?;
        let netns = lab.node_netns(node);
        let mut command = command_in(&netns, &program)?;
        command.arg("agent").arg("-config-file").arg(&config);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { netns, home, program, child })
    }

    /// Runs `serf <arguments>` for this agent to its end.
    pub fn order(&self, arguments: &[&str]) -> Result<Output> {
        let output = command_in(&self.netns, &self.program)?.args(arguments).output()?;
        ensure!(output.status.success(), "serf {arguments:?}: {output:?}; {}", self.log());
        Ok(output)
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.join("serf.log")).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

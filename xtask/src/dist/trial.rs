//! The package, tried: installed, used, upgraded while it serves, removed and purged, on a machine of its own that is namespaces.

use std::{
    fs,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use vip_tests::wait;

use crate::cargo::workspace;

/// The first process of that machine.
const FIRST: &str = "/lib/systemd/systemd";
/// For systemd to be there: its script has made the machine then.
const PATIENCE: Duration = Duration::from_secs(30);
/// Seconds that all of it may take.
const LIMIT: &str = "120";

/// Tries it; `home` is an empty folder, of this trial alone. Whether all is as it should be is what it says itself.
pub(super) fn passes(package: &Path, home: &Path) -> Result<bool> {
    if !Path::new(FIRST).exists() {
        bail!("the package is tried on this machine's own files, which have no {FIRST}: install systemd");
    }
    let machine = Machine::start(package, home)?;
    Ok(machine.run("steps.sh")?.success())
}

/// Dropping it ends all that runs there, and its layer of files goes with it.
struct Machine(Child);

impl Machine {
    fn start(package: &Path, home: &Path) -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--uts", "--ipc", "--pid", "--net", "--cgroup", "--fork", "--kill-child"]);
        command.args(["--propagation", "private", "bash"]).arg(script("machine.sh")).arg(home).arg(package);
        let machine = Self(command.stdin(Stdio::null()).spawn().context("cannot run unshare")?);
        wait::until_calmly("the machine to be there", PATIENCE, || {
            let name = machine.first().and_then(|pid| Ok(fs::read_to_string(format!("/proc/{pid}/comm"))?));
            Ok(name.is_ok_and(|name| name.trim() == "systemd").then_some(()))
        })?;
        Ok(machine)
    }

    /// The process, as this machine counts, that is the first one there.
    fn first(&self) -> Result<String> {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.0.id()))?;
        Ok(children.trim().to_owned())
    }

    /// Runs a script there.
    fn run(&self, name: &str) -> Result<ExitStatus> {
        let steps = fs::File::open(script(name)).with_context(|| format!("cannot read {name}"))?;
        let mut command = Command::new("timeout");
        command.args([LIMIT, "nsenter", "--target", &self.first()?]);
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wdns=/"]);
        command.args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "bash", "-s"]);
        command.stdin(steps).status().context("cannot run nsenter")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn script(name: &str) -> std::path::PathBuf {
    workspace().join("packaging/trial").join(name)
}

//! A machine: a node of a lab with a root file system, processes and a host name of its own. The file system is this machine's,
//! and what is written to it goes nowhere else.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use vip_tests::{fronts, lab::daemon_binary, net::command_in};

/// Commands that have to be something else here.
const STAND_INS: [(&str, &str); 3] = [
    ("systemctl", include_str!("machine/systemctl.sh")),
    ("apt-get", include_str!("machine/apt-get.sh")),
    ("scp", include_str!("machine/scp.sh")),
];
const MAKE: &str = include_str!("machine/make.sh");
/// Seconds that a block may take.
const LIMIT: &str = "60";

/// A running machine. Dropping it ends what runs there.
#[derive(Debug)]
pub(crate) struct Machine {
    name: String,
    keeper: Child,
    /// The first process in its namespaces.
    first: String,
}

impl Machine {
    /// Makes it in the network namespace `netns`, with its files in the empty folder `home`. All machines share the folder `wire`.
    pub(crate) fn start(name: &str, netns: &str, home: &Path, wire: &Path) -> Result<Self> {
        fs::create_dir_all(home)?;
        lay_out(wire)?;
        let mut command = command_in(netns, "unshare")?;
        command.args(["--mount", "--uts", "--pid", "--fork", "--kill-child", "--propagation", "private"]);
        command.args(["bash", "-euc", MAKE, "make"]).arg(home).arg(name).arg(wire);
        let mut keeper = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("unshare")?;
        let mut said = keeper.stdout.take().context("no output")?;
        said.read_exact(&mut [0]).with_context(|| format!("{name} cannot be made"))?;
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", keeper.id()))?;
        Ok(Self { name: name.to_owned(), keeper, first: children.trim().to_owned() })
    }

    /// Runs lines of a shell as root, each of which has to succeed; gives what they print.
    pub(crate) fn run(&self, text: &str) -> Result<String> {
        let mut command = Command::new("timeout");
        command.args([LIMIT, "nsenter", "--target", &self.first]);
        command.args(["--mount", "--uts", "--net", "--pid", "--root", "--wdns=/"]);
        command.args(["bash", "-euo", "pipefail", "-c", &format!("cd\n{text}")]);
        let path = "/wire/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        command.envs(fronts::environment(path)).env("HOME", "/root").stdin(Stdio::null());
        let output = command.output()?;
        let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        ensure!(output.status.success(), "{}: {}\n{text}\n{said}{complained}", self.name, output.status);
        Ok(said.into_owned())
    }

    /// Puts what other machines have copied to this one where it belongs.
    pub(crate) fn take_in(&self) -> Result<()> {
        self.run("inbox=/wire/$(hostname)\nif [ -d $inbox ]; then cp -a $inbox/. / && rm -r $inbox; fi")
            .map(drop)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// What all machines have at /wire.
fn lay_out(wire: &Path) -> Result<()> {
    let tools: PathBuf = wire.join("bin");
    if tools.exists() {
        return Ok(());
    }
    fs::create_dir_all(&tools)?;
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/vip-user.service");
    fs::copy(daemon_binary()?, wire.join("vip-user"))?;
    fs::copy(unit, wire.join("vip-user.service"))?;
    for (name, script) in STAND_INS {
        let file = tools.join(name);
        fs::write(&file, script)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

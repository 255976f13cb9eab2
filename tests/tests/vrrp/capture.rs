//! What was on the wire, as tshark reads it.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use vip_tests::{lab::Lab, net::command_in, wait};

use crate::PATIENCE;

/// Packets of VRRP that reach the client, until it is finished.
pub(super) struct Capture {
    tcpdump: Child,
    file: PathBuf,
}

impl Capture {
    pub(super) fn start(lab: &Lab) -> Self {
        let file = lab.home(1).join("vrrp.pcap");
        let mut command = command_in(&lab.client_netns(), "tcpdump").unwrap();
        command
            .args(["-i", "eth0", "-U", "-Z", "root", "-w"])
            .arg(&file)
            .arg("ip proto 112 or ip6 proto 112");
        let tcpdump =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait::until("tcpdump", PATIENCE, || Ok(file.exists().then_some(()))).unwrap();
        Self { tcpdump, file }
    }

    /// Ends it: from these addresses there were adverts, and nothing was wrong with any.
    pub(super) fn finish(mut self, sources: &[&str]) {
        kill(Pid::from_raw(self.tcpdump.id().cast_signed()), Signal::SIGTERM).unwrap();
        self.tcpdump.wait().unwrap();
        let wrong = self.read("vrrp and (_ws.malformed or _ws.expert or vrrp.checksum.status == 0)");
        assert_eq!(wrong, "", "tshark finds something wrong");
        for source in sources {
            let field = if source.contains(':') { "ipv6.src" } else { "ip.src" };
            let of = self.read(&format!("vrrp and {field} == {source}"));
            assert!(!of.is_empty(), "nothing was heard of {source}");
        }
    }

    fn read(&self, filter: &str) -> String {
        let output = Command::new("tshark").arg("-r").arg(&self.file).args(["-Y", filter]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

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

/// Packets of VRRP that are seen at one place, until it is finished.
pub(super) struct Capture {
    tcpdump: Child,
    file: PathBuf,
}

impl Capture {
    pub(super) fn start(lab: &Lab, netns: &str) -> Self {
        let file = lab.home(1).join("vrrp.pcap");
        let mut command = command_in(netns, "tcpdump").unwrap();
        command
            .args(["-i", "eth0", "-U", "-Z", "root", "-w"])
            .arg(&file)
            .arg("ip proto 112 or ip6 proto 112");
        let tcpdump =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait::until("tcpdump", PATIENCE, || Ok(file.exists().then_some(()))).unwrap();
        Self { tcpdump, file }
    }

    /// Ends it when ours on this node and others have been seen to advertise and to give up. Nothing was wrong with any advert.
    pub(super) fn finish(mut self, node: u8) {
        // The link-local address is made of the MAC address that a lab gives the node.
        let ours = format!("(ip.src == 10.77.0.{node} or ipv6.src == fe80::77:aff:fe4d:{node})");
        for who in [format!("not {ours}"), ours] {
            for what in ["vrrp.prio > 0", "vrrp.prio == 0"] {
                // The last ones are on their way yet.
                let filter = format!("{what} and {who}");
                let look = || Ok((!self.read(&filter).is_empty()).then_some(()));
                wait::until_calmly(&filter, PATIENCE, look).unwrap();
            }
        }
        kill(Pid::from_raw(self.tcpdump.id().cast_signed()), Signal::SIGTERM).unwrap();
        self.tcpdump.wait().unwrap();
        let wrong = self.read("vrrp and (_ws.malformed or _ws.expert or vrrp.checksum.status == 0)");
        assert_eq!(wrong, "", "tshark finds something wrong");
    }

    fn read(&self, filter: &str) -> String {
        let output = Command::new("tshark").arg("-r").arg(&self.file).args(["-Y", filter]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

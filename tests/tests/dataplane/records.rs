//! What the program tells people of its decisions.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use vip_user::dataplane::{self, ProgramLog};

use super::frames::{Ipv4, PROTOCOL_UDP, arp_request, ethernet};
use super::node::{CLIENT, LEASE, NODE_HOST, Node, Peer, WEB_ID, WEB_VIP};

/// Longer than any condition here takes, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Input: a packet to a VIP, an ARP request and a lease message. Expected: a record of each but the first.
#[test]
fn decisions_are_told_at_level_debug() {
    log::set_logger(&RECORDS).unwrap();
    log::set_max_level(LevelFilter::Debug);
    let mut node = Node::with_plane(dataplane::load(None, ProgramLog::Debug).unwrap()).on_the_wire();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let logger = node.plane.program.take_logger().unwrap().expect("a logger");
        let packet = Ipv4::new(CLIENT.ip, WEB_VIP, PROTOCOL_UDP).around(b"");
        node.receives(&ethernet(NODE_HOST.mac, CLIENT.mac, 0x0800, &packet));
        node.receives(&arp_request(CLIENT, WEB_VIP));
        node.answer(&Peer::new(2).propose(3, LEASE));

        let told = async {
            while RECORDS.told().len() < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = logger.forward() => unreachable!("it forwards until it is dropped"),
            result = tokio::time::timeout(PATIENCE, told) => result.expect("records come"),
        }
    });
    let expected = [
        "ARP operation 1 of 10.77.0.200 at 02:77:00:00:00:c8 for 10.77.0.100: ArpFenced".to_owned(),
        format!("Propose of node 2 at 10.77.0.2, group {WEB_ID:x}, ballot 3.2: LeaseReply"),
    ];
    assert_eq!(RECORDS.told(), expected);
}

#[test]
fn a_program_that_is_to_tell_nothing_has_no_logger() {
    let mut plane = dataplane::load(None, ProgramLog::Off).unwrap();
    assert!(plane.program.take_logger().unwrap().is_none());
}

static RECORDS: Records = Records(Mutex::new(Vec::new()));

/// Keeps the program's records, and nobody else's.
struct Records(Mutex<Vec<String>>);

impl Records {
    /// The records so far, without the padding of names.
    fn told(&self) -> Vec<String> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().map(|record| record.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }
}

impl Log for Records {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("vip_ebpf")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            assert_eq!(record.level(), log::Level::Debug);
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

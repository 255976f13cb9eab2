//! This node's own vote: its message goes through its own XDP program, which has the acceptors.

use pnet::packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::{Ipv4Packet, MutableIpv4Packet};
use pnet::packet::udp::{MutableUdpPacket, UdpPacket};
use vip_common::wire::{MESSAGE_LEN, Message};

use crate::dataplane::{Action, Error, Program};

const ETHERNET: usize = EthernetPacket::minimum_packet_size();
const IPV4: usize = Ipv4Packet::minimum_packet_size();
const UDP: usize = UdpPacket::minimum_packet_size();
const HEADERS: usize = ETHERNET + IPV4 + UDP;
const FRAME: usize = HEADERS + MESSAGE_LEN;

const _: () = assert!(FRAME < 256);

/// A frame with room for a message. Addresses and checksums stay 0: it crosses no wire, and the program asks for none.
#[expect(clippy::cast_possible_truncation, reason = "a frame is shorter than 256 bytes")]
fn empty_frame(port: u16) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    if let Some(mut ethernet) = MutableEthernetPacket::new(&mut frame) {
        ethernet.set_ethertype(EtherTypes::Ipv4);
    }
    if let Some(mut ipv4) = MutableIpv4Packet::new(&mut frame[ETHERNET..]) {
        ipv4.set_version(4);
        ipv4.set_header_length((IPV4 / 4) as u8);
        ipv4.set_total_length((FRAME - ETHERNET) as u16);
        ipv4.set_next_level_protocol(IpNextHeaderProtocols::Udp);
    }
    if let Some(mut udp) = MutableUdpPacket::new(&mut frame[ETHERNET + IPV4..]) {
        udp.set_destination(port);
        udp.set_length((UDP + MESSAGE_LEN) as u16);
    }
    frame
}

/// The way to this node's own acceptors.
#[derive(Debug)]
pub(super) struct OwnVote {
    program: Program,
    frame: [u8; FRAME],
    answer: [u8; FRAME],
}

impl OwnVote {
    /// Votes by this program, whose CONFIG has this port.
    pub(super) fn new(program: Program, port: u16) -> Self {
        Self { program, frame: empty_frame(port), answer: [0; FRAME] }
    }

    /// Asks the own acceptor; `None` if it has nothing to say, as in quarantine.
    ///
    /// # Errors
    /// When the kernel does not run the program: then this node has no vote, which only others' votes can outweigh.
    pub(super) fn cast(&mut self, message: &Message) -> Result<Option<Message>, Error> {
        self.frame[HEADERS..].copy_from_slice(&message.to_bytes());
        let (action, _) = self.program.run(&self.frame, &mut self.answer)?;
        let answer = self.answer.last_chunk::<MESSAGE_LEN>().filter(|_| action == Action::Tx);
        Ok(answer.map(|bytes| Message::from_bytes(*bytes)))
    }
}

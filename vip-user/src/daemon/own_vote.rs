//! This node's own vote: its message goes through its own XDP program, which has the acceptors.

use vip_common::wire::{MESSAGE_LEN, Message};

use crate::dataplane::{Action, Error, Program};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
const HEADERS: usize = ETHERNET + IPV4 + UDP;
const FRAME: usize = HEADERS + MESSAGE_LEN;

/// Where the program looks: EtherType, IPv4 version and lengths, protocol, destination port, UDP length. Addresses
/// and checksums stay 0, as nobody reads them: the frame crosses no wire.
const fn headers(port: u16) -> [u8; HEADERS] {
    let mut bytes = [0; HEADERS];
    let [high, low] = port.to_be_bytes();
    bytes[12] = 0x08;
    bytes[ETHERNET] = 0x45;
    bytes[ETHERNET + 3] = (IPV4 + UDP + MESSAGE_LEN) as u8;
    bytes[ETHERNET + 9] = 17;
    bytes[ETHERNET + IPV4 + 2] = high;
    bytes[ETHERNET + IPV4 + 3] = low;
    bytes[ETHERNET + IPV4 + 5] = (UDP + MESSAGE_LEN) as u8;
    bytes
}
const _: () = assert!(IPV4 + UDP + MESSAGE_LEN < 256);

/// The way to this node's own acceptors.
#[derive(Debug)]
pub(super) struct OwnVote {
    program: Program,
    frame: [u8; FRAME],
    answer: [u8; FRAME],
}

impl OwnVote {
    /// Votes by this program, whose CONFIG has this port.
    pub(super) const fn new(program: Program, port: u16) -> Self {
        let mut frame = [0; FRAME];
        let (start, _) = frame.split_at_mut(HEADERS);
        start.copy_from_slice(&headers(port));
        Self { program, frame, answer: [0; FRAME] }
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

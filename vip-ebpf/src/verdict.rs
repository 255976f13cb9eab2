//! What becomes of a frame: the type that `decide` and `vote` give and `act` takes.

use vip_common::maps::{Counter, Interface};
use vip_common::vote::Answer;

/// What to do with a frame, and what it counts as.
pub(crate) enum Verdict {
    /// To the stack.
    Pass(Counter),
    /// Nowhere.
    Drop(Counter),
    /// On to this MAC address, under a source that says so.
    Forward { to: [u8; 6], source: [u8; 6] },
    /// Nowhere yet: the daemon has it for the next holder of the group in this slot.
    Keep { slot: u32 },
    /// Turn the ARP request at this offset into the answer and send it back.
    AnswerArp { arp: usize, interface: &'static Interface },
    /// Turn the message behind the IPv4 header at this offset into this answer; `interface` sends it back, and
    /// without one it stays in the packet, for the daemon that ran the program on its own message.
    AnswerMessage { ipv4: usize, interface: Option<&'static Interface>, answer: Answer },
}

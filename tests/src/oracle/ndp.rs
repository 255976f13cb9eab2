//! The same check for an IPv6 VIP: neighbour solicitations, of which at most one node may answer each (RFC 4861).
//!
//! Each comes from an address of its own, to which its answer goes, so that the answer tells its question. Nobody has
//! these addresses, and nobody needs a route to them: the data plane answers to the MAC address that has asked.

use std::{
    io::Read,
    net::Ipv6Addr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::Socket;

use super::{GRACE, ORACLE_MAC, RECEIVE_BUFFER, frame, frame::Mac, period};
use crate::{clock::Stamp, lab::Lab, net::in_netns};

const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const ICMPV6: u8 = 58;
const HOP_LIMIT: u8 = 255;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The addresses that ask are these, with the number of the question at the end.
const ASKERS: u128 = 0xfd77_0000_0000_0001 << 64;
/// Of an advertisement with the target's link-layer address.
const ADVERTISEMENT_LEN: usize = 32;

/// Asks for a VIP a thousand times a second, from the lab's client. Dropping it stops it.
#[derive(Debug)]
pub struct NdpOracle {
    seen: Arc<Mutex<NdpReport>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What was asked, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NdpReport {
    /// The MAC addresses that answered each question, each once.
    pub answers: Vec<Vec<[u8; 6]>>,
    /// Who told all nodes, unasked, that it has the VIP.
    pub announced_by: Vec<[u8; 6]>,
    /// Advertisements for the VIP that are not as they must be.
    pub malformed: u64,
}

impl NdpReport {
    /// Questions that somebody answered.
    pub fn answered(&self) -> usize {
        self.answers.iter().filter(|answers| !answers.is_empty()).count()
    }

    /// Questions that two nodes answered: 0, always.
    pub fn doubles(&self) -> usize {
        self.answers.iter().filter(|answers| answers.len() > 1).count()
    }

    /// Who answered last.
    pub fn last(&self) -> Option<[u8; 6]> {
        self.answers.iter().rev().find_map(|answers| answers.first().copied())
    }
}

impl NdpOracle {
    /// Starts to ask for `vip`.
    pub fn start(lab: &Lab, vip: Ipv6Addr) -> Result<Self> {
        let open = || {
            let socket = frame::packet_socket("eth0", Some(libc::ETH_P_IPV6))?;
            socket.set_nonblocking(true)?;
            setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
            Ok(socket)
        };
        let socket = in_netns(&lab.client_netns(), open).context("cannot open the oracle's socket")?;
        let (seen, stop) = (Arc::<Mutex<NdpReport>>::default(), Arc::new(AtomicBool::new(false)));
        let (log, told_to_stop) = (Arc::clone(&seen), Arc::clone(&stop));
        let ask = move || {
            let start = Stamp::now();
            for number in 0.. {
                (start + period() * number).sleep_until();
                if told_to_stop.load(Ordering::Relaxed) {
                    break;
                }
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.answers.push(Vec::new());
                // A question that cannot be sent is an unanswered one.
                let _ = socket.send(&solicitation(asker(number), vip));
                take_answers(&socket, vip, &mut log);
            }
            let end = Stamp::now() + GRACE;
            while Stamp::now() < end {
                take_answers(&socket, vip, &mut log.lock().unwrap_or_else(PoisonError::into_inner));
                thread::sleep(Duration::from_millis(1));
            }
        };
        let thread = thread::Builder::new().name("oracle-ndp".into()).spawn(ask)?;
        Ok(Self { seen, stop, thread: Some(thread) })
    }

    /// What the answers show so far.
    pub fn report_so_far(&self) -> NdpReport {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the asking and gives what the answers show.
    pub fn finish(mut self) -> NdpReport {
        self.end();
        self.report_so_far()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        super::join(&mut self.thread);
    }
}

impl Drop for NdpOracle {
    fn drop(&mut self) {
        self.end();
    }
}

fn asker(number: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(ASKERS | u128::from(number))
}

fn take_answers(mut socket: &Socket, vip: Ipv6Addr, log: &mut NdpReport) {
    let mut frame = [0; 2048];
    while let Ok(length) = socket.read(&mut frame) {
        match read(&frame[..length], vip) {
            Some(Ok((ALL_NODES, mac))) => log.announced_by.push(mac),
            Some(Ok((destination, mac))) => {
                let number = usize::try_from(destination.to_bits() ^ ASKERS).ok();
                let answers = number.and_then(|number| log.answers.get_mut(number));
                if let Some(answers) = answers.filter(|answers| !answers.contains(&mac)) {
                    answers.push(mac);
                }
            }
            Some(Err(())) => log.malformed += 1,
            None => {}
        }
    }
}

/// To whom an advertisement says that the VIP has which MAC address; an error if it is not valid (RFC 4861, section
/// 7.1.2). `None` for all other frames.
fn read(frame: &[u8], vip: Ipv6Addr) -> Option<Result<(Ipv6Addr, [u8; 6]), ()>> {
    let (ethernet, packet) = frame.split_first_chunk::<14>()?;
    let (ip, message) = packet.split_first_chunk::<40>()?;
    let is_one =
        ethernet[12..] == ETHERTYPE_IPV6 && ip[6] == ICMPV6 && message.first() == Some(&ADVERTISEMENT);
    if !is_one || message.get(8..24)? != vip.octets() {
        return None;
    }
    let message: Result<&[u8; ADVERTISEMENT_LEN], _> = message.try_into();
    let Ok(message) = message else { return Some(Err(())) };
    let (source, destination) = (address(&ip[8..24])?, address(&ip[24..])?);
    let is_valid = ip[..8] == [0x60, 0, 0, 0, 0, 32, ICMPV6, HOP_LIMIT]
        && message[1] == 0
        && checksum(source, destination, message) == 0
        && message[24..26] == [2, 1]
        && source == vip;
    Some(if is_valid { Ok((destination, message[26..].try_into().ok()?)) } else { Err(()) })
}

/// To the group of the VIP (RFC 4291, section 2.7.1; RFC 2464, section 7).
fn solicitation(source: Ipv6Addr, vip: Ipv6Addr) -> Vec<u8> {
    let Mac(mac) = ORACLE_MAC;
    let [.., a, b, c] = vip.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let mut message = [&[SOLICITATION, 0, 0, 0, 0, 0, 0, 0][..], &vip.octets(), &[1, 1], &mac].concat();
    let checksum = checksum(source, group, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let head = [0x60, 0, 0, 0, 0, 32, ICMPV6, HOP_LIMIT];
    let ethernet = [&[0x33, 0x33, 0xff, a, b, c][..], &mac, &ETHERTYPE_IPV6].concat();
    [&ethernet[..], &head, &source.octets(), &group.octets(), &message].concat()
}

/// RFC 8200, section 8.1; 0 over a message with a right one.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let len = u32::try_from(message.len()).unwrap_or(0).to_be_bytes();
    let parts = [&source.octets()[..], &destination.octets(), &len, &[0, 0, 0, ICMPV6], message];
    frame::internet_checksum(&parts.concat())
}

fn address(bytes: &[u8]) -> Option<Ipv6Addr> {
    <[u8; 16]>::try_from(bytes).ok().map(Ipv6Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIP: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x100);

    #[test]
    fn a_solicitation_sums_up_and_is_no_answer() {
        let frame = solicitation(asker(7), VIP);
        let (ip, message) = (&frame[14..54], &frame[54..]);
        assert_eq!(checksum(address(&ip[8..24]).unwrap(), address(&ip[24..]).unwrap(), message), 0);
        assert_eq!(read(&frame, VIP), None);
    }

    #[test]
    fn an_answer_tells_its_question_and_a_broken_one_is_malformed() {
        let mut message =
            [&[ADVERTISEMENT, 0, 0, 0, 0x60, 0, 0, 0][..], &VIP.octets(), &[2, 1, 2, 0, 0, 0, 0, 9]].concat();
        let sum = checksum(VIP, asker(3), &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let head = [&[0; 12][..], &ETHERTYPE_IPV6, &[0x60, 0, 0, 0, 0, 32, ICMPV6, HOP_LIMIT]].concat();
        let mut frame = [&head[..], &VIP.octets(), &asker(3).octets(), &message].concat();
        assert_eq!(read(&frame, VIP), Some(Ok((asker(3), [2, 0, 0, 0, 0, 9]))));
        assert_eq!(read(&frame, Ipv6Addr::LOCALHOST), None);
        frame[85] ^= 1;
        assert_eq!(read(&frame, VIP), Some(Err(())));
    }
}

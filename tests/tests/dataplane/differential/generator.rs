//! Random lives of a node, each from a seed: frames of every kind and what the daemon does in between, chosen so that
//! everything that can come of a frame comes often.
//!
//! Every time in them is far from the time at which the node meets it, so that what comes of a seed does not hang on
//! how fast the machine is, but for how often a conflict is reported.

mod messages;
mod packets;
mod packets6;

use std::net::Ipv4Addr;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use vip_common::lease::{Ballot, MAX_VOTERS, Renewal};
use vip_common::maps::{Config, Role, Stale};

use super::super::frames::{Host, tagged};
use super::super::node::{EPOCH, INCARNATION, LEASE, MAIL_VIP, NODE, WEB_VIP, config, host, now};
use super::pair::Pair;
use super::state::{Move, SLOTS, index};
use super::ways::Way;

/// No VIP, no node, no client.
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 99);
const VIRTUAL_MAC: [u8; 6] = [0x72, 1, 2, 3, 4, 5];
const VIPS: [Ipv4Addr; 2] = [WEB_VIP, MAIL_VIP];

/// What happens next to a node.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Frame(Way, Vec<u8>),
    Move(Move),
    Configure(Config),
}

/// A random life.
pub(super) struct Generator {
    pub(super) rng: SmallRng,
    /// When it began: CLOCK_BOOTTIME, ns.
    start: u64,
    /// Frames that came before, to come again.
    past: Vec<Vec<u8>>,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        let rng = SmallRng::seed_from_u64(seed);
        Self { rng, start: now(), past: Vec::new() }
    }

    /// What happens next to this node.
    pub(super) fn step(&mut self, pair: &Pair) -> Step {
        match self.rng.random_range(0..100) {
            0..3 => Step::Move(self.step_of_daemon(pair)),
            3 => Step::Configure(self.configuration()),
            _ => {
                let (way, frame) = self.frame(pair);
                Step::Frame(way, frame)
            }
        }
    }

    fn frame(&mut self, pair: &Pair) -> (Way, Vec<u8>) {
        let way = match self.rng.random_range(0..100) {
            0..10 => Way::Own,
            10..20 => Way::Side,
            20..40 => Way::Wire6,
            _ => Way::Wire,
        };
        let mut frame = match self.rng.random_range(0..100) {
            0..52 => self.message(way, pair),
            52..54 => self.replay(),
            54..65 => self.arp(pair),
            65..76 => self.ipv4(pair),
            76..88 => self.neighbour(pair),
            88..96 => self.ipv6(pair),
            _ => self.noise(),
        };
        if self.chance(12) {
            self.disturb(&mut frame);
        }
        self.remember(&frame);
        (way, frame)
    }

    /// What the daemon does now and then, and an acceptor that starts anew for others to win.
    pub(super) fn step_of_daemon(&mut self, pair: &Pair) -> Move {
        let slot = self.pick(&SLOTS);
        match self.rng.random_range(0..8) {
            0 => {
                let until = [1, self.start + LEASE / 4, self.start + 2 * LEASE];
                Move::Arm { slot, until: self.pick(&until) }
            }
            1 => Move::Disarm { slot },
            2 => Move::SetRole { slot, role: self.pick(&[Role::Holder, Role::Follower]) },
            3 => {
                let stale = [Stale::Forward, Stale::Forward, Stale::Keep, Stale::Drop];
                Move::SetStale { slot, stale: self.pick(&stale) }
            }
            4 => Move::SetVirtualMac { slot, mac: self.pick(&[[0; 6], VIRTUAL_MAC]) },
            5 => Move::SetRenewal { slot, renewal: self.renewal(slot, pair) },
            _ => {
                let until = [0, 0, 0, self.start, self.start + LEASE];
                Move::Quarantine { slot, until: self.pick(&until) }
            }
        }
    }

    fn renewal(&mut self, slot: u32, pair: &Pair) -> Renewal {
        let round = Ballot(pair.state.acceptors[index(slot)].promised).round() + self.rng.random_range(0..2);
        let voters: Vec<u16> = (1..=self.pick(&[1, 2, 3, 3, 5, 7, 16])).collect();
        assert!(voters.len() <= MAX_VOTERS);
        Renewal::new(Ballot::new(round, NODE), LEASE, &voters)
    }

    fn configuration(&mut self) -> Config {
        Config {
            keys_in_use: self.pick(&[0b001, 0b011, 0b110, 0b111]),
            observer: self.pick(&[0, 0, 0, 1]),
            epoch: self.pick(&[EPOCH, EPOCH, EPOCH, EPOCH + 1, 0]),
            incarnation: self.pick(&[INCARNATION, INCARNATION, INCARNATION, INCARNATION + 1]),
            longest_lease: self.pick(&[LEASE, LEASE, LEASE / 2]),
            ..config()
        }
    }

    /// Something that came before, as it came.
    fn replay(&mut self) -> Vec<u8> {
        match self.past.choose(&mut self.rng) {
            Some(frame) => frame.clone(),
            None => self.noise(),
        }
    }

    fn remember(&mut self, frame: &[u8]) {
        const PAST: usize = 32;
        if self.past.len() < PAST {
            self.past.push(frame.to_vec());
        } else {
            self.past[self.rng.random_range(0..PAST)] = frame.to_vec();
        }
    }

    /// What can happen to any frame, once or more.
    fn disturb(&mut self, frame: &mut Vec<u8>) {
        for _ in 0..self.pick(&[1, 1, 1, 2, 3]) {
            match self.rng.random_range(0..8) {
                0..3 => {
                    let tags = self.pick::<&[u16]>(&[
                        &[0x8100],
                        &[0x88a8],
                        &[0x88a8, 0x8100],
                        &[0x8100, 0x88a8],
                        &[0x8100; 3],
                    ]);
                    *frame = tagged(frame, tags);
                }
                3..5 => frame.truncate(self.rng.random_range(SHORTEST..=frame.len())),
                5 => {
                    let padding = self.bytes(0..40);
                    frame.extend(padding);
                }
                6 => {
                    let bit = self.rng.random_range(0..frame.len() * 8);
                    frame[bit / 8] ^= 1 << (bit % 8);
                }
                _ => {
                    let at = self.rng.random_range(0..frame.len());
                    frame[at] ^= self.rng.random_range(1..=u8::MAX);
                }
            }
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_ratio(percent, 100)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        *from.choose(&mut self.rng).expect("something to pick from")
    }

    fn bytes(&mut self, len: std::ops::Range<usize>) -> Vec<u8> {
        let len = self.rng.random_range(len);
        (0..len).map(|_| self.rng.random()).collect()
    }

    /// A station of the segment.
    fn station(&mut self) -> Host {
        host(self.pick(&[1, 2, 3, 4, 66, 200]))
    }
}

/// The kernel has no shorter frame than an Ethernet header.
const SHORTEST: usize = 14;

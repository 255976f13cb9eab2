//! A node of the real program and its reference, side by side.

use std::collections::BTreeMap;
use std::fmt;

use vip_common::lease::{Acceptor, Decision};
use vip_common::maps::{Config, Counter, Event, Group, LockedAcceptor, bpf_spin_lock};
use vip_user::dataplane::{self, ProgramLog};

use super::super::node::{HOME, MAIL, MAIL_ID, Node, WEB, WEB_ID, config, now, vips, vips6};
use super::super::pins::BpfDirectory;
use super::bpf::LOCKED;
use super::reference::{Clock, Expected, Setting, receive};
use super::state::{Maps, Move, Seen, State, hex, index};
use super::ways::{Way, Ways};

/// The two, and what both remember.
pub(super) struct Pair {
    pub(super) node: Node,
    pub(super) maps: Maps,
    ways: Ways,
    pub(super) setting: Setting,
    pub(super) state: State,
}

/// What the reference says of a frame that fared as it says.
pub(super) struct Fared {
    pub(super) counter: Counter,
    pub(super) decision: Option<Decision>,
    pub(super) events: Vec<Event>,
    /// Whether a lease word moved.
    pub(super) extended: bool,
}

/// Of a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Before,
    After,
}

/// A frame that fared otherwise than in the reference.
pub(super) struct Mismatch {
    way: Way,
    frame: Vec<u8>,
    difference: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "frame from {:?}: {}", self.way, hex(&self.frame))?;
        f.write_str(&self.difference)
    }
}

impl Pair {
    /// Both without a past, the node on the wire.
    pub(super) fn new() -> Self {
        Self::pinned_in(&BpfDirectory::new())
    }

    /// As [`Self::new`], with maps that are pinned here, for other programs to share.
    pub(super) fn pinned_in(directory: &BpfDirectory) -> Self {
        let pins = directory.pins();
        let node = Node::with_plane(dataplane::load(Some(&pins), ProgramLog::Off).unwrap()).on_the_wire();
        let maps = Maps::open(&pins);
        let ways = Ways::open(&pins);
        let groups = BTreeMap::from([(WEB_ID, WEB), (MAIL_ID, MAIL)]);
        let setting =
            Setting { config: config(), interface: Some(HOME), vips: vips(), vips6: vips6(), groups };
        let state = maps.read();
        Self { node, maps, ways, setting, state }
    }

    /// Has the frame run through both.
    pub(super) fn receive(&mut self, way: Way, frame: &[u8]) -> Result<Fared, Mismatch> {
        let (run, actual) = self.observe(way, frame);
        let Some(expected) = Clock::all(run).find_map(|clock| self.explain(clock, frame, &actual)) else {
            return Err(self.mismatch(run, way, frame, &actual));
        };
        let words = |state: &State| state.groups.map(|group| group.lease_until);
        let extended = words(&self.state) != words(&actual.state);
        self.state = actual.state;
        let Expected { counter, decision, .. } = expected;
        Ok(Fared { counter, decision, events: actual.events, extended })
    }

    /// As [`Self::receive`]. Where the outcome changes with the time, and does so within the run: on which side of that
    /// moment the program has read its clock.
    pub(super) fn receive_at_change(&mut self, way: Way, frame: &[u8]) -> Result<Option<Side>, Mismatch> {
        let (run, actual) = self.observe(way, frame);
        let [early, late] = Clock::ends(run).map(|clock| self.explain(clock, frame, &actual).is_some());
        let side = match (early, late) {
            (true, true) => None,
            (true, false) => Some(Side::Before),
            (false, true) => Some(Side::After),
            (false, false) => return Err(self.mismatch(run, way, frame, &actual)),
        };
        self.state = actual.state;
        Ok(side)
    }

    /// What the program makes of the frame, and CLOCK_BOOTTIME before and after, in ns.
    fn observe(&mut self, way: Way, frame: &[u8]) -> ([u64; 2], Seen) {
        self.come_in_by(way);
        let before = now();
        let (action, frame_after) = self.node.run(frame);
        let run = [before, now()];
        (run, Seen { action, frame: frame_after, events: self.events(), state: self.maps.read() })
    }

    /// The reference's outcome by this clock, if it is what was seen.
    fn explain(&self, clock: Clock, frame: &[u8], actual: &Seen) -> Option<Expected> {
        let slack = clock.length();
        let expected = receive(&self.setting, &self.state, clock, frame);
        expected.explains(&self.setting, actual, slack).then_some(expected)
    }

    fn mismatch(&self, run: [u64; 2], way: Way, frame: &[u8], actual: &Seen) -> Mismatch {
        let [clock, _] = Clock::ends(run);
        let slack = clock.length();
        let expected = receive(&self.setting, &self.state, clock, frame).seen;
        let difference = expected.at_the_times_of(actual, slack).difference(actual);
        Mismatch { way, frame: frame.to_vec(), difference }
    }

    /// Has the daemon do something to both.
    pub(super) fn perform(&mut self, step: &Move) {
        let (words, tables) = (&self.node.plane.words, &mut self.node.plane.tables);
        match *step {
            Move::Arm { slot, until } => words.arm(slot, until),
            Move::Disarm { slot } => words.disarm(slot),
            Move::SetRole { slot, role } => words.set_role(slot, role),
            Move::SetStale { slot, stale } => words.set_stale(slot, stale),
            Move::SetVirtualMac { slot, mac } => words.set_virtual_mac(slot, mac),
            Move::SetRenewal { slot, renewal } => self.node.plane.renewals.set(slot, renewal).unwrap(),
            Move::Quarantine { slot, until } => tables.quarantine(slot, until).unwrap(),
        }
        self.state.perform(step);
        assert_eq!(self.maps.read(), self.state, "{step:?}");
    }

    pub(super) fn configure(&mut self, config: Config) {
        self.node.plane.tables.set_config(config).unwrap();
        self.setting.config = config;
    }

    /// Gives both an acceptor with this past.
    pub(super) fn set_acceptor(&mut self, slot: u32, state: Acceptor) {
        let locked = LockedAcceptor { lock: bpf_spin_lock::default(), reserved: 0, state };
        self.maps.acceptors.update(slot, locked, LOCKED);
        self.state.acceptors[index(slot)] = state;
    }

    /// Changes both entries of a group, which nobody else may do meanwhile.
    pub(super) fn change_group(&mut self, slot: u32, change: impl FnOnce(&mut Group)) {
        let group = &mut self.state.groups[index(slot)];
        change(group);
        self.maps.groups.update(slot, *group, 0);
    }

    /// All events since the last call.
    pub(super) fn events(&mut self) -> Vec<Event> {
        self.node.plane.events.by_ref().collect()
    }

    pub(super) fn come_in_by(&mut self, way: Way) {
        self.ways.come_in_by(way, &mut self.setting);
    }
}

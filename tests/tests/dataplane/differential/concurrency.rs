//! Messages of two nodes at once, on two CPUs: what comes of them is what comes of one after the other, in some order.
//!
//! Messages of *one* node come through one queue of a network card, and so one after the other.

use std::cell::RefCell;
use std::fs;
use std::time::{Duration, Instant};

use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use rand::Rng as _;
use vip_common::maps::Event;
use vip_user::dataplane::{self, Action, MAPS, Pins, ProgramLog};

use super::super::node::now;
use super::super::pins::BpfDirectory;
use super::super::races::{DURATION, Ran, collide, run};
use super::generator::Generator;
use super::pair::Pair;
use super::reference::{Clock, receive};
use super::state::{Seen, State, hex};

/// Longer than it takes on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn two_messages_at_once_fare_as_one_after_the_other() {
    let directory = BpfDirectory::new();
    let pair = RefCell::new(Pair::pinned_in(&directory));
    // The same maps, for both CPUs to run on while the pair prepares and judges.
    let twin = dataplane::load(Some(&directory.pins()), ProgramLog::Off).unwrap().program;
    let race = RefCell::new(Race::new(1));
    let mut orders = [0; 2];
    collide(
        |frame| run(&twin, frame),
        DURATION,
        || race.borrow_mut().prepare(&mut pair.borrow_mut()),
        |ran| match race.borrow_mut().judge(&mut pair.borrow_mut(), ran) {
            Ok(Order::Either) => {}
            Ok(Order::First(first)) => orders[first] += 1,
            Err(failure) => panic!("no order explains it\n{failure}"),
        },
    );
    println!("one had to be first {} times, the other {} times", orders[0], orders[1]);
    assert!(orders.iter().all(|count| *count > 0), "they did not meet: {orders:?}");
}

/// The control: the same program without its locks, whose memory loses what one of the two did.
#[test]
fn without_locks_two_messages_at_once_fare_otherwise() {
    let directory = BpfDirectory::new();
    let pair = RefCell::new(Pair::pinned_in(&directory));
    let unlocked = Unlocked::load(&directory.pins());
    let race = RefCell::new(Race::new(1));
    let lost = RefCell::new(0);
    let patience = Instant::now() + PATIENCE;
    while *lost.borrow() == 0 && Instant::now() < patience {
        collide(
            |frame| unlocked.run(frame),
            DURATION,
            || race.borrow_mut().prepare(&mut pair.borrow_mut()),
            |ran| {
                let judged = race.borrow_mut().judge(&mut pair.borrow_mut(), ran);
                *lost.borrow_mut() += usize::from(judged.is_err());
            },
        );
    }
    println!("{} of {} pairs", lost.borrow(), race.borrow().count);
    assert!(*lost.borrow() > 0, "the two do not meet closely enough to show anything");
}

/// Random pairs of messages that meet on a node.
struct Race {
    generator: Generator,
    frames: [Vec<u8>; 2],
    before: u64,
    count: u32,
}

/// Which of the two can have come first.
enum Order {
    Either,
    First(usize),
}

impl Race {
    fn new(seed: u64) -> Self {
        Self { generator: Generator::new(seed), frames: Default::default(), before: 0, count: 0 }
    }

    /// Sets the scene, and gives two that are to meet, mostly such that it matters who is first.
    fn prepare(&mut self, pair: &mut Pair) -> [Vec<u8>; 2] {
        loop {
            if self.generator.rng.random_ratio(1, 2) {
                let step = self.generator.step_of_daemon(pair);
                pair.perform(&step);
            }
            self.frames = self.generator.rivals(pair);
            if self.order_matters(pair) || self.generator.rng.random_ratio(1, 10) {
                break;
            }
        }
        self.count += 1;
        self.before = now();
        self.frames.clone()
    }

    fn order_matters(&self, pair: &Pair) -> bool {
        let now = now();
        let [one, other] = [[0, 1], [1, 0]].map(|order| {
            order.into_iter().fold(pair.state.clone(), |state, index| {
                let [clock, _] = Clock::ends([now; 2]);
                receive(&pair.setting, &state, clock, &self.frames[index]).seen.state
            })
        });
        one != other
    }

    /// Finds an order that explains what came of them, and takes that over in any case.
    fn judge(&self, pair: &mut Pair, ran: [Ran; 2]) -> Result<Order, String> {
        let clocks = [self.before, now()];
        let after = After { ran, events: pair.events(), state: pair.maps.read() };
        let order = match [0, 1].map(|first| self.explains(pair, clocks, first, &after)) {
            [true, true] => Ok(Order::Either),
            [true, false] => Ok(Order::First(0)),
            [false, true] => Ok(Order::First(1)),
            [false, false] => {
                let [one, other] = self.frames.each_ref().map(|frame| hex(frame));
                Err(format!("{one}\n{other}\nbefore {:?}\nafter {after:?}", pair.state))
            }
        };
        pair.state = after.state;
        order
    }

    fn explains(&self, pair: &Pair, run: [u64; 2], first: usize, after: &After) -> bool {
        let second = 1 - first;
        let slack = run[1] - run[0];
        Clock::ends(run).into_iter().any(|clock| {
            let one = receive(&pair.setting, &pair.state, clock, &self.frames[first]);
            Clock::ends(run).into_iter().any(|clock| {
                let other = receive(&pair.setting, &one.seen.state, clock, &self.frames[second]);
                let mut one = one.clone();
                one.seen.state = other.seen.state.clone();
                let events = [one.seen.events.clone(), other.seen.events.clone()].concat();
                let explained = [(first, &one), (second, &other)].into_iter().all(|(index, expected)| {
                    let (action, frame) = after.ran[index].clone();
                    let events = expected.seen.events.clone();
                    let actual = Seen { action, frame, events, state: after.state.clone() };
                    expected.explains(&pair.setting, &actual, slack)
                });
                explained && sorted(events) == sorted(after.events.clone())
            })
        })
    }
}

/// What came of the two.
#[derive(Debug)]
struct After {
    ran: [Ran; 2],
    events: Vec<Event>,
    state: State,
}

/// Events are sent when all is done, in whatever order.
fn sorted(mut events: Vec<Event>) -> Vec<Event> {
    events.sort_by_key(|event| (event.kind, event.slot, event.node, event.value));
    events
}

/// The program that is in this test, with nothing in place of the calls that lock and unlock.
struct Unlocked(Ebpf);

impl Unlocked {
    /// On the maps that are pinned here.
    fn load(pins: &Pins) -> Self {
        let mut object = own_object();
        let mut calls = 0;
        for instruction in object.as_chunks_mut::<8>().0 {
            if [SPIN_LOCK, SPIN_UNLOCK].contains(instruction) {
                *instruction = MOV_R0_0;
                calls += 1;
            }
        }
        assert!(calls > 0, "no locks");
        let mut loader = EbpfLoader::new();
        loader.btf(None).override_global("AYA_LOG_LEVEL", &0_u8, false);
        for map in MAPS {
            loader.map_pin_path(map.name, pins.map(map.name));
        }
        let mut ebpf = loader.load(&object).unwrap();
        let program: &mut Xdp = ebpf.program_mut("vip_xdp").unwrap().try_into().unwrap();
        program.load().unwrap();
        Self(ebpf)
    }

    fn run(&self, frame: &[u8]) -> Ran {
        let program: &Xdp = self.0.program("vip_xdp").unwrap().try_into().unwrap();
        let mut out = vec![0; 4096];
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::default() };
        let result = program.test_run(options).unwrap();
        out.truncate(usize::try_from(result.data_size_out).unwrap());
        let action = match result.return_value {
            1 => Action::Drop,
            2 => Action::Pass,
            3 => Action::Tx,
            action => panic!("action {action}"),
        };
        (action, out)
    }
}

// Instructions (linux/bpf.h): call bpf_spin_lock, call bpf_spin_unlock, r0 = 0.
const SPIN_LOCK: [u8; 8] = [0x85, 0, 0, 0, 93, 0, 0, 0];
const SPIN_UNLOCK: [u8; 8] = [0x85, 0, 0, 0, 94, 0, 0, 0];
const MOV_R0_0: [u8; 8] = [0xb7, 0, 0, 0, 0, 0, 0, 0];

/// The XDP object as the daemon's library has it, found in this test's own file by its ELF header; what lies behind it
/// comes along.
fn own_object() -> Vec<u8> {
    const MAGIC: [u8; 7] = [0x7f, b'E', b'L', b'F', 2, 1, 1];
    const EM_BPF: [u8; 2] = [247, 0];
    let file = fs::read("/proc/self/exe").unwrap();
    let is_object = |at: &usize| file[*at..].starts_with(&MAGIC) && file[at + 18..].starts_with(&EM_BPF);
    let at = (0..file.len()).step_by(8).find(is_object).expect("an XDP object in this test");
    file[at..].to_vec()
}

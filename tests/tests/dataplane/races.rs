//! Two CPUs in the program at once, or one there and one in the daemon.
//!
//! Each test makes its two sides meet within nanoseconds, some ten thousand times. A program without the locks, or with
//! a plain store in place of the compare-and-swap, fails here.

use std::hint::spin_loop;
use std::iter;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use vip_common::lease::{Ballot, Renewal, serving_time};
use vip_common::maps::Role;
use vip_common::wire::Kind;
use vip_tests::realtime;
use vip_user::dataplane::{Action, Program};

use super::frames;
use super::node::{LEASE, NODE, Node, Peer, WEB, multicast, now};

/// How long the two sides race.
pub(super) const DURATION: Duration = Duration::from_secs(2);

/// Input: one CPU extends the word as fast as it can, while the daemon arms and disarms it on another one.
/// Expected: a word that was disarmed stays 0 until it is armed again, whatever was under way.
#[test]
fn a_disarm_wins_against_an_extension_under_way() {
    let mut node = Node::alone();
    let ballot = Ballot::new(1, NODE);
    node.plane.renewals.set(WEB, Renewal::new(ballot, LEASE, &[2])).unwrap();
    node.plane.words.set_role(WEB, Role::Holder);
    let stamp = now();
    let accepted = multicast(&Peer::new(2).request(Kind::Accepted, 1, |message| {
        message.ballot = ballot.0.into();
        message.sent_at = stamp.into();
    }));

    let [first, second] = two_cpus();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            realtime::pin(first).unwrap();
            while !over.load(Ordering::Relaxed) {
                assert_eq!(run(&node.plane.program, &accepted).0, Action::Drop);
            }
        });
        let _guard = SetOnDrop(&over);
        realtime::pin(second).unwrap();
        let (words, end) = (&node.plane.words, Instant::now() + DURATION);
        let (mut extensions, mut pause) = (0, 0);
        while Instant::now() < end {
            words.arm(WEB, 1);
            // A run takes about a microsecond, and only the first one extends: the disarm is to meet each of its steps.
            pause = (pause + 1) % 32;
            (0..pause).for_each(|_| spin_loop());
            extensions += usize::from(words.read(WEB).lease_until == stamp + serving_time(LEASE));
            words.disarm(WEB);
            for _ in 0..20 {
                assert_eq!(words.read(WEB).lease_until, 0, "extended after it was disarmed");
            }
        }
        assert!(extensions > 0, "nothing was extended: the two did not race");
    });
}

/// Input: two nodes propose the same group's lease at the same time, to an acceptor that has promised nothing.
/// Expected: one of them gets it.
#[test]
fn of_two_proposals_at_once_one_is_accepted() {
    let mut node = Node::alone();
    let [mut one, mut other] = [Peer::new(2), Peer::new(3)];
    let (program, tables) = (&node.plane.program, &mut node.plane.tables);
    let proposals = || {
        tables.quarantine(WEB, 0).unwrap();
        [&mut one, &mut other].map(|peer| multicast(&peer.propose(1, LEASE)))
    };
    collide(
        |frame| run(program, frame),
        DURATION,
        proposals,
        |outcomes| {
            let accepted = |(_, frame): &&Ran| frames::payload(frame)[5] == Kind::Accepted as u8;
            assert_eq!(outcomes.iter().filter(accepted).count(), 1);
        },
    );
}

/// Input: the same message twice at the same time, as by a network that doubles frames onto two receive queues.
/// Expected: one of them passes.
#[test]
fn of_a_message_and_its_replay_at_once_one_is_taken() {
    let node = Node::alone();
    let mut peer = Peer::new(2);
    let twins = || {
        let hello = multicast(&peer.hello());
        [hello.clone(), hello]
    };
    collide(
        |frame| run(&node.plane.program, frame),
        DURATION,
        twins,
        |outcomes| {
            assert_eq!(outcomes.iter().filter(|(action, _)| *action == Action::Pass).count(), 1);
        },
    );
}

/// Action and frame.
pub(super) type Ran = (Action, Vec<u8>);

pub(super) fn run(program: &Program, frame: &[u8]) -> Ran {
    let mut out = vec![0; 256];
    let (action, len) = program.run(frame, &mut out).unwrap();
    out.truncate(len);
    (action, out)
}

/// Runs a program on two frames at the same time on two CPUs, and again until the time is over.
pub(super) fn collide(
    run: impl Fn(&[u8]) -> Ran + Sync,
    duration: Duration,
    mut frames: impl FnMut() -> [Vec<u8>; 2],
    mut judge: impl FnMut([Ran; 2]),
) {
    let [first, second] = two_cpus();
    let arrivals = AtomicUsize::new(0);
    let (run, arrivals) = (&run, &arrivals);
    thread::scope(|scope| {
        // Each side ends with the other, however that ends: its channel is gone.
        let (to_them, theirs) = mpsc::channel::<Vec<u8>>();
        let (to_us, ours) = mpsc::channel();
        scope.spawn(move || {
            realtime::pin(first).unwrap();
            for (round, frame) in iter::from_fn(|| awake(&theirs)).enumerate() {
                meet(arrivals);
                hesitate(round % 89);
                if to_us.send(run(&frame)).is_err() {
                    break;
                }
            }
        });
        realtime::pin(second).unwrap();
        let end = Instant::now() + duration;
        for round in 0.. {
            if end <= Instant::now() {
                break;
            }
            let [our_frame, their_frame] = frames();
            to_them.send(their_frame).unwrap();
            meet(arrivals);
            hesitate(round % 97);
            let our_outcome = run(&our_frame);
            judge([our_outcome, awake(&ours).unwrap()]);
        }
    });
}

/// Receives without sleeping: a CPU that was idle takes its time to come back, and the two would not meet.
fn awake<T>(from: &mpsc::Receiver<T>) -> Option<T> {
    loop {
        match from.try_recv() {
            Ok(received) => return Some(received),
            Err(mpsc::TryRecvError::Empty) => spin_loop(),
            Err(mpsc::TryRecvError::Disconnected) => return None,
        }
    }
}

/// Waits for the other of two threads without sleeping, so that both go on at the same time.
fn meet(arrivals: &AtomicUsize) {
    let everybody = (arrivals.fetch_add(1, Ordering::AcqRel) / 2 + 1) * 2;
    while arrivals.load(Ordering::Acquire) < everybody {
        spin_loop();
    }
}

/// Lets some time pass, up to some microseconds: one of the two sides may always be as much quicker than the other, and
/// they would never meet.
fn hesitate(steps: usize) {
    for _ in 0..4 * steps {
        spin_loop();
    }
}

/// Ends the other side's loop, also when this side panics.
pub(super) struct SetOnDrop<'a>(pub(super) &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Two CPUs that this process may use; the same one twice where there is no other, which races by preemption alone.
fn two_cpus() -> [usize; 2] {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let mut cpus = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap());
    let first = cpus.next().unwrap();
    [first, cpus.next().unwrap_or(first)]
}

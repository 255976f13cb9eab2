//! Schedules made by hand: for guards that chance seldom puts to the test. Each is swept over its phases, since who
//! acts first is a matter of microseconds.

#![expect(clippy::panic, reason = "a helper of a test fails like the test")]

use vip_simulation::schedule::{MS, Nodes, Part, Point, Schedule, Sudden, US, What};
use vip_simulation::world::World;

const LEASE: u64 = 50 * MS;

/// Five nodes, where all is well and somebody serves the first group; and another node that may serve it.
fn settled(schedule: &Schedule) -> (World<'_>, u16, u16) {
    let mut world = World::new(schedule, true);
    world.run_until(10 * LEASE);
    let holder = world.serving(0).next().unwrap_or_else(|| panic!("nobody serves: {}", world.trace()));
    let may_hold = |id: &u16| schedule.traits[usize::from(*id) - 1].priorities[0] > 0;
    let other = schedule.ids().filter(may_hold).find(|id| *id != holder);
    (world, holder, other.unwrap_or_else(|| panic!("only one node may hold")))
}

/// Lets time pass until this node serves the first group; `false` if it does not by then.
fn serves(world: &mut World<'_>, node: u16, until: u64) -> bool {
    while goes_on(world, until) && world.serving(0).next() != Some(node) {
        world.run_until(world.now() + 20 * US);
    }
    world.serving(0).next() == Some(node)
}

/// Once a promise is broken, time stands still.
fn goes_on(world: &World<'_>, until: u64) -> bool {
    world.now() < until && world.broken().is_none()
}

fn cut(from: Nodes, to: Nodes, lasts: u64) -> What {
    What::Cut { from, to, both_ways: false, lasts }
}

/// Input: a node has not heard the holder for so long that it stands now and then. It asks for the lease on offer, and
/// before the Grant comes it stands again, wins, and gives back what it has won; another node takes that.
/// Expected: the Grant, when it comes, gives it nothing.
#[test]
fn a_grant_that_comes_after_its_target_has_stood_and_let_go_is_void() {
    let mut played = 0;
    for phase in 0..200 {
        let schedule = Schedule::quiet(phase, 5, LEASE);
        let (mut world, giver, target) = settled(&schedule);
        let (from, to) = (Nodes::only(giver), Nodes::only(target));
        let deaf = 2 * LEASE + phase * LEASE / 200;
        world.happens(cut(from, to, deaf));
        world.run_until(world.now() + deaf);
        world.happens(What::HandOver { group: 0, to: target });
        // Before the target asks once more, under another stamp.
        let granted_at = world.now() + LEASE / 12;
        world.happens(What::Hold { from, to, sent_for: LEASE, lasts: LEASE / 12 });
        if serves(&mut world, target, granted_at) {
            world.happens(cut(Nodes::ALL, to, LEASE));
            world.happens(What::Release { group: 0 });
            world.run_until(granted_at - US);
            played += u32::from(world.serving(0).next().is_some_and(|next| next != target));
        }
        world.run_until(granted_at + LEASE);
        assert_eq!(world.broken(), None, "phase {phase}: {}", world.trace());
    }
    assert!(played > 0, "no phase has come to what it is about");
}

/// Input: a node hears nobody for some leases, and makes ballot after ballot. When it is heard again, the holder goes on
/// under a ballot above these. It hangs when it has proposed that, and the proposal is on its way until somebody else
/// has the lease.
/// Expected: the proposal, by far the highest ballot when it comes, takes the lease from nobody.
#[test]
fn a_late_proposal_under_a_higher_ballot_takes_no_lease_that_runs() {
    let mut played = 0;
    for phase in 0..100 {
        let schedule = Schedule::quiet(phase, 5, LEASE);
        let (mut world, holder, other) = settled(&schedule);
        let deaf = (1..=schedule.nodes).rev().find(|id| ![holder, other].contains(id)).unwrap_or(other);
        world.happens(cut(Nodes::ALL, Nodes::only(deaf), 5 * LEASE));
        world.run_until(world.now() + 5 * LEASE);
        // Between the renewal that is refused by the node that was deaf, and the next one.
        world.run_until(world.now() + schedule.interval);
        let (from, lasts) = (Nodes::only(holder), LEASE * (80 + phase % 40) / 100);
        world.happens(What::Hold { from, to: Nodes::ALL, sent_for: schedule.interval, lasts });
        let then = Sudden::Stall { part: Part::Both, lasts: 2 * LEASE };
        world.happens(What::Trap { node: holder, point: Point::Sent, then });
        let until = world.now() + 3 * LEASE;
        while goes_on(&world, until) {
            let before = world.serving(0).next();
            world.run_until(world.now() + 20 * US);
            let after = world.serving(0).next();
            played += u32::from(before != after && after.is_some_and(|after| after != holder));
        }
        assert_eq!(world.broken(), None, "phase {phase}: {}", world.trace());
    }
    assert!(played > 0, "no phase has come to what it is about");
}

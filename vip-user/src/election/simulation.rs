//! Whole clusters in simulated time: elections as they are, the acceptors and words of `vip_common::lease` as the
//! data plane uses them, on clocks of different rates.
//!
//! The network loses, delays, doubles and reorders messages and is cut, one way or both; daemons freeze, also between
//! two actions, and are killed and started again; machines crash and forget. At no true time may two words hold. A run
//! has trouble for a while and calm after it, and then somebody has to serve. That the search would find a fault is
//! shown by building some in, see [`Flaw`]. A failure names the seed, and prints how it came to it.

mod machine;
mod world;

use world::{Flaw, MS, Plan, World};

/// Leases of trouble.
const TROUBLE: u64 = 60;
/// Leases of calm after which somebody has to serve.
const SETTLED: u64 = 6;
/// Leases of calm in all.
const CALM: u64 = 14;

fn plan(seed: u64, flaw: Flaw) -> Plan {
    let lease = [20, 50, 400][usize::try_from(seed % 3).unwrap()] * MS;
    let nodes = 3 + u16::try_from(seed / 3 % 3).unwrap();
    let absent = if seed.is_multiple_of(2) { 0 } else { (nodes - 1) / 2 };
    Plan { seed, nodes, lease, trouble_until: TROUBLE * lease, absent, flaw }
}

/// Runs a plan and gives what was broken, if anything.
fn broken(plan: Plan, traced: bool) -> Option<(String, World)> {
    let mut world = World::new(plan, traced);
    let calm_at = plan.trouble_until;
    let settled = calm_at + SETTLED * plan.lease;
    world.run(calm_at + CALM * plan.lease, |world| {
        if world.now > settled && world.serving().next().is_none() {
            world.broken.get_or_insert(format!("nobody serves at {} us of {settled}", world.now));
        }
    });
    world.broken.take().map(|broken| (broken, world))
}

/// Runs a plan that must hold; on failure, again, to see what happened.
fn assert_holds(plan: Plan) {
    if broken(plan, false).is_some() {
        let (broken, world) = broken(plan, true).expect("runs repeat");
        panic!("{broken}\n{plan:?}\n{}", world.trace());
    }
}

#[test]
fn never_two_serve_whatever_fails_and_somebody_does_when_it_is_over() {
    for seed in 0..300 {
        assert_holds(plan(seed, Flaw::None));
    }
}

#[test]
fn broken_rules_are_found() {
    for flaw in [
        Flaw::ServesWholeLease,
        Flaw::NoQuarantine,
        Flaw::NeverDisarms,
        Flaw::DisarmsLate,
        Flaw::StampsLate,
        Flaw::OwnVoteOnly,
    ] {
        let found = (0..600).find(|seed| {
            broken(plan(*seed, flaw), false).is_some_and(|(broken, _)| broken.contains("serve at once"))
        });
        println!("{flaw:?}: found by seed {found:?}");
        assert!(found.is_some(), "{flaw:?} is not found");
    }
}

/// Input: a holder's machine dies. Expected: the others wait for its lease, by the slowest of their clocks, and then
/// take two round trips; voters that let go some microseconds after the candidate did cost no more than those.
#[test]
fn a_dead_holder_is_replaced_when_its_lease_is_over() {
    for seed in 0..200 {
        let plan = Plan { trouble_until: 0, ..plan(2 * seed, Flaw::None) };
        let mut world = World::new(plan, true);
        world.run(10 * plan.lease + seed * MS, |_| {});
        let holder = world.serving().next().unwrap_or_else(|| panic!("nobody serves: {}", world.trace()));
        world.crash(usize::from(holder) - 1);
        world.run(world.now + plan.lease * 101 / 100 + MS, |_| {});
        assert_ne!(world.serving().next(), None, "seed {seed}, lease {}: {}", plan.lease, world.trace());
    }
}

/// Expected: two round trips, and no wait for the lease, even where a Prepare overtakes the Release.
#[test]
fn a_released_lease_is_taken_up_at_once() {
    for seed in 0..100 {
        let plan = Plan { trouble_until: 0, ..plan(2 * seed, Flaw::None) };
        let mut world = World::new(plan, true);
        world.run(10 * plan.lease + seed * MS, |_| {});
        let holder = world.serving().next().unwrap_or_else(|| panic!("nobody serves: {}", world.trace()));
        world.release(usize::from(holder) - 1);
        world.run(world.now + 3 * MS, |_| {});
        let next = world.serving().next();
        assert!(next.is_some_and(|next| next != holder), "seed {seed}: {}", world.trace());
    }
}

#[test]
fn in_quiet_times_followers_wake_once_per_lease_and_the_holder_once_per_interval() {
    let plan = Plan { trouble_until: 0, ..plan(0, Flaw::None) };
    let mut world = World::new(plan, false);
    let wakes = |world: &World| -> Vec<u64> {
        world.machines.iter().map(|machine| machine.daemon.as_ref().unwrap().wakes).collect()
    };
    world.run(10 * plan.lease, |_| {});
    let holder: Vec<u16> = world.serving().collect();
    let before = wakes(&world);
    world.run(30 * plan.lease, |_| {});
    assert_eq!(world.serving().collect::<Vec<_>>(), holder, "the holder stays");
    for (machine, (before, after)) in world.machines.iter().zip(before.into_iter().zip(wakes(&world))) {
        let expected = if holder == [machine.id] { 99..=101 } else { 19..=26 };
        assert!(expected.contains(&(after - before)), "node {}: {} wake-ups", machine.id, after - before);
    }
}

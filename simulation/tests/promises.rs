//! What the simulation must show, and that it can fail.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a helper of a test fails like the test")]

use vip_simulation::oracle::Promise;
use vip_simulation::schedule::{MS, Schedule, US, What};
use vip_simulation::search::Search;
use vip_simulation::shrink::shrink;
use vip_simulation::world::{self, World};

/// The release build runs many more, by `cargo xtask simulate`.
#[test]
fn never_two_serve_whatever_fails_and_somebody_does_when_it_is_over() {
    let found =
        Search { first: 1_000_000, schedules: 200, nodes: None, pairs: false, threads: 2 }.run(|_| {});
    assert!(found.broken.is_none(), "{:?}", found.broken);
    let counts = found.counts;
    let happened = [counts.leases, counts.handovers, counts.changes, counts.faults];
    assert!(happened.into_iter().all(|count| count > 100), "{counts:?}");
}

/// Input: the gateway answers one of two nodes that do not hear each other, now this one and now that one, or none.
#[test]
fn of_a_pair_never_two_serve_and_the_one_that_the_gateway_answers_does_when_it_is_over() {
    let found = Search { first: 1_000_000, schedules: 100, nodes: None, pairs: true, threads: 2 }.run(|_| {});
    assert!(found.broken.is_none(), "{:?}", found.broken);
    assert!(found.counts.leases > 100, "{:?}", found.counts);
}

/// Input: schedules in which two candidates that differed on who was fitter stood at the same time, lease after lease.
#[test]
fn candidates_that_are_in_each_others_way_part_before_long() {
    for seed in [177_402, 213_171, 436_344] {
        let run = world::run(&Schedule::draw(seed, None), false);
        assert!(run.broken.is_none(), "seed {seed}: {:?}", run.broken);
    }
}

/// Input: a schedule in which the one node that might hold comes back, after seconds, into a quiet segment.
/// Expected: the time without a holder counts from then.
#[test]
fn a_group_that_nobody_might_hold_is_not_missed() {
    let run = world::run(&Schedule::draw(677_394, None), false);
    assert!(run.broken.is_none(), "{:?}", run.broken);
}

#[test]
fn a_seed_gives_the_same_run_again_event_by_event() {
    for seed in 0..20 {
        let run = || world::run(&Schedule::draw(seed, None), true);
        let (one, other) = (run(), run());
        assert!(one.trace.len() > 20);
        assert_eq!(one.trace, other.trace, "seed {seed}");
    }
}

/// Input: a clock that is slower than the bound allows, by a tenth.
/// Expected: two holders, found by the same seeds each time, and made small without a change of what is broken.
#[test]
fn clocks_beyond_the_bound_are_found_and_the_schedule_is_made_small() {
    let slow = |seed| {
        let mut schedule = Schedule::draw(seed, Some(3));
        schedule.traits[0].rate = 900_000;
        schedule
    };
    let two = |schedule: &Schedule| {
        let broken = world::run(schedule, false).broken?;
        matches!(broken.promise, Promise::OneHolder { .. }).then_some(broken)
    };
    let (schedule, broken) =
        (0..200).map(slow).find_map(|schedule| two(&schedule).map(|broken| (schedule, broken))).unwrap();
    assert_eq!(two(&schedule), Some(broken.clone()), "a run repeats");
    let smallest = shrink(&schedule, &broken.promise);
    assert!(two(&smallest).is_some());
    assert!(smallest.faults.len() <= schedule.faults.len().min(5), "{smallest}");
    assert_eq!(shrink(&schedule, &broken.promise), smallest, "shrinking repeats");
}

/// A cluster where all is well, at some time, and the node that holds the first group.
fn settled(schedule: &Schedule, extra: u64) -> (World<'_>, u16) {
    let mut world = World::new(schedule, true);
    world.run_until(10 * schedule.lease + extra);
    let holder = world.serving(0).next().unwrap_or_else(|| panic!("nobody serves: {}", world.trace()));
    (world, holder)
}

fn quiet(seed: u64) -> Schedule {
    let lease = [20, 50, 400][usize::try_from(seed % 3).unwrap()] * MS;
    Schedule::quiet(seed, 3 + u16::try_from(seed % 5).unwrap(), lease)
}

/// Input: a holder's machine dies. Expected: the others wait for its lease, by the slowest of their clocks, and then
/// take two round trips; voters that let go some microseconds after the candidate did cost no more than those.
#[test]
fn a_dead_holder_is_replaced_when_its_lease_is_over() {
    for seed in 0..100 {
        let schedule = quiet(seed);
        let (mut world, holder) = settled(&schedule, seed * MS);
        world.happens(What::Crash { node: holder, down: 100 * schedule.lease });
        world.run_until(world.now() + schedule.lease * 101 / 100 + MS);
        assert_ne!(world.serving(0).next(), None, "seed {seed}, lease {}: {}", schedule.lease, world.trace());
    }
}

/// Expected: two round trips, and no wait for the lease.
#[test]
fn a_released_lease_is_taken_up_at_once() {
    for seed in 0..100 {
        let schedule = quiet(seed);
        let (mut world, holder) = settled(&schedule, seed * MS);
        world.happens(What::Release { group: 0 });
        world.run_until(world.now() + 2 * MS);
        let next = world.serving(0).next();
        assert!(next.is_some_and(|next| next != holder), "seed {seed}: {}", world.trace());
    }
}

/// Expected: half a round trip without a holder, that of the Grant, and never two.
#[test]
fn a_lease_is_handed_over_without_a_gap_that_a_client_sees() {
    for seed in 0..100 {
        let schedule = quiet(seed);
        let (mut world, holder) = settled(&schedule, seed * MS);
        let to = schedule
            .ids()
            .find(|id| *id != holder && schedule.traits[usize::from(*id) - 1].priorities[0] > 0);
        world.happens(What::HandOver { group: 0, to: to.unwrap() });
        let (mut gap, until) = (0, world.now() + 2 * schedule.interval);
        while world.now() < until {
            world.run_until(world.now() + US);
            gap += u64::from(world.serving(0).next().is_none());
        }
        assert_eq!(world.serving(0).next(), to, "seed {seed}: {}", world.trace());
        assert!(gap <= 100, "seed {seed}: nobody for {gap} us: {}", world.trace());
        assert!(world.broken().is_none());
    }
}

#[test]
fn in_quiet_times_followers_wake_once_per_lease_and_holders_once_per_interval() {
    let schedule = Schedule::quiet(0, 3, 50 * MS);
    let (mut world, _) = settled(&schedule, 0);
    let holders = |world: &World<'_>| -> Vec<u16> {
        (0..usize::from(schedule.groups)).filter_map(|group| world.serving(group).next()).collect()
    };
    let (held, before) = (holders(&world), world.wakes().collect::<Vec<_>>());
    world.run_until(30 * schedule.lease);
    assert_eq!(holders(&world), held, "the holders stay");
    let woken = world.wakes().zip(before).map(|(after, before)| after - before);
    for (id, woken) in schedule.ids().zip(woken) {
        let holds = held.iter().filter(|holder| **holder == id).count() as u64;
        let follows = u64::from(schedule.groups) - holds;
        let expected = 99 * holds + 19 * follows..=101 * holds + 26 * follows;
        assert!(expected.contains(&woken), "node {id} holds {holds}: {woken} wake-ups, not {expected:?}");
    }
}

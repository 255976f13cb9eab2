//! Forming: whatever happens on the way, there is at most one first configuration, and in calm there is one.

use super::*;

/// Runs `nodes` nodes that expect `expect` voters; all start early, and again when the trouble is over.
fn simulate(seed: u64, nodes: u16, expect: u8, fault: Fault) -> Result<World, String> {
    const TROUBLE_UNTIL: u64 = 8_000 * MS;
    const END: u64 = 14_000 * MS;
    let mut world = World::new(seed, nodes, expect, fault, TROUBLE_UNTIL);
    for id in 1..=nodes {
        let start = world.rng.random_range(0..1_500 * MS);
        world.schedule(start, id, Event::Start);
        world.schedule_crashes(id, start, 3, 6_500 * MS);
        world.schedule(TROUBLE_UNTIL, id, Event::Start);
    }
    world.run(END)
}

#[test]
fn all_expected_nodes_form_one_configuration_whatever_happened_before() {
    for seed in 0..60 {
        let nodes = 3 + u16::try_from(seed % 5).unwrap();
        let expect = u8::try_from(nodes).unwrap();
        let world = simulate(seed, nodes, expect, Fault::None).unwrap();
        assert!(world.all_have_a_configuration(), "seed {seed}: {nodes} nodes do not form");
    }
}

#[test]
fn with_a_majority_expected_one_configuration_is_formed_or_the_deadlock_is_named() {
    let mut formed = 0;
    for seed in 0..100 {
        let nodes = 4 + u16::try_from(seed % 4).unwrap();
        let expect = u8::try_from(nodes / 2 + 1).unwrap();
        let world = simulate(seed, nodes, expect, Fault::None).unwrap();
        let is_formed = world.all_have_a_configuration();
        formed += u32::from(is_formed);
        let is_named = world.nodes.values().all(|node| node.deadlocked);
        assert!(is_formed || is_named, "seed {seed}: {nodes} nodes neither form nor say why");
    }
    assert!(formed > 80, "only {formed} of 100 runs formed a configuration");
}

#[test]
fn with_a_minority_expected_configurations_are_equal_or_disjoint() {
    for seed in 0..60 {
        let nodes = 4 + u16::try_from(seed % 4).unwrap();
        simulate(seed, nodes, 2, Fault::None).unwrap();
    }
}

#[test]
fn a_driver_that_breaks_its_contract_is_found() {
    let is_found = |fault| {
        (0..2000).any(|seed| {
            let nodes = 4 + u16::try_from(seed % 2).unwrap();
            simulate(seed, nodes, 3, fault).is_err()
        })
    };
    assert!(is_found(Fault::SkipsTheStore));
    assert!(is_found(Fault::ReportsBeforeStoring));
    assert!(is_found(Fault::ForgetsConsentAtStart));
}

//! Changes of voters: nodes join, leave and are forgotten, and crash at any point; whatever happens, an epoch has one
//! configuration, and in calm every node that runs becomes a voter, and every one that leaves is none.

use super::*;

/// The first voters.
const FIRST: u16 = 4;

/// Four nodes are a cluster, three more join; there are crashes, departures and commands to forget nodes. Then all
/// runs for a while, and at the end one node leaves for good.
fn simulate(seed: u64) -> Result<World, String> {
    const TROUBLE_UNTIL: u64 = 20_000 * MS;
    const LEAVES_AT: u64 = TROUBLE_UNTIL + 12_000 * MS;
    const END: u64 = LEAVES_AT + 5_000 * MS;
    let mut world = cluster(seed, NODES, Fault::None, TROUBLE_UNTIL);
    for id in 1..=NODES {
        let latest = if id <= FIRST { MS } else { TROUBLE_UNTIL / 2 };
        let start = world.rng.random_range(0..latest);
        world.schedule(start, id, Event::Start);
        world.schedule_crashes(id, start, 2, 6_000 * MS);
        world.schedule_removals(id, start, 2);
        world.schedule(TROUBLE_UNTIL, id, Event::Start);
    }
    world.schedule(LEAVES_AT, leaver(seed), Event::Remove { who: leaver(seed), until: END });
    world.run(END)
}

const NODES: u16 = 7;

fn leaver(seed: u64) -> u16 {
    u16::try_from(seed % u64::from(NODES)).unwrap() + 1
}

/// Four nodes that all want to leave, one after the other and at the same time, and come back: quorums that meet in
/// two nodes, of which one crashes, and coordinators that do not hear each other.
fn simulate_contention(seed: u64, fault: Fault) -> Result<World, String> {
    const TROUBLE_UNTIL: u64 = 10_000 * MS;
    let mut world = cluster(seed, FIRST, fault, TROUBLE_UNTIL);
    for id in 1..=FIRST {
        world.schedule(0, id, Event::Start);
        world.schedule_removals(id, 100 * MS, 6);
    }
    world.run(TROUBLE_UNTIL)
}

/// A world where the first nodes have formed their cluster before the start.
fn cluster(seed: u64, nodes: u16, fault: Fault, trouble_until: u64) -> World {
    let mut world = World::new(seed, nodes, FIRST.try_into().unwrap(), fault, trouble_until);
    world.wholeness = 0.6;
    let first = Configuration::new(FIRST_EPOCH, (1..=FIRST).collect()).unwrap();
    for id in 1..=FIRST {
        world.node(id).disk.configuration = Some(first.clone());
    }
    world
}

impl World {
    /// Up to `most` commands at node `id` that count itself out, or forget another one; who was counted out comes back.
    fn schedule_removals(&mut self, id: u16, from: u64, most: u32) {
        for _ in 0..self.rng.random_range(0..=most) {
            let nodes = u16::try_from(self.nodes.len()).unwrap();
            let who = if self.rng.random() { id } else { self.rng.random_range(1..=nodes) };
            let at = self.rng.random_range(from..self.trouble_until);
            self.schedule(at, id, Event::Remove { who, until: at + 3_000 * MS });
            self.schedule(at + 3_500 * MS, who, Event::Start);
        }
    }
}

#[test]
fn an_epoch_has_one_configuration_and_in_calm_all_that_run_vote() {
    let mut changes = 0;
    for seed in 0..40 {
        let world = simulate(seed).unwrap();
        let expected: Vec<u16> = (1..=NODES).filter(|id| *id != leaver(seed)).collect();
        for (id, node) in &world.nodes {
            let Some(running) = &node.running else {
                assert_eq!(*id, leaver(seed), "seed {seed}: node {id} does not run");
                continue;
            };
            let voters = running.configuration().map(Configuration::voters);
            assert_eq!(voters, Some(&expected[..]), "seed {seed}, node {id}");
        }
        changes += world.adopted.len() - 1;
    }
    assert!(changes > 40 * 5, "only {changes} changes in all");
}

#[test]
fn coordinators_that_do_not_hear_each_other_choose_one_configuration() {
    let mut changes = 0;
    for seed in 0..400 {
        changes += simulate_contention(seed, Fault::None).unwrap().adopted.len() - 1;
    }
    assert!(changes > 400, "only {changes} changes in all");
}

#[test]
fn a_driver_that_breaks_its_word_on_pledges_is_found() {
    for fault in [Fault::ReportsPledgeBeforeStoring, Fault::ForgetsPledgeAtStart] {
        let found = (0..20_000).find(|seed| simulate_contention(*seed, fault).is_err());
        assert!(found.is_some());
    }
}

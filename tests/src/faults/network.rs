//! Cables and switches that fail, wholly, one way or a little.

use std::time::Duration;

use anyhow::{Result, ensure};
use rand::Rng;

use super::scene::{PATIENCE, Scene};
use crate::{
    clock::Stamp,
    interrupt, net,
    prober::{Prober, ProberOptions},
    relay::{Line, Relay},
    responder::{PORT, Responder},
    wait,
};

/// How long the network is bad.
const BAD: Duration = Duration::from_secs(2);
/// Where nothing else is bad: longer than anything that a node waits for.
const CUT: Duration = Duration::from_millis(500);

pub(super) fn link_down(scene: &mut Scene) -> Result<()> {
    let holder = scene.whole()?;
    let at_the_switch: bool = scene.random().random();
    let netns = scene.lab().node_netns(holder);
    let set = |scene: &Scene, up: bool| match (at_the_switch, up) {
        (true, false) => scene.lab().cable(holder).pull(),
        (true, true) => scene.lab().cable(holder).plug(),
        (false, up) => net::ip(&netns, &["link", "set", "dev", "eth0", if up { "up" } else { "down" }]),
    };
    scene.strike();
    set(scene, false)?;
    scene.served_without(holder)?;
    scene.pause_below(CUT)?;
    set(scene, true)?;
    scene.recovered().map(drop)
}

pub(super) fn link_flapping(scene: &mut Scene) -> Result<()> {
    let holder = scene.whole()?;
    scene.strike();
    for _ in 0..10 {
        scene.lab().cable(holder).pull()?;
        scene.pause_below(Duration::from_millis(80))?;
        scene.lab().cable(holder).plug()?;
        scene.pause_below(Duration::from_millis(80))?;
    }
    scene.recovered().map(drop)
}

pub(super) fn deaf(scene: &mut Scene) -> Result<()> {
    let relay = relay(scene)?;
    let holder = scene.whole()?;
    scene.strike();
    relay.set_to(holder, Line::CUT);
    scene.served_without(holder)?;
    scene.pause_below(CUT)?;
    relay.heal();
    scene.recovered().map(drop)
}

pub(super) fn mute(scene: &mut Scene) -> Result<()> {
    let relay = relay(scene)?;
    let holder = scene.whole()?;
    scene.strike();
    relay.set_from(holder, Line::CUT);
    scene.served_without(holder)?;
    scene.pause_below(CUT)?;
    relay.heal();
    scene.recovered().map(drop)
}

/// The holder and one other node do not hear each other; the third hears both.
pub(super) fn pair_cut(scene: &mut Scene) -> Result<()> {
    let relay = relay(scene)?;
    let holder = scene.whole()?;
    let others = scene.others(holder);
    let other = others[scene.random().random_range(0..others.len())];
    scene.strike();
    relay.set(holder, other, Line::CUT);
    relay.set(other, holder, Line::CUT);
    interrupt::pause(BAD)?;
    scene.served()?;
    relay.heal();
    scene.recovered().map(drop)
}

/// Who hears whom changes all the time, each way by itself.
pub(super) fn partitions(scene: &mut Scene) -> Result<()> {
    let relay = relay(scene)?;
    scene.whole()?;
    scene.strike();
    for _ in 0..20 {
        for_each_line(scene, |random, from, to| {
            relay.set(from, to, if random.random() { Line::CUT } else { Line::default() });
        });
        scene.pause_below(2 * BAD / 20)?;
    }
    relay.heal();
    scene.recovered().map(drop)
}

pub(super) fn loss(scene: &mut Scene) -> Result<()> {
    bad_network(scene, |random| Line { loss: random.random_range(1..=50), ..Line::default() })
}

pub(super) fn delay(scene: &mut Scene) -> Result<()> {
    let most = Duration::from_millis(60);
    bad_network(scene, |random| Line { delay: random.random_range(Duration::ZERO..most), ..Line::default() })
}

pub(super) fn reordering(scene: &mut Scene) -> Result<()> {
    let most = Duration::from_millis(60);
    bad_network(scene, |random| Line { jitter: random.random_range(Duration::ZERO..most), ..Line::default() })
}

pub(super) fn duplication(scene: &mut Scene) -> Result<()> {
    bad_network(scene, |random| Line {
        doubled: random.random_range(50..=100),
        jitter: Duration::from_millis(5),
        ..Line::default()
    })
}

/// All of it, and a holder that is killed meanwhile.
pub(super) fn bad_network_and_a_kill(scene: &mut Scene) -> Result<()> {
    let relay = relay(scene)?;
    let holder = scene.whole()?;
    scene.strike();
    for_each_line(scene, |random, from, to| {
        relay.set(
            from,
            to,
            Line {
                loss: random.random_range(0..=30),
                doubled: random.random_range(0..=50),
                delay: random.random_range(Duration::ZERO..Duration::from_millis(10)),
                jitter: random.random_range(Duration::ZERO..Duration::from_millis(20)),
            },
        );
    });
    scene.pause_below(BAD / 2)?;
    scene.cluster.daemon(holder)?.kill()?;
    scene.pause_below(BAD / 2)?;
    scene.cluster.restart(holder)?;
    interrupt::pause(BAD / 2)?;
    relay.heal();
    scene.recovered().map(drop)
}

/// Nodes 4 to 6 are another cluster with the same ids, on the same segment, group and port.
pub(super) fn two_clusters(scene: &mut Scene) -> Result<()> {
    let other_vip = [10, 77, 0, 101].into();
    let same_name: bool = scene.random().random();
    for node in 4..=6 {
        let options = scene.cluster.options(node)?;
        options.key = "ffeeddccbbaa99887766554433221100\n".to_owned();
        options.id = Some(u16::from(node - 3));
        options.vips = vec![format!("{other_vip}/24")];
        if !same_name {
            options.cluster = "other".to_owned();
        }
    }
    let _services: Vec<Responder> =
        (4..=6).map(|node| Responder::start(scene.lab(), node, other_vip)).collect::<Result<_>>()?;
    let options = ProberOptions {
        target: std::net::SocketAddrV4::new(other_vip, PORT),
        rate: 500,
        limit: 3 * PATIENCE,
        ..ProberOptions::default()
    };
    let others = Prober::start(scene.lab(), &options)?;
    let served = |who: std::ops::RangeInclusive<u8>| {
        let now = Stamp::now();
        wait::until("the other cluster to serve", PATIENCE, || {
            Ok(others.answer_after(now, |node| who.contains(&node)))
        })
    };

    scene.start()?;
    scene.recovered_among(&[1, 2, 3])?;
    served(4..=6)?;
    scene.pause_below(CUT)?;
    let holder = scene.served()?.node;
    ensure!(holder <= 3, "node {holder} serves the VIP of the first cluster");
    scene.strike();
    scene.cluster.daemon(holder)?.kill()?;
    scene.served_without(holder)?;
    served(4..=6)?;
    scene.cluster.restart(holder)?;
    scene.recovered_among(&[1, 2, 3])?;
    let seen = others.finish();
    ensure!(seen.doubles == 0, "the other cluster: {seen:?}");
    ensure!(seen.answered_by_node.keys().all(|node| *node > 3), "the other cluster: {seen:?}");
    Ok(())
}

/// All lines are bad for a while, each in its own way, and good again.
fn bad_network(scene: &mut Scene, line: impl Fn(&mut rand::rngs::SmallRng) -> Line) -> Result<()> {
    let relay = relay(scene)?;
    scene.whole()?;
    scene.strike();
    for_each_line(scene, |random, from, to| relay.set(from, to, line(random)));
    interrupt::pause(BAD)?;
    relay.heal();
    scene.recovered().map(drop)
}

pub(super) fn for_each_line(scene: &mut Scene, mut what: impl FnMut(&mut rand::rngs::SmallRng, u8, u8)) {
    let nodes = scene.nodes();
    for from in &nodes {
        for to in nodes.iter().filter(|to| *to != from) {
            what(scene.random(), *from, *to);
        }
    }
}

pub(super) fn relay(scene: &mut Scene) -> Result<Relay> {
    let seed = scene.random().random();
    Relay::start(scene.lab(), seed)
}

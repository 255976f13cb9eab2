//! `docs/HAPROXY.md`: a pair of load balancers and a witness, from nothing.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use vip_tests::{
    fronts::{Backend, Program},
    lab::Lab,
    wait,
};

use super::{
    machine::Machine,
    script::{Block, blocks},
};

const DOCUMENT: &str = include_str!("../../../docs/HAPROXY.md");
/// The names of the document, and the nodes of the lab; the client is beside them.
const NODES: [(&str, u8); 3] = [("lb1", 1), ("lb2", 2), ("witness", 3)];
/// Who asks for the VIP, when the machines agree on who holds it.
const CLIENT: &str = "client";
/// The same, while not all of them are there.
const CLIENT_AT_ONCE: &str = "client-at-once";
/// Whichever of the machines holds the VIP.
const HOLDER: &str = "holder";
/// Longer than any condition here takes, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Input: the document, and three machines on which nothing is installed but what Debian has.
/// Expected: each command succeeds, in the order of the document; who asks for the holder gets it when there is one.
#[test]
fn a_pair_and_a_witness_are_made_from_nothing_by_the_commands_as_printed() {
    for program in ["haproxy", "nginx", "curl"] {
        if let Err(reason) = Program::find(program) {
            return println!("skipped: {reason}");
        }
    }
    let lab = Lab::new(3).unwrap();
    let _backend = Backend::start(&lab).unwrap();
    let wire = lab.home(1).with_file_name("wire");
    let netns_of = NODES.map(|(name, node)| (name, lab.node_netns(node)));
    let machines: BTreeMap<&str, Machine> = netns_of
        .into_iter()
        .chain([(CLIENT, lab.client_netns())])
        .map(|(name, netns)| {
            let home = lab.home(1).with_file_name(format!("machine-{name}"));
            (name, Machine::start(name, &netns, &home, &wire).unwrap())
        })
        .collect();
    let blocks = blocks(DOCUMENT);
    assert!(!blocks.is_empty());
    for block in &blocks {
        run(block, &machines).with_context(|| format!("under {:?}", block.heading)).unwrap();
    }
}

fn run(block: &Block, machines: &BTreeMap<&str, Machine>) -> Result<()> {
    for name in &block.machines {
        let machine = match name.as_str() {
            HOLDER => &machines[wait_holder(machines)?],
            CLIENT => {
                wait_holder(machines)?;
                &machines[CLIENT]
            }
            CLIENT_AT_ONCE => &machines[CLIENT],
            name => machines.get(name).with_context(|| format!("no machine {name}"))?,
        };
        println!("--- {name}: {}\n{}{}", block.heading, block.text, machine.run(&block.text)?);
    }
    machines.values().try_for_each(Machine::take_in)
}

/// Waits until the machines agree on who holds, and all are alive.
fn wait_holder(machines: &BTreeMap<&str, Machine>) -> Result<&'static str> {
    wait::until_calmly("a holder that all agree on", PATIENCE, || {
        let mut holders = NODES.iter().map(|(name, _)| holder(&machines[name]));
        let first = holders.next().context("no machines")??;
        for holder in holders {
            let holder = holder?;
            if holder != first {
                bail!("{first} and {holder}");
            }
        }
        Ok(NODES.into_iter().find(|(name, _)| *name == first).map(|(name, _)| name))
    })
}

/// Whom a machine takes for the holder, if it sees all machines.
fn holder(machine: &Machine) -> Result<String> {
    let status: Value = serde_json::from_str(&machine.run("vip-user status --json")?)?;
    let members = status["members"].as_array().context("no members")?;
    let alive = members.iter().filter(|member| member["status"] == "alive").count();
    match status["groups"][0]["holder"].as_str() {
        Some(holder) if alive == NODES.len() => Ok(holder.to_owned()),
        holder => bail!("holder {holder:?}, {alive} alive"),
    }
}

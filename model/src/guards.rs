//! The guards of the protocol, and what each of them is for: a search without it finds a promise broken.

use crate::check::{Limits, Order};
use crate::elections;
use crate::flaw::Flaw;
use crate::leases::{Bounds, Drift, FAST, Rules};
use crate::searches::{MOST_STATES, Of, Search};
use crate::succession::{self, Succession};

/// A rule, and a search in which it is left out.
#[derive(Clone, Debug)]
pub struct Guard {
    /// What to ask for it by.
    pub name: &'static str,
    /// What is done without it.
    pub without: &'static str,
    /// Where that shows.
    pub search: Search,
}

/// All of them, in the order in which `docs/SAFETY.md` tells of them.
pub fn all() -> Vec<Guard> {
    let plain = Bounds { proposals: 2, ..Bounds::default() };
    let released = Bounds { releases: 1, ..plain };
    let handed = Bounds { asks: 1, ticks: Some(0), ..plain };
    let changed = Bounds { changes: 2, ticks: Some(0), ..plain };
    let forgotten = Bounds { proposals: 3, releases: 1, crashes: 1, ticks: Some(1), ..plain };
    vec![
        drifting("drift", "a holder serves the whole lease by its own clock", plain, Flaw::ServesWholeLease),
        drifting(
            "refusal",
            "acceptors grant a lease while another node's runs",
            plain,
            Flaw::GrantsWhileHeld,
        ),
        drifting("stamp", "a holder counts its lease from when an answer comes", plain, Flaw::StampsAnswers),
        still(
            "echo",
            "any answer counts for the latest proposal",
            2,
            Bounds { proposals: 3, ticks: Some(2), ..plain },
            Flaw::CountsLatestStamp,
        ),
        drifting(
            "quarantine",
            "acceptors answer at once after losing their maps",
            Bounds { crashes: 1, ..plain },
            Flaw::SkipsQuarantine,
        ),
        drifting("disarm", "a lease is given back before the word is disarmed", released, Flaw::DisarmsLater),
        drifting("extension", "answers extend a word that is disarmed", released, Flaw::ExtendsDisarmed),
        still(
            "replay",
            "messages are taken again",
            1,
            Bounds { proposals: 3, ticks: Some(1), ..handed },
            Flaw::TakesReplays,
        ),
        still(
            "incarnation",
            "messages of an earlier start of a daemon are taken",
            1,
            forgotten,
            Flaw::ForgetsIncarnations,
        ),
        still("giver", "who gave its lease away stands again at once", 2, handed, Flaw::GiverStands),
        still(
            "own-transfer",
            "who gave its lease away does not tell its own acceptor",
            2,
            Bounds { restarts: 1, ..handed },
            Flaw::KeepsTransferFromOwnAcceptor,
        ),
        still(
            "request",
            "a request stays open while its node proposes and gives back",
            2,
            Bounds { proposals: 3, releases: 1, ..handed },
            Flaw::KeepsRequest,
        ),
        still(
            "early-stamp",
            "the new holder counts from when the grant comes",
            2,
            Bounds { ticks: Some(2), ..handed },
            Flaw::StampsGrant,
        ),
        still(
            "one-voter",
            "voters change two at a time",
            2,
            Bounds { changes: 1, ..changed },
            Flaw::ChangesTwo,
        ),
        still(
            "spacing",
            "voters change as soon as a quorum has the configuration",
            2,
            changed,
            Flaw::ChangesAtOnce,
        ),
        successive(
            "epoch",
            "acceptors answer proposals of another configuration",
            Bounds { ticks: Some(3), ..changed },
            Flaw::IgnoresEpochs,
        ),
        Guard {
            name: "pledge",
            without: "a voter's pledge is said, and lost with its daemon",
            search: search(Of::Succession(Succession {
                voters: 3,
                bounds: succession::Bounds {
                    wishes: vec![(1, 2), (2, 1)],
                    acquainted: vec![(1, 3), (2, 3)],
                    retries: 0,
                    restarts: 1,
                    epochs: 2,
                },
                flaw: Some(Flaw::ForgetsPledges),
            })),
        },
        Guard {
            name: "paxos",
            without: "a coordinator with a lease of its own stores the next configuration and spreads it",
            search: search(Of::Naive),
        },
        Guard {
            name: "promises",
            without: "acceptors answer no Prepare: nobody is elected",
            search: search(Of::Elections {
                nodes: 3,
                rules: elections::Rules {
                    slow: &[0],
                    candidates: 3,
                    bounds: elections::Bounds { ticks: 1, ..elections::Bounds::default() },
                    sees: &[],
                    flaw: Some(Flaw::NeverPromises),
                },
            }),
        },
    ]
}

/// A guard of leases, with clocks at the bounds.
fn drifting(name: &'static str, without: &'static str, bounds: Bounds, flaw: Flaw) -> Guard {
    let rules =
        Rules { lease: 2 * FAST, drift: Drift::Steady, voters: 3, bounds, sees: &[], flaw: Some(flaw) };
    Guard { name, without, search: search(Of::Leases { nodes: 3, rules }) }
}

/// The same with clocks that do not differ, and leases of so many ticks.
fn still(name: &'static str, without: &'static str, lease: u64, bounds: Bounds, flaw: Flaw) -> Guard {
    let rules =
        Rules { lease: lease * FAST, drift: Drift::None, voters: 3, bounds, sees: &[], flaw: Some(flaw) };
    Guard { name, without, search: search(Of::Leases { nodes: 3, rules }) }
}

/// A guard of the change of voters, with two nodes, of which the first one is the voter.
fn successive(name: &'static str, without: &'static str, bounds: Bounds, flaw: Flaw) -> Guard {
    let rules = Rules { lease: FAST, drift: Drift::None, voters: 1, bounds, sees: &[], flaw: Some(flaw) };
    Guard { name, without, search: search(Of::Leases { nodes: 2, rules }) }
}

fn search(of: Of) -> Search {
    Search {
        name: "guard",
        about: "a guard is left out",
        of,
        limits: Limits { order: Order::Breadth, steps: None, states: MOST_STATES },
    }
}

//! Guards of the acceptor and of who counts its answers.

use super::super::guard::{Edit, Finder, Guard};

const LEASE: &str = "vip-common/src/lease.rs";
const ELECTION: &str = "vip-user/src/election.rs";

const HELD_IN_PREPARE: Edit = Edit {
    file: LEASE,
    text: r"
        if self.held_by_other_than(ballot.node(), now) {
            return Decision::Held(Ballot(self.ballot), self.expires - now);
        }
        if ballot.0 <= self.promised",
    becomes: r"
        if ballot.0 <= self.promised",
};
const HELD_IN_PROPOSE: Edit = Edit {
    file: LEASE,
    text: r"
        if self.held_by_other_than(ballot.node(), now) {
            return Decision::Held(Ballot(self.ballot), self.expires - now);
        }
        self.promised = ballot.0;",
    becomes: r"
        self.promised = ballot.0;",
};
const ORDER_IN_PREPARE: Edit = Edit {
    file: LEASE,
    text: r"
        if ballot.0 <= self.promised {
            return Decision::Promised(Ballot(self.promised));
        }",
    becomes: "",
};
const ORDER_IN_PROPOSE: Edit = Edit {
    file: LEASE,
    text: r"
        if ballot.0 < self.promised {
            return Decision::Promised(Ballot(self.promised));
        }",
    becomes: "",
};

pub(super) const GUARDS: &[Guard] = &[
    Guard {
        name: "drift margin",
        without: "serves as long as the acceptors wait, by its own clock",
        edits: &[Edit {
            file: LEASE,
            text: "lease - lease.div_ceil(100 / MAX_DRIFT_PERCENT)",
            becomes: "lease",
        }],
        finder: Finder::Simulation { within: 1_000 },
        always: true,
    },
    Guard {
        name: "quarantine",
        without: "votes at once after it has lost its memory",
        edits: &[Edit {
            file: LEASE,
            text: r"
        if now < self.quarantine_until {
            return Decision::Silent;
        }",
            becomes: "",
        }],
        finder: Finder::Simulation { within: 10_000 },
        always: true,
    },
    Guard {
        name: "refusal while a lease runs",
        without: "promises and accepts whatever lease runs",
        edits: &[HELD_IN_PREPARE, HELD_IN_PROPOSE],
        finder: Finder::Simulation { within: 1_000 },
        always: true,
    },
    Guard {
        name: "refusal of a Propose while a lease runs",
        without: "refuses only a Prepare then",
        edits: &[HELD_IN_PROPOSE],
        finder: Finder::Tests { package: "vip-simulation", names: "a_late_proposal_under_a_higher_ballot" },
        always: false,
    },
    Guard {
        name: "refusal of a Prepare while a lease runs",
        without: "refuses only a Propose then",
        edits: &[HELD_IN_PREPARE],
        finder: Finder::Simulation { within: 1000 },
        always: false,
    },
    Guard {
        name: "order of ballots",
        without: "promises and accepts lower ballots than it has promised",
        edits: &[ORDER_IN_PREPARE, ORDER_IN_PROPOSE],
        finder: Finder::Simulation { within: 20_000 },
        always: false,
    },
    Guard {
        name: "order of ballots, and refusal of a Propose",
        without: "accepts any Propose after a Prepare that nothing stood against",
        edits: &[HELD_IN_PROPOSE, ORDER_IN_PROPOSE],
        finder: Finder::Simulation { within: 5_000 },
        always: false,
    },
    Guard {
        name: "t0 before the send",
        without: "stamps a renewal 500 us later than it is sent",
        edits: &[
            Edit {
                file: ELECTION,
                text: "self.send(Request::Propose(tenure.ballot, lease), now);",
                becomes: "self.send(Request::Propose(tenure.ballot, lease), now + 500_000);",
            },
            Edit {
                file: LEASE,
                text: "if ballot.0 != self.ballot || sent_at > now {",
                becomes: "if ballot.0 != self.ballot || sent_at > now + 500_000 {",
            },
        ],
        finder: Finder::Simulation { within: 2_000 },
        always: true,
    },
    Guard {
        name: "echo of the stamp",
        without: "counts a lease from when the answers come",
        edits: &[Edit {
            file: LEASE,
            text: r"
                if sent_at > self.accepted_at[i] {
                    self.accepted_at[i] = sent_at;
                }",
            becomes: r"
                self.accepted_at[i] = now;",
        }],
        finder: Finder::Simulation { within: 2_000 },
        always: true,
    },
    Guard {
        name: "quorum",
        without: "takes half of the voters for a majority",
        edits: &[Edit { file: LEASE, text: "voters / 2 + 1", becomes: "(voters + 1) / 2" }],
        finder: Finder::Simulation { within: 2_000 },
        always: false,
    },
    Guard {
        name: "ballot of an answer",
        without: "counts what was accepted under its other ballots",
        edits: &[Edit {
            file: LEASE,
            text: "if ballot.0 != self.ballot || sent_at > now {",
            becomes: "if sent_at > now {",
        }],
        finder: Finder::Tests { package: "vip-common", names: "answers_of_strangers_of_other_ballots" },
        always: false,
    },
    Guard {
        name: "Release of the lease that runs",
        without: "ends a lease by the Release of an earlier one of the same node",
        edits: &[Edit { file: LEASE, text: " || ballot.0 < self.ballot {", becomes: " {" }],
        finder: Finder::Tests { package: "vip-common", names: "only_the_holder_releases" },
        always: false,
    },
    Guard {
        name: "Release by the holder",
        without: "ends a lease by the Release of any node",
        edits: &[Edit {
            file: LEASE,
            text: "self.expires <= now || ballot.node() != Ballot(self.ballot).node() || ballot.0 < self.ballot",
            becomes: "self.expires <= now",
        }],
        finder: Finder::Simulation { within: 5_000 },
        always: false,
    },
];

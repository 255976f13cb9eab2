//! Guards of the lease word: in which order it is changed, and by whom.

use super::super::guard::{Edit, Finder, Guard};

const LEASE: &str = "vip-common/src/lease.rs";
const PLANE: &str = "simulation/src/plane.rs";
const ELECTION: &str = "vip-user/src/election.rs";

pub(super) const GUARDS: &[Guard] = &[
    Guard {
        name: "compare-and-swap against disarm",
        without: "extends the word by what it has read, whatever the word is by now",
        edits: &[Edit { file: PLANE, text: "if word == swap.word {", becomes: "if true {" }],
        finder: Finder::Simulation { within: 1_000 },
        always: true,
    },
    Guard {
        name: "a disarmed word stays",
        without: "extends a word that is 0",
        edits: &[Edit {
            file: LEASE,
            text: "if lease_until != 0 && renewed_until > lease_until",
            becomes: "if renewed_until > lease_until",
        }],
        finder: Finder::Simulation { within: 1_000 },
        always: false,
    },
    Guard {
        name: "disarm before Release",
        without: "gives the lease back, and then disarms",
        edits: &[Edit {
            file: ELECTION,
            text: r"
        if before == State::Holder || view.lease_until != 0 {
            self.actions.push_back(Action::Disarm);
        }
        if before == State::Holder {
            self.actions.push_back(Action::SetRole(Role::Follower));
        }
        if let Some(ballot) = given_back {
            self.send(Request::Release(ballot), view.now);
        }",
            becomes: r"
        if let Some(ballot) = given_back {
            self.send(Request::Release(ballot), view.now);
        }
        if before == State::Holder || view.lease_until != 0 {
            self.actions.push_back(Action::Disarm);
        }
        if before == State::Holder {
            self.actions.push_back(Action::SetRole(Role::Follower));
        }",
        }],
        finder: Finder::Simulation { within: 2_000 },
        always: false,
    },
    Guard {
        name: "disarm of a word that has ended",
        without: "leaves the word of an earlier daemon as it is when it is over",
        edits: &[Edit {
            file: ELECTION,
            text: r"
        if view.lease_until != 0 && !held(view.lease_until, view.now) {
            // Of an earlier daemon. Left as it is, answers to a candidacy given up could still extend it.
            self.actions.push_back(Action::Disarm);
        }",
            becomes: "",
        }],
        finder: Finder::Tests { package: "vip-user", names: "a_word_that_ended_before_the_restart" },
        always: false,
    },
];

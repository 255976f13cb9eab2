//! Guards of the handover of a lease that runs.

use super::super::guard::{Edit, Finder, Guard};

const LEASE: &str = "vip-common/src/lease.rs";
const ELECTION: &str = "vip-user/src/election.rs";
const HANDOVER: &str = "vip-user/src/election/handover.rs";
const DRIVER: &str = "simulation/src/world/lease.rs";

const WAITS: Edit =
    Edit { file: HANDOVER, text: "self.not_before = self.not_before.max(until);", becomes: "" };
const TRANSFER: Edit = Edit {
    file: HANDOVER,
    text: "self.send(Request::Transfer { from, to: ballot, left }, view.now);",
    becomes: "let _ = from;",
};
const STANDS: Edit = Edit {
    file: HANDOVER,
    text: "self.follow(&View { lease_until: 0, ..*view });",
    becomes: "self.stand(&View { lease_until: 0, ..*view });",
};
const SERVES: &str = "sent_at.saturating_add(serving_time(left))";
const GIVES: Edit = Edit {
    file: HANDOVER,
    text: "held(view.lease_until, view.now) && is_granted_here && view.quarantine_until <= view.now",
    becomes: "held(view.lease_until, view.now) && (is_granted_here || view.now > 0)",
};
const HAS_VOTED: Edit = Edit { file: DRIVER, text: "if has_voted {", becomes: "if has_voted || slot < 9 {" };

pub(super) const GUARDS: &[Guard] = &[
    Guard {
        name: "handover guard 1: the giver waits",
        without: "stands at once although the time that it gave is not over, and does not tell the acceptors",
        edits: &[WAITS, TRANSFER, HAS_VOTED, STANDS],
        finder: Finder::Simulation { within: 2_000 },
        always: true,
    },
    Guard {
        name: "the giver proposes nothing",
        without: "leaves it to the acceptors to keep out who gave a lease away",
        edits: &[WAITS],
        finder: Finder::Nobody {
            stays: "the giver's own acceptor has the Transfer; so nothing rests on that one vote while the daemon lives",
        },
        always: false,
    },
    Guard {
        name: "handover guard 2: a request is void",
        without: "takes a Grant of what it asked for before it stood itself",
        edits: &[
            Edit {
                file: ELECTION,
                text: r"
    actions: VecDeque<Action>,
}",
                becomes: r"
    actions: VecDeque<Action>,
    kept: Option<following::Pending>,
}",
            },
            Edit {
                file: ELECTION,
                text: r"
            actions,
        }",
                becomes: r"
            actions,
            kept: None,
        }",
            },
            Edit {
                file: ELECTION,
                text: r"
            actions: _,
        } = self;",
                becomes: r"
            actions: _,
            kept: _,
        } = self;",
            },
            Edit {
                file: ELECTION,
                text: r"
        let ballot = self.next_ballot(view);
        let ends_at",
                becomes: r"
        if let Stage::Follower(following) = &self.stage {
            self.kept = following.pending;
        }
        let ballot = self.next_ballot(view);
        let ends_at",
            },
            Edit {
                file: ELECTION,
                text: r"
            Following::default()
        };",
                becomes: r"
            Following { pending: self.kept, ..Following::default() }
        };",
            },
        ],
        finder: Finder::Tests { package: "vip-simulation", names: "a_grant_that_comes_after_its_target" },
        always: true,
    },
    Guard {
        name: "the target's early stamp",
        without: "counts what it was granted from when the Grant came",
        edits: &[Edit {
            file: HANDOVER,
            text: SERVES,
            becomes: "view.now.saturating_add(serving_time(left))",
        }],
        finder: Finder::Simulation { within: 5_000 },
        always: true,
    },
    Guard {
        name: "echo of the Ask's stamp",
        without: "counts what it was granted from its latest Ask, whichever was answered",
        edits: &[Edit {
            file: HANDOVER,
            text: SERVES,
            becomes: "pending.asked_at.saturating_add(serving_time(left))",
        }],
        finder: Finder::Tests { package: "vip-user", names: "a_grant_for_any_of_the_asks_is_taken" },
        always: true,
    },
    Guard {
        name: "margin of a Grant",
        without: "takes no drift off what it was granted",
        edits: &[Edit {
            file: HANDOVER,
            text: SERVES,
            becomes: "sent_at.saturating_add(left + serving_time(0))",
        }],
        finder: Finder::Nobody {
            stays: "what is left was counted from a word that has the margin of the whole lease in it, and no clock is \
                    slower than the slowest, on however many nodes the rest is spent; with it, the target ends before the \
                    giver would have, and no longer chain has to be thought through",
        },
        always: false,
    },
    Guard {
        name: "disarm before Grant",
        without: "gives its lease away, and then disarms",
        edits: &[Edit {
            file: HANDOVER,
            text: r"
        self.actions.push_back(Action::Disarm);
        self.actions.push_back(Action::SetRole(Role::Follower));
        self.grant(ballot, sent_at, until.saturating_sub(view.now), view);",
            becomes: r"
        self.grant(ballot, sent_at, until.saturating_sub(view.now), view);
        self.actions.push_back(Action::Disarm);
        self.actions.push_back(Action::SetRole(Role::Follower));",
        }],
        finder: Finder::Simulation { within: 1_000 },
        always: false,
    },
    Guard {
        name: "Transfer by the holder",
        without: "takes a lease away from its holder on any node's word",
        edits: &[Edit {
            file: LEASE,
            text: "left > longest || self.held_by_other_than(from, now)",
            becomes: "left > longest",
        }],
        finder: Finder::Tests { package: "vip-common", names: "a_transfer_by_a_node_that_does_not_hold" },
        always: false,
    },
    Guard {
        name: "the giver's own vote",
        without: "gives a lease that its own acceptor has not granted, or has not given",
        edits: &[GIVES, HAS_VOTED],
        finder: Finder::Tests { package: "vip-user", names: "own_acceptor_does_not_know" },
        always: false,
    },
];

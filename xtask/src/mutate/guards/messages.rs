//! Guards against messages that come too late: of an earlier configuration, of an earlier daemon, or once more.

use super::super::guard::{Edit, Finder, Guard};

const LEASE: &str = "vip-common/src/lease.rs";
const VOTE: &str = "vip-common/src/vote.rs";
const LIVES: &str = "simulation/src/world/faults.rs";

const OLDER: Edit = Edit { file: VOTE, text: "if epoch < config.epoch {", becomes: "if false {" };
const NEWER: Edit = Edit {
    file: VOTE,
    text: r"
        memory.report(EventKind::NewerEpoch, 0, message.sender.get(), u64::from(epoch));
        return Err(Verdict::Drop(Counter::RejectedEpoch));",
    becomes: r"
        memory.report(EventKind::NewerEpoch, 0, message.sender.get(), u64::from(epoch));",
};

pub(super) const GUARDS: &[Guard] = &[
    Guard {
        name: "epoch check",
        without: "decides on messages of any configuration",
        edits: &[OLDER, NEWER],
        finder: Finder::Tests {
            package: "vip-common",
            names: "only_requests_of_the_nodes_own_configuration",
        },
        always: true,
    },
    Guard {
        name: "epoch check: older",
        without: "decides on messages of older configurations, too",
        edits: &[OLDER],
        finder: Finder::Tests {
            package: "vip-common",
            names: "only_requests_of_the_nodes_own_configuration",
        },
        always: false,
    },
    Guard {
        name: "epoch check: newer",
        without: "decides on messages of newer configurations, too",
        edits: &[NEWER],
        finder: Finder::Tests {
            package: "vip-common",
            names: "only_requests_of_the_nodes_own_configuration",
        },
        always: false,
    },
    Guard {
        name: "replay check",
        without: "decides on a message as often as it comes",
        edits: &[Edit {
            file: VOTE,
            text: "if memory.admit(node, freshness, now) { Ok(()) } else { Err(Counter::RejectedReplay) }",
            becomes: "memory.admit(node, freshness, now);\n    Ok(())",
        }],
        finder: Finder::Simulation { within: 20_000 },
        always: false,
    },
    Guard {
        name: "incarnation order",
        without: "takes a message of an earlier daemon for a new one",
        edits: &[Edit {
            file: LEASE,
            text: "incarnation > self.incarnation || (incarnation == self.incarnation && sequence > self.sequence)",
            becomes: "incarnation != self.incarnation || sequence > self.sequence",
        }],
        finder: Finder::Tests { package: "vip-common", names: "replays_are_refused" },
        always: true,
    },
    Guard {
        name: "sequence order",
        without: "takes any message of the same daemon for a new one",
        edits: &[Edit {
            file: LEASE,
            text: "incarnation > self.incarnation || (incarnation == self.incarnation && sequence > self.sequence)",
            becomes: "incarnation >= self.incarnation",
        }],
        finder: Finder::Tests { package: "vip-common", names: "replays_are_refused" },
        always: false,
    },
    Guard {
        name: "incarnation of answers",
        without: "counts answers to an earlier daemon",
        edits: &[Edit {
            file: VOTE,
            text: "if message.incarnation.get() != config.incarnation || !names_us {",
            becomes: "if !names_us {",
        }],
        finder: Finder::Tests { package: "vip-common", names: "answers_to_an_earlier_daemon" },
        always: false,
    },
    Guard {
        name: "incarnations grow",
        without: "starts with an incarnation by the wall clock alone",
        edits: &[Edit { file: LIVES, text: "unix.max(machine.disk.incarnation + 1)", becomes: "unix" }],
        finder: Finder::Simulation { within: 2_000 },
        always: false,
    },
];

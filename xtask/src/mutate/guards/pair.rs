//! Guards of pair mode.

use super::super::guard::{Edit, Finder, Guard};

const PAIR: &str = "vip-user/src/pair.rs";
const CONFIGURATIONS: &str = "vip-user/src/membership/pair.rs";

pub(super) const GUARDS: &[Guard] = &[
    Guard {
        name: "pair: the wait",
        without: "counts its vote alone as soon as the gateway answers and the other one is silent",
        edits: &[Edit {
            file: PAIR,
            text: "may_begin && goes_on && self.waited_until().is_some_and(|until| until <= now);",
            becomes: "may_begin && goes_on;",
        }],
        finder: Finder::Pairs { within: 1_000 },
        always: true,
    },
    Guard {
        name: "pair: the end when the other is heard",
        without: "goes on alone as long as the gateway answers",
        edits: &[
            Edit {
                file: PAIR,
                text: "let may_begin = is_silent && self.has_answer(now);",
                becomes: "let may_begin = is_silent && self.has_answer(now);\n        let is_fresh = self.is_fresh(now);",
            },
            Edit {
                file: PAIR,
                text: "look.may_hold && may_begin && (group.is_alone || has_waited || is_granted);",
                becomes: "look.may_hold && (group.is_alone && is_fresh || may_begin && (has_waited || is_granted));",
            },
            Edit {
                file: PAIR,
                text: "self.set_asking(is_silent && self.may_hold, now);",
                becomes: "self.set_asking((is_silent || self.is_alone_anywhere()) && self.may_hold, now);",
            },
        ],
        finder: Finder::Pairs { within: 2_000 },
        always: true,
    },
    Guard {
        name: "pair: the end when the gateway is silent",
        without: "goes on alone as long as the other one is silent",
        edits: &[Edit {
            file: PAIR,
            text: "self.answered.is_some_and(|stamp| now < stamp.saturating_add(self.timing.timeout))",
            becomes: "self.answered.is_some() || now == 0",
        }],
        finder: Finder::Pairs { within: 1_000 },
        always: false,
    },
    Guard {
        name: "pair: the stamp before the request",
        without: "counts an answer from when it comes",
        edits: &[Edit {
            file: PAIR,
            text: "self.answered = self.answered.max(Some(stamp));",
            becomes: "self.answered = Some(now);",
        }],
        finder: Finder::Tests {
            package: "vip-user",
            names: "an_answer_counts_from_the_stamp_of_its_request",
        },
        always: true,
    },
    Guard {
        name: "pair: an answer from after the other was heard",
        without: "begins with an answer from before",
        edits: &[Edit {
            file: PAIR,
            text: "self.is_fresh(now) && self.answered.is_some_and(|stamp| stamp > self.heard)",
            becomes: "self.is_fresh(now)",
        }],
        finder: Finder::Tests { package: "vip-user", names: "an_answer_from_before_the_other_one_was_heard" },
        always: false,
    },
    Guard {
        name: "pair: a lease that the other has granted",
        without: "begins at once while it holds by a lease of its own making",
        edits: &[Edit {
            file: PAIR,
            text: "look.holds && held(look.lease_until, now) && look.lease_until > own_until;",
            becomes: "look.holds && held(look.lease_until, now) && own_until > 0;",
        }],
        finder: Finder::Tests {
            package: "vip-user",
            names: "a_lease_of_the_nodes_own_making_does_not_let_it_begin_again",
        },
        always: false,
    },
    Guard {
        name: "pair: no later configuration",
        without: "counts its vote alone although others may have been made voters",
        edits: &[Edit { file: CONFIGURATIONS, text: " && !self.has_accepted_after(current);", becomes: ";" }],
        finder: Finder::Pairs { within: 20_000 },
        always: false,
    },
    Guard {
        name: "pair: no former configuration",
        without: "counts its vote alone although the other one may vote in the configuration before",
        edits: &[Edit {
            file: CONFIGURATIONS,
            text: "(is_first || is_known_to_have)",
            becomes: "(is_first || is_known_to_have || me > 0)",
        }],
        finder: Finder::Tests { package: "vip-user", names: "after_a_former_configuration_the_other_voter" },
        always: false,
    },
];

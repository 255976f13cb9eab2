//! Guards of the change of voters.

use super::super::guard::{Edit, Finder, Guard};

const CONFIGURATION: &str = "vip-user/src/membership/configuration.rs";
const SUCCESSION: &str = "vip-user/src/membership/succession.rs";
const PLEDGE: &str = "vip-user/src/membership/pledge.rs";
const CHANGE: &str = "vip-user/src/membership/change.rs";
const HEARING: &str = "vip-user/src/membership/hearing.rs";
const DRIVER: &str = "simulation/src/world/control.rs";

pub(super) const GUARDS: &[Guard] = &[
    Guard {
        name: "spacing of configurations",
        without: "changes the voters again before the leases of two configurations ago are over",
        edits: &[Edit {
            file: SUCCESSION,
            text: "Some(quorum_since.saturating_add(spacing(members)))",
            becomes: "Some(quorum_since.saturating_add(0 * spacing(members)))",
        }],
        finder: Finder::Simulation { within: 5_000 },
        always: true,
    },
    Guard {
        name: "one voter at a time",
        without: "takes all that want to vote into one configuration",
        edits: &[
            Edit {
                file: SUCCESSION,
                text: "    current.with(joining).filter(|next| next.voters().len() <= MOST_VOTERS)",
                becomes: r"
    let mut voters = current.voters().to_vec();
    voters.extend(speakers(members, current, now).filter(joins).map(|member| member.id));
    voters.sort_unstable();
    Configuration::new(current.epoch() + u32::from(joining > 0), voters).ok()",
            },
            Edit {
                file: CONFIGURATION,
                text: "before.epoch.checked_add(1) == Some(self.epoch) && added + removed == 1",
                becomes: "before.epoch.checked_add(1) == Some(self.epoch) && added + removed > 0",
            },
        ],
        finder: Finder::Simulation { within: 5_000 },
        always: true,
    },
    Guard {
        name: "choice by a quorum",
        without: "takes a configuration for chosen when one voter has accepted it",
        edits: &[Edit {
            file: SUCCESSION,
            text: "*votes >= quorum(current.voters().len())",
            becomes: "*votes > 0 * current.voters().len()",
        }],
        finder: Finder::Simulation { within: 20_000 },
        always: false,
    },
    Guard {
        name: "promises of a quorum",
        without: "proposes when one voter has promised its ballot",
        edits: &[Edit {
            file: SUCCESSION,
            text: "promises.count() >= quorum(current.voters().len())",
            becomes: "promises.count() > 0",
        }],
        finder: Finder::Tests { package: "vip-user", names: "coordinators_that_do_not_hear" },
        always: false,
    },
    Guard {
        name: "bound value",
        without: "proposes what it wishes, whatever was accepted before",
        edits: &[Edit {
            file: SUCCESSION,
            text: "newest.map(|accepted| accepted.configuration.clone())",
            becomes: "newest.filter(|_| false).map(|accepted| accepted.configuration.clone())",
        }],
        finder: Finder::Tests {
            package: "vip-user",
            names: "a_proposer_must_propose_what_may_have_been_chosen",
        },
        always: false,
    },
    Guard {
        name: "nothing accepted below a promise",
        without: "accepts a configuration under a lower ballot than it has promised",
        edits: &[
            Edit {
                file: SUCCESSION,
                text: "own.is_none_or(|own| accepted.ballot >= own.promised())",
                becomes: "own.is_none_or(|own| accepted.ballot >= own.promised() || accepted.ballot.0 > 0)",
            },
            Edit {
                file: PLEDGE,
                text: "Self { promised: accepted.ballot, accepted: Some(accepted), ..self }.checked()",
                becomes: "Self { promised: self.promised.max(accepted.ballot), accepted: Some(accepted), ..self }.checked()",
            },
        ],
        finder: Finder::Tests { package: "vip-user", names: "a_voter_accepts_nothing_under_a_lower_ballot" },
        always: false,
    },
    Guard {
        name: "pledge stored before it is said",
        without: "says what it pledges before that is on the disk",
        edits: &[Edit {
            file: CHANGE,
            text: r"
        self.change.storing = Some(pledge.clone());
        self.actions",
            becomes: r"
        self.change.storing = Some(pledge.clone());
        self.change.stored = Some(pledge.clone());
        self.say_pledge();
        self.actions",
        }],
        finder: Finder::Tests { package: "vip-user", names: "membership::tests::change" },
        always: false,
    },
    Guard {
        name: "pledge kept over a restart",
        without: "starts without the pledge that it has said",
        edits: &[Edit { file: DRIVER, text: "stored.pledge = Some(pledge)", becomes: "drop(pledge)" }],
        finder: Finder::Simulation { within: 5_000 },
        always: false,
    },
    Guard {
        name: "silence takes no vote",
        without: "counts out whoever is silent for long, though no operator has said so",
        edits: &[Edit {
            file: SUCCESSION,
            text: "let Some(reap) = members.rules.reap else { return false };",
            becomes: "let reap = members.rules.reap.unwrap_or(600_000_000_000);",
        }],
        finder: Finder::Tests {
            package: "vip-user",
            names: "a_configuration_never_shrinks_by_silence_alone",
        },
        always: false,
    },
    Guard {
        name: "who votes is not forgotten",
        without: "forgets a voter that is gone, and what it has pledged",
        edits: &[Edit {
            file: HEARING,
            text: "            && !is_voter\n",
            becomes: "            && (!is_voter || id > 0)\n",
        }],
        finder: Finder::Tests { package: "vip-user", names: "who_is_gone_and_no_voter_is_forgotten" },
        always: false,
    },
];

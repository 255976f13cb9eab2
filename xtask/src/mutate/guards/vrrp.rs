//! Guards of VRRP: which adverts count, who gives way, and for how long an advert lets its sender serve.

use super::super::guard::{Edit, Finder, Guard};

const INSTANCE: &str = "vip-user/src/vrrp/instance.rs";
const TIMERS: &str = "vip-user/src/vrrp/timers.rs";
const HEARING: &str = "vip-user/src/vrrp/hearing.rs";
const ADVERT: &str = "vip-common/src/vrrp.rs";

/// Found by the state machine's tests.
const fn by(names: &'static str) -> Finder {
    Finder::Tests { package: "vip-user", names }
}

pub(super) const GUARDS: &[Guard] = &[
    Guard {
        name: "vrrp: the word ends before others take over",
        without: "serves for 3.1 intervals on an advert",
        edits: &[Edit {
            file: TIMERS,
            text: "serving_time(MISSED * interval)",
            becomes: "MISSED * interval + interval / 10",
        }],
        finder: by("promises_less_than_the_others_wait"),
        always: true,
    },
    Guard {
        name: "vrrp: no word without an advert",
        without: "is active although its first advert could not be sent",
        edits: &[Edit {
            file: INSTANCE,
            text: "if let State::Active { promised_until: None, .. } = self.state {",
            becomes: "if false {",
        }],
        finder: by("one_whose_adverts_cannot_be_sent"),
        always: false,
    },
    Guard {
        name: "vrrp: active after the first advert",
        without: "says that it is active before an advert was sent",
        edits: &[Edit {
            file: INSTANCE,
            text: "        self.state = State::Active { advert_at: now, promised_until: None };\n",
            becomes: "        self.state = State::Active { advert_at: now, promised_until: None };\n        \
                      self.actions.push_back(Action::Promoted { resumed: false });\n",
        }],
        finder: by("one_whose_adverts_cannot_be_sent"),
        always: false,
    },
    Guard {
        name: "vrrp: a word that has run out",
        without: "goes on as active after its word has run out",
        edits: &[Edit {
            file: INSTANCE,
            text: "            && until <= now\n",
            becomes: "            && until == 0\n",
        }],
        finder: by("one_that_could_not_advertise_for_too_long"),
        always: false,
    },
    Guard {
        name: "vrrp: the word of a former run",
        without: "goes on as active with a word of a former run that is over",
        edits: &[Edit { file: INSTANCE, text: "if word > now {", becomes: "if word > 0 {" }],
        finder: by("a_restart_goes_on"),
        always: false,
    },
    Guard {
        name: "vrrp: disarm before priority 0",
        without: "tells others to take over while it serves",
        edits: &[Edit {
            file: INSTANCE,
            text: r"            self.actions.push_back(Action::Disarm);
            self.actions.push_back(Action::Advertise { priority: RELEASE, promise: None });",
            becomes: r"            self.actions.push_back(Action::Advertise { priority: RELEASE, promise: None });
            self.actions.push_back(Action::Disarm);",
        }],
        finder: by("a_shutdown_serves_no_more"),
        always: false,
    },
    Guard {
        name: "vrrp: the own source",
        without: "heeds its own adverts, where the network sends them back",
        edits: &[Edit {
            file: INSTANCE,
            text: "if advert.source == source || self.state == State::Initialize {",
            becomes: "if self.state == State::Initialize {",
        }],
        finder: by("an_active_router_gives_way"),
        always: false,
    },
    Guard {
        name: "vrrp: an owner heeds nobody",
        without: "gives the addresses that it owns to another router",
        edits: &[Edit { file: INSTANCE, text: "if priority == OWNER {", becomes: "if false {" }],
        finder: by("an_owner_is_active_at_once"),
        always: false,
    },
    Guard {
        name: "vrrp: who gives way",
        without: "gives way to every router that it hears",
        edits: &[Edit {
            file: INSTANCE,
            text: "} else if (advert.priority, advert.source) > (priority, source) {",
            becomes: "} else if true {",
        }],
        finder: by("an_active_router_gives_way"),
        always: false,
    },
    Guard {
        name: "vrrp: the higher address of equals",
        without: "gives way to no equal",
        edits: &[Edit {
            file: INSTANCE,
            text: "} else if (advert.priority, advert.source) > (priority, source) {",
            becomes: "} else if advert.priority > priority {",
        }],
        finder: by("an_active_router_gives_way"),
        always: false,
    },
    Guard {
        name: "vrrp: who preempts",
        without: "takes over from routers of the same or a higher priority",
        edits: &[Edit {
            file: INSTANCE,
            text: "let is_lower = advert.priority < self.settings.priority;",
            becomes: "let is_lower = true;",
        }],
        finder: by("a_backup_heeds_its_equals"),
        always: false,
    },
    Guard {
        name: "vrrp: the interval of version 2",
        without: "takes adverts of version 2 whatever their interval",
        edits: &[Edit {
            file: INSTANCE,
            text: "if version == Version::V2 && advert.interval != interval {",
            becomes: "if false {",
        }],
        finder: by("version_2_has_a_skew_of_its_own"),
        always: false,
    },
    Guard {
        name: "vrrp: who has not listened knows nothing",
        without: "takes a virtual router for silent before it has listened",
        edits: &[Edit {
            file: HEARING,
            text: "presence: Presence::Unknown, until:",
            becomes: "presence: Presence::Silent, until:",
        }],
        finder: by("who_only_listens_knows_after_a_while"),
        always: false,
    },
    Guard {
        name: "vrrp: hop limit",
        without: "takes adverts that may have come through a router",
        edits: &[Edit { file: ADVERT, text: "if ttl != TTL {", becomes: "if false {" }],
        finder: Finder::Tests { package: "vip-common", names: "what_is_wrong_is_told" },
        always: false,
    },
    Guard {
        name: "vrrp: checksum",
        without: "takes adverts whatever their checksum",
        edits: &[Edit { file: ADVERT, text: "    if !adds_up(", becomes: "    if false && !adds_up(" }],
        finder: Finder::Tests { package: "vip-common", names: "what_is_wrong_is_told" },
        always: false,
    },
];

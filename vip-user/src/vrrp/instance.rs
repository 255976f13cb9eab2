//! One virtual router on this node: the state machine of section 6.4.
//!
//! Beyond the RFC, an active router serves only while the others cannot have taken over: its word runs out
//! [`promise`] after the last advert that was really sent. One whose word has run out was cut off or asleep, and comes back as a
//! backup.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::{Advert, Master, Timers, promise};
use vip_common::vrrp::{OWNER, RELEASE, Version};

/// What an instance is told. Times are in ns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The protocol's.
    pub version: Version,
    /// 1 to 255.
    pub priority: u8,
    /// `Advertisement_Interval`.
    pub interval: u64,
    /// `Preempt_Mode`.
    pub preempt: bool,
    /// How long a router of lower priority is active before this one takes over.
    pub preempt_delay: u64,
    /// Where this node's adverts come from.
    pub source: IpAddr,
}

impl Settings {
    const fn timers(&self) -> Timers {
        Timers { version: self.version, priority: self.priority }
    }
}

/// What this node is in the virtual router (section 6.4). Times are CLOCK_BOOTTIME in ns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// No part of it.
    Initialize,
    /// Waits for the active router's end.
    Backup {
        /// `Active_Down_Timer`.
        down_at: u64,
        /// Since when an active router of lower priority is heard.
        lower_since: Option<u64>,
    },
    /// Serves, or is about to.
    Active {
        /// `Adver_Timer`.
        advert_at: u64,
        /// Until when the word runs, by the last advert that was sent; none yet: nothing is served.
        promised_until: Option<u64>,
    },
}

/// What is to be done, in the order given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The data plane serves the group no longer.
    Disarm,
    /// Send an advert of this priority. If it was sent, let the data plane serve for `promise` from a time that was taken
    /// before, and tell [`Instance::sent`]; if not, tell [`Instance::not_sent`].
    Advertise {
        /// The priority in it.
        priority: u8,
        /// None: this is the end.
        promise: Option<u64>,
    },
    /// This node is the active router from now on, or goes on to be (`resumed`).
    Promoted {
        /// The word of a former run still runs.
        resumed: bool,
    },
    /// This node is the active router no longer.
    Demoted(Demotion),
    /// The active router is another one than before; `None`: there is none, or it is this node.
    Follows(Option<Master>),
    /// This node would be the active router and cannot send adverts, or not so any more.
    Mute(bool),
}

/// Why a router is active no longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Demotion {
    /// This one is, of higher priority, or of the same one and with a higher address.
    Outranked(Master),
    /// No advert was sent for so long that others have taken over, or may have.
    Lapsed,
    /// It was told to stop.
    ShutDown,
}

/// Why a valid advert does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Objection {
    /// This node owns the addresses, and so nobody else is active (section 7.1).
    Owner,
    /// Of version 2: its interval, in ns, is not this node's (RFC 3768, section 7.1).
    Interval(u64),
}

/// See the module.
#[derive(Debug)]
pub struct Instance {
    settings: Settings,
    state: State,
    master: Option<Master>,
    /// `Active_Adver_Interval`.
    active_interval: u64,
    /// See [`Action::Mute`].
    is_mute: bool,
    actions: VecDeque<Action>,
}

impl Instance {
    /// One that has not been started.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Initialize,
            master: None,
            active_interval: settings.interval,
            is_mute: false,
            actions: VecDeque::new(),
        }
    }

    /// What it is told.
    pub const fn settings(&self) -> Settings {
        self.settings
    }

    /// What this node is.
    pub const fn state(&self) -> State {
        self.state
    }

    /// The next thing to do, if any.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub const fn next_deadline(&self) -> Option<u64> {
        match self.state {
            State::Initialize => None,
            State::Backup { down_at, .. } => Some(down_at),
            State::Active { advert_at, .. } => Some(advert_at),
        }
    }

    /// The Startup event (section 6.4.1); none where it has been already. `word`: until when the data plane serves the group,
    /// by a former run of this daemon; it goes on then.
    pub fn start(&mut self, word: u64, now: u64) {
        if self.state != State::Initialize {
            return;
        }
        self.active_interval = self.settings.interval;
        if word > now {
            self.state = State::Active { advert_at: now, promised_until: Some(word) };
            self.actions.push_back(Action::Promoted { resumed: true });
        } else if self.settings.priority == OWNER {
            self.become_active(now);
        } else {
            self.wait_from(now);
        }
    }

    /// The Shutdown event (sections 6.4.2 and 6.4.3).
    pub fn shut_down(&mut self) {
        if matches!(self.state, State::Active { .. }) {
            self.actions.push_back(Action::Disarm);
            self.actions.push_back(Action::Advertise { priority: RELEASE, promise: None });
            self.actions.push_back(Action::Demoted(Demotion::ShutDown));
        }
        self.state = State::Initialize;
        self.follow(None);
        self.tell_mute(false);
    }

    /// Other settings; the active router tells at once.
    pub fn set(&mut self, settings: Settings, now: u64) {
        let former = std::mem::replace(&mut self.settings, settings);
        if former == settings {
            return;
        }
        self.look_at_promise(now);
        if let State::Active { .. } = self.state {
            self.advertise(now);
        }
    }

    /// Another router's advert.
    ///
    /// # Errors
    /// It does not count, and an operator should know why.
    pub fn handle_advert(&mut self, advert: Advert, now: u64) -> Result<(), Objection> {
        let Settings { version, priority, interval, source, .. } = self.settings;
        // By a loop in the network.
        if advert.source == source || self.state == State::Initialize {
            return Ok(());
        }
        if priority == OWNER {
            return Err(Objection::Owner);
        }
        if version == Version::V2 && advert.interval != interval {
            return Err(Objection::Interval(advert.interval));
        }
        self.look_at_promise(now);
        match self.state {
            State::Initialize => {}
            State::Backup { lower_since, .. } => self.hear_as_backup(advert, lower_since, now),
            State::Active { .. } => self.hear_as_active(advert, now),
        }
        Ok(())
    }

    /// The deadline has come, or has not yet.
    pub fn handle_timeout(&mut self, now: u64) {
        self.look_at_promise(now);
        match self.state {
            State::Backup { down_at, .. } if down_at <= now => self.become_active(now),
            State::Active { advert_at, .. } if advert_at <= now => self.advertise(now),
            State::Initialize | State::Backup { .. } | State::Active { .. } => {}
        }
    }

    /// An advert with a promise was sent, by which the data plane serves until then.
    pub fn sent(&mut self, until: u64) {
        let State::Active { promised_until, .. } = &mut self.state else { return };
        if promised_until.replace(until).is_none() {
            self.follow(None);
            self.actions.push_back(Action::Promoted { resumed: false });
        }
        self.tell_mute(false);
    }

    /// An advert could not be sent. Who serves by an earlier one goes on while that lasts, and tries again; who does not is no
    /// active router yet.
    pub fn not_sent(&mut self, now: u64) {
        if let State::Active { promised_until: None, .. } = self.state {
            self.listen_from(now);
            self.tell_mute(true);
        }
    }

    /// An active router that could not say so for three intervals does not know who is active now.
    fn look_at_promise(&mut self, now: u64) {
        if let State::Active { promised_until: Some(until), .. } = self.state
            && until <= now
        {
            self.actions.push_back(Action::Disarm);
            self.actions.push_back(Action::Demoted(Demotion::Lapsed));
            self.listen_from(now);
        }
    }

    /// Listens for an interval, in which whoever is active says so.
    fn listen_from(&mut self, now: u64) {
        self.active_interval = self.settings.interval;
        let skew = self.settings.timers().skew(self.active_interval);
        self.state = State::Backup { down_at: now + self.active_interval + skew, lower_since: None };
    }

    /// Section 6.4.2.
    fn hear_as_backup(&mut self, advert: Advert, lower_since: Option<u64>, now: u64) {
        if advert.priority == RELEASE {
            let skew = self.settings.timers().skew(self.active_interval);
            self.state = State::Backup { down_at: now + skew, lower_since: None };
            self.follow(None);
            return;
        }
        let is_lower = advert.priority < self.settings.priority;
        let since = is_lower.then(|| lower_since.unwrap_or(now));
        let may_preempt = self.settings.preempt
            && since.is_some_and(|since| now.saturating_sub(since) >= self.settings.preempt_delay);
        self.follow(Some(advert.into()));
        if may_preempt {
            if let State::Backup { lower_since, .. } = &mut self.state {
                *lower_since = since;
            }
            return;
        }
        self.heed(advert, since, now);
    }

    /// Section 6.4.3.
    fn hear_as_active(&mut self, advert: Advert, now: u64) {
        let Settings { priority, source, .. } = self.settings;
        if advert.priority == RELEASE {
            self.advertise(now);
        } else if (advert.priority, advert.source) > (priority, source) {
            self.actions.push_back(Action::Disarm);
            self.actions.push_back(Action::Demoted(Demotion::Outranked(advert.into())));
            self.follow(Some(advert.into()));
            self.heed(advert, None, now);
        } else {
            // It is to know, and so are the switches.
            self.advertise(now);
        }
    }

    /// Waits for this active router's end.
    fn heed(&mut self, advert: Advert, lower_since: Option<u64>, now: u64) {
        self.active_interval = match self.settings.version {
            // RFC 3768, section 6.1: each router's own, and who has another one is not heard.
            Version::V2 => self.settings.interval,
            Version::V3 => advert.interval,
        };
        let down = self.settings.timers().down(self.active_interval);
        self.state = State::Backup { down_at: now + down, lower_since };
        self.tell_mute(false);
    }

    fn wait_from(&mut self, now: u64) {
        let down = self.settings.timers().down(self.active_interval);
        self.state = State::Backup { down_at: now + down, lower_since: None };
    }

    fn become_active(&mut self, now: u64) {
        self.state = State::Active { advert_at: now, promised_until: None };
        self.advertise(now);
    }

    fn advertise(&mut self, now: u64) {
        if let State::Active { advert_at, .. } = &mut self.state {
            *advert_at = now + self.settings.interval;
        }
        let Settings { priority, interval, .. } = self.settings;
        self.actions.push_back(Action::Advertise { priority, promise: Some(promise(interval)) });
    }

    fn follow(&mut self, master: Option<Master>) {
        if self.master != master {
            self.master = master;
            self.actions.push_back(Action::Follows(master));
        }
    }

    fn tell_mute(&mut self, is_mute: bool) {
        if self.is_mute != is_mute {
            self.is_mute = is_mute;
            self.actions.push_back(Action::Mute(is_mute));
        }
    }
}

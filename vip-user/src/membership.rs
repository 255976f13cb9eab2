//! Who belongs to the cluster: the nodes known by their Hellos, and the configuration that says who votes.
//!
//! This is the part without clock, socket or disk. It takes events and `now` (CLOCK_BOOTTIME, ns), and gives actions
//! and the next deadline. Its driver, the daemon, sends, stores and logs. Who holds a lease is decided in the
//! election; who may speak at all (tag, replay, cluster) has been checked before anything arrives here.
//!
//! ```text
//!   Waiting ── proposal, or invitation by another's consent ──> StoreConsent ── stored ──> Consented
//!   Consented ── all voters heard agreeing ────────────┐
//!   Formed ── a quorum of voters heard accepting it ───┤
//!   any ── a newer configuration heard ────────────────┴─> Adopt, StoreConfiguration ── stored ──> Formed
//! ```
//!
//! How a configuration is followed by the next one is in `change`.

mod change;
mod configuration;
mod forming;
mod founding;
mod hearing;
mod hello;
mod liveness;
mod members;
mod notice;
mod pair;
mod pledge;
#[cfg(test)]
mod simulation;
mod succession;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

pub use change::{Removal, RemovalRefused, WISH_TIME};
pub use configuration::{Configuration, ConfigurationError, FIRST_EPOCH, MAX_VOTERS};
pub use hello::{
    Hello, HelloError, MAX_HELLO_BYTES, MAX_NAME_BYTES, MAX_OFFERS, MAX_PERIOD_MS, Offer, Standing,
    check_tags,
};
pub use liveness::SILENT_AFTER;
pub use members::{FAILED_AFTER, LEFT_AFTER, MAX_MEMBERS, Member, Rules, Status};
pub use notice::{Node, Notice, Severity};
pub use pledge::{Accepted, Pledge, PledgeError};

use change::Change;
use forming::Newest;
use founding::Gathering;
use liveness::Told;
use members::Members;

use crate::events::{self, MemberEventKind};
use crate::pace::Pace;

/// Time between two Hellos once a configuration is formed, in ns: of voters always, of other members as long as they are few.
pub const HELLO_INTERVAL: u64 = SECOND;

/// The most Hellos that the members without a vote say in a second, all together, so that what a node hears stays bounded
/// however many there are: n of them speak every n / 50 s each, if that is longer than [`HELLO_INTERVAL`].
pub const HELLOS_PER_SECOND: u64 = 50;

/// Before that, while leaving, and for [`EAGER_TIME`] after something new, a node speaks so many times as often. That is also the
/// least time between a Hello and one that greets a newcomer, so that many nodes starting at once make no storm.
pub const EAGERNESS: u64 = 10;

/// How long a node repeats a new pledge or configuration eagerly, in ns: others wait for it, and Hellos get lost.
pub const EAGER_TIME: u64 = 1_000_000_000;

/// How long the set of nodes heard must have stayed the same before a first configuration is proposed, in ns.
pub const SETTLE_TIME: u64 = 500_000_000;

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;
const WAITING_NOTICE_DELAY: u64 = 1_000_000_000;
const WAITING_NOTICE_PERIOD: u64 = 5_000_000_000;
const DEADLOCK_NOTICE_PERIOD: u64 = 10_000_000_000;
const RARE_NOTICE_PERIOD: u64 = 60_000_000_000;

/// What a node is, from its settings and its start.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Never 0.
    pub id: u16,
    /// The daemon's start in Unix ns, as `Store::next_incarnation` gives it.
    pub incarnation: u64,
    /// The address that it sends from.
    pub address: IpAddr,
    /// See [`Hello::name`].
    pub name: String,
    /// See [`Hello::version`].
    pub version: String,
    /// See [`Hello::tags`].
    pub tags: BTreeMap<String, String>,
    /// See [`Hello::priority`].
    pub priority: u8,
    /// See [`Hello::expect`].
    pub expect: u8,
    /// See [`Hello::interval_ns`].
    pub interval_ns: u64,
    /// See [`Hello::lease_ns`].
    pub lease_ns: u64,
    /// See [`Hello::groups`].
    pub groups: Vec<Offer>,
    /// When others become voters, and are none any more.
    pub rules: Rules,
}

/// What may change of an [`Identity`] while the daemon runs.
#[derive(Clone, Debug)]
pub struct Profile {
    /// See [`Hello::tags`].
    pub tags: BTreeMap<String, String>,
    /// See [`Hello::priority`].
    pub priority: u8,
    /// See [`Hello::interval_ns`].
    pub interval_ns: u64,
    /// When others become voters, and are none any more.
    pub rules: Rules,
}

/// What earlier runs of this node have left on its disk.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The consent it has given.
    pub consent: Option<Configuration>,
    /// The configuration it has adopted last.
    pub configuration: Option<Configuration>,
    /// What it has pledged last.
    pub pledge: Option<Pledge>,
}

/// Where a Hello came from, as the header of its message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Never 0.
    pub id: u16,
    /// The start of its daemon, in Unix ns.
    pub incarnation: u64,
    /// The source address of the packet.
    pub address: IpAddr,
}

/// What the driver must do, in the order in which the actions come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send [`Membership::hello`], taken at that moment, to all nodes.
    SendHello,
    /// Store this consent durably, then call [`Membership::handle_stored`] with it. If it cannot be stored, try again
    /// later: until it is stored nothing is said of it. Never report it before it is durable, for a node that
    /// forgets a consent it has spoken can make two clusters out of one.
    StoreConsent(Configuration),
    /// The current configuration is this one from now on: the data plane answers in its epoch only, and the elections
    /// have its voters. If this cannot be done, end without a word: do nothing of what follows, for it lets others
    /// count on it. At the start it is on the disk already; else its write follows, and is not waited for: while the
    /// acceptors are of two epochs, there may be no majority in either.
    Adopt(Configuration),
    /// Store this configuration durably, then call [`Membership::handle_stored`] with it; else as above.
    StoreConfiguration(Configuration),
    /// Store this pledge durably, then call [`Membership::handle_stored`] with it; else as above. Never report it
    /// before it is durable, for a voter that forgets a pledge it has spoken can make two clusters out of one.
    StorePledge(Pledge),
    /// The nodes that are alive, or what they offer, have changed: rank the candidates anew.
    PeersChanged,
    /// The node at this address had this node's name before it: end.
    NameTaken(IpAddr),
    /// This has happened to another node: it is live from now on, is not any more, has changed, or is forgotten.
    Member(MemberEventKind, events::Node),
    /// Write this to the log.
    Notice(Notice),
}

/// A write that the driver has completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Durable {
    /// Of [`Action::StoreConsent`].
    Consent(Configuration),
    /// Of [`Action::StoreConfiguration`].
    Configuration(Configuration),
    /// Of [`Action::StorePledge`].
    Pledge(Pledge),
}

/// The membership of one node. After each call that takes `now`, take all actions with
/// [`Membership::poll_action`], and call [`Membership::handle_timeout`] when [`Membership::next_deadline`] is reached.
#[derive(Clone, Debug)]
pub struct Membership {
    members: Members,
    told: Told,
    /// Handed to the driver, not yet reported durable.
    storing_consent: Option<Configuration>,
    storing_configuration: Option<Configuration>,
    gathering: Gathering,
    change: Change,
    next_hello: u64,
    last_hello: Option<u64>,
    /// Hellos are eager until then.
    eager_until: u64,
    pace: Paces,
    actions: VecDeque<Action>,
}

#[derive(Clone, Debug)]
struct Paces {
    waiting: Pace,
    deadlock: Pace,
    apart: Pace,
    forgotten: Pace,
    crowded: Pace,
}

impl Membership {
    /// The membership of node `me` with what its disk holds. Fails when `me` cannot be said in a Hello. The first
    /// actions are there at once: a stored configuration is adopted, and the first Hello is due.
    pub fn new(me: Identity, stored: Stored, now: u64) -> Result<Self, HelloError> {
        let standing = match (stored.configuration.clone(), stored.consent) {
            (Some(configuration), _) => Standing::Formed(configuration),
            (None, Some(consent)) => Standing::Consented(consent),
            (None, None) => Standing::Waiting,
        };
        let change = Change::new(&me, stored.pledge);
        let rules = me.rules;
        let me = me.into_member(standing, now);
        let mut membership = Self {
            members: Members::new(me, rules, now),
            told: Told::default(),
            storing_consent: None,
            storing_configuration: None,
            gathering: Gathering::default(),
            change,
            next_hello: now,
            last_hello: None,
            eager_until: now,
            pace: Paces {
                waiting: Pace::new(now.saturating_add(WAITING_NOTICE_DELAY), WAITING_NOTICE_PERIOD),
                deadlock: Pace::new(now, DEADLOCK_NOTICE_PERIOD),
                apart: Pace::new(now, RARE_NOTICE_PERIOD),
                forgotten: Pace::new(now, RARE_NOTICE_PERIOD),
                crowded: Pace::new(now, RARE_NOTICE_PERIOD),
            },
            actions: stored.configuration.map(Action::Adopt).into_iter().collect(),
        };
        membership.say_pledge();
        membership.hello().encode()?;
        membership.advance(now);
        Ok(membership)
    }

    /// What this node says of itself at this moment.
    pub fn hello(&self) -> Hello {
        self.members.me.hello.clone()
    }

    /// The current configuration, if there is one: the one adopted last. It may not be on the disk yet.
    pub fn configuration(&self) -> Option<&Configuration> {
        self.storing_configuration.as_ref().or_else(|| self.members.me.formed())
    }

    /// This node first, then all that it knows, by id; also those that have failed or left.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    /// The members that may hold a lease: alive voters that do not want to leave.
    pub fn candidates(&self) -> impl Iterator<Item = &Member> {
        let votes =
            |member: &&Member| self.configuration().is_some_and(|current| current.contains(member.id));
        self.members.alive().filter(votes).filter(|member| member.stays())
    }

    /// Whether this node does not want to leave.
    pub fn stays(&self) -> bool {
        self.members.me.stays()
    }

    /// The next thing to do, if any.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Membership::handle_timeout`], in CLOCK_BOOTTIME ns.
    pub fn next_deadline(&self) -> u64 {
        let silence = self.members.next_deadline().into_iter().chain(self.told.next_deadline(&self.members));
        silence.chain(self.gathering.settles_at).fold(self.next_hello, u64::min)
    }

    /// A Hello was heard. Its tag, cluster and replay have been checked, so it is no older than the last one of the same
    /// incarnation. One from this node's own id, or of an older incarnation than is known, is ignored.
    pub fn handle_hello(&mut self, from: Sender, hello: Hello, now: u64) {
        let known = self.members.get(from.id);
        if from.id == self.members.me.id || known.is_some_and(|known| from.incarnation < known.incarnation) {
            return;
        }
        let status = if hello.leaving { Status::Leaving } else { Status::Alive };
        let Sender { id, incarnation, address } = from;
        let member = Member {
            id,
            incarnation,
            address,
            status,
            last_heard_ns: now,
            last_hello_ns: now,
            speaks_since: now,
            hello,
        };
        match self.members.insert(member.clone()) {
            Ok(before) => {
                self.greet(&member, before.as_ref(), now);
                self.forget_with(&member, now);
            }
            Err(refused) if self.pace.crowded.allows(now) => {
                self.notice(Notice::TooManyMembers(node(&refused)))
            }
            Err(_) => {}
        }
        self.advance(now);
    }

    /// The data plane has heard a lease message of node `id` at `last_heard_ns` (CLOCK_BOOTTIME). Report this for all
    /// members before [`Membership::handle_timeout`], so that a node whose Hellos are lost is not taken for failed.
    pub fn heard(&mut self, id: u16, last_heard_ns: u64) {
        self.members.heard(id, last_heard_ns);
    }

    /// The driver has made durable what an action asked it to.
    pub fn handle_stored(&mut self, stored: Durable, now: u64) {
        match stored {
            Durable::Consent(consent) => {
                if self.storing_consent.take_if(|storing| *storing == consent).is_some() {
                    self.consented(consent);
                    self.next_hello = now;
                }
            }
            Durable::Configuration(configuration) => {
                if self.storing_configuration.take_if(|storing| *storing == configuration).is_some() {
                    self.members.me.hello.standing = Standing::Formed(configuration);
                    self.change_anew();
                    self.speak_eagerly(now);
                }
            }
            Durable::Pledge(pledge) => self.pledged(pledge, now),
        }
        self.advance(now);
    }

    /// A deadline has been reached. Harmless when none has.
    pub fn handle_timeout(&mut self, now: u64) {
        self.advance(now);
    }

    /// The configuration says other things of this node; it says so at once.
    pub fn set_profile(&mut self, profile: Profile, now: u64) {
        let Profile { tags, priority, interval_ns, rules } = profile;
        self.members.rules = rules;
        let hello = &mut self.members.me.hello;
        (hello.tags, hello.priority, hello.interval_ns) = (tags, priority, interval_ns);
        self.next_hello = now;
        self.actions.push_back(Action::PeersChanged);
        self.advance(now);
    }

    /// This node would serve other groups, or by other priorities, than it has said; it says so at once, before it does anything
    /// about it.
    pub fn set_offers(&mut self, offers: Vec<Offer>, now: u64) {
        if offers == self.members.me.hello.groups {
            return;
        }
        self.members.me.hello.groups = offers;
        self.next_hello = now;
        // The others hear of it before anything is done about it here: who is handed a group then knows why.
        self.advance(now);
        self.actions.push_back(Action::PeersChanged);
    }

    /// This node is about to stop: its Hellos say so from now on, the first one at once, and it consents to nothing
    /// any more. The driver ends it when it likes.
    pub fn leave(&mut self, now: u64) {
        self.members.me.hello.leaving = true;
        self.members.me.status = Status::Leaving;
        self.next_hello = now;
        self.actions.push_back(Action::PeersChanged);
        self.advance(now);
    }

    /// Does whatever is due at `now`.
    fn advance(&mut self, now: u64) {
        self.refresh_statuses(now);
        self.reap(now);
        self.tell_of_nodes(now);
        self.gather(now);
        match forming::newest(&self.members) {
            Newest::Apart(configurations) => self.report_apart(configurations, now),
            Newest::One(newest) if self.has_forgotten(&newest) => self.report_forgotten(newest, now),
            Newest::One(newest) => {
                self.adopt_if_newer(newest);
                self.change_voters(now);
            }
            Newest::None => self.form(now),
        }
        self.greet_if_due(now);
    }

    fn adopt_if_newer(&mut self, configuration: Configuration) {
        let has = self.configuration().map_or(0, Configuration::epoch);
        if configuration.epoch() > has && self.storing_configuration.is_none() {
            self.storing_configuration = Some(configuration.clone());
            self.actions.push_back(Action::Adopt(configuration.clone()));
            self.actions.push_back(Action::StoreConfiguration(configuration));
        }
    }

    fn report_apart(&mut self, configurations: Vec<Configuration>, now: u64) {
        if self.pace.apart.allows(now) {
            self.notice(Notice::FormedApart(configurations));
        }
    }

    fn has_forgotten(&self, newest: &Configuration) -> bool {
        let me = &self.members.me;
        newest.contains(me.id) && succession::is_missed(newest, &me.hello.standing)
    }

    fn report_forgotten(&mut self, newest: Configuration, now: u64) {
        if self.pace.forgotten.allows(now) {
            self.notice(Notice::Forgotten(newest));
        }
    }

    fn greet_if_due(&mut self, now: u64) {
        if self.next_hello > now {
            return;
        }
        let regular = self.hello_interval();
        let me = &mut self.members.me;
        let eager = me.formed().is_none() || me.hello.leaving || now < self.eager_until;
        let interval = if eager { regular / EAGERNESS } else { regular };
        me.last_heard_ns = now;
        me.hello.period_ms = u32::try_from(regular / MILLISECOND).unwrap_or(MAX_PERIOD_MS).min(MAX_PERIOD_MS);
        self.last_hello = Some(now);
        self.next_hello = now.saturating_add(interval);
        self.actions.push_back(Action::SendHello);
    }

    /// The time between two Hellos of this node in quiet times, in ns: see [`HELLOS_PER_SECOND`].
    fn hello_interval(&self) -> u64 {
        let is_voter = |id: u16| self.configuration().is_some_and(|current| current.contains(id));
        if is_voter(self.members.me.id) {
            return HELLO_INTERVAL;
        }
        let others = self.members.alive().filter(|member| !is_voter(member.id)).count();
        (others as u64 * SECOND / HELLOS_PER_SECOND).max(HELLO_INTERVAL)
    }

    /// Says Hello at once, and repeats it for a while.
    fn speak_eagerly(&mut self, now: u64) {
        self.next_hello = now;
        self.eager_until = now.saturating_add(EAGER_TIME);
    }

    fn node(&self, id: u16) -> Node {
        Node { id, name: self.members.name(id) }
    }

    fn notice(&mut self, notice: Notice) {
        self.actions.push_back(Action::Notice(notice));
    }
}

impl Identity {
    fn into_member(self, standing: Standing, now: u64) -> Member {
        Member {
            id: self.id,
            incarnation: self.incarnation,
            address: self.address,
            status: Status::Alive,
            last_heard_ns: now,
            last_hello_ns: now,
            speaks_since: now,
            hello: Hello {
                name: self.name,
                version: self.version,
                tags: self.tags,
                priority: self.priority,
                expect: self.expect,
                interval_ns: self.interval_ns,
                lease_ns: self.lease_ns,
                groups: self.groups,
                standing,
                pledge: None,
                remove: None,
                leaving: false,
                period_ms: u32::try_from(HELLO_INTERVAL / MILLISECOND).unwrap_or(MAX_PERIOD_MS),
                clock: 0,
                heard: Vec::new(),
            },
        }
    }
}

fn node(member: &Member) -> Node {
    Node { id: member.id, name: member.hello.name.clone() }
}

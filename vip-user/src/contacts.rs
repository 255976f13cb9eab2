//! Which nodes this one talks to by unicast, besides the multicast group.
//!
//! This is the part without clock, socket or task. It takes what has been heard and `now` (CLOCK_BOOTTIME, ns), and gives
//! actions and the next deadline. Its driver, the daemon, sends.
//!
//! A node that hears another one by the group needs nothing of this, and sends nothing of it. Who is not heard that way is a
//! *contact* as soon as it has sent something to this node's own address: all that goes to the group goes to the contacts as
//! well. Contacts are found by asking: first the addresses that an operator has named, later one contact in turn, which
//! answers with the addresses that it knows. Those are greeted, and are contacts when they greet back.
//!
//! So any two nodes that can reach each other find each other, if a chain of nodes connects them of which each one hears the
//! next: who hears somebody by unicast asks, and who is asked or greeted hears.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use crate::membership::FAILED_AFTER;

/// The most contacts.
pub const MAX_CONTACTS: usize = 64;
/// The most addresses that operators ask for at a time.
pub const MAX_ASKED: usize = 16;
/// How long a node has to answer that an operator asks for, in ns.
pub const ANSWER_TIME: u64 = 5 * SECOND;

const SECOND: u64 = 1_000_000_000;
/// Who was heard by the group so long ago, in ns, is heard by it still.
const LATELY: u64 = FAILED_AFTER;
/// How long the group may take at a start: who answers by it need not be asked by unicast.
const GROUP_FIRST: u64 = SECOND / 2;
/// Time between two questions.
const ASK_INTERVAL: u64 = 5 * SECOND;
/// ... at a start and after news: others have news then, too.
const EAGER_ASK_INTERVAL: u64 = SECOND;
const EAGER_AT_START: u64 = 10 * SECOND;
const EAGER_AFTER_NEWS: u64 = 5 * SECOND;
/// How long a node that another one has told of is greeted, and how often.
const GREETING_TIME: u64 = 10 * SECOND;
const GREETING_INTERVAL: u64 = SECOND;
/// How long a contact that has not said who it is stays one.
const UNKNOWN_TIME: u64 = 10 * SECOND;
/// The most addresses that are remembered to be heard by the group: as many as there can be members.
const MAX_VOICES: usize = crate::membership::MAX_MEMBERS;

/// How a message has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// By the multicast group.
    Group,
    /// To this node's own address.
    Direct,
}

/// What the driver must do, in the order in which the actions come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// What is for all nodes goes to these addresses from now on, besides the group. At most [`MAX_CONTACTS`].
    Reach(Vec<IpAddr>),
    /// Ask the node there where the others are.
    Ask(IpAddr),
    /// Say Hello to the node there.
    Greet(IpAddr),
}

/// What the configuration says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address that this node sends from.
    pub own: IpAddr,
    /// No node is at these: the VIPs.
    pub never: BTreeSet<IpAddr>,
    /// Contacts from the start on, whether they answer or not; this node may be among them. Fewer than [`MAX_CONTACTS`].
    pub peers: Vec<IpAddr>,
    /// Who is asked where the others are; this node may be among them.
    pub join: Vec<IpAddr>,
}

/// What the membership says of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not been heard yet.
    Unknown,
    /// It belongs to the cluster, or may come back to it.
    Member,
    /// It has left for good.
    Gone,
}

/// Why an address cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is this node's.
    #[error("is this node's own address; name another node's")]
    Own,
    /// No node is there.
    #[error("is a VIP; name a node's own address")]
    Vip,
    /// The nodes talk to each other by the other version of IP.
    #[error("is of another version of IP than the nodes talk to each other by")]
    Version,
    /// Not an address of one machine.
    #[error("is no address of one machine")]
    NotUnicast,
    /// Too many at a time.
    #[error("is one more than the {MAX_ASKED} that can be asked for at a time; try again in a few seconds")]
    TooMany,
}

/// The contacts of one node. After each call that takes `now`, take all actions with [`Contacts::poll_action`], and call
/// [`Contacts::handle_timeout`] when [`Contacts::next_deadline`] is reached.
#[derive(Clone, Debug)]
pub struct Contacts {
    settings: Settings,
    /// Addresses that an operator asks for, and until when an answer is awaited.
    asked: BTreeMap<IpAddr, u64>,
    confirmed: BTreeMap<IpAddr, Confirmed>,
    hinted: BTreeMap<IpAddr, Hint>,
    /// When the node at an address was last heard by the group.
    voices: BTreeMap<IpAddr, u64>,
    /// As the driver has been told.
    reached: Vec<IpAddr>,
    /// Who was asked last.
    turn: Option<IpAddr>,
    next_ask: u64,
    /// Questions come more often until then.
    eager_until: u64,
    /// The latest time that it was told.
    now: u64,
    actions: VecDeque<Action>,
}

/// A node that has sent something to this node's own address.
#[derive(Clone, Copy, Debug)]
struct Confirmed {
    node: u16,
    heard: u64,
}

/// A node that another one has told of.
#[derive(Clone, Copy, Debug)]
struct Hint {
    next_greeting: u64,
    until: u64,
}

impl Contacts {
    /// The contacts of a node that has just started. The first action is there at once.
    pub fn new(settings: Settings, now: u64) -> Self {
        let mut contacts = Self {
            settings,
            asked: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            hinted: BTreeMap::new(),
            voices: BTreeMap::new(),
            reached: Vec::new(),
            turn: None,
            next_ask: now.saturating_add(GROUP_FIRST),
            eager_until: now.saturating_add(EAGER_AT_START),
            now,
            actions: VecDeque::new(),
        };
        contacts.reached = contacts.to_reach();
        contacts.actions.push_back(Action::Reach(contacts.reached.clone()));
        contacts
    }

    /// The next thing to do, if any.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Contacts::handle_timeout`], in CLOCK_BOOTTIME ns; `None` while there is nothing to do, as where all
    /// nodes hear each other by the group.
    pub fn next_deadline(&self) -> Option<u64> {
        let greetings = self.hinted.values().map(|hint| hint.next_greeting.min(hint.until));
        // Who is heard by the group needs more when it is heard so no more.
        let named = self.seeds().chain(self.confirmed.keys().copied());
        let silences = named.filter_map(|address| Some(self.voices.get(&address)?.saturating_add(LATELY)));
        let silences = silences.filter(|silence| *silence > self.now);
        let question = self.to_ask().next().map(|_| self.next_ask);
        greetings.chain(silences).chain(self.asked.values().copied()).chain(question).min()
    }

    /// Something of another node came in: it is verified, and no replay.
    pub fn heard(&mut self, node: u16, address: IpAddr, way: Way, now: u64) {
        self.now = self.now.max(now);
        match way {
            Way::Group => self.hear_voice(address),
            Way::Direct if self.is_heard_by_group(address) => {}
            Way::Direct => self.confirm(node, address),
        }
        self.tell_reached();
    }

    /// A node has told the addresses of others.
    pub fn handle_roster(&mut self, addresses: &[IpAddr], now: u64) {
        self.now = self.now.max(now);
        for address in addresses {
            let known = self.confirmed.contains_key(address) || self.hinted.contains_key(address);
            let room = self.count() + self.hinted.len() < MAX_CONTACTS;
            if !known && room && self.check(*address).is_ok() && !self.is_heard_by_group(*address) {
                let until = self.now.saturating_add(GREETING_TIME);
                self.hinted.insert(*address, Hint { next_greeting: self.now, until });
            }
        }
        self.greet();
    }

    /// An operator names a node. It is asked until it answers, for [`ANSWER_TIME`].
    ///
    /// # Errors
    /// No node that this one could talk to can be there.
    pub fn join(&mut self, address: IpAddr, now: u64) -> Result<(), Refused> {
        self.now = self.now.max(now);
        self.check(address)?;
        if self.asked.len() == MAX_ASKED && !self.asked.contains_key(&address) {
            return Err(Refused::TooMany);
        }
        if !self.hears(address, now) {
            self.asked.insert(address, self.now.saturating_add(ANSWER_TIME));
            self.next_ask = self.now;
            self.ask();
        }
        Ok(())
    }

    /// Whether the node at this address has been heard lately, either way. (A contact is heard once a second.)
    pub fn hears(&self, address: IpAddr, now: u64) -> bool {
        let direct = self.confirmed.get(&address).map(|contact| contact.heard);
        let heard = direct.max(self.voices.get(&address).copied());
        heard.is_some_and(|heard| now < heard.saturating_add(LATELY))
    }

    /// Whether nodes that another one has told of have still to greet back.
    pub fn expects_more(&self) -> bool {
        !self.hinted.is_empty()
    }

    /// This node has another address.
    pub fn readdress(&mut self, own: IpAddr, now: u64) {
        self.now = self.now.max(now);
        self.settings.own = own;
        self.confirmed.remove(&own);
        self.hinted.remove(&own);
        self.tell_reached();
    }

    /// The configuration says something else; the own address stays.
    pub fn reconfigure(&mut self, settings: Settings, now: u64) {
        self.now = self.now.max(now);
        self.settings = Settings { own: self.settings.own, ..settings };
        self.next_ask = self.now;
        self.ask();
        self.tell_reached();
    }

    /// A deadline has been reached. `standing` says what the membership knows of a node. Harmless when none has.
    pub fn handle_timeout(&mut self, standing: impl Fn(u16) -> Standing, now: u64) {
        self.now = self.now.max(now);
        let now = self.now;
        self.asked.retain(|_, until| now < *until);
        self.hinted.retain(|_, hint| now < hint.until);
        self.confirmed.retain(|_, contact| match standing(contact.node) {
            Standing::Unknown => now < contact.heard.saturating_add(UNKNOWN_TIME),
            Standing::Member => true,
            Standing::Gone => false,
        });
        self.greet();
        self.ask();
        self.tell_reached();
    }

    fn hear_voice(&mut self, address: IpAddr) {
        let now = self.now;
        if self.voices.len() >= MAX_VOICES && !self.voices.contains_key(&address) {
            self.voices.retain(|_, heard| now < heard.saturating_add(LATELY));
            if self.voices.len() >= MAX_VOICES {
                return;
            }
        }
        self.voices.insert(address, now);
        self.asked.remove(&address);
        self.hinted.remove(&address);
    }

    fn is_heard_by_group(&self, address: IpAddr) -> bool {
        self.voices.get(&address).is_some_and(|heard| self.now < heard.saturating_add(LATELY))
    }

    /// The node at this address hears this one, or tries to.
    fn confirm(&mut self, node: u16, address: IpAddr) {
        if self.check(address).is_err() || !self.makes_room_for(address) {
            return;
        }
        // A node has one address. Where it had another one, nobody is any more.
        self.confirmed.retain(|other, contact| *other == address || contact.node != node);
        let before = self.confirmed.insert(address, Confirmed { node, heard: self.now });
        self.asked.remove(&address);
        self.hinted.remove(&address);
        if before.is_none() {
            self.eager_until = self.eager_until.max(self.now.saturating_add(EAGER_AFTER_NEWS));
            self.next_ask = self.next_ask.min(self.now.saturating_add(EAGER_ASK_INTERVAL));
        }
    }

    /// Of too many, the one goes that has been silent for longest; not one that is heard.
    fn makes_room_for(&mut self, address: IpAddr) -> bool {
        if self.confirmed.contains_key(&address) || self.count() < MAX_CONTACTS {
            return true;
        }
        let silent =
            self.confirmed.iter().filter(|(_, contact)| contact.heard.saturating_add(LATELY) <= self.now);
        let longest = silent.min_by_key(|(_, contact)| contact.heard).map(|(address, _)| *address);
        longest.is_some_and(|longest| self.confirmed.remove(&longest).is_some())
    }

    fn count(&self) -> usize {
        let unheard = self.settings.peers.iter().filter(|peer| !self.confirmed.contains_key(peer));
        self.confirmed.len() + unheard.count()
    }

    /// Whether another node can be there.
    ///
    /// # Errors
    /// Says why not.
    pub fn check(&self, address: IpAddr) -> Result<(), Refused> {
        match address {
            own if own == self.settings.own => Err(Refused::Own),
            other if other.is_ipv6() != self.settings.own.is_ipv6() => Err(Refused::Version),
            vip if self.settings.never.contains(&vip) => Err(Refused::Vip),
            other if !is_unicast(other) => Err(Refused::NotUnicast),
            _ => Ok(()),
        }
    }

    /// What goes to all nodes goes to these as well.
    fn to_reach(&self) -> Vec<IpAddr> {
        let peers = self.settings.peers.iter().filter(|peer| **peer != self.settings.own);
        let all: BTreeSet<IpAddr> = peers.chain(self.confirmed.keys()).copied().collect();
        all.into_iter().filter(|address| !self.is_heard_by_group(*address)).collect()
    }

    fn tell_reached(&mut self) {
        let reached = self.to_reach();
        if reached == self.reached {
            return;
        }
        let news: Vec<_> =
            reached.iter().filter(|address| !self.reached.contains(address)).copied().collect();
        self.reached.clone_from(&reached);
        self.actions.push_back(Action::Reach(reached));
        // At once, so that it need not wait for the next Hello to all.
        self.actions.extend(news.into_iter().map(Action::Greet));
    }

    fn greet(&mut self) {
        for (address, hint) in &mut self.hinted {
            if hint.next_greeting <= self.now {
                hint.next_greeting = self.now.saturating_add(GREETING_INTERVAL);
                self.actions.push_back(Action::Greet(*address));
            }
        }
    }

    /// Asks, if it is time: each of those that have not been heard, while that is urgent, and one contact in turn; later one
    /// of all in turn, so that the traffic does not grow with the cluster.
    fn ask(&mut self) {
        if self.now < self.next_ask {
            return;
        }
        let is_eager = self.now < self.eager_until || !self.asked.is_empty();
        let urgent: Vec<IpAddr> = match is_eager || self.confirmed.is_empty() {
            true => self.unheard().collect(),
            false => Vec::new(),
        };
        let in_turn = || self.to_ask().filter(|address| !urgent.contains(address));
        let next = in_turn().filter(|address| Some(*address) > self.turn).min().or_else(|| in_turn().min());
        self.turn = next.or(self.turn);
        self.actions.extend(urgent.into_iter().chain(next).map(Action::Ask));
        let interval = if is_eager { EAGER_ASK_INTERVAL } else { ASK_INTERVAL };
        self.next_ask = self.now.saturating_add(interval);
    }

    fn to_ask(&self) -> impl Iterator<Item = IpAddr> {
        let confirmed = self.confirmed.keys().copied();
        self.unheard().chain(confirmed.filter(|address| !self.is_heard_by_group(*address)))
    }

    /// Addresses that operators have named, and that no contact has.
    fn unheard(&self) -> impl Iterator<Item = IpAddr> {
        let is_heard =
            |address: &IpAddr| self.confirmed.contains_key(address) || self.is_heard_by_group(*address);
        let named: BTreeSet<IpAddr> = self.seeds().chain(self.asked.keys().copied()).collect();
        named.into_iter().filter(move |address| self.check(*address).is_ok() && !is_heard(address))
    }

    fn seeds(&self) -> impl Iterator<Item = IpAddr> {
        self.settings.peers.iter().chain(&self.settings.join).copied()
    }
}

fn is_unicast(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !address.is_multicast() && !address.is_unspecified() && !address.is_loopback() && !broadcast
}

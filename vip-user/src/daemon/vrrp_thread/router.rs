//! One virtual router as the thread has it: which adverts are its own, what is done about them, and what its own look like.

use std::io;
use std::net::IpAddr;
use std::num::NonZeroU8;

use tracing::warn;
use vip_common::vrrp::{
    Addresses, Advert as Message, Arrival, Auth, Centiseconds, Content, Family, List, MAX_LEN, Path, Version,
    Vrid,
};

use super::super::control_plane::nanoseconds;
use super::plan::{Part, Plan};
use crate::config::VirtualRouter;
use crate::pace::Pace;
use crate::vrrp::{Action, Advert, Hearing, Instance, Objection, Presence, Timers};
use crate::vrrp_link::{self, Link};

const SECOND: u64 = 1_000_000_000;
/// Between two warnings about one virtual router, in ns: what is configured wrongly stays so.
const WARN_EVERY: u64 = 60 * SECOND;

pub(super) struct Router {
    plan: Plan,
    machine: Machine,
    /// The advert that was sent last, to be sent again.
    written: Option<Written>,
    /// Why the last advert that could not be sent was not.
    failure: String,
    pace: Pace,
}

enum Machine {
    Listens(Hearing),
    /// It has been started, or not yet.
    Runs(Box<Instance>),
    /// It was never told its settings.
    Rests,
}

/// An advert as it goes out.
struct Written {
    priority: u8,
    interval: u64,
    source: IpAddr,
    /// The whole frame for all routers, or the message for each peer.
    bytes: Vec<(Option<Path>, Vec<u8>)>,
}

impl Router {
    /// One of which nothing is known yet.
    pub(super) fn new(plan: &Plan, now: u64) -> Self {
        let machine = match plan.part {
            Part::Listens { priority } => Machine::Listens(listening(plan, priority, now)),
            Part::Rests => Machine::Rests,
            Part::Runs(settings) => Machine::Runs(Box::new(Instance::new(settings))),
        };
        if plan.router.password.is_some() {
            warn!(group = %plan.name, "auth = \"text\": every advert shows the password; it protects from mistakes alone");
        }
        Self {
            plan: plan.clone(),
            machine,
            written: None,
            failure: String::new(),
            pace: Pace::new(0, WARN_EVERY),
        }
    }

    /// Whether the plan is one for this virtual router, and not for another one in its place.
    pub(super) fn is_of(&self, plan: &Plan) -> bool {
        let listens = |part: &Part| matches!(part, Part::Listens { .. });
        plan.slot == self.plan.slot
            && (plan.interface, plan.family(), plan.router.vrid) == self.key()
            && plan.router.version == self.plan.router.version
            && listens(&plan.part) == listens(&self.plan.part)
    }

    /// The index of the interface, family and number.
    pub(super) fn key(&self) -> (u32, Family, Vrid) {
        (self.plan.interface, self.plan.family(), self.plan.router.vrid)
    }

    pub(super) const fn slot(&self) -> u32 {
        self.plan.slot
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        match &self.machine {
            Machine::Listens(hearing) => hearing.next_deadline(),
            Machine::Runs(instance) => instance.next_deadline(),
            Machine::Rests => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: u64) {
        match &mut self.machine {
            Machine::Listens(hearing) => hearing.handle_timeout(now),
            Machine::Runs(instance) => instance.handle_timeout(now),
            Machine::Rests => {}
        }
    }

    pub(super) fn poll_action(&mut self) -> Option<Action> {
        match &mut self.machine {
            Machine::Runs(instance) => instance.poll_action(),
            Machine::Listens(_) | Machine::Rests => None,
        }
    }

    /// What is heard of it, where this node only listens.
    pub(super) const fn presence(&self) -> Option<Presence> {
        match &self.machine {
            Machine::Listens(hearing) => Some(hearing.presence()),
            Machine::Runs(_) | Machine::Rests => None,
        }
    }

    /// Nothing is known of a virtual router that nobody has listened to until now.
    pub(super) fn listen_anew(&mut self, now: u64) {
        if let Part::Listens { priority } = self.plan.part {
            self.machine = Machine::Listens(listening(&self.plan, priority, now));
        }
    }

    /// It cannot be listened to.
    pub(super) fn not_heard(&mut self, error: &io::Error, now: u64) {
        self.warn(now, &format!("not heard, and so this node stands back: {error}"));
        self.listen_anew(now);
    }

    /// It is to be as planned; `word`: until when the data plane serves its group.
    pub(super) fn follow(&mut self, plan: Plan, word: u64, now: u64) {
        match (&mut self.machine, plan.part) {
            (Machine::Runs(instance), Part::Runs(settings)) => {
                instance.set(settings, now);
                instance.start(word, now);
            }
            (Machine::Rests, Part::Runs(settings)) => {
                let mut instance = Instance::new(settings);
                instance.start(word, now);
                self.machine = Machine::Runs(Box::new(instance));
            }
            (Machine::Runs(instance), Part::Rests) => instance.shut_down(),
            (_, Part::Listens { .. } | Part::Rests) | (Machine::Listens(_), Part::Runs(_)) => {}
        }
        let is_sent_alike = plan.mac == self.plan.mac
            && plan.addresses == self.plan.addresses
            && plan.router == self.plan.router;
        if !is_sent_alike {
            self.written = None;
        }
        self.plan = plan;
    }

    pub(super) fn shut_down(&mut self) {
        if let Machine::Runs(instance) = &mut self.machine {
            instance.shut_down();
        }
    }

    pub(super) fn sent(&mut self, until: u64) {
        if let Machine::Runs(instance) = &mut self.machine {
            instance.sent(until);
        }
    }

    pub(super) fn not_sent(&mut self, error: &io::Error, now: u64) {
        self.failure = error.to_string();
        self.warn(now, &format!("an advert could not be sent: {error}"));
        if let Machine::Runs(instance) = &mut self.machine {
            instance.not_sent(now);
        }
    }

    /// Why the last advert that could not be sent was not.
    pub(super) fn failure(&self) -> &str {
        &self.failure
    }

    /// A valid advert of its number has come (RFC 9568, section 7.1, has what else is to be looked at).
    pub(super) fn hear(&mut self, arrival: &Arrival, message: &Message<'_>, now: u64) {
        let objection = self.objection(arrival, message);
        let source = arrival.path.source();
        if let Some(why) = objection {
            return self.warn(now, &format!("adverts of {source} do not count: {why}"));
        }
        if message.priority > 0 && !has_addresses(message, &self.plan.addresses) {
            self.warn(now, &format!("{source} advertises other addresses than this node: make them equal"));
        }
        let interval = nanoseconds(message.interval());
        let advert = Advert { source, priority: message.priority, interval };
        let heard = match &mut self.machine {
            Machine::Listens(hearing) => {
                hearing.handle_advert(advert, now);
                Ok(())
            }
            Machine::Runs(instance) => instance.handle_advert(advert, now),
            Machine::Rests => Ok(()),
        };
        match heard {
            Ok(()) => {}
            Err(Objection::Owner) => self.warn(
                now,
                &format!("{source} is active, too, and this node owns the addresses (priority 255): one of the two is wrong"),
            ),
            Err(Objection::Interval(other)) => self.warn(
                now,
                &format!(
                    "adverts of {source} do not count: it sends one every {} s, and in version 2 all have the same interval",
                    other / SECOND
                ),
            ),
        }
    }

    /// Why a valid advert is not for this virtual router.
    fn objection(&self, arrival: &Arrival, message: &Message<'_>) -> Option<String> {
        let VirtualRouter { version, unicast_peers, .. } = &self.plan.router;
        if message.version() != *version {
            return Some(format!(
                "they are of version {}, and this node's of version {}",
                message.version() as u8,
                *version as u8
            ));
        }
        let is_expected = match unicast_peers.is_empty() {
            true => arrival.path.destination().is_multicast(),
            false => unicast_peers.contains(&arrival.path.source()),
        };
        if !is_expected {
            return Some(match unicast_peers.is_empty() {
                true => "they are for this node alone, and unicast_peers does not name it".to_owned(),
                false => "unicast_peers does not name it".to_owned(),
            });
        }
        match message.content {
            Content::V2 { auth, .. } if auth != self.auth() => {
                Some("their authentication is not this node's (auth, auth_password_file)".to_owned())
            }
            Content::V2 { .. } | Content::V3 { .. } => None,
        }
    }

    fn auth(&self) -> Auth {
        self.plan.router.password.map_or(Auth::None, |password| Auth::Text(password.0))
    }

    fn warn(&mut self, now: u64, text: &str) {
        if self.pace.allows(now) {
            warn!(group = %self.plan.name, "{text}");
        }
    }

    /// Sends an advert to all, or to each peer.
    ///
    /// # Errors
    /// The kernel's, if it went to nobody.
    pub(super) fn send(&mut self, priority: u8, link: &mut Link) -> io::Result<()> {
        let Machine::Runs(instance) = &self.machine else { return Ok(()) };
        let settings = instance.settings();
        let (interval, source) = (settings.interval, settings.source);
        let is_fresh = |written: &Written| {
            (written.priority, written.interval, written.source) == (priority, interval, source)
        };
        if !self.written.as_ref().is_some_and(is_fresh) {
            let bytes = self
                .write(priority, interval, source)
                .ok_or_else(|| io::Error::other("it cannot be written"))?;
            self.written = Some(Written { priority, interval, source, bytes });
        }
        let written = self.written.iter().flat_map(|written| &written.bytes);
        let mut result = Err(io::Error::other("it goes to nobody"));
        for (path, bytes) in written {
            let sent = match path {
                None => link.send_frame(bytes),
                Some(path) => link.send_to(bytes, path),
            };
            if result.is_err() {
                result = sent;
            }
        }
        result
    }

    fn write(&self, priority: u8, interval: u64, source: IpAddr) -> Option<Vec<(Option<Path>, Vec<u8>)>> {
        let mut buffer = [0; MAX_LEN];
        let mut message = |destination| {
            let path = path(source, destination)?;
            Some((path, self.message(priority, interval, &path, &mut buffer)?))
        };
        let peers = &self.plan.router.unicast_peers;
        if peers.is_empty() {
            let (path, message) = message(vrrp_link::group(self.plan.family()))?;
            return Some(vec![(None, vrrp_link::frame(self.plan.mac, &path, &message))]);
        }
        peers.iter().map(|peer| message(*peer).map(|(path, message)| (Some(path), message))).collect()
    }

    fn message(
        &self,
        priority: u8,
        interval: u64,
        path: &Path,
        buffer: &mut [u8; MAX_LEN],
    ) -> Option<Vec<u8>> {
        let Plan { addresses, router, .. } = &self.plan;
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for address in addresses {
            match address {
                IpAddr::V4(address) => ipv4.push(address.octets()),
                IpAddr::V6(address) => ipv6.push(address.octets()),
            }
        }
        let content = match router.version {
            Version::V2 => Content::V2 {
                interval: NonZeroU8::new(u8::try_from(interval / SECOND).ok()?)?,
                auth: self.auth(),
                addresses: List::new(&ipv4)?,
            },
            Version::V3 => Content::V3 {
                interval: Centiseconds::new(u16::try_from(interval / (SECOND / 100)).ok()?)?,
                addresses: match path.family() {
                    Family::V4 => Addresses::V4(List::new(&ipv4)?),
                    Family::V6 => Addresses::V6(List::new(&ipv6)?),
                },
            },
        };
        let advert = Message { vrid: router.vrid, priority, content };
        advert.write(path, buffer).map(<[u8]>::to_vec)
    }
}

fn listening(plan: &Plan, priority: u8, now: u64) -> Hearing {
    let timers = Timers { version: plan.router.version, priority };
    Hearing::new(timers, nanoseconds(plan.router.advert_interval), now)
}

fn path(source: IpAddr, destination: IpAddr) -> Option<Path> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Path::V4 { source, destination }),
        (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Path::V6 { source, destination }),
        _ => None,
    }
}

/// Whether the advert names these addresses, in whatever order.
fn has_addresses(message: &Message<'_>, addresses: &[IpAddr]) -> bool {
    let listed: Vec<IpAddr> = match message.addresses() {
        Addresses::V4(list) => list.get().iter().map(|address| IpAddr::from(*address)).collect(),
        Addresses::V6(list) => list.get().iter().map(|address| IpAddr::from(*address)).collect(),
    };
    listed.len() == addresses.len() && listed.iter().all(|address| addresses.contains(address))
}

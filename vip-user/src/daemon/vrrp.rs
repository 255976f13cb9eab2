//! VRRP as the control plane has it: what the thread is told of each virtual router, and what is made of what it says.
//!
//! A group of VRRP has its place in the data plane as every group has, and no election: its word is the VRRP thread's promise. A
//! group of the lease may heed a virtual router of the same addresses: while one is active, this node neither stands nor holds.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};
use vip_common::lease::Ballot;
use vip_common::vrrp::Family;

use super::control_plane::{ControlPlane, nanoseconds};
use super::fitness::Duty;
use super::groups::Group;
use super::slots::virtual_mac_of;
use super::vrrp_thread::{Part, Plan, Report, Said, VrrpThread};
use crate::announce::Announcer;
use crate::config::{self, Presence as AddressPresence};
use crate::dataplane::Words;
use crate::election::{self, State};
use crate::journal::{Happening, Kind};
use crate::netlink::Interface;
use crate::vrrp::{Action, Demotion, Master, Presence, Settings};

/// The thread, once there is something for it to do.
#[derive(Debug)]
pub(super) struct VrrpSide {
    words: Words,
    announcers: Vec<Arc<Announcer>>,
    reports: mpsc::Sender<Report>,
    thread: Option<VrrpThread>,
    planned: Vec<Plan>,
}

impl VrrpSide {
    /// Without a thread yet. Gives where its reports come out.
    pub(super) fn new(words: Words, announcers: Vec<Arc<Announcer>>) -> (Self, mpsc::Receiver<Report>) {
        let (reports, outbox) = VrrpThread::reports();
        (Self { words, announcers, reports, thread: None, planned: Vec::new() }, outbox)
    }

    /// Announces by these from now on. To be told before the lease thread is, which then has the former ones last: their end takes
    /// time.
    pub(super) fn announce_by(&mut self, announcers: Vec<Arc<Announcer>>) {
        if let Some(thread) = &self.thread {
            thread.announce_by(announcers.clone());
        }
        self.announcers = announcers;
    }

    /// Whether the thread has ended, which nobody has asked for.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_some_and(VrrpThread::has_ended)
    }

    /// What there is to be stopped.
    pub(super) const fn take_thread(&mut self) -> Option<VrrpThread> {
        self.thread.take()
    }

    /// Tells the thread what has changed; what this gives is told when it has done that.
    fn plan(&mut self, plans: Vec<Plan>, interfaces: Vec<Interface>) -> Option<oneshot::Receiver<()>> {
        if plans == self.planned {
            return None;
        }
        if self.thread.is_none() {
            match VrrpThread::spawn(self.words.clone(), self.announcers.clone(), self.reports.clone()) {
                Ok(thread) => self.thread = Some(thread),
                Err(error) => {
                    error!("no VRRP is spoken: {error}");
                    return None;
                }
            }
        }
        self.planned.clone_from(&plans);
        self.thread.as_ref().map(|thread| thread.plan(plans, interfaces))
    }
}

impl ControlPlane {
    /// Tells the VRRP thread how the virtual routers are to be now.
    pub(super) fn plan_vrrp(&mut self) {
        let plans = self.groups.iter().filter_map(|group| self.plan_of(group)).collect();
        let interfaces = self.interfaces.iter().cloned().collect();
        // Nobody waits for it.
        drop(self.vrrp.plan(plans, interfaces));
    }

    /// As [`Self::plan_vrrp`], without groups that leave; what this gives is told when the thread has parted with them.
    pub(super) fn part_with_vrrp(&mut self) -> Option<oneshot::Receiver<()>> {
        let stay = self.groups.iter().filter(|group| !group.is_leaving);
        let plans = stay.filter_map(|group| self.plan_of(group)).collect();
        let interfaces = self.interfaces.iter().cloned().collect();
        self.vrrp.plan(plans, interfaces)
    }

    fn plan_of(&self, group: &Group) -> Option<Plan> {
        let settings = &group.settings;
        let router = settings.protocol.router()?.clone();
        let first = settings.vips.first()?;
        let interface = self.interfaces.of(first);
        let part = match self.source_of(settings) {
            _ if settings.protocol.runs().is_none() => Part::Listens { priority: group.fitness.priority },
            Some(source) if self.membership.stays() && group.fitness.duty == Duty::Serve => {
                Part::Runs(Settings {
                    version: router.version,
                    priority: group.fitness.priority,
                    interval: nanoseconds(router.advert_interval),
                    preempt: settings.preempt,
                    preempt_delay: nanoseconds(settings.preempt_delay),
                    source,
                })
            }
            _ => Part::Rests,
        };
        let family = if first.address.is_ipv4() { Family::V4 } else { Family::V6 };
        let mac = if settings.virtual_mac { router.vrid.virtual_mac(family) } else { interface.mac };
        let addresses = settings.vips.iter().map(|vip| vip.address).collect();
        let interface = interface.index;
        Some(Plan { slot: group.slot, name: settings.name.clone(), interface, router, addresses, mac, part })
    }

    /// Where this node's adverts for a group come from: the primary address of IPv4, the link-local one of IPv6 (RFC 9568,
    /// sections 5.1.1.1 and 5.1.2.1). Routers that are reached by other addresses of IPv6 are sent to from such a one.
    pub(super) fn source_of(&self, group: &config::Group) -> Option<IpAddr> {
        let first = group.vips.first()?;
        let interface = self.interfaces.of(first);
        let peers = group.protocol.router().map_or(&[][..], |router| &router.unicast_peers);
        let wants_link_local = first.address.is_ipv6() && peers.iter().copied().all(config::is_link_local);
        let mut addresses = interface.addresses.iter().map(|(address, _)| *address);
        addresses.find(|address| {
            address.is_ipv4() == first.address.is_ipv4()
                && config::is_link_local(*address) == wants_link_local
                && !interface.tentative.contains(address)
        })
    }

    /// The VRRP thread has something to tell.
    pub(super) fn handle_vrrp(&mut self, report: Report) {
        let Report { slot, said } = report;
        match said {
            Said::Router(Action::Promoted { resumed }) => self.vrrp_promoted(slot, resumed),
            Said::Router(Action::Demoted(reason)) => self.vrrp_demoted(slot, reason),
            Said::Router(Action::Follows(master)) => self.vrrp_follows(slot, master),
            Said::Router(Action::Disarm | Action::Advertise { .. } | Action::Mute(_)) => {}
            Said::Mute(why) => self.vrrp_mute(slot, why),
            Said::Heard(presence) => self.vrrp_heard(slot, presence),
        }
    }

    fn vrrp_promoted(&mut self, slot: u32, resumed: bool) {
        let Some(group) = self.groups.iter_mut().find(|group| group.slot == slot) else { return };
        group.part = State::Holder;
        group.is_served = true;
        group.figures.note(election::Action::Promoted(Ballot::default()));
        self.presence_changed |= group.settings.presence == AddressPresence::Held;
        let name = &group.settings.name;
        let (priority, vrid) = (group.fitness.priority, vrid(group));
        let text = match resumed {
            true => format!("this node goes on as master of virtual router {vrid}"),
            false => format!("this node is master now: virtual router {vrid}, priority {priority}"),
        };
        self.journal.tell(Happening::new(Kind::Promoted, text).group(name));
        self.tell_of_election(slot, election::Action::Promoted(Ballot::default()));
        self.order_eligibility();
        self.tell_states();
    }

    fn vrrp_demoted(&mut self, slot: u32, reason: Demotion) {
        let Some(group) = self.groups.iter_mut().find(|group| group.slot == slot) else { return };
        let as_said = match reason {
            Demotion::Lapsed => election::Demotion::Lapsed,
            Demotion::Outranked(_) | Demotion::ShutDown => election::Demotion::Released,
        };
        group.part = State::Follower;
        group.is_served &= reason == Demotion::Lapsed;
        group.figures.note(election::Action::Demoted(as_said));
        self.presence_changed |= group.settings.presence == AddressPresence::Held;
        let text = match reason {
            Demotion::Outranked(Master { address, priority }) => {
                format!("{address} is, with priority {priority}")
            }
            Demotion::Lapsed => {
                "no advert could be sent for so long that others may have taken over".to_owned()
            }
            Demotion::ShutDown => "it has given up".to_owned(),
        };
        let text = format!("this node is not master any more: {text}");
        let what = match reason {
            Demotion::Lapsed => Happening::warning(Kind::Demoted, text),
            Demotion::Outranked(_) | Demotion::ShutDown => Happening::new(Kind::Demoted, text),
        };
        self.journal.tell(what.group(&group.settings.name));
        self.tell_of_election(slot, election::Action::Demoted(as_said));
        self.tell_states();
    }

    fn vrrp_follows(&mut self, slot: u32, master: Option<Master>) {
        let Some(group) = self.groups.iter_mut().find(|group| group.slot == slot) else { return };
        let before = std::mem::replace(&mut group.vrrp_master, master);
        let Some(Master { address, priority }) = master else { return };
        if before.map(|before| before.address) == Some(address) {
            return;
        }
        let text = format!("{address} is master of virtual router {}, with priority {priority}", vrid(group));
        self.journal
            .tell(Happening::new(Kind::Holder, text).group(&group.settings.name).node(address.to_string()));
    }

    /// This node cannot be master for this reason; none: it is not to be, or is.
    fn vrrp_mute(&mut self, slot: u32, why: Option<String>) {
        let Some(group) = self.groups.iter_mut().find(|group| group.slot == slot) else { return };
        group.is_mute = why.is_some();
        let vrid = vrid(group);
        let what = match why {
            Some(why) => Happening::warning(
                Kind::Interface,
                format!("this node cannot be master: adverts of virtual router {vrid} cannot be sent: {why}"),
            ),
            None => Happening::new(
                Kind::Interface,
                format!("adverts of virtual router {vrid} are sent again, or need not be"),
            ),
        };
        self.journal.tell(what.group(&group.settings.name));
        self.tell_states();
    }

    /// A group of the lease hears the virtual router that it heeds.
    fn vrrp_heard(&mut self, slot: u32, presence: Presence) {
        let Some(group) = self.groups.iter_mut().find(|group| group.slot == slot) else { return };
        let before = group.heard.replace(presence);
        let (name, vrid) = (&group.settings.name, vrid(group));
        let is_active = |presence| matches!(presence, Some(Presence::Active(_)));
        match presence {
            Presence::Active(Master { address, .. }) if !is_active(before) => {
                warn!(group = %name, "{address} is active in virtual router {vrid}: this node stands back");
            }
            Presence::Silent if is_active(before) => {
                info!(group = %name, "nobody is active in virtual router {vrid} any more: the lease decides");
            }
            Presence::Active(_) | Presence::Silent | Presence::Unknown => {}
        }
        self.order_eligibility();
        self.settle();
        self.tell_states();
    }
}

/// The number of a group's virtual router; 0: it has none.
fn vrid(group: &Group) -> u8 {
    group.settings.protocol.router().map_or(0, |router| router.vrid.get())
}

/// What tells apart two groups of one name which a reload cannot make one of the other.
pub(super) fn kind(cluster: u32, group: &config::Group) -> impl PartialEq {
    let router = group.protocol.runs().map(|router| (router.vrid, router.version));
    (router, virtual_mac_of(cluster, group))
}

//! The tee, as the control plane looks after it: which ports are teed, and which nodes are sent copies. Who copies what, and who
//! lets it in, is decided in the data plane.

use std::collections::{BTreeMap, BTreeSet};

use tracing::{info, warn};
use vip_common::maps::{Peer, mac_number};

use super::control_plane::ControlPlane;
use super::plane::ControlSide;
use crate::clock;
use crate::config::{Settings, Tee};
use crate::dataplane::{self, Pins, Tables};
use crate::exit::Failure;
use crate::membership::FAILED_AFTER;
use crate::status::TeeStatus;

/// What the control plane keeps for it.
#[derive(Debug)]
pub(super) struct TeeSide {
    /// Why nothing is teed, where something is to be.
    pub(super) fault: Option<String>,
    /// Until when a standby of a former run stays one without having been heard by this one, in CLOCK_BOOTTIME ns: a restart
    /// interrupts no copies.
    patient_until: u64,
}

impl TeeSide {
    pub(super) fn new(fault: Option<String>) -> Self {
        Self { fault, patient_until: clock::now().saturating_add(FAILED_AFTER) }
    }
}

/// Tees at the start what the configuration has teed; `slot_of` knows the groups. Gives why that cannot be, if it cannot.
///
/// # Errors
/// The maps', and what a former run has left cannot be removed.
pub(super) fn begin(
    settings: &Settings,
    tables: &mut Tables,
    is_resumed: bool,
    egress_fence: bool,
    slot_of: impl Fn(&str) -> Option<u32>,
) -> Result<Option<String>, dataplane::Error> {
    let (pins, iface) = (Pins::new(&settings.paths.bpffs), &settings.node.iface);
    let fault = match (settings.tees.is_empty(), egress_fence) {
        (true, _) => None,
        (false, false) => {
            Some("there is no egress fence, and clients would get all standbys' answers".to_owned())
        }
        (false, true) if is_resumed && pins.tee(iface).exists() => None,
        (false, true) => dataplane::attach_tee(&pins, iface).err().map(|error| error.to_string()),
    };
    let tees = if fault.is_none() { settings.tees.as_slice() } else { &[] };
    tables.set_tees(&places(tees, slot_of))?;
    if tees.is_empty() {
        dataplane::remove_tee(iface, &pins.tee(iface))?;
    }
    Ok(fault)
}

/// As the data plane has them.
fn places(tees: &[Tee], slot_of: impl Fn(&str) -> Option<u32>) -> BTreeSet<(u32, u16)> {
    tees.iter().filter_map(|tee| Some((slot_of(&tee.group)?, tee.port))).collect()
}

impl ControlPlane {
    /// Where the program that copies has to be, or need not be any more, when the daemon goes on with other settings.
    pub(super) fn tee_place(&self) -> (Pins, String) {
        (Pins::new(&self.settings.paths.bpffs), self.settings.node.iface.clone())
    }

    /// Whether what is to be teed can be.
    ///
    /// # Errors
    /// Without an egress fence.
    pub(super) fn check_tees(&self, new: &Settings) -> Result<(), Failure> {
        if new.tees.is_empty() || self.egress_fence {
            return Ok(());
        }
        Err(Failure::refused(
            "a tee takes the egress fence, which there is none of here, so nothing has been changed"
                .to_owned(),
        ))
    }

    /// Tees nothing but what is teed now and by other settings as well: slots are about to change hands.
    pub(super) fn drop_tees_but_of(&mut self, new: &Settings) -> Result<(), dataplane::Error> {
        let stay: Vec<_> = self.settings.tees.iter().filter(|tee| new.tees.contains(tee)).cloned().collect();
        self.set_tees(&stay)
    }

    /// Tees what the settings say, as of now.
    ///
    /// # Errors
    /// The maps'.
    pub(super) fn follow_tees(&mut self) -> Result<(), dataplane::Error> {
        self.tee.fault = None;
        let tees = self.settings.tees.clone();
        self.set_tees(&tees)?;
        self.list_standbys();
        Ok(())
    }

    fn set_tees(&mut self, tees: &[Tee]) -> Result<(), dataplane::Error> {
        let wanted = places(tees, |name| self.slot_of(name));
        match &mut self.plane {
            ControlSide::Xdp(tables) => tables.set_tees(&wanted),
            ControlSide::Process { .. } => Ok(()),
        }
    }

    fn slot_of(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|group| group.settings.name == name).map(|group| group.slot)
    }

    /// Has the data plane send copies to the nodes that may hold the groups next: voters that live, are no witnesses, and have
    /// the group, where they were heard last.
    pub(super) fn list_standbys(&mut self) {
        if self.settings.tees.is_empty() || self.tee.fault.is_some() {
            return;
        }
        let peers = match self.plane.peers() {
            Ok(peers) => peers,
            Err(error) => return warn!("{error}"),
        };
        let is_patient = clock::now() < self.tee.patient_until;
        let heard: BTreeSet<u16> = self.membership.members().map(|member| member.id).collect();
        let names: BTreeSet<&str> = self.settings.tees.iter().map(|tee| tee.group.as_str()).collect();
        let groups = self.groups.iter().filter(|group| names.contains(group.settings.name.as_str()));
        let groups: Vec<_> = groups.map(|group| (group.slot, self.standbys_of(group.id))).collect();
        let ControlSide::Xdp(tables) = &mut self.plane else { return };
        for (slot, standbys) in groups {
            let before = tables.standbys(slot);
            let stays = |(id, peer): (&u16, &Peer)| {
                standbys.contains(id)
                    || is_patient && !heard.contains(id) && before.contains(&mac_number(peer.mac))
            };
            let macs = peers.iter().filter(|(id, peer)| stays((id, peer))).map(|(_, peer)| peer.mac);
            tables.set_standbys(slot, macs);
            let now = tables.standbys(slot);
            if now != before {
                info!(slot, "copies go to {} standbys (before: {})", now.len(), before.len());
            }
        }
    }

    fn standbys_of(&self, group: u32) -> BTreeSet<u16> {
        let candidates = self.membership.candidates().filter(|member| member.id != self.id);
        let have_it = candidates.filter(|member| {
            member.hello.priority > 0 && member.hello.groups.iter().any(|offer| offer.group == group)
        });
        have_it.map(|member| member.id).collect()
    }

    /// What `status` shows of it.
    pub(super) fn tee_status(&self) -> Vec<TeeStatus> {
        let ControlSide::Xdp(tables) = &self.plane else { return Vec::new() };
        let peers = self.plane.peers().unwrap_or_default();
        let names: BTreeMap<u64, String> =
            peers.iter().map(|(id, peer)| (mac_number(peer.mac), self.name_of(*id))).collect();
        let status = |tee: &Tee| {
            let slot = self.slot_of(&tee.group)?;
            let counts = tables.tee_counts(slot, tee.port).unwrap_or_default();
            let standbys = tables.standbys(slot).into_iter().filter_map(|mac| names.get(&mac).cloned());
            Some(TeeStatus {
                group: tee.group.clone(),
                port: tee.port,
                protocol: "udp".to_owned(),
                fault: self.tee.fault.clone(),
                standbys: if counts.is_some() { standbys.collect() } else { Vec::new() },
                copied: counts.map_or(0, |counts| counts.copied),
                failed: counts.map_or(0, |counts| counts.failed),
                admitted: counts.map_or(0, |counts| counts.admitted),
            })
        };
        self.settings.tees.iter().filter_map(status).collect()
    }
}

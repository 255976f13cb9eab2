//! What an instance says of VRRP itself: of use where this machine is to be a router beside those that keepalived runs.

use std::net::IpAddr;
use std::time::Duration;

use super::super::model::{Group, Router};
use super::super::remark::Fate;
use super::super::tree::Directive;
use super::instance::Instance;
use super::{Reader, seconds};
use crate::config::{Vip, is_link_local};

/// keepalived's, where `version` and `vrrp_version` are missing.
const DEFAULT_VERSION: u8 = 2;
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    pub(super) vrid: Option<u8>,
    pub(super) version: Option<u8>,
    interval: Option<Duration>,
    peers: Vec<IpAddr>,
    has_password: bool,
}

impl Spoken {
    pub(super) fn add_peer(&mut self, peer: IpAddr) {
        if !self.peers.contains(&peer) {
            self.peers.push(peer);
        }
    }
}

impl Reader {
    /// `vrrp_version`, and `version` of an instance.
    pub(super) fn read_version(&mut self, item: &Directive, text: &str) -> Option<u8> {
        let version = text.parse().ok().filter(|version| [2, 3].contains(version));
        match version {
            Some(_) => self.carried(item),
            None => {
                self.remark(item, Fate::Left, format!("is neither 2 nor 3; {DEFAULT_VERSION} is assumed"))
            }
        }
        version
    }

    pub(super) fn read_interval(&mut self, spoken: &mut Spoken, item: &Directive, text: &str) {
        spoken.interval = seconds(text);
        match spoken.interval {
            Some(_) => self.carried(item),
            None => self.remark(item, Fate::Left, "is no number of seconds; 1 is assumed"),
        }
    }

    pub(super) fn read_authentication(&mut self, spoken: &mut Spoken, item: &Directive) {
        for line in item.items() {
            match (line.keyword(), line.value()) {
                ("auth_type", Some("AH")) => self.remark(line, Fate::Left, "is not done"),
                ("auth_type", _) => self.carried(line),
                ("auth_pass", Some(_)) => {
                    spoken.has_password = true;
                    self.remark(
                        line,
                        Fate::Changed,
                        "version 2: auth = \"text\"; put the password into the file that auth_password_file names, of mode 0600",
                    );
                }
                _ => self.remark(line, Fate::Left, "not a directive that is known here"),
            }
        }
    }

    /// Makes a group the virtual router that its instance is; one that can be none loses its VIPs, and the reason is told.
    pub(super) fn make_router(&mut self, instance: &Instance, group: &mut Group) {
        let Spoken { vrid, version, interval, peers, has_password } = &instance.spoken;
        let made = self.keep_to_one_kind(instance, &mut group.vips);
        let (Some(vrid @ 1..), Ok(is_ipv6)) = (*vrid, made) else {
            let why = made.err().unwrap_or("has no virtual_router_id from 1 to 255");
            self.remark(&instance.directive, Fate::Left, why);
            group.vips.clear();
            return;
        };
        let version = if is_ipv6 { 3 } else { version.or(self.version).unwrap_or(DEFAULT_VERSION) };
        let password_file =
            (*has_password && version == 2).then(|| format!("/etc/vip-user/{}.password", group.name));
        let interval = interval.unwrap_or(DEFAULT_INTERVAL);
        group.router = Some(Router { vrid, version, interval, peers: peers.clone(), password_file });
    }

    /// A virtual router has addresses of one family on one interface: those of its first one. Gives whether they are of IPv6.
    fn keep_to_one_kind(&mut self, instance: &Instance, vips: &mut Vec<Vip>) -> Result<bool, &'static str> {
        let Some(first) = vips.first().cloned() else { return Ok(false) };
        let is_alike = |vip: &Vip| vip.address.is_ipv4() == first.address.is_ipv4() && vip.dev == first.dev;
        for other in vips.extract_if(.., |vip| !is_alike(vip)) {
            let why = format!(
                "{other} is of another family than {first}, or elsewhere: make a group of its own for it"
            );
            self.remark(&instance.directive, Fate::Left, why);
        }
        vips.sort_by_key(|vip| !is_link_local(vip.address));
        match vips.first() {
            Some(first) if first.address.is_ipv6() && !is_link_local(first.address) => Err(
                "has no link-local address, which has to be its first one (RFC 9568, section 5.2.9): give it one on all machines, as in fe80::51/64",
            ),
            _ => Ok(first.address.is_ipv6()),
        }
    }
}

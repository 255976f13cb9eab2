//! The keys of a `[[group]]` that is a virtual router of VRRP: version 3 (RFC 9568) or version 2 (RFC 3768).

use std::{
    fmt, fs, io::Read as _, net::IpAddr, os::unix::fs::PermissionsExt as _, path::Path, time::Duration,
};

use vip_common::vrrp::{OWNER, Version, Vrid};

use super::{
    document::{Field, Section},
    duration::format_duration,
    open_at_once,
    vip::{Vip, not_unicast, not_unicast6},
};
use crate::exit::Failure;

/// Bytes of a simple password (RFC 2338, section 5.3.6.2).
const PASSWORD_LEN: usize = 8;
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
/// What an interval of version 3 is counted in (RFC 9568, section 5.2.7).
const CENTISECOND: Duration = Duration::from_millis(10);
const MAX_CENTISECONDS: u32 = 0xfff;
const MAX_SECONDS: u32 = 255;
/// Addresses that an advert of 1500 bytes has room for, and 8 bits can count.
const MAX_IPV4: usize = 255;
const MAX_IPV6: usize = 90;
/// As many as keepalived's users list.
const MAX_PEERS: usize = 64;
/// Keys that say something of a virtual router alone, but `vrid`.
const DETAILS: [&str; 6] =
    ["version", "advert_interval", "unicast_peers", "auth", "auth_password_file", "accept"];

/// How the nodes agree on who serves a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// By a majority's lease.
    Lease {
        /// While adverts of this virtual router are heard, the node stands back: a VRRP cluster is being moved.
        heeds: Option<VirtualRouter>,
    },
    /// By VRRP, without a majority.
    Vrrp(VirtualRouter),
}

impl Protocol {
    /// The virtual router that this node runs.
    #[must_use]
    pub const fn runs(&self) -> Option<&VirtualRouter> {
        match self {
            Self::Vrrp(router) => Some(router),
            Self::Lease { .. } => None,
        }
    }

    /// The virtual router that this node listens to.
    #[must_use]
    pub const fn router(&self) -> Option<&VirtualRouter> {
        match self {
            Self::Vrrp(router) => Some(router),
            Self::Lease { heeds } => heeds.as_ref(),
        }
    }

    /// As the key `protocol` has it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Lease { .. } => "lease",
            Self::Vrrp(_) => "vrrp",
        }
    }
}

/// A virtual router on one interface and of one family of addresses: those of its group's VIPs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualRouter {
    /// Its number on the segment.
    pub vrid: Vrid,
    /// The protocol's.
    pub version: Version,
    /// How often the active router advertises: 10 ms to 40.95 s in whole centiseconds; of version 2, 1 to 255 whole seconds.
    pub advert_interval: Duration,
    /// Where adverts go, and alone are taken from; none: the multicast group.
    pub unicast_peers: Vec<IpAddr>,
    /// Of version 2: what adverts carry, for all to read.
    pub password: Option<Password>,
}

/// The bytes that adverts of version 2 carry, which is no protection: whoever hears one has them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Password(pub [u8; PASSWORD_LEN]);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl Protocol {
    /// Reads the keys of a section.
    pub(super) fn read(section: &Section<'_>) -> Result<Self, Failure> {
        let field = section.field("protocol");
        let is_vrrp = match field.string()? {
            None | Some("lease") => false,
            Some("vrrp") => true,
            Some(other) => {
                return Err(field.refuse(format!("{other:?} is no protocol; use \"lease\" or \"vrrp\"")));
            }
        };
        let vrid = section.field("vrid").integer::<u8>(1..=255)?.and_then(Vrid::new);
        match (is_vrrp, vrid) {
            (true, None) => Err(section.field("vrid").refuse(
                "missing; a virtual router has a number from 1 to 255 that no other one on the segment has",
            )),
            (true, Some(vrid)) => Ok(Self::Vrrp(VirtualRouter::read(section, vrid)?)),
            (false, Some(vrid)) => Ok(Self::Lease { heeds: Some(VirtualRouter::read(section, vrid)?) }),
            (false, None) => {
                let given = DETAILS.into_iter().find(|key| section.field(key).is_present());
                match given {
                    Some(key) => Err(section
                        .field(key)
                        .refuse("says how VRRP is spoken; set protocol = \"vrrp\" as well")),
                    None => Ok(Self::Lease { heeds: None }),
                }
            }
        }
    }

    /// Whether a group can have these VIPs, and this node this priority, by this protocol.
    pub(super) fn check(&self, section: &Section<'_>, vips: &[Vip], priority: u8) -> Result<(), Failure> {
        let Some(router) = self.router() else { return Ok(()) };
        if matches!(self, Self::Vrrp(_)) && priority == 0 {
            return Err(section.field("priority").refuse(
                "0 is what a router says that stops; a virtual router's priority is from 1 to 255, \
                 and a witness has no part in VRRP",
            ));
        }
        let accept = section.field("accept");
        if accept.boolean()? == Some(false) && priority != OWNER {
            return Err(accept.refuse(
                "packets to a VIP are always taken in while this node serves it: remove the key, or keep them out by a firewall",
            ));
        }
        router.check_vips(&section.field("vips"), vips)?;
        if let (Self::Vrrp(_), Some(first)) = (self, vips.first()) {
            router.check_first(&section.field("vips"), first)?;
        }
        router.check_peers(&section.field("unicast_peers"), vips)
    }
}

impl VirtualRouter {
    fn read(section: &Section<'_>, vrid: Vrid) -> Result<Self, Failure> {
        let version = match section.field("version").integer::<u8>(2..=3)? {
            Some(2) => Version::V2,
            _ => Version::V3,
        };
        let field = section.field("advert_interval");
        let advert_interval = field.duration()?.unwrap_or(DEFAULT_INTERVAL);
        check_interval(advert_interval, version).map_err(|why| field.refuse(why))?;
        let unicast_peers = read_peers(&section.field("unicast_peers"))?;
        let password = read_password(section, version)?;
        Ok(Self { vrid, version, advert_interval, unicast_peers, password })
    }

    fn check_vips(&self, field: &Field<'_>, vips: &[Vip]) -> Result<(), Failure> {
        let Some(first) = vips.first() else {
            // Of a witness of the lease: nothing is heard there.
            return Ok(());
        };
        if let Some(other) = vips.iter().find(|vip| vip.address.is_ipv4() != first.address.is_ipv4()) {
            return Err(field.refuse(format!(
                "{first} and {other} are of two families, and a virtual router has addresses of one (RFC 9568, section 1): \
                 make two groups"
            )));
        }
        if let Some(other) = vips.iter().find(|vip| vip.dev != first.dev) {
            return Err(field.refuse(format!(
                "{first} and {other} lie on two interfaces, and a virtual router is on one: make two groups"
            )));
        }
        let most = if first.address.is_ipv4() { MAX_IPV4 } else { MAX_IPV6 };
        if vips.len() > most {
            return Err(field
                .refuse(format!("{} VIPs, and an advert has room for {most}: make two groups", vips.len())));
        }
        if first.address.is_ipv6() && self.version == Version::V2 {
            return Err(field.refuse(format!(
                "{first} is of IPv6, which version 2 of VRRP does not know: use version = 3"
            )));
        }
        Ok(())
    }

    fn check_first(&self, field: &Field<'_>, first: &Vip) -> Result<(), Failure> {
        match first.address {
            IpAddr::V6(address) if !address.is_unicast_link_local() => Err(field.refuse(format!(
                "{first} comes first, and that has to be the virtual router's link-local address (RFC 9568, section 5.2.9), \
                 as in vips = [\"fe80::{}/64\", \"{first}\"]",
                self.vrid
            ))),
            _ => Ok(()),
        }
    }

    fn check_peers(&self, field: &Field<'_>, vips: &[Vip]) -> Result<(), Failure> {
        let Some(first) = vips.first() else { return Ok(()) };
        let other = self.unicast_peers.iter().find(|peer| peer.is_ipv4() != first.address.is_ipv4());
        other.map_or(Ok(()), |peer| Err(field.refuse(format!("{peer} is not of the family of {first}"))))
    }
}

fn check_interval(interval: Duration, version: Version) -> Result<(), String> {
    let (unit, most, name) = match version {
        Version::V2 => (Duration::from_secs(1), MAX_SECONDS, "seconds"),
        Version::V3 => (CENTISECOND, MAX_CENTISECONDS, "hundredths of a second"),
    };
    let is_whole = interval.as_nanos().is_multiple_of(unit.as_nanos());
    if is_whole && (unit..=unit * most).contains(&interval) {
        return Ok(());
    }
    Err(format!(
        "{} cannot be said in an advert of version {}, which has whole {name}, from {} to {}",
        format_duration(interval),
        version as u8,
        format_duration(unit),
        format_duration(unit * most)
    ))
}

fn read_peers(field: &Field<'_>) -> Result<Vec<IpAddr>, Failure> {
    let Some(entries) = field.strings()? else { return Ok(Vec::new()) };
    if entries.is_empty() || entries.len() > MAX_PEERS {
        return Err(field.refuse(format!(
            "1 to {MAX_PEERS} addresses of the other routers; without the key, adverts go to all"
        )));
    }
    let mut peers = Vec::new();
    for (place, text) in entries {
        let peer: IpAddr = text.parse().map_err(|_| place.refuse(format!("{text:?} is no IP address")))?;
        let wrong = match peer {
            IpAddr::V4(peer) => not_unicast(peer),
            IpAddr::V6(peer) => not_unicast6(peer),
        };
        if let Some(kind) = wrong {
            return Err(place.refuse(format!("{peer} is {kind}, and no router's")));
        }
        if peers.contains(&peer) {
            return Err(place.refuse(format!("{peer} is there twice")));
        }
        peers.push(peer);
    }
    Ok(peers)
}

fn read_password(section: &Section<'_>, version: Version) -> Result<Option<Password>, Failure> {
    let (auth, file) = (section.field("auth"), section.field("auth_password_file"));
    match auth.string()? {
        None | Some("none") if file.is_present() => {
            Err(file.refuse("is used with auth = \"text\" alone; set that as well"))
        }
        None | Some("none") => Ok(None),
        Some("text") if version == Version::V3 => Err(auth.refuse(
            "version 3 of VRRP has no authentication (RFC 9568, section 9): remove the key, or use version = 2",
        )),
        Some("text") => {
            let path = file.string()?.ok_or_else(|| {
                file.refuse("missing; name the file that has the password, of at most 8 characters, and mode 0600")
            })?;
            password_in(Path::new(path)).map(Some).map_err(|why| file.refuse(format!("{path} {why}")))
        }
        Some(other) => Err(auth.refuse(format!("{other:?} is no authentication; use \"none\" or \"text\""))),
    }
}

/// The first line of the file, as keepalived has it on the wire: cut to eight bytes would be another one's, so longer ones are
/// refused.
fn password_in(path: &Path) -> Result<Password, String> {
    if !path.is_absolute() {
        return Err("is not an absolute path".to_owned());
    }
    let file = open_at_once(path).map_err(|error| format!("cannot be read: {error}"))?;
    let metadata: fs::Metadata = file.metadata().map_err(|error| format!("cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err("may be used by others than its owner: run `chmod 600` for it".to_owned());
    }
    let mut text = Vec::new();
    file.take(64).read_to_end(&mut text).map_err(|error| format!("cannot be read: {error}"))?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.is_empty() || line.len() > PASSWORD_LEN {
        return Err(format!(
            "has {} bytes in its first line; a password has 1 to {PASSWORD_LEN}",
            line.len()
        ));
    }
    let mut password = [0; PASSWORD_LEN];
    password.iter_mut().zip(line).for_each(|(to, from)| *to = *from);
    Ok(Password(password))
}

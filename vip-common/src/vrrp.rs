//! The advert of VRRP: version 3 (RFC 9568, before it RFC 5798), and version 2 (RFC 3768).
//!
//! An [`Advert`] is one that may be on the wire: what must not be cannot be written down. [`Header::check`] and [`adds_up`] are
//! the rules of RFC 9568, section 7.1, which the XDP program applies where the advert lies in the frame, and [`parse`] to what a
//! socket gave. Which virtual routers a node has, and what it does when it hears another one, is the daemon's to know.
//!
//! What a receiver has to find out, by socket: one of IPv4 (`SOCK_RAW`, protocol 112) gives whole packets, see
//! [`Arrival::of_ipv4`]; one of IPv6 gives the message alone, the hop limit with `IPV6_RECVHOPLIMIT` and the destination
//! with `IPV6_RECVPKTINFO`.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::num::NonZeroU8;
use core::time::Duration;

use crate::checksum::Sum;
use crate::wire::Be16;

/// The number of the protocol, in IPv4's header and as IPv6's next header (RFC 9568, sections 5.1.1.4 and 5.1.2.4).
pub const PROTOCOL: u8 = 112;
/// Time to live, or hop limit, that every advert is sent with, and must come with (sections 5.1.1.3 and 5.1.2.3).
pub const TTL: u8 = 255;
/// Where adverts go by IPv4 (section 5.1.1.2).
pub const GROUP_IPV4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Where adverts go by IPv6 (section 5.1.2.2).
pub const GROUP_IPV6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// Priority of who owns the addresses (section 5.2.4).
pub const OWNER: u8 = 255;
/// Priority of who gives up: no backup needs to wait any longer (section 5.2.4).
pub const RELEASE: u8 = 0;
/// Most bytes of an advert: 255 addresses of IPv6.
pub const MAX_LEN: usize = HEADER_LEN + MAX_ADDRESSES * 16;
/// Most addresses in an advert.
pub const MAX_ADDRESSES: usize = 255;

const HEADER_LEN: usize = size_of::<Header>();
/// Bytes of authentication data at the end of an advert of version 2, also where there is no authentication (RFC 3768,
/// section 5.3.10).
const AUTH_LEN: usize = 8;
/// The only type of message (RFC 9568, section 5.2.2).
const ADVERTISEMENT: u8 = 1;
const NO_AUTH: u8 = 0;
const TEXT_AUTH: u8 = 1;
/// The 4 bits before an interval of version 3 mean nothing (RFC 9568, section 5.2.6).
const INTERVAL: u16 = 0x0fff;

/// The version of an IP header, which is that of all addresses in the advert behind it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6, in version 3 alone.
    V6,
}

/// The version of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Version {
    /// RFC 3768: IPv4, whole seconds.
    V2 = 2,
    /// RFC 9568.
    V3 = 3,
}

/// The number of a virtual router, 1 to 255, on a segment and in a family of addresses (RFC 9568, section 5.2.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Vrid(NonZeroU8);

impl Vrid {
    /// The virtual router with this number; 0 is none.
    pub const fn new(vrid: u8) -> Option<Self> {
        match NonZeroU8::new(vrid) {
            Some(vrid) => Some(Self(vrid)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0.get()
    }

    /// Where neighbours have the addresses of the virtual router, and what its adverts come from (RFC 9568, section 7.3).
    pub const fn virtual_mac(self, family: Family) -> [u8; 6] {
        let block = match family {
            Family::V4 => 1,
            Family::V6 => 2,
        };
        [0x00, 0x00, 0x5e, 0x00, block, self.get()]
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The interval of version 3, 1 to 4,095 hundredths of a second (RFC 9568, section 5.2.7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Centiseconds(u16);

impl Centiseconds {
    /// So many hundredths of a second; `None` for 0, and for more than 4,095.
    pub const fn new(number: u16) -> Option<Self> {
        if number == 0 || number > INTERVAL { None } else { Some(Self(number)) }
    }

    /// How many.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// The authentication of version 2. That of RFC 2338 was taken away by RFC 3768, since it protects from nobody who can listen;
/// keepalived still has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// None.
    None,
    /// A password that everybody on the segment can read, filled up with zeros.
    Text([u8; AUTH_LEN]),
}

/// Without the password.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Text(_) => "Text(..)",
        })
    }
}

/// 1 to 255 addresses of `N` bytes, in network order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct List<'a, const N: usize>(&'a [[u8; N]]);

impl<'a, const N: usize> List<'a, N> {
    /// These addresses; `None` if there are none, or too many.
    pub const fn new(addresses: &'a [[u8; N]]) -> Option<Self> {
        if addresses.is_empty() || addresses.len() > MAX_ADDRESSES { None } else { Some(Self(addresses)) }
    }

    /// The addresses.
    pub const fn get(self) -> &'a [[u8; N]] {
        self.0
    }

    #[expect(clippy::cast_possible_truncation, reason = "255 at most")]
    const fn count(self) -> u8 {
        self.0.len() as u8
    }
}

/// The addresses of a virtual router, all of one family (RFC 9568, section 5.2.9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Addresses<'a> {
    /// Of IPv4.
    V4(List<'a, 4>),
    /// Of IPv6.
    V6(List<'a, 16>),
}

/// An advert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Advert<'a> {
    /// Whose.
    pub vrid: Vrid,
    /// The sender's; [`OWNER`] and [`RELEASE`] are special.
    pub priority: u8,
    /// What each version says in its own way.
    pub content: Content<'a>,
}

/// What each version says in its own way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content<'a> {
    /// Version 2.
    V2 {
        /// Seconds between two adverts.
        interval: NonZeroU8,
        /// See [`Auth`].
        auth: Auth,
        /// The virtual router's.
        addresses: List<'a, 4>,
    },
    /// Version 3.
    V3 {
        /// Time between two adverts.
        interval: Centiseconds,
        /// The virtual router's.
        addresses: Addresses<'a>,
    },
}

impl<'a> Advert<'a> {
    /// The version that it is of.
    pub const fn version(&self) -> Version {
        match self.content {
            Content::V2 { .. } => Version::V2,
            Content::V3 { .. } => Version::V3,
        }
    }

    /// Time between two adverts of this sender.
    pub const fn interval(&self) -> Duration {
        match self.content {
            Content::V2 { interval, .. } => Duration::from_secs(interval.get() as u64),
            Content::V3 { interval, .. } => Duration::from_millis(interval.get() as u64 * 10),
        }
    }

    /// The virtual router's addresses.
    pub const fn addresses(&self) -> Addresses<'a> {
        match self.content {
            Content::V2 { addresses, .. } => Addresses::V4(addresses),
            Content::V3 { addresses, .. } => addresses,
        }
    }

    /// Puts the message that goes this way into `buffer`, and gives it back. Of the two checksums of version 3 over IPv4 it has
    /// that of RFC 5798, see [`adds_up`]. `None` if the way is of the other family.
    pub fn write<'b>(&self, path: &Path, buffer: &'b mut [u8; MAX_LEN]) -> Option<&'b [u8]> {
        let (interval, auth) = match self.content {
            Content::V2 { interval, auth, .. } => (u16::from(interval.get()), Some(auth)),
            Content::V3 { interval, .. } => (interval.get(), None),
        };
        let kind_of_auth = if matches!(auth, Some(Auth::Text(_))) { TEXT_AUTH } else { NO_AUTH };
        let (count, bytes) = match (self.addresses(), path) {
            (Addresses::V4(list), Path::V4 { .. }) => (list.count(), list.get().as_flattened()),
            (Addresses::V6(list), Path::V6 { .. }) => (list.count(), list.get().as_flattened()),
            (Addresses::V4(_), Path::V6 { .. }) | (Addresses::V6(_), Path::V4 { .. }) => return None,
        };
        let header = Header {
            version_and_kind: (self.version() as u8) << 4 | ADVERTISEMENT,
            vrid: self.vrid.get(),
            priority: self.priority,
            count,
            interval: (u16::from(kind_of_auth) << 8 | interval).into(),
            checksum: 0.into(),
        };
        let mut end = 0;
        let mut put = |bytes: &[u8]| {
            buffer[end..end + bytes.len()].copy_from_slice(bytes);
            end += bytes.len();
        };
        put(&header.to_bytes());
        put(bytes);
        match auth {
            None => {}
            Some(Auth::None) => put(&[0; AUTH_LEN]),
            Some(Auth::Text(password)) => put(&password),
        }
        let message = &mut buffer[..end];
        let sum = match self.version() {
            Version::V2 => sum_of(message),
            Version::V3 => sum_of(message).plus(path.pseudo_header(message.len())),
        };
        message[CHECKSUM_AT..HEADER_LEN].copy_from_slice(&sum.checksum().to_ne_bytes());
        Some(message)
    }
}

/// From where to where an advert goes, or went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// By IPv4.
    V4 {
        /// The sender's primary address (RFC 9568, section 5.1.1.1).
        source: Ipv4Addr,
        /// [`GROUP_IPV4`], or one node's.
        destination: Ipv4Addr,
    },
    /// By IPv6.
    V6 {
        /// The sender's link-local address (section 5.1.2.1).
        source: Ipv6Addr,
        /// [`GROUP_IPV6`], or one node's.
        destination: Ipv6Addr,
    },
}

impl Path {
    /// Of the addresses.
    pub const fn family(&self) -> Family {
        match self {
            Self::V4 { .. } => Family::V4,
            Self::V6 { .. } => Family::V6,
        }
    }

    /// From where.
    pub const fn source(&self) -> IpAddr {
        match *self {
            Self::V4 { source, .. } => IpAddr::V4(source),
            Self::V6 { source, .. } => IpAddr::V6(source),
        }
    }

    /// To where.
    pub const fn destination(&self) -> IpAddr {
        match *self {
            Self::V4 { destination, .. } => IpAddr::V4(destination),
            Self::V6 { destination, .. } => IpAddr::V6(destination),
        }
    }

    fn pseudo_header(&self, len: usize) -> Sum {
        let sum = Sum::of_pseudo_header(PROTOCOL, u16::try_from(len).unwrap_or(u16::MAX));
        match self {
            Self::V4 { source, destination } => sum.and(&source.octets()).and(&destination.octets()),
            Self::V6 { source, destination } => sum.and(&source.octets()).and(&destination.octets()),
        }
    }
}

/// What the IP header of an advert said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// From where to where.
    pub path: Path,
    /// Time to live, or hop limit, that it came with.
    pub ttl: u8,
}

impl Arrival {
    /// Takes the header off an IPv4 packet: how it came, and the message.
    ///
    /// # Errors
    /// [`Invalid::Length`], if the packet is not as long as its header says.
    pub fn of_ipv4(packet: &[u8]) -> Result<(Self, &[u8]), Invalid> {
        let (header, _) = packet.split_first_chunk::<20>().ok_or(Invalid::Length)?;
        let [version_and_len, _, len_high, len_low, .., ttl, _, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
            *header;
        let start = usize::from(version_and_len & 0x0f) * 4;
        let end = usize::from(u16::from_be_bytes([len_high, len_low]));
        if start < header.len() {
            return Err(Invalid::Length);
        }
        let message = packet.get(start..end).ok_or(Invalid::Length)?;
        let source = Ipv4Addr::new(s0, s1, s2, s3);
        let destination = Ipv4Addr::new(d0, d1, d2, d3);
        Ok((Self { path: Path::V4 { source, destination }, ttl }, message))
    }
}

/// Reads a message that came this way.
///
/// # Errors
/// What is wrong with it; the first thing that is.
pub fn parse<'a>(arrival: &Arrival, message: &'a [u8]) -> Result<Advert<'a>, Invalid> {
    let Arrival { path, ttl } = arrival;
    let (first, rest) = message.split_first_chunk::<HEADER_LEN>().ok_or(Invalid::Length)?;
    let header = Header::from_bytes(*first);
    let version = header.check(path.family(), *ttl, message.len())?;
    if !adds_up(version, path.family(), sum_of(message), path.pseudo_header(message.len())) {
        return Err(Invalid::Checksum);
    }
    let vrid = Vrid::new(header.vrid).ok_or(Invalid::Vrid)?;
    let content = match version {
        Version::V2 => header.version_2(rest)?,
        Version::V3 => {
            let interval = Centiseconds::new(header.interval.get() & INTERVAL).ok_or(Invalid::Interval)?;
            let addresses = match path.family() {
                Family::V4 => Addresses::V4(list(rest)?),
                Family::V6 => Addresses::V6(list(rest)?),
            };
            Content::V3 { interval, addresses }
        }
    };
    Ok(Advert { vrid, priority: header.priority, content })
}

fn list<const N: usize>(bytes: &[u8]) -> Result<List<'_, N>, Invalid> {
    let (addresses, []) = bytes.as_chunks() else { return Err(Invalid::Length) };
    List::new(addresses).ok_or(Invalid::Count)
}

/// What is wrong with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalid {
    /// It may have come from another segment.
    Ttl,
    /// Neither 2 nor 3, or 2 by IPv6.
    Version,
    /// No advertisement.
    Kind,
    /// 0.
    Vrid,
    /// No addresses (RFC 9568, section 5.2.5).
    Count,
    /// Not as long as a header with this number of addresses says.
    Length,
    /// 0, which no backup could wait for.
    Interval,
    /// A kind of authentication that there is not.
    Auth,
    /// The checksum does not fit.
    Checksum,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ttl => "its time to live is not 255: it may have come through a router",
            Self::Version => "its version is neither 2 nor 3, or 2 in IPv6",
            Self::Kind => "it is no advertisement",
            Self::Vrid => "its virtual router id is 0",
            Self::Count => "it has no addresses",
            Self::Length => "it is not as long as its number of addresses says",
            Self::Interval => "its advertisement interval is 0",
            Self::Auth => "its authentication type is neither none nor simple password",
            Self::Checksum => "its checksum is wrong",
        })
    }
}

impl core::error::Error for Invalid {}

/// What every message begins with (RFC 9568, section 5.2; RFC 3768, section 5.3). Packed, so that XDP reads it where it lies.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed)]
pub struct Header {
    version_and_kind: u8,
    /// Of the virtual router, if it is not 0.
    pub vrid: u8,
    priority: u8,
    count: u8,
    /// Version 3: 4 bits of nothing and 12 of the interval. Version 2: the authentication's type, and the interval.
    interval: Be16,
    checksum: Be16,
}

const CHECKSUM_AT: usize = core::mem::offset_of!(Header, checksum);
const _: () = assert!(HEADER_LEN == 8);

impl Header {
    const fn from_bytes(bytes: [u8; HEADER_LEN]) -> Self {
        // SAFETY: same size, no padding, and every field takes any bit pattern.
        unsafe { core::mem::transmute::<[u8; HEADER_LEN], Self>(bytes) }
    }

    const fn to_bytes(self) -> [u8; HEADER_LEN] {
        // SAFETY: same size, no padding.
        unsafe { core::mem::transmute::<Self, [u8; HEADER_LEN]>(self) }
    }

    /// Checks all but the virtual router's id, which others know, and the checksum, see [`adds_up`]. `len`: bytes of the
    /// message, this header included. RFC 9568, section 7.1, asks that all of the message is there; more than all of it would
    /// have a checksum that nobody has defined.
    ///
    /// # Errors
    /// What is wrong, the first thing that is.
    #[inline(always)]
    pub const fn check(&self, family: Family, ttl: u8, len: usize) -> Result<Version, Invalid> {
        if ttl != TTL {
            return Err(Invalid::Ttl);
        }
        let version = match (self.version_and_kind >> 4, family) {
            (2, Family::V4) => Version::V2,
            (3, _) => Version::V3,
            _ => return Err(Invalid::Version),
        };
        if self.version_and_kind & 0x0f != ADVERTISEMENT {
            return Err(Invalid::Kind);
        }
        if self.count == 0 {
            return Err(Invalid::Count);
        }
        if len != self.len(version, family) {
            return Err(Invalid::Length);
        }
        let interval = self.interval.get();
        let is_interval = match version {
            Version::V2 => interval & 0xff != 0,
            Version::V3 => interval & INTERVAL != 0,
        };
        if !is_interval {
            return Err(Invalid::Interval);
        }
        if matches!(version, Version::V2) && interval >> 8 > TEXT_AUTH as u16 {
            return Err(Invalid::Auth);
        }
        Ok(version)
    }

    /// Bytes that a message with this header has; at most [`MAX_LEN`], and a multiple of 4.
    #[inline(always)]
    const fn len(&self, version: Version, family: Family) -> usize {
        let address_len = match family {
            Family::V4 => 4,
            Family::V6 => 16,
        };
        let auth_len = match version {
            Version::V2 => AUTH_LEN,
            Version::V3 => 0,
        };
        HEADER_LEN + self.count as usize * address_len + auth_len
    }

    fn version_2<'a>(&self, rest: &'a [u8]) -> Result<Content<'a>, Invalid> {
        let (addresses, password) = rest.split_last_chunk::<AUTH_LEN>().ok_or(Invalid::Length)?;
        let [auth, interval] = self.interval.get().to_be_bytes();
        let interval = NonZeroU8::new(interval).ok_or(Invalid::Interval)?;
        let auth = match auth {
            NO_AUTH => Auth::None,
            TEXT_AUTH => Auth::Text(*password),
            _ => return Err(Invalid::Auth),
        };
        Ok(Content::V2 { interval, auth, addresses: list(addresses)? })
    }
}

/// Whether the checksum in `message` fits. `pseudo_header`: what goes before it, see [`Sum::of_pseudo_header`].
///
/// Version 2 sums up the message alone (RFC 3768, section 5.3.8), version 3 over IPv6 the pseudo-header, too. Version 3 over
/// IPv4 comes both ways: RFC 5798, section 5.2.8, had the pseudo-header, and so have keepalived since 1.3.6 and FRR; RFC 9568,
/// same section, leaves it out. Either is taken here; sent is the former, since keepalived takes nothing else.
#[inline(always)]
pub fn adds_up(version: Version, family: Family, message: Sum, pseudo_header: Sum) -> bool {
    let with_header = message.plus(pseudo_header);
    match (version, family) {
        (Version::V2, _) => message.is_right(),
        (Version::V3, Family::V4) => with_header.is_right() || message.is_right(),
        (Version::V3, Family::V6) => with_header.is_right(),
    }
}

/// Of a message, whose length is a multiple of 4.
fn sum_of(message: &[u8]) -> Sum {
    let (pairs, _) = message.as_chunks::<4>();
    pairs.iter().fold(Sum::default(), |sum, pair| sum.and(pair))
}

#[cfg(test)]
mod tests;

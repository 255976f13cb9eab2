//! Internet checksums (RFC 1071).

/// The ones' complement sum of some 16-bit words. All of them, and the result, are in the order in which they lie in
/// the packet: the sum is the same in either order of bytes (RFC 1071, section 2).
#[derive(Clone, Copy, Default)]
pub struct Sum(u64);

/// As the kernel sums up.
impl From<u32> for Sum {
    #[inline(always)]
    fn from(pairs: u32) -> Self {
        Self(pairs.into())
    }
}

impl Sum {
    /// Of length and protocol in the pseudo-header of what IPv6 carries (RFC 8200, section 8.1), and IPv4 (RFC 9293,
    /// section 3.1), since zeros add nothing; the addresses are to be added.
    #[inline(always)]
    pub fn of_pseudo_header(protocol: u8, len: u16) -> Self {
        Self(u64::from(len.to_be()) + u64::from(u16::from(protocol).to_be()))
    }

    /// The sum with the words of another one.
    #[inline(always)]
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The sum with more words, an even number of them, added up in pairs.
    #[inline(always)]
    #[must_use]
    pub fn and<const LEN: usize>(mut self, bytes: &[u8; LEN]) -> Self {
        const { assert!(LEN.is_multiple_of(4)) };
        let pairs = bytes.as_ptr().cast::<u32>();
        for number in 0..LEN / 4 {
            // SAFETY: within the bytes; the read asks for no alignment.
            self.0 += u64::from(unsafe { pairs.wrapping_add(number).read_unaligned() });
        }
        self
    }

    /// The checksum with which the words add up.
    #[inline(always)]
    pub fn checksum(self) -> u16 {
        !self.folded()
    }

    /// Whether the words, a checksum among them, add up.
    #[inline(always)]
    pub fn is_right(self) -> bool {
        self.folded() == u16::MAX
    }

    #[inline(always)]
    fn folded(self) -> u16 {
        let mut sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        // Each time, what is over 16 bits becomes less, and none is left after the third.
        for _ in 0..3 {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        (sum & 0xffff) as u16
    }
}

//! Internet checksums (RFC 1071), by the kernel's own summing.

use aya_ebpf::helpers::bpf_csum_diff;

use crate::parse::PROTOCOL_ICMPV6;

/// The ones' complement sum of some 16-bit words. All of them, and the result, are in the order in which they lie in
/// the packet: the sum is the same in either order of bytes (RFC 1071, section 2).
#[derive(Clone, Copy)]
pub(crate) struct Sum(u32);

impl Sum {
    /// Of lengths and protocol in the pseudo-header of an ICMPv6 message (RFC 8200, section 8.1); its addresses are
    /// to be added.
    #[inline(always)]
    pub(crate) fn of_icmpv6(len: u16) -> Self {
        Self(u32::from(len.to_be()) + u32::from(u16::from(PROTOCOL_ICMPV6).to_be()))
    }

    /// The sum with more words, an even number of them.
    #[inline(always)]
    pub(crate) fn and<const LEN: usize>(self, bytes: &[u8; LEN]) -> Self {
        const { assert!(LEN.is_multiple_of(4) && LEN <= 512) };
        #[expect(clippy::cast_possible_truncation, reason = "asserted above")]
        let len = LEN as u32;
        let start = bytes.as_ptr().cast_mut().cast();
        // SAFETY: the helper reads `len` bytes at `start`, and none of the other address, whose length is 0.
        let sum = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, start, len, self.0) };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a sum of 32 bits; negative for other lengths only"
        )]
        Self(sum as u32)
    }

    /// The checksum with which the words add up.
    #[inline(always)]
    pub(crate) fn checksum(self) -> u16 {
        !self.folded()
    }

    /// Whether the words, a checksum among them, add up.
    #[inline(always)]
    pub(crate) fn is_right(self) -> bool {
        self.folded() == u16::MAX
    }

    #[inline(always)]
    fn folded(self) -> u16 {
        let once = (self.0 >> 16) + (self.0 & 0xffff);
        (((once >> 16) + (once & 0xffff)) & 0xffff) as u16
    }
}

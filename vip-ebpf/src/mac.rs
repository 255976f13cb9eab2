//! MAC addresses.

/// A MAC address in a register. As an array it would be moved byte by byte, and a word read right after that has to wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mac(u64);

impl Mac {
    /// Nobody's: zeros.
    pub(crate) const NONE: Self = Self(0);

    #[inline(always)]
    pub(crate) fn read(bytes: &[u8; 6]) -> Self {
        let start = bytes.as_ptr();
        // SAFETY: the first four of six bytes; the read asks for no alignment.
        let first = unsafe { start.cast::<u32>().read_unaligned() };
        // SAFETY: the last two.
        let last = unsafe { start.wrapping_add(4).cast::<u16>().read_unaligned() };
        Self(u64::from(first) | u64::from(last) << 32)
    }

    #[inline(always)]
    pub(crate) fn write(self, bytes: &mut [u8; 6]) {
        let start = bytes.as_mut_ptr();
        // SAFETY: as in `read`.
        unsafe { start.cast::<u32>().write_unaligned((self.0 & 0xffff_ffff) as u32) };
        // SAFETY: as in `read`.
        unsafe { start.wrapping_add(4).cast::<u16>().write_unaligned((self.0 >> 32 & 0xffff) as u16) };
    }

    /// As a number below 2^48, and from one.
    #[inline(always)]
    pub(crate) const fn to_bits(self) -> u64 {
        self.0
    }

    /// See [`Self::to_bits`].
    #[inline(always)]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

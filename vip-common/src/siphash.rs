//! SipHash-2-4 (Aumasson, Bernstein 2012), written for the BPF verifier: no slices, no calls, no panics.

/// A 128-bit key as two little-endian words, as the paper's `k0` and `k1`.
pub type Key = [u64; 2];

/// The running state of one hash.
#[derive(Clone, Copy)]
pub struct SipHasher {
    v: [u64; 4],
}

impl SipHasher {
    /// Starts a hash under `key`.
    #[inline(always)]
    pub const fn new(key: &Key) -> Self {
        let [k0, k1] = *key;
        Self {
            v: [
                k0 ^ 0x736f_6d65_7073_6575,
                k1 ^ 0x646f_7261_6e64_6f6d,
                k0 ^ 0x6c79_6765_6e65_7261,
                k1 ^ 0x7465_6462_7974_6573,
            ],
        }
    }

    /// Takes in the next eight bytes, as a little-endian word.
    #[inline(always)]
    pub const fn write(&mut self, word: u64) {
        self.v[3] ^= word;
        self.round();
        self.round();
        self.v[0] ^= word;
    }

    /// Ends the hash of `len` bytes. `tail` holds the up to seven bytes that did not fill a word, little-endian.
    #[inline(always)]
    pub const fn finish(mut self, tail: u64, len: usize) -> u64 {
        self.write(((len as u64) << 56) | tail);
        self.v[2] ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.round();
        self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3]
    }

    #[inline(always)]
    const fn round(&mut self) {
        let [mut v0, mut v1, mut v2, mut v3] = self.v;
        v0 = v0.wrapping_add(v1);
        v1 = v1.rotate_left(13) ^ v0;
        v0 = v0.rotate_left(32);
        v2 = v2.wrapping_add(v3);
        v3 = v3.rotate_left(16) ^ v2;
        v0 = v0.wrapping_add(v3);
        v3 = v3.rotate_left(21) ^ v0;
        v2 = v2.wrapping_add(v1);
        v1 = v1.rotate_left(17) ^ v2;
        v2 = v2.rotate_left(32);
        self.v = [v0, v1, v2, v3];
    }
}

/// Hashes bytes of any length.
pub fn siphash(key: &Key, bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher::new(key);
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        hasher.write(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(tail) {
        *to = *from;
    }
    hasher.finish(u64::from_le_bytes(last), bytes.len())
}

#[cfg(test)]
mod tests {
    use super::siphash;

    /// Input: the key and messages of the reference implementation's `vectors.h` (bytes 0, 1, 2, …).
    /// Expected: the values published there and in the paper's appendix A.
    #[test]
    fn agrees_with_the_published_vectors() {
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let message: [u8; 15] = core::array::from_fn(|i| u8::try_from(i).unwrap());
        assert_eq!(siphash(&key, &message), 0xa129_ca61_49be_45e5);
        assert_eq!(siphash(&key, &[]), 0x726f_db47_dd0e_0e31);
    }
}

//! Memory that others read and write meanwhile: fields of map values, and the locks around some of them.

use aya_ebpf::helpers::{bpf_spin_lock, bpf_spin_unlock};
#[cfg(target_arch = "bpf")]
use core::intrinsics::{AtomicOrdering, atomic_cxchg};

/// A field of a value that a map's `get_ptr_mut` gave: `shared!(group, lease_until)`.
///
/// The value stays readable and writable until this run of the program ends (RCU).
macro_rules! shared {
    ($value:expr, $field:ident) => {
        // SAFETY: the pointer is to a map value.
        unsafe { $crate::shared::Shared::new(&raw mut (*$value).$field) }
    };
}
pub(crate) use shared;

/// A field of a map value. Other CPUs and the daemon see it, each number of it whole.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(*mut T);

impl<T: Copy> Shared<T> {
    /// # Safety
    /// The pointer is valid and aligned while the program runs. For [`shared!`] alone.
    #[inline(always)]
    pub(crate) unsafe fn new(field: *mut T) -> Self {
        Self(field)
    }

    #[inline(always)]
    pub(crate) fn load(self) -> T {
        // SAFETY: valid and aligned by the contract of `new`.
        unsafe { self.0.read_volatile() }
    }

    #[inline(always)]
    pub(crate) fn store(self, value: T) {
        // SAFETY: valid and aligned by the contract of `new`.
        unsafe { self.0.write_volatile(value) }
    }

    /// What `work` gives while `lock` is held. It may call no function, by the verifier's rules: all that it does is
    /// `inline(always)`.
    #[inline(always)]
    pub(crate) fn locked<L, R>(self, lock: Shared<L>, work: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the verifier refuses a lock that is none.
        unsafe { bpf_spin_lock(lock.0.cast()) };
        // SAFETY: valid and aligned by the contract of `new`; all that touch the field take the lock before.
        let result = work(unsafe { &mut *self.0 });
        // SAFETY: as above.
        unsafe { bpf_spin_unlock(lock.0.cast()) };
        result
    }
}

impl<const LEN: usize> Shared<[u8; LEN]> {
    /// Whether the first and the last byte are 0, which takes less than to read all of them.
    #[inline(always)]
    pub(crate) fn ends_are_zero(self) -> bool {
        let bytes = self.0.cast::<u8>();
        // SAFETY: as in `load`; bytes lie at any address.
        let first = unsafe { bytes.read_volatile() };
        // SAFETY: as above, and within the array.
        let last = unsafe { bytes.wrapping_add(LEN - 1).read_volatile() };
        first | last == 0
    }
}

impl Shared<u64> {
    /// Whether the word was `old` and is `new` now.
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    pub(crate) fn compare_and_swap(self, old: u64, new: u64) -> bool {
        // SAFETY: valid and aligned by the contract of `new`.
        unsafe {
            atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(self.0, old, new)
        }
        .1
    }

    /// As above, by what the host has for it and the BPF target has not.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) fn compare_and_swap(self, old: u64, new: u64) -> bool {
        use core::sync::atomic::{AtomicU64, Ordering};
        // SAFETY: valid and aligned by the contract of `new`.
        let word = unsafe { AtomicU64::from_ptr(self.0) };
        word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

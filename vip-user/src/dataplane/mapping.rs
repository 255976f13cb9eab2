//! Memory that this process has in common with a map, or, in the place of one, for itself.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

const PROTECTION: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

/// So many values, one after the other, until this is dropped. Its owner sees to it that no access to them is in another's way.
#[derive(Debug)]
pub(super) struct Mapping<T> {
    start: NonNull<T>,
    size: NonZeroUsize,
}

// SAFETY: it owns the memory, which is the same for all threads.
unsafe impl<T: Send> Send for Mapping<T> {}
// SAFETY: it gives a pointer and no access.
unsafe impl<T: Sync> Sync for Mapping<T> {}

impl<T> Mapping<T> {
    /// The first values of an array that was made with `BPF_F_MMAPABLE`. They lie one after the other if their size is a
    /// multiple of 8.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn of_map(map: impl AsFd, values: usize) -> io::Result<Self> {
        let size = Self::size(values)?;
        // SAFETY: a new mapping at an address of the kernel's choice aliases nothing.
        let memory = unsafe { mmap(None, size, PROTECTION, MapFlags::MAP_SHARED, map, 0) };
        Ok(Self { start: memory?.cast(), size })
    }

    /// Zeros that no map has.
    ///
    /// # Errors
    /// The system has no memory left.
    pub(super) fn of_process(values: usize) -> io::Result<Self> {
        let size = Self::size(values)?;
        // SAFETY: as above.
        let memory = unsafe { mmap_anonymous(None, size, PROTECTION, MapFlags::MAP_PRIVATE) };
        Ok(Self { start: memory?.cast(), size })
    }

    pub(super) const fn start(&self) -> NonNull<T> {
        self.start
    }

    fn size(values: usize) -> io::Result<NonZeroUsize> {
        const { assert!(size_of::<T>().is_multiple_of(8)) };
        let size = NonZeroUsize::new(values * size_of::<T>());
        size.ok_or_else(|| io::Error::other("a map without values"))
    }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: mapped with this size, and nobody has a reference into it any more.
        let _ = unsafe { munmap(self.start.cast(), self.size.get()) };
    }
}

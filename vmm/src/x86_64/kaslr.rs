//! Kernel address space layout randomization, done from outside: a bzImage's decompressor picks random addresses for the
//! kernel and changes its addresses in it; who boots a vmlinux has to do both (Linux, arch/x86/boot/compressed, kaslr.c
//! and misc.c).

use std::ops::Range;

use vm_memory::{GuestAddress, GuestMemoryBackend, VolatileMemory, VolatileSlice};
use vmlinux::{Relocations, START_KERNEL_MAP};

use crate::layout::IDENTITY_MAPPED;
use crate::virtio::GuestRam;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("has a relocation at {address:#x}, outside of its own memory")]
    Outside { address: u64 },
    #[error("its memory from {start:#x} to {end:#x} cannot be reached to relocate it")]
    Memory { start: u64, end: u64, source: vm_memory::GuestMemoryError },
}

/// Kernels lie on a boundary of 2 MiB (CONFIG_PHYSICAL_ALIGN can ask for more, of the decompressor; a kernel itself
/// checks this).
const ALIGNMENT: u64 = 2 << 20;
/// A kernel that can be moved has this much of the address space for itself (KERNEL_IMAGE_SIZE with
/// CONFIG_RANDOMIZE_BASE, without which there are no relocations).
const IMAGE_SPACE: u64 = 1 << 30;

/// How far from where it was linked to lie a kernel lies, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Displacement {
    pub physical: u64,
    pub virt: u64,
}

impl Displacement {
    /// For a kernel that was linked to lie in `memory`, in a machine with RAM up to `top` for it. Never down: there, a
    /// kernel expects nothing of its own.
    pub fn choose(seed: u64, memory: Range<u64>, top: u64) -> Self {
        let place = |random: u64, end: u64| {
            let slots = end.saturating_sub(memory.end) / ALIGNMENT + 1;
            random % slots * ALIGNMENT
        };
        Self {
            physical: place(seed & u64::from(u32::MAX), top.min(IDENTITY_MAPPED)),
            virt: place(seed >> 32, IMAGE_SPACE),
        }
    }

    /// Changes the kernel that was linked to lie in `linked` and lies in `memory`, displaced.
    pub fn apply(
        &self,
        relocations: &Relocations,
        linked: Range<u64>,
        memory: &GuestRam,
    ) -> Result<(), Error> {
        let (start, end) = (linked.start + self.physical, linked.end + self.physical);
        let image = memory
            .get_slice(GuestAddress(start), (end - start) as usize)
            .map_err(|source| Error::Memory { start, end, source })?;
        let image = Image { bytes: image, linked: START_KERNEL_MAP + linked.start };
        let by = self.virt;
        relocations.wide().try_for_each(|address| image.change64(address, |value| value.wrapping_add(by)))?;
        let by = by as u32;
        relocations
            .inverse()
            .try_for_each(|address| image.change32(address, |value| value.wrapping_sub(by)))?;
        relocations.narrow().try_for_each(|address| image.change32(address, |value| value.wrapping_add(by)))
    }
}

/// The kernel in guest memory, and the first address in it as it was linked.
struct Image<'a> {
    bytes: VolatileSlice<'a>,
    linked: u64,
}

impl Image<'_> {
    /// The offset of a place; its size is checked where it is used.
    fn offset(&self, address: u64) -> Result<usize, Error> {
        let offset = address.checked_sub(self.linked).ok_or(Error::Outside { address })?;
        Ok(usize::try_from(offset).unwrap_or(usize::MAX))
    }

    fn change64(&self, address: u64, change: impl FnOnce(u64) -> u64) -> Result<(), Error> {
        let place =
            self.bytes.get_ref::<u64>(self.offset(address)?).map_err(|_| Error::Outside { address })?;
        place.store(change(place.load()));
        Ok(())
    }

    fn change32(&self, address: u64, change: impl FnOnce(u32) -> u32) -> Result<(), Error> {
        let place =
            self.bytes.get_ref::<u32>(self.offset(address)?).map_err(|_| Error::Outside { address })?;
        place.store(change(place.load()));
        Ok(())
    }
}

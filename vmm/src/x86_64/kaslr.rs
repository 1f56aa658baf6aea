//! Kernel address space layout randomization, done from outside: a bzImage's decompressor picks random addresses for the
//! kernel and changes its addresses in it; who boots a vmlinux has to do both (Linux, arch/x86/boot/compressed, kaslr.c
//! and misc.c).

use std::ops::Range;

use vm_memory::{GuestAddress, GuestMemoryBackend};
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
        let slice = memory
            .get_slice(GuestAddress(start), (end - start) as usize)
            .map_err(|source| Error::Memory { start, end, source })?;
        let guard = slice.ptr_guard_mut();
        // SAFETY: the guard's pointer is valid for the slice's length as long as the guard lives, which is longer than
        // `image`. No processor of the machine runs yet and no device is there: this thread alone has its memory.
        let bytes = unsafe { std::slice::from_raw_parts_mut(guard.as_ptr(), slice.len()) };
        let mut image = Image { bytes, linked: (START_KERNEL_MAP + linked.start) as u32 };
        let by = self.virt;
        image.change(relocations.wide(), |place| u64::from_le_bytes(place).wrapping_add(by).to_le_bytes())?;
        let by = by as u32;
        image.change(relocations.inverse(), |place| {
            u32::from_le_bytes(place).wrapping_sub(by).to_le_bytes()
        })?;
        image.change(relocations.narrow(), |place| u32::from_le_bytes(place).wrapping_add(by).to_le_bytes())
    }
}

/// The kernel in guest memory, and the lower half of the first address in it as it was linked.
struct Image<'a> {
    bytes: &'a mut [u8],
    linked: u32,
}

impl Image<'_> {
    /// Changes the places of `N` bytes.
    fn change<const N: usize>(
        &mut self,
        places: impl Iterator<Item = u32>,
        change: impl Fn([u8; N]) -> [u8; N],
    ) -> Result<(), Error> {
        for address in places {
            // What lies before the kernel is far behind it then.
            let offset = address.wrapping_sub(self.linked) as usize;
            let Some(place) = self.bytes.get_mut(offset..).and_then(<[u8]>::first_chunk_mut) else {
                return Err(Error::Outside { address: START_KERNEL_MAP | u64::from(address) });
            };
            *place = change(*place);
        }
        Ok(())
    }
}

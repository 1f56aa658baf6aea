//! What of the guest's physical memory its devices may touch: all of the RAM, and for reading also what persistent
//! memory shows, whose pages a guest can hand to a device like any other (a write past the page cache whose source is a
//! mapped file of the rootfs).
//!
//! Behind persistent memory are files that somebody could cut short. The kernel's own accesses of such a page are an
//! error then, ours would be the end of the process: what is copied of it goes through the kernel.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};

use vm_memory::{GuestAddress, GuestMemory, Permissions, VolatileSlice};

use super::GuestRam;
use super::chain::Buffers;
use super::pmem::mapping::Mapping;

/// The guest's memory, as devices see it. Queues and whatever a device writes to are in RAM, which this derefs to.
pub struct DeviceMemory {
    ram: GuestRam,
    images: Vec<(u64, Arc<Mapping>)>,
    detour: Option<Detour>,
}

impl DeviceMemory {
    /// `images` lie at these guest-physical addresses, in rising order and not over the RAM.
    pub fn new(ram: GuestRam, images: Vec<(u64, Arc<Mapping>)>) -> io::Result<Self> {
        let detour = if images.is_empty() { None } else { Some(Detour::new()?) };
        Ok(Self { ram, images, detour })
    }

    /// Appends the `length` bytes at `address`, for reading; nothing when not all of them exist.
    pub fn append_readable<'m>(&'m self, buffers: &mut Buffers<'m>, address: u64, length: u64) -> Option<()> {
        let end = address.checked_add(length)?;
        let mut at = address;
        while at < end {
            let image = self.images.iter().find(|(start, map)| at < start.saturating_add(map.size()));
            at = match image {
                Some((start, map)) if *start <= at => {
                    let stop = end.min(start + map.size());
                    // SAFETY: the range lies within the mapping, which is readable, and lives as long as `self` and so
                    // as the slice. Nobody writes through it: only what devices read comes from here.
                    let slice = unsafe {
                        let first = map.address().add((at - start) as usize);
                        VolatileSlice::new(first, (stop - at) as usize)
                    };
                    buffers.push(slice);
                    buffers.go_by(self.detour.as_ref()?);
                    stop
                }
                next => {
                    let stop = next.map_or(end, |(start, _)| end.min(*start));
                    self.append_ram(buffers, at, stop - at, Permissions::Read)?;
                    stop
                }
            };
        }
        Some(())
    }

    /// Appends the `length` bytes at `address`, for writing; nothing when not all of them are RAM.
    pub fn append_writable<'m>(&'m self, buffers: &mut Buffers<'m>, address: u64, length: u64) -> Option<()> {
        self.append_ram(buffers, address, length, Permissions::Write)
    }

    fn append_ram<'m>(
        &'m self,
        buffers: &mut Buffers<'m>,
        address: u64,
        length: u64,
        access: Permissions,
    ) -> Option<()> {
        for slice in self.ram.get_slices(GuestAddress(address), length as usize, access).ok()? {
            buffers.push(slice.ok()?);
        }
        Some(())
    }
}

impl Deref for DeviceMemory {
    type Target = GuestRam;

    fn deref(&self) -> &GuestRam {
        &self.ram
    }
}

/// A pipe that bytes are copied through by the kernel.
#[derive(Debug)]
pub struct Detour(Mutex<(PipeReader, PipeWriter)>);

/// What a pipe takes at once or not at all. Less than a page: of a page that it cannot read, a kernel may keep an empty
/// one in the pipe, until that is full of them.
const PIECE: usize = libc::PIPE_BUF - 1;

impl Detour {
    fn new() -> io::Result<Self> {
        io::pipe().map(|pipe| Self(Mutex::new(pipe)))
    }

    /// Copies as much as both have; says how many bytes, fewer where a page of the file behind `slice` is gone.
    pub fn copy(&self, slice: &VolatileSlice, bytes: &mut [u8]) -> usize {
        let length = slice.len().min(bytes.len());
        let mut pipe = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (reader, writer) = &mut *pipe;
        let from = slice.ptr_guard();
        let mut done = 0;
        for piece in bytes[..length].chunks_mut(PIECE) {
            // SAFETY: the kernel reads bytes of the slice, of which there are enough, and says so if they are not there.
            let written =
                unsafe { libc::write(writer.as_raw_fd(), from.as_ptr().add(done).cast(), piece.len()) };
            let Ok(written) = usize::try_from(written) else { break };
            // The pipe was empty, so all that is in it has just been put there.
            if reader.read_exact(&mut piece[..written]).is_err() {
                break;
            }
            done += written;
            if written < piece.len() {
                break;
            }
        }
        done
    }
}

#[cfg(test)]
#[path = "device_memory_test.rs"]
mod tests;

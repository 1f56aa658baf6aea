//! A descriptor chain, checked: the guest's buffers as slices of its memory that exist.

use virtio_queue::DescriptorChain;
use vm_memory::{GuestMemory, Permissions, VolatileSlice};

use super::GuestRam;

/// The most slices that one chain may have: Linux's UIO_MAXIOV, so that a chain fits in one system call. Our devices
/// tell their drivers to stay far below.
pub const MAX_SLICES: usize = 1024;

/// One request of the driver: first what the device may read, then what it may write.
#[derive(Debug)]
pub struct Chain<'m> {
    /// Index of its first descriptor, by which it is returned to the driver.
    pub head: u16,
    pub readable: Buffers<'m>,
    pub writable: Buffers<'m>,
}

impl<'m> Chain<'m> {
    /// Walks the descriptors. A chain that breaks the rules (a buffer outside of guest memory, a readable one after a
    /// writable one, a broken link, too many) comes out with no buffers at all: too short for any device.
    pub fn collect(descriptors: DescriptorChain<&'m GuestRam>, memory: &'m GuestRam) -> Self {
        let head = descriptors.head_index();
        match collect_buffers(descriptors, memory) {
            Some((readable, writable)) => Self { head, readable, writable },
            None => Self { head, readable: Buffers::default(), writable: Buffers::default() },
        }
    }

    /// Bytes in both directions.
    pub fn len(&self) -> usize {
        self.readable.len() + self.writable.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn collect_buffers<'m>(
    descriptors: DescriptorChain<&'m GuestRam>,
    memory: &'m GuestRam,
) -> Option<(Buffers<'m>, Buffers<'m>)> {
    let (mut readable, mut writable) = (Buffers::default(), Buffers::default());
    let mut expects_next = false;
    for (count, descriptor) in descriptors.enumerate() {
        if count == MAX_SLICES {
            return None;
        }
        expects_next = descriptor.has_next();
        let (buffers, access) = match descriptor.is_write_only() {
            true => (&mut writable, Permissions::Write),
            false if writable.slices.is_empty() => (&mut readable, Permissions::Read),
            false => return None,
        };
        for slice in memory.get_slices(descriptor.addr(), descriptor.len() as usize, access).ok()? {
            buffers.push(slice.ok()?);
        }
    }
    // The walk also ends, silently, where a link points outside of the table or its table outside of memory.
    let whole = !expects_next && readable.slices.len() + writable.slices.len() <= MAX_SLICES;
    whole.then_some((readable, writable))
}

/// Bytes of guest memory, in one or more pieces. The guest can change them at any time, so they are only ever copied.
#[derive(Clone, Debug, Default)]
pub struct Buffers<'m> {
    slices: Vec<VolatileSlice<'m>>,
    length: usize,
}

impl<'m> Buffers<'m> {
    pub fn push(&mut self, slice: VolatileSlice<'m>) {
        // A chain's lengths sum up to less than 2^32, which the walk over its descriptors checks.
        self.length += slice.len();
        self.slices.push(slice);
    }

    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub fn slices(&self) -> &[VolatileSlice<'m>] {
        &self.slices
    }

    /// The first `count` bytes and the rest, or nothing when there are fewer.
    pub fn split_at(&self, count: usize) -> Option<(Self, Self)> {
        if count > self.length {
            return None;
        }
        let (mut first, mut rest) = (Self::default(), Self::default());
        for slice in &self.slices {
            let wanted = (count - first.length).min(slice.len());
            let (head, tail) = slice.split_at(wanted).ok()?;
            for (part, buffers) in [(head, &mut first), (tail, &mut rest)] {
                if !part.is_empty() {
                    buffers.push(part);
                }
            }
        }
        Some((first, rest))
    }

    /// At most the first `count` bytes.
    pub fn first(&self, count: usize) -> Self {
        self.split_at(count).map_or_else(|| self.clone(), |(first, _)| first)
    }

    /// The first `N` bytes, or nothing when there are fewer.
    pub fn read_array<const N: usize>(&self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        (self.copy_to(&mut bytes) == N).then_some(bytes)
    }

    /// Copies as much as both sides have; says how many bytes.
    pub fn copy_to(&self, bytes: &mut [u8]) -> usize {
        let mut done = 0;
        for slice in &self.slices {
            done += slice.copy_to(&mut bytes[done..]);
        }
        done
    }

    /// Copies as much as both sides have; says how many bytes.
    pub fn copy_from(&self, bytes: &[u8]) -> usize {
        let mut done = 0;
        for slice in &self.slices {
            let count = slice.len().min(bytes.len() - done);
            slice.copy_from(&bytes[done..done + count]);
            done += count;
        }
        done
    }

    pub fn fill_with_zeroes(&self) {
        const ZEROES: [u8; 4096] = [0; 4096];
        for slice in &self.slices {
            let mut rest = *slice;
            while !rest.is_empty() {
                rest.copy_from(&ZEROES);
                let Ok(next) = rest.offset(rest.len().min(ZEROES.len())) else { return };
                rest = next;
            }
        }
    }
}

#[cfg(test)]
#[path = "chain_test.rs"]
mod tests;

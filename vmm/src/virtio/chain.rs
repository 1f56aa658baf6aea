//! A descriptor chain, checked: the guest's buffers as slices of its memory that exist.

use virtio_queue::DescriptorChain;
use vm_memory::VolatileSlice;

use super::device_memory::Detour;
use super::{DeviceMemory, GuestRam};

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
    /// The last byte that the device may write, of a chain that is refused: there a driver finds how its request ended,
    /// if the device has such a thing. Empty when the chain is fine, and when this byte is not to be known either.
    pub refused_at: Buffers<'m>,
}

impl<'m> Chain<'m> {
    /// Walks the descriptors. A chain that breaks the rules (a buffer outside of guest memory, a readable one after a
    /// writable one, a broken link, too many) comes out with no buffers at all: too short for any device.
    pub fn collect(descriptors: DescriptorChain<&'m GuestRam>, memory: &'m DeviceMemory) -> Self {
        let head = descriptors.head_index();
        let (mut readable, mut writable) = (Buffers::default(), Buffers::default());
        let (mut fine, mut last) = (true, None);
        // One more than there may be, which then is not the last.
        for (count, descriptor) in descriptors.take(MAX_SLICES + 1).enumerate() {
            let (address, length) = (descriptor.addr().0, u64::from(descriptor.len()));
            let mut append = || match descriptor.is_write_only() {
                true => memory.append_writable(&mut writable, address, length),
                false if writable.slices.is_empty() => memory.append_readable(&mut readable, address, length),
                false => None,
            };
            fine = fine && append().is_some();
            last = (count < MAX_SLICES).then_some(descriptor);
        }
        // The walk also ends, silently, where a link points outside of the table or its table outside of memory.
        let last = last.filter(|descriptor| !descriptor.has_next());
        if fine && last.is_some() && readable.slices.len() + writable.slices.len() <= MAX_SLICES {
            return Self { head, readable, writable, refused_at: Buffers::default() };
        }
        let mut refused_at = Buffers::default();
        if let Some(last) = last.filter(|descriptor| descriptor.is_write_only() && descriptor.len() > 0) {
            let end = last.addr().0.checked_add(u64::from(last.len()) - 1);
            // Left empty where it is not RAM.
            let _ = end.and_then(|end| memory.append_writable(&mut refused_at, end, 1));
        }
        Self { head, readable: Buffers::default(), writable: Buffers::default(), refused_at }
    }

    /// Bytes in both directions.
    pub fn len(&self) -> usize {
        self.readable.len() + self.writable.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Bytes of guest memory, in one or more pieces. The guest can change them at any time, so they are only ever copied.
#[derive(Clone, Debug, Default)]
pub struct Buffers<'m> {
    slices: Vec<VolatileSlice<'m>>,
    length: usize,
    /// How copies are made when not all of it is memory of our own.
    detour: Option<&'m Detour>,
}

impl<'m> Buffers<'m> {
    pub fn push(&mut self, slice: VolatileSlice<'m>) {
        // A chain's lengths sum up to less than 2^32, which the walk over its descriptors checks.
        self.length += slice.len();
        self.slices.push(slice);
    }

    /// Some of it may not be there any more when it is read.
    pub fn go_by(&mut self, detour: &'m Detour) {
        self.detour = Some(detour);
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
        let empty = Self { detour: self.detour, ..Self::default() };
        let (mut first, mut rest) = (empty.clone(), empty);
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

    /// Copies as much as both sides have; says how many bytes. It is less where a file behind them was cut short.
    pub fn copy_to(&self, bytes: &mut [u8]) -> usize {
        let mut done = 0;
        for slice in &self.slices {
            let wanted = slice.len().min(bytes.len() - done);
            let copied = match self.detour {
                None => slice.copy_to(&mut bytes[done..]),
                Some(detour) => detour.copy(slice, &mut bytes[done..]),
            };
            done += copied;
            if copied < wanted {
                break;
            }
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

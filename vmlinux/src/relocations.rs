//! The places in a kernel that hold its own addresses, to be changed when it is to lie elsewhere.
//!
//! A bzImage's payload is the vmlinux without its symbols, and after it what the kernel's build has found (`relocs`, in
//! Linux's arch/x86/tools): words of 32 bits, each the address of a place less its upper half, which is all ones. A zero
//! begins each list: places of 64 bits, then, up to Linux 6.14, places of 32 bits from which the distance is to be taken
//! away (those relative to a processor's own data), then places of 32 bits.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// More than any kernel has, in bytes.
const MOST: u64 = 64 << 20;
const WORD: usize = 4;
/// Words that are looked at together.
const STRETCH: usize = 1024;

/// The places, each by the lower half of its address as the kernel was linked; the upper is all ones. None of them is
/// checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Relocations {
    table: Vec<u8>,
    /// Each kind's bytes in the table.
    wide: Range<usize>,
    inverse: Range<usize>,
    narrow: Range<usize>,
}

impl Relocations {
    /// Those in the bytes `place` of `file`, behind its ELF file, if what is there looks like it.
    pub(crate) fn read(file: &File, place: Range<u64>) -> io::Result<Option<Self>> {
        let size = place.end.saturating_sub(place.start);
        if size == 0 || size > MOST || !size.is_multiple_of(WORD as u64) {
            return Ok(None);
        }
        let mut table = vec![0; size as usize];
        file.read_exact_at(&mut table, place.start)?;
        let mut begins = Vec::new();
        for (index, stretch) in table.as_chunks::<WORD>().0.chunks(STRETCH).enumerate() {
            // The addresses of kernels are in the upper half of all addresses. Nearly always, that is all there is.
            if stretch.iter().fold(-1, |all, word| all & i32::from_le_bytes(*word)) < 0 {
                continue;
            }
            for (place, word) in (index * STRETCH..).zip(stretch) {
                match i32::from_le_bytes(*word) {
                    0 => begins.push(place * WORD),
                    positive if positive > 0 => return Ok(None),
                    _ => {}
                }
            }
        }
        let end = table.len();
        let (wide, inverse, narrow) = match *begins {
            [0, second] => (WORD..second, 0..0, second + WORD..end),
            [0, second, third] => (WORD..second, second + WORD..third, third + WORD..end),
            _ => return Ok(None),
        };
        let found = Self { table, wide, inverse, narrow };
        Ok((found.count() > 0).then_some(found))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        (self.wide.len() + self.inverse.len() + self.narrow.len()) / WORD
    }

    /// Places of 64 bits, to which the distance is to be added.
    pub fn wide(&self) -> impl Iterator<Item = u32> {
        self.addresses(&self.wide)
    }

    /// Places of 32 bits, from which the distance is to be taken away.
    pub fn inverse(&self) -> impl Iterator<Item = u32> {
        self.addresses(&self.inverse)
    }

    /// Places of 32 bits, to which the distance is to be added.
    pub fn narrow(&self) -> impl Iterator<Item = u32> {
        self.addresses(&self.narrow)
    }

    fn addresses(&self, list: &Range<usize>) -> impl Iterator<Item = u32> {
        let words = self.table.get(list.clone()).unwrap_or_default().as_chunks::<WORD>().0;
        words.iter().map(|word| u32::from_le_bytes(*word))
    }
}

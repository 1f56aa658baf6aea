use std::os::unix::fs::FileExt;

use vm_memory::{Bytes, GuestAddress};
use vmlinux::START_KERNEL_MAP;

use super::*;
use crate::memory;
use crate::virtio::block::disk::temporary_file;

const LINKED: u64 = 2 << 20;
const SIZE: u64 = 0x1000;
const MEMORY: u64 = 64 << 20;
const NOWHERE_TO_GO: u64 = LINKED + SIZE;

/// A kernel of a page, whose words are their own offsets, with relocations behind it.
fn kernel(relocations: &[&[u64]]) -> File {
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for field in [LINKED + 8, 64, 0] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend([0; 4]);
    for field in [64_u16, 56, 1, 64, 0, 0] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend([1, 0, 0, 0, 7, 0, 0, 0]);
    for field in [SIZE, LINKED, LINKED, SIZE, SIZE, SIZE] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.resize(SIZE as usize, 0);
    bytes.extend((0..SIZE / 8).flat_map(|index| (index * 8).to_le_bytes()));
    for list in relocations {
        bytes.extend([0; 4]);
        bytes.extend(list.iter().flat_map(|offset| {
            let address = (START_KERNEL_MAP + LINKED).wrapping_add(*offset);
            (address as u32).to_le_bytes()
        }));
    }
    let file = temporary_file();
    file.write_all_at(&bytes, 0).unwrap();
    file
}

fn load(file: &File, seed: Option<u64>) -> Result<(Kernel, GuestRam), Error> {
    let memory = memory::allocate(MEMORY).unwrap();
    let kernel = Kernel::load(file, &memory, MEMORY, MEMORY, seed)?;
    Ok((kernel, memory))
}

/// Virtually by 3 and physically by 5 times 2 MiB.
const SEED: u64 = 3 << 32 | 5;
const PHYSICAL: u64 = 5 * (2 << 20);
const VIRTUAL: u64 = 3 * (2 << 20);

#[test]
fn a_kernel_with_relocations_lies_where_its_seed_says() {
    let file = kernel(&[&[0x100, 0x203], &[0x300], &[0x400, SIZE - 4]]);
    let (kernel, memory) = load(&file, Some(SEED)).unwrap();
    assert_eq!(kernel.entry, Entry::Linux64(LINKED + 8 + PHYSICAL));
    assert_eq!((kernel.end, kernel.randomized), (LINKED + SIZE + PHYSICAL, true));
    let at = |offset: u64| GuestAddress(LINKED + PHYSICAL + offset);
    let word = |offset: u64| memory.read_obj::<u64>(at(offset)).unwrap();
    assert_eq!((word(0xf8), word(0x108)), (0xf8, 0x108));
    assert_eq!(word(0x100), 0x100 + VIRTUAL);
    // Across two words: nothing says that places are aligned.
    let across = u64::from_le_bytes([0, 0, 0, 0, 0, 0x08, 0x02, 0]);
    assert_eq!(word(0x203), across + VIRTUAL);
    assert_eq!(memory.read_obj::<u32>(at(0x300)).unwrap(), 0x300_u32.wrapping_sub(VIRTUAL as u32));
    assert_eq!(word(0x400), 0x400 + VIRTUAL);
    assert_eq!(memory.read_obj::<u32>(at(SIZE - 4)).unwrap(), VIRTUAL as u32);
}

#[test]
fn without_a_seed_or_relocations_it_lies_where_it_was_linked_to() {
    for (file, seed) in [(kernel(&[&[0x100], &[0x200]]), None), (kernel(&[]), Some(SEED))] {
        let (kernel, memory) = load(&file, seed).unwrap();
        assert_eq!((kernel.entry, kernel.end), (Entry::Linux64(LINKED + 8), LINKED + SIZE));
        assert!(!kernel.randomized);
        assert_eq!(memory.read_obj::<u64>(GuestAddress(LINKED + 0x100)).unwrap(), 0x100);
    }
}

#[test]
fn every_seed_leaves_it_within_its_bounds() {
    let linked = LINKED..LINKED + SIZE;
    let mut seen = std::collections::BTreeSet::new();
    for seed in (0..5000_u64).map(|index| index.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
        let Displacement { physical, virt } = Displacement::choose(seed, linked.clone(), MEMORY);
        assert!(linked.end + physical <= MEMORY && linked.end + virt <= 1 << 30);
        assert!(physical.is_multiple_of(2 << 20) && virt.is_multiple_of(2 << 20));
        seen.insert(virt);
    }
    assert_eq!(seen.len(), 511, "all places are taken");
    let confined = Displacement::choose(u64::MAX, linked.clone(), NOWHERE_TO_GO);
    assert_eq!(confined.physical, 0);
    assert_eq!(Displacement::choose(u64::MAX, linked, 0).physical, 0);
    let huge = Displacement::choose(u64::MAX, LINKED..3 << 30, 3 << 30);
    assert_eq!(huge, Displacement { physical: 0, virt: 0 });
}

#[test]
fn relocations_outside_of_the_kernel_are_refused() {
    for offset in [SIZE, SIZE - 7, 0_u64.wrapping_sub(1), 0x7000_0000, 0_u64.wrapping_sub(LINKED)] {
        let error = load(&kernel(&[&[offset], &[]]), Some(SEED)).unwrap_err().to_string();
        assert!(error.contains("outside of its own memory"), "{offset:#x}: {error}");
    }
    for lists in [[&[][..], &[SIZE - 3], &[]], [&[], &[], &[SIZE - 3]]] {
        assert!(load(&kernel(&lists), Some(SEED)).is_err());
    }
}

#[test]
fn a_kernel_that_does_not_fit_is_refused() {
    let memory = memory::allocate(2 << 20).unwrap();
    let error = Kernel::load(&kernel(&[]), &memory, 2 << 20, 2 << 20, None).unwrap_err();
    assert_eq!(error.to_string(), "needs memory up to 3 MiB, the machine has 2 MiB");
}

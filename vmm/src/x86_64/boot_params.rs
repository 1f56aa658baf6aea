//! Linux's own boot protocol: the "zero page" (Documentation/arch/x86/zero-page.rst).

use linux_loader::loader::bootparam::{boot_e820_entry, boot_params};
use vm_memory::{Bytes, GuestAddress};

use super::{BootFacts, Error, memory_map};
use crate::layout;
use crate::virtio::GuestRam;

/// "HdrS", by which the kernel knows that the header is there.
const HEADER_MAGIC: u32 = 0x5372_6448;
const BOOT_FLAG: u16 = 0xaa55;
/// The newest version of the protocol that says anything of interest to a vmlinux: 2.15.
const PROTOCOL: u16 = 0x020f;
/// A boot loader without an assigned number.
const LOADER_UNDEFINED: u8 = 0xff;
const LOADED_HIGH: u8 = 1;
/// The kernel lies at random addresses, and is to do the same with what it maps by itself.
const KASLR: u8 = 1 << 1;
/// The kernel is to keep its early messages to itself.
const QUIET: u8 = 1 << 5;
/// A setup_data entry with random bytes for the kernel's generator; Linux 6.0 and newer look for it.
const SETUP_RNG_SEED: u32 = 9;
const SEED: usize = 32;

/// Writes the zero page and the seed behind it.
pub fn write(memory: &GuestRam, facts: &BootFacts) -> Result<(), Error> {
    super::write(memory, "the seed for the guest's random numbers", layout::SETUP_DATA, &seed())?;
    let mut params = boot_params::default();
    params.hdr.boot_flag = BOOT_FLAG;
    params.hdr.header = HEADER_MAGIC;
    params.hdr.version = PROTOCOL;
    params.hdr.type_of_loader = LOADER_UNDEFINED;
    let kaslr = if facts.randomized { KASLR } else { 0 };
    params.hdr.loadflags = LOADED_HIGH | QUIET | kaslr;
    params.hdr.cmd_line_ptr = layout::CMDLINE as u32;
    params.hdr.cmdline_size = facts.cmdline_length as u32;
    params.hdr.setup_data = layout::SETUP_DATA;
    if let Some(initramfs) = facts.initramfs {
        // Both lie below 3 GiB.
        params.hdr.ramdisk_image = initramfs.address as u32;
        params.hdr.ramdisk_size = initramfs.length as u32;
    }
    params.acpi_rsdp_addr = facts.rsdp.unwrap_or(0);
    let map = memory_map(facts.memory);
    // The map has a handful of entries, the table room for 128.
    params.e820_entries = map.len() as u8;
    for (index, entry) in map.iter().enumerate() {
        params.e820_table[index] =
            boot_e820_entry { addr: entry.start, size: entry.size, r#type: entry.kind };
    }
    memory
        .write_obj(params, GuestAddress(layout::BOOT_PARAMS))
        .map_err(|source| Error::Write { what: "the boot parameters", source })
}

/// struct setup_data with fresh random bytes. Without any, it carries a seed of zero length.
fn seed() -> Vec<u8> {
    let mut random = [0u8; SEED];
    // SAFETY: the buffer is ours and as long as we say.
    let got = unsafe { libc::getrandom(random.as_mut_ptr().cast(), SEED, 0) };
    let random = if got == SEED as isize { &random[..] } else { &[] };
    let mut entry = 0u64.to_le_bytes().to_vec();
    entry.extend(SETUP_RNG_SEED.to_le_bytes());
    entry.extend((random.len() as u32).to_le_bytes());
    entry.extend(random);
    entry
}

//! The PVH boot protocol's start info (Xen's public/arch-x86/hvm/start_info.h).

use linux_loader::loader::elf::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use vm_memory::{Bytes, GuestAddress};

use super::{BootFacts, Error, memory_map};
use crate::layout;
use crate::virtio::GuestRam;

const MAGIC: u32 = 0x336e_c578;
/// The version that has a memory map.
const VERSION: u32 = 1;

/// Writes the start info, and behind it the module list and the memory map.
pub fn write(memory: &GuestRam, facts: &BootFacts) -> Result<(), Error> {
    let write = |source| Error::Write { what: "the PVH start info", source };
    let modules = layout::PVH_START_INFO + size_of::<hvm_start_info>() as u64;
    let map_at = modules + size_of::<hvm_modlist_entry>() as u64;
    let map = memory_map(facts.memory);
    let info = hvm_start_info {
        magic: MAGIC,
        version: VERSION,
        nr_modules: u32::from(facts.initramfs.is_some()),
        modlist_paddr: modules,
        cmdline_paddr: layout::CMDLINE,
        rsdp_paddr: facts.rsdp.unwrap_or(0),
        memmap_paddr: map_at,
        memmap_entries: map.len() as u32,
        ..Default::default()
    };
    memory.write_obj(info, GuestAddress(layout::PVH_START_INFO)).map_err(write)?;
    if let Some(initramfs) = facts.initramfs {
        let module =
            hvm_modlist_entry { paddr: initramfs.address, size: initramfs.length, ..Default::default() };
        memory.write_obj(module, GuestAddress(modules)).map_err(write)?;
    }
    for (at, entry) in (map_at..).step_by(size_of::<hvm_memmap_table_entry>()).zip(map) {
        let entry =
            hvm_memmap_table_entry { addr: entry.start, size: entry.size, type_: entry.kind, reserved: 0 };
        memory.write_obj(entry, GuestAddress(at)).map_err(write)?;
    }
    Ok(())
}

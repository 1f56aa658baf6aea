//! The state in which processors start.

use kvm_bindings::{Msrs, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress};

use super::Entry;
use crate::layout;
use crate::virtio::GuestRam;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing} of a vCPU")]
    Kvm { doing: &'static str, source: kvm_ioctls::Error },
    #[error("writing {what} for the boot processor")]
    Memory { what: &'static str, source: vm_memory::GuestMemoryError },
    #[error("building the list of model-specific registers")]
    Msrs,
}

const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

const MSR_MISC_ENABLE: u32 = 0x1a0;
const FAST_STRINGS: u64 = 1;
const MSR_MTRR_DEFAULT: u32 = 0x2ff;
/// MTRRs on, everything write-back: nothing has to be found out or set.
const MTRR_WRITE_BACK: u64 = 1 << 11 | 6;

/// Local vector table entries for LINT0 and LINT1 in the APIC's register page, and the delivery modes.
const LVT_LINT0: usize = 0x350;
const LVT_LINT1: usize = 0x360;
const DELIVER_EXT_INT: u32 = 7 << 8;
const DELIVER_NMI: u32 = 4 << 8;
const DELIVERY_MODE: u32 = 7 << 8;

/// Present, writable, and on the last level a 2 MiB page.
const TABLE: u64 = 3;
const PAGE_2M: u64 = 1 << 7 | 3;

/// Prepares the boot processor to enter the kernel; the others wait for it to wake them.
pub fn set_boot_processor(vcpu: &VcpuFd, memory: &GuestRam, entry: Entry) -> Result<(), Error> {
    let mut sregs = vcpu.get_sregs().map_err(kvm("reading the system registers"))?;
    let mut regs = kvm_regs { rflags: 2, ..Default::default() };
    write(memory, "the descriptor table", layout::GDT, &gdt())?;
    sregs.gdt.base = layout::GDT;
    sregs.gdt.limit = (gdt().len() * 8 - 1) as u16;
    match entry {
        Entry::Linux64(address) => {
            write(memory, "the page tables", layout::PAGE_TABLES, &identity_map())?;
            regs.rip = address;
            regs.rsi = layout::BOOT_PARAMS;
            set_segments(&mut sregs, CODE_64);
            sregs.cr3 = layout::PAGE_TABLES;
            sregs.cr4 |= CR4_PAE;
            sregs.cr0 = CR0_PE | CR0_ET | CR0_PG;
            sregs.efer |= EFER_LME | EFER_LMA;
        }
        Entry::Pvh(address) => {
            regs.rip = address;
            regs.rbx = layout::PVH_START_INFO;
            set_segments(&mut sregs, CODE_32);
            sregs.cr0 = CR0_PE | CR0_ET;
        }
    }
    vcpu.set_sregs(&sregs).map_err(kvm("setting the system registers"))?;
    vcpu.set_regs(&regs).map_err(kvm("setting the registers"))
}

/// Model-specific registers and interrupt pins, the same for every vCPU.
pub fn set_common(vcpu: &VcpuFd) -> Result<(), Error> {
    let entry = |index, data| kvm_msr_entry { index, data, ..Default::default() };
    let entries = [entry(MSR_MISC_ENABLE, FAST_STRINGS), entry(MSR_MTRR_DEFAULT, MTRR_WRITE_BACK)];
    let msrs = Msrs::from_entries(&entries).map_err(|_| Error::Msrs)?;
    vcpu.set_msrs(&msrs).map_err(kvm("setting the model-specific registers"))?;

    let mut lapic = vcpu.get_lapic().map_err(kvm("reading the local APIC"))?;
    for (register, mode) in [(LVT_LINT0, DELIVER_EXT_INT), (LVT_LINT1, DELIVER_NMI)] {
        for (byte, value) in (mode & DELIVERY_MODE).to_le_bytes().into_iter().enumerate() {
            lapic.regs[register + byte] = value as _;
        }
    }
    vcpu.set_lapic(&lapic).map_err(kvm("setting the local APIC"))
}

fn kvm(doing: &'static str) -> impl Fn(kvm_ioctls::Error) -> Error {
    move |source| Error::Kvm { doing, source }
}

fn write(memory: &GuestRam, what: &'static str, address: u64, words: &[u64]) -> Result<(), Error> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    memory.write_slice(&bytes, GuestAddress(address)).map_err(|source| Error::Memory { what, source })
}

/// Page tables for the first GiB, one to one.
fn identity_map() -> Vec<u64> {
    const ENTRIES: u64 = 512;
    let page = ENTRIES * 8;
    let mut tables = vec![0; 3 * ENTRIES as usize];
    tables[0] = (layout::PAGE_TABLES + page) | TABLE;
    tables[ENTRIES as usize] = (layout::PAGE_TABLES + 2 * page) | TABLE;
    for (index, entry) in tables[2 * ENTRIES as usize..].iter_mut().enumerate() {
        *entry = (index as u64) << 21 | PAGE_2M;
    }
    tables
}

/// A segment of 4 GiB: its access byte (bits 0 to 7) and its flags (bits 12 to 15), as descriptors have them.
type Access = u16;
const CODE_64: Access = 0xa09b;
const CODE_32: Access = 0xc09b;
const DATA: Access = 0xc093;
const TASK: Access = 0x808b;

/// Selectors that Linux asks for: 0x10 for code, 0x18 for data.
const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;
const TASK_SELECTOR: u16 = 0x20;

fn gdt() -> [u64; 5] {
    [0, 0, descriptor(CODE_64), descriptor(DATA), descriptor(TASK)]
}

fn descriptor(access: Access) -> u64 {
    let limit = 0xf_ffff_u64;
    limit & 0xffff | u64::from(access & 0xff) << 40 | (limit >> 16) << 48 | u64::from(access >> 12) << 52
}

fn set_segments(sregs: &mut kvm_sregs, code: Access) {
    sregs.cs = segment(CODE_SELECTOR, code);
    let data = segment(DATA_SELECTOR, DATA);
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    sregs.tr = segment(TASK_SELECTOR, TASK);
}

fn segment(selector: u16, access: Access) -> kvm_segment {
    let bit = |at: u16| (access >> at & 1) as u8;
    kvm_segment {
        selector,
        limit: 0xffff_ffff,
        type_: (access & 0xf) as u8,
        s: bit(4),
        dpl: 0,
        present: bit(7),
        avl: bit(12),
        l: bit(13),
        db: bit(14),
        g: bit(15),
        ..Default::default()
    }
}

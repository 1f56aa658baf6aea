//! Everything that knows the guest is an x86-64 PC: how its kernel is loaded and told about the machine, and the
//! state its processors start in.

pub mod acpi;
pub mod boot_params;
pub mod cpuid;
mod initramfs;
mod kaslr;
pub mod kernel;
pub mod mptable;
pub mod pvh;
pub mod registers;
mod sparse;

use std::fs::File;
use std::path::PathBuf;

use vm_memory::{Bytes, GuestAddress};

use crate::layout;
use crate::spec::{Firmware, MachineSpec, Transport};
use crate::virtio::GuestRam;
use initramfs::Initramfs;
pub use kernel::{Entry, Kernel};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("opening the kernel {path}")]
    OpenKernel { path: PathBuf, source: std::io::Error },
    #[error("kernel {path}")]
    Kernel { path: PathBuf, source: kernel::Error },
    #[error(transparent)]
    Initramfs(#[from] initramfs::Error),
    #[error(
        "the kernel command line is {0} bytes long with the devices on it, at most {max} are possible",
        max = layout::CMDLINE_SIZE - 1
    )]
    Cmdline(usize),
    #[error("writing {what} into guest memory")]
    Write { what: &'static str, source: vm_memory::GuestMemoryError },
}

/// Fills the guest's memory with everything its kernel needs to start, and says where it starts.
pub fn load(spec: &MachineSpec, memory: &GuestRam) -> Result<Entry, Error> {
    let path = &spec.kernel;
    let file = File::open(path).map_err(|source| Error::OpenKernel { path: path.clone(), source })?;
    let mut initramfs = Initramfs::open(&spec.initramfs, spec.memory)?;
    let top = spec.memory.min(initramfs.start());
    let kernel = Kernel::load(&file, memory, spec.memory, top, spec.kaslr)
        .map_err(|source| Error::Kernel { path: path.clone(), source })?;
    let initramfs = initramfs.load(memory, kernel.end)?;

    write(memory, "the way to restart", layout::BIOS_ENTRY, &restart_code())?;
    // Also where ACPI says the same and is believed: kernels look for this in any case, and what they find first spares
    // them 4,096 looks into the rest of the first megabyte, with a mapping made and undone for each.
    write(memory, "the MP table", layout::EBDA, &mptable::table(spec.vcpus))?;
    let mut cmdline = spec.cmdline.clone();
    match spec.firmware {
        Firmware::Acpi => write(memory, "the ACPI tables", layout::ACPI_START, &acpi::tables(spec))?,
        Firmware::CommandLine if spec.transport == Transport::Mmio => {
            announce_devices(&mut cmdline, spec.devices());
        }
        Firmware::CommandLine => {}
    }
    let cmdline_length = cmdline.len();
    if cmdline_length >= layout::CMDLINE_SIZE {
        return Err(Error::Cmdline(cmdline_length));
    }
    cmdline.push('\0');
    write(memory, "the command line", layout::CMDLINE, cmdline.as_bytes())?;

    let facts = BootFacts {
        memory: spec.memory,
        cmdline_length,
        initramfs,
        randomized: kernel.randomized,
        rsdp: (spec.firmware == Firmware::Acpi).then_some(layout::ACPI_START),
    };
    match kernel.entry {
        Entry::Linux64(_) => boot_params::write(memory, &facts)?,
        Entry::Pvh(_) => pvh::write(memory, &facts)?,
    }
    Ok(kernel.entry)
}

/// All that there is of a BIOS: mov dx, port; mov al, value; out dx, al; jmp to itself.
fn restart_code() -> [u8; 8] {
    let [low, high] = layout::RESET_PORT.to_le_bytes();
    [0xba, low, high, 0xb0, layout::RESET_VALUE, 0xee, 0xeb, 0xfe]
}

/// What the boot protocols tell a kernel, each in its own structures.
pub(crate) struct BootFacts {
    /// Size of RAM in bytes.
    memory: u64,
    /// Without the closing zero.
    cmdline_length: usize,
    initramfs: Option<initramfs::Placed>,
    rsdp: Option<u64>,
    /// The kernel lies at random addresses.
    randomized: bool,
}

/// A range of the memory map, as both boot protocols and the BIOS call E820 number its kinds.
pub(crate) struct MapEntry {
    start: u64,
    size: u64,
    kind: u32,
}

const KIND_RAM: u32 = 1;
const KIND_RESERVED: u32 = 2;

/// RAM as the kernel may use it: without the BIOS's corner of the first megabyte, where the tables are.
fn memory_map(memory: u64) -> Vec<MapEntry> {
    let entry = |start, end, kind| MapEntry { start, size: end - start, kind };
    let mut map = vec![
        entry(0, layout::EBDA, KIND_RAM),
        entry(layout::EBDA, layout::EBDA_END, KIND_RESERVED),
        entry(layout::ACPI_START, layout::HIGH_MEMORY, KIND_RESERVED),
    ];
    for (start, length) in layout::ram(memory) {
        map.push(entry(start.max(layout::HIGH_MEMORY), start + length, KIND_RAM));
    }
    map
}

/// Appends `virtio_mmio.device=<size>@<address>:<interrupt>` for each device (Linux, virtio_mmio.c). What stands after
/// ` -- ` is for init, so it has to stay last.
fn announce_devices(cmdline: &mut String, devices: usize) {
    let at = cmdline.find(" -- ").unwrap_or(cmdline.len());
    let words: String = (0..devices)
        .map(|index| {
            format!(" virtio_mmio.device=4K@{:#x}:{}", layout::mmio_window(index), layout::gsi(index))
        })
        .collect();
    cmdline.insert_str(at, &words);
}

fn write(memory: &GuestRam, what: &'static str, address: u64, bytes: &[u8]) -> Result<(), Error> {
    memory.write_slice(bytes, GuestAddress(address)).map_err(|source| Error::Write { what, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_on_the_command_line_come_before_inits_arguments() {
        let mut cmdline = "quiet -- single".to_owned();
        announce_devices(&mut cmdline, 2);
        assert_eq!(
            cmdline,
            "quiet virtio_mmio.device=4K@0xd0000000:5 virtio_mmio.device=4K@0xd0001000:6 -- single"
        );
    }

    #[test]
    fn the_memory_map_is_sorted_and_covers_all_ram_but_the_bios_area() {
        let map = memory_map(4 << 30);
        assert!(map.windows(2).all(|pair| pair[0].start + pair[0].size <= pair[1].start));
        let ram: u64 = map.iter().filter(|entry| entry.kind == KIND_RAM).map(|entry| entry.size).sum();
        assert_eq!(ram, (4 << 30) - layout::HIGH_MEMORY + layout::EBDA);
    }
}

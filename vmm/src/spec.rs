//! What a machine is to be, as plain data.
//!
//! The monitor opens every path named here itself, before it is jailed. The order of devices, their addresses and
//! their interrupts follow from the spec alone (see [`crate::layout`]), so that a machine that was frozen can be
//! built again around its memory.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::layout::{BLOCK_OF_MEMORY, MAX_DEVICES};

/// The most vCPUs a machine can have.
pub const MAX_VCPUS: u8 = 32;

/// Parts of a disk begin and end on this boundary, in bytes.
pub const DISK_PART_ALIGNMENT: u64 = 4096;

/// A machine to be built and run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// 1 to [`MAX_VCPUS`].
    pub vcpus: u8,
    /// The guest's memory in bytes, a multiple of 2 MiB.
    pub memory: u64,
    /// An uncompressed kernel: a vmlinux, ELF64 for x86-64.
    pub kernel: PathBuf,
    /// With a seed, a kernel that carries its relocations lies at addresses that follow from it (KASLR); without, or
    /// without relocations, where it was linked to lie. To be random, and kept from the guest.
    pub kaslr: Option<u64>,
    /// Archives that the kernel finds one after another in memory, each padded with zeroes to 4 bytes.
    pub initramfs: Vec<InitramfsPart>,
    /// The kernel's command line, at most 2047 bytes. With [`Firmware::CommandLine`] the monitor appends the devices.
    pub cmdline: String,
    pub firmware: Firmware,
    pub transport: Transport,
    /// Read-only persistent memory devices: `/dev/pmem0`, ….
    pub pmem: Vec<PmemSpec>,
    /// Block devices: `/dev/vda`, ….
    pub blocks: Vec<BlockSpec>,
    pub vsock: Option<VsockSpec>,
    /// Whether the guest gets a virtio entropy device.
    pub rng: bool,
    /// Whether the guest gets a balloon, by which it gives memory that it has no use for back to the host.
    pub balloon: bool,
}

/// How the guest's kernel learns about processors, interrupts and devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Firmware {
    /// Hardware-reduced ACPI tables (ACPI 6.5, section 4.1).
    Acpi,
    /// Only an MP table, and `virtio_mmio.device=` on the command line (with [`Transport::Mmio`]), for kernels without
    /// ACPI.
    CommandLine,
}

/// How the guest's drivers reach their virtio devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// A window of registers for each, which the firmware announces.
    Mmio,
    /// A PCI bus with modern virtio devices on it, whose interrupts are messages (MSI-X).
    Pci,
}

/// A piece of the initramfs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InitramfsPart {
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// A file, or the beginning of one, as a piece of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskPart {
    pub path: PathBuf,
    /// Bytes presented, a multiple of [`DISK_PART_ALIGNMENT`]; zeroes past the file's end.
    pub length: u64,
}

/// A read-only virtio-pmem device over the parts, one after another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PmemSpec {
    pub parts: Vec<DiskPart>,
    /// The guest sees a copy of the parts in memory of its monitor's own, made before the machine starts, and not the
    /// host's page cache, which it would share with other machines.
    pub private: bool,
}

/// A virtio-blk device over the parts, one after another. A writable one has a single part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockSpec {
    /// The device's serial number as the guest sees it, at most 20 bytes.
    pub id: String,
    pub parts: Vec<DiskPart>,
    pub writable: bool,
    /// Whether a flush of the guest makes what it wrote outlast a crash of the host. Without, flushes are answered and
    /// nothing is done: for the proof that they matter.
    pub flush: bool,
    /// As [`PmemSpec::private`]; for a disk that is only read.
    pub private: bool,
}

/// Streams between the host and the guest. The host's side is a Unix stream socket: a client connects, writes `CONNECT <port>\n`, reads
/// `OK <host port>\n` and is then on a stream to the guest's `port`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VsockSpec {
    /// The guest's context ID, at least 3.
    pub guest_cid: u32,
    /// Where the socket is created.
    pub socket: PathBuf,
    pub carrier: Carrier,
}

/// The device that carries the streams' packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Carrier {
    /// virtio-vsock: the guest's kernel has their other ends.
    Vsock,
    /// A port of a virtio-console, for kernels without vsock: a program in the guest has.
    Console,
}

/// What is wrong with a spec.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("a machine has 1 to {MAX_VCPUS} vCPUs, not {0}")]
    Vcpus(u8),
    #[error("a machine's memory is a multiple of 2 MiB and not zero; {0} bytes is not")]
    Memory(u64),
    #[error("the machine has {0} virtio devices, at most {MAX_DEVICES} are possible")]
    Devices(usize),
    #[error("a disk part is {0} bytes long; its length must be a multiple of {DISK_PART_ALIGNMENT}")]
    PartLength(u64),
    #[error("the disks of the machine are larger than the address space")]
    DiskTooLarge,
    #[error("a disk has no parts, or all of them are empty")]
    EmptyDisk,
    #[error("a writable disk has one part, not {0}")]
    WritableParts(usize),
    #[error("a writable disk cannot be a copy in memory")]
    WritableCopy,
    #[error("the kernel command line contains a zero byte")]
    CmdlineZero,
    #[error("guest context ID {0} is reserved; the first free one is 3")]
    GuestCid(u32),
}

impl MachineSpec {
    /// Checks everything that can be told without looking at a file.
    pub fn validate(&self) -> Result<(), Error> {
        if self.vcpus == 0 || self.vcpus > MAX_VCPUS {
            return Err(Error::Vcpus(self.vcpus));
        }
        if self.memory == 0 || !self.memory.is_multiple_of(BLOCK_OF_MEMORY) || self.memory > 1 << 45 {
            return Err(Error::Memory(self.memory));
        }
        if self.devices() > MAX_DEVICES {
            return Err(Error::Devices(self.devices()));
        }
        if self.cmdline.contains('\0') {
            return Err(Error::CmdlineZero);
        }
        if let Some(vsock) = &self.vsock
            && (vsock.guest_cid < 3 || vsock.guest_cid == u32::MAX)
        {
            return Err(Error::GuestCid(vsock.guest_cid));
        }
        if let Some(disk) = self.blocks.iter().find(|block| block.writable && block.parts.len() > 1) {
            return Err(Error::WritableParts(disk.parts.len()));
        }
        if self.blocks.iter().any(|block| block.writable && block.private) {
            return Err(Error::WritableCopy);
        }
        let disks =
            self.pmem.iter().map(|pmem| &pmem.parts).chain(self.blocks.iter().map(|block| &block.parts));
        disks.into_iter().try_for_each(|parts| check_parts(parts))
    }

    /// How many virtio devices the guest sees.
    pub fn devices(&self) -> usize {
        self.pmem.len()
            + self.blocks.len()
            + usize::from(self.vsock.is_some())
            + usize::from(self.rng)
            + usize::from(self.balloon)
    }
}

fn check_parts(parts: &[DiskPart]) -> Result<(), Error> {
    let mut total = 0u64;
    for part in parts {
        if !part.length.is_multiple_of(DISK_PART_ALIGNMENT) {
            return Err(Error::PartLength(part.length));
        }
        total = total.checked_add(part.length).filter(|total| *total < 1 << 46).ok_or(Error::DiskTooLarge)?;
    }
    if total == 0 { Err(Error::EmptyDisk) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut MachineSpec)) -> Result<(), Error> {
        let mut spec = MachineSpec {
            vcpus: 1,
            memory: 256 << 20,
            kernel: "vmlinux".into(),
            kaslr: None,
            initramfs: vec![],
            cmdline: String::new(),
            firmware: Firmware::Acpi,
            transport: Transport::Mmio,
            pmem: vec![],
            blocks: vec![],
            vsock: None,
            rng: false,
            balloon: false,
        };
        change(&mut spec);
        spec.validate()
    }

    fn disk(lengths: &[u64]) -> PmemSpec {
        PmemSpec {
            parts: lengths.iter().map(|length| DiskPart { path: "disk".into(), length: *length }).collect(),
            private: false,
        }
    }

    #[test]
    fn what_cannot_be_a_machine_is_refused() {
        assert_eq!(with(|_| {}), Ok(()));
        assert_eq!(with(|spec| spec.vcpus = 0), Err(Error::Vcpus(0)));
        assert_eq!(with(|spec| spec.vcpus = 33), Err(Error::Vcpus(33)));
        assert_eq!(with(|spec| spec.memory = (2 << 20) + 1), Err(Error::Memory((2 << 20) + 1)));
        assert_eq!(
            with(|spec| spec.memory = u64::MAX - (2 << 20) + 1),
            Err(Error::Memory(u64::MAX - (2 << 20) + 1))
        );
        assert_eq!(with(|spec| spec.cmdline = "a\0b".to_owned()), Err(Error::CmdlineZero));
        assert_eq!(with(|spec| spec.pmem = vec![disk(&[4096]); 20]), Err(Error::Devices(20)));
        assert_eq!(with(|spec| spec.pmem = vec![disk(&[4096, 512])]), Err(Error::PartLength(512)));
        assert_eq!(with(|spec| spec.pmem = vec![disk(&[0])]), Err(Error::EmptyDisk));
        assert_eq!(with(|spec| spec.pmem = vec![disk(&[1 << 63, 1 << 63])]), Err(Error::DiskTooLarge));
        let parts = disk(&[4096, 4096]).parts;
        let block =
            |parts, private| BlockSpec { id: String::new(), parts, writable: true, flush: true, private };
        assert_eq!(with(|spec| spec.blocks = vec![block(parts, false)]), Err(Error::WritableParts(2)));
        let part = disk(&[4096]).parts;
        assert_eq!(with(|spec| spec.blocks = vec![block(part, true)]), Err(Error::WritableCopy));
        let vsock =
            |guest_cid| Some(VsockSpec { guest_cid, socket: "socket".into(), carrier: Carrier::Vsock });
        assert_eq!(with(|spec| spec.vsock = vsock(2)), Err(Error::GuestCid(2)));
    }
}

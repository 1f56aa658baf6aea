//! How an image's disk is attached to a machine, and why so.

use std::fmt;

use guest_protocol::{RootfsDevice, RootfsFormat};
use kernels::{Feature, Kernel};
use rootfs_builder::store::{Disk, DiskPart as StoredPart};
use vmm::{BlockSpec, DiskPart, PmemSpec};

use super::config::MachineConfig;
use crate::arguments::RootfsChoice;

/// The guest describes each 4 KiB page of a pmem device in 64 bytes of its own memory. Above this
/// share of its memory, in percent, the rootfs is a block device instead.
const PAGE_STRUCTURES_SHARE: u64 = 5;
const PAGE: u64 = 4096;
const PAGE_STRUCTURE: u64 = 64;

/// The decision, for the specification and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedRootfs {
    pub device: RootfsDevice,
    pub format: RootfsFormat,
    /// Why it is not the usual one, in words.
    pub format_reason: Option<String>,
    /// The machine has a copy of its own and no page of the host's page cache.
    pub private: bool,
    /// Why this device, in words.
    pub reason: String,
}

impl AttachedRootfs {
    /// Decides for a machine with `memory` bytes whose disk is in a format that was chosen for that reason.
    pub fn choose(
        config: &MachineConfig,
        kernel: &Kernel,
        disk: &Disk,
        (format, format_reason): (RootfsFormat, Option<String>),
        memory: u64,
    ) -> AttachedRootfs {
        let dax = kernel.abilities.usable(&[Feature::VirtioPmemDax]);
        let (device, reason) = choose(config.rootfs_device, dax, &kernel.name, disk.length, memory);
        AttachedRootfs { device, format, format_reason, private: config.no_share, reason }
    }

    /// The device as users call it.
    pub fn name(&self) -> &'static str {
        match self.device {
            RootfsDevice::Pmem => "pmem",
            RootfsDevice::Block => "blk",
        }
    }

    /// The file system as users call it.
    pub fn format_name(&self) -> &'static str {
        match self.format {
            RootfsFormat::Erofs => "erofs",
            RootfsFormat::Ext4 => "ext4",
        }
    }

    pub fn specs(&self, disk: &Disk) -> (Vec<PmemSpec>, Vec<BlockSpec>) {
        let part = |part: &StoredPart| DiskPart { path: part.path.clone(), length: part.length };
        let (parts, private) = (disk.parts.iter().map(part).collect(), self.private);
        match self.device {
            RootfsDevice::Pmem => (vec![PmemSpec { parts, private }], Vec::new()),
            RootfsDevice::Block => (
                Vec::new(),
                vec![BlockSpec { id: "rootfs".into(), parts, writable: false, flush: true, private }],
            ),
        }
    }
}

impl fmt::Display for AttachedRootfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let private = if self.private { ", a private copy" } else { "" };
        write!(f, "{}{private}: {}", self.name(), self.reason)?;
        match &self.format_reason {
            Some(reason) => write!(f, "; {}: {reason}", self.format_name()),
            None => Ok(()),
        }
    }
}

fn choose(
    asked: Option<RootfsChoice>,
    dax: bool,
    kernel: &str,
    disk: u64,
    memory: u64,
) -> (RootfsDevice, String) {
    let structures = disk.div_ceil(PAGE).saturating_mul(PAGE_STRUCTURE);
    // Rounded up: what is said to be 5 percent is not more.
    let percent = structures.saturating_mul(100).div_ceil(memory.max(1));
    match asked {
        Some(RootfsChoice::Pmem) => (RootfsDevice::Pmem, "asked for".into()),
        Some(RootfsChoice::Blk) => (RootfsDevice::Block, "asked for".into()),
        None if !dax => (RootfsDevice::Block, format!("kernel {kernel} has no virtio-pmem with DAX")),
        None if percent > PAGE_STRUCTURES_SHARE => {
            (RootfsDevice::Block, format!("the image's page structures would take {percent} % of the memory"))
        }
        None => (RootfsDevice::Pmem, "mapped with DAX".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn five_percent_of_the_memory_is_the_limit() {
        let chosen = |disk, memory| choose(None, true, "debian", disk, memory);
        assert_eq!(chosen(320 * MIB, 100 * MIB), (RootfsDevice::Pmem, "mapped with DAX".into()));
        let reason = "the image's page structures would take 6 % of the memory".to_owned();
        assert_eq!(chosen(320 * MIB + 4096, 100 * MIB), (RootfsDevice::Block, reason));
        assert_eq!(chosen(u64::MAX, 100 * MIB).0, RootfsDevice::Block);
    }

    #[test]
    fn a_kernel_without_dax_gets_a_block_device_and_the_user_has_the_last_word() {
        let (device, reason) = choose(None, false, "old", MIB, 512 * MIB);
        assert_eq!((device, &*reason), (RootfsDevice::Block, "kernel old has no virtio-pmem with DAX"));
        let pmem = choose(Some(RootfsChoice::Pmem), true, "debian", 1 << 40, 512 * MIB);
        assert_eq!(pmem, (RootfsDevice::Pmem, "asked for".into()));
        assert_eq!(choose(Some(RootfsChoice::Blk), true, "debian", MIB, 512 * MIB).0, RootfsDevice::Block);
    }
}

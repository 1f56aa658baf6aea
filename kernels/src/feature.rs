//! What vmrun wants from a kernel, and the options and modules that give it.

use serde::{Deserialize, Serialize};

/// Something a machine may need its kernel to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// virtio-mmio devices that ACPI tables announce.
    VirtioMmioAcpi,
    /// virtio-mmio devices that the kernel command line announces.
    VirtioMmioCommandLine,
    VirtioPci,
    VirtioBlk,
    /// virtio-pmem with a file system mapped from it (DAX).
    VirtioPmemDax,
    Erofs,
    Ext4,
    Overlayfs,
    Vsock,
    VirtioRng,
    VirtioConsole,
    VirtioNet,
    /// A balloon with free page reporting.
    VirtioBalloon,
    /// The serial port, where a kernel says how it starts and why it dies.
    SerialConsole,
    /// 9p over virtio.
    NineP,
    KvmAmd,
    Loop,
}

/// What the usual machine rests on, its rootfs mapped (virtio-pmem, DAX). There are others; this one's modules are
/// prepared when a kernel is added.
pub const MACHINE_WITH_PMEM: &[Feature] = &[
    Feature::VirtioMmioAcpi,
    Feature::VirtioPmemDax,
    Feature::Erofs,
    Feature::Overlayfs,
    Feature::Vsock,
    Feature::VirtioBlk,
    Feature::Ext4,
];

/// The same, its rootfs on a disk (virtio-blk).
pub const MACHINE_WITH_BLOCK: &[Feature] = &[
    Feature::VirtioMmioAcpi,
    Feature::VirtioBlk,
    Feature::Erofs,
    Feature::Overlayfs,
    Feature::Vsock,
    Feature::Ext4,
];

/// What a machine has use for once its process runs, where its kernel has it.
pub const LATER: &[Feature] = &[Feature::VirtioBalloon];

/// What the emulated host of `vmrun emulate` needs.
pub const EMULATED_HOST: &[Feature] =
    &[Feature::VirtioPci, Feature::VirtioConsole, Feature::NineP, Feature::Overlayfs, Feature::KvmAmd];

/// One option of a kernel's configuration that a feature rests on.
pub(crate) struct KernelOption {
    /// Without its `CONFIG_`.
    pub name: &'static str,
    /// The module it builds, when it can be one.
    pub module: Option<&'static str>,
}

const fn switch(name: &'static str) -> KernelOption {
    KernelOption { name, module: None }
}

const fn module(name: &'static str, module: &'static str) -> KernelOption {
    KernelOption { name, module: Some(module) }
}

impl Feature {
    pub const ALL: [Feature; 17] = [
        Feature::VirtioMmioAcpi,
        Feature::VirtioMmioCommandLine,
        Feature::VirtioPci,
        Feature::VirtioBlk,
        Feature::VirtioPmemDax,
        Feature::Erofs,
        Feature::Ext4,
        Feature::Overlayfs,
        Feature::Vsock,
        Feature::VirtioRng,
        Feature::VirtioConsole,
        Feature::VirtioNet,
        Feature::VirtioBalloon,
        Feature::SerialConsole,
        Feature::NineP,
        Feature::KvmAmd,
        Feature::Loop,
    ];

    /// The options that the feature needs, every one of them, in the order in which their
    /// modules are to be loaded.
    pub(crate) const fn options(self) -> &'static [KernelOption] {
        match self {
            Feature::VirtioMmioAcpi => const { &[switch("ACPI"), module("VIRTIO_MMIO", "virtio_mmio")] },
            Feature::VirtioMmioCommandLine => {
                const { &[module("VIRTIO_MMIO", "virtio_mmio"), switch("VIRTIO_MMIO_CMDLINE_DEVICES")] }
            }
            Feature::VirtioPci => const { &[module("VIRTIO_PCI", "virtio_pci"), switch("PCI_MSI")] },
            Feature::VirtioBlk => const { &[module("VIRTIO_BLK", "virtio_blk")] },
            Feature::VirtioPmemDax => {
                const {
                    &[
                        switch("ZONE_DEVICE"),
                        switch("FS_DAX"),
                        // Without it the disk never appears, and nothing says why.
                        switch("ND_CLAIM"),
                        module("LIBNVDIMM", "libnvdimm"),
                        module("BLK_DEV_PMEM", "nd_pmem"),
                        module("VIRTIO_PMEM", "virtio_pmem"),
                    ]
                }
            }
            Feature::Erofs => const { &[module("EROFS_FS", "erofs")] },
            Feature::Ext4 => const { &[module("EXT4_FS", "ext4")] },
            Feature::Overlayfs => const { &[module("OVERLAY_FS", "overlay")] },
            Feature::Vsock => {
                const { &[module("VSOCKETS", "vsock"), module("VIRTIO_VSOCKETS", "vmw_vsock_virtio_transport")] }
            }
            Feature::VirtioRng => {
                const { &[module("HW_RANDOM", "rng_core"), module("HW_RANDOM_VIRTIO", "virtio_rng")] }
            }
            Feature::VirtioConsole => const { &[module("VIRTIO_CONSOLE", "virtio_console")] },
            Feature::VirtioNet => const { &[module("VIRTIO_NET", "virtio_net")] },
            Feature::SerialConsole => const { &[switch("SERIAL_8250"), switch("SERIAL_8250_CONSOLE")] },
            Feature::VirtioBalloon => {
                const { &[module("VIRTIO_BALLOON", "virtio_balloon"), switch("PAGE_REPORTING")] }
            }
            Feature::NineP => {
                const {
                    &[
                        module("NET_9P", "9pnet"),
                        module("NET_9P_VIRTIO", "9pnet_virtio"),
                        module("9P_FS", "9p"),
                    ]
                }
            }
            Feature::KvmAmd => const { &[module("KVM", "kvm"), module("KVM_AMD", "kvm_amd")] },
            Feature::Loop => const { &[module("BLK_DEV_LOOP", "loop")] },
        }
    }

    /// The first Linux whose driver is of use, where an older one has the option as well.
    pub(crate) const fn first_release(self) -> Option<(u32, u32)> {
        match self {
            // What drivers/staging had from 4.19 on is another format by the same name.
            Feature::Erofs => Some((5, 4)),
            _ => None,
        }
    }

    /// The feature's name in `inspect` and in file names.
    pub fn name(self) -> &'static str {
        match self {
            Feature::VirtioMmioAcpi => "virtio-mmio (ACPI)",
            Feature::VirtioMmioCommandLine => "virtio-mmio (command line)",
            Feature::VirtioPci => "virtio-pci",
            Feature::VirtioBlk => "virtio-blk",
            Feature::VirtioPmemDax => "virtio-pmem + DAX",
            Feature::Erofs => "EROFS",
            Feature::Ext4 => "ext4",
            Feature::Overlayfs => "overlayfs",
            Feature::Vsock => "vsock",
            Feature::VirtioRng => "virtio-rng",
            Feature::VirtioConsole => "virtio-console",
            Feature::VirtioNet => "virtio-net",
            Feature::VirtioBalloon => "virtio-balloon",
            Feature::SerialConsole => "serial console",
            Feature::NineP => "9p",
            Feature::KvmAmd => "KVM (AMD)",
            Feature::Loop => "loop devices",
        }
    }
}

impl std::fmt::Display for Feature {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.pad(self.name())
    }
}

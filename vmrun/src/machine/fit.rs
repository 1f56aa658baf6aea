//! What a machine is made of, by what its kernel can do: the ways to its devices, to its root and to the host.
//!
//! What the user asked for is had or refused; where nobody asked, the best that the kernel can is taken, and what
//! is less than usual is remarked on.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;
use guest_protocol::{Channel, Root, RootfsDevice, RootfsFormat};
use kernels::{Ability, Feature, Kernel};
use rootfs_builder::store::{Disk, DiskFormat};
use serde::{Deserialize, Serialize};

use super::attached_rootfs::AttachedRootfs;
use super::config::{MachineConfig, UpperConfig};

/// How the guest finds its devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    // No help of their own: it would spread the help of all other options over twice the lines.
    // virtio-mmio, announced by ACPI tables
    Mmio,
    // virtio-mmio, announced by the kernel's command line, without ACPI
    MmioCmdline,
    // Modern virtio-pci
    Pci,
}

impl Transport {
    fn feature(self) -> Feature {
        match self {
            Transport::Mmio => Feature::VirtioMmioAcpi,
            Transport::MmioCmdline => Feature::VirtioMmioCommandLine,
            Transport::Pci => Feature::VirtioPci,
        }
    }
}

/// How the host reaches guest-init.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelChoice {
    Vsock,
    // Ports of a virtio-console
    Console,
}

/// The file system of the image's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FormatChoice {
    Erofs,
    Ext4,
}

/// Everything that is chosen by what the kernel can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    pub transport: Transport,
    pub format: RootfsFormat,
    /// The image in that format.
    pub disk: Disk,
    pub rootfs: AttachedRootfs,
    pub upper: UpperConfig,
    pub root: Root,
    pub channel: Channel,
    /// The disk of the kernel's modules.
    pub modules: Option<PathBuf>,
    /// What of the kernel all this rests on, in the order in which it is needed.
    pub needs: Vec<Feature>,
    /// What is less than usual, in words for the user.
    pub remarks: Vec<String>,
}

/// Chooses for a machine with `memory` bytes, whose image `disk_as` gives in a format.
pub fn fit(
    config: &MachineConfig,
    kernel: &Kernel,
    memory: u64,
    disk_as: impl FnOnce(DiskFormat) -> Result<Disk>,
) -> Result<Fit> {
    let can = Kernels { kernel };
    let transport = match config.transport {
        Some(transport) => can.must(transport, transport.feature(), "--transport")?,
        None => can.first(&[Transport::Mmio, Transport::MmioCmdline, Transport::Pci], Transport::feature)?,
    };
    let (format, reason) = can.format(config.rootfs_format)?;
    let disk = disk_as(match format {
        RootfsFormat::Erofs => DiskFormat::Erofs,
        RootfsFormat::Ext4 => DiskFormat::Ext4,
    })?;
    let rootfs = AttachedRootfs::choose(config, kernel, &disk, (format, reason), memory);
    let disk_feature = match rootfs.device {
        RootfsDevice::Pmem => Feature::VirtioPmemDax,
        RootfsDevice::Block => Feature::VirtioBlk,
    };
    let channel = match config.channel {
        Some(ChannelChoice::Vsock) => can.must(Channel::Vsock, Feature::Vsock, "--channel")?,
        Some(ChannelChoice::Console) => can.must(Channel::Console, Feature::VirtioConsole, "--channel")?,
        None => can.first(&[Channel::Vsock, Channel::Console], channel_feature)?,
    };
    let mut needs = vec![transport.feature(), disk_feature, format_feature(format)];
    let mut remarks = Vec::from_iter(silence(kernel));
    let upper = can.upper(config.upper, &mut remarks);
    let root = can.root(config.read_only, &mut remarks);
    if root == Root::Overlay {
        needs.push(Feature::Overlayfs);
    }
    needs.push(channel_feature(channel));
    if let UpperConfig::Disk { .. } = upper {
        needs.extend(
            [Feature::VirtioBlk, Feature::Ext4]
                .into_iter()
                .filter(|need| !needs.contains(need))
                .collect::<Vec<_>>(),
        );
    }
    let modules = can.modules(config.no_modules);
    if modules.is_some() {
        needs.extend(can.modules_disk().into_iter().filter(|need| !needs.contains(need)).collect::<Vec<_>>());
    }
    kernel.require(&needs)?;
    Ok(Fit { transport, format, disk, rootfs, upper, root, channel, modules, needs, remarks })
}

/// That the kernel has no log, if it has none.
pub fn silence(kernel: &Kernel) -> Option<String> {
    let Ability::Absent { missing } = kernel.abilities.of(Feature::SerialConsole) else { return None };
    Some(format!(
        "the kernel {} lacks {missing}: there is no log of how it starts, and why it dies",
        kernel.name
    ))
}

/// What a machine of nobody's special wishes is made of on this kernel, in words.
pub fn usual(kernel: &Kernel) -> Result<String> {
    let can = Kernels { kernel };
    let transport =
        can.first(&[Transport::Mmio, Transport::MmioCmdline, Transport::Pci], Transport::feature)?;
    let (format, _) = can.format(None)?;
    let disk = can.first(&[Feature::VirtioPmemDax, Feature::VirtioBlk], |feature| feature)?;
    let channel = can.first(&[Channel::Vsock, Channel::Console], channel_feature)?;
    let parts = [transport.feature(), format_feature(format), disk, channel_feature(channel)];
    Ok(parts.map(Feature::name).join(", "))
}

fn format_feature(format: RootfsFormat) -> Feature {
    match format {
        RootfsFormat::Erofs => Feature::Erofs,
        RootfsFormat::Ext4 => Feature::Ext4,
    }
}

fn channel_feature(channel: Channel) -> Feature {
    match channel {
        Channel::Vsock => Feature::Vsock,
        Channel::Console => Feature::VirtioConsole,
    }
}

/// Questions to a kernel.
struct Kernels<'a> {
    kernel: &'a Kernel,
}

impl Kernels<'_> {
    fn has(&self, feature: Feature) -> bool {
        self.kernel.abilities.usable(&[feature])
    }

    /// `choice`, which somebody asked for with `by`.
    fn must<T>(&self, choice: T, feature: Feature, by: &str) -> Result<T> {
        match self.kernel.abilities.of(feature) {
            Ability::Absent { missing } => {
                bail!("the kernel {} lacks {missing}, needed for {feature} ({by})", self.kernel.name)
            }
            _ => Ok(choice),
        }
    }

    /// The first of `choices` that the kernel can.
    fn first<T: Copy>(&self, choices: &[T], feature: impl Fn(T) -> Feature) -> Result<T> {
        if let Some(choice) = choices.iter().find(|choice| self.has(feature(**choice))) {
            return Ok(*choice);
        }
        let missing = choices.iter().filter_map(|choice| match self.kernel.abilities.of(feature(*choice)) {
            Ability::Absent { missing } => Some(format!("{missing} for {}", feature(*choice))),
            _ => None,
        });
        let missing: Vec<_> = missing.collect();
        bail!("the kernel {} lacks {}: a machine needs one of them", self.kernel.name, missing.join(" and "))
    }

    /// The file system of the image's disk, and why it is not the usual one.
    fn format(&self, wanted: Option<FormatChoice>) -> Result<(RootfsFormat, Option<String>)> {
        let erofs = match self.kernel.abilities.of(Feature::Erofs) {
            Ability::Absent { missing } => Err(missing),
            _ => Ok(()),
        };
        match (wanted, erofs) {
            (Some(FormatChoice::Ext4), _) => {
                let format = self.must(RootfsFormat::Ext4, Feature::Ext4, "--rootfs-format")?;
                Ok((format, Some("asked for".into())))
            }
            (_, Ok(())) => Ok((RootfsFormat::Erofs, None)),
            (Some(FormatChoice::Erofs), Err(missing)) => {
                bail!("the kernel {} lacks {missing}, needed for --rootfs-format erofs", self.kernel.name)
            }
            (None, Err(missing)) => {
                let reason = format!("kernel {} lacks {missing}", self.kernel.name);
                match self.kernel.abilities.of(Feature::Ext4) {
                    Ability::Absent { missing: ext4 } => {
                        bail!("the {reason} for EROFS and {ext4} for ext4: an image's disk needs one of them")
                    }
                    _ => Ok((RootfsFormat::Ext4, Some(reason))),
                }
            }
        }
    }

    fn upper(&self, wanted: UpperConfig, remarks: &mut Vec<String>) -> UpperConfig {
        let missing = [Feature::VirtioBlk, Feature::Ext4].into_iter().find_map(|feature| {
            match self.kernel.abilities.of(feature) {
                Ability::Absent { missing } => Some(missing),
                _ => None,
            }
        });
        match (wanted, missing) {
            (UpperConfig::Disk { .. }, Some(missing)) => {
                remarks.push(format!(
                    "the kernel {} lacks {missing}: what is written stays in memory, and goes when the machine \
                     ends",
                    self.kernel.name
                ));
                UpperConfig::Memory
            }
            _ => wanted,
        }
    }

    /// The modules disk, where there is one, somebody who can have use for it, and the kernel can mount it.
    fn modules(&self, left_out: bool) -> Option<PathBuf> {
        let wanted = !left_out && self.modules_disk().into_iter().all(|feature| self.has(feature));
        self.kernel.modules_disk().filter(|_| wanted)
    }

    /// What the modules disk rests on. It was made for this kernel.
    fn modules_disk(&self) -> [Feature; 2] {
        match self.kernel.abilities.of(Feature::Erofs) {
            Ability::Absent { .. } => [Feature::VirtioBlk, Feature::Ext4],
            _ => [Feature::VirtioBlk, Feature::Erofs],
        }
    }

    fn root(&self, read_only: bool, remarks: &mut Vec<String>) -> Root {
        match self.kernel.abilities.of(Feature::Overlayfs) {
            Ability::Absent { .. } if read_only => Root::Plain,
            Ability::Absent { missing } => {
                remarks.push(format!(
                    "the kernel {} lacks {missing}: the root is a copy of the image, which takes time and room; \
                     --read-only needs none",
                    self.kernel.name
                ));
                Root::Copied
            }
            _ => Root::Overlay,
        }
    }
}

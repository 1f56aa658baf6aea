//! From what the user asked for to what the monitor is to build.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use guest_protocol::{CONFIG_PATH, Config, Machine, Process, Role, RootfsDevice, frame};
use kernels::{Feature, Kernel, Signatures, cpio};
use rootfs_builder::store::{Disk, Image};
use vmm::{BlockSpec, DiskPart, Firmware, InitramfsPart, MachineSpec, PmemSpec, VsockSpec};

use super::command_line::{Boot, command_line};
use super::record::{Description, MachineId, Record, fill_random};
use crate::arguments::{RootfsChoice, RunArguments};
use crate::hardware;
use crate::home;

/// Memory is given to guests in pieces of this size, in bytes.
const MEMORY_STEP: u64 = 2 << 20;

/// The guest describes each 4 KiB page of a pmem device in 64 bytes of its own memory. Above this
/// share of its memory, one in so many, the rootfs is a block device instead.
const PAGE_STRUCTURES_SHARE: u64 = 20;

/// Everything that is decided about a machine before it starts.
#[derive(Debug)]
pub struct Plan {
    pub spec: MachineSpec,
    pub rootfs: RootfsDevice,
}

/// Decides how `image` runs on `kernel`.
pub fn plan(
    run: &RunArguments,
    image: &Image,
    kernel: &Kernel,
    process: Process,
    id: &MachineId,
    record: &Record,
) -> Result<Plan> {
    let memory = run.memory.next_multiple_of(MEMORY_STEP);
    if memory < kernel.minimum_memory {
        bail!(
            "{} MiB of memory are too few for kernel {}: its floor is {} MiB, so give --memory {}m",
            run.memory >> 20,
            kernel.name,
            kernel.minimum_memory >> 20,
            kernel.minimum_memory >> 20
        );
    }
    let disk = image.disk();
    let rootfs = choose_rootfs(run, kernel, &disk, memory)?;
    let parts =
        disk.parts.iter().map(|part| DiskPart { path: part.path.clone(), length: part.length }).collect();
    let (pmem, blocks) = match rootfs {
        RootfsDevice::Pmem => (vec![PmemSpec { parts }], Vec::new()),
        RootfsDevice::Block => (Vec::new(), vec![BlockSpec { id: "rootfs".into(), parts, writable: false }]),
    };
    let can = |feature| kernel.abilities.usable(&[feature]);
    let firmware = if can(Feature::VirtioMmioAcpi) || !can(Feature::VirtioMmioCommandLine) {
        Firmware::Acpi
    } else {
        Firmware::CommandLine
    };
    let transport = match firmware {
        Firmware::Acpi => Feature::VirtioMmioAcpi,
        Firmware::CommandLine => Feature::VirtioMmioCommandLine,
    };
    let disk_driver = match rootfs {
        RootfsDevice::Pmem => Feature::VirtioPmemDax,
        RootfsDevice::Block => Feature::VirtioBlk,
    };
    let needs = [transport, disk_driver, Feature::Erofs, Feature::Overlayfs, Feature::Vsock];
    let signatures = if run.stock_boot { Signatures::Kept } else { Signatures::Dropped };
    let modules = kernel.modules_archive(&needs, signatures)?;
    let mut seed = [0; 32];
    fill_random(&mut seed)?;
    let config = Config {
        role: Role::Machine(Machine {
            hostname: run.hostname.clone().unwrap_or_else(|| id.as_str().to_owned()),
            rootfs,
            read_only: run.read_only,
            upper_limit: 0,
        }),
        seed,
        process,
    };
    let boot = Boot {
        firmware,
        version: &kernel.version,
        emulated: hardware::is_emulated(),
        live: run.console,
        stock: run.stock_boot,
    };
    let spec = MachineSpec {
        vcpus: run.cpus,
        memory,
        kernel: kernel.vmlinux.clone(),
        initramfs: initramfs(modules, &config)?,
        cmdline: command_line(boot, &run.kernel_arg),
        firmware,
        pmem,
        blocks,
        vsock: Some(VsockSpec { guest_cid: 3, socket: record.socket() }),
        rng: false,
    };
    Ok(Plan { spec, rootfs })
}

impl Plan {
    /// What the machine's record says of it.
    pub fn description(&self, run: &RunArguments, id: &MachineId, kernel: &Kernel) -> Description {
        Description {
            id: id.as_str().to_owned(),
            image: run.image.clone(),
            kernel: kernel.name.clone(),
            memory: self.spec.memory,
            cpus: self.spec.vcpus,
            rootfs_device: self.rootfs_device().to_owned(),
            exit_code: None,
        }
    }

    fn rootfs_device(&self) -> &'static str {
        match self.rootfs {
            RootfsDevice::Pmem => "pmem",
            RootfsDevice::Block => "blk",
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (memory, cpus, rootfs) = (self.spec.memory >> 20, self.spec.vcpus, self.rootfs_device());
        write!(f, "{memory} MiB, {cpus} CPU, rootfs on {rootfs}")
    }
}

fn choose_rootfs(run: &RunArguments, kernel: &Kernel, disk: &Disk, memory: u64) -> Result<RootfsDevice> {
    let page_structures = disk.length / 4096 * 64;
    Ok(match run.rootfs_device {
        Some(RootfsChoice::Pmem) => RootfsDevice::Pmem,
        Some(RootfsChoice::Blk) => RootfsDevice::Block,
        None if !kernel.abilities.usable(&[Feature::VirtioPmemDax]) => RootfsDevice::Block,
        None if page_structures > memory / PAGE_STRUCTURES_SHARE => RootfsDevice::Block,
        None => RootfsDevice::Pmem,
    })
}

/// [the kernel's modules | guest-init | this run's configuration], as the kernel's unpacker finds
/// them in memory. guest-init is read by the monitor straight from its file: only the header
/// before it is made here.
fn initramfs(modules: PathBuf, config: &Config) -> Result<Vec<InitramfsPart>> {
    let guest_init = home::beside_executable("guest-init")?;
    let size =
        fs::metadata(&guest_init).with_context(|| format!("cannot read {}", guest_init.display()))?.len();
    let header = cpio::file_header("init", 0o755, size)?;
    let mut rest = cpio::Archive::new();
    rest.add_file(CONFIG_PATH, 0o400, &frame::encode(config)?)?;
    Ok(vec![
        InitramfsPart::File(modules),
        InitramfsPart::Bytes(header),
        InitramfsPart::File(guest_init),
        InitramfsPart::Bytes(rest.finish()?),
    ])
}

//! From what the user asked for to what the monitor is to build.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use guest_protocol::{CONFIG_PATH, Config, Init, Machine, Process, Role, RootfsDevice, Upper, frame};
use kernels::{Feature, Kernel, LATER, Signatures, cpio};
use rootfs_builder::store::Image;
use vmm::{Firmware, InitramfsPart, MachineSpec, VsockSpec};

use super::attached_rootfs::AttachedRootfs;
use super::command_line::{Boot, command_line};
use super::record::{Description, MachineId, Record, fill_random};
use crate::arguments::RunArguments;
use crate::hardware;
use crate::home;

/// Memory is given to guests in pieces of this size, in bytes.
const MEMORY_STEP: u64 = 2 << 20;

/// Everything that is decided about a machine before it starts.
#[derive(Debug)]
pub struct Plan {
    pub spec: MachineSpec,
    pub rootfs: AttachedRootfs,
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
    let rootfs = AttachedRootfs::choose(run, kernel, &disk, memory);
    let (pmem, blocks) = rootfs.specs(&disk);
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
    let disk_driver = match rootfs.device {
        RootfsDevice::Pmem => Feature::VirtioPmemDax,
        RootfsDevice::Block => Feature::VirtioBlk,
    };
    let needs = [transport, disk_driver, Feature::Erofs, Feature::Overlayfs, Feature::Vsock];
    let signatures = if run.stock_boot { Signatures::Kept } else { Signatures::Dropped };
    let modules = kernel.modules_archive(&needs, LATER, signatures)?;
    let mut seed = [0; 32];
    fill_random(&mut seed)?;
    let config = Config {
        role: Role::Machine(Machine {
            hostname: run.hostname.clone().unwrap_or_else(|| id.as_str().to_owned()),
            rootfs: rootfs.device,
            read_only: run.read_only,
            upper: Upper::Memory { limit: 0 },
            init: Init::None,
            shm_size: None,
            tmpfs: Vec::new(),
            sysctls: Vec::new(),
            pids_limit: None,
        }),
        seed,
        process: Some(process),
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
        balloon: can(Feature::VirtioBalloon),
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
            rootfs_device: self.rootfs.name().to_owned(),
            rootfs_reason: self.rootfs.reason.clone(),
            rootfs_private: self.rootfs.private,
            exit_code: None,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (memory, cpus, rootfs) = (self.spec.memory >> 20, self.spec.vcpus, &self.rootfs);
        write!(f, "{memory} MiB, {cpus} CPU, rootfs on {rootfs}")
    }
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

//! From what the user asked for to what the monitor is to build.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use guest_protocol::{CONFIG_PATH, Channel, Config, Init, Machine, Process, Role, UPPER_DISK, Upper, frame};
use kernels::{Feature, Kernel, LATER, Signatures, cpio};
use rootfs_builder::store::Image;
use vmm::{BlockSpec, Carrier, DiskPart, Firmware, InitramfsPart, MachineSpec, VsockSpec};

use super::attached_rootfs::AttachedRootfs;
use super::command_line::{Boot, command_line, contradiction};
use super::config::{MachineConfig, UpperConfig};
use super::directory::MachineDirectory;
use super::fit::{self, Fit, Transport};
use super::id::fill_random;
use super::resources::Resources;
use crate::hardware;
use crate::home::{self, Home};

/// Memory is given to guests in pieces of this size, in bytes.
const MEMORY_STEP: u64 = 2 << 20;

/// Everything that is decided about a machine before it starts.
#[derive(Debug)]
pub struct Plan {
    /// As long as this lives, the image cannot be removed.
    pub image: Image,
    pub kernel: Kernel,
    pub spec: MachineSpec,
    pub rootfs: AttachedRootfs,
    /// What is less than usual, for want of the kernel's abilities.
    pub remarks: Vec<String>,
}

/// Decides how a machine runs, with what its image and kernel are now. Without `process` it only serves.
pub fn plan(
    home: &Home,
    machine: &MachineDirectory,
    config: &MachineConfig,
    process: Option<Process>,
) -> Result<Plan> {
    let images = home.images()?;
    let image = images.resolve(&config.image_id)?;
    let kernel = home.kernels()?.get(&config.kernel)?;
    let memory = config.memory.next_multiple_of(MEMORY_STEP);
    if memory < kernel.minimum_memory {
        bail!(
            "{} MiB of memory are too few for kernel {}: its floor is {} MiB, so give --memory {}m",
            config.memory >> 20,
            kernel.name,
            kernel.minimum_memory >> 20,
            kernel.minimum_memory >> 20
        );
    }
    let Fit { transport, format, disk, rootfs, upper, root, channel, modules: modules_disk, needs, remarks } =
        fit::fit(config, &kernel, memory, |format| Ok(images.disk(&image, format)?))?;
    let (pmem, mut blocks) = rootfs.specs(&disk);
    blocks.extend(upper_disk(machine, upper, config.flush));
    let has_modules = modules_disk.is_some();
    blocks.extend(modules_disk.map(|disk| attached_modules(disk, config.no_share)).transpose()?);
    let firmware = match transport {
        Transport::MmioCmdline => Firmware::CommandLine,
        Transport::Pci if !kernel.has_acpi() => Firmware::CommandLine,
        Transport::Mmio | Transport::Pci => Firmware::Acpi,
    };
    let bus = match transport {
        Transport::Mmio | Transport::MmioCmdline => vmm::Transport::Mmio,
        Transport::Pci => vmm::Transport::Pci,
    };
    if let Some(word) = contradiction(firmware, bus, &config.kernel_args) {
        bail!(
            "--kernel-arg {word} would leave the machine without its devices: leave it out, or choose another --transport"
        );
    }
    let signatures = if keeps_signatures(config) { Signatures::Kept } else { Signatures::Dropped };
    let modules = kernel.modules_archive(&needs, LATER, signatures)?;
    let mut seed = [0; 32];
    fill_random(&mut seed)?;
    // A machine that only serves has nothing of what a process would.
    let (init, resources) = match process {
        Some(_) => (config.init, config.resources.clone()),
        None => (Init::None, Resources::default()),
    };
    let guest = Config {
        role: Role::Machine(resources.bind_machine(Machine {
            hostname: config.hostname.clone(),
            rootfs: rootfs.device,
            rootfs_format: format,
            root,
            channel,
            upper: match upper {
                UpperConfig::Memory => Upper::Memory { limit: 0 },
                UpperConfig::Disk { .. } => Upper::Disk,
            },
            modules: has_modules,
            read_only: config.read_only,
            init,
            shm_size: None,
            tmpfs: Vec::new(),
            sysctls: Vec::new(),
            pids_limit: None,
        })),
        seed,
        process,
    };
    let boot = Boot {
        firmware,
        transport: bus,
        release: kernel.release(),
        traces_functions: kernel.traces_functions.unwrap_or(true),
        emulated: hardware::is_emulated(),
        live: config.console,
        stock: config.stock_boot,
    };
    let spec = MachineSpec {
        vcpus: config.cpus,
        memory,
        kernel: kernel.vmlinux.clone(),
        kaslr: kaslr_seed(&config.kernel_args)?,
        initramfs: initramfs(modules, &guest)?,
        cmdline: command_line(boot, &kernel_arguments(config)),
        firmware,
        transport: bus,
        pmem,
        blocks,
        vsock: Some(VsockSpec {
            guest_cid: 3,
            socket: machine.runtime().join("vsock.sock"),
            carrier: match channel {
                Channel::Vsock => Carrier::Vsock,
                Channel::Console => Carrier::Console,
            },
        }),
        rng: false,
        balloon: kernel.abilities.usable(&[Feature::VirtioBalloon]),
    };
    Ok(Plan { image, kernel, spec, rootfs, remarks })
}

/// Whether modules are to be loaded as they were signed: where the start is as the distribution has it, and where the
/// user has the kernel insist.
fn keeps_signatures(config: &MachineConfig) -> bool {
    let insists = |argument: &String| {
        let (name, value) = argument.split_once('=').unwrap_or((argument, "1"));
        let on = !matches!(value, "0" | "n" | "N" | "none");
        matches!(name.replace('-', "_").as_str(), "module.sig_enforce" | "lockdown" | "fips") && on
    };
    config.stock_boot || config.kernel_args.iter().any(insists)
}

/// The user's, and before them what an init of the image's own is to know. It finds a serial console in
/// the kernel's command line, where nobody can log in: it need not wait for that. With a terminal, the login
/// is there.
fn kernel_arguments(config: &MachineConfig) -> Vec<String> {
    let mut arguments = Vec::new();
    if config.init == Init::Image {
        arguments.push("systemd.mask=serial-getty@ttyS0.service".into());
        // The nodes are there, and the program that this needs often is not.
        arguments.push("systemd.mask=kmod-static-nodes.service".into());
        arguments.push(if config.tty { "systemd.wants=console-getty.service" } else { "TERM=dumb" }.into());
    }
    arguments.extend(config.kernel_args.iter().cloned());
    arguments
}

/// Where the kernel lies follows from this, and is nobody's to guess.
fn kaslr_seed(kernel_args: &[String]) -> Result<Option<u64>> {
    let words = kernel_args.iter().flat_map(|argument| argument.split_whitespace());
    if words.take_while(|word| *word != "--").any(|word| word == "nokaslr") {
        return Ok(None);
    }
    let mut seed = [0; 8];
    fill_random(&mut seed)?;
    Ok(Some(u64::from_le_bytes(seed)))
}

fn upper_disk(machine: &MachineDirectory, upper: UpperConfig, flush: bool) -> Option<BlockSpec> {
    let UpperConfig::Disk { size } = upper else { return None };
    let part = DiskPart { path: machine.upper(), length: size };
    Some(BlockSpec { id: UPPER_DISK.into(), parts: vec![part], writable: true, flush, private: false })
}

/// The same file for all machines with this kernel.
fn attached_modules(path: PathBuf, private: bool) -> Result<BlockSpec> {
    let length = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
    let part = DiskPart { path, length };
    Ok(BlockSpec { id: "modules".into(), parts: vec![part], writable: false, flush: true, private })
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

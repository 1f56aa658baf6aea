//! The story of a machine, from its kernel's last step to its power's end.

use std::time::Duration;

use guest_protocol::packet::CHANNEL_PORT;
use guest_protocol::{
    CONFIG_PATH, Channel, Config, GuestMessage, Init, LATER_MODULES_DIR, MODULES_DIR, Machine, Role, Root,
    Stamp, Upper, frame,
};
use rustix::mount::{MountFlags, mount_remount};
use rustix::system::{RebootCommand, reboot, sethostname};

use crate::attended::Attended;
use crate::cgroup::{Cgroup, MACHINE};
use crate::command::NotStarted;
use crate::fault::{Fault, OrFault};
use crate::grace_periods::Hastened;
use crate::guest::Guest;
use crate::listener::Listener;
use crate::process::Started;
use crate::rootfs::RootParts;
use crate::session::{Session, Transport};
use crate::stamp::Stamps;
use crate::switch_root::Bootfs;
use crate::{
    emulated_host, entropy, host_files, log, loopback, modules, modules_disk, mounts, overlay, ports,
    process, rootfs, settings, signals, switch_root, system_mounts, tmpfs, upper_disk, wall,
};

/// How long a host may take to come for the news that there is no machine for it.
const FAULT_PATIENCE: Duration = Duration::from_secs(5);

/// How long a machine runs before it does what its start was not to wait for.
const LATER: Duration = Duration::from_secs(1);

/// Never returns: PID 1 does not end before its machine does.
pub fn run() -> ! {
    signals::ignore_broken_pipes();
    if let Err(fault) = live() {
        report(fault);
    }
    power_off()
}

fn live() -> Result<(), Fault> {
    let mut stamps = Stamps::open();
    stamps.write(Stamp::InitStarted);
    first_mounts()?;
    mount_sysfs();
    let hastened = Hastened::begin();
    let config = read_config()?;
    entropy::credit(&config.seed)?;
    if let Role::EmulatedHost(_) = config.role {
        emulated_host::settle_clock();
    }
    modules::load_all(MODULES_DIR)?;
    stamps.write(Stamp::ModulesLoaded);

    let (bootfs, root) = change_root(&config)?;
    stamps.write(Stamp::RootfsReady);

    let transport = match &config.role {
        Role::Machine(machine) => Transport::Listener(Listener::bind(machine.channel)?),
        Role::EmulatedHost(_) => Transport::Ports(ports::open_all(config.process.as_ref())?),
    };
    stamps.write(Stamp::Listening);

    let children = signals::watch_children().or_fault("cannot watch", "children")?;
    let guest = Guest::new(init(&config), root, cgroup(&config)?);
    let started = start_process(&config, &guest, &mut stamps);
    stamps.close();
    drop(hastened);
    let rest = leave(bootfs);
    let main = match started {
        Ok(Some(started)) => Attended::main(started),
        Ok(None) => Attended::default(),
        Err(failed) => Attended::missing(failed.into()),
    };
    let session = Session::new(main, guest, children, transport);
    let guest = match rest {
        Some(rest) => session.doing_later(LATER, rest).run(),
        None => session.run(),
    };
    let writable = guest.root.as_ref().and_then(RootParts::writable);
    match (&config.role, writable) {
        (Role::EmulatedHost(host), _) => emulated_host::unmount_shares(host),
        (Role::Machine(Machine { upper: Upper::Disk, .. }), Some(writable)) => upper_disk::finish(writable),
        _ => {}
    }
    Ok(())
}

fn init(config: &Config) -> Init {
    match &config.role {
        Role::Machine(machine) => machine.init,
        Role::EmulatedHost(_) => Init::None,
    }
}

/// The machine's cgroup. An emulated host's commands are no machine: they have all cgroups to themselves.
fn cgroup(config: &Config) -> Result<Option<Cgroup>, Fault> {
    let Role::Machine(machine) = &config.role else { return Ok(None) };
    let mut cgroup = Cgroup::make(MACHINE);
    if let Some(cgroup) = &mut cgroup {
        // Nobody looks into /sys yet.
        cgroup.make_freezable("/sys", "machine");
    }
    if let Some(limit) = machine.pids_limit {
        settings::limit_processes(cgroup.as_ref(), limit)?;
    }
    Ok(cgroup)
}

/// /dev, and descriptors 0 to 2, which the kernel leaves closed when it has no console.
fn first_mounts() -> Result<(), Fault> {
    overlay::make_bootfs_directory("/dev")?;
    mounts::mount_on("devtmpfs", "/dev", "devtmpfs", MountFlags::NOSUID, "mode=755")
        .or_fault("cannot mount", "/dev")?;
    signals::hold_standard_descriptors();
    Ok(())
}

fn read_config() -> Result<Config, Fault> {
    let bytes = std::fs::read(CONFIG_PATH).or_fault("cannot read the configuration", CONFIG_PATH)?;
    frame::decode(&bytes).or_fault("cannot read the configuration", CONFIG_PATH)
}

fn change_root(config: &Config) -> Result<(Bootfs, Option<RootParts>), Fault> {
    match &config.role {
        Role::Machine(machine) => {
            let parts = rootfs::assemble(machine)?;
            let files = host_files::write_files(&machine.hostname)?;
            let modprobe = if machine.modules { Some(modules_disk::program()?) } else { None };
            let walled = wall::is_wanted(config.process.as_ref(), machine.init);
            if walled {
                wall::leave_the_kernel_behind()?;
            }
            let bootfs = switch_root::switch_to(overlay::MERGED)?;
            system_mounts::mount_proc()?;
            modules_disk::let_nobody_be_modprobe();
            system_mounts::mount_others(machine.shm_size)?;
            system_mounts::mount_run()?;
            machine.tmpfs.iter().try_for_each(tmpfs::mount)?;
            files.attach(machine.read_only)?;
            if let Some(program) = &modprobe {
                let disk = modules_disk::attach(machine, program)?;
                if let Some(disk) = disk.filter(|_| walled) {
                    modules_disk::show_in(&bootfs, &disk)?;
                }
            }
            if walled {
                wall::hide_disks();
            }
            settings::protect_links();
            name_and_network(Some(&machine.hostname))?;
            for (name, value) in &machine.sysctls {
                settings::set_sysctl(name, value)?;
            }
            // Before the root is read-only. A failure is the process's, and is met again there.
            if let Some(process) = &config.process {
                let _ = process::make_working_directory(process);
            }
            if machine.read_only && machine.root != Root::Plain {
                let flags = MountFlags::BIND | MountFlags::RDONLY;
                mount_remount("/", flags, "").or_fault("cannot make read-only", "the root")?;
            }
            Ok((bootfs, Some(parts)))
        }
        Role::EmulatedHost(host) => {
            emulated_host::assemble(host)?;
            let bootfs = switch_root::switch_to(overlay::MERGED)?;
            system_mounts::mount_proc()?;
            system_mounts::mount_others(None)?;
            emulated_host::furnish(host)?;
            name_and_network(emulated_host::hostname().as_deref())?;
            Ok((bootfs, None))
        }
    }
}

fn name_and_network(hostname: Option<&str>) -> Result<(), Fault> {
    let hostname = hostname.unwrap_or("vmrun");
    sethostname(hostname.as_bytes()).or_fault("cannot set the hostname", hostname)?;
    loopback::bring_up()
}

fn start_process(config: &Config, guest: &Guest, stamps: &mut Stamps) -> Result<Option<Started>, NotStarted> {
    let Config { role, process: Some(process), .. } = config else { return Ok(None) };
    let hostname = match role {
        Role::Machine(machine) => Some(machine.hostname.as_str()),
        Role::EmulatedHost(_) => None,
    };
    let started = guest.start_main(process, hostname, stamps)?;
    stamps.write(Stamp::ProcessStarted);
    Ok(Some(started))
}

/// After the process has started: nobody waits for this. Returns what is to be done of it later.
fn leave(bootfs: Bootfs) -> Option<Box<dyn FnOnce()>> {
    let Some(modules) = bootfs.free_but(LATER_MODULES_DIR.trim_start_matches('/')) else {
        free(&bootfs);
        return None;
    };
    Some(Box::new(move || {
        modules::load_later(modules);
        free(&bootfs);
    }))
}

fn free(bootfs: &Bootfs) {
    match bootfs.free() {
        Ok(left) => log::note(&["bytes left of the bootfs: ", &left.to_string()].concat()),
        Err(fault) => log::note(&fault.to_string()),
    }
}

/// Tells of a fault in every way there is at this point: the console, and the host if it comes.
fn report(fault: Fault) {
    let message = fault.into_message();
    log::emergency(&message);
    let (Some(transport), Ok(children)) = (any_transport(), signals::watch_children()) else { return };
    // The host comes when it is told that it can.
    Stamps::open().write(Stamp::Listening);
    let main = Attended::missing(GuestMessage::Fault { message });
    let guest = Guest::new(Init::None, None, None);
    Session::new(main, guest, children, transport).give_up_after(FAULT_PATIENCE).run();
}

/// A way to the host that needs nothing of what may have failed.
fn any_transport() -> Option<Transport> {
    if let Ok(listener) = Listener::bind(Channel::Vsock) {
        return Some(Transport::Listener(listener));
    }
    mount_sysfs();
    if ports::has(CHANNEL_PORT) {
        return Listener::bind(Channel::Console).ok().map(Transport::Listener);
    }
    ports::open_control().map(|port| Transport::Ports(vec![port]))
}

fn power_off() -> ! {
    rustix::fs::sync();
    let _ = reboot(if has_acpi() { RebootCommand::PowerOff } else { RebootCommand::Restart });
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Without ACPI a kernel can reset a machine, but not switch it off: it would halt for ever.
fn has_acpi() -> bool {
    mount_sysfs();
    std::fs::exists("/sys/firmware/acpi/tables").unwrap_or(false)
}

/// Mounts /sys where it is not there yet.
fn mount_sysfs() {
    if !std::fs::exists("/sys/kernel").unwrap_or(false) && mounts::mount_point("/sys", 0o755).is_ok() {
        let _ = mounts::mount_on("sysfs", "/sys", "sysfs", MountFlags::empty(), "");
    }
}

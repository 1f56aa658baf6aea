//! A machine: built from its spec, then run to its end.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};

use kvm_bindings::{KVM_MEM_READONLY, kvm_msi, kvm_userspace_memory_region};
use kvm_ioctls::{IoEventAddress, Kvm, NoDatamatch, VmFd};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::bus::Bus;
use crate::devices::{self, Devices, Transports};
use crate::event_loop::EventLoop;
use crate::jail::{self, Filters, ThreadKind};
use crate::observer::{End, Observer, Report};
use crate::pci::msix::MessageSink;
use crate::serial::SerialPort;
use crate::spec::{self, MachineSpec};
use crate::vcpu::{self, Shared, Vcpu, kick};
use crate::virtio::mmio::QUEUE_NOTIFY;
use crate::virtio::{Frontend, GuestRam};
use crate::{layout, memory, x86_64};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Spec(#[from] spec::Error),
    #[error(transparent)]
    Memory(#[from] memory::Error),
    #[error(transparent)]
    Load(#[from] x86_64::Error),
    #[error(transparent)]
    Devices(#[from] devices::Error),
    #[error(transparent)]
    Cpuid(#[from] x86_64::cpuid::Error),
    #[error(transparent)]
    Registers(#[from] x86_64::registers::Error),
    #[error(transparent)]
    Vcpu(#[from] vcpu::Error),
    #[error(transparent)]
    Jail(#[from] jail::Error),
    #[error("a thread of the monitor panicked")]
    Panic,
    #[error("opening /dev/kvm")]
    OpenKvm(#[source] kvm_ioctls::Error),
    #[error("asking KVM to {doing}")]
    Kvm { doing: &'static str, source: kvm_ioctls::Error },
    #[error("{doing}")]
    Host { doing: &'static str, source: io::Error },
}

/// A machine that has not started.
pub struct Machine {
    vm: Arc<VmFd>,
    vcpus: Vec<Vcpu>,
    memory: GuestRam,
    devices: Devices,
}

impl Machine {
    /// Opens what the spec names and builds the machine, up to the boot processor's first instruction.
    pub fn new(spec: MachineSpec) -> Result<Self, Error> {
        spec.validate()?;
        let kvm = Kvm::new().map_err(Error::OpenKvm)?;
        let vm = Arc::new(create_vm(&kvm)?);
        let memory = memory::allocate(spec.memory)?;
        let entry = x86_64::load(&spec, &memory)?;
        let devices = Devices::build(&spec, &memory, vm.clone())?;
        map_memory(&vm, &memory, &devices)?;
        let supported = x86_64::cpuid::Supported::query(&kvm)?;
        let mut vcpus = Vec::with_capacity(spec.vcpus.into());
        for id in 0..spec.vcpus {
            let fd = vm.create_vcpu(id.into()).map_err(kvm_error("create a vCPU"))?;
            fd.set_cpuid2(&supported.for_vcpu(id, spec.vcpus)?)
                .map_err(kvm_error("take a vCPU's features"))?;
            x86_64::registers::set_common(&fd)?;
            if id == 0 {
                x86_64::registers::set_boot_processor(&fd, &memory, entry)?;
            }
            vcpus.push(Vcpu { id, fd });
        }
        Ok(Self { vm, vcpus, memory, devices })
    }

    /// The guest's memory, for those who look into a machine that has not started.
    pub fn memory(&self) -> &GuestRam {
        &self.memory
    }

    /// Locks this process in (see [`jail`]; there is no way back) and runs the guest until it ends, or until `stop`
    /// becomes readable. `observer` is called meanwhile.
    pub fn run(self, observer: Arc<dyn Observer>, stop: EventFd) -> Result<Report, Error> {
        let irq = eventfd()?;
        self.vm.register_irqfd(&irq, layout::SERIAL_GSI).map_err(kvm_error("connect the serial port"))?;
        connect(&self.vm, &self.devices.transports)?;
        let wake = eventfd()?;
        let servants = servants(&self.devices.transports.frontends())?;
        let quit = servants.iter().map(|servant| clone(&servant.quit)).collect::<Result<Vec<_>, _>>()?;
        let pmem = self.devices.pmem.iter().map(|(start, mapping)| *start..*start + mapping.size()).collect();
        self.devices.troubles.listen(observer.clone());
        let bus = Bus::new(SerialPort::new(irq, observer.clone()), observer, self.devices.transports, pmem);
        let shared = Arc::new(Shared::new(bus, clone(&wake)?));

        kick::install()
            .map_err(|error| Error::Host { doing: "installing a signal handler", source: error.into() })?;
        survive_file_limits();
        let filters = Arc::new(Filters::prepare()?);
        let jail_gaps = jail::lock_process()?;
        let start = Arc::new(Barrier::new(self.vcpus.len() + servants.len() + 1));
        let device_threads = servants
            .into_iter()
            .map(|servant| spawn_servant(servant, &shared, &filters, &start))
            .collect::<Result<Vec<_>, _>>()?;
        let vcpu_threads = self
            .vcpus
            .into_iter()
            .map(|vcpu| spawn_vcpu(vcpu, &shared, &filters, &start))
            .collect::<Result<Vec<_>, _>>()?;
        if let Err(error) = filters.apply(ThreadKind::Main) {
            shared.end(Err(error.into()));
        }
        start.wait();

        // Does not change the outcome when the guest has come to an end by itself.
        shared.end(wait(&stop, &wake).map(|()| End::Stopped));
        vcpu_threads.iter().for_each(kick::kick);
        // A full counter wakes an event loop as well.
        quit.iter().for_each(|quit| drop(quit.write(1)));
        // Threads that panicked have said so through `shared`.
        vcpu_threads.into_iter().chain(device_threads).for_each(|thread| drop(thread.join()));
        let shared = Arc::into_inner(shared).ok_or(Error::Panic)?;
        let (bus, outcome) = shared.into_parts();
        let end = outcome.unwrap_or(Ok(End::Stopped))?;
        Ok(Report {
            end,
            dropped_pmem_writes: bus.dropped_pmem_writes(),
            last_serial: bus.finish_serial(),
            jail_gaps,
        })
    }
}

fn create_vm(kvm: &Kvm) -> Result<VmFd, Error> {
    let vm = kvm.create_vm().map_err(kvm_error("create a machine"))?;
    vm.set_identity_map_address(layout::KVM_IDENTITY_MAP).map_err(kvm_error("place its identity map"))?;
    vm.set_tss_address(layout::KVM_TSS as usize).map_err(kvm_error("place its task state segment"))?;
    vm.create_irq_chip().map_err(kvm_error("create interrupt controllers"))?;
    Ok(vm)
}

/// Shows RAM and persistent memory to the guest, each region in a slot of its own.
fn map_memory(vm: &VmFd, memory: &GuestRam, devices: &Devices) -> Result<(), Error> {
    let ram =
        memory.iter().map(|region| (region.start_addr().0, region.get_mmap().as_ptr(), region.len(), 0));
    let pmem = devices.pmem.iter().map(|(start, map)| (*start, map.address(), map.size(), KVM_MEM_READONLY));
    for (slot, (guest_phys_addr, host, memory_size, flags)) in (0..).zip(ram.chain(pmem)) {
        let region = kvm_userspace_memory_region {
            slot,
            flags,
            guest_phys_addr,
            memory_size,
            userspace_addr: host as u64,
        };
        // SAFETY: the RAM is never unmapped; the mappings of persistent memory are moved into the machine and dropped
        // only after the vCPUs' threads have ended.
        unsafe { vm.set_user_memory_region(region) }.map_err(kvm_error("give it memory"))?;
    }
    Ok(())
}

/// Lets queue notifications and interrupts go between the guest and the event loop without passing the vCPU threads.
fn connect(vm: &VmFd, transports: &Transports) -> Result<(), Error> {
    let queue_error = || kvm_error("connect a virtqueue");
    match transports {
        Transports::Mmio(windows) => {
            for (index, window) in windows.iter().enumerate() {
                let notify = IoEventAddress::Mmio(layout::mmio_window(index) + QUEUE_NOTIFY);
                for (queue, event) in (0u32..).zip(window.frontend().queue_events()) {
                    vm.register_ioevent(event, &notify, queue).map_err(queue_error())?;
                }
            }
        }
        Transports::Pci(devices) => {
            for device in devices {
                for (queue, event) in device.frontend().queue_events().iter().enumerate() {
                    let notify = IoEventAddress::Mmio(device.notification_address(queue));
                    vm.register_ioevent(event, &notify, NoDatamatch).map_err(queue_error())?;
                }
            }
        }
    }
    for (index, frontend) in transports.frontends().into_iter().enumerate() {
        if let Some(irqfd) = frontend.interrupt().irqfd() {
            vm.register_irqfd(irqfd, layout::gsi(index))
                .map_err(kvm_error("connect a device's interrupt"))?;
        }
    }
    Ok(())
}

impl MessageSink for VmFd {
    fn send(&self, address: u64, data: u32) {
        let message = kvm_msi {
            address_lo: address as u32,
            address_hi: (address >> 32) as u32,
            data,
            ..Default::default()
        };
        // KVM refuses what is no interrupt. It is the guest's own word, and its own loss.
        let _ = self.signal_msi(message);
    }
}

/// A thread that serves devices, before it starts.
struct Servant {
    kind: ThreadKind,
    event_loop: EventLoop,
    quit: EventFd,
}

/// One for all devices but those that wait for a disk, which have one each: what takes long on a disk, as flushing does,
/// never keeps the guest from talking.
fn servants(frontends: &[&Frontend]) -> Result<Vec<Servant>, Error> {
    let (disks, others): (Vec<_>, Vec<_>) = frontends.iter().partition(|one| one.waits_for_disk());
    let disks = disks.into_iter().map(|disk| (ThreadKind::Disk, vec![disk]));
    let servant = |(kind, frontends): (ThreadKind, Vec<&Frontend>)| {
        let quit = eventfd()?;
        let event_loop = EventLoop::new(&frontends, clone(&quit)?)
            .map_err(|source| Error::Host { doing: "setting up the devices' event loop", source })?;
        Ok(Servant { kind, event_loop, quit })
    };
    [(ThreadKind::Devices, others)].into_iter().chain(disks).map(servant).collect()
}

fn spawn_servant(
    servant: Servant,
    shared: &Arc<Shared>,
    filters: &Arc<Filters>,
    start: &Arc<Barrier>,
) -> Result<JoinHandle<()>, Error> {
    let (shared, filters, start) = (shared.clone(), filters.clone(), start.clone());
    let Servant { kind, event_loop, quit: _ } = servant;
    let name = if kind == ThreadKind::Disk { "disk" } else { "devices" };
    spawn(name.to_owned(), move || {
        let _panics = shared.end_on_panic();
        if let Err(error) = filters.apply(kind) {
            shared.end(Err(error.into()));
        }
        start.wait();
        let served =
            event_loop.run().and_then(|()| if shared.stopped() { Ok(()) } else { event_loop.drain() });
        if let Err(source) = served {
            shared.end(Err(Error::Host { doing: "waiting for devices' events", source }));
        }
    })
}

fn spawn_vcpu(
    mut vcpu: Vcpu,
    shared: &Arc<Shared>,
    filters: &Arc<Filters>,
    start: &Arc<Barrier>,
) -> Result<JoinHandle<()>, Error> {
    let (shared, filters, start) = (shared.clone(), filters.clone(), start.clone());
    spawn(format!("vcpu{}", vcpu.id), move || {
        let _panics = shared.end_on_panic();
        if let Err(error) = filters.apply(ThreadKind::Vcpu) {
            shared.end(Err(error.into()));
        }
        start.wait();
        vcpu.run(&shared);
    })
}

/// A limit on the size of files is then an error of the write that meets it, as a full disk is, and not the end.
fn survive_file_limits() {
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Threads of the monitor need little stack.
const STACK: usize = 256 << 10;

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let spawned = thread::Builder::new().name(name).stack_size(STACK).spawn(body);
    spawned.map_err(|source| Error::Host { doing: "starting a thread", source })
}

/// Waits until one of the two becomes readable.
fn wait(stop: &EventFd, wake: &EventFd) -> Result<(), Error> {
    let mut events =
        [stop, wake].map(|event| libc::pollfd { fd: event.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    loop {
        // SAFETY: the array is ours and has as many entries as we say.
        let ready = unsafe { libc::poll(events.as_mut_ptr(), events.len() as libc::nfds_t, -1) };
        if ready > 0 {
            return Ok(());
        }
        let source = io::Error::last_os_error();
        if source.kind() != io::ErrorKind::Interrupted {
            return Err(Error::Host { doing: "waiting for the machine's end", source });
        }
    }
}

fn eventfd() -> Result<EventFd, Error> {
    EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)
        .map_err(|source| Error::Host { doing: "creating an eventfd", source })
}

fn clone(event: &EventFd) -> Result<EventFd, Error> {
    event.try_clone().map_err(|source| Error::Host { doing: "duplicating an eventfd", source })
}

fn kvm_error(doing: &'static str) -> impl Fn(kvm_ioctls::Error) -> Error {
    move |source| Error::Kvm { doing, source }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::virtio::VirtioDevice;
    use crate::virtio::block::BlockDevice;
    use crate::virtio::block::disk::{Disk, Part, temporary_file};
    use crate::virtio::rng::Rng;

    #[test]
    fn each_disk_that_is_written_to_has_a_thread_and_the_others_share_one() {
        let part = || Part { file: temporary_file(), length: 4096 };
        let read = Disk::read_only(vec![part()]).unwrap();
        let written = || Disk::writable(part()).unwrap();
        let block =
            |disk| Arc::new(Mutex::new(BlockDevice::new(disk, "disk"))) as Arc<Mutex<dyn VirtioDevice>>;
        let devices = [block(read), block(written()), Arc::new(Mutex::new(Rng::default())), block(written())];
        let memory = memory::allocate(2 << 20).unwrap();
        let memory = Arc::new(crate::virtio::DeviceMemory::new(memory, vec![]).unwrap());
        let frontends = devices.map(|device| {
            let line = |_| Ok(crate::virtio::Interrupt::line().unwrap());
            Frontend::new(device, memory.clone(), line).unwrap()
        });
        let servants = servants(&frontends.each_ref()).unwrap();
        let shapes = servants.iter().map(|servant| (servant.kind, servant.event_loop.devices()));
        let expected = [(ThreadKind::Devices, 2), (ThreadKind::Disk, 1), (ThreadKind::Disk, 1)];
        assert_eq!(shapes.collect::<Vec<_>>(), expected);
    }
}

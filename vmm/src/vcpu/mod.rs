//! A vCPU: a thread that lets KVM run guest code and answers what only the monitor can.

pub mod kick;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use kvm_bindings::{KVM_INTERNAL_ERROR_DELIVERY_EV, KVM_INTERNAL_ERROR_EMULATION};
use kvm_ioctls::{VcpuExit, VcpuFd};
use vmm_sys_util::eventfd::EventFd;

use crate::bus::Bus;
use crate::observer::End;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("KVM cannot run vCPU {id}")]
    Run { id: u8, source: kvm_ioctls::Error },
    #[error(
        "vCPU {id} needs memory that the host cannot give: a file of the machine's disk was cut short or cannot be read"
    )]
    LostPage { id: u8 },
    #[error("the processor refuses to enter the guest on vCPU {id} (hardware reason {reason:#x})")]
    Entry { id: u8, reason: u64 },
    #[error("KVM reports an internal error {suberror} on vCPU {id}")]
    Internal { id: u8, suberror: u32 },
    #[error("vCPU {id} left the guest for a reason the monitor does not know: {exit}")]
    UnknownExit { id: u8, exit: String },
    #[error("locking in the thread of vCPU {id}")]
    Jail { id: u8, source: crate::jail::Error },
}

/// Where the threads of a machine meet: the bus, and the machine's end.
pub struct Shared {
    pub bus: Bus,
    outcome: OnceLock<Result<End, crate::machine::Error>>,
    ended: AtomicBool,
    wake: EventFd,
}

impl Shared {
    /// `wake` becomes readable when the machine has ended.
    pub fn new(bus: Bus, wake: EventFd) -> Self {
        Self { bus, outcome: OnceLock::new(), ended: AtomicBool::new(false), wake }
    }

    /// Ends the machine; of several ends, the first counts.
    pub fn end(&self, outcome: Result<End, crate::machine::Error>) {
        let _ = self.outcome.set(outcome);
        self.ended.store(true, Ordering::SeqCst);
        // Can only fail when the counter is full, and then the reader wakes as well.
        let _ = self.wake.write(1);
    }

    /// Ends the machine if the thread that holds the result panics.
    pub fn end_on_panic(&self) -> impl Drop + '_ {
        struct Guard<'a>(&'a Shared);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.end(Err(crate::machine::Error::Panic));
                }
            }
        }
        Guard(self)
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Whether it is not the guest that ended the machine, but the one who runs it.
    pub fn stopped(&self) -> bool {
        matches!(self.outcome.get(), Some(Ok(End::Stopped)))
    }

    /// Takes bus and outcome apart, once all threads are gone.
    pub fn into_parts(self) -> (Bus, Option<Result<End, crate::machine::Error>>) {
        (self.bus, self.outcome.into_inner())
    }
}

/// One processor of the guest.
pub struct Vcpu {
    pub id: u8,
    pub fd: VcpuFd,
}

impl Vcpu {
    /// Runs the guest on this thread until the machine ends.
    ///
    /// A kick that comes before the vCPU can be kicked is not lost: the machine has ended by then.
    pub fn run(&mut self, shared: &Shared) {
        let id = self.id;
        kick::while_kickable(&mut self.fd, |fd| {
            while !shared.has_ended() {
                match step(id, fd, &shared.bus) {
                    Ok(None) => {}
                    Ok(Some(end)) => shared.end(Ok(end)),
                    Err(error) => shared.end(Err(error.into())),
                }
            }
        });
    }
}

/// Lets the guest run until it needs the monitor once.
fn step(id: u8, vcpu: &mut VcpuFd, bus: &Bus) -> Result<Option<End>, Error> {
    let exit = match vcpu.run() {
        Ok(exit) => exit,
        Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => return Ok(None),
        // Of all memory of the guest, only files can be lost while it runs.
        Err(error) if error.errno() == libc::EFAULT && bus.has_pmem() => return Err(Error::LostPage { id }),
        Err(source) => return Err(Error::Run { id, source }),
    };
    match exit {
        VcpuExit::IoOut(port, data) => return Ok(bus.write_port(port, data)),
        VcpuExit::IoIn(port, data) => bus.read_port(port, data),
        // What can be read there, KVM reads by itself; one without hardware behind it does not tell why it cannot.
        VcpuExit::MmioRead(address, _) if bus.is_pmem(address) => return Err(Error::LostPage { id }),
        VcpuExit::MmioRead(address, data) => bus.read_memory(address, data),
        VcpuExit::MmioWrite(address, data) => bus.write_memory(address, data),
        VcpuExit::Shutdown => return Ok(Some(End::TripleFault)),
        VcpuExit::FailEntry(reason, _) => return Err(Error::Entry { id, reason }),
        VcpuExit::InternalError => return internal_error(id, vcpu, bus),
        // A stop signal that came before KVM looked; and, without a local APIC in KVM, an interrupt window.
        VcpuExit::Intr | VcpuExit::IrqWindowOpen => {}
        other => return Err(Error::UnknownExit { id, exit: format!("{other:?}") }),
    }
    Ok(None)
}

/// KVM gave up. It does so when it cannot imitate an instruction, or cannot deliver an interrupt because the tables for
/// that are not in memory. Either way the guest used what is no memory as if it were: its own doing.
fn internal_error(id: u8, vcpu: &mut VcpuFd, bus: &Bus) -> Result<Option<End>, Error> {
    // SAFETY: the exit reason is KVM_EXIT_INTERNAL_ERROR, for which KVM has filled in this member of the union.
    let suberror = unsafe { vcpu.get_kvm_run().__bindgen_anon_1.internal.suberror };
    let did = match suberror {
        KVM_INTERNAL_ERROR_EMULATION => "used an instruction that cannot be emulated",
        KVM_INTERNAL_ERROR_DELIVERY_EV => "had an interrupt delivered",
        _ => return Err(Error::Internal { id, suberror }),
    };
    let place = vcpu.get_regs().map_or_else(|_| String::new(), |regs| format!(" at {:#x}", regs.rip));
    let pmem = if bus.has_pmem() { ", such as its read-only persistent memory" } else { "" };
    Ok(Some(End::Fault(format!("vCPU {id}{place} {did} where there is no memory that it may write{pmem}"))))
}

//! System call allow-lists, one a kind of thread.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};
use vmm_sys_util::signal::register_signal_handler;

use super::Error;

/// What a thread of the monitor is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadKind {
    /// Runs a vCPU and answers its exits; calls the observer.
    Vcpu,
    /// Serves the devices.
    Devices,
    /// Serves one disk that is written to.
    Disk,
    /// Waits for the end, then tells of it.
    Main,
}

/// What every thread does: wait for others, use memory (none of it executable), end.
const EVERY_THREAD: &[i64] = &[
    libc::SYS_futex,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_read,
    libc::SYS_close,
    libc::SYS_epoll_ctl,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// What a vCPU does when the guest's driver resets a device, with sockets that are open already: it passes on what the
/// guest had sent before, and closes them.
const VCPU: &[i64] =
    &[libc::SYS_accept4, libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_sendto, libc::SYS_shutdown];

const DEVICES: &[i64] = &[
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_readv,
    libc::SYS_preadv,
    libc::SYS_accept4,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_getrandom,
];

/// What a disk's thread does, on the one file that it has.
const DISK: &[i64] = &[
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_pwrite64,
    libc::SYS_fdatasync,
    libc::SYS_fallocate,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
];

const MAIN: &[i64] = &[
    libc::SYS_poll,
    libc::SYS_ppoll,
    // Kicks the vCPUs, and lets a failed assertion abort.
    libc::SYS_tgkill,
];

/// _IO(KVMIO, 0x80) and _IO(KVMIO, 0x81)'s neighbour that reads the registers, for the report on a fault.
const KVM_RUN: u64 = 0xae80;
const KVM_GET_REGS: u64 = 0x8090_ae81;
/// _IOW(KVMIO, 0xa5, struct kvm_msi): a device's interrupt, by PCI.
const KVM_SIGNAL_MSI: u64 = 0x4020_aea5;

/// Compiled allow-lists.
pub struct Filters {
    vcpu: BpfProgram,
    devices: BpfProgram,
    disk: BpfProgram,
    main: BpfProgram,
}

impl Filters {
    /// Compiles the lists, and makes a refused system call end the process with a word about it.
    pub fn prepare() -> Result<Self, Error> {
        register_signal_handler(libc::SIGSYS, refused).map_err(Error::Handler)?;
        Ok(Self {
            vcpu: compile(VCPU, &[KVM_RUN, KVM_GET_REGS, KVM_SIGNAL_MSI])?,
            devices: compile(DEVICES, &[KVM_SIGNAL_MSI])?,
            disk: compile(DISK, &[KVM_SIGNAL_MSI])?,
            main: compile(MAIN, &[])?,
        })
    }

    /// Confines the calling thread for the rest of its life.
    pub fn apply(&self, kind: ThreadKind) -> Result<(), Error> {
        let program = match kind {
            ThreadKind::Vcpu => &self.vcpu,
            ThreadKind::Devices => &self.devices,
            ThreadKind::Disk => &self.disk,
            ThreadKind::Main => &self.main,
        };
        apply_filter(program).map_err(Error::Seccomp)
    }
}

fn compile(calls: &[i64], ioctls: &[u64]) -> Result<BpfProgram, Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        EVERY_THREAD.iter().chain(calls).map(|call| (*call, vec![])).collect();
    // The standard library looks whether a descriptor is open before it closes it, when built for debugging.
    rules.insert(libc::SYS_fcntl, vec![rule(1, SeccompCmpOp::Eq, libc::F_GETFD as u64)?]);
    let no_code = SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64);
    rules.insert(libc::SYS_mmap, vec![rule(2, no_code.clone(), 0)?]);
    rules.insert(libc::SYS_mprotect, vec![rule(2, no_code, 0)?]);
    if !ioctls.is_empty() {
        let allowed = ioctls.iter().map(|request| rule(1, SeccompCmpOp::Eq, *request));
        rules.insert(libc::SYS_ioctl, allowed.collect::<Result<_, _>>()?);
    }
    SeccompFilter::new(rules, SeccompAction::Trap, SeccompAction::Allow, TargetArch::x86_64)
        .and_then(BpfProgram::try_from)
        .map_err(Error::Filter)
}

/// A rule on the lower half of argument number `index`.
fn rule(index: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, Error> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(Error::Filter)
}

/// Exit code of a monitor that was stopped by its own filter.
const REFUSED: c_int = 125;
/// Room for a system call's number.
const DIGITS: usize = 4;
/// Offset of `si_syscall` in siginfo_t, in bytes (see sigaction(2)).
const SI_SYSCALL: usize = 24;

extern "C" fn refused(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel hands a handler with SA_SIGINFO a siginfo_t of 128 bytes; for SIGSYS the number is there.
    let call = unsafe { info.cast::<u8>().add(SI_SYSCALL).cast::<u32>().read_unaligned() };
    let mut text = *b"vmrun: the monitor was stopped: its jail forbids system call     \n";
    let mut rest = call;
    for byte in text.iter_mut().rev().skip(1).take(DIGITS) {
        if rest > 0 {
            *byte = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
    }
    // SAFETY: the buffer is ours; both calls are allowed in signal handlers and by every list.
    unsafe {
        libc::write(2, text.as_ptr().cast(), text.len());
        libc::_exit(REFUSED)
    }
}

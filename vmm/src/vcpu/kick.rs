//! Getting a vCPU's thread out of the guest.
//!
//! A signal interrupts KVM_RUN, but one that arrives just before KVM_RUN would be lost. So the handler also sets
//! `immediate_exit` in the vCPU's shared page, which makes the next KVM_RUN return at once
//! (Documentation/virt/kvm/api.rst, section 5).

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::os::unix::thread::JoinHandleExt;
use std::ptr;
use std::thread::JoinHandle;

use kvm_ioctls::VcpuFd;
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

thread_local! {
    /// `immediate_exit` of the vCPU that this thread runs, or null. Without a destructor and constant at the start, it
    /// may be used in a signal handler.
    static IMMEDIATE_EXIT: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
}

/// Lets this process be kicked. To be called once before [`kick`].
pub fn install() -> Result<(), vmm_sys_util::errno::Error> {
    register_signal_handler(SIGRTMIN(), handle)
}

extern "C" fn handle(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    let immediate_exit = IMMEDIATE_EXIT.get();
    if !immediate_exit.is_null() {
        // SAFETY: the pointer leads into the shared page of a vCPU that `while_kickable`, further up on this thread's
        // stack, has borrowed, and that therefore exists. KVM only reads the byte, when KVM_RUN begins.
        unsafe { immediate_exit.write_volatile(1) };
    }
}

/// Calls `run` with the vCPU; meanwhile, a kick of this thread makes the vCPU leave the guest.
pub fn while_kickable<T>(vcpu: &mut VcpuFd, run: impl FnOnce(&mut VcpuFd) -> T) -> T {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            IMMEDIATE_EXIT.set(ptr::null_mut());
        }
    }
    IMMEDIATE_EXIT.set(&raw mut vcpu.get_kvm_run().immediate_exit);
    let _reset = Reset;
    run(vcpu)
}

/// Makes the vCPU of `thread` leave the guest.
pub fn kick(thread: &JoinHandle<()>) {
    // SAFETY: the thread has not been joined, so its handle is valid, even if it has already ended.
    unsafe { libc::pthread_kill(thread.as_pthread_t(), SIGRTMIN()) };
}

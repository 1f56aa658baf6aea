//! PID 1 of every machine that vmrun starts.
//!
//! The kernel has just unpacked the bootfs and runs this program from it. It loads the modules that
//! this run needs, puts the image's file system and a writable layer over it in the bootfs's place,
//! starts the image's command, carries its streams to the host and its signals back, and at the end
//! powers the machine off. An emulated host (`vmrun emulate`) is brought up by the same steps, with
//! other devices.

// Without the Rust runtime's own start, which ends a program that has no console and no /dev/null yet.
#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, allow(dead_code, unused_imports))]

mod attended;
mod buffer;
mod cgroup;
mod command;
mod connection;
mod console;
mod control;
mod copied_root;
mod descriptors;
mod device;
mod emulated_host;
mod entropy;
mod errno;
mod execs;
mod fault;
mod files;
mod freezer;
mod grace_periods;
mod guest;
mod host_files;
mod image_init;
mod inquiries;
mod lane;
mod listener;
mod log;
mod loopback;
mod modprobe;
mod modules;
mod modules_disk;
mod mounts;
mod namespaces;
mod overlay;
mod pieces;
mod ports;
mod privileges;
mod process;
mod processes;
mod reading;
mod reply;
mod rootfs;
mod session;
mod settings;
mod signals;
mod stamp;
mod standstill;
mod start;
mod statistics;
mod stdio;
mod switch_root;
mod system_mounts;
mod terminal;
mod tmpfs;
mod upper_disk;
mod user;
mod vsock;
mod wall;

#[cfg(not(test))]
use std::ffi::CStr;

/// The C library's way in.
///
/// # Safety
///
/// `arguments` are `count` pointers.
#[cfg(not(test))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(
    count: std::ffi::c_int,
    arguments: *const *mut std::ffi::c_char,
) -> std::ffi::c_int {
    if !rustix::process::getpid().is_init() {
        // SAFETY: the C library passes `count` pointers to strings, which live as long as the program.
        let words: Vec<&[u8]> = (0..count.max(0) as usize)
            .map(|at| unsafe { CStr::from_ptr(*arguments.add(at)) }.to_bytes())
            .collect();
        if let Some(code) = words.split_first().and_then(|(program, words)| modprobe::run(program, words)) {
            return code;
        }
        let _ = rustix::io::write(rustix::stdio::stderr(), b"guest-init is the first process of a machine\n");
        return 1;
    }
    if count > 0 {
        // SAFETY: the C library passes as many pointers as it says, of which this is the first.
        image_init::remember_name(unsafe { *arguments });
    }
    start::run()
}

//! The monitor: one process that runs one virtual machine on KVM.
//!
//! A [`MachineSpec`] says what the machine is; [`Machine::new`] builds it, and [`Machine::run`] locks this process in
//! and runs the guest to its end. The monitor knows nothing of images or of what runs in the guest.
//!
//! ```no_run
//! use std::sync::Arc;
//! use vmm::{EventFd, Firmware, Machine, MachineSpec, Observer, Transport, Trouble};
//!
//! struct Console;
//! impl Observer for Console {
//!     fn stamp(&self, _byte: u8) {}
//!     fn serial(&self, bytes: &[u8]) {
//!         print!("{}", String::from_utf8_lossy(bytes));
//!     }
//!     fn trouble(&self, trouble: Trouble) {
//!         eprintln!("{trouble:?}");
//!     }
//! }
//!
//! let spec = MachineSpec {
//!     vcpus: 1,
//!     memory: 256 << 20,
//!     kernel: "vmlinux".into(),
//!     kaslr: None,
//!     initramfs: vec![],
//!     cmdline: "console=ttyS0 panic=-1".into(),
//!     firmware: Firmware::Acpi,
//!     transport: Transport::Mmio,
//!     pmem: vec![],
//!     blocks: vec![],
//!     vsock: None,
//!     rng: true,
//!     balloon: true,
//! };
//! let report = Machine::new(spec)?.run(Arc::new(Console), EventFd::new(0)?)?;
//! println!("{:?}", report.end);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod bus;
pub mod cmdline;
mod devices;
mod event_loop;
pub mod jail;
pub mod layout;
pub mod machine;
mod memory;
mod observer;
pub mod pci;
mod serial;
pub mod spec;
mod vcpu;
pub mod virtio;
mod x86_64;

pub use machine::{Error, Machine};
pub use observer::{End, Observer, Report, Trouble};
pub use spec::{
    BlockSpec, Carrier, DiskPart, Firmware, InitramfsPart, MachineSpec, PmemSpec, Transport, VsockSpec,
};
pub use vmm_sys_util::eventfd::EventFd;

/// How a kernel comes into guest memory, for the fuzz targets.
#[cfg(feature = "mock-driver")]
pub use x86_64::kernel as kernel_loader;

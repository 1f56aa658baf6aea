//! What the emulated machine boots: a stored kernel, and an initramfs in memory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, bail};
use guest_protocol::{CONFIG_PATH, Config, frame};
use kernels::{EMULATED_HOST, Kernel, KernelStore, Signatures, cpio};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::home;
use crate::output::complain;

/// The first Linux that starts where QEMU hands over (PVH without Xen).
const FIRST_PVH: (u32, u32) = (5, 0);

/// The kernel of that name; without a name, the default one if it has what the machine needs
/// (9p, KVM, virtio-pci, virtio-console, overlayfs), else the first that has.
pub fn choose_kernel(kernels: &KernelStore, name: Option<&str>) -> Result<Kernel> {
    if let Some(name) = name {
        let kernel = kernels.get(name)?;
        kernel.require(EMULATED_HOST)?;
        if kernel.release() < FIRST_PVH {
            let (major, minor) = FIRST_PVH;
            bail!("the kernel {name} cannot start in QEMU, which Linux {major}.{minor} and later can");
        }
        return Ok(kernel);
    }
    let able = |kernel: &Kernel| kernel.abilities.usable(EMULATED_HOST) && kernel.release() >= FIRST_PVH;
    if let Some(kernel) = kernels.default_kernel().ok().filter(able) {
        return Ok(kernel);
    }
    match kernels.list(&mut |error| complain(&error.into()))?.into_iter().find(able) {
        Some(kernel) => Ok(kernel),
        None => bail!(
            "no stored kernel can boot an emulated host (it needs 9p, which cloud kernels lack): \
             add Debian's generic one, of the package linux-image-amd64, with `vmrun kernel add`"
        ),
    }
}

/// The initramfs as a file without a name: nothing is left behind whatever ends this process.
pub fn initramfs(kernel: &Kernel, config: &Config) -> Result<OwnedFd> {
    let guest_init = home::beside_executable("guest-init")?;
    let init = fs::read(&guest_init).with_context(|| format!("cannot read {}", guest_init.display()))?;
    let mut rest = cpio::Archive::new();
    rest.add_file("init", 0o755, &init)?;
    rest.add_file(CONFIG_PATH, 0o400, &frame::encode(config)?)?;

    let modules = kernel.modules_archive(EMULATED_HOST, &[], Signatures::Dropped)?;
    let mut modules = File::open(&modules).with_context(|| format!("cannot open {}", modules.display()))?;
    let mut initramfs = File::from(
        memfd_create("initramfs", MemfdFlags::CLOEXEC)
            .context("cannot make a file in memory for the initramfs")?,
    );
    io::copy(&mut modules, &mut initramfs)?;
    initramfs.write_all(&rest.finish()?)?;
    Ok(initramfs.into())
}

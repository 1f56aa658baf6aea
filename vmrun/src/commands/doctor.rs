//! `vmrun doctor`: is this host ready, and if not, what is to be done?

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Result;
use kernels::EMULATED_HOST;

use crate::emulate::host::EmulatedHost;
use crate::emulate::qemu;
use crate::hardware::{self, Virtualization};
use crate::home::{self, Home};
use crate::machine::usual;
use crate::output::say;

/// How a check came out.
enum Finding {
    Ok(String),
    /// vmrun works, but not as well as it could.
    Warn(String),
    /// vmrun cannot run machines until this is mended.
    Fail(String),
}

use Finding::{Fail, Ok as Good, Warn};

/// Prints a line for each check; the exit code is 1 when one has failed.
pub fn doctor(home: &Home) -> Result<u8> {
    let emulated = hardware::virtualization().is_none();
    let checks: [(&str, Finding); 9] = [
        ("processor", processor()),
        ("/dev/kvm", kvm(emulated)),
        ("emulation", emulation(emulated)),
        ("confinement", confinement()),
        ("guest-init", guest_init()),
        ("store", store(home)),
        ("kernels", machine_kernels(home)),
        ("emulation kernel", emulation_kernel(home, emulated)),
        ("emulated host", emulated_host(home, emulated)),
    ];
    let mut code = 0;
    for (name, finding) in checks {
        let (word, text) = match finding {
            Good(text) => ("ok", text),
            Warn(text) => ("warn", text),
            Fail(text) => {
                code = 1;
                ("fail", text)
            }
        };
        say(format_args!("{word:4}  {name:16}  {text}"))?;
    }
    Ok(code)
}

fn processor() -> Finding {
    match hardware::virtualization() {
        Some(Virtualization::Vmx) => Good("hardware virtualization (VT-x)".into()),
        Some(Virtualization::Svm) => Good("hardware virtualization (AMD-V)".into()),
        None => Warn("no hardware virtualization: machines run emulated, which is slow".into()),
    }
}

fn kvm(emulated: bool) -> Finding {
    match fs::File::options().read(true).write(true).open("/dev/kvm") {
        Ok(_) if emulated => {
            Warn("opens, but cannot run a stock kernel without hardware virtualization".into())
        }
        Ok(_) => Good("opens for reading and writing".into()),
        Err(_) if emulated => Warn("not usable, and not needed for emulation".into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Fail("missing: load it with `modprobe kvm_intel` or `modprobe kvm_amd`".into())
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Fail("no permission: `sudo usermod -aG kvm $USER`, then log in again".into())
        }
        Err(error) => Fail(error.to_string()),
    }
}

fn emulation(emulated: bool) -> Finding {
    match qemu::find() {
        Some(file) => Good(format!("{}", file.display())),
        None if emulated => {
            Fail(format!("{} is missing: `apt-get install {}`", qemu::PROGRAM, qemu::PACKAGE))
        }
        None => Good("QEMU is not installed, and not needed".into()),
    }
}

fn confinement() -> Finding {
    match vmm::jail::missing_landlock() {
        None => Good("Landlock and seccomp".into()),
        Some(gap) => Warn(format!("{gap}: monitors are confined by seccomp alone")),
    }
}

fn guest_init() -> Finding {
    match home::beside_executable("guest-init") {
        Ok(path) => Good(path.display().to_string()),
        Err(error) => Fail(error.to_string()),
    }
}

fn store(home: &Home) -> Finding {
    let root = home.root();
    match home.images().and_then(|store| Ok(store.images()?)) {
        Ok(images) => match writable(root) {
            Ok(()) => Good(format!("{}, {} images", root.display(), images.len())),
            Err(error) => Fail(format!(
                "{} cannot be written ({error}): choose another with VMRUN_HOME",
                root.display()
            )),
        },
        Err(error) => Fail(format!("{error:#}")),
    }
}

fn writable(root: &Path) -> io::Result<()> {
    tempfile::tempfile_in(root).map(drop)
}

fn machine_kernels(home: &Home) -> Finding {
    let mut damaged = Vec::new();
    let mut complain = |error: kernels::Error| damaged.push(error.to_string());
    let found = home.kernels().and_then(|store| Ok((store.list(&mut complain)?, store.default_name()?)));
    if !damaged.is_empty() {
        return Fail(damaged.join("; "));
    }
    let kernels = match found {
        Ok((kernels, _)) if kernels.is_empty() => {
            return Fail(
                "none: get one with `vmrun kernel pull debian:6.12`, or `vmrun kernel add` one".into(),
            );
        }
        Ok(found) => found,
        Err(error) => return Fail(format!("{error:#}")),
    };
    let (list, default) = kernels;
    let Some(kernel) = list.iter().find(|kernel| Some(&kernel.name) == default.as_ref()) else {
        return Warn("no default: choose one with `vmrun kernel default NAME`".into());
    };
    match usual(kernel) {
        Ok(parts) => Good(format!("{} by default, of {}: {parts}", kernel.name, list.len())),
        Err(error) => Fail(error.to_string()),
    }
}

fn emulation_kernel(home: &Home, emulated: bool) -> Finding {
    let able = home.kernels().and_then(|store| Ok(store.list(&mut |_| ())?)).map(|list| {
        list.into_iter().find(|kernel| kernel.require(EMULATED_HOST).is_ok()).map(|kernel| kernel.name)
    });
    match able {
        Ok(Some(name)) => Good(name),
        Ok(None) if emulated => {
            Fail("none has 9p and KVM: add Debian's linux-image-amd64 (not its cloud flavour)".into())
        }
        Ok(None) => Good("none, and not needed".into()),
        Err(error) => Fail(format!("{error:#}")),
    }
}

fn emulated_host(home: &Home, emulated: bool) -> Finding {
    match EmulatedHost::new(home.root()).status() {
        Ok(Some((status, census))) => Good(format!(
            "runs, with {} machines and {} MiB of {} left (QEMU has PID {})",
            census.labels.len(),
            census.available >> 20,
            status.memory >> 20,
            status.qemu
        )),
        Ok(None) if emulated => Good("does not run: it starts with the first machine".into()),
        Ok(None) => Good("does not run, and is not needed".into()),
        Err(error) => Warn(format!("{error:#}: `vmrun emulate stop --force` ends it")),
    }
}

//! `vmrun run`: an image's command in a machine of its own.

use std::io::{self, IsTerminal};

use anyhow::{Context, Result, bail};

use rootfs_builder::image::Platform;
use rootfs_builder::store::{Error, Image, Store};

use super::{emulate, pull};
use crate::arguments::{PullPolicy, RunArguments};
use crate::hardware;
use crate::home::Home;
use crate::machine::{self, Attendance, KernelLog, MachineId, Record, Timing, monotonic_time};
use crate::output::warn;

pub fn run(home: &Home, run: &RunArguments) -> Result<u8> {
    let begun = monotonic_time();
    if run.tty && run.interactive && !io::stdin().is_terminal() {
        bail!("the input device is not a terminal: leave out -t, or run from one");
    }
    let images = home.images()?;
    let image = find_image(&images, run)?;
    let kernels = home.kernels()?;
    let kernel = match &run.kernel {
        Some(name) => kernels.get(name)?,
        None => kernels.default_kernel()?,
    };
    if hardware::virtualization().is_none() {
        let copy = if run.no_share { image.disk().length } else { 0 };
        return emulate::run_again(home, run.memory.saturating_add(copy));
    }
    check_kvm()?;
    let id = MachineId::new()?;
    let record = Record::create(home, &id, !run.rm)?;
    let process = machine::process(run, image.config(), run.tty.then(machine::window_size))?;
    let plan = machine::plan(run, &image, &kernel, process, &id, &record)?;
    let mut description = plan.description(run, &id, &kernel);
    record.describe(&description)?;
    if run.verbose {
        warn(&format!("vmrun: machine {} of {} on kernel {}: {plan}", id.as_str(), run.image, kernel.name));
    }
    let file = if run.rm { None } else { Some(record.kernel_log()?) };
    let outcome = Attendance {
        terminal: run.tty,
        stdin: run.interactive,
        log: KernelLog::new(file, run.console),
        keep_log: !run.rm,
        timing: run.timing.then(|| Timing::new(begun, plan.rootfs.to_string())),
    }
    .attend(&plan.spec, &record);
    description.exit_code = Some(*outcome.as_ref().unwrap_or(&crate::FAILED));
    record.describe(&description)?;
    outcome
}

/// Finds the image, and pulls it if that is wanted.
fn find_image(images: &Store, run: &RunArguments) -> Result<Image> {
    let policy = if run.pulled { PullPolicy::Never } else { run.pull };
    if policy == PullPolicy::Always {
        pull::before_run(images, &run.image)?;
    }
    let image = match images.resolve(&run.image) {
        Err(Error::NotFound(_)) if policy == PullPolicy::Missing => {
            warn(&format!("Unable to find image ‘{}’ locally", run.image));
            pull::before_run(images, &run.image)?;
            images.resolve(&run.image)?
        }
        image => image?,
    };
    let (wanted, is) = (Platform::default(), image.platform());
    if !wanted.takes(is) {
        bail!(
            "{0} is for {is}, and only {wanted} can run: `vmrun pull {0}` gets the image for that",
            run.image
        );
    }
    Ok(image)
}

/// Says in one line what keeps this user from KVM.
fn check_kvm() -> Result<()> {
    match std::fs::File::options().read(true).write(true).open("/dev/kvm") {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("there is no /dev/kvm: load kvm_intel or kvm_amd, or run `vmrun emulate -- vmrun …`")
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            bail!(
                "no permission for /dev/kvm: join its group, with `sudo usermod -aG kvm $USER` and a new login"
            )
        }
        Err(error) => Err(error).context("cannot open /dev/kvm"),
    }
}

//! `vmrun create`: a machine that waits to be started.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use guest_protocol::Init;
use rootfs_builder::image::{ImageConfig, Platform, format_time};
use rootfs_builder::store::{Error, Image, Store};

use super::{kernel_pull, pull};
use crate::arguments::{CreateArguments, InitChoice, LogDriver, MachineArguments, PullPolicy};
use crate::events;
use crate::hardware;
use crate::home::Home;
use crate::machine::restart::RestartPolicy;
use crate::machine::{
    MachineConfig, MachineDirectory, MachineId, Machines, Resources, UpperConfig, arguments, check_size,
    environment, init_of, signal_number,
};
use crate::output::{say, warn};

/// How long a process, or a whole system, may take to end, in seconds.
const STOP_TIMEOUT: u64 = 10;
const SHUTDOWN_TIMEOUT: u64 = 60;

pub fn create(home: &Home, arguments: &CreateArguments) -> Result<u8> {
    let (machine, _) = make(home, &arguments.machine)?;
    say(machine.id().as_str())?;
    Ok(0)
}

/// Makes the machine that `arguments` ask for.
pub fn make(home: &Home, arguments: &MachineArguments) -> Result<(MachineDirectory, MachineConfig)> {
    if arguments.rm && arguments.restart != RestartPolicy::No {
        bail!("--rm and --restart contradict each other: a machine that is removed cannot start again");
    }
    let images = home.images()?;
    let image = find_image(&images, arguments)?;
    let kernel = match &arguments.kernel {
        Some(name) => kernel_pull::find_kernel(home, name, arguments.pull)?,
        None => home.kernels()?.default_kernel()?,
    };
    let config = config(arguments, image.config(), image.id().to_string(), kernel.name.clone())?;
    let cidfile = arguments.cidfile.as_ref().map(|path| {
        let file = File::options().write(true).create_new(true).open(path);
        file.with_context(|| format!("cannot make the --cidfile {}", path.display()))
    });
    let cidfile = cidfile.transpose()?;
    let made = Machines::open(home).create(&config, arguments.name.as_deref());
    if made.is_err()
        && let Some(path) = &arguments.cidfile
    {
        let _ = fs::remove_file(path);
    }
    let machine = made?;
    if let Some(mut file) = cidfile {
        file.write_all(config.id.as_str().as_bytes()).context("cannot write the --cidfile")?;
    }
    events::record(home, "create", &machine, &config, None);
    Ok((machine, config))
}

/// Says what keeps `arguments` from being a machine's, as far as that can be known without its kernel, and where `image`
/// is not given, without its image.
pub fn check(arguments: &MachineArguments, image: Option<&ImageConfig>) -> Result<()> {
    let any = ImageConfig { cmd: vec!["any".into()], ..ImageConfig::default() };
    config(arguments, image.unwrap_or(&any), String::new(), String::new()).map(drop)
}

fn config(
    arguments: &MachineArguments,
    said: &ImageConfig,
    image_id: String,
    kernel: String,
) -> Result<MachineConfig> {
    let id = MachineId::new()?;
    let signal = arguments.stop_signal.as_deref().or(said.stop_signal.as_deref()).unwrap_or("TERM");
    let args = self::arguments(arguments, said)?;
    let init = match arguments.resources.init {
        Some(InitChoice::None) => Init::None,
        Some(InitChoice::Image) => Init::Image,
        None => init_of(&args),
    };
    Ok(MachineConfig {
        created: format_time(SystemTime::now()).context("the clock is out of range")?,
        image: arguments.image.clone(),
        image_id,
        kernel,
        hostname: arguments.hostname.clone().unwrap_or_else(|| id.as_str().to_owned()),
        memory: arguments.memory,
        cpus: arguments.cpus.count,
        env: environment(arguments, said)?,
        workdir: arguments.workdir.as_ref().unwrap_or(&said.workdir).clone(),
        user: arguments.user.as_ref().unwrap_or(&said.user).clone(),
        tty: arguments.tty,
        open_stdin: arguments.interactive,
        init,
        args,
        upper: match arguments.tmpfs_root {
            true => UpperConfig::Memory,
            false => UpperConfig::Disk { size: check_size(arguments.disk_size)? },
        },
        // A disk that goes with the machine has nothing to outlast.
        flush: arguments.disk_flush && !arguments.rm,
        read_only: arguments.read_only,
        resources: Resources::parse(&arguments.resources, arguments.cpus.quota)?,
        rootfs_device: arguments.rootfs_device,
        no_share: arguments.no_share,
        rootfs_format: arguments.rootfs_format,
        transport: arguments.transport,
        channel: arguments.channel,
        no_modules: arguments.no_modules,
        kernel_args: arguments.kernel_arg.clone(),
        stock_boot: arguments.stock_boot,
        console: arguments.console,
        remove: arguments.rm,
        restart: arguments.restart,
        stop_signal: signal_number(signal)?,
        stop_timeout: arguments.stop_timeout.unwrap_or(match init {
            Init::None => STOP_TIMEOUT,
            Init::Image => SHUTDOWN_TIMEOUT,
        }),
        labels: labels(arguments, &said.labels)?,
        keep_output: arguments.log_driver == LogDriver::File,
        id,
    })
}

/// The image's labels, over them those of files, over them those of the command line.
fn labels(
    arguments: &MachineArguments,
    image: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>> {
    let mut labels = image.clone();
    let mut set = |label: &str| -> Result<()> {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        if name.is_empty() {
            bail!("'{label}' is no label: write NAME=VALUE");
        }
        labels.insert(name.to_owned(), value.to_owned());
        Ok(())
    };
    for path in &arguments.label_file {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read --label-file {}", path.display()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.into_iter().try_for_each(&mut set)?;
    }
    arguments.label.iter().try_for_each(|label| set(label))?;
    Ok(labels)
}

/// Finds the image, and pulls it if that is wanted.
pub fn find_image(images: &Store, arguments: &MachineArguments) -> Result<Image> {
    let policy = arguments.pull;
    if policy == PullPolicy::Always {
        pull::before_run(images, &arguments.image)?;
    }
    let image = match images.resolve(&arguments.image) {
        Err(Error::NotFound(_)) if policy == PullPolicy::Missing => {
            warn(&format!("Unable to find image ‘{}’ locally", arguments.image));
            pull::before_run(images, &arguments.image)?;
            images.resolve(&arguments.image)?
        }
        image => image?,
    };
    let (wanted, is) = (Platform::default(), image.platform());
    if !wanted.takes(is) {
        bail!(
            "{0} is for {is}, and only {wanted} can run: `vmrun pull {0}` gets the image for that",
            arguments.image
        );
    }
    Ok(image)
}

/// Says in one line what keeps this user from KVM.
pub fn check_kvm() -> Result<()> {
    if hardware::virtualization().is_none() {
        // The emulated host has one.
        return Ok(());
    }
    match File::options().read(true).write(true).open("/dev/kvm") {
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

//! `vmrun pull`: an image from a registry.

use anyhow::{Context, Result};
use registry::{Credentials, Options, Registry};
use rootfs_builder::image::Platform;
use rootfs_builder::reference::Reference;
use rootfs_builder::store::{Pulled, Store};

use crate::arguments::{PullArguments, Trust};
use crate::home::Home;
use crate::output::{say, warn};
use crate::progress::LayerBars;

pub fn pull(home: &Home, arguments: &PullArguments) -> Result<u8> {
    let name: Reference = arguments.name.parse()?;
    if !arguments.quiet {
        let short = name.digest().map(ToString::to_string).or(name.tag().map(str::to_owned));
        say(format_args!("{}: Pulling from {}", short.unwrap_or_default(), name.repository()))?;
    }
    let progress = LayerBars::new(arguments.quiet);
    let pulled = fetch(&home.images()?, &name, &arguments.platform, arguments.trust, &progress)?;
    if !arguments.quiet {
        say(format_args!("Digest: {}", pulled.digest))?;
        say(format_args!("Status: {}", status(&pulled, &name)))?;
    }
    say(name.by_digest().full())?;
    Ok(0)
}

/// Pulls what is about to run. What is said goes to standard error: the rest is the machine's.
pub fn before_run(images: &Store, image: &str) -> Result<()> {
    let name: Reference = image.parse()?;
    let trust = Trust { insecure: false };
    let pulled = fetch(images, &name, &Platform::default(), trust, &LayerBars::new(false))?;
    warn(&format!("Status: {}", status(&pulled, &name)));
    Ok(())
}

fn fetch(
    images: &Store,
    name: &Reference,
    platform: &Platform,
    trust: Trust,
    progress: &LayerBars,
) -> Result<Pulled> {
    let pulled = connect(name.registry(), trust)
        .map_err(anyhow::Error::from)
        .and_then(|registry| {
            Ok(images.pull(&registry.repository(name.repository()), name, platform, progress)?)
        })
        .with_context(|| format!("cannot pull {name}"))?;
    for warning in &pulled.warnings {
        warn(&format!("vmrun: warning: {warning}"));
    }
    Ok(pulled)
}

/// A registry, with the user's credentials.
pub fn connect(name: &str, trust: Trust) -> registry::Result<Registry> {
    Registry::new(name, Credentials::of_user(), Options { insecure: trust.insecure, ..Options::default() })
}

fn status(pulled: &Pulled, name: &Reference) -> String {
    let name = name.by_digest();
    match pulled.up_to_date {
        true => format!("Image is up to date for {name}"),
        false => format!("Downloaded newer image for {name}"),
    }
}

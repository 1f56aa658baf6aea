//! `vmrun push`: an image to a registry.

use anyhow::{Context, Result, bail};
use rootfs_builder::reference::Reference;

use super::pull::connect;
use crate::arguments::PushArguments;
use crate::home::Home;
use crate::output::say;
use crate::progress::LayerBars;

pub fn push(home: &Home, arguments: &PushArguments) -> Result<u8> {
    let name: Reference = arguments.name.parse()?;
    let (Some(tag), None) = (name.tag(), name.digest()) else {
        bail!("‘{name}’ has a digest: an image is pushed by NAME[:TAG], and gets its digest from what it is");
    };
    let images = home.images()?;
    let image = images.outgoing(&name).with_context(|| format!("cannot push {name}"))?;
    if !arguments.quiet {
        say(format_args!("The push refers to repository [{}/{}]", name.registry(), name.repository()))?;
    }
    connect(name.registry(), arguments.trust)
        .and_then(|registry| {
            let repository = registry.repository(name.repository());
            repository.push(&image, tag, &LayerBars::sending(arguments.quiet))
        })
        .with_context(|| format!("cannot push {name}"))?;
    match arguments.quiet {
        true => say(name.full())?,
        false => {
            let manifest = &image.content.manifest;
            say(format_args!("{tag}: digest: {} size: {}", manifest.digest, manifest.bytes.len()))?;
        }
    }
    Ok(0)
}

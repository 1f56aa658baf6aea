//! `vmrun load`: images from an archive or a layout directory.

use std::fs::File;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use rootfs_builder::reference::Reference;
use rootfs_builder::store::{LoadSource, Loaded};

use crate::arguments::LoadArguments;
use crate::home::Home;
use crate::output::{say, warn};
use crate::progress::LayerBars;

pub fn load(home: &Home, arguments: LoadArguments) -> Result<u8> {
    let name = arguments.name.as_deref().map(str::parse::<Reference>).transpose()?;
    let source = if arguments.input == Path::new("-") {
        LoadSource::Archive(Box::new(io::stdin()))
    } else if arguments.input.is_dir() {
        LoadSource::Directory(arguments.input.clone())
    } else {
        let file = File::open(&arguments.input)
            .with_context(|| format!("cannot open {}", arguments.input.display()))?;
        LoadSource::Archive(Box::new(file))
    };
    let loaded = home
        .images()?
        .load(source, name.as_ref(), &LayerBars::new(arguments.quiet))
        .with_context(|| format!("cannot load {}", arguments.input.display()))?;
    loaded.iter().try_for_each(show)?;
    Ok(0)
}

/// Says what came of it, in Docker's words.
pub fn show(image: &Loaded) -> Result<()> {
    for warning in &image.warnings {
        warn(&format!("vmrun: warning: {warning}"));
    }
    match &image.reference {
        Some(reference) => say(format_args!("Loaded image: {reference}")),
        None => say(format_args!("Loaded image ID: {}", image.id)),
    }
}

//! `vmrun load`: images from an archive or a layout directory.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rootfs_builder::reference::Reference;
use rootfs_builder::store::{LoadSource, Loaded};

use crate::arguments::LoadArguments;
use crate::home::Home;
use crate::output::{say, warn};
use crate::progress::LayerBars;

pub fn load(home: &Home, arguments: LoadArguments) -> Result<u8> {
    let name = arguments.name.as_deref().map(str::parse::<Reference>).transpose()?;
    let path = arguments.input.as_deref().unwrap_or(Path::new("-"));
    let source = if path == Path::new("-") {
        if io::stdin().is_terminal() {
            bail!(
                "an archive does not come from a terminal: name a file with -i, or redirect standard input"
            );
        }
        LoadSource::Archive(Box::new(io::stdin()))
    } else if path.is_dir() {
        LoadSource::Directory(path.to_owned())
    } else {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        LoadSource::Archive(Box::new(file))
    };
    let what = if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
    let loaded = home
        .images()?
        .load(source, name.as_ref(), &LayerBars::new(arguments.quiet))
        .with_context(|| format!("cannot load {what}"))?;
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

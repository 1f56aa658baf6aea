//! `vmrun kernel search`: what kernels Debian's archive has.

use anyhow::{Result, bail};
use debian_archive::{Flavour, KernelPackages};
use serde_json::json;

use super::kernel_pull;
use crate::arguments::{ArchiveArguments, Format};
use crate::output::{complain, say, table};
use crate::progress::Downloads;
use crate::size;

pub fn search(pattern: Option<&str>, all: bool, format: Format, arguments: &ArchiveArguments) -> Result<u8> {
    let pattern = pattern.map(|pattern| match pattern.contains(['*', '?', '[']) {
        true => glob::Pattern::new(pattern),
        false => glob::Pattern::new(&format!("*{pattern}*")),
    });
    let pattern = pattern.transpose()?;
    let archive = kernel_pull::open(arguments)?;
    let (mut kernels, mut failures) = archive.every_kernel(&Downloads::new());
    if kernels.is_empty() {
        match failures.pop() {
            Some(error) => return Err(error.into()),
            None => bail!("{} has no kernels", archive.options().mirror),
        }
    }
    failures.into_iter().for_each(|error| complain(&error.into()));
    match &pattern {
        Some(pattern) => kernels.retain(|kernel| words(kernel).iter().any(|word| pattern.matches(word))),
        None if all => {}
        None => kernels.retain(|kernel| kernel.is_suites_own),
    }
    show(&kernels, format)?;
    Ok(0)
}

fn show(kernels: &[KernelPackages], format: Format) -> Result<()> {
    if format == Format::Json {
        let entries: Vec<_> = kernels
            .iter()
            .map(|kernel| {
                json!({
                    "name": name(kernel),
                    "version": kernel.version().as_str(),
                    "release": kernel.release,
                    "flavour": kernel.flavour.name(),
                    "suite": kernel.suite(),
                    "size": kernel.size(),
                    "packages": kernel.packages.iter().map(|package| &package.name).collect::<Vec<_>>(),
                })
            })
            .collect();
        say(serde_json::to_string_pretty(&entries)?)?;
        return Ok(());
    }
    let rows: Vec<[String; 5]> = kernels
        .iter()
        .map(|kernel| {
            [
                name(kernel),
                kernel.release.clone(),
                kernel.flavour.to_string(),
                kernel.suite().to_owned(),
                size::show(kernel.size()),
            ]
        })
        .collect();
    Ok(table(["KERNEL", "RELEASE", "FLAVOUR", "SUITE", "SIZE"], &rows)?)
}

/// What pulls exactly this one.
fn name(kernel: &KernelPackages) -> String {
    match kernel.flavour {
        Flavour::Cloud => format!("debian:{}", kernel.version()),
        flavour => format!("debian:{}-{flavour}", kernel.version()),
    }
}

fn words(kernel: &KernelPackages) -> [String; 4] {
    [name(kernel), kernel.release.clone(), kernel.flavour.to_string(), kernel.suite().to_owned()]
}

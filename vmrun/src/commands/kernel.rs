//! `vmrun kernel`: the kernels that machines boot.

use std::fs;

use anyhow::Result;
use kernels::{Addition, Kernel, KernelStore, Source};

use super::kernel_build::Wish;
use super::kernel_pull::Order;
use super::{each, kernel_build, kernel_image, kernel_pull, kernel_search};
use crate::arguments::{ArchiveName, Format, KernelCommand};
use crate::home::Home;
use crate::machine::silence;
use crate::output::{complain, say, table, warn};
use crate::size;

pub fn kernel(home: &Home, command: KernelCommand) -> Result<u8> {
    let store = home.kernels()?;
    match command {
        KernelCommand::Add { sources, release, name } => {
            let progress = crate::progress::Steps::new();
            let sources = sources.iter().map(|source| kernel_image::source(home, source));
            let sources: Vec<Source> = sources.collect::<Result<_>>()?;
            let addition = Addition { name: name.as_deref(), release: release.as_deref(), replace: false };
            let kernel = store.add(&sources, &addition, &|step| progress.show(&step.to_string()))?;
            progress.finish();
            say(&kernel.name)?;
            if let Some(silence) = silence(&kernel) {
                warn(&format!("vmrun: {silence}"));
            }
        }
        KernelCommand::Build { source, config, name, jobs, archive } => {
            let wish = Wish { source: &source, fragments: &config, name: name.as_deref(), jobs, archive };
            return kernel_build::build(&store, wish);
        }
        KernelCommand::Pull { wanted, flavour, name, packages, quiet, archive } => {
            let order = Order {
                wanted: &wanted,
                flavour,
                name: name.as_deref(),
                packages: packages.as_deref(),
                quiet,
            };
            return kernel_pull::pull(&store, &order, &archive);
        }
        KernelCommand::Search { archive_name: ArchiveName::Debian, pattern, all, format, archive } => {
            return kernel_search::search(pattern.as_deref(), all, format, &archive);
        }
        KernelCommand::Ls { quiet, format } => {
            let default = store.default_name()?;
            list(&store, default.as_deref(), quiet, format)?;
        }
        KernelCommand::Rm { names } => {
            return each(&names, |name| {
                store.remove(name)?;
                say(name)
            });
        }
        KernelCommand::Inspect { name, format } => inspect(&store.get(&name)?, format)?,
        KernelCommand::Default { name } => store.set_default(&name)?,
    }
    Ok(0)
}

fn list(store: &KernelStore, default: Option<&str>, quiet: bool, format: Format) -> Result<()> {
    let kernels = &store.list(&mut |error| complain(&error.into()))?;
    if quiet {
        kernels.iter().try_for_each(|kernel| say(&kernel.name))?;
        return Ok(());
    }
    if format == Format::Json {
        say(serde_json::to_string_pretty(kernels)?)?;
        return Ok(());
    }
    let row = |kernel: &Kernel| -> Result<[String; 6]> {
        Ok([
            kernel.name.clone(),
            kernel.version.clone(),
            kernel.modules.to_string(),
            size::show(store.allocated(kernel)?),
            kernel.sources.first().map_or_else(String::new, |source| source.format.clone()),
            if default == Some(&kernel.name) { "*".into() } else { String::new() },
        ])
    };
    let rows = kernels.iter().map(row).collect::<Result<Vec<_>>>()?;
    Ok(table(["NAME", "VERSION", "MODULES", "SIZE", "SOURCE", "DEFAULT"], &rows)?)
}

/// How many there are, and what the disk takes that they are on.
fn modules(kernel: &Kernel) -> Result<String> {
    Ok(match kernel.modules_disk() {
        Some(disk) => format!("{}, on a disk of {}", kernel.modules, size::show(fs::metadata(disk)?.len())),
        None if kernel.modules > 0 => {
            format!(
                "{}, and no disk for machines, since an older vmrun added it: remove it and add it again",
                kernel.modules
            )
        }
        None => kernel.modules.to_string(),
    })
}

fn inspect(kernel: &Kernel, format: Format) -> Result<()> {
    if format == Format::Json {
        say(serde_json::to_string_pretty(kernel)?)?;
        return Ok(());
    }
    let fact = |name: &str, value: String| [name.to_owned(), value];
    let mut rows = vec![
        fact("version", kernel.version.clone()),
        fact("configuration", kernel.config_source.to_string()),
        fact("memory", format!("{} MiB at least", kernel.minimum_memory >> 20)),
        fact("modules", modules(kernel)?),
        fact("KASLR", kernel.kaslr()),
    ];
    for source in &kernel.sources {
        rows.push(fact("source", format!("{}, {}", source.source, source.format)));
        rows.extend(source.package.clone().map(|package| fact("  package", package)));
        rows.extend(source.sha256.clone().map(|digest| fact("  SHA-256", digest)));
        rows.push(fact("  signature", source.signature.clone()));
    }
    rows.extend(kernel.abilities.iter().map(|(feature, ability)| fact(feature.name(), ability.to_string())));
    Ok(table(["KERNEL", &kernel.name], &rows)?)
}

//! `vmrun kernel pull`: a kernel from Debian's archive.

use std::path::Path;

use anyhow::{Context, Result};
use debian_archive::{Archive, Flavour, KernelPackages, Options, Package, Wanted};
use kernels::{Addition, Error, Kernel, KernelStore, Origin, Source};

use crate::arguments::{ArchiveArguments, FlavourChoice, PullPolicy};
use crate::home::{Home, cache_directory};
use crate::output::{say, warn};
use crate::progress::{Downloads, Steps};
use crate::size;

/// The part of vmrun's cache that indices have.
const CACHE: &str = "debian-archive";
/// How a name begins that can be pulled.
const SCHEME: &str = "debian:";

/// What a user asks for.
pub struct Order<'a> {
    pub wanted: &'a str,
    pub flavour: Option<FlavourChoice>,
    pub name: Option<&'a str>,
    /// Where packages are kept; without it they are not.
    pub packages: Option<&'a Path>,
    pub quiet: bool,
}

pub fn pull(store: &KernelStore, order: &Order<'_>, arguments: &ArchiveArguments) -> Result<u8> {
    let mut wanted: Wanted = order.wanted.parse()?;
    if let Some(flavour) = order.flavour {
        wanted = wanted.flavoured(match flavour {
            FlavourChoice::Cloud => Flavour::Cloud,
            FlavourChoice::Generic => Flavour::Generic,
            FlavourChoice::Rt => Flavour::Rt,
        });
    }
    let name = order.name.map_or_else(|| wanted.to_string(), str::to_owned);
    KernelStore::check_name(&name)?;
    let kernel = fetch(store, &open(arguments)?, &wanted, &name, order.packages, order.quiet)?;
    say(kernel.name)?;
    Ok(0)
}

/// The archive of this host's apt, unless told otherwise.
pub fn open(arguments: &ArchiveArguments) -> Result<Archive> {
    let mut options = Options::of_host();
    if let Some(mirror) = &arguments.mirror {
        options = options.at(mirror);
    }
    if let Some(keyring) = &arguments.keyring {
        options.keyring = std::path::absolute(keyring)?;
    }
    options.allow_expired |= arguments.allow_expired;
    Ok(Archive::open(&cache_directory()?.join(CACHE), options)?)
}

/// The kernel of that name, pulled first if that is wanted and the name says from where.
pub fn find_kernel(home: &Home, name: &str, policy: PullPolicy) -> Result<Kernel> {
    let store = home.kernels()?;
    // One name for `debian:6.1` and `debian:6.1-cloud`.
    let wanted = name.starts_with(SCHEME).then(|| name.parse::<Wanted>());
    let known = match (store.get(name), &wanted) {
        (Err(Error::NotFound(_)), Some(Ok(wanted))) => store.get(&wanted.to_string()),
        (known, _) => known,
    };
    let is_missing = matches!(known, Err(Error::NotFound(_)));
    let wanted = match (wanted, policy) {
        (Some(wanted), PullPolicy::Always) => wanted?,
        (Some(wanted), PullPolicy::Missing) if is_missing => wanted?,
        _ => return Ok(known?),
    };
    if is_missing {
        warn(&format!("Unable to find kernel ‘{name}’ locally"));
    }
    let archive = Archive::open(&cache_directory()?.join(CACHE), Options::of_host())?;
    fetch(&store, &archive, &wanted, &wanted.to_string(), None, false)
}

/// Gets the newest kernel that is wanted, unless it is what has that name already.
fn fetch(
    store: &KernelStore,
    archive: &Archive,
    wanted: &Wanted,
    name: &str,
    packages: Option<&Path>,
    quiet: bool,
) -> Result<Kernel> {
    let say = |text: String| {
        if !quiet {
            warn(&text)
        }
    };
    let progress = Downloads::new();
    let (kernel, failures) =
        archive.find_kernel(wanted, &progress).with_context(|| format!("cannot pull {wanted}"))?;
    for failure in failures {
        // Even if quiet: what is taken may not be the newest.
        warn(&format!("vmrun: a suite was not looked at, and may have a newer kernel: {failure}"));
    }
    let (release, version, suite) = (&kernel.release, kernel.version(), kernel.suite());
    match store.get(name) {
        Ok(known) if is_same(&known, &kernel) => {
            say(format!("{name} is up to date: {release} {version} of {suite}"));
            return Ok(known);
        }
        Ok(_) | Err(Error::NotFound(_) | Error::Damaged { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    say(format!("{name}: pulling {release} {version} of {suite}, {}", size::show(kernel.size())));
    let scratch = store.scratch()?;
    let directory = packages.unwrap_or(scratch.path());
    let mut sources = Vec::new();
    for package in &kernel.packages {
        let path = archive
            .download(package, directory, &progress)
            .with_context(|| format!("cannot pull {wanted}"))?;
        sources.push(Source { origin: Some(origin(archive, package)?), ..Source::from(path) });
    }
    let steps = Steps::new();
    let added =
        store.add(&sources, &Addition { name: Some(name), replace: true, ..Addition::default() }, &|step| {
            steps.show(&step.to_string())
        });
    steps.finish();
    Ok(added?)
}

/// Whether a stored kernel was made of these very packages.
fn is_same(known: &Kernel, wanted: &KernelPackages) -> bool {
    let known: Vec<_> = known.sources.iter().map(|source| source.sha256.as_deref()).collect();
    let wanted: Vec<_> = wanted.packages.iter().map(|package| Some(package.sha256.as_str())).collect();
    known == wanted
}

fn origin(archive: &Archive, package: &Package) -> Result<Origin> {
    Ok(Origin {
        address: format!("{}/{}", archive.mirror_of(&package.suite)?, package.filename),
        signature: format!(
            "checked: InRelease of {} by {}; SHA-256 of its Packages, and of this package in that",
            package.suite,
            package.signers.join(" and ")
        ),
    })
}

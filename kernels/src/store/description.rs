//! What is written down of a kernel that is added.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::{Error, Step};
use crate::ability::{Abilities, knowledge};
use crate::config::{ConfigSource, KernelConfig};
use crate::image::{self, Facts};
use crate::kernel::{DESCRIPTION, Description, MODULES, VMLINUX};
use crate::modules::ModuleTree;
use crate::source::{Collection, Provenance};

/// What a kernel needs beside its own image before user space runs, in bytes. With Debian's 6.1
/// (whose image ends at 62 MiB) that makes 128 MiB, the least in which it was seen to start.
const MEMORY_BESIDE_IMAGE: u64 = 64 << 20;
const MEMORY_STEP: u64 = 16 << 20;

/// Unpacks the collected kernel and works out what it is; leaves the description in `directory`.
pub fn describe(
    collection: &Collection,
    directory: &Path,
    known: Vec<Provenance>,
    sources: &str,
    progress: &dyn Fn(Step<'_>),
) -> Result<Description, Error> {
    let version = collection.modules_version().map(|version| version.to_string_lossy().into_owned());
    let Some(image) = collection.image_path() else {
        return Err(match version {
            Some(version) => Error::NoImage { sources: sources.into(), version },
            None => Error::Empty { sources: sources.into() },
        });
    };
    progress(Step::Unpacking);
    let (facts, embedded) = unpack(image, directory, sources)?;
    if let Some(modules) = version.filter(|modules| *modules != facts.version) {
        return Err(Error::Versions { kernel: facts.version, modules });
    }

    progress(Step::Examining);
    let (config, source) = configuration(collection, embedded)?;
    let tree = ModuleTree::open(&directory.join(MODULES))
        .map_err(|cause| Error::Modules { kernel: facts.version.clone(), cause })?;
    let description = Description {
        minimum_memory: (facts.memory_end + MEMORY_BESIDE_IMAGE).next_multiple_of(MEMORY_STEP),
        version: facts.version,
        config_source: knowledge(source, &tree),
        // Who does not say what it wants gets what it was shipped with.
        insists_on_signatures: config.as_ref().is_none_or(KernelConfig::insists_on_signatures),
        relocations: Some(facts.relocations),
        modules: tree.len(),
        abilities: Abilities::find(config.as_ref(), &tree),
        identity: collection.identity(),
        size: collection.bytes(),
        sources: known,
    };
    let path = directory.join(DESCRIPTION);
    let text = serde_json::to_vec_pretty(&description).map_err(io::Error::from);
    text.and_then(|text| fs::write(&path, text)).map_err(|cause| Error::Write { path, cause })?;
    Ok(description)
}

fn unpack(image: &Path, directory: &Path, sources: &str) -> Result<(Facts, Option<Vec<u8>>), Error> {
    let failed = |cause| Error::Image { sources: sources.into(), cause };
    let path = directory.join(VMLINUX);
    let mut options = File::options();
    let mut vmlinux = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(|cause| Error::Write { path, cause })?;
    let packed = File::open(image).map_err(|cause| failed(cause.into()))?;
    let facts = image::unpack(&packed, &mut vmlinux).map_err(failed)?;
    let embedded = image::embedded_config(&vmlinux).map_err(failed)?;
    fs::remove_file(image).map_err(|cause| failed(cause.into()))?;
    Ok((facts, embedded))
}

fn configuration(
    collection: &Collection,
    embedded: Option<Vec<u8>>,
) -> Result<(Option<KernelConfig>, Option<ConfigSource>), Error> {
    let (text, source) = match (collection.config_path(), embedded) {
        (Some(path), _) => {
            let text = fs::read(path).map_err(|cause| Error::Read { path: path.to_owned(), cause })?;
            (text, ConfigSource::File)
        }
        (None, Some(text)) => (text, ConfigSource::Embedded),
        (None, None) => return Ok((None, None)),
    };
    Ok((Some(KernelConfig::parse(&String::from_utf8_lossy(&text))), Some(source)))
}

//! What is written down of a kernel that is added.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Error, Step};
use crate::ability::{Abilities, knowledge};
use crate::config::{ConfigSource, KernelConfig};
use crate::image::{self, Facts};
use crate::kernel::{DESCRIPTION, Description, MODULES, VMLINUX, release};
use crate::modules::ModuleTree;
use crate::source::{Collection, Provenance};

/// Grows when a description, or what lies beside it, means something else than an older vmrun would take it for. A
/// further field or ability does not need that.
const FORMAT: u32 = 1;

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
    // A lone image may be one that needs nothing; distributions split theirs.
    let is_packaged = known.iter().any(|source| source.package.is_some());
    if is_packaged && config.is_none() && collection.modules_version().is_none() {
        return Err(Error::NoModules { sources: sources.into(), version: facts.version });
    }
    let tree = ModuleTree::open(&directory.join(MODULES))
        .map_err(|cause| Error::Modules { kernel: facts.version.clone(), cause })?;
    let description = Description {
        minimum_memory: (facts.memory_end + MEMORY_BESIDE_IMAGE).next_multiple_of(MEMORY_STEP),
        abilities: Abilities::find(release(&facts.version), config.as_ref(), &tree),
        version: facts.version,
        config_source: knowledge(source, &tree),
        // Who does not say what it wants gets what it was shipped with.
        insists_on_signatures: config.as_ref().is_none_or(KernelConfig::insists_on_signatures),
        relocations: Some(facts.relocations),
        traces_functions: config.as_ref().map(KernelConfig::traces_functions),
        modules: tree.len(),
        identity: collection.identity(),
        size: collection.bytes(),
        sources: known,
    };
    let path = directory.join(DESCRIPTION);
    let text = serde_json::to_vec_pretty(&Written { format: FORMAT, description: &description });
    let written = text.map_err(io::Error::from).and_then(|text| fs::write(&path, text));
    written.map_err(|cause| Error::Write { path, cause })?;
    Ok(description)
}

/// Reads what an older or a newer vmrun has written, too: what is not known of it is passed over, unless the newer
/// one has said that this would be wrong.
pub fn parse(text: &str) -> Result<Description, Unreadable> {
    let damaged = |error: serde_json::Error| Unreadable::Damaged(error.to_string());
    let format: Format = serde_json::from_str(text).map_err(damaged)?;
    match format.format > FORMAT {
        true => Err(Unreadable::Newer),
        false => serde_json::from_str(text).map_err(damaged),
    }
}

/// Why a description cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    Newer,
    Damaged(String),
}

/// A description as it is written down.
#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    #[serde(flatten)]
    description: &'a Description,
}

/// Those that were written before there was a number have none.
#[derive(Deserialize)]
struct Format {
    #[serde(default)]
    format: u32,
}

fn unpack(image: &Path, directory: &Path, sources: &str) -> Result<(Facts, Option<Vec<u8>>), Error> {
    let path = directory.join(VMLINUX);
    // Both files are in the store by now.
    let failed = |cause| match cause {
        image::Error::Io(cause) => Error::Store {
            what: "the unpacked kernel",
            store: directory.parent().unwrap_or(directory).to_owned(),
            cause,
        },
        cause => Error::Image { sources: sources.into(), cause },
    };
    let mut options = File::options();
    let mut vmlinux = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(|cause| Error::Write { path: path.clone(), cause })?;
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ability::Ability;
    use crate::feature::Feature;

    fn parse(changed: &[(&str, Value)]) -> Result<Description, Unreadable> {
        let mut description = json!({
            "version": "6.1.0", "config_source": "file", "minimum_memory": 1 << 27, "insists_on_signatures": false,
            "modules": 1, "abilities": { "erofs": "module", "ext4": { "absent": { "missing": "CONFIG_EXT4_FS" } } },
            "identity": "00",
        });
        for (name, value) in changed {
            description[name] = value.clone();
        }
        super::parse(&description.to_string())
    }

    #[test]
    fn what_a_newer_one_knows_besides_is_passed_over() {
        let old = parse(&[]).unwrap();
        let further = [
            ("format", json!(FORMAT)),
            ("colour", json!({ "of": ["its", "hull"] })),
            ("sources", json!([{ "source": "x", "format": "y", "signature": "z", "smell": "none" }])),
        ];
        let new = parse(&further).unwrap();
        assert_eq!(new.abilities, old.abilities);
        assert_eq!(new.sources[0].signature, "z");
        let abilities = json!({
            "erofs": "module", "telepathy": "built-in", "vsock": { "patched": { "by": ["whom", 1] } }, "9p": null,
            "ext4": { "absent": { "missing": "CONFIG_EXT4_FS", "since": 7 } }, "loop": "by-magic", "virtio-blk": 3,
        });
        let new = parse(&[("abilities", abilities), ("config_source", json!("oracle"))]).unwrap();
        assert_eq!(new.abilities.of(Feature::Erofs), &Ability::Module);
        assert_eq!(new.abilities.of(Feature::Ext4), &Ability::Absent { missing: "CONFIG_EXT4_FS".into() });
        // How a feature is offered that this vmrun knows, but not this way: it may be tried.
        for feature in [Feature::Vsock, Feature::Loop, Feature::VirtioBlk] {
            assert_eq!(new.abilities.of(feature), &Ability::Unknown);
        }
        assert_eq!(new.abilities.iter().count(), 5);
        assert_eq!(new.config_source, ConfigSource::Other);
    }

    #[test]
    fn what_a_newer_one_means_otherwise_is_not_called_damaged() {
        assert_eq!(parse(&[("format", json!(FORMAT + 1))]), Err(Unreadable::Newer));
        assert_eq!(super::parse(r#"{"format": 9, "kernel": []}"#), Err(Unreadable::Newer));
        for wrong in ["", "{", "[]", "{}", r#"{"format": -1}"#, r#"{"format": "x"}"#] {
            assert!(matches!(super::parse(wrong), Err(Unreadable::Damaged(_))), "{wrong}");
        }
        assert!(matches!(parse(&[("abilities", json!(["erofs"]))]), Err(Unreadable::Damaged(_))));
        assert!(matches!(parse(&[("modules", json!("many"))]), Err(Unreadable::Damaged(_))));
    }
}

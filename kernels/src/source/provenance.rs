//! What is written down about a source: `vmrun kernel inspect` shows it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::file_tree::FileTree;

/// What a source was and who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The file's name, or the address that it was fetched from.
    pub source: String,
    /// Debian package, RPM package, bzImage …
    pub format: String,
    /// The package's name and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Of the file, as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// In bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Whose signature it has and who has checked that; what else was checked.
    pub signature: String,
}

/// Where a file came from, for whoever fetched it and checked more than the file itself says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub address: String,
    pub signature: String,
}

/// A file or directory that a kernel, or a part of one, is taken from.
#[derive(Debug, Clone)]
pub struct Source {
    pub path: PathBuf,
    pub origin: Option<Origin>,
    /// The files, where they are not this host's; then the path is only their name.
    pub tree: Option<Arc<dyn FileTree>>,
}

impl<P: Into<PathBuf>> From<P> for Source {
    fn from(path: P) -> Source {
        Source { path: path.into(), origin: None, tree: None }
    }
}

/// What a format's reader has found out about a source.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub format: &'static str,
    pub package: Option<String>,
    pub signature: Option<String>,
}

impl Facts {
    /// Of what carries neither a name nor a signature.
    pub fn plain(format: &'static str) -> Facts {
        Facts { format, ..Facts::default() }
    }
}

impl Provenance {
    /// Puts together what the file says and what is known of its origin.
    pub fn new(source: &Source, facts: Facts) -> io::Result<Provenance> {
        let is_file = source.tree.is_none() && source.path.metadata()?.is_file();
        let whole = is_file.then(|| digest(&source.path)).transpose()?;
        let (address, vouched) = match &source.origin {
            Some(origin) => (Some(origin.address.clone()), Some(origin.signature.clone())),
            None => (None, None),
        };
        Ok(Provenance {
            source: address.unwrap_or_else(|| shown(&source.path)),
            format: facts.format.into(),
            package: facts.package,
            size: whole.as_ref().map(|(_, size)| *size),
            sha256: whole.map(|(digest, _)| digest),
            signature: vouched.or(facts.signature).unwrap_or_else(|| "none".into()),
        })
    }
}

/// A file's name says enough; a directory's is its whole path.
fn shown(path: &Path) -> String {
    match path.file_name() {
        Some(name) if !path.is_dir() => name.to_string_lossy().into_owned(),
        _ => path.display().to_string(),
    }
}

fn digest(path: &Path) -> io::Result<(String, u64)> {
    let (mut file, mut digest, mut size) = (File::open(path)?, Sha256::new(), 0);
    let mut block = vec![0; 128 << 10];
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok((hex(digest.finalize().as_slice()), size)),
            Ok(read) => {
                digest.update(&block[..read]);
                size += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Alpine's packages, version 2 (apk-v2(5)): three gzip streams in one file, each with tar entries: a signature, what
//! the package is (`.PKGINFO`, with the SHA-256 of the third), and the files.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

use super::collection::Collection;
use super::digested::Digested;
use super::package_files::{UNPACKED_LIMIT, damaged, shown};
use super::tar_package::{field, package};
use super::{Error, Facts, tar_files};
use crate::bounded::Bounded;

/// How packages of version 3 begin.
pub const NEW_MAGIC: &[u8] = b"ADB";

/// The first two streams, unpacked, in bytes.
const ABOUT_LIMIT: u64 = 16 << 20;

/// Whether an archive whose first file is called so is such a package.
pub fn is(first: &[u8]) -> bool {
    first.starts_with(b".SIGN.") || first == b".PKGINFO"
}

/// Adds the files of a package to the collection.
pub fn collect(file: File, into: &mut Collection) -> Result<Facts, Error> {
    let mut streams = BufReader::with_capacity(128 << 10, file);
    let mut signer = None;
    let mut about = None;
    // Signatures come first, there may be several, and the control stream after them.
    for _ in 0..8 {
        let stream = Bounded::new(GzDecoder::new(&mut streams), ABOUT_LIMIT, "the package's description");
        read(stream, None, &mut |path, text| {
            let name = path.to_string_lossy();
            if let Some(name) = name.strip_prefix(".SIGN.") {
                signer.get_or_insert_with(|| name.to_owned());
            } else if name == ".PKGINFO" {
                about = Some(text.to_owned());
            }
        })?;
        if about.is_some() {
            break;
        }
        if streams.fill_buf().map_err(Error::Read)?.is_empty() {
            break;
        }
    }
    let about = about.ok_or_else(|| Error::Package("it does not say what it is (.PKGINFO)".into()))?;
    let package = package(&about)?;
    let expected = field(&about, "datahash").ok_or_else(|| Error::Package("it has no datahash".into()))?;
    let mut data = Digested::new(streams);
    let unpacked = GzDecoder::new(BufReader::with_capacity(128 << 10, &mut data));
    read(Bounded::new(unpacked, UNPACKED_LIMIT, "the unpacked package"), Some(into), &mut |_, _| ())?;
    io::copy(&mut data, &mut io::sink()).map_err(Error::Read)?;
    if data.digest() != expected {
        return Err(Error::Package("its files do not have the SHA-256 that it says (datahash)".into()));
    }
    let signature = match signer {
        Some(signer) => {
            let signer = shown(signer.trim_start_matches("RSA.").trim_start_matches("RSA256.").as_bytes());
            format!("RSA signature of {signer}, not checked: no keyring of Alpine's here; datahash checked")
        }
        None => "none; datahash checked".into(),
    };
    Ok(Facts { format: "Alpine package", package: Some(package), signature: Some(signature) })
}

/// Reads one stream to its very end: its checksum is there.
fn read(mut stream: impl Read, into: Option<&mut Collection>, about: tar_files::About) -> Result<(), Error> {
    tar_files::files(&mut stream, into, about)?;
    io::copy(&mut stream, &mut io::sink()).map_err(damaged)?;
    Ok(())
}

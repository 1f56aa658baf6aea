//! RPM packages: a lead, a header of signatures, a header that says what the package is, and a compressed payload.
//! Both headers' digests are checked where they are there. Signatures are not, only told.

use std::fs::File;
use std::io::{self, BufReader, Read};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::collection::Collection;
use super::digested::Digested;
use super::package_files::{UNPACKED_LIMIT, check_architecture, shown};
use super::provenance::hex;
use super::rpm_files::RpmFiles;
use super::rpm_header::{RpmHeader, cut};
use super::{Error, Facts, ahead, cpio_files, openpgp};
use crate::bounded::Bounded;

pub const MAGIC: &[u8] = &[0xed, 0xab, 0xee, 0xdb];

const LEAD: usize = 96;
/// A source package's type, in the lead.
const SOURCE: u16 = 1;

/// Tags (rpmtag.h).
const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const ARCH: u32 = 1022;
const PAYLOAD_FORMAT: u32 = 1124;
const PAYLOAD_SHA256: u32 = 5092;
/// Tags of the signatures' header: of the header alone, in version 6 (as texts, in base64), and before in the newer and
/// the older kind; and of all.
const TEXT_SIGNATURES: u32 = 278;
const HEADER_SIGNATURES: [u32; 2] = [268, 267];
const PACKAGE_SIGNATURES: [u32; 2] = [1002, 1005];
const HEADER_SHA256: u32 = 273;

/// Adds the files of a package to the collection.
pub fn collect(file: File, into: &mut Collection) -> Result<Facts, Error> {
    let mut from = BufReader::with_capacity(128 << 10, file);
    let mut lead = [0; LEAD];
    from.read_exact(&mut lead).map_err(cut)?;
    if u16::from_be_bytes([lead[6], lead[7]]) == SOURCE {
        return Err(Error::Nothing("it is a source package: add what is built from it".into()));
    }
    let signatures = RpmHeader::read(&mut from)?;
    // The next header begins at a multiple of eight.
    let padding = signatures.bytes.len().next_multiple_of(8) - signatures.bytes.len();
    from.read_exact(&mut [0; 8][..padding]).map_err(cut)?;
    let header = RpmHeader::read(&mut from)?;
    let text = |tag, what: &str| header.text(tag).ok_or_else(|| Error::Package(format!("it has no {what}")));
    let package =
        format!("{} {}-{}", text(NAME, "name")?, text(VERSION, "version")?, text(RELEASE, "release")?);
    check_architecture(&package, text(ARCH, "architecture")?, &["x86_64", "noarch"])?;
    let header_digest = signatures.text(HEADER_SHA256);
    if let Some(expected) = header_digest
        && expected != hex(Sha256::digest(&header.bytes).as_slice())
    {
        return Err(Error::Package("its header does not have the SHA-256 that it says".into()));
    }
    if header.text(PAYLOAD_FORMAT).is_some_and(|format| format != "cpio") {
        return Err(Error::Package("its payload is not cpio".into()));
    }
    let payload_digest = header.text(PAYLOAD_SHA256);
    payload(from, payload_digest, &RpmFiles::of(&header)?, into)?;
    Ok(Facts {
        format: "RPM package",
        package: Some(shown(package.as_bytes())),
        signature: Some(signature(&signatures, checked(header_digest.is_some(), payload_digest.is_some()))),
    })
}

/// Takes the files, and sees that the payload has the digest that the header says.
fn payload(
    from: impl Read + Send,
    expected: Option<&str>,
    listed: &RpmFiles,
    into: &mut Collection,
) -> Result<(), Error> {
    let mut packed = Digested::new(from);
    ahead::unpacked(&mut packed, |unpacked| {
        let mut unpacked = Bounded::new(unpacked, UNPACKED_LIMIT, "the unpacked package");
        cpio_files::files(&mut unpacked, listed, into)?;
        ahead::to_the_end(&mut unpacked)
    })?;
    io::copy(&mut packed, &mut io::sink()).map_err(Error::Read)?;
    match expected {
        Some(expected) if expected != packed.digest() => {
            Err(Error::Package("its payload does not have the SHA-256 that it says".into()))
        }
        _ => Ok(()),
    }
}

/// What of the package had a digest, all of which were checked.
fn checked(header: bool, payload: bool) -> &'static str {
    match (header, payload) {
        (true, true) => "; SHA-256 of header and payload checked",
        (true, false) => "; SHA-256 of header checked, its payload has none",
        (false, true) => "; SHA-256 of payload checked, its header has none",
        (false, false) => "; it has no SHA-256 to check",
    }
}

fn signature(signatures: &RpmHeader, checked: &str) -> String {
    // Of several, the first; all that is told is whose it is.
    let text = signatures.text(TEXT_SIGNATURES).map(|text| text.split_whitespace().collect::<String>());
    let decoded = text.map(|text| BASE64_STANDARD.decode(text).unwrap_or_default());
    let of = |tags: [u32; 2]| tags.iter().find_map(|tag| signatures.binary(*tag));
    let of_header = decoded.as_deref().or_else(|| of(HEADER_SIGNATURES));
    let (kind, packet) = match (of_header, of(PACKAGE_SIGNATURES)) {
        (Some(packet), _) => ("header", packet),
        (None, Some(packet)) => ("package", packet),
        (None, None) => return format!("none{checked}"),
    };
    let signer = openpgp::signer(packet).unwrap_or_else(|| "a key that it does not name".into());
    format!("OpenPGP {kind} signature of {signer}, not checked: no keyring of its distribution here{checked}")
}

//! What an archive's index and lists of packages say, and which kernels are found in them: nothing of it leads
//! elsewhere, and versions have one order.
//!
//! Whether it was signed is for gpgv to say, and looked at before. The crate's modules are taken without its HTTP
//! client, which takes longer to build than all else.

#![no_main]

#[allow(dead_code)]
#[path = "../../src/hash.rs"]
mod hash;
#[allow(dead_code)]
#[path = "../../src/kernel_parts.rs"]
mod kernel_parts;
#[allow(dead_code)]
#[path = "../../src/package.rs"]
mod package;
#[allow(dead_code)]
#[path = "../../src/release.rs"]
mod release;
#[path = "../../src/stanza.rs"]
mod stanza;
#[allow(dead_code)]
#[path = "../../src/version.rs"]
mod version;
#[allow(dead_code)]
#[path = "../../src/wanted.rs"]
mod wanted;

use std::cmp::Ordering;
use std::time::{Duration, SystemTime};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

pub use package::Package;
pub use version::Version;

use kernel_parts::{assemble, is_part};
use release::Release;
use stanza::Stanzas;
use wanted::Wanted;

/// Of the crate's errors, the one that comes from here.
#[derive(Debug)]
#[allow(dead_code)]
pub enum Error {
    Wanted(String),
}

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Arbitrary, Debug)]
struct Input {
    release: Vec<Field>,
    packages: Vec<Described>,
    /// Both, as somebody may have written them.
    raw: Option<Vec<u8>>,
    wanted: Vec<Text>,
    now: u32,
}

#[derive(Arbitrary, Debug)]
enum Field {
    Known(u8, Text),
    Files { good: bool, size: Text, path: u8 },
    Raw(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
struct Described {
    name: Name,
    version: Text,
    depends: Vec<(Name, u8)>,
    filename: Option<Text>,
    sha256: Option<Text>,
    size: Option<Text>,
    more: Vec<Field>,
}

#[derive(Arbitrary, Debug)]
enum Name {
    Kernel { part: u8, release: u8, flavour: u8 },
    Own(u8),
    Raw(Text),
}

#[derive(Arbitrary, Debug)]
enum Text {
    Pieces(Vec<u8>),
    Raw(String),
}

const FIELDS: [&str; 12] = [
    "Suite",
    "Codename",
    "Date",
    "Valid-Until",
    "Acquire-By-Hash",
    "SHA256",
    "MD5Sum",
    "Package",
    "Version",
    "Depends",
    "Filename",
    "#",
];
const PIECES: [&str; 24] = [
    "6.1",
    "6.12",
    "0",
    "1",
    "~",
    "-",
    "+",
    ".",
    ":",
    "deb12u1",
    "rc1",
    "linux",
    "pool/main/",
    "..",
    "/",
    "x.deb",
    "debian:",
    "cloud",
    "amd64",
    "trixie",
    "generic",
    " ",
    "Sat, 12 Sep 2026 07:55:41 UTC",
    "rt",
];
const PARTS: [&str; 5] = ["linux-image-", "linux-binary-", "linux-modules-", "linux-base-", "linux-headers-"];
const RELEASES: [&str; 5] = ["6.1.0-37", "6.12.94+deb13", "6.18", "6.1", "x"];
const FLAVOURS: [&str; 4] = ["-cloud-amd64", "-amd64", "-rt-amd64", "-arm64"];
const OWN: [&str; 3] = ["linux-image-amd64", "linux-image-cloud-amd64", "linux-image-rt-amd64"];
const PATHS: [&str; 2] = ["main/binary-amd64/Packages.xz", "main/x"];

fn pick<'a>(from: &[&'a str], which: u8) -> &'a str {
    from[usize::from(which) % from.len()]
}

impl Text {
    fn text(&self) -> String {
        match self {
            Text::Pieces(pieces) => pieces.iter().take(16).map(|piece| pick(&PIECES, *piece)).collect(),
            Text::Raw(text) => text.clone(),
        }
    }
}

impl Name {
    fn text(&self) -> String {
        match self {
            Name::Kernel { part, release, flavour } => {
                [pick(&PARTS, *part), pick(&RELEASES, *release), pick(&FLAVOURS, *flavour)].concat()
            }
            Name::Own(which) => pick(&OWN, *which).into(),
            Name::Raw(text) => text.text(),
        }
    }
}

impl Field {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Field::Known(name, value) => format!("{}: {}\n", pick(&FIELDS, *name), value.text()).into_bytes(),
            Field::Files { good, size, path } => {
                let digest = if *good { "a".repeat(64) } else { "../..".into() };
                format!("SHA256:\n {digest} {} {}\n", size.text(), pick(&PATHS, *path)).into_bytes()
            }
            Field::Raw(bytes) => bytes.clone(),
        }
    }
}

impl Described {
    fn bytes(&self) -> Vec<u8> {
        let or = |text: &Option<Text>, otherwise: &str| text.as_ref().map_or(otherwise.into(), Text::text);
        let depends: Vec<String> = self
            .depends
            .iter()
            .take(8)
            .map(|(name, how)| name.text() + pick(&["", " (= 1)", " | x", ":any"], *how))
            .collect();
        let mut stanza = format!(
            "Package: {}\nVersion: {}\nArchitecture: amd64\nDepends: {}\nFilename: {}\nSize: {}\nSHA256: {}\n",
            self.name.text(),
            self.version.text(),
            depends.join(", "),
            or(&self.filename, "pool/main/l/linux/x.deb"),
            or(&self.size, "1000"),
            or(&self.sha256, &"b".repeat(64)),
        )
        .into_bytes();
        self.more.iter().for_each(|field| stanza.extend(field.bytes()));
        stanza.push(b'\n');
        stanza
    }
}

fuzz_target!(|input: Input| {
    let release: Vec<u8> = input.release.iter().flat_map(Field::bytes).collect();
    let packages: Vec<u8> = input.packages.iter().take(16).flat_map(Described::bytes).collect();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(input.now.into());
    read_release(&release, now);
    read_packages(&packages, &input.wanted);
    if let Some(raw) = &input.raw {
        read_release(raw, now);
        read_packages(raw, &input.wanted);
    }
});

fn read_release(text: &[u8], now: SystemTime) {
    let Ok(release) = Release::parse(text, vec!["me".into()]) else { return };
    let _ = (release.is_of("trixie"), release.codename(), release.has_by_hash(), release.date());
    if let Some(until) = release.expired(now) {
        assert!(!until.contains('\n'));
    }
    for listed in PATHS.iter().filter_map(|path| release.listed(path)) {
        assert!(hash::is(&listed.sha256));
    }
}

fn read_packages(text: &[u8], wanted: &[Text]) {
    let mut packages = Vec::new();
    for stanza in Stanzas::new(text).map_while(std::result::Result::ok) {
        let Some(package) = Package::parse(&stanza, "sid", &[]) else { continue };
        let parts: Vec<&str> = package.filename.split('/').collect();
        assert!(parts.iter().all(|part| !["", ".", ".."].contains(part)));
        assert_eq!(parts.last(), Some(&package.file_name()));
        assert!(package.filename.bytes().all(|byte| byte == b'/' || byte.is_ascii_graphic()));
        assert!(hash::is(&package.sha256));
        packages.push(package);
    }
    let versions: Vec<&Version> = packages.iter().map(|package| &package.version).collect();
    versions.chunks(3).for_each(are_in_order);
    packages.retain(|package| is_part(&package.name));
    let kernels = assemble(packages);
    for kernel in &kernels {
        assert!(!kernel.packages.is_empty());
        assert!(kernel.packages.iter().all(|package| package.version == *kernel.version()));
        let _ = (kernel.suite(), kernel.size());
    }
    for wanted in wanted.iter().take(8) {
        let text = format!("debian:{}", wanted.text());
        let Ok(wanted) = text.parse::<Wanted>() else { continue };
        let shown = wanted.to_string();
        assert!(shown.len() <= 128, "{shown}");
        assert_eq!(shown.parse::<Wanted>().unwrap(), wanted, "{text:?} is shown as {shown:?}");
        assert!(!wanted.groups().is_empty());
        kernels.iter().for_each(|kernel| {
            wanted.is_met_by(kernel);
        });
    }
}

/// Whatever they are, one order holds for all.
fn are_in_order(versions: &[&Version]) {
    for one in versions {
        assert_eq!(one.cmp(one), Ordering::Equal);
        for other in versions {
            assert_eq!(one.cmp(other), other.cmp(one).reverse());
            for third in versions {
                assert!(one > other || other > third || one <= third, "{one:?} {other:?} {third:?}");
            }
        }
    }
}

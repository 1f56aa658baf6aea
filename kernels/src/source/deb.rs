//! Debian packages (deb(5)): an ar archive with `control.tar`, which says what the package is, and `data.tar`, which
//! holds the files.

use std::fs::File;
use std::io::{self, BufReader, Read};

use super::collection::Collection;
use super::package_files::{UNPACKED_LIMIT, check_architecture, shown};
use super::{Error, Facts, ahead, tar_files};
use crate::bounded::Bounded;
use crate::compression;

pub const MAGIC: &[u8] = b"!<arch>\n";

/// Members before `data.tar`: debian-binary, control.tar, perhaps a signature or two.
const MEMBERS_LIMIT: usize = 16;
/// What is in `control.tar`, in bytes: scripts, and the digests of all files.
const CONTROL_LIMIT: u64 = 256 << 20;

/// Adds the kernel, configuration and modules of a package to the collection.
pub fn collect(file: File, into: &mut Collection) -> Result<Facts, Error> {
    let mut archive = BufReader::with_capacity(128 << 10, file);
    archive.read_exact(&mut [0; MAGIC.len()]).map_err(Error::Read)?;
    let mut facts = Facts::plain("Debian package");
    facts.signature = Some("none: a .deb carries none, the archive's index does".into());
    for _ in 0..MEMBERS_LIMIT {
        let Some(member) = Member::read(&mut archive)? else {
            return Err(Error::Package("it has no data.tar".into()));
        };
        if member.name.starts_with("data.tar") && facts.package.is_none() {
            return Err(Error::Package(
                "it does not say what it is: it has no control.tar before data.tar".into(),
            ));
        }
        let mut content = (&mut archive).take(member.size);
        let is = |name: &str| member.name == name || member.name.starts_with(&format!("{name}."));
        if is("control.tar") {
            facts.package = Some(control(&mut content)?);
        } else if is("data.tar") {
            unpack(&mut content, UNPACKED_LIMIT, |tar| {
                tar_files::files(tar, Some(&mut *into), &mut |_, _| ())
            })?;
        } else {
            io::copy(&mut content, &mut io::sink()).map_err(Error::Read)?;
        }
        if content.limit() > 0 {
            return Err(Error::Package(format!("it is cut off in {}", member.name)));
        }
        if is("data.tar") {
            return Ok(facts);
        }
        if member.size % 2 == 1 {
            // Members begin at even bytes; the last one may lack its filler.
            let _ = archive.read(&mut [0]).map_err(Error::Read)?;
        }
    }
    Err(Error::Package("it has no data.tar among its first members".into()))
}

/// The package's name and version; another architecture's is refused.
fn control(content: &mut (impl Read + Send)) -> Result<String, Error> {
    let mut found = None;
    unpack(content, CONTROL_LIMIT, |tar| {
        tar_files::files(tar, None, &mut |path, text| {
            if path.as_os_str() == "control" {
                found = Some(text.to_owned());
            }
        })
    })?;
    let text = found.ok_or_else(|| Error::Package("it does not say what it is".into()))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).ok_or_else(|| Error::Package(format!("its control file has no {name}")))
    };
    let package = format!("{} {}", field("Package")?, field("Version")?);
    check_architecture(&package, field("Architecture")?, &["amd64", "all"])?;
    Ok(shown(package.as_bytes()))
}

/// Unpacks a member to its very end: the last checksum is there, and a cut would be.
fn unpack(
    content: &mut (impl Read + Send),
    limit: u64,
    read: impl FnOnce(&mut dyn Read) -> Result<(), Error>,
) -> Result<(), Error> {
    ahead::unpacked(&mut *content, |unpacked| {
        let mut unpacked = Bounded::new(unpacked, limit, "the unpacked package");
        read(&mut unpacked)?;
        ahead::to_the_end(&mut unpacked)
    })?;
    io::copy(content, &mut io::sink()).map_err(Error::Read)?;
    Ok(())
}

/// One member's header in an ar archive.
struct Member {
    name: String,
    /// In bytes.
    size: u64,
}

impl Member {
    fn read(from: &mut impl Read) -> Result<Option<Member>, Error> {
        let mut header = [0; 60];
        match compression::read_start(from, &mut header).map_err(Error::Read)? {
            0 => return Ok(None),
            60 => {}
            _ => return Err(Error::Package("it is cut off".into())),
        }
        if &header[58..] != b"`\n" {
            return Err(Error::Package("a member's header is not one".into()));
        }
        let field = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let name = shown(field(&header[..16]).trim_end_matches('/').as_bytes());
        let size = field(&header[48..58]);
        let size = size.parse().map_err(|_| Error::Package(format!("{name:?} has the size {size:?}")))?;
        Ok(Some(Member { name, size }))
    }
}

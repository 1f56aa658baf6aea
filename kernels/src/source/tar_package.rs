//! Arch Linux's packages (`.pkg.tar.zst`, with a `.PKGINFO`), and plain archives as `make tar-pkg` makes them.

use std::fs::File;
use std::path::Path;

use super::collection::Collection;
use super::package_files::{UNPACKED_LIMIT, check_architecture, shown};
use super::{Error, Facts, ahead, openpgp, tar_files};
use crate::bounded::Bounded;

/// Detached signatures are small, in bytes.
const SIGNATURE_LIMIT: u64 = 64 << 10;

/// Adds the files of a package to the collection.
pub fn collect(source: &Path, file: File, into: &mut Collection) -> Result<Facts, Error> {
    let mut about = None;
    ahead::unpacked(file, |unpacked| {
        let mut unpacked = Bounded::new(unpacked, UNPACKED_LIMIT, "the unpacked package");
        tar_files::files(&mut unpacked, Some(into), &mut |path, text| {
            if path.as_os_str() == ".PKGINFO" {
                about = Some(text.to_owned());
            }
        })?;
        ahead::to_the_end(&mut unpacked)
    })?;
    let Some(about) = about else {
        return Ok(Facts { signature: detached(source), ..Facts::plain("tar archive") });
    };
    Ok(Facts {
        format: "Arch package",
        package: Some(package(&about)?),
        signature: detached(source).or_else(|| Some("none: there is no .sig beside it".into())),
    })
}

/// The package's name and version by its `.PKGINFO`; another architecture's is refused.
pub fn package(about: &str) -> Result<String, Error> {
    let missing = |name: &str| Error::Package(format!("its .PKGINFO has no {name}"));
    let package = format!(
        "{} {}",
        field(about, "pkgname").ok_or_else(|| missing("pkgname"))?,
        field(about, "pkgver").ok_or_else(|| missing("pkgver"))?
    );
    let architecture = field(about, "arch").ok_or_else(|| missing("arch"))?;
    check_architecture(&package, architecture, &["x86_64", "any", "noarch"])?;
    Ok(shown(package.as_bytes()))
}

/// `NAME = VALUE`
pub fn field<'a>(about: &'a str, name: &str) -> Option<&'a str> {
    about.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start().strip_prefix('=')?.trim()))
}

/// The signature in `SOURCE.sig`, as Arch's mirrors have it beside each package.
fn detached(source: &Path) -> Option<String> {
    let mut path = source.as_os_str().to_owned();
    path.push(".sig");
    let signature = crate::bounded::read_whole(Path::new(&path), SIGNATURE_LIMIT, "the signature").ok()?;
    let signer = openpgp::signer(&signature).unwrap_or_else(|| "a key that it does not name".into());
    Some(format!("detached OpenPGP signature of {signer}, not checked: no keyring of Arch's here"))
}

//! A directory in which a kernel was built: its image, `.config`, and modules wherever their sources are.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::collection::Collection;
use super::package_files::relative;
use super::{CONFIG_LIMIT, Error, Facts};
use crate::bounded::read_whole;

/// The image of the boot loaders first: the vmlinux has all debugging information.
const IMAGES: [&str; 3] = ["arch/x86/boot/bzImage", "arch/x86_64/boot/bzImage", "vmlinux"];
const CONFIG: &str = ".config";
const RELEASE: &str = "include/config/kernel.release";
/// Lists of modules are small text files, in bytes.
const LIST_LIMIT: u64 = 64 << 20;

/// Whether this is such a directory.
pub fn is(directory: &Path) -> bool {
    directory.join(CONFIG).is_file() && image(directory).is_some()
}

fn image(directory: &Path) -> Option<PathBuf> {
    IMAGES.iter().map(|image| directory.join(image)).find(|image| image.is_file())
}

/// Adds the kernel and the modules as `make modules_install` would lay them out.
pub fn collect(directory: &Path, into: &mut Collection) -> Result<Facts, Error> {
    let image = image(directory).ok_or_else(|| Error::Nothing("no kernel was built there yet".into()))?;
    into.image(None, File::open(image).map_err(Error::Read)?)?;
    into.config(File::open(directory.join(CONFIG)).map_err(Error::Read)?)?;
    let Some(release) = read(directory, RELEASE, CONFIG_LIMIT)? else {
        return Ok(Facts::plain("kernel build tree"));
    };
    let release = relative(release.trim().as_bytes())?;
    if release.components().count() != 1 {
        return Err(Error::Hostile(format!("{RELEASE} says {}", release.display())));
    }
    let order = read(directory, "modules.order", LIST_LIMIT)?.unwrap_or_default();
    let mut installed = String::new();
    for line in order.lines().filter(|line| !line.is_empty()) {
        let path = module(directory, line)?;
        let shown = path.display().to_string();
        let file = File::open(directory.join(&path)).map_err(|_| {
            Error::Nothing(format!("the module {shown} of modules.order is missing: run make modules there"))
        })?;
        let path = Path::new("kernel").join(path);
        installed.push_str(&format!("{}\n", path.display()));
        into.module_file(&release, &path, file)?;
    }
    into.module_file(&release, Path::new("modules.order"), installed.as_bytes())?;
    for list in ["modules.builtin", "modules.builtin.modinfo"] {
        if let Some(text) = read(directory, list, LIST_LIMIT)? {
            into.module_file(&release, Path::new(list), text.as_bytes())?;
        }
    }
    Ok(Facts::plain("kernel build tree"))
}

/// The module of a line of `modules.order`, below the build directory: as `.o` since 6.2, and up to 5.2 with a
/// `kernel/` before it that is not there.
fn module(directory: &Path, line: &str) -> Result<PathBuf, Error> {
    let path = relative(line.as_bytes())?.with_extension("ko");
    match path.strip_prefix("kernel") {
        Ok(rest) if !directory.join(&path).exists() => Ok(rest.to_owned()),
        _ => Ok(path),
    }
}

fn read(directory: &Path, name: &str, limit: u64) -> Result<Option<String>, Error> {
    match read_whole(&directory.join(name), limit, "a list of the build tree") {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::Read(error)),
    }
}

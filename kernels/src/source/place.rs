//! What a file is to a kernel, by where it lies below the root of a tree or a package.

use std::path::{Path, PathBuf};

use crate::modules::is_file_of_interest;

#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// `boot/vmlinuz-VERSION`, `boot/vmlinux-VERSION` or `lib/modules/VERSION/vmlinuz`.
    Image(String, Form),
    /// `boot/config-VERSION` or `lib/modules/VERSION/config`.
    Config(String),
    /// `lib/modules/VERSION/PATH`, with or without a `usr/` before it: a module, or a list of modules that is read.
    ModuleFile { version: PathBuf, path: PathBuf },
}

/// Of one kernel both may be there (`make tar-pkg`): the one for boot loaders is taken, as the other has all debugging
/// information.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    Vmlinux,
    Vmlinuz,
}

/// What a kernel's headers are in, or a link to them: nothing there is a part of the kernel (depmod passes them over,
/// too).
const HEADERS: [&str; 2] = ["build", "source"];

/// Tells what the file at `path`, relative to the root, is.
pub fn place(path: &Path) -> Option<Place> {
    let path = path.strip_prefix("usr").unwrap_or(path);
    if let Ok(rest) = path.strip_prefix("lib/modules") {
        let mut components = rest.components();
        let version = Path::new(components.next()?.as_os_str());
        let path = components.as_path();
        let named = version.to_string_lossy().into_owned();
        return match path.to_str() {
            Some("vmlinuz") => Some(Place::Image(named, Form::Vmlinuz)),
            Some("vmlinux") => Some(Place::Image(named, Form::Vmlinux)),
            Some("config") => Some(Place::Config(named)),
            _ if is_headers(path) || !is_file_of_interest(path) => None,
            _ => Some(Place::ModuleFile { version: version.to_owned(), path: path.to_owned() }),
        };
    }
    let name = path.strip_prefix("boot").ok()?.to_str()?;
    let is = |prefix: &str| name.strip_prefix(prefix).map(str::to_owned);
    let vmlinuz = is("vmlinuz-").map(|version| Place::Image(version, Form::Vmlinuz));
    let vmlinux = || is("vmlinux-").map(|version| Place::Image(version, Form::Vmlinux));
    vmlinuz.or_else(vmlinux).or_else(|| is("config-").map(Place::Config))
}

/// Whether this path below `lib/modules/VERSION` is that of headers, or within them.
pub fn is_headers(path: &Path) -> bool {
    HEADERS.iter().any(|headers| path.starts_with(headers))
}

/// Whether an image of this name may be the one of that release, as Alpine's `vmlinuz-virt` is of `6.6.1-0-virt`.
pub fn goes_with(release: &str, name: &str) -> bool {
    release == name || release.strip_suffix(name).is_some_and(|rest| rest.ends_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernels_files_are_known_by_their_places() {
        let image = |version: &str, form| Some(Place::Image(version.into(), form));
        for (path, expected) in [
            ("boot/vmlinuz-6.1", image("6.1", Form::Vmlinuz)),
            ("boot/vmlinux-6.1", image("6.1", Form::Vmlinux)),
            ("usr/lib/modules/6.1/vmlinuz", image("6.1", Form::Vmlinuz)),
            ("lib/modules/6.1/vmlinux", image("6.1", Form::Vmlinux)),
            ("boot/config-6.1", Some(Place::Config("6.1".into()))),
            ("lib/modules/6.1/config", Some(Place::Config("6.1".into()))),
            ("boot/grub/vmlinuz-6.1", None),
            ("vmlinuz", None),
        ] {
            assert_eq!(place(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn of_the_modules_directory_modules_and_lists_are_taken_and_nothing_else() {
        let is_taken = |path: &str| {
            matches!(place(&Path::new("lib/modules/6.1").join(path)), Some(Place::ModuleFile { .. }))
        };
        for path in
            ["kernel/a.ko", "updates/dkms/b.ko.zst", "c.ko.xz", "d.ko.gz", "modules.order", "modules.builtin"]
        {
            assert!(is_taken(path), "{path}");
        }
        assert!(is_taken("modules.builtin.modinfo"));
        for path in [
            "modules.dep.bin",
            "System.map",
            "symvers.xz",
            ".vmlinuz.hmac",
            "pkgbase",
            "vdso/vdso64.so",
            "kernel/a.ko.debug",
            "build/include/linux/a.h",
            "build/a.ko",
            "source/a.ko",
            "kernel/modules.order",
            "systemtap/x",
        ] {
            assert!(!is_taken(path), "{path}");
        }
    }
}

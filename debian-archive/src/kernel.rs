//! The archive's kernels: which there are, and which one a user means.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::archive::{Archive, Progress};
use crate::{Error, Package, Result, Version};

/// How Debian calls a kernel that was configured for a purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flavour {
    /// For virtual machines: small, few drivers.
    Cloud,
    /// For any PC.
    Generic,
    /// PREEMPT_RT.
    Rt,
}

impl Flavour {
    pub fn name(self) -> &'static str {
        match self {
            Flavour::Cloud => "cloud",
            Flavour::Generic => "generic",
            Flavour::Rt => "rt",
        }
    }

    /// How names of packages and releases end.
    fn suffix(self) -> &'static str {
        match self {
            Flavour::Cloud => "-cloud-amd64",
            Flavour::Generic => "-amd64",
            Flavour::Rt => "-rt-amd64",
        }
    }

    fn of_release(release: &str) -> Option<Flavour> {
        [Flavour::Cloud, Flavour::Rt, Flavour::Generic]
            .into_iter()
            .find(|flavour| release.ends_with(flavour.suffix()))
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.name())
    }
}

/// What a user asks for: `debian:6.1`, `debian:trixie-generic`, `debian:6.12.94-1`, `debian:6.1.0-37-cloud-amd64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    what: String,
    flavour: Flavour,
}

impl FromStr for Wanted {
    type Err = Error;

    fn from_str(text: &str) -> Result<Wanted> {
        let bad = || Error::Wanted(text.chars().take(80).flat_map(char::escape_default).collect());
        let what = text.strip_prefix("debian:").ok_or_else(bad)?;
        let what = what.strip_prefix("linux-image-").unwrap_or(what);
        let sound = |what: &str| {
            what.starts_with(|first: char| first.is_ascii_alphanumeric())
                && what.len() <= 100
                && what.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+~-".contains(&byte))
        };
        let named = |what: &str, flavour: Flavour| {
            let name = what.strip_suffix(flavour.name())?.strip_suffix('-')?;
            Some((name.to_owned(), flavour))
        };
        let (what, flavour) = [Flavour::Cloud, Flavour::Generic, Flavour::Rt]
            .into_iter()
            .find_map(|flavour| named(what, flavour))
            .or_else(|| Some((what.to_owned(), Flavour::of_release(what)?)))
            .unwrap_or_else(|| (what.to_owned(), Flavour::Cloud));
        if sound(&what) { Ok(Wanted { what, flavour }) } else { Err(bad()) }
    }
}

impl Wanted {
    /// The same of another flavour.
    pub fn flavoured(self, flavour: Flavour) -> Wanted {
        Wanted { flavour, ..self }
    }

    fn is_version(&self) -> bool {
        self.what.starts_with(|first: char| first.is_ascii_digit())
    }

    fn is_met_by(&self, kernel: &KernelPackages) -> bool {
        kernel.flavour == self.flavour
            && (!self.is_version()
                || kernel.version().begins_with(&self.what)
                || kernel.release == self.what
                || kernel.release.strip_suffix(self.flavour.suffix()) == Some(&self.what))
    }

    /// Where to look: of the first group that has any, the newest.
    fn groups(&self) -> Vec<Vec<String>> {
        if !self.is_version() {
            let base =
                STABLE.iter().find(|release| release.codename == self.what || release.suite == self.what);
            return vec![base.map_or_else(|| vec![self.what.clone()], Stable::suites)];
        }
        let mut groups = every_group();
        // Stable: groups keep their order otherwise.
        groups.sort_by_key(|group| {
            let own = STABLE.iter().find(|release| group.iter().any(|suite| suite == release.codename));
            !own.is_some_and(|release| Version::new(&self.what).begins_with(release.kernel))
        });
        groups
    }
}

impl fmt::Display for Wanted {
    /// As the kernel is called here.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let release = Flavour::of_release(&self.what).is_some();
        match self.flavour {
            Flavour::Cloud => write!(to, "debian:{}", self.what),
            _ if release => write!(to, "debian:{}", self.what),
            flavour => write!(to, "debian:{}-{flavour}", self.what),
        }
    }
}

/// A release of Debian and the kernel that it came with.
struct Stable {
    codename: &'static str,
    suite: &'static str,
    kernel: &'static str,
}

impl Stable {
    fn suites(&self) -> Vec<String> {
        vec![self.codename.to_owned(), format!("{}-security", self.codename)]
    }
}

/// The releases that the archive has, the newest first.
const STABLE: [Stable; 3] = [
    Stable { codename: "trixie", suite: "stable", kernel: "6.12" },
    Stable { codename: "bookworm", suite: "oldstable", kernel: "6.1" },
    Stable { codename: "bullseye", suite: "oldoldstable", kernel: "5.10" },
];

/// All suites that have kernels, the newest kernels first.
fn every_group() -> Vec<Vec<String>> {
    let mut groups = vec![vec!["sid".to_owned()], vec!["testing".to_owned()]];
    for release in &STABLE {
        groups.push(vec![format!("{}-backports", release.codename)]);
        groups.push(release.suites());
    }
    groups
}

/// The packages that make up one kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelPackages {
    /// The kernel's release, as `uname -r` shows it.
    pub release: String,
    pub flavour: Flavour,
    /// What to fetch. Never empty.
    pub packages: Vec<Package>,
}

impl KernelPackages {
    pub fn version(&self) -> &Version {
        &self.packages[0].version
    }

    pub fn suite(&self) -> &str {
        &self.packages[0].suite
    }

    /// All that is to be fetched, in bytes.
    pub fn size(&self) -> u64 {
        self.packages.iter().map(|package| package.size).fold(0, u64::saturating_add)
    }
}

impl Archive {
    /// All kernels of a suite, the newest first.
    pub fn kernels(&self, suite: &str, progress: &dyn Progress) -> Result<Vec<KernelPackages>> {
        let mut kernels = assemble(self.packages(suite, is_part, progress)?);
        kernels.sort_by(|one, other| (other.version(), other.flavour).cmp(&(one.version(), one.flavour)));
        Ok(kernels)
    }

    /// The kernel that is wanted, the newest where several are.
    pub fn find_kernel(&self, wanted: &Wanted, progress: &dyn Progress) -> Result<KernelPackages> {
        let mut failure = None;
        for group in wanted.groups() {
            let mut found = Vec::new();
            for suite in &group {
                match self.kernels(suite, progress) {
                    Ok(kernels) => found.extend(kernels),
                    // A release need not have had updates yet, and old ones are taken away.
                    Err(Error::NoSuite { .. }) if wanted.is_version() || suite != &group[0] => {}
                    Err(error @ (Error::Expired { .. } | Error::Signature { .. })) if wanted.is_version() => {
                        failure.get_or_insert(error);
                    }
                    Err(error) => return Err(error),
                }
            }
            let best = found.into_iter().filter(|kernel| wanted.is_met_by(kernel));
            if let Some(kernel) = best.max_by(|one, other| one.version().cmp(other.version())) {
                return Ok(kernel);
            }
        }
        Err(failure.unwrap_or_else(|| {
            Error::NoKernel(format!(
                "Debian has no kernel {wanted} of the flavour {}: `vmrun kernel search debian` lists what it has",
                wanted.flavour
            ))
        }))
    }

    /// The kernels of all suites, the newest suite first, and what kept a suite from being looked at.
    pub fn every_kernel(&self, progress: &dyn Progress) -> (Vec<KernelPackages>, Vec<Error>) {
        let (mut kernels, mut failures) = (Vec::new(), Vec::new());
        for suite in every_group().iter().flatten() {
            match self.kernels(suite, progress) {
                Ok(found) => kernels.extend(found),
                Err(Error::NoSuite { .. }) => {}
                Err(error @ (Error::Expired { .. } | Error::Signature { .. })) => failures.push(error),
                // What keeps one from being reached keeps all.
                Err(error) => {
                    failures.push(error);
                    break;
                }
            }
        }
        (kernels, failures)
    }
}

const PARTS: [&str; 4] = ["linux-image-", "linux-binary-", "linux-modules-", "linux-base-"];

/// Whether a package's name is that of a part of a kernel: `linux-image-6.1.0-37-cloud-amd64` and, since 6.18, the
/// parts that it depends on.
fn is_part(name: &str) -> bool {
    PARTS.iter().any(|part| {
        name.strip_prefix(part).is_some_and(|rest| {
            rest.starts_with(|first: char| first.is_ascii_digit()) && rest.ends_with("-amd64")
        })
    })
}

/// Puts packages together that make up one kernel.
fn assemble(packages: Vec<Package>) -> Vec<KernelPackages> {
    let by_name: BTreeMap<(&str, &Version), &Package> =
        packages.iter().map(|package| ((package.name.as_str(), &package.version), package)).collect();
    let images = by_name.values().filter_map(|image| {
        let release = image.name.strip_prefix(PARTS[0])?;
        let flavour = Flavour::of_release(release)?;
        let parts: Vec<Package> = image
            .depends
            .iter()
            .filter(|name| name.ends_with(release))
            .filter_map(|name| by_name.get(&(name.as_str(), &image.version)))
            .map(|package| (*package).clone())
            .collect();
        // Where the kernel is a package of its own, this one has nothing but dependencies.
        let is_empty = parts.iter().any(|part| part.name.starts_with(PARTS[1]));
        let own = (!is_empty).then(|| (*image).clone());
        Some(KernelPackages {
            release: release.into(),
            flavour,
            packages: own.into_iter().chain(parts).collect(),
        })
    });
    images.collect()
}

#[cfg(test)]
#[path = "kernel_test.rs"]
mod tests;

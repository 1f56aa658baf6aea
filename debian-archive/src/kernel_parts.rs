//! The packages that make up a kernel, among those of a suite.

use std::collections::BTreeMap;

use crate::wanted::Flavour;
use crate::{Package, Version};

const PARTS: [&str; 4] = ["linux-image-", "linux-binary-", "linux-modules-", "linux-base-"];

/// The packages that depend on a suite's own kernel.
const OWN: [&str; 3] = ["linux-image-amd64", "linux-image-cloud-amd64", "linux-image-rt-amd64"];

/// The packages that make up one kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelPackages {
    /// The kernel's release, as `uname -r` shows it.
    pub release: String,
    pub flavour: Flavour,
    /// Whether it is the one that its suite installs, and not an older one or another series.
    pub is_suites_own: bool,
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

/// Whether a package's name is that of a part of a kernel: `linux-image-6.1.0-37-cloud-amd64` and, since 6.18, the
/// parts that it depends on; or of one that depends on the suite's own.
pub fn is_part(name: &str) -> bool {
    OWN.contains(&name)
        || PARTS.iter().any(|part| {
            name.strip_prefix(part).is_some_and(|rest| {
                rest.starts_with(|first: char| first.is_ascii_digit()) && rest.ends_with("-amd64")
            })
        })
}

/// Puts packages together that make up one kernel. A kernel of which a part is missing is none.
pub fn assemble(packages: Vec<Package>) -> Vec<KernelPackages> {
    let by_name: BTreeMap<(&str, &Version), &Package> =
        packages.iter().map(|package| ((package.name.as_str(), &package.version), package)).collect();
    let own = packages.iter().filter(|package| OWN.contains(&package.name.as_str()));
    let newest = |name| {
        own.clone()
            .filter(|package| package.name == name)
            .max_by(|one, other| one.version.cmp(&other.version))
    };
    let own: Vec<&String> =
        OWN.iter().filter_map(|name| newest(*name)).flat_map(|package| &package.depends).collect();
    let images = by_name.values().filter_map(|image| {
        let release = image.name.strip_prefix(PARTS[0])?;
        let flavour = Flavour::of_release(release)?;
        // Those of a whole series (`linux-image-6.12-amd64`) have nothing but dependencies, too.
        if image.depends.iter().any(|name| name.starts_with(PARTS[0]))
            || !release.starts_with(|first: char| first.is_ascii_digit())
        {
            return None;
        }
        // One whose parts are not all there, as in a suite that is being renewed, could not be installed either.
        let parts: Option<Vec<Package>> = image
            .depends
            .iter()
            .filter(|name| is_part(name) && name.ends_with(release))
            .map(|name| by_name.get(&(name.as_str(), &image.version)).map(|part| (*part).clone()))
            .collect();
        let parts = parts?;
        // Where the kernel is a package of its own, this one has nothing but dependencies.
        let is_empty = parts.iter().any(|part| part.name.starts_with(PARTS[1]));
        let itself = (!is_empty).then(|| (*image).clone());
        Some(KernelPackages {
            release: release.into(),
            flavour,
            is_suites_own: own.contains(&&image.name),
            packages: itself.into_iter().chain(parts).collect(),
        })
    });
    images.collect()
}

#[cfg(test)]
#[path = "kernel_parts_test.rs"]
mod tests;

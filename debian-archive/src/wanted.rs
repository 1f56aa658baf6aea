//! Which kernel a user means, and where to look for it.

use std::fmt;
use std::str::FromStr;

use crate::kernel_parts::KernelPackages;
use crate::{Error, Result, Version};

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
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Flavour::Cloud => "-cloud-amd64",
            Flavour::Generic => "-amd64",
            Flavour::Rt => "-rt-amd64",
        }
    }

    pub(crate) fn of_release(release: &str) -> Option<Flavour> {
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
    pub(crate) flavour: Flavour,
}

const FLAVOURS: [Flavour; 3] = [Flavour::Cloud, Flavour::Generic, Flavour::Rt];

/// How the package of a release is called.
const PREFIX: &str = "linux-image-";

impl FromStr for Wanted {
    type Err = Error;

    fn from_str(text: &str) -> Result<Wanted> {
        let bad = || Error::Wanted(text.chars().take(80).flat_map(char::escape_default).collect());
        let what = text.strip_prefix("debian:").ok_or_else(bad)?;
        let what = what.strip_prefix(PREFIX).unwrap_or(what);
        let sound = |what: &str| {
            what.starts_with(|first: char| first.is_ascii_alphanumeric())
                && what.len() <= 100
                && what.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+~-".contains(&byte))
        };
        let named = |what: &str, flavour: Flavour| {
            let name = what.strip_suffix(flavour.name())?.strip_suffix('-')?;
            Some((name.to_owned(), flavour))
        };
        let (what, flavour) = FLAVOURS
            .into_iter()
            .find_map(|flavour| named(what, flavour))
            .or_else(|| Some((what.to_owned(), Flavour::of_release(what)?)))
            .unwrap_or_else(|| (what.to_owned(), Flavour::Cloud));
        // Said twice, or one thing and another, it would be called like a kernel that it is not.
        let again = FLAVOURS.into_iter().any(|flavour| named(&what, flavour).is_some())
            || what.starts_with(PREFIX)
            || Flavour::of_release(&what).is_some_and(|of_release| of_release != flavour);
        if sound(&what) && !again { Ok(Wanted { what, flavour }) } else { Err(bad()) }
    }
}

impl Wanted {
    /// The same of another flavour.
    pub fn flavoured(self, flavour: Flavour) -> Wanted {
        Wanted { flavour, ..self }
    }

    pub(crate) fn is_version(&self) -> bool {
        self.what.starts_with(|first: char| first.is_ascii_digit())
    }

    pub(crate) fn is_met_by(&self, kernel: &KernelPackages) -> bool {
        kernel.flavour == self.flavour
            && (!self.is_version()
                || kernel.version().begins_with(&self.what)
                || kernel.release == self.what
                || kernel.release.strip_suffix(self.flavour.suffix()) == Some(&self.what))
    }

    /// Where to look: of the first group that has any, the newest.
    pub(crate) fn groups(&self) -> Vec<Vec<String>> {
        if !self.is_version() {
            // A release has its updates elsewhere; what has no such suite is not missed there.
            let has_updates = !self.what.contains('-') && !WITHOUT_UPDATES.contains(&self.what.as_str());
            let security = has_updates.then(|| format!("{}-security", self.what));
            return vec![std::iter::once(self.what.clone()).chain(security).collect()];
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
    kernel: &'static str,
}

impl Stable {
    fn suites(&self) -> Vec<String> {
        vec![self.codename.to_owned(), format!("{}-security", self.codename)]
    }
}

/// The releases that the archive has, the newest first.
const STABLE: [Stable; 3] = [
    Stable { codename: "trixie", kernel: "6.12" },
    Stable { codename: "bookworm", kernel: "6.1" },
    Stable { codename: "bullseye", kernel: "5.10" },
];

/// The suites that get their security updates like any others.
const WITHOUT_UPDATES: [&str; 3] = ["sid", "unstable", "experimental"];

/// All suites that have kernels, the newest kernels first.
pub fn every_group() -> Vec<Vec<String>> {
    let mut groups = vec![vec!["sid".to_owned()], vec!["testing".to_owned()]];
    for release in &STABLE {
        groups.push(vec![format!("{}-backports", release.codename)]);
        groups.push(release.suites());
    }
    groups
}

#[cfg(test)]
#[path = "wanted_test.rs"]
mod tests;

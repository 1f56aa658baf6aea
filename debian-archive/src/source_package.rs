//! The archive's packages of the kernel's source.

use crate::archive::{Archive, Progress};
use crate::wanted::{Wanted, every_group};
use crate::{Error, Package, Result};

/// How all such packages begin; the one that is called no more than that depends on the newest.
const SOURCE: &str = "linux-source";

impl Archive {
    /// The newest package of that name (`linux-source-6.12`) and what kept suites from being looked at as they are
    /// now. Of this host's own release, if it is Debian's and has one, as apt takes it; else of the release that came
    /// with this kernel, else of any. Where the archive cannot be reached, what it had when it was asked last counts.
    pub fn find_source(&self, name: &str, progress: &dyn Progress) -> Result<(Package, Vec<Error>)> {
        let mut failures = Vec::new();
        for group in self.groups(name) {
            let mut found = Vec::new();
            for suite in &group {
                match self.sources(suite, progress, &mut failures) {
                    Ok(packages) => found.extend(newest(packages, name)),
                    // Old releases are taken away, or renewed no more.
                    Err(Error::NoSuite { .. }) => {}
                    Err(error @ Error::Expired { .. }) => failures.push(error),
                    Err(error) => return Err(error),
                }
            }
            if let Some(package) = found.into_iter().max_by(|one, other| one.version.cmp(&other.version)) {
                return Ok((package, failures));
            }
        }
        let failure = failures.into_iter().find(|failure| matches!(failure, Error::Expired { .. }));
        Err(failure
            .unwrap_or_else(|| Error::NoSource { name: name.into(), mirror: self.options().mirror.clone() }))
    }

    fn sources(
        &self,
        suite: &str,
        progress: &dyn Progress,
        failures: &mut Vec<Error>,
    ) -> Result<Vec<Package>> {
        let accept = |package: &str| package.starts_with(SOURCE);
        match self.packages(suite, accept, progress) {
            Err(unreachable @ Error::Web(_)) => match self.kept_packages(suite, accept) {
                Some(kept) => {
                    failures.push(unreachable);
                    Ok(kept)
                }
                None => Err(unreachable),
            },
            packages => packages,
        }
    }

    fn groups(&self, name: &str) -> Vec<Vec<String>> {
        let version = name.strip_prefix(SOURCE).and_then(|rest| rest.strip_prefix('-'));
        let wanted = version.and_then(|version| format!("debian:{version}").parse::<Wanted>().ok());
        let groups = wanted.filter(Wanted::is_version).map_or_else(every_group, |wanted| wanted.groups());
        let own = self.options().release.iter();
        let own = own.map(|release| vec![release.clone(), format!("{release}-security")]);
        own.chain(groups).collect()
    }
}

/// The newest one of that name; where that only depends on another, the other.
fn newest(packages: Vec<Package>, name: &str) -> Option<Package> {
    let by_name = |name: &str| {
        let named = packages.iter().filter(|package| package.name == name);
        named.max_by(|one, other| one.version.cmp(&other.version))
    };
    let found = by_name(name)?;
    let other = found.depends.iter().find(|depends| depends.starts_with("linux-source-"));
    other.filter(|_| name == SOURCE).and_then(|other| by_name(other)).or(Some(found)).cloned()
}

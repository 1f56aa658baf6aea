//! The archive's kernels: which there are.

use crate::archive::{Archive, Progress};
use crate::kernel_parts::{KernelPackages, assemble, is_part};
use crate::wanted::{Wanted, every_group};
use crate::{Error, Result};

impl Archive {
    /// All kernels of a suite, the newest first.
    pub fn kernels(&self, suite: &str, progress: &dyn Progress) -> Result<Vec<KernelPackages>> {
        let mut kernels = assemble(self.packages(suite, is_part, progress)?);
        kernels.sort_by(|one, other| (other.version(), other.flavour).cmp(&(one.version(), one.flavour)));
        Ok(kernels)
    }

    /// The kernel that is wanted, the newest where several are, and what kept a suite from being looked at that may
    /// have a newer one. A suite that somebody else has signed is never passed over.
    pub fn find_kernel(
        &self,
        wanted: &Wanted,
        progress: &dyn Progress,
    ) -> Result<(KernelPackages, Vec<Error>)> {
        let mut failures = Vec::new();
        for group in wanted.groups() {
            let mut found = Vec::new();
            for suite in &group {
                let is_needed = suite == &group[0];
                if !is_needed && self.mirror_of(suite).is_err() {
                    continue;
                }
                match self.kernels(suite, progress) {
                    Ok(kernels) => found.extend(kernels),
                    // A release need not have had updates yet, and old ones are taken away, or renewed no more.
                    Err(error @ Error::NoSuite { .. }) if wanted.is_version() || !is_needed => {
                        failures.push(error)
                    }
                    Err(error @ Error::Expired { .. }) if wanted.is_version() => failures.push(error),
                    Err(error) => return Err(error),
                }
            }
            let fitting = found.into_iter().filter(|kernel| wanted.is_met_by(kernel));
            // Of a suite, the one that it installs; some have newer series besides.
            let rank = |kernel: &KernelPackages| {
                (!wanted.is_version() && kernel.is_suites_own, kernel.version().clone())
            };
            if let Some(kernel) = fitting.max_by_key(rank) {
                return Ok((kernel, failures));
            }
        }
        let failure = failures.into_iter().find(|failure| matches!(failure, Error::Expired { .. }));
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

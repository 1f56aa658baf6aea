//! Where `vmrun kernel build` has source packages from: Debian's archive, as `vmrun kernel pull` has kernels.

use std::path::{Path, PathBuf};

use debian_archive::{Archive, Error, Package, Silent};
use kernels::build::{PackageArchive, SourcePackage};

use super::kernel_pull;
use crate::arguments::ArchiveArguments;
use crate::output::warn;

/// The archive, which nobody asks who names another source.
#[derive(Debug)]
pub struct DebianArchive(pub ArchiveArguments);

impl PackageArchive for DebianArchive {
    fn find(&self, name: &str) -> Result<Box<dyn SourcePackage>, String> {
        let archive = kernel_pull::open(&self.0).map_err(|error| format!("{error:#}"))?;
        let (package, failures) = archive.find_source(name, &Silent).map_err(|error| error.to_string())?;
        let unreachable = failures.iter().find(|failure| matches!(failure, Error::Web(_)));
        if let Some(failure) = unreachable.or(failures.first()) {
            warn(&format!("vmrun: there may be a newer {name} than {}: {failure}", package.version.as_str()));
        }
        Ok(Box::new(Found { archive, package }))
    }
}

struct Found {
    archive: Archive,
    package: Package,
}

impl SourcePackage for Found {
    fn file_name(&self) -> &str {
        self.package.file_name()
    }

    fn sha256(&self) -> &str {
        &self.package.sha256
    }

    fn fetch(&self, directory: &Path) -> Result<PathBuf, String> {
        // The build has its own line on the terminal.
        self.archive.download(&self.package, directory, &Silent).map_err(|error| error.to_string())
    }
}

//! Why a kernel could not be built.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot keep kernels in {}: {cause}", path.display())]
    Cache {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{place}: {why}")]
    Fragment { place: String, why: String },
    #[error("the kernel's configuration does not come out as asked for: {0}")]
    Unmet(String),
    #[error(
        "a kernel cannot be built without {missing}: install {packages} (`scripts/install-packages kernel-build` \
         installs all that is needed)"
    )]
    Tools { missing: String, packages: String },
    #[error("cannot run {program}: {cause}")]
    Run {
        program: &'static str,
        #[source]
        cause: io::Error,
    },
    #[error(
        "{0:?} is neither a file, nor a directory, nor the name of a source package such as linux-source-6.12"
    )]
    Source(String),
    #[error("{} is not a kernel's source: {why}", path.display())]
    NotSource { path: PathBuf, why: String },
    #[error("cannot unpack {}: {cause}", path.display())]
    Unpack {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{} has been built in: run `make mrproper` there, or name another source", .0.display())]
    Unclean(PathBuf),
    #[error("cannot get the package {package}: {why}")]
    Package { package: String, why: String },
    #[error("make {target} failed: {said} (all of it is in {})", log.display())]
    Make { target: String, said: String, log: PathBuf },
    #[error("the build was called off")]
    Cancelled,
}

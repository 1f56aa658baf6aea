use std::io;
use std::path::PathBuf;

/// What can go wrong with the archive. Each message is one line: what, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Web(#[from] registry::Error),
    #[error("there is no suite {suite} at {mirror}")]
    NoSuite { suite: String, mirror: String },
    #[error("‘{0}’ cannot be a suite's name: bookworm, trixie-backports, sid …")]
    Suite(String),
    #[error("the suite {suite} has no package {name}")]
    NoPackage { suite: String, name: String },
    #[error("Debian has no package {name}, as far as {mirror} has it: linux-source-6.12, linux-source-6.1 …")]
    NoSource { name: String, mirror: String },
    #[error("{0}")]
    NoKernel(String),
    #[error(
        "‘{0}’ is no kernel of Debian's: try debian:6.12, debian:trixie, debian:6.1-generic or an exact version"
    )]
    Wanted(String),
    #[error(
        "no keyring of Debian's archive at {}: install the package debian-archive-keyring, or name one with --keyring",
        .0.display()
    )]
    NoKeyring(PathBuf),
    #[error("gpgv, which checks the archive's signatures, cannot be run: install the package gpgv ({0})")]
    NoGpgv(io::Error),
    #[error("the index of {suite} at {mirror} is not signed by a key of {}: {reason}", keyring.display())]
    Signature { suite: String, mirror: String, keyring: PathBuf, reason: String },
    #[error("the index of {suite} at {mirror} is damaged: {reason}")]
    Index { suite: String, mirror: String, reason: String },
    #[error(
        "the index of {suite} at {mirror} was good until {until}: the mirror is stale, or this host's clock is \
         wrong; --allow-expired takes it all the same"
    )]
    Expired { suite: String, mirror: String, until: String },
    #[error(
        "{what} from {mirror} is not what the archive has signed: its SHA-256 is {found}, not {expected}"
    )]
    Digest { what: String, mirror: String, expected: String, found: String },
    #[error("{what} has {size} bytes in the archive, more than the limit of {limit}")]
    TooLarge { what: String, size: u64, limit: u64 },
    #[error("{doing} {}: {cause}", path.display())]
    File {
        doing: &'static str,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// For `map_err` on what is done to a file.
pub fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    move |cause| Error::File { doing, path: path.into(), cause }
}

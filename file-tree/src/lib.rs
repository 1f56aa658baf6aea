//! Trees of files, read from a directory into a stream of entries and made from one below a directory.
//!
//! The same code runs at both ends of a `vmrun cp`: guest-init reads with it what the host writes, and
//! the other way round. Both sides take the stream for hostile: whatever it says, nothing comes to be
//! outside of the directory that it is written below (see [`TreeWriter`]). The stream itself is
//! [`guest_protocol::files`].

mod attributes;
mod left_out;
mod reader;
mod steps;
mod writer;

use guest_protocol::files::stream::{Stopped, StreamError};
use rustix::io::Errno;

pub use attributes::attributes_of;
pub use reader::{TreeReader, names};
pub use writer::{Links, Policy, TreeWriter};

/// Why a tree cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {doing} ‘{path}’: {}", in_words(*.error))]
    System { doing: &'static str, path: String, error: Errno },
    #[error("‘{path}’ {problem}")]
    Refused { path: String, problem: &'static str },
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl From<StreamError> for Error {
    fn from(error: StreamError) -> Error {
        Error::Stopped(error.into())
    }
}

pub type Result<T> = std::result::Result<T, Error>;

/// Says what was being done to which path.
trait To<T> {
    fn to(self, doing: &'static str, path: &[u8]) -> Result<T>;
}

impl<T> To<T> for std::result::Result<T, Errno> {
    fn to(self, doing: &'static str, path: &[u8]) -> Result<T> {
        self.map_err(|error| Error::System { doing, path: shown(path), error })
    }
}

fn refused(path: &[u8], problem: &'static str) -> Error {
    Error::Refused { path: shown(path), problem }
}

/// A path for people.
fn shown(path: &[u8]) -> String {
    match path {
        [] => ".".into(),
        path => String::from_utf8_lossy(path).into_owned(),
    }
}

/// An error's text without the number that Rust puts behind it.
fn in_words(error: Errno) -> String {
    let mut text = std::io::Error::from(error).to_string();
    if let Some(end) = text.rfind(" (os error ") {
        text.truncate(end);
    }
    text
}

/// `name` in the directory `path`.
pub fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path {
        [] => name.to_vec(),
        path => [path, b"/", name].concat(),
    }
}

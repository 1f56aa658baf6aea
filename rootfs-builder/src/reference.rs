//! Image names, normalised and refused as Docker does.
//!
//! The grammar is that of the distribution project: `[REGISTRY[:PORT]/]PATH[:TAG][@DIGEST]`. What is left out
//! is filled in: `busybox` is `docker.io/library/busybox:latest`. People are shown the familiar form back.

use std::fmt;
use std::str::FromStr;

use crate::digest::{self, Digest};

const DEFAULT_REGISTRY: &str = "docker.io";
/// What Docker Hub was called in old configurations; means the same registry.
const LEGACY_DEFAULT_REGISTRY: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const LONGEST_REPOSITORY: usize = 255;
const LONGEST_TAG: usize = 128;

/// A normalised image name. It always has a tag or a digest, and may have both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("an image name is needed, but an empty one was given")]
    Empty,
    #[error("‘{0}’ is not an image name: expected [REGISTRY/]NAME[:TAG][@DIGEST]")]
    Malformed(String),
    #[error("‘{0}’ is not an image name: repository names are lower case")]
    UpperCase(String),
    #[error(
        "the repository name in ‘{}…’ is longer than {LONGEST_REPOSITORY} characters",
        .0.chars().take(40).collect::<String>()
    )]
    TooLong(String),
    #[error(
        "‘{}’ is not a tag: letters, digits and ‘_’, then also ‘.’ and ‘-’, at most {LONGEST_TAG} characters",
        .0.chars().take(LONGEST_TAG + 12).collect::<String>()
    )]
    Tag(String),
    #[error("‘{0}’ is an image id; a name was expected")]
    Identifier(String),
    #[error(transparent)]
    Digest(#[from] digest::Error),
}

impl Reference {
    /// `docker.io` when the name has none.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry, `library/` included.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// `latest` when the name has neither tag nor digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same without a digest; none if there is no tag then. What an image is called here has no digest: that
    /// is what it is.
    pub fn without_digest(&self) -> Option<Reference> {
        self.tag.as_ref().map(|_| Reference { digest: None, ..self.clone() })
    }

    /// The same without a tag if it has a digest, which says all.
    pub fn by_digest(&self) -> Reference {
        match self.digest {
            Some(_) => Reference { tag: None, ..self.clone() },
            None => self.clone(),
        }
    }

    /// Registry and repository as people write them: `busybox`, `quay.io/fedora/fedora`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return format!("{}/{}", self.registry, self.repository);
        }
        match self.repository.strip_prefix(OFFICIAL_PREFIX) {
            Some(official) if !official.contains('/') => official.to_owned(),
            _ => self.repository.clone(),
        }
    }

    /// With nothing left out: `docker.io/library/busybox:latest`.
    pub fn full(&self) -> String {
        self.with_suffix(format!("{}/{}", self.registry, self.repository))
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name = format!("{name}:{tag}");
        }
        if let Some(digest) = &self.digest {
            name = format!("{name}@{digest}");
        }
        name
    }
}

/// The familiar form, tag included: `busybox:latest`.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.familiar_name()))
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Reference, Error> {
        let malformed = || Error::Malformed(shown(text));
        if text.is_empty() {
            return Err(Error::Empty);
        }
        if Digest::from_hex(text).is_ok() {
            return Err(Error::Identifier(text.to_owned()));
        }

        let (registry, rest) = split_registry(text);
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (rest, None),
        };
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        if path.chars().any(char::is_uppercase) {
            return Err(Error::UpperCase(shown(text)));
        }
        if !is_registry(registry) || !path.split('/').all(is_path_component) {
            return Err(malformed());
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(Error::Tag(shown(tag)));
        }

        let official = registry == DEFAULT_REGISTRY && !path.contains('/');
        let repository = if official { format!("{OFFICIAL_PREFIX}{path}") } else { path.to_owned() };
        if repository.len() > LONGEST_REPOSITORY {
            return Err(Error::TooLong(shown(text)));
        }
        let tag = match (tag, &digest) {
            (None, None) => Some(DEFAULT_TAG),
            (tag, _) => tag,
        };
        Ok(Reference { registry: registry.to_owned(), repository, tag: tag.map(str::to_owned), digest })
    }
}

/// What comes before the first `/` is a registry when it cannot be the first part of a path: it has a dot or a
/// port, or an upper-case letter, or is `localhost`.
fn split_registry(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((LEGACY_DEFAULT_REGISTRY, path)) => (DEFAULT_REGISTRY, path),
        Some((first, path))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.chars().any(char::is_uppercase) =>
        {
            (first, path)
        }
        _ => (DEFAULT_REGISTRY, text),
    }
}

/// A DNS name or an IP address (version 6 in brackets), and perhaps a port.
fn is_registry(text: &str) -> bool {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit());
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        return !address.is_empty()
            && address.bytes().all(|c| c.is_ascii_hexdigit() || c == b':')
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    host.split('.').all(is_host_label) && port.is_none_or(is_port)
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Lower-case letters and digits, with one `.`, one or two `_`, or any number of `-` between them.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends_well =
        bytes.first().is_some_and(|c| alphanumeric(*c)) && bytes.last().is_some_and(|c| alphanumeric(*c));
    ends_well
        && component
            .split(|c: char| c.is_ascii() && alphanumeric(c as u8))
            .filter(|separator| !separator.is_empty())
            .all(|separator| matches!(separator, "." | "_" | "__") || separator.bytes().all(|c| c == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    tag.len() <= LONGEST_TAG
        && tag.as_bytes().first().is_some_and(|c| word(*c))
        && tag.bytes().all(|c| word(c) || c == b'.' || c == b'-')
}

/// What the user typed, fit for one line of a message.
fn shown(text: &str) -> String {
    text.chars().take(300).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
#[path = "reference_test.rs"]
mod tests;

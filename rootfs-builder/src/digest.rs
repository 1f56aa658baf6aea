//! SHA-256 digests as the OCI image specification writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

/// A SHA-256 digest, written `sha256:` and 64 lower-case hexadecimal digits (OCI image-spec, descriptor.md).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("‘{0}’ is a digest of another kind than sha256, the only one supported")]
    OtherAlgorithm(String),
    #[error("‘{0}’ is not a digest: sha256: and 64 digits of 0-9a-f are expected")]
    Malformed(String),
}

impl Digest {
    /// The digest of bytes that are at hand.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(sha2::Sha256::digest(bytes).into())
    }

    /// From the 64 digits alone, as files are named in an OCI layout.
    pub fn from_hex(hex: &str) -> Result<Digest, Error> {
        let malformed = || Error::Malformed(shortened(hex));
        if hex.len() != 64 {
            return Err(malformed());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
                return Err(malformed());
            };
            *byte = high << 4 | low;
        }
        Ok(Digest(bytes))
    }

    /// The same in the words of `oci_spec`.
    pub fn to_oci(&self) -> oci_spec::image::Digest {
        match self.to_string().parse() {
            Ok(digest) => digest,
            Err(_) => unreachable!("`sha256:` and 64 digits are a digest to everybody"),
        }
    }

    /// The 64 digits without the algorithm.
    pub fn hex(&self) -> String {
        use fmt::Write;
        self.0.iter().fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// The first 12 digits, as people are shown them.
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }
}

/// Upper case is refused, as in the specification: two spellings would be two file names.
fn digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}

/// Text from an untrusted document, cut so that a message stays one line.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Digest, Error> {
        match text.split_once(':') {
            Some(("sha256", hex)) => Digest::from_hex(hex).map_err(|_| Error::Malformed(shortened(text))),
            Some((algorithm, _)) if !algorithm.is_empty() => Err(Error::OtherAlgorithm(shortened(text))),
            _ => Err(Error::Malformed(shortened(text))),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes a [`Digest`] of bytes that pass by, and counts them.
#[derive(Clone, Default)]
pub struct Hasher {
    state: sha2::Sha256,
    length: u64,
}

impl Hasher {
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// Bytes seen so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    pub fn finish(self) -> Digest {
        Digest(self.state.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn is_written_and_read_as_the_specification_says() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(digest));
        assert_eq!(digest.short(), "e3b0c44298fc");
        let mut hasher = Hasher::default();
        hasher.update(b"ab");
        hasher.update(b"c");
        assert_eq!((hasher.length(), hasher.finish()), (3, Digest::of(b"abc")));
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        let upper = EMPTY.replace("e3b0", "E3B0");
        for bad in ["", "sha256", "sha256:", ":e3b0", &EMPTY[..70], upper.as_str(), "sha256:../../etc/passwd"]
        {
            assert!(matches!(bad.parse::<Digest>(), Err(Error::Malformed(_))), "{bad}");
        }
        assert!(matches!("sha512:00".parse::<Digest>(), Err(Error::OtherAlgorithm(_))));
    }
}

//! What an image says about itself: its configuration and the machine it is for.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::digest::{self, Digest};

/// The digest of an image's configuration, which names the image whatever it is called and however its layers
/// are compressed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub Digest);

impl ImageId {
    /// The first 12 digits.
    pub fn short(&self) -> String {
        self.0.short()
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for ImageId {
    type Err = digest::Error;

    fn from_str(text: &str) -> Result<ImageId, digest::Error> {
        text.parse().map(ImageId)
    }
}

/// How to run an image (OCI image-spec, config.md). What an image leaves out is empty here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// `NAME=VALUE` each.
    pub env: Vec<String>,
    /// Absolute, or empty for `/`.
    pub workdir: String,
    /// `user`, `uid`, `user:group` or `uid:gid`; empty for root.
    pub user: String,
    pub labels: BTreeMap<String, String>,
    /// A name such as `SIGTERM`, or a number.
    pub stop_signal: Option<String>,
    /// `80/tcp`, as the image declares them.
    pub exposed_ports: Vec<String>,
    /// Directories that the image wants to be volumes.
    pub volumes: Vec<String>,
}

impl From<&oci_spec::image::Config> for ImageConfig {
    fn from(config: &oci_spec::image::Config) -> ImageConfig {
        let sorted = |list: &Option<Vec<String>>| {
            let mut list = list.clone().unwrap_or_default();
            list.sort();
            list
        };
        ImageConfig {
            entrypoint: config.entrypoint().clone().unwrap_or_default(),
            cmd: config.cmd().clone().unwrap_or_default(),
            env: config.env().clone().unwrap_or_default(),
            workdir: config.working_dir().clone().unwrap_or_default(),
            user: config.user().clone().unwrap_or_default(),
            labels: config.labels().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
            stop_signal: config.stop_signal().clone().filter(|signal| !signal.is_empty()),
            exposed_ports: sorted(config.exposed_ports()),
            volumes: sorted(config.volumes()),
        }
    }
}

/// The platform whose images are run.
pub const OS: &str = "linux";
pub const ARCHITECTURE: &str = "amd64";

/// What an image is made for, written `OS/ARCHITECTURE[/VARIANT]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("‘{0}’ is not a platform: expected OS/ARCHITECTURE[/VARIANT], such as linux/amd64 or linux/arm/v7")]
pub struct PlatformError(String);

impl Platform {
    /// Whether images for `other` are for this one. Who does not name a variant takes any.
    pub fn takes(&self, other: &Platform) -> bool {
        self.os == other.os
            && self.architecture == other.architecture
            && (self.variant.is_none() || self.variant == other.variant)
    }
}

/// The one whose images are run.
impl Default for Platform {
    fn default() -> Platform {
        Platform { os: OS.to_owned(), architecture: ARCHITECTURE.to_owned(), variant: None }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Platform, PlatformError> {
        let malformed = || PlatformError(text.chars().take(80).flat_map(char::escape_debug).collect());
        let word = |word: &&str| {
            !word.is_empty() && word.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
        };
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(malformed()),
        };
        match parts.iter().all(word) {
            true => Ok(Platform {
                os: os.to_owned(),
                architecture: architecture.to_owned(),
                variant: variant.map(str::to_owned),
            }),
            false => Err(malformed()),
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = PlatformError;

    fn try_from(text: String) -> Result<Platform, PlatformError> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> String {
        platform.to_string()
    }
}

/// A time as image configurations write it (RFC 3339).
pub fn parse_time(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}

/// The reverse of [`parse_time`]; none for a year beyond 9999.
pub fn format_time(time: SystemTime) -> Option<String> {
    OffsetDateTime::from(time).format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_read_as_images_write_them() {
        let at = |seconds, nanos| Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos));
        assert_eq!(parse_time("1970-01-02T00:00:00Z"), at(86400, 0));
        assert_eq!(parse_time("2024-05-01T10:00:00.123456789+02:00"), at(1_714_550_400, 123_456_789));
        assert_eq!(parse_time("yesterday"), None);
        assert_eq!(at(86400, 5).and_then(format_time).as_deref(), Some("1970-01-02T00:00:00.000000005Z"));
    }

    #[test]
    fn platforms_are_read_written_and_compared() {
        let platform = |text: &str| text.parse::<Platform>();
        assert_eq!(platform("linux/amd64"), Ok(Platform::default()));
        assert_eq!(platform("linux/arm/v7").expect("reads").to_string(), "linux/arm/v7");
        for bad in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/a b", "linux/..\n"] {
            assert!(platform(bad).is_err(), "{bad}");
        }
        let (arm, v7) = (platform("linux/arm").expect("reads"), platform("linux/arm/v7").expect("reads"));
        assert!(arm.takes(&v7) && !v7.takes(&arm) && !arm.takes(&Platform::default()));
    }

    #[test]
    fn what_a_configuration_leaves_out_is_empty() {
        let json = r#"{"Env":null,"Cmd":["sh"],"Volumes":{"/b":{},"/a":{}},"StopSignal":"","Unknown":1}"#;
        let config: oci_spec::image::Config = serde_json::from_str(json).expect("reads");
        let config = ImageConfig::from(&config);
        assert_eq!(config.cmd, ["sh"]);
        assert_eq!(config.volumes, ["/a", "/b"]);
        assert_eq!((config.stop_signal, config.env.len()), (None, 0));
    }
}

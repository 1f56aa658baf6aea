//! Where a registry is.

use std::net::IpAddr;

use ureq::http::Uri;

use crate::{Error, Result};

/// Docker Hub is called by a name under which its registry is not.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_REGISTRY: &str = "registry-1.docker.io";
/// What its credentials are filed under.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// A registry's `HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    name: String,
}

impl Host {
    /// From a name's first part, or from what a user gives to `vmrun login`: then with a scheme, perhaps, or a
    /// path, which Docker allows.
    pub fn parse(text: &str) -> Result<Host> {
        let malformed = || Error::Host(crate::error::shown(text));
        let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let name = bare.split('/').next().unwrap_or_default();
        let name = match name {
            "index.docker.io" | DOCKER_HUB_REGISTRY => DOCKER_HUB,
            name => name,
        };
        let sound = !name.is_empty()
            && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
            && !name.contains("..")
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || b".-:[]_".contains(&c))
            && format!("https://{name}/").parse::<Uri>().is_ok_and(|uri| uri.host().is_some());
        if sound { Ok(Host { name: name.to_owned() }) } else { Err(malformed()) }
    }

    /// As image names have it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its API is.
    pub fn address(&self) -> &str {
        if self.name == DOCKER_HUB { DOCKER_HUB_REGISTRY } else { &self.name }
    }

    /// What its credentials are filed under in `config.json`.
    pub fn credentials_key(&self) -> &str {
        if self.name == DOCKER_HUB { DOCKER_HUB_KEY } else { &self.name }
    }

    /// Whether it is on this very host, so that nobody can listen or pretend on the way.
    pub fn is_loopback(&self) -> bool {
        let uri = format!("http://{}/", self.name).parse::<Uri>();
        uri.is_ok_and(|uri| is_loopback(&uri))
    }
}

/// Whether an address leads nowhere but to this host.
pub fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hub_has_three_names() {
        for name in ["docker.io", "index.docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"] {
            let host = Host::parse(name).unwrap();
            assert_eq!((host.name(), host.address()), ("docker.io", "registry-1.docker.io"));
            assert_eq!(host.credentials_key(), "https://index.docker.io/v1/");
        }
        let other = Host::parse("https://quay.io/").unwrap();
        assert_eq!(
            (other.name(), other.address(), other.credentials_key()),
            ("quay.io", "quay.io", "quay.io")
        );
    }

    #[test]
    fn loopback_is_told_by_address_not_by_likeness() {
        let is = |name| Host::parse(name).unwrap().is_loopback();
        for name in ["localhost", "localhost:5000", "127.0.0.1:80", "127.9.9.9", "[::1]:5000", "[::1]"] {
            assert!(is(name), "{name}");
        }
        for name in ["localhost.evil.org", "127.0.0.1.evil.org", "10.0.0.1", "[::2]", "quay.io"] {
            assert!(!is(name), "{name}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for bad in ["", "https://", "a b", "a\r\nHost: b", "user@host", "..//", "host:port:x"] {
            assert!(Host::parse(bad).is_err(), "{bad}");
        }
    }
}

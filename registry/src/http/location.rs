//! What a `Location` header means (RFC 3986, section 5).

use ureq::http::Uri;
use ureq::http::uri::{Authority, PathAndQuery, Scheme};

use super::host_of;
use crate::error::shown;
use crate::{Error, Result};

/// The address that `location` is, seen from `base`.
pub fn resolve(base: &Uri, location: &[u8]) -> Result<Uri> {
    let text = str::from_utf8(location).unwrap_or_default();
    let text = text.split('#').next().unwrap_or_default();
    let absolute = match text {
        _ if has_scheme(text) => text.parse().ok(),
        _ if text.starts_with("//") => {
            format!("{}:{text}", base.scheme_str().unwrap_or("https")).parse().ok()
        }
        _ if text.starts_with('/') => on(base, text),
        _ if text.starts_with('?') => on(base, &format!("{}{text}", base.path())),
        "" => None,
        _ => {
            let directory = base.path().rsplit_once('/').map_or("", |(directory, _)| directory);
            on(base, &format!("{directory}/{text}"))
        }
    };
    absolute.filter(|url: &Uri| url.host().is_some_and(|host| !host.is_empty())).ok_or_else(|| {
        Error::RedirectTarget { host: host_of(base), to: shown(&String::from_utf8_lossy(location)) }
    })
}

fn has_scheme(text: &str) -> bool {
    let scheme = text.split(['/', '?']).next().unwrap_or_default();
    scheme.contains(':') && text.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn on(base: &Uri, path: &str) -> Option<Uri> {
    let scheme: Scheme = base.scheme()?.clone();
    let authority: Authority = base.authority()?.clone();
    let path: PathAndQuery = path.parse().ok()?;
    Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood() {
        let base: Uri = "https://a.example:5000/v2/x/blobs/uploads/?q=1".parse().unwrap();
        let seen = |location: &str| resolve(&base, location.as_bytes()).map(|url| url.to_string()).ok();
        let is = |location: &str, url: &str| assert_eq!(seen(location).as_deref(), Some(url), "{location}");
        is("http://b.example/c?d=e#f", "http://b.example/c?d=e");
        is("//b.example/c", "https://b.example/c");
        is("/c/d?e", "https://a.example:5000/c/d?e");
        is("c", "https://a.example:5000/v2/x/blobs/uploads/c");
        is("?c", "https://a.example:5000/v2/x/blobs/uploads/?c");
        for bad in ["", "file:///etc/passwd", "https://", "/a b", "/a\r\nb"] {
            assert_eq!(seen(bad), None, "{bad}");
        }
    }
}

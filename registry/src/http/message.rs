//! What a registry says about an error.

use serde::Deserialize;
use ureq::http::HeaderMap;
use ureq::http::header::CONTENT_TYPE;

use crate::error::shown;

/// The distribution specification's form of errors, with codes that are not in it: registries have their own.
#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    errors: Vec<Item>,
    /// What token servers say.
    #[serde(default)]
    details: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// One line; empty when nothing was said that a person could read.
pub fn of(body: &[u8], headers: &HeaderMap) -> String {
    if let Ok(Body { errors, details }) = serde_json::from_slice(body) {
        let first = errors.into_iter().next();
        let said = first.map(|item| if item.message.is_empty() { item.code } else { item.message });
        return shown(&said.or(details).unwrap_or_default());
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match kind.starts_with("text/plain") {
        true => shown(&String::from_utf8_lossy(body)),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_told_in_one_line() {
        let said = |body: &str| of(body.as_bytes(), &HeaderMap::new());
        let body = r#"{"errors":[{"code":"UNKNOWN_TO_US","message":"no\nsuch thing","detail":{"a":1}}]}"#;
        assert_eq!(said(body), "no such thing");
        assert_eq!(said(r#"{"errors":[{"code":"DENIED"}]}"#), "DENIED");
        assert_eq!(said(r#"{"details":"incorrect username or password"}"#), "incorrect username or password");
        assert_eq!(said("<html>"), "");
        assert_eq!(said(&format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(5000))).len(), 200);
    }
}

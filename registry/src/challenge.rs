//! What a registry asks for when it answers 401 (`WWW-Authenticate`, RFC 9110 and Docker's token specification).

use ureq::http::HeaderMap;
use ureq::http::header::WWW_AUTHENTICATE;

/// A way to authenticate that is supported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    /// A token from `realm`, for `service`.
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

/// The challenge to answer: a token where there is a choice. If there is none to answer, what was asked for.
pub fn challenge(headers: &HeaderMap) -> Result<Challenge, String> {
    let mut found = Vec::new();
    let mut asked = Vec::new();
    for value in headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()) {
        for challenge in http_auth::parse_challenges(value).unwrap_or_default() {
            let parameter = |name: &str| {
                let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped()).filter(|value| !value.is_empty())
            };
            asked.push(challenge.scheme.to_owned());
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                found.push(Challenge::Basic);
            } else if challenge.scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = parameter("realm")
            {
                found.insert(0, Challenge::Bearer { realm, service: parameter("service") });
            }
        }
    }
    found.into_iter().next().ok_or_else(|| match asked.is_empty() {
        true => "it does not say which".to_owned(),
        false => crate::error::shown(&asked.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::HeaderValue;

    fn of(values: &[&'static str]) -> Result<Challenge, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(value));
        }
        challenge(&headers)
    }

    #[test]
    fn tokens_are_preferred() {
        let bearer = r#"Bearer realm="https://auth.example/token?a=b,c",service="registry.example",scope="repository:a:pull""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.example/token?a=b,c".into(),
            service: Some("registry.example".into()),
        };
        assert_eq!(of(&[bearer]), Ok(expected.clone()));
        assert_eq!(of(&["Basic realm=\"x\"", bearer]), Ok(expected));
        assert_eq!(of(&["basic realm=\"x\""]), Ok(Challenge::Basic));
    }

    #[test]
    fn what_cannot_be_answered_is_named() {
        assert_eq!(of(&[]), Err("it does not say which".into()));
        assert_eq!(of(&["Negotiate"]), Err("Negotiate".into()));
        assert!(of(&["Bearer service=\"no realm\""]).is_err());
        assert!(of(&["\"=,,=\""]).is_err());
    }
}

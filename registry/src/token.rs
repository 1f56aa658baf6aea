//! Tokens, as Docker's token authentication specification gives them out.

use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use ureq::http::header::{ACCEPT, CONTENT_TYPE};
use ureq::http::{HeaderValue, Method, Uri};

use crate::authorization::Call;
use crate::credentials::Login;
use crate::error::shown;
use crate::header::{basic, bearer};
use crate::http::{Answer, Payload, Request, Want, host_of};
use crate::{Error, Result};

const CLIENT: &str = "vmrun";
const LIMIT: u64 = 1 << 20;
/// What the specification says a token is good for when its server does not say.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// A token is renewed so long before its end.
const MARGIN: Duration = Duration::from_secs(10);

/// A header's worth of permission.
pub struct Token {
    pub header: HeaderValue,
    pub good_until: Instant,
}

/// What is asked for, and of whom.
pub struct TokenRequest<'a> {
    /// What its token server may be depends on the registry's address.
    pub call: &'a Call<'a>,
    pub realm: &'a str,
    pub service: Option<&'a str>,
    pub login: Option<&'a Login>,
}

#[derive(Deserialize)]
struct Response {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Asks the token server.
pub fn fetch(wanted: &TokenRequest) -> Result<Token> {
    let Call { http, registry, scopes, .. } = *wanted.call;
    let realm: Uri = wanted.realm.parse().map_err(|_| Error::Malformed {
        host: host_of(registry),
        what: "the address of its token server".into(),
        reason: format!("‘{}’", shown(wanted.realm)),
    })?;
    let realm = http.check(realm, registry)?;
    let host = host_of(&realm);

    let mut parameters: Vec<(&str, &str)> =
        wanted.service.iter().map(|service| ("service", *service)).collect();
    let form;
    let mut request = Request {
        method: Method::GET,
        url: realm.clone(),
        headers: vec![(ACCEPT, HeaderValue::from_static("application/json"))],
        authorization: None,
        payload: Payload::Nothing,
        want: Want::Document(LIMIT, "the token"),
    };
    if let Some(Login::IdentityToken(token)) = wanted.login {
        let scope = scopes.join(" ");
        parameters.extend([("grant_type", "refresh_token"), ("client_id", CLIENT), ("refresh_token", token)]);
        parameters.extend([("scope", scope.as_str())]);
        form = encoded(&parameters);
        request.method = Method::POST;
        request.headers.push((CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")));
        request.payload = Payload::Bytes(form.as_bytes());
    } else {
        parameters.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
        let separator = if realm.query().is_some() { '&' } else { '?' };
        let url = format!("{realm}{separator}{}", encoded(&parameters));
        request.url = url.parse().map_err(|_| Error::Malformed {
            host: host.clone(),
            what: "its address".into(),
            reason: "it is too long".into(),
        })?;
        if let Some(Login::Password { user, password }) = wanted.login {
            request.authorization = Some(basic(user, password));
        }
    }

    let answer = http.send(&request)?;
    if !answer.is_success() {
        return Err(refusal(wanted, host, answer));
    }
    let malformed = |reason: &str| Error::Malformed {
        host: host.clone(),
        what: "the token".into(),
        reason: shown(reason),
    };
    let response: Response =
        serde_json::from_slice(&answer.document).map_err(|error| malformed(&error.to_string()))?;
    let token = response.token.filter(|token| !token.is_empty()).or(response.access_token);
    let token = token.ok_or_else(|| malformed("there is none in the answer"))?;
    let life = response.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs).min(Duration::from_secs(86_400));
    Ok(Token {
        header: bearer(&token).ok_or_else(|| malformed("it has strange characters"))?,
        good_until: Instant::now() + life.saturating_sub(MARGIN).max(life / 2),
    })
}

/// What it means that the token server at `host` gives none.
fn refusal(wanted: &TokenRequest, host: String, answer: Answer) -> Error {
    let Answer { status, message, .. } = answer;
    let action = wanted.call.action.to_owned();
    match (status, wanted.login) {
        (401 | 403, None) => {
            let name = wanted.call.host.name();
            Error::LoginNeeded { host: name.into(), action, login: name.into() }
        }
        (401, Some(_)) => Error::WrongPassword { host, message },
        (403, Some(_)) => Error::Denied { host, action, message },
        _ => Error::Status { host, status, action: "give a token".into(), message },
    }
}

fn encoded(parameters: &[(&str, &str)]) -> String {
    let pair =
        |(name, value): &(&str, &str)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
    parameters.iter().map(pair).collect::<Vec<_>>().join("&")
}

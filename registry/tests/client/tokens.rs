//! Docker's token authentication, with a token server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use registry::Login;

use crate::image::image;
use crate::server::{Reply, Seen, Server, files, give};
use crate::{Home, somebody};

/// `somebody`'s, as HTTP writes it.
const BASIC: &str = "Basic c29tZWJvZHk6c2VjcmV0OndvcmQ=";

/// A registry with the image `app:1` that wants tokens, and the server that gives them: each is good for so many
/// requests.
fn registry_with_tokens(
    good_for: usize,
    answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
) -> (Server, Server) {
    let used = Arc::new(AtomicUsize::new(0));
    let (count, issued) = (used.clone(), Arc::new(AtomicUsize::new(0)));
    let newest = issued.clone();
    let tokens = Server::start(move |seen| {
        let reply = answer(seen);
        used.store(0, Ordering::SeqCst);
        reply.header("X-Number", &issued.fetch_add(1, Ordering::SeqCst).to_string())
    });
    let realm = format!(
        "Bearer realm=\"http://{}/token?account=x\",service=\"the registry\",scope=\"ignored\"",
        tokens.host
    );
    let files = files(&[("1", &image("amd64", 30, &[1000, 2000, 3000]))]);
    let registry = Server::start(move |seen| {
        let shown = seen.header("authorization").is_some_and(|shown| shown == "Bearer good");
        let fresh = newest.load(Ordering::SeqCst) > 0 && count.fetch_add(1, Ordering::SeqCst) < good_for;
        match shown && fresh {
            true => give(&files, seen),
            false => Reply::status(401, "").header("WWW-Authenticate", &realm),
        }
    });
    (registry, tokens)
}

#[test]
fn a_token_is_asked_for_once_and_with_the_scope_that_is_needed() {
    let (registry, tokens) =
        registry_with_tokens(100, |_| Reply::ok("", r#"{"token":"good","expires_in":300}"#));
    Home::new().pull(&registry.host, None, "app:1").unwrap();
    let asked = tokens.seen();
    let paths: Vec<&str> = asked.iter().map(|seen| seen.path.as_str()).collect();
    assert_eq!(paths, ["/token?account=x&service=the%20registry&scope=repository%3Aapp%3Apull"]);
    assert_eq!(asked[0].header("authorization"), None, "nobody is logged in");
}

/// Each answer of 401 is answered with a new token, in the middle of a pull too.
#[test]
fn a_token_that_ends_is_renewed() {
    let (registry, tokens) = registry_with_tokens(2, |_| Reply::ok("", r#"{"access_token":"good"}"#));
    let error = Home::new().pull(&registry.host, somebody(), "app:1");
    // The same token again is no better than the one that was refused.
    assert!(error.unwrap_err().to_string().contains("vmrun login"));
    let number = AtomicUsize::new(0);
    let expiring = Server::start(move |_| {
        let number = number.fetch_add(1, Ordering::SeqCst);
        Reply::ok("", format!(r#"{{"token":"t{number}"}}"#))
    });
    let realm = format!("Bearer realm=\"http://{}/\"", expiring.host);
    let files = files(&[("1", &image("amd64", 30, &[1000]))]);
    let served = AtomicUsize::new(0);
    let strict = Server::start(move |seen| {
        // Two requests for each token, whoever makes them.
        let wanted = format!("Bearer t{}", served.load(Ordering::SeqCst) / 2);
        match seen.header("authorization") {
            Some(shown) if shown == wanted => {
                served.fetch_add(1, Ordering::SeqCst);
                give(&files, seen)
            }
            _ => Reply::status(401, "").header("WWW-Authenticate", &realm),
        }
    });
    Home::new().pull(&strict.host, None, "app:1").unwrap();
    assert_eq!(tokens.seen()[0].header("authorization"), Some(BASIC));
}

#[test]
fn an_identity_token_is_posted() {
    let (registry, tokens) = registry_with_tokens(100, |_| Reply::ok("", r#"{"access_token":"good"}"#));
    let login = Login::IdentityToken("who&i=am".into());
    Home::new().pull(&registry.host, Some(login), "app:1").unwrap();
    let asked = &tokens.seen()[0];
    assert_eq!(asked.method, "POST");
    let body = String::from_utf8(asked.body.clone()).unwrap();
    assert!(
        body.contains("grant_type=refresh%5Ftoken") || body.contains("grant_type=refresh_token"),
        "{body}"
    );
    assert!(body.contains("refresh_token=who%26i%3Dam"), "{body}");
}

#[test]
fn token_servers_that_mean_harm() {
    let fails = |answer: fn(&Seen) -> Reply, word: &str| {
        let (registry, _tokens) = registry_with_tokens(100, answer);
        let error = Home::new().pull(&registry.host, somebody(), "app:1").unwrap_err().to_string();
        assert!(error.contains(word) && !error.contains("secret"), "{error}");
    };
    fails(|_| Reply::ok("", r#"{"token":"good\r\nX-Injected: yes"}"#), "strange characters");
    fails(|_| Reply::ok("", "{}"), "there is none");
    fails(|_| Reply::ok("", "<html>"), "cannot be understood");
    fails(|_| Reply::ok("", vec![b' '; 2 << 20]), "larger than 1048576 bytes");
    fails(|_| Reply::status(401, r#"{"details":"incorrect username or password"}"#), "incorrect username");
    fails(|_| Reply::status(500, ""), "answered 500");
    fails(|_| Reply::redirect("/token"), "redirects more than");
    // Where credentials would travel in the clear.
    for realm in ["http://192.0.2.1/token", "file:///etc/passwd", "no address"] {
        let challenge = format!("Bearer realm=\"{realm}\"");
        let server = Server::start(move |_| Reply::status(401, "").header("WWW-Authenticate", &challenge));
        Home::new().pull(&server.host, somebody(), "app:1").unwrap_err();
    }
}

/// Blobs are often kept elsewhere: credentials do not go there.
#[test]
fn credentials_stay_with_their_registry() {
    let image = image("amd64", 31, &[5000]);
    let blobs = files(&[("1", &image)]);
    let other = Server::start(move |seen| give(&blobs, seen));
    let (elsewhere, blobs) = (other.host.clone(), files(&[("1", &image)]));
    let registry = Server::start(move |seen| match seen.header("authorization") {
        Some(BASIC) if seen.path.contains("/blobs/") => {
            Reply::redirect(&format!("http://{elsewhere}{}", seen.path))
        }
        Some(BASIC) => give(&blobs, seen),
        _ => Reply::status(401, "").header("WWW-Authenticate", "Basic realm=\"r\""),
    });
    Home::new().pull(&registry.host, somebody(), "app:1").unwrap();
    assert_eq!(other.seen().len(), 2);
    assert!(other.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

/// Whoever a registry refers to could name a token server of his own: it is not asked, and nobody is shown anything.
#[test]
fn credentials_do_not_go_where_a_redirects_target_says() {
    for part in ["/v2/app/blobs/", "/v2/app/manifests/", "/v2/"] {
        let evil = Server::start(|_| Reply::ok("", r#"{"token":"good"}"#));
        let realm = format!("Bearer realm=\"http://{}/token\"", evil.host);
        let other = Server::start(move |_| {
            Reply::status(401, r#"{"message":"who?"}"#).header("WWW-Authenticate", &realm)
        });
        let (elsewhere, files) = (other.host.clone(), files(&[("1", &image("amd64", 32, &[5000]))]));
        let registry = Server::start(move |seen| match seen.header("authorization") {
            _ if part == "/v2/" && seen.path == part => Reply::redirect(&format!("http://{elsewhere}/")),
            Some(BASIC) if part != "/v2/" && seen.path.starts_with(part) => {
                Reply::redirect(&format!("http://{elsewhere}{}", seen.path))
            }
            Some(BASIC) => give(&files, seen),
            _ => Reply::status(401, "").header("WWW-Authenticate", "Basic realm=\"r\""),
        });
        let pulled = Home::new().pull(&registry.host, somebody(), "app:1");
        assert!(evil.seen().is_empty(), "{part}: {:?}", evil.seen());
        assert!(
            !other.seen().is_empty()
                && other.seen().iter().all(|seen| seen.header("authorization").is_none())
        );
        // How it is found out that there is a registry does not matter once there is.
        match (part, pulled) {
            ("/v2/", pulled) => drop(pulled.unwrap()),
            (_, pulled) => {
                let error = pulled.unwrap_err().to_string();
                assert!(error.contains(&format!("refers to {}", other.host)), "{error}");
                assert!(!error.contains("vmrun login"), "{error}");
            }
        }
    }
}

#[test]
fn a_token_that_is_not_given_is_told_by_what_would_help() {
    let told = |status: u16, login: Option<Login>| {
        let refuse = move |_: &Seen| Reply::status(status, r#"{"details":"because"}"#);
        let (registry, tokens) = registry_with_tokens(100, refuse);
        let error = Home::new().pull(&registry.host, login, "app:1").unwrap_err().to_string();
        error.replace(&registry.host, "REGISTRY").replace(&tokens.host, "TOKENS")
    };
    let needed = "REGISTRY does not let anybody pull app without credentials, or there is no such repository: \
                  try `vmrun login REGISTRY`";
    for status in [401, 403] {
        let said = told(status, None);
        assert!(said.contains(needed), "{status}: {said}");
    }
    let said = told(401, somebody());
    assert!(said.contains("TOKENS does not accept that user name and password: because"), "{said}");
    let said = told(403, somebody());
    assert!(said.contains("TOKENS does not let you pull app: because"), "{said}");
}

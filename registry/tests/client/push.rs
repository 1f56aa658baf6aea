//! Pushing to registries that are not as obliging as the real one.

use std::sync::{Arc, Mutex};

use rootfs_builder::digest::Digest;
use rootfs_builder::progress::Silent;
use rootfs_builder::reference::Reference;
use rootfs_builder::store::Store;

use crate::image::{Image, image};
use crate::server::{Reply, Seen, Server};
use crate::{Home, registry, somebody};

/// A store that has the image, as if pulled from `HOST/app:1`.
fn stored(image: &Image, host: &str) -> Home {
    let home = Home::new();
    let source = Server::registry(&[("1", image)], |_| None);
    home.pull(&source.host, None, "app:1").unwrap();
    home.store.tag(&format!("{}/app:1", source.host), &format!("{host}/app:1").parse().unwrap()).unwrap();
    home
}

fn push(store: &Store, host: &str) -> Result<(), String> {
    let name: Reference = format!("{host}/app:1").parse().unwrap();
    let outgoing = store.outgoing(&name).unwrap();
    registry(host, somebody())
        .repository("app")
        .push(&outgoing, "1", &Silent)
        .map_err(|error| error.to_string())
}

type Uploads = Arc<Mutex<Vec<Vec<u8>>>>;

/// Takes everything; `first` may answer before it does.
fn registry_that_takes(first: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) -> (Server, Uploads) {
    let uploads: Uploads = Arc::default();
    let kept = uploads.clone();
    let server = Server::start(move |seen| {
        if let Some(reply) = first(seen) {
            return reply;
        }
        match seen.method.as_str() {
            "HEAD" => Reply::status(404, ""),
            "POST" => Reply::status(202, "").header("Location", "/v2/app/blobs/uploads/7?state=x%3D"),
            "PUT" => {
                kept.lock().unwrap().push(seen.body.clone());
                Reply::status(201, "")
            }
            _ => Reply::ok("", "{}"),
        }
    });
    (server, uploads)
}

#[test]
fn blobs_arrive_whole_and_the_manifest_last() {
    let image = image("amd64", 40, &[300_000, 1_200_000]);
    let (server, uploads) = registry_that_takes(|seen| {
        // The first attempt at an upload fails.
        (seen.method == "PUT" && seen.path.contains("blobs") && seen.earlier == 0)
            .then(|| Reply::status(502, ""))
    });
    let home = stored(&image, &server.host);
    push(&home.store, &server.host).unwrap();
    let uploads = uploads.lock().unwrap();
    for blob in image.layers.iter().chain([&image.config]) {
        assert!(uploads.contains(blob));
    }
    assert_eq!(uploads.last().unwrap(), &image.manifest, "as it came, byte for byte");
    let seen = server.seen();
    let last = seen.last().unwrap();
    assert_eq!(
        (last.line(), last.header("content-type")),
        ("PUT /v2/app/manifests/1".into(), Some(crate::image::MANIFEST))
    );
    let digest = Digest::of(&image.config).to_string().replace(':', "%3A");
    assert!(
        seen.iter().any(|seen| seen.path == format!("/v2/app/blobs/uploads/7?state=x%3D&digest={digest}"))
    );
}

/// To mount a blob, a token has to be good for both repositories.
#[test]
fn a_mount_asks_for_both_repositories() {
    let image = image("amd64", 42, &[1000]);
    let tokens = Server::start(|_| Reply::ok("", r#"{"token":"good"}"#));
    let realm = format!("Bearer realm=\"http://{}/\",service=\"s\"", tokens.host);
    let (server, uploads) = registry_that_takes(move |seen| match seen.header("authorization") {
        Some("Bearer good") if seen.path.contains("?mount=") => Some(Reply::status(201, "")),
        Some("Bearer good") => None,
        _ => Some(Reply::status(401, "").header("WWW-Authenticate", &realm)),
    });
    let home = stored(&image, &server.host);
    let other = format!("{}/team/base:1", server.host).parse().unwrap();
    home.store.tag(&format!("{}/app:1", server.host), &other).unwrap();
    push(&home.store, &server.host).unwrap();
    assert!(
        *uploads.lock().unwrap() == [image.manifest],
        "nothing but the manifest is sent: {:#?}",
        server.lines()
    );
    let asked: Vec<String> = tokens.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(
        asked,
        [
            "/?service=s&scope=repository%3Aapp%3Apull%2Cpush",
            "/?service=s&scope=repository%3Aapp%3Apull%2Cpush&scope=repository%3Ateam%2Fbase%3Apull",
        ]
    );
    let from = server.seen().into_iter().filter(|seen| seen.path.ends_with("&from=team%2Fbase")).count();
    assert!(from >= 2, "the layer and the configuration");
}

#[test]
fn registries_that_take_nothing() {
    let image = image("amd64", 41, &[1000]);
    let fails = |answer: fn(&Seen) -> Option<Reply>, word: &str| {
        let (server, _) = registry_that_takes(answer);
        let home = stored(&image, &server.host);
        let error = push(&home.store, &server.host).unwrap_err();
        assert!(error.contains(word) && error.lines().count() == 1, "{error}");
    };
    fails(|seen| (seen.method == "POST").then(|| Reply::status(202, "")), "cannot be understood");
    fails(
        |seen| (seen.method == "POST").then(|| Reply::status(202, "").header("Location", "file:///etc/x")),
        "not an address",
    );
    fails(
        |seen| {
            (seen.method == "POST").then(|| Reply::status(202, "").header("Location", "http://192.0.2.1/"))
        },
        "without TLS",
    );
    fails(|seen| (seen.method == "POST").then(|| Reply::status(403, "")), "does not let");
    fails(|seen| (seen.method == "POST").then(|| Reply::status(405, "")), "answered 405");
    fails(|seen| (seen.method == "PUT").then(|| Reply::status(500, "")), "answered 500");
    const SAYS: &str = r#"{"errors":[{"message":"too large for us"}]}"#;
    fails(|seen| (seen.method == "PUT").then(|| Reply::status(413, SAYS)), "too large for us");
    fails(
        |seen| {
            let other = Digest::of(b"other").to_string();
            seen.path
                .contains("manifests/1")
                .then(|| Reply::status(201, "").header("Docker-Content-Digest", &other))
        },
        "under the digest",
    );
}

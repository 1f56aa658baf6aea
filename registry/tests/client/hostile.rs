//! Registries that mean harm, or are broken: one line, in bounded time, and a store as it was.

use std::time::{Duration, Instant};

use rootfs_builder::digest::Digest;

use crate::image::{INDEX, MANIFEST, image};
use crate::server::{Reply, Seen, Server, blob_path, files, give};
use crate::{Home, somebody};

/// Pulls from a registry with a good image whose answers are replaced by `answer`, and sees that it fails with
/// each of `words`, and leaves nothing behind.
#[track_caller]
fn fails(answer: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static, words: &[&str]) -> Server {
    let (good, other) = (image("amd64", 20, &[40_000]), image("amd64", 21, &[40_000, 600_000]));
    let server = Server::registry(&[("good", &good.clone()), ("bad", &other)], move |seen| {
        let concerned = !seen.path.contains("good") && seen.path != blob_path(&good.config);
        if concerned && seen.path != blob_path(&good.layers[0]) { answer(seen) } else { None }
    });
    let home = Home::new();
    let kept = home.pull(&server.host, None, "app:good").unwrap();
    let before = home.contents();
    let begun = Instant::now();
    let error = home.pull(&server.host, somebody(), "app:bad").expect_err("refused").to_string();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    for word in words {
        assert!(error.contains(word), "no {word:?} in: {error}");
    }
    assert!(error.len() < 500 && !error.contains(['\n', '\r', '\x1b']), "{error:?}");
    // Whole layers may stay for the next attempt, until somebody cleans up.
    assert!(before.iter().all(|kept| home.contents().contains(kept)));
    assert!(!home.contents().iter().any(|path| path.starts_with("tmp")), "{:?}", home.contents());
    home.store.collect().unwrap();
    assert_eq!(home.contents(), before);
    assert_eq!(home.store.resolve(&format!("{}/app:good", server.host)).unwrap().id(), kept.id);
    assert!(!home.path().join("oci/index.json.damaged").exists());
    server
}

/// The answer to requests whose path has `part` in it.
fn to(
    part: &'static str,
    reply: impl Fn() -> Reply + Send + Sync,
) -> impl Fn(&Seen) -> Option<Reply> + Send + Sync {
    move |seen| seen.path.contains(part).then(&reply)
}

/// The one large layer of the image that is pulled.
fn layer() -> Vec<u8> {
    image("amd64", 21, &[40_000, 600_000]).layers[1].clone()
}

fn to_layer(
    reply: impl Fn(Vec<u8>) -> Reply + Send + Sync + 'static,
) -> impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static {
    let layer = layer();
    let path = blob_path(&layer);
    move |seen| (seen.path == path).then(|| reply(layer.clone()))
}

#[test]
fn a_401_for_ever() {
    let basic = || Reply::status(401, "").header("WWW-Authenticate", "Basic realm=\"x\"");
    let server = fails(to("manifests/bad", basic), &["vmrun login 127.0.0.1:"]);
    let times = server.seen().iter().filter(|seen| seen.path.contains("bad")).count();
    assert_eq!(times, 2, "once without credentials, once with them");
    fails(to("manifests/bad", || Reply::status(401, "")), &["kind that is not supported"]);
    let odd = || Reply::status(401, "").header("WWW-Authenticate", "Negotiate, \"=,");
    fails(to("manifests/bad", odd), &["kind that is not supported"]);
}

#[test]
fn errors_for_ever() {
    let page = "<html>".to_owned() + &"x".repeat(1 << 20);
    let server = fails(to("manifests/bad", move || Reply::status(500, page.clone())), &["answered 500"]);
    assert_eq!(server.seen().iter().filter(|seen| seen.path.contains("bad")).count(), 4);
    let says = r#"{"errors":[{"code":"X","message":"come\n\u001b[31m later"}]}"#;
    fails(to_layer(move |_| Reply::status(503, says)), &["answered 503", "come \\u{1b}[31m later"]);
    fails(to_layer(|_| Reply::status(429, "").header("Retry-After", "99999999")), &["too many requests"]);
    fails(to_layer(|_| Reply::status(404, "")), &["was not found"]);
    fails(to("manifests/bad", || Reply::status(403, r#"{"errors":[{"message":"not you"}]}"#)), &["pull app"]);
    fails(to("manifests/bad", || Reply::status(302, "")), &["answered 302"]);
    fails(to("manifests/bad", || Reply::status(101, "")), &["127.0.0.1"]);
}

#[test]
fn bodies_of_the_wrong_length() {
    fails(to_layer(|layer| Reply::ok("", layer).cut(0)), &["closed in the middle"]);
    // Without any progress: every answer is the same half.
    fails(to_layer(|layer| Reply::ok("", layer).cut(300_000)), &["closed in the middle"]);
    let claims = |length: usize| {
        move |body: Vec<u8>| Reply::bare(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n"), body)
    };
    let length = layer().len();
    fails(to_layer(claims(length - 1)), &["bytes on", &(length - 1).to_string()]);
    fails(to_layer(claims(length + 1)), &["bytes on", &(length + 1).to_string()]);
    fails(to_layer(claims(usize::MAX)), &["127.0.0.1"]);
    let nonsense = |body: Vec<u8>| Reply::bare("HTTP/1.1 200 OK\r\nContent-Length: many\r\n", body);
    fails(to_layer(nonsense), &["127.0.0.1"]);
}

#[test]
fn content_that_is_not_what_was_named() {
    let flipped = |mut layer: Vec<u8>| {
        layer[300_000] ^= 1;
        Reply::ok("", layer)
    };
    fails(to_layer(flipped), &["has the digest"]);
    let good = image("amd64", 20, &[40_000]);
    fails(to_layer(|_| Reply::ok("", "short")), &["bytes on"]);
    let chunked = |body: Vec<u8>| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";
        let size = format!("{:x}\r\n", body.len());
        Reply::bare(head, [size.as_bytes(), &body, b"\r\n5\r\nextra\r\n0\r\n\r\n"].concat())
    };
    fails(to_layer(chunked), &["too long"]);
    let config = blob_path(&image("amd64", 21, &[40_000, 600_000]).config);
    fails(move |seen| (seen.path == config).then(|| Reply::ok("", good.config.clone())), &["configuration"]);
    fails(to("manifests/bad", || Reply::ok(MANIFEST, "no json")), &["cannot be understood"]);
    fails(to("manifests/bad", || Reply::ok(MANIFEST, "[]")), &["cannot be understood"]);
    let old = r#"{"schemaVersion":1,"mediaType":"application/vnd.docker.distribution.manifest.v1+json"}"#;
    fails(to("manifests/bad", move || Reply::ok("", old)), &["no container image"]);
}

#[test]
fn documents_without_end() {
    let huge = || Reply::bare("HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n", vec![b' '; 1000]).endless();
    fails(to("manifests/bad", huge), &["larger than 4194304 bytes"]);
    let block = || [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    let endless = move || Reply::bare("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", block()).endless();
    fails(to("manifests/bad", endless), &["larger than 4194304 bytes"]);
    let unbounded = || Reply::bare("HTTP/1.1 200 OK\r\n", vec![b' '; 1 << 16]).endless();
    fails(to("manifests/bad", unbounded), &["larger than 4194304 bytes"]);
    fails(to_layer(|layer| Reply::bare("HTTP/1.1 200 OK\r\n", layer).endless()), &["too long"]);
    let headers = || Reply::bare("HTTP/1.1 200 OK\r\n", "X-Again: and again\r\n".repeat(100)).endless();
    fails(to("manifests/bad", headers), &["127.0.0.1"]);
}

#[test]
fn an_index_that_refers_to_itself() {
    // A document cannot name its own digest, so it is served under one that it has not.
    let claimed = Digest::of(b"anything");
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{{"mediaType":"{INDEX}","digest":"{claimed}","size":SIZE}}]}}"#
    );
    let length = text.len() - 1;
    let text = text.replace("SIZE", &length.to_string());
    assert_eq!(text.len(), length);
    fails(
        move |seen| seen.path.contains("manifests").then(|| Reply::ok(INDEX, text.clone())),
        &["index", "digest"],
    );
    // One that has nothing in it, named twice, is looked into once.
    let twice = |seen: &Seen| {
        let entry = |depth: usize| {
            let text = format!(
                "{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[]}}{}",
                " ".repeat(depth)
            );
            (Digest::of(text.as_bytes()), text)
        };
        let (digest, text) = entry(1);
        let top = format!(
            r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#,
            format!(r#"{{"mediaType":"{INDEX}","digest":"{digest}","size":{}}},"#, text.len())
                .repeat(2)
                .trim_end_matches(',')
        );
        seen.path.contains("manifests").then(|| match seen.path.ends_with("bad") {
            true => Reply::ok(INDEX, top),
            false => Reply::ok(INDEX, text),
        })
    };
    fails(twice, &["holds no image"]);
}

/// Many documents that are no images, and a layer that no disk holds.
#[test]
fn demands_without_bound() {
    let entry = |number: usize| {
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/x","digest":"{}","size":2}},"layers":[],"annotations":{{"n":"{number}"}}}}"#,
            Digest::of(b"{}")
        );
        (Digest::of(text.as_bytes()), text)
    };
    let documents: Vec<(Digest, String)> = (0..500).map(entry).collect();
    let names: Vec<String> = documents
        .iter()
        .map(|(digest, text)| {
            format!(r#"{{"mediaType":"{MANIFEST}","digest":"{digest}","size":{}}}"#, text.len())
        })
        .collect();
    let top = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#, names.join(","));
    let many = move |seen: &Seen| {
        let found = documents.iter().find(|(digest, _)| seen.path.ends_with(&digest.to_string()));
        match found {
            Some((_, text)) => Some(Reply::ok(MANIFEST, text.clone())),
            None => seen.path.ends_with("bad").then(|| Reply::ok(INDEX, top.clone())),
        }
    };
    fails(many, &["more than 128 documents"]);
    let bad = image("amd64", 21, &[40_000, 600_000]);
    let size = format!(r#""size":{}"#, bad.layers[1].len());
    let manifest = String::from_utf8(bad.manifest).unwrap().replace(&size, r#""size":9000000000000000000"#);
    fails(
        move |seen| seen.path.ends_with("bad").then(|| Reply::ok(MANIFEST, manifest.clone())),
        &["the limit for one layer"],
    );
}

#[test]
fn redirects() {
    fails(to("manifests/bad", || Reply::redirect("/v2/app/manifests/bad")), &["redirects more than 5 times"]);
    fails(to("manifests/bad", || Reply::redirect("file:///etc/passwd")), &["not an address"]);
    fails(to("manifests/bad", || Reply::redirect("ftp://127.0.0.1/x")), &["not an address"]);
    fails(to("manifests/bad", || Reply::redirect("http://192.0.2.1/x")), &["without TLS"]);
    fails(to("manifests/bad", || Reply::redirect("http://")), &["not an address"]);
    fails(to_layer(|_| Reply::redirect("..")), &["127.0.0.1"]);
}

#[test]
fn answers_that_take_for_ever() {
    let slow = Duration::from_millis(120);
    fails(to("manifests/bad", move || Reply::ok(MANIFEST, "{}").drip(slow)), &["in time"]);
    fails(to("manifests/bad", || Reply::ok(MANIFEST, "{}").hang(1)), &["127.0.0.1"]);
    fails(
        to_layer(move |layer| Reply::bare("HTTP/1.1 200 OK\r\n", layer).drip(Duration::from_millis(40))),
        &["127.0.0.1"],
    );
}

#[test]
fn what_is_no_http() {
    for nonsense in
        ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 999999 X\r\n", "\r\n\r\n", "HTTP/1.1 200 OK\r\nBad Header\r\n"]
    {
        fails(to("manifests/bad", move || Reply::bare(nonsense, "")), &["127.0.0.1"]);
    }
}

/// A name that comes from a document never becomes a path of the host's.
#[test]
fn names_that_lead_elsewhere() {
    for name in ["../../../../etc/passwd", "sha256:../../../../etc/passwd", "sha256:abc"] {
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{name}","size":2}},"layers":[]}}"#
        );
        fails(to("manifests/bad", move || Reply::ok(MANIFEST, manifest.clone())), &["manifest"]);
    }
    for name in [
        "127.0.0.1:1/../x",
        "127.0.0.1:1/a/../b",
        "127.0.0.1:1/a:..",
        "127.0.0.1:1/a\r\nX: y",
        "127.0.0.1:1/a b",
    ] {
        assert!(name.parse::<rootfs_builder::reference::Reference>().is_err(), "{name}");
    }
}

#[test]
fn nobody_there() {
    let home = Home::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = home.pull(&free.to_string(), None, "app:1").unwrap_err().to_string();
    assert!(error.contains("cannot reach") && error.contains("nothing answers"), "{error}");
    let files = files(&[]);
    let empty = Server::start(move |seen| give(&files, seen));
    let error = home.pull(&empty.host, None, "app:1").unwrap_err().to_string();
    assert!(error.contains("app:1 was not found"), "{error}");
}

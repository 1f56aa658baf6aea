//! Pulling: nothing twice, and no further than a broken connection makes necessary.

use std::time::{Duration, Instant};

use rootfs_builder::digest::Digest;
use rootfs_builder::image::Platform;
use rootfs_builder::progress::Silent;

use crate::image::{INDEX, image, index};
use crate::server::{Reply, Server, blob_path, files, give, range};
use crate::{Home, registry};

#[test]
fn a_blob_that_breaks_off_is_read_on_from_where_it_broke() {
    let image = image("amd64", 1, &[3 << 20]);
    let layer = image.layers[0].clone();
    let path = blob_path(&layer);
    let (cuts, bytes) = ([1_000_000, 700_000, 1], layer.clone());
    let server = Server::registry(&[("1", &image)], move |seen| {
        let cut = *cuts.get(seen.earlier).filter(|_| seen.path == path)?;
        let from = range(seen).unwrap_or(0);
        let rest = &bytes[from..];
        Some(
            match from {
                0 => Reply::ok("application/octet-stream", rest),
                _ => Reply::status(206, rest)
                    .header("Content-Range", &format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len())),
            }
            .cut(cut),
        )
    });
    let home = Home::new();
    home.pull(&server.host, None, "app:1").unwrap();
    let ranges: Vec<Option<usize>> =
        server.seen().iter().filter(|seen| seen.path == blob_path(&layer)).map(range).collect();
    assert_eq!(ranges, [None, Some(1_000_000), Some(1_700_000), Some(1_700_001)]);
}

/// One that begins anew is read over, and one that goes silent counts as broken.
#[test]
fn a_registry_without_ranges_will_do() {
    let image = image("amd64", 2, &[2 << 20]);
    let layer = image.layers[0].clone();
    let server = Server::registry(&[("1", &image)], move |seen| {
        let whole = Reply::ok("application/octet-stream", layer.clone());
        (seen.path == blob_path(&layer)).then(|| match seen.earlier {
            0 => whole.hang(500_000),
            1 => whole.cut(900_000),
            _ => whole,
        })
    });
    Home::new().pull(&server.host, None, "app:1").unwrap();
}

#[test]
fn what_fails_for_a_while_is_tried_again() {
    let image = image("amd64", 3, &[100]);
    let path = blob_path(&image.config);
    let server = Server::registry(&[("1", &image)], move |seen| match (seen.path.as_str(), seen.earlier) {
        ("/v2/app/manifests/1", 0) => Some(Reply::status(503, "")),
        ("/v2/app/manifests/1", 1) => Some(Reply::ok("", "{").cut(0)),
        (asked, 0) if asked == path => Some(Reply::status(429, "").header("Retry-After", "3600")),
        _ => None,
    });
    let begun = Instant::now();
    Home::new().pull(&server.host, None, "app:1").unwrap();
    // An hour was asked for; what the client's patience allows was waited.
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn only_what_is_missing_is_fetched() {
    let base = image("amd64", 4, &[50_000]);
    let derived = image("amd64", 4, &[50_000, 60_000]);
    assert_eq!(base.layers[0], derived.layers[0]);
    let server = Server::registry(&[("base", &base), ("derived", &derived)], |_| None);
    let home = Home::new();
    let first = home.pull(&server.host, None, "app:base").unwrap();
    assert_eq!((first.digest, first.up_to_date), (Digest::of(&base.manifest), false));
    let before = server.lines().len();
    home.pull(&server.host, None, "app:derived").unwrap();
    let get = |bytes: &[u8]| format!("GET {}", blob_path(bytes));
    let expected =
        ["GET /v2/app/manifests/derived".to_owned(), get(&derived.config), get(&derived.layers[1])];
    assert_eq!(server.lines()[before..], expected);

    let before = server.lines().len();
    assert!(home.pull(&server.host, None, "app:base").unwrap().up_to_date);
    assert_eq!(server.lines()[before..], ["HEAD /v2/app/manifests/base"]);
    let by_digest = format!("app@{}", Digest::of(&base.manifest));
    assert!(home.pull(&server.host, None, &by_digest).unwrap().up_to_date);
    assert_eq!(server.lines().len(), before + 1, "a digest stands for the same for ever");
}

/// An index is remembered as what the tag stood for, and both digests find the image.
#[test]
fn an_index_is_chosen_from_by_platform() {
    let (amd, arm) = (image("amd64", 5, &[1000]), image("arm64", 6, &[1000]));
    let both = index(&[("arm64", &arm), ("amd64", &amd)]);
    let mut files = files(&[("amd", &amd), ("arm", &arm)]);
    let digest = Digest::of(&both);
    files.insert("/v2/app/manifests/1".into(), (INDEX.into(), both.clone()));
    files.insert(format!("/v2/app/manifests/{digest}"), (INDEX.into(), both));
    let server = Server::start(move |seen| give(&files, seen));
    let home = Home::new();
    let name = |rest: &str| format!("{}/app{rest}", server.host);

    let pulled = home.pull(&server.host, None, &format!("app@{digest}")).unwrap();
    assert_eq!(pulled.digest, digest);
    let found = home.store.resolve(&name(&format!("@{digest}"))).unwrap();
    assert_eq!(found.platform(), &Platform::default());
    drop(found);

    assert!(!home.pull(&server.host, None, "app:1").unwrap().up_to_date);
    assert!(home.pull(&server.host, None, "app:1").unwrap().up_to_date);
    home.store.resolve(&name(&format!("@{}", Digest::of(&amd.manifest)))).unwrap();

    let tag = name(":1").parse().unwrap();
    let registry = registry(&server.host, None);
    let other: Platform = "linux/arm64".parse().unwrap();
    let pull = |platform| home.store.pull(&registry.repository("app"), &tag, platform, &Silent);
    assert!(!pull(&other).unwrap().up_to_date);
    assert_eq!(home.store.resolve(&name(":1")).unwrap().platform(), &other);
    let missing = pull(&"linux/riscv64".parse().unwrap()).unwrap_err().to_string();
    assert!(missing.contains("linux/riscv64") && missing.contains("linux/arm64, linux/amd64"), "{missing}");
}

/// What an attempt that failed has brought whole is not fetched by the next.
#[test]
fn a_second_attempt_goes_on() {
    let image = image("amd64", 9, &[200_000, 300_000]);
    let (first, second) = (blob_path(&image.layers[0]), blob_path(&image.layers[1]));
    let (late, times) = (second.clone(), image.layers[1].clone());
    let server = Server::registry(&[("1", &image)], move |seen| {
        // The first has time to be finished.
        std::thread::sleep(Duration::from_millis(if seen.path == late { 100 } else { 0 }));
        (seen.path == late && seen.earlier < 4).then(|| Reply::ok("", times.clone()).cut(1000))
    });
    let home = Home::new();
    home.pull(&server.host, None, "app:1").unwrap_err();
    home.pull(&server.host, None, "app:1").unwrap();
    let count = |path: &str| server.seen().iter().filter(|seen| seen.path == path).count();
    assert_eq!((count(&first), count(&second)), (1, 5));
}

#[test]
fn two_pulls_at_once_fetch_each_layer_once() {
    let image = image("amd64", 7, &[900_000, 800_000, 700_000]);
    let blobs: Vec<String> = image.layers.iter().map(|layer| blob_path(layer)).collect();
    let server = Server::registry(&[("1", &image)], |seen| {
        // Slow enough that both are under way.
        std::thread::sleep(Duration::from_millis(if seen.path.contains("blobs") { 100 } else { 0 }));
        None
    });
    let home = Home::new();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| home.pull(&server.host, None, "app:1").unwrap());
        }
    });
    for blob in blobs {
        let times = server.seen().iter().filter(|seen| seen.path == blob).count();
        assert_eq!(times, 1, "{blob}");
    }
}

/// Docker's media types, and none at all.
#[test]
fn media_types_are_taken_from_where_they_are() {
    let image = image("amd64", 8, &[500]);
    let text = String::from_utf8(image.manifest.clone()).unwrap();
    let docker = text
        .replace(
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.docker.distribution.manifest.v2+json",
        )
        .replace("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
        .replace(
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        );
    let silent = text.replace(r#""mediaType":"application/vnd.oci.image.manifest.v1+json","#, "");
    assert!(silent != text && docker != text);
    for manifest in [docker, silent] {
        let mut files = files(&[("1", &image)]);
        let kind = if manifest.contains("docker") { "application/json; charset=utf-8" } else { "text/plain" };
        files.insert("/v2/app/manifests/1".into(), (kind.into(), manifest.into_bytes()));
        let server = Server::start(move |seen| give(&files, seen));
        Home::new().pull(&server.host, None, "app:1").unwrap();
    }
}

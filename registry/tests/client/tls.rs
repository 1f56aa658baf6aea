//! TLS with certificates that are not as they should be.

use std::net::TcpStream;
use std::sync::Arc;

use registry::{Credentials, Options, Registry};
use rootfs_builder::progress::Silent;
use rootfs_builder::reference::Reference;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::image::{Image, image};
use crate::server::{Server, files, give};
use crate::{Home, patience};

/// A registry with a self-signed certificate for its address that is valid in these years.
fn registry_with_tls(image: &Image, from: i32, to: i32) -> Server {
    let mut parameters = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(to, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let (config, files) = (Arc::new(config), files(&[("1", image)]));
    Server::start_with(
        move |seen| give(&files, seen),
        move |stream: &mut TcpStream, serve| {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let stream = stream.try_clone().unwrap();
            serve(&mut rustls::StreamOwned::new(connection, stream));
        },
    )
}

fn pull(server: &Server, insecure: bool) -> Result<(), String> {
    let name: Reference = format!("{}/app:1", server.host).parse().unwrap();
    let options = Options { insecure, patience: patience() };
    let registry = Registry::new(name.registry(), Credentials::only(None), options).unwrap();
    let pulled = Home::new().store.pull(&registry.repository("app"), &name, &Default::default(), &Silent);
    pulled.map(|_| ()).map_err(|error| error.to_string())
}

/// On loopback, too, and never by going on without TLS.
#[test]
fn certificates_are_checked_unless_insecure_was_asked_for() {
    let image = image("amd64", 50, &[1000]);
    let now = rootfs_builder::image::format_time(std::time::SystemTime::now()).unwrap();
    let year = now[..4].to_owned();
    let cases = [
        (1990, 2000, vec!["has expired", "set the clock", year.as_str()]),
        (2200, 2300, vec!["is not valid yet", "set the clock"]),
        (2000, 2300, vec!["is not trusted", "--insecure"]),
    ];
    for (from, to, words) in cases {
        let server = registry_with_tls(&image, from, to);
        let error = pull(&server, false).unwrap_err();
        for word in words {
            assert!(error.contains(word), "no {word:?} in: {error}");
        }
        assert_eq!(server.lines(), Vec::<String>::new(), "nothing was asked without trust");
        pull(&server, true).unwrap();
    }
}

//! Why there was no answer, in words, and whether it is worth another attempt.

use std::io;
use std::time::SystemTime;

use rootfs_builder::image::format_time;
use rustls::CertificateError;
use ureq::Timeout;
use ureq::http::Uri;

use super::host_of;
use crate::Error;
use crate::error::shown;

pub enum Failure {
    /// The connection broke, or nothing came for too long; it may be better next time.
    Broken(String),
    /// It will not be better next time.
    Final(Box<Error>),
}

const NO_SUCH_HOST: &str = "failed to lookup address information";

fn no_such_host() -> String {
    "its name leads to no address; is the name right, and the network there?".into()
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Final(Box::new(error))
    }
}

/// `reached`: whether the registry has answered before.
pub fn classify(url: &Uri, error: ureq::Error, reached: bool) -> Failure {
    let host = host_of(url);
    let unreachable = |reason: String| match reached {
        true => Failure::Broken(reason),
        false => Error::Unreachable { host: host.clone(), reason }.into(),
    };
    match error {
        ureq::Error::Rustls(error) => tls(host, &error).into(),
        ureq::Error::Io(error) => {
            if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                return tls(host, error).into();
            }
            match error.kind() {
                io::ErrorKind::ConnectionRefused => unreachable("nothing answers there".into()),
                io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::AddrNotAvailable => unreachable(reason_of(&error)),
                // The standard library has no kind for it.
                _ if error.to_string().starts_with(NO_SUCH_HOST) => unreachable(no_such_host()),
                _ => Failure::Broken(reason_of(&error)),
            }
        }
        ureq::Error::HostNotFound => unreachable(no_such_host()),
        ureq::Error::ConnectionFailed => unreachable("no connection".into()),
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => unreachable("no answer in time".into()),
        ureq::Error::Timeout(_) => Failure::Broken("no answer in time".into()),
        error => Error::Protocol { host, reason: shown(&error.to_string()) }.into(),
    }
}

/// What a broken connection is called.
pub fn reason_of(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "the connection was closed in the middle".into()
        }
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "nothing came for too long".into(),
        _ => shown(&error.to_string()),
    }
}

fn tls(host: String, error: &rustls::Error) -> Error {
    let clock = |what| {
        let now = format_time(SystemTime::now()).unwrap_or_else(|| "no date at all".into());
        // Fractions of a second are of no interest.
        let now = now.split_once('.').map_or_else(|| now.clone(), |(seconds, _)| format!("{seconds}Z"));
        Error::Clock { host: host.clone(), what, now }
    };
    match error {
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => clock("has expired"),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => clock("is not valid yet"),
        rustls::Error::InvalidCertificate(reason) => {
            let reason = match reason {
                CertificateError::UnknownIssuer => "nobody known has issued it".into(),
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "it is for another name".into()
                }
                other => shown(&other.to_string()),
            };
            Error::Certificate { host, reason }
        }
        rustls::Error::General(reason) if reason.contains("CA certificates") => {
            Error::NoAuthorities(shown(reason))
        }
        rustls::Error::InvalidMessage(_) => {
            Error::Tls { host, reason: "it does not speak TLS; --insecure also tries without".into() }
        }
        error => Error::Tls { host, reason: shown(&error.to_string()) },
    }
}

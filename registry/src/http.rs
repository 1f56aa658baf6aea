//! HTTP as a registry's client needs it: bounded, patient, and careful about where it is sent.
//!
//! Requests that fail for a while (429, 5xx, broken connections) are repeated. Redirects are followed here and not
//! by the library, because credentials must not go along to another host, and TLS must not be lost on the way.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, LOCATION, RETRY_AFTER};
use ureq::http::{self, HeaderMap, HeaderName, HeaderValue, Method, Uri};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, AsSendBody, SendBody};

mod failure;
mod location;
mod message;

pub use failure::{Failure, reason_of};
pub use location::resolve;

use crate::host::is_loopback;
use crate::{Error, Patience, Result};

/// Hops after which a redirect is one too many.
const REDIRECTS: u32 = 5;
/// Bytes of an error's body that are looked at.
const ERROR_BYTES: u64 = 64 << 10;
/// Bytes of an answer in which nothing is looked for.
const UNUSED: u64 = 64 << 10;
/// Bytes read from a connection at once.
const INPUT_BUFFER: usize = 256 << 10;
const OUTPUT_BUFFER: usize = 128 << 10;

pub struct Http {
    agent: Agent,
    pub patience: Patience,
    /// Whether what is not on loopback may come without TLS.
    plain: bool,
    /// Whether anything has ever been answered: then a connection that fails is worth another attempt.
    reached: AtomicBool,
}

/// What is sent, as often as it takes.
pub struct Request<'a> {
    pub method: Method,
    pub url: Uri,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Only for the host of `url`.
    pub authorization: Option<HeaderValue>,
    pub payload: Payload<'a>,
    pub want: Want<'a>,
}

pub enum Payload<'a> {
    Nothing,
    Bytes(&'a [u8]),
    /// A stream that can be opened again, and its length in bytes.
    Stream(&'a (dyn Fn() -> io::Result<Box<dyn Read + 'a>> + Sync), u64),
}

/// What is to be done with the body of an answer that is no error.
#[derive(Clone, Copy)]
pub enum Want<'a> {
    /// Read it, up to so many bytes; and how it is called if it is longer.
    Document(u64, &'a str),
    /// Hand it over.
    Stream,
}

impl<'a> Request<'a> {
    /// A plain request, to be changed where it differs.
    pub fn get(url: Uri) -> Request<'a> {
        Request {
            method: Method::GET,
            url,
            headers: Vec::new(),
            authorization: None,
            payload: Payload::Nothing,
            want: Want::Document(UNUSED, "its answer"),
        }
    }
}

/// What came back in the end.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// From where, after redirects.
    pub url: Uri,
    /// The body, if it was to be read.
    pub document: Vec<u8>,
    /// The body, if it was to be handed over.
    pub stream: Option<Box<dyn Read + Send>>,
    /// What the registry says about an error, in one line.
    pub message: String,
}

/// Through which proxies requests go.
pub enum Proxies {
    /// None at all.
    None,
    /// What `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` say.
    Environment,
    /// This one.
    This(ureq::Proxy),
}

impl Http {
    /// A registry's client: without TLS only on loopback, or when `insecure`.
    pub fn new(patience: Patience, insecure: bool, proxies: Proxies) -> Http {
        Http::build(patience, insecure, insecure, proxies)
    }

    /// For what is signed, and so may come over any connection.
    pub fn of_signed(patience: Patience, proxies: Proxies) -> Http {
        Http::build(patience, false, true, proxies)
    }

    fn build(patience: Patience, insecure: bool, plain: bool, proxies: Proxies) -> Http {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .disable_verification(insecure)
            .build();
        let mut config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("vmrun/", env!("CARGO_PKG_VERSION")))
            .input_buffer_size(INPUT_BUFFER)
            .output_buffer_size(OUTPUT_BUFFER)
            .timeout_resolve(Some(patience.connect))
            .timeout_connect(Some(patience.connect))
            .timeout_per_read(Some(patience.silence))
            .timeout_per_write(Some(patience.silence))
            .timeout_recv_response(Some(patience.silence));
        config = match proxies {
            Proxies::None => config.proxy(None),
            Proxies::Environment => config,
            Proxies::This(proxy) => config.proxy(Some(proxy)),
        };
        Http {
            agent: Agent::new_with_config(config.build()),
            patience,
            plain,
            reached: AtomicBool::new(false),
        }
    }

    /// Sends, and repeats what fails for a while. Any answer but 429 and 5xx comes back, errors too, and these in
    /// the end.
    pub fn send(&self, request: &Request) -> Result<Answer> {
        let mut failures = 0;
        loop {
            let result = self.follow(request);
            failures += 1;
            let spent = failures >= self.patience.attempts;
            let asked = match result {
                Ok(answer) if !is_for_a_while(answer.status) || spent => return Ok(answer),
                Ok(answer) => answer.retry_after(),
                Err(Failure::Final(error)) => return Err(*error),
                Err(Failure::Broken(reason)) if spent => {
                    let host = host_of(&request.url);
                    return Err(Error::Broken { host, reason, attempts: failures });
                }
                Err(Failure::Broken(_)) => None,
            };
            thread::sleep(self.patience.delay(failures, asked));
        }
    }

    /// Sends once, whatever comes of it.
    pub fn send_once(&self, request: &Request) -> Result<Answer> {
        self.follow(request).map_err(|failure| match failure {
            Failure::Final(error) => *error,
            Failure::Broken(reason) => Error::Broken { host: host_of(&request.url), reason, attempts: 1 },
        })
    }

    /// One attempt, with the redirects it leads to.
    fn follow(&self, request: &Request) -> std::result::Result<Answer, Failure> {
        let mut url = request.url.clone();
        for _ in 0..=REDIRECTS {
            let answer = self.once(request, &url)?;
            let is_redirect = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
            let safe = request.method == Method::GET || request.method == Method::HEAD;
            match answer.headers.get(LOCATION).filter(|_| is_redirect && safe) {
                None => return Ok(answer),
                Some(location) => url = self.check(resolve(&url, location.as_bytes())?, &url)?,
            }
        }
        Err(Error::Redirects { host: host_of(&request.url), limit: REDIRECTS }.into())
    }

    /// Whether an address that `from` has given may be used.
    pub fn check(&self, url: Uri, from: &Uri) -> Result<Uri> {
        let host = host_of(from);
        match url.scheme_str() {
            Some("https") => Ok(url),
            Some("http") if from.scheme_str() == Some("https") => Err(Error::Downgrade { host }),
            Some("http") if self.plain || is_loopback(&url) => Ok(url),
            Some("http") => Err(Error::Plain { host, url: crate::error::shown(&url.to_string()) }),
            _ => Err(Error::RedirectTarget { host, to: crate::error::shown(&url.to_string()) }),
        }
    }

    fn once(&self, request: &Request, url: &Uri) -> std::result::Result<Answer, Failure> {
        let failed = |error: ureq::Error| failure::classify(url, error, self.reached.load(Ordering::Relaxed));
        let mut builder = http::Request::builder().method(&request.method).uri(url);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if let Some(authorization) = &request.authorization
            && same_place(url, &request.url)
        {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        let (mut source, length): (Box<dyn Read>, Option<u64>) = match &request.payload {
            Payload::Nothing if request.method == Method::POST => (Box::new(io::empty()), Some(0)),
            Payload::Nothing => (Box::new(io::empty()), None),
            Payload::Bytes(bytes) => (Box::new(*bytes), Some(bytes.len() as u64)),
            Payload::Stream(open, length) => {
                (open().map_err(|error| Failure::Broken(error.to_string()))?, Some(*length))
            }
        };
        let response = match length {
            Some(length) => {
                let body = SendBody::from_reader(&mut *source);
                let sent = builder.header(CONTENT_LENGTH, length).body(body);
                self.run(sent.map_err(|error| failed(error.into()))?, request)
            }
            None => self.run(builder.body(()).map_err(|error| failed(error.into()))?, request),
        };
        let response = response.map_err(failed)?;
        self.reached.store(true, Ordering::Relaxed);
        read_answer(request, url, response)
    }

    fn run(
        &self,
        message: http::Request<impl AsSendBody>,
        request: &Request,
    ) -> std::result::Result<http::Response<ureq::Body>, ureq::Error> {
        let patience = &self.patience;
        let configured = self.agent.configure_request(message);
        let configured = match (&request.payload, request.want) {
            (Payload::Stream(..), _) => configured
                .timeout_per_read(Some(patience.commit))
                .timeout_recv_response(Some(patience.commit)),
            (_, Want::Document(..)) => configured.timeout_global(Some(patience.document)),
            (_, Want::Stream) => configured,
        };
        self.agent.run(configured.build())
    }
}

/// Takes the body as it is wanted.
fn read_answer(
    request: &Request,
    url: &Uri,
    response: http::Response<ureq::Body>,
) -> std::result::Result<Answer, Failure> {
    let (parts, body) = response.into_parts();
    let mut answer = Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        url: url.clone(),
        document: Vec::new(),
        stream: None,
        message: String::new(),
    };
    let body = body.into_reader();
    match request.want {
        _ if answer.status >= 300 => {
            // What cannot be read of an explanation does not matter.
            let mut excerpt = Vec::new();
            let _ = body.take(ERROR_BYTES).read_to_end(&mut excerpt);
            answer.message = message::of(&excerpt, &answer.headers);
        }
        Want::Stream => answer.stream = Some(Box::new(body)),
        Want::Document(limit, what) => {
            let too_large = || Error::TooLarge { host: host_of(url), what: what.to_owned(), limit };
            let is_head = request.method == Method::HEAD;
            if !is_head && answer.content_length().is_some_and(|length| length > limit) {
                return Err(too_large().into());
            }
            let read = body.take(limit + 1).read_to_end(&mut answer.document);
            read.map_err(|error| Failure::Broken(failure::reason_of(&error)))?;
            if answer.document.len() as u64 > limit {
                return Err(too_large().into());
            }
        }
    }
    Ok(answer)
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn content_length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH.as_str())?.parse().ok()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How long to wait: seconds, or until a date.
    pub fn retry_after(&self) -> Option<Duration> {
        use time::{OffsetDateTime, format_description::well_known::Rfc2822};
        let text = self.header(RETRY_AFTER.as_str())?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let until = OffsetDateTime::parse(text, &Rfc2822).ok()?;
        (until - OffsetDateTime::from(std::time::SystemTime::now())).try_into().ok()
    }
}

fn is_for_a_while(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// `HOST[:PORT]` of an address, for messages.
pub fn host_of(url: &Uri) -> String {
    url.authority().map_or_else(|| "?".to_owned(), ToString::to_string)
}

/// Whether two addresses are the same server's, so that what one may know, the other may.
pub fn same_place(one: &Uri, other: &Uri) -> bool {
    let port =
        |url: &Uri| url.port_u16().or(if url.scheme_str() == Some("https") { Some(443) } else { Some(80) });
    let host = |url: &Uri| url.host().map(str::to_ascii_lowercase);
    one.scheme() == other.scheme() && host(one) == host(other) && port(one) == port(other)
}

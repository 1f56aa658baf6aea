//! Files of the web that somebody has signed, such as a distribution's archive: documents that are asked for again
//! only if they have changed, and large files that are resumed. How they come does not matter, so TLS is not
//! insisted on; whoever asks checks what came.

use std::io::{self, Read};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, RANGE};
use ureq::http::{HeaderValue, Uri};

use crate::blob::content_start;
use crate::error::shown;
use crate::host::is_loopback;
use crate::http::{Answer, Http, Proxies, Request, Want, host_of, reason_of};
use crate::{Error, Patience, Result};

/// Bytes read at once.
const BLOCK: usize = 128 << 10;
/// Bytes after which a file that breaks off again has made progress.
const PROGRESS: u64 = 256 << 10;

/// A client of one server of files.
pub struct Web {
    http: Http,
}

/// By what a server knows whether a document has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    pub etag: Option<String>,
    pub modified: Option<String>,
}

/// What a server says about a document.
#[derive(Debug)]
pub enum Document {
    /// It is what it was.
    Unchanged,
    New {
        content: Vec<u8>,
        validators: Validators,
    },
    Missing,
}

impl Web {
    /// For the server of `url`; through `proxy` (none if that is `DIRECT`), else through what the environment names.
    pub fn new(url: &str, proxy: Option<&str>, patience: Patience) -> Result<Web> {
        let url = parse(url)?;
        let proxies = match proxy {
            Some("DIRECT") => Proxies::None,
            _ if is_loopback(&url) => Proxies::None,
            None => Proxies::Environment,
            Some(proxy) => Proxies::This(ureq::Proxy::new(proxy).map_err(|_| Error::Proxy(shown(proxy)))?),
        };
        Ok(Web { http: Http::of_signed(patience, proxies) })
    }

    /// Asks for a document of at most `limit` bytes, unless it is still the `known` one.
    pub fn document(&self, url: &str, known: &Validators, limit: u64, what: &str) -> Result<Document> {
        let url = parse(url)?;
        let mut request = Request { want: Want::Document(limit, what), ..Request::get(url.clone()) };
        for (name, value) in [(IF_NONE_MATCH, &known.etag), (IF_MODIFIED_SINCE, &known.modified)] {
            let value = value.as_deref().and_then(|value| HeaderValue::from_str(value).ok());
            request.headers.extend(value.map(|value| (name, value)));
        }
        let mut answer = self.http.send(&request)?;
        let header = |name| answer.header(name).map(str::to_owned);
        match answer.status {
            200 => {
                let validators =
                    Validators { etag: header(ETAG.as_str()), modified: header(LAST_MODIFIED.as_str()) };
                Ok(Document::New { content: std::mem::take(&mut answer.document), validators })
            }
            304 => Ok(Document::Unchanged),
            404 | 410 => Ok(Document::Missing),
            _ => Err(refusal(&url, answer, what)),
        }
    }

    /// Hands a file of `size` bytes to `take`, block by block; a connection that breaks is made again, and the file
    /// goes on where it broke off.
    pub fn file(
        &self,
        url: &str,
        size: u64,
        what: &str,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<()> {
        let url = parse(url)?;
        let (mut position, mut failures, mut resumed_at) = (0, 0, 0);
        loop {
            let broken = match self.part(&url, size, what, &mut position, take)? {
                None => return Ok(()),
                Some(reason) => reason,
            };
            if position - resumed_at >= PROGRESS {
                failures = 0;
            }
            resumed_at = position;
            failures += 1;
            if failures >= self.http.patience.attempts {
                return Err(Error::Broken { host: host_of(&url), reason: broken, attempts: failures });
            }
            thread::sleep(self.http.patience.delay(failures, None));
        }
    }

    /// Reads from `position` on, as far as the connection goes; why it broke, if it did.
    fn part(
        &self,
        url: &Uri,
        size: u64,
        what: &str,
        position: &mut u64,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Option<String>> {
        let mut request = Request { want: Want::Stream, ..Request::get(url.clone()) };
        if *position > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={position}-"))
        {
            request.headers.push((RANGE, range));
        }
        let mut answer = self.http.send(&request)?;
        let start = match answer.status {
            200 => 0,
            206 => content_start(&answer).unwrap_or(u64::MAX),
            _ => return Err(refusal(url, answer, what)),
        };
        if start > *position {
            return Err(malformed(url, what, "it is another part of it than was asked for"));
        }
        if answer.content_length().is_some_and(|length| start.saturating_add(length) != size) {
            let actual = start.saturating_add(answer.content_length().unwrap_or_default());
            return Err(malformed(url, what, &format!("it has {actual} bytes instead of {size}")));
        }
        let mut skip = *position - start;
        let Some(mut stream) = answer.stream.take() else { return Ok(Some("there is nothing in it".into())) };
        let mut block = vec![0; BLOCK];
        let (mut waited, mut since) = (Duration::ZERO, 0_u64);
        while *position < size {
            let begun = Instant::now();
            let read = match stream.read(&mut block) {
                Ok(0) => return Ok(Some("the connection was closed in the middle".into())),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Some(reason_of(&error))),
            };
            waited += begun.elapsed();
            since += read as u64;
            if waited >= self.http.patience.silence {
                if since < self.http.patience.least_bytes {
                    return Ok(Some("its bytes come too slowly".into()));
                }
                (waited, since) = (Duration::ZERO, 0);
            }
            let skipped = skip.min(read as u64);
            skip -= skipped;
            let new = &block[skipped as usize..read];
            if new.len() as u64 > size - *position {
                return Err(malformed(url, what, &format!("it has more than {size} bytes")));
            }
            take(new).map_err(Error::Keep)?;
            *position += new.len() as u64;
        }
        Ok(None)
    }
}

fn parse(url: &str) -> Result<Uri> {
    let bad = || Error::Address(shown(url));
    let uri: Uri = url.parse().map_err(|_| bad())?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(_)) => Ok(uri),
        _ => Err(bad()),
    }
}

fn refusal(url: &Uri, answer: Answer, what: &str) -> Error {
    let host = host_of(url);
    match answer.status {
        404 | 410 => Error::NotFound { host, what: what.into() },
        status => Error::Status { host, status, action: format!("send {what}"), message: answer.message },
    }
}

fn malformed(url: &Uri, what: &str, reason: &str) -> Error {
    Error::Malformed { host: host_of(url), what: what.into(), reason: reason.into() }
}

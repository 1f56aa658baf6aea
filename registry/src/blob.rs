//! A blob's bytes, however often the connection breaks on the way.

use std::io::{self, Read};
use std::thread;
use std::time::{Duration, Instant};

use rootfs_builder::digest::Digest;
use ureq::http::HeaderValue;
use ureq::http::header::RANGE;

use crate::http::{Answer, Request, Want};
use crate::{Error, Repository, Result};

/// Bytes after which a blob that breaks off again has made progress.
const PROGRESS: u64 = 256 << 10;
/// Bytes read at once of what is passed over.
const BLOCK: usize = 64 << 10;

/// Reads a blob, from where it broke off if it does. Its digest is not looked at: whoever reads it checks that.
pub struct BlobReader<'r> {
    repository: &'r Repository<'r>,
    digest: Digest,
    size: u64,
    /// Bytes given out.
    position: u64,
    stream: Option<Box<dyn Read + Send>>,
    /// Attempts that failed since `resumed_at`.
    failures: u32,
    resumed_at: u64,
    /// How long the connection has been waited for since which position: what a slow disk of ours takes is no
    /// fault of the registry's.
    waited: (Duration, u64),
}

impl<'r> BlobReader<'r> {
    /// Asks for a blob of `size` bytes; that it is there is known when this returns.
    pub fn open(repository: &'r Repository<'r>, digest: Digest, size: u64) -> Result<BlobReader<'r>> {
        let mut reader = BlobReader {
            repository,
            digest,
            size,
            position: 0,
            stream: None,
            failures: 0,
            resumed_at: 0,
            waited: (Duration::ZERO, 0),
        };
        reader.stream = Some(reader.request()?);
        Ok(reader)
    }

    /// A stream of what is left.
    fn request(&mut self) -> Result<Box<dyn Read + Send>> {
        let range = (self.position > 0)
            .then(|| HeaderValue::from_str(&format!("bytes={}-", self.position)).ok())
            .flatten();
        let headers: Vec<_> = range.map(|range| (RANGE, range)).into_iter().collect();
        let mut answer = self.repository.get_blob(&self.digest, &mut |url| Request {
            headers: headers.clone(),
            want: Want::Stream,
            ..Request::get(url)
        })?;
        let stream = answer.stream.take().unwrap_or_else(|| Box::new(io::empty()));
        self.waited = (Duration::ZERO, self.position);
        let from = if answer.status == 206 { content_start(&answer) } else { Some(0) };
        match from {
            Some(0) => {
                self.check_length(&answer, self.size)?;
                self.skip(stream)
            }
            Some(start) if start == self.position => {
                self.check_length(&answer, self.size - self.position)?;
                Ok(stream)
            }
            _ => Err(Error::Malformed {
                host: self.repository.host(),
                what: self.what(),
                reason: "it is another part of it than was asked for".into(),
            }),
        }
    }

    /// Passes over what has been read before, for a registry that cannot begin in the middle.
    fn skip(&self, mut stream: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>> {
        let patience = &self.repository.http().patience;
        let broken = |reason: String| Error::Broken { host: self.repository.host(), reason, attempts: 1 };
        let (begun, mut skipped, mut block) = (Instant::now(), 0, vec![0; BLOCK]);
        while skipped < self.position {
            let wanted = (self.position - skipped).min(BLOCK as u64) as usize;
            match stream.read(&mut block[..wanted]) {
                Ok(0) => return Err(broken("the connection was closed in the middle".into())),
                Ok(read) => skipped += read as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(crate::http::reason_of(&error))),
            }
            let periods = u32::try_from(skipped / patience.least_bytes.max(1)).unwrap_or(u32::MAX);
            if begun.elapsed() > patience.silence.saturating_mul(periods.saturating_add(1)) {
                return Err(broken("its bytes come too slowly".into()));
            }
        }
        Ok(stream)
    }

    fn check_length(&self, answer: &Answer, expected: u64) -> Result<()> {
        match answer.content_length() {
            Some(actual) if actual != expected => Err(Error::Size {
                host: self.repository.host(),
                what: self.what(),
                expected: self.size,
                actual: (self.size - expected).saturating_add(actual),
            }),
            _ => Ok(()),
        }
    }

    fn what(&self) -> String {
        format!("blob {}", self.digest.short())
    }

    /// After the stream failed: waits, and asks for the rest; or gives up.
    fn resume(&mut self, reason: String) -> io::Result<()> {
        self.stream = None;
        if self.position - self.resumed_at >= PROGRESS {
            self.failures = 0;
        }
        self.resumed_at = self.position;
        let patience = &self.repository.http().patience;
        loop {
            self.failures += 1;
            if self.failures >= patience.attempts {
                let host = self.repository.host();
                return Err(io::Error::other(Error::Broken { host, reason, attempts: self.failures }));
            }
            thread::sleep(patience.delay(self.failures, None));
            match self.request() {
                Ok(stream) => {
                    self.stream = Some(stream);
                    return Ok(());
                }
                Err(Error::Broken { attempts: 1, .. }) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    /// Whether the bytes come at all. One that gives a byte a minute would keep us for years.
    fn is_too_slow(&mut self) -> bool {
        let patience = &self.repository.http().patience;
        let (waited, from) = self.waited;
        if waited < patience.silence {
            return false;
        }
        self.waited = (Duration::ZERO, self.position);
        self.position - from < patience.least_bytes
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(stream) = &mut self.stream else { return Ok(0) };
            let begun = Instant::now();
            let result = stream.read(out);
            self.waited.0 += begun.elapsed();
            let reason = match result {
                Ok(0) if self.position >= self.size || out.is_empty() => return Ok(0),
                Ok(0) => "the connection was closed in the middle".to_owned(),
                Ok(read) => {
                    self.position += read as u64;
                    if self.position >= self.size || !self.is_too_slow() {
                        return Ok(read);
                    }
                    // What has come is given out; the next read begins with a new request.
                    self.stream = Some(Box::new(TooSlow));
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Nothing is missing; whether it is right, its digest will tell.
                Err(_) if self.position >= self.size => return Ok(0),
                Err(error) => crate::http::reason_of(&error),
            };
            self.resume(reason)?;
        }
    }
}

/// In place of a connection that was given up.
struct TooSlow;

impl Read for TooSlow {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("its bytes come too slowly"))
    }
}

/// Where a part begins, from `Content-Range: bytes 5-9/10`.
pub fn content_start(answer: &Answer) -> Option<u64> {
    let range = answer.header("content-range")?.strip_prefix("bytes ")?;
    range.split('-').next()?.trim().parse().ok()
}

//! Pushing: what the registry lacks is uploaded, layers before the manifest that names them.

use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rootfs_builder::parallel;
use rootfs_builder::progress::{LayerName, LayerOutcome, Progress};
use rootfs_builder::store::Outgoing;
use rootfs_builder::store::push::OutgoingBlob;
use ureq::http::header::{CONTENT_TYPE, LOCATION};
use ureq::http::{HeaderValue, Method, Uri};

use crate::error::shown;
use crate::http::{Answer, Payload, Request, resolve};
use crate::{Error, Repository, Result};

/// Blobs sent at once.
const AT_ONCE: usize = 4;
/// Other repositories that are tried for a blob.
const MOUNTS: usize = 2;
/// Bytes read from a file at once.
const BLOCK: usize = 256 << 10;

impl Repository<'_> {
    /// Sends an image and calls it `tag` there.
    pub fn push(&self, image: &Outgoing, tag: &str, progress: &dyn Progress) -> Result<()> {
        parallel::for_each(&image.blobs, AT_ONCE, |index, blob| {
            let name = LayerName { index, label: blob.digest.short() };
            progress.layer_started(&name, Some(blob.size));
            let result = self.push_blob(blob, &name, progress);
            progress.layer_finished(&name, *result.as_ref().unwrap_or(&LayerOutcome::Failed));
            result
        })?;
        self.push_manifest(image, tag)
    }

    fn push_blob(
        &self,
        blob: &OutgoingBlob,
        name: &LayerName,
        progress: &dyn Progress,
    ) -> Result<LayerOutcome> {
        let path = format!("/v2/{}/blobs/{}", self.name, blob.digest);
        let answer =
            self.ask(&[], &mut |url| Request { method: Method::HEAD, ..Request::get(url) }, &path)?;
        match answer.status {
            200..300 => return Ok(LayerOutcome::AlreadyThere),
            404 => {}
            _ => return Err(self.refused(answer, "a blob")),
        }
        // Where one repository cannot give it, the registry offers an upload instead.
        let mut upload = None;
        for other in blob.elsewhere.iter().take(MOUNTS) {
            match self.mount(blob, other)? {
                Mount::Done => return Ok(LayerOutcome::Mounted),
                Mount::UploadInstead(url) => upload = upload.or(Some(url)),
                Mount::Refused => {}
            }
        }
        self.upload(blob, upload, name, progress)?;
        Ok(LayerOutcome::Pushed)
    }

    fn mount(&self, blob: &OutgoingBlob, other: &str) -> Result<Mount> {
        let digest = blob.digest.to_string();
        let (mount, from) = (encoded(&digest), encoded(other));
        let path = format!("/v2/{}/blobs/uploads/?mount={mount}&from={from}", self.name);
        let also = [format!("repository:{other}:pull")];
        match self.ask(&also, &mut post, &path) {
            Ok(answer) if answer.status == 201 => Ok(Mount::Done),
            Ok(answer) if answer.status == 202 => self.location(&answer).map(Mount::UploadInstead),
            // We may not read there, or the registry does not know of such a thing.
            Ok(_) | Err(Error::LoginNeeded { .. } | Error::LoginRefused { .. }) => Ok(Mount::Refused),
            Err(Error::Status { .. } | Error::WrongPassword { .. } | Error::Denied { .. }) => {
                Ok(Mount::Refused)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a whole blob in one request; from its beginning again when that breaks off.
    fn upload(
        &self,
        blob: &OutgoingBlob,
        mut begun: Option<Uri>,
        name: &LayerName,
        progress: &dyn Progress,
    ) -> Result<()> {
        let patience = &self.http().patience;
        let what = || format!("blob {}", blob.digest.short());
        let mut failures = 0;
        loop {
            let url = match begun.take() {
                Some(url) => url,
                None => {
                    let answer = self.ask(&[], &mut post, &format!("/v2/{}/blobs/uploads/", self.name))?;
                    match answer.status {
                        202 => self.location(&answer)?,
                        _ => return Err(self.refused(answer, "an upload")),
                    }
                }
            };
            let separator = if url.query().is_some() { '&' } else { '?' };
            let url = format!("{url}{separator}digest={}", encoded(&blob.digest.to_string()));
            let url: Uri = url.parse().map_err(|_| self.strange_location(&url))?;
            let sent = AtomicU64::new(0);
            let open = || -> io::Result<Box<dyn Read + '_>> {
                let file = File::open(&blob.path)?;
                sent.store(0, Ordering::Relaxed);
                let counting = Counting { file, sent: &sent, name, progress };
                Ok(Box::new(io::BufReader::with_capacity(BLOCK, counting)))
            };
            let mut put = |url| Request {
                method: Method::PUT,
                headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))],
                payload: Payload::Stream(&open, blob.size),
                ..Request::get(url)
            };
            let result = self.registry.call_url_once(&self.action(), &self.push_scope(&[]), &mut put, url);
            failures += 1;
            let spent = failures >= patience.attempts;
            let asked = match result {
                Ok(answer) if answer.status == 201 => return Ok(()),
                Ok(answer) if !spent && (answer.status == 429 || answer.status >= 500) => {
                    answer.retry_after()
                }
                // The upload is not known any more, which happens when the registry was restarted.
                Ok(answer) if !spent && answer.status == 404 => None,
                Ok(answer) => return Err(self.refused(answer, &what())),
                Err(Error::Broken { .. }) if !spent => None,
                Err(error) => return Err(error),
            };
            thread::sleep(patience.delay(failures, asked));
        }
    }

    fn push_manifest(&self, image: &Outgoing, tag: &str) -> Result<()> {
        let manifest = &image.content.manifest;
        let path = format!("/v2/{}/manifests/{tag}", self.name);
        let kind = HeaderValue::from_str(manifest.descriptor.media_type().as_ref())
            .unwrap_or_else(|_| HeaderValue::from_static("application/vnd.oci.image.manifest.v1+json"));
        let mut put = |url| Request {
            method: Method::PUT,
            headers: vec![(CONTENT_TYPE, kind.clone())],
            payload: Payload::Bytes(&manifest.bytes),
            ..Request::get(url)
        };
        let answer = self.ask(&[], &mut put, &path)?;
        if !answer.is_success() {
            return Err(self.refused(answer, "the manifest"));
        }
        match answer.header("docker-content-digest") {
            Some(actual) if actual != manifest.digest.to_string() => Err(Error::OtherDigest {
                host: self.host(),
                what: "the manifest".into(),
                expected: manifest.digest.to_string(),
                actual: shown(actual),
            }),
            _ => Ok(()),
        }
    }

    fn ask<'a>(
        &self,
        also: &[String],
        request: &mut dyn FnMut(Uri) -> Request<'a>,
        path: &str,
    ) -> Result<Answer> {
        self.registry.call(&self.action(), &self.push_scope(also), request, path)
    }

    fn action(&self) -> String {
        format!("push {}", self.name)
    }

    fn push_scope(&self, also: &[String]) -> Vec<String> {
        std::iter::once(self.scope("pull,push")).chain(also.iter().cloned()).collect()
    }

    fn refused(&self, answer: Answer, what: &str) -> Error {
        self.registry.refusal(answer, &self.action(), &format!("{what} of {}", self.name))
    }

    /// Where to upload to.
    fn location(&self, answer: &Answer) -> Result<Uri> {
        let location = answer.headers.get(LOCATION).ok_or_else(|| self.strange_location("none"))?;
        self.http().check(resolve(&answer.url, location.as_bytes())?, &answer.url)
    }

    fn strange_location(&self, reason: &str) -> Error {
        Error::Malformed {
            host: self.host(),
            what: "the address for an upload".into(),
            reason: shown(reason),
        }
    }
}

enum Mount {
    Done,
    UploadInstead(Uri),
    Refused,
}

fn post<'a>(url: Uri) -> Request<'a> {
    Request { method: Method::POST, ..Request::get(url) }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A blob on its way, for the progress bar.
struct Counting<'a> {
    file: File,
    sent: &'a AtomicU64,
    name: &'a LayerName,
    progress: &'a dyn Progress,
}

impl Read for Counting<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(out)?;
        let sent = self.sent.fetch_add(read as u64, Ordering::Relaxed) + read as u64;
        self.progress.layer_advanced(self.name, sent);
        Ok(read)
    }
}

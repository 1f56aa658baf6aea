//! A repository of a registry: its manifests and blobs.

use std::io::Read;

use rootfs_builder::digest::Digest;
use rootfs_builder::store::pull::{Remote, RemoteError, RemoteManifest};
use ureq::http::header::{ACCEPT, CONTENT_TYPE};
use ureq::http::{HeaderValue, Method, Uri};

use crate::blob::BlobReader;
use crate::http::{Answer, Http, Request, Want};
use crate::{Registry, Result};

/// What can be pulled.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// A repository. It costs nothing to make one.
pub struct Repository<'r> {
    pub(crate) registry: &'r Registry,
    pub(crate) name: &'r str,
}

impl<'r> Repository<'r> {
    pub(crate) fn new(registry: &'r Registry, name: &'r str) -> Repository<'r> {
        Repository { registry, name }
    }

    pub(crate) fn http(&self) -> &Http {
        self.registry.http()
    }

    pub(crate) fn host(&self) -> String {
        self.registry.host().name().to_owned()
    }

    pub(crate) fn scope(&self, actions: &str) -> String {
        format!("repository:{}:{actions}", self.name)
    }

    /// Asks for a blob; an answer is one that succeeded.
    pub(crate) fn get_blob<'a>(
        &self,
        digest: &Digest,
        request: &mut dyn FnMut(Uri) -> Request<'a>,
    ) -> Result<Answer> {
        let path = format!("/v2/{}/blobs/{digest}", self.name);
        self.pull(request, &path, || format!("blob {} of {}", digest.short(), self.name))
    }

    fn pull<'a>(
        &self,
        request: &mut dyn FnMut(Uri) -> Request<'a>,
        path: &str,
        what: impl Fn() -> String,
    ) -> Result<Answer> {
        let action = format!("pull {}", self.name);
        let answer = self.registry.call(&action, &[self.scope("pull")], request, path)?;
        match answer.status {
            200 | 206 => Ok(answer),
            _ => Err(self.registry.refusal(answer, &action, &what())),
        }
    }

    fn called(&self, tag_or_digest: &str) -> String {
        let separator = if tag_or_digest.contains(':') { '@' } else { ':' };
        format!("{}{separator}{tag_or_digest}", self.name)
    }

    fn manifest_path(&self, tag_or_digest: &str) -> String {
        format!("/v2/{}/manifests/{tag_or_digest}", self.name)
    }
}

fn accept() -> Vec<(ureq::http::HeaderName, HeaderValue)> {
    vec![(ACCEPT, HeaderValue::from_static(MANIFESTS))]
}

impl Remote for Repository<'_> {
    fn digest(&self, tag: &str) -> std::result::Result<Option<Digest>, RemoteError> {
        let mut request = |url| Request { method: Method::HEAD, headers: accept(), ..Request::get(url) };
        let answer = self.pull(&mut request, &self.manifest_path(tag), || self.called(tag))?;
        Ok(answer.header("docker-content-digest").and_then(|digest| digest.parse().ok()))
    }

    fn manifest(&self, tag_or_digest: &str, limit: u64) -> std::result::Result<RemoteManifest, RemoteError> {
        let mut request = |url| Request {
            headers: accept(),
            want: Want::Document(limit, "the manifest"),
            ..Request::get(url)
        };
        let path = self.manifest_path(tag_or_digest);
        let answer = self.pull(&mut request, &path, || self.called(tag_or_digest))?;
        let media_type = answer
            .header(CONTENT_TYPE.as_str())
            .map(|kind| kind.split(';').next().unwrap_or_default().trim().to_owned());
        Ok(RemoteManifest { bytes: answer.document, media_type })
    }

    fn document(&self, digest: &Digest, limit: u64) -> std::result::Result<Vec<u8>, RemoteError> {
        let mut request =
            |url| Request { want: Want::Document(limit, "the configuration"), ..Request::get(url) };
        Ok(self.get_blob(digest, &mut request)?.document)
    }

    fn layer(&self, digest: &Digest, size: u64) -> std::result::Result<Box<dyn Read + '_>, RemoteError> {
        Ok(Box::new(BlobReader::open(self, *digest, size)?))
    }
}

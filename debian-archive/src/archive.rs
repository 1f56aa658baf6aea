//! Asking the archive: a suite's signed index, its list of packages, a package.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use liblzma::read::XzDecoder;
use liblzma::stream::Stream;
use registry::{Document, Validators, Web};
use sha2::{Digest, Sha256};

use crate::error::file;
use crate::release::{Listed, Release};
use crate::release_cache::ReleaseCache;
use crate::signature::{self, Refusal};
use crate::stanza::{Stanza, Stanzas};
use crate::{Error, Options, Package, Result, hash};

/// In bytes. Debian's largest list has 10 MiB packed and 60 unpacked; its largest package has some 1.5 GiB.
const RELEASE_LIMIT: u64 = 8 << 20;
const LIST_LIMIT: u64 = 128 << 20;
const UNPACKED_LIST_LIMIT: u64 = 1 << 30;
const PACKAGE_LIMIT: u64 = 4 << 30;
const DECODER_MEMORY: u64 = 256 << 20;
/// What is fetched: one architecture, and what is free software.
const LIST: &str = "main/binary-amd64/Packages.xz";

/// How far a download has come.
pub trait Progress {
    /// `total` bytes of `what` are being fetched.
    fn started(&self, what: &str, total: u64);
    fn advanced(&self, done: u64);
    fn finished(&self);
}

/// Nobody wants to know.
pub struct Silent;

impl Progress for Silent {
    fn started(&self, _: &str, _: u64) {}
    fn advanced(&self, _: u64) {}
    fn finished(&self) {}
}

/// Debian's archive, as one mirror has it.
pub struct Archive {
    cache: PathBuf,
    options: Options,
}

/// A suite's index, checked, and what of it is kept.
struct Suite {
    name: String,
    mirror: String,
    release: Release,
    cache: ReleaseCache,
}

impl Archive {
    /// Indices are kept below `cache`. Nothing is asked yet.
    pub fn open(cache: &Path, options: Options) -> Result<Archive> {
        if !options.keyring.is_file() {
            return Err(Error::NoKeyring(options.keyring));
        }
        Ok(Archive { cache: cache.to_owned(), options })
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Every package of a suite that `accept` takes by its name.
    pub fn packages(
        &self,
        suite: &str,
        accept: impl Fn(&str) -> bool,
        progress: &dyn Progress,
    ) -> Result<Vec<Package>> {
        let suite = self.suite(suite)?;
        let list = self.list(&suite, progress)?;
        read(list, &suite, accept)
    }

    /// The same as it was when the suite was asked last; nothing if that is not good any more.
    pub(crate) fn kept_packages(&self, suite: &str, accept: impl Fn(&str) -> bool) -> Option<Vec<Package>> {
        let mirror = self.mirror_of(suite).ok()?;
        let cache = self.release_cache(suite, mirror).ok()?;
        let release = self.check(&cache.release()?.0, suite, mirror).ok()?;
        let suite = self.judged(Suite { name: suite.into(), mirror: mirror.into(), release, cache }).ok()?;
        let list = kept_list(&suite, &suite.release.listed(LIST)?.sha256)?;
        read(list, &suite, accept).ok()
    }

    /// The newest version of one package of a suite.
    pub fn find(&self, name: &str, suite: &str, progress: &dyn Progress) -> Result<Package> {
        let found = self.packages(suite, |package| package == name, progress)?;
        let newest = found.into_iter().max_by(|one, other| one.version.cmp(&other.version));
        newest.ok_or_else(|| Error::NoPackage { suite: suite.into(), name: name.into() })
    }

    /// Fetches a package into `directory`, under its own name; it is there whole and checked, or not at all. One that
    /// is there already is not fetched again.
    pub fn download(&self, package: &Package, directory: &Path, progress: &dyn Progress) -> Result<PathBuf> {
        let path = directory.join(package.file_name());
        if digest_of(&path).is_some_and(|digest| digest == package.sha256) {
            return Ok(path);
        }
        std::fs::create_dir_all(directory).map_err(file("cannot make", directory))?;
        let temporary =
            tempfile::NamedTempFile::new_in(directory).map_err(file("cannot write in", directory))?;
        let mirror = self.mirror_of(&package.suite)?;
        let listed = Listed { sha256: package.sha256.clone(), size: package.size };
        let url = format!("{mirror}/{}", package.filename);
        self.fetch(mirror, &url, package.file_name(), &listed, PACKAGE_LIMIT, temporary.as_file(), progress)?;
        temporary.persist(&path).map_err(|error| file("cannot write", &path)(error.error))?;
        Ok(path)
    }

    /// Where a suite is.
    pub fn mirror_of(&self, suite: &str) -> Result<&str> {
        match (&self.options.security_mirror, suite.ends_with("-security")) {
            (_, false) => Ok(&self.options.mirror),
            (Some(mirror), true) => Ok(mirror),
            (None, true) => Err(Error::NoSuite { suite: suite.into(), mirror: self.options.mirror.clone() }),
        }
    }

    /// A suite's index, from the archive if it has changed.
    fn suite(&self, name: &str) -> Result<Suite> {
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
        if !is_name || !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Err(Error::Suite(name.chars().take(64).flat_map(char::escape_default).collect()));
        }
        let mirror = self.mirror_of(name)?.to_owned();
        let cache = self.release_cache(name, &mirror)?;
        let known = cache.release();
        let validators = known.as_ref().map_or(Validators::default(), |(_, validators)| validators.clone());
        let url = format!("{mirror}/dists/{name}/InRelease");
        let what = format!("the index of {name}");
        let message = match (self.web(&mirror)?.document(&url, &validators, RELEASE_LIMIT, &what)?, known) {
            (Document::New { content, validators }, known) => {
                let release = self.check(&content, name, &mirror)?;
                // Whoever hands out an older one may want us not to see what came since.
                let before = known.and_then(|(before, _)| self.check(&before, name, &mirror).ok());
                if let Some(before) = before.filter(|before| before.date() > release.date()) {
                    return self.judged(Suite { name: name.into(), mirror, release: before, cache });
                }
                cache.keep_release(&content, validators).map_err(file("cannot write in", cache.path()))?;
                content
            }
            (Document::Unchanged, Some((known, _))) => known,
            (Document::Unchanged | Document::Missing, _) => {
                return Err(Error::NoSuite { suite: name.into(), mirror });
            }
        };
        let release = self.check(&message, name, &mirror)?;
        self.judged(Suite { name: name.into(), mirror, release, cache })
    }

    fn release_cache(&self, suite: &str, mirror: &str) -> Result<ReleaseCache> {
        let directory = self.cache.join(&hash::of(mirror.as_bytes())[..16]).join(suite);
        ReleaseCache::new(directory.clone()).map_err(file("cannot make", directory))
    }

    /// What is signed of an index.
    fn check(&self, message: &[u8], suite: &str, mirror: &str) -> Result<Release> {
        let refused = |refusal| match refusal {
            Refusal::NoGpgv(cause) => Error::NoGpgv(cause),
            Refusal::Reason(reason) => Error::Signature {
                suite: suite.into(),
                mirror: mirror.into(),
                keyring: self.options.keyring.clone(),
                reason,
            },
        };
        let signed = signature::check(message, &self.options.keyring).map_err(refused)?;
        let damaged =
            |reason: &str| Error::Index { suite: suite.into(), mirror: mirror.into(), reason: reason.into() };
        let release = Release::parse(&signed.text, signed.signers).map_err(|reason| damaged(&reason))?;
        match release.is_of(suite) {
            true => Ok(release),
            false => {
                Err(damaged(&format!("it is that of {}", release.codename().unwrap_or("another suite"))))
            }
        }
    }

    fn judged(&self, suite: Suite) -> Result<Suite> {
        match suite.release.expired(SystemTime::now()) {
            Some(until) if !self.options.allow_expired => Err(Error::Expired {
                suite: suite.name.clone(),
                mirror: suite.mirror.clone(),
                until: until.chars().take(64).collect(),
            }),
            _ => Ok(suite),
        }
    }

    /// A suite's list of packages, checked and at its beginning.
    fn list(&self, suite: &Suite, progress: &dyn Progress) -> Result<File> {
        let listed = suite.release.listed(LIST).ok_or_else(|| suite.damaged(format!("it has no {LIST}")))?;
        let failed = || file("cannot use", suite.cache.path());
        if let Some(kept) = kept_list(suite, &listed.sha256) {
            return Ok(kept);
        }
        let base = format!("{}/dists/{}/main/binary-amd64", suite.mirror, suite.name);
        let what = format!("the packages of {}", suite.name);
        let temporary = suite.cache.temporary().map_err(failed())?;
        let fetch = |url: &str| {
            self.fetch(&suite.mirror, url, &what, &listed, LIST_LIMIT, temporary.as_file(), progress)
        };
        let plainly = || fetch(&format!("{base}/Packages.xz"));
        if suite.release.has_by_hash() {
            match fetch(&format!("{base}/by-hash/SHA256/{}", listed.sha256)) {
                // Mirrors that copy only a part of the archive may lack these names: what comes is checked all the same.
                Err(Error::Web(registry::Error::NotFound { .. })) => plainly()?,
                fetched => fetched?,
            }
        } else {
            plainly()?;
        }
        let mut list = suite.cache.keep_packages(&listed.sha256, temporary).map_err(failed())?;
        list.rewind().map_err(failed())?;
        Ok(list)
    }

    #[expect(clippy::too_many_arguments)]
    fn fetch(
        &self,
        mirror: &str,
        url: &str,
        what: &str,
        listed: &Listed,
        limit: u64,
        mut to: &File,
        progress: &dyn Progress,
    ) -> Result<()> {
        if listed.size > limit {
            return Err(Error::TooLarge { what: what.into(), size: listed.size, limit });
        }
        let (mut digest, mut done) = (Sha256::new(), 0);
        progress.started(what, listed.size);
        let fetched = self.web(mirror)?.file(url, listed.size, what, &mut |block| {
            digest.update(block);
            done += block.len() as u64;
            progress.advanced(done);
            to.write_all(block)
        });
        progress.finished();
        fetched?;
        let found = hash::hex(digest.finalize().as_slice());
        if found != listed.sha256 {
            return Err(Error::Digest {
                what: what.into(),
                mirror: mirror.into(),
                expected: listed.sha256.clone(),
                found,
            });
        }
        Ok(())
    }

    fn web(&self, mirror: &str) -> Result<Web> {
        Ok(Web::new(mirror, self.options.proxy_to(mirror), self.options.patience.clone())?)
    }
}

impl Suite {
    fn damaged(&self, reason: String) -> Error {
        Error::Index { suite: self.name.clone(), mirror: self.mirror.clone(), reason }
    }
}

/// A suite's list of packages that was fetched before, checked and at its beginning.
fn kept_list(suite: &Suite, sha256: &str) -> Option<File> {
    let mut kept = suite.cache.packages(sha256)?;
    let is_same = digest(&mut kept).is_ok_and(|digest| digest == sha256) && kept.rewind().is_ok();
    is_same.then_some(kept)
}

/// The packages of a list.
fn read(list: File, suite: &Suite, accept: impl Fn(&str) -> bool) -> Result<Vec<Package>> {
    let damaged = |reason: String| suite.damaged(reason);
    let memory = Stream::new_stream_decoder(DECODER_MEMORY, 0).map_err(|error| damaged(error.to_string()))?;
    let text = XzDecoder::new_stream(BufReader::new(list), memory).take(UNPACKED_LIST_LIMIT);
    let mut packages = Vec::new();
    for stanza in Stanzas::new(BufReader::with_capacity(256 << 10, text)) {
        let stanza: Stanza = stanza.map_err(|error| damaged(error.to_string()))?;
        if stanza.field("Package").is_some_and(&accept) {
            let package = Package::parse(&stanza, &suite.name, &suite.release.signers);
            packages.push(package.ok_or_else(|| damaged("a package of it is not described".into()))?);
        }
    }
    Ok(packages)
}

fn digest_of(path: &Path) -> Option<String> {
    digest(&mut File::open(path).ok()?).ok()
}

fn digest(file: &mut File) -> io::Result<String> {
    let (mut digest, mut block) = (Sha256::new(), vec![0; 128 << 10]);
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(hash::hex(digest.finalize().as_slice())),
            Ok(read) => digest.update(&block[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

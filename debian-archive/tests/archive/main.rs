//! An archive of the test's own, signed by its own key, served on loopback: sound, changed on the way, stale.

mod server;
mod signer;
mod sources;

use std::fs;
use std::io::Write;
use std::time::Duration;

use debian_archive::{Archive, Error, Options, Silent, Wanted};
use registry::Patience;
use server::Mirror;
use signer::{Signer, sha256};

const IMAGE: &str = "linux-image-6.1.0-9-cloud-amd64";
const FILE: &str = "pool/main/l/linux/linux-image-6.1.0-9-cloud-amd64_6.1.9-1_amd64.deb";

struct Setting {
    signer: Signer,
    mirror: Mirror,
    directory: tempfile::TempDir,
    /// The package's content.
    package: Vec<u8>,
    packages: String,
}

impl Setting {
    fn new() -> Setting {
        let package = vec![7; 300_000];
        let packages = format!(
            "Package: linux-image-cloud-amd64\nVersion: 6.1.9-1\nArchitecture: amd64\nDepends: {IMAGE} (= 6.1.9-1)\n\
             Filename: pool/m.deb\nSize: 1\nSHA256: {0}\n\nPackage: {IMAGE}\nVersion: 6.1.9-1\nArchitecture: amd64\n\
             Filename: {FILE}\nSize: {1}\nSHA256: {0}\n",
            sha256(&package),
            package.len()
        );
        let setting = Setting {
            signer: Signer::new(),
            mirror: Mirror::start(),
            directory: tempfile::tempdir().unwrap(),
            package: package.clone(),
            packages,
        };
        setting.mirror.put(FILE, package);
        setting.publish("bookworm", "");
        setting
    }

    /// Puts the suite's signed index on the mirror, with more fields.
    fn publish(&self, suite: &str, fields: &str) {
        let list = xz(self.packages.as_bytes());
        let digest = sha256(&list);
        let text = self.release(suite, fields, &digest, list.len());
        self.mirror.put(&format!("dists/{suite}/InRelease"), self.signer.sign(&text));
        self.mirror.put(&format!("dists/{suite}/main/binary-amd64/by-hash/SHA256/{digest}"), list);
    }

    fn release(&self, suite: &str, fields: &str, digest: &str, size: usize) -> String {
        format!(
            "Origin: Debian\nSuite: {suite}\nCodename: {suite}\nDate: Sat, 09 Aug 2025 09:16:30 UTC\n{fields}\
             Acquire-By-Hash: yes\nSHA256:\n {digest} {size} main/binary-amd64/Packages.xz\n"
        )
    }

    fn archive(&self) -> Archive {
        let quick = Patience { first_delay: Duration::from_millis(1), ..Patience::default() };
        let options = Options {
            mirror: self.mirror.url.clone(),
            security_mirror: None,
            keyring: self.signer.keyring(),
            proxy: None,
            security_proxy: None,
            release: None,
            allow_expired: false,
            patience: quick,
        };
        Archive::open(&self.directory.path().join("cache"), options).unwrap()
    }

    fn download(&self) -> Result<Vec<u8>, Error> {
        let archive = self.archive();
        let package = archive.find(IMAGE, "bookworm", &Silent)?;
        let path = archive.download(&package, &self.directory.path().join("out"), &Silent)?;
        Ok(fs::read(path).unwrap())
    }

    #[track_caller]
    fn refused(&self, expected: &str) {
        let complaint = self.download().map(|content| content.len()).expect_err(expected).to_string();
        assert!(complaint.contains(expected), "{expected}: {complaint}");
        assert!(!complaint.contains('\n'), "{complaint}");
        let out = fs::read_dir(self.directory.path().join("out")).map_or(0, Iterator::count);
        assert_eq!(out, 0, "something was left behind");
    }
}

fn xz(text: &[u8]) -> Vec<u8> {
    let mut packed = liblzma::write::XzEncoder::new(Vec::new(), 1);
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

#[test]
fn a_package_comes_by_its_signed_index_and_is_asked_for_once() {
    let setting = Setting::new();
    assert_eq!(setting.download().unwrap(), setting.package);
    let asked: Vec<u16> = setting.mirror.requests().iter().map(|(_, status)| *status).collect();
    assert_eq!(asked, [200, 200, 200], "index, list, package");
    assert_eq!(setting.download().unwrap(), setting.package);
    let asked = setting.mirror.requests();
    assert_eq!(asked, [("dists/bookworm/InRelease".to_owned(), 304)], "what is here is not fetched again");

    let wanted: Wanted = "debian:bookworm".parse().unwrap();
    let (kernel, failures) = setting.archive().find_kernel(&wanted, &Silent).unwrap();
    assert!(failures.is_empty(), "nobody was to be asked for security updates: {failures:?}");
    assert_eq!((kernel.release.as_str(), kernel.is_suites_own), ("6.1.0-9-cloud-amd64", true));
    assert!(kernel.packages[0].signers[0].contains("Test Archive"));
    let complaint = setting.archive().find("no-such-package", "bookworm", &Silent).unwrap_err().to_string();
    assert_eq!(complaint, "the suite bookworm has no package no-such-package");
    let complaint = setting.archive().find(IMAGE, "trixie", &Silent).unwrap_err().to_string();
    assert!(complaint.starts_with("there is no suite trixie at http://127.0.0.1"), "{complaint}");
    for bad in ["../bookworm", "book worm", "", "/etc", "a/b"] {
        assert!(matches!(setting.archive().find(IMAGE, bad, &Silent), Err(Error::Suite(_))), "{bad}");
    }
}

#[test]
fn an_index_that_was_changed_is_refused() {
    let setting = Setting::new();
    let path = "dists/bookworm/InRelease";
    let good = setting.mirror.content.lock().unwrap().files[path].clone();
    let text = String::from_utf8(good.clone()).unwrap();
    let digest = sha256(&xz(setting.packages.as_bytes()));
    let changed = text.replace(&digest, &sha256(b"evil"));
    assert_ne!(text, changed);
    setting.mirror.put(path, changed);
    setting.refused("is not signed by a key of ");
    setting.mirror.put(path, "Suite: bookworm\nCodename: bookworm\n");
    setting.refused("it has no signature");
    setting.mirror.put(path, Vec::new());
    setting.refused("is not signed");
    setting.mirror.put(path, Signer::new().sign(&setting.release("bookworm", "", &digest, 1)));
    setting.refused("which is not there");
    setting.mirror.put(path, [&b"Suite: evil\n\n"[..], &good].concat());
    setting.refused("it has no signature: it is no clear-signed text");
    // Text behind what was signed does not count, and neither does a second text.
    let other = || Signer::new().sign("Suite: bookworm\nSHA256:\n evil\n");
    for content in [[&good[..], b"Suite: evil\n\n"].concat(), [good.clone(), other()].concat()] {
        setting.mirror.put(path, content);
        assert!(setting.download().is_ok_and(|content| content == setting.package));
        fs::remove_dir_all(setting.directory.path().join("out")).unwrap();
    }
    setting.mirror.put(path, [other(), good.clone()].concat());
    setting.refused("is not signed by a key of ");
    // Another suite's, as good as it is.
    setting.publish("bullseye", "");
    let other = setting.mirror.content.lock().unwrap().files["dists/bullseye/InRelease"].clone();
    setting.mirror.put(path, other);
    setting.refused("it is that of bullseye");
}

#[test]
fn signatures_by_digests_that_can_be_forged_are_refused() {
    let setting = Setting::new();
    let list = xz(setting.packages.as_bytes());
    let text = setting.release("bookworm", "", &sha256(&list), list.len());
    for weak in ["SHA1", "RIPEMD160"] {
        setting.mirror.put("dists/bookworm/InRelease", setting.signer.sign_by(&text, weak));
        setting.refused("is of a kind that does not count");
    }
    setting.mirror.put("dists/bookworm/InRelease", setting.signer.sign_by(&text, "SHA256"));
    assert!(setting.download().is_ok());
}

#[test]
fn lists_and_packages_that_were_changed_are_refused() {
    let setting = Setting::new();
    let path = {
        let digest = sha256(&xz(setting.packages.as_bytes()));
        format!("dists/bookworm/main/binary-amd64/by-hash/SHA256/{digest}")
    };
    let good = setting.mirror.content.lock().unwrap().files[&path].clone();
    let mut changed = good.clone();
    changed[20] ^= 1;
    setting.mirror.put(&path, changed);
    setting.refused("the packages of bookworm from http://127.0.0.1");
    setting.mirror.put(&path, &good[..good.len() - 4]);
    setting.refused("bytes instead of");
    setting.mirror.put(&path, [&good[..], b"more"].concat());
    setting.refused("bytes instead of");
    setting.mirror.put(&path, good);
    let mut changed = setting.package.clone();
    changed[5] ^= 1;
    setting.mirror.put(FILE, changed);
    setting.refused("is not what the archive has signed: its SHA-256 is");
    setting.mirror.put(FILE, &setting.package[..200_000]);
    setting.refused("it has 200000 bytes instead of 300000");
    setting.mirror.content.lock().unwrap().files.remove(FILE);
    setting.refused("was not found on 127.0.0.1");
    setting.mirror.put(FILE, setting.package.clone());
    assert!(setting.download().is_ok());
}

#[test]
fn a_mirror_without_names_by_hash_has_the_list_by_its_own() {
    let setting = Setting::new();
    let list = xz(setting.packages.as_bytes());
    let by_hash = format!("dists/bookworm/main/binary-amd64/by-hash/SHA256/{}", sha256(&list));
    setting.mirror.content.lock().unwrap().files.remove(&by_hash);
    setting.refused("was not found on 127.0.0.1");
    let plain = "dists/bookworm/main/binary-amd64/Packages.xz";
    let mut changed = list.clone();
    changed[20] ^= 1;
    setting.mirror.put(plain, changed);
    setting.refused("is not what the archive has signed: its SHA-256 is");
    setting.mirror.put(plain, list);
    assert_eq!(setting.download().unwrap(), setting.package);
}

#[test]
fn no_suite_is_silently_passed_over() {
    let setting = Setting::new();
    let mut options = setting.archive().options().clone();
    options.security_mirror = Some(setting.mirror.url.clone());
    let archive = Archive::open(&setting.directory.path().join("cache"), options).unwrap();
    let path = "dists/bookworm-security/InRelease";
    for wanted in ["debian:6.1", "debian:6.1.9-1", "debian:bookworm"] {
        let is_version = wanted != "debian:bookworm";
        let wanted: Wanted = wanted.parse().unwrap();
        let find = || archive.find_kernel(&wanted, &Silent);
        let told = |(kernel, failures): (debian_archive::KernelPackages, Vec<Error>)| {
            assert_eq!(kernel.suite(), "bookworm");
            failures.iter().map(Error::to_string).collect::<Vec<_>>().join("; ")
        };

        setting.mirror.content.lock().unwrap().files.remove(path);
        let failures = told(find().unwrap());
        assert!(failures.starts_with("there is no suite bookworm-security at http"), "{wanted}: {failures}");

        setting.mirror.put(path, "Suite: bookworm-security\n");
        assert!(matches!(find(), Err(Error::Signature { .. })), "{wanted}");
        setting.mirror.put(path, Signer::new().sign("Suite: bookworm-security\n"));
        assert!(matches!(find(), Err(Error::Signature { .. })), "{wanted}");

        setting.publish("bookworm-security", "Valid-Until: Sat, 16 Aug 2025 09:16:30 UTC\n");
        match find() {
            Ok(found) if is_version => assert!(told(found).contains("was good until Sat, 16 Aug 2025")),
            Err(Error::Expired { .. }) if !is_version => {}
            other => panic!("{wanted}: {other:?}"),
        }
    }
}

#[test]
fn what_the_cache_holds_is_checked_too() {
    let setting = Setting::new();
    setting.download().unwrap();
    let mirror =
        fs::read_dir(setting.directory.path().join("cache")).unwrap().next().unwrap().unwrap().path();
    let list = fs::read_dir(mirror.join("bookworm"))
        .unwrap()
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with("Packages-"))
        .unwrap();
    fs::write(list.path(), "evil").unwrap();
    fs::remove_dir_all(setting.directory.path().join("out")).unwrap();
    assert_eq!(setting.download().unwrap(), setting.package);
    fs::write(mirror.join("bookworm/InRelease"), "evil").unwrap();
    assert_eq!(setting.download().unwrap(), setting.package, "what is damaged is fetched again");
    assert_ne!(fs::read(mirror.join("bookworm/InRelease")).unwrap(), b"evil");
}

#[test]
fn stale_and_older_indices_are_told() {
    let setting = Setting::new();
    setting.publish("bookworm", "Valid-Until: Sat, 16 Aug 2025 09:16:30 UTC\n");
    setting.refused(
        "was good until Sat, 16 Aug 2025 09:16:30 UTC: the mirror is stale, or this host's clock is wrong",
    );
    let mut options = setting.archive().options().clone();
    options.allow_expired = true;
    let archive = Archive::open(setting.directory.path(), options).unwrap();
    assert!(archive.find(IMAGE, "bookworm", &Silent).is_ok());
    setting.publish("bookworm", "Valid-Until: Sat, 16 Aug 2125 09:16:30 UTC\n");
    assert!(setting.download().is_ok());
    // Signed once, but not the newest that was seen.
    let digest = sha256(&xz(b"Package: other\n"));
    let old = setting.release("bookworm", "", &digest, 5).replace("2025", "2015").replace("Sat,", "Sun,");
    setting.mirror.put("dists/bookworm/InRelease", setting.signer.sign(&old));
    assert_eq!(setting.download().unwrap(), setting.package, "the newer one still counts");
    // Also when it is not known any more by what the server knew it.
    let cache = setting.directory.path().join("cache");
    let mirror = fs::read_dir(cache).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(mirror.join("bookworm/InRelease.json")).unwrap();
    assert_eq!(setting.download().unwrap(), setting.package);
    fs::write(mirror.join("bookworm/InRelease.json"), "{").unwrap();
    assert_eq!(setting.download().unwrap(), setting.package);
}

#[test]
fn sizes_beyond_the_limits_are_not_fetched() {
    let mut setting = Setting::new();
    let list = "a".repeat(64);
    let text = setting.release("bookworm", "", &list, 1 << 40);
    setting.mirror.put("dists/bookworm/InRelease", setting.signer.sign(&text));
    setting.refused("more than the limit of");
    setting.mirror.put("dists/bookworm/InRelease", vec![b'#'; 9 << 20]);
    setting.refused("is larger than 8388608 bytes");
    setting.packages = setting.packages.replace("Size: 300000", "Size: 9999999999999");
    setting.publish("bookworm", "");
    setting.refused("more than the limit of");
    setting.packages = "Package: x\nDescription: ".to_owned() + &"a".repeat(2 << 20);
    setting.publish("bookworm", "");
    setting.refused("a stanza is longer than 1 MiB");
    setting.packages = format!("Package: {IMAGE}\nVersion: 1\n");
    setting.publish("bookworm", "");
    setting.refused("a package of it is not described");
}

#[test]
fn a_connection_that_breaks_is_made_again_and_the_rest_is_fetched() {
    let setting = Setting::new();
    let archive = setting.archive();
    let package = archive.find(IMAGE, "bookworm", &Silent).unwrap();
    setting.mirror.requests();
    setting.mirror.content.lock().unwrap().break_after = vec![1000, 100_000];
    let path = archive.download(&package, setting.directory.path(), &Silent).unwrap();
    assert_eq!(fs::read(path).unwrap(), setting.package);
    let statuses: Vec<u16> = setting.mirror.requests().iter().map(|(_, status)| *status).collect();
    assert_eq!(statuses, [200, 206, 206]);
}

#[test]
fn without_a_keyring_nothing_is_asked() {
    let setting = Setting::new();
    let mut options = setting.archive().options().clone();
    options.keyring = "/no/such/keyring".into();
    let complaint = Archive::open(setting.directory.path(), options).err().unwrap().to_string();
    assert!(complaint.contains("install the package debian-archive-keyring"), "{complaint}");
    assert!(setting.mirror.requests().is_empty());
}

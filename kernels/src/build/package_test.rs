use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::super::BuildStep;
use super::*;

const CONTENT: &[u8] = b"!<arch>\n";

/// Has one package, and may keep whoever asks for it waiting.
#[derive(Debug, Default)]
struct Shelf {
    fetched: Arc<AtomicUsize>,
    wrong: bool,
    slow: bool,
}

impl PackageArchive for Shelf {
    fn find(&self, name: &str) -> Result<Box<dyn SourcePackage>, String> {
        match name {
            "linux-source-1" => Ok(Box::new(Shelf { fetched: Arc::clone(&self.fetched), ..*self })),
            _ => Err(format!("there is no {name}")),
        }
    }
}

impl SourcePackage for Shelf {
    fn file_name(&self) -> &str {
        "linux-source-1_1_all.deb"
    }

    fn sha256(&self) -> &str {
        static SHA256: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        SHA256.get_or_init(|| digest::hexadecimal(&Sha256::digest(CONTENT)))
    }

    fn fetch(&self, directory: &Path) -> Result<PathBuf, String> {
        self.fetched.fetch_add(1, Ordering::SeqCst);
        let path = directory.join(self.file_name());
        fs::write(&path, if self.wrong { b"other" } else { CONTENT }).map_err(|error| error.to_string())?;
        if self.slow {
            std::thread::sleep(Duration::from_secs(60));
        }
        Ok(path)
    }
}

struct CalledOffAfter(Instant);

impl Watcher for CalledOffAfter {
    fn step(&self, _: BuildStep) {}

    fn cancelled(&self) -> bool {
        Instant::now() > self.0
    }
}

/// Finds and fetches the package; what is left in the cache's directory of packages.
fn fetch(shelf: Shelf, cache: &Path, patience: Duration) -> (Result<PathBuf, Error>, Vec<String>) {
    let watcher = CalledOffAfter(Instant::now() + patience);
    let archive: Arc<dyn PackageArchive> = Arc::new(shelf);
    let fetched = Package::find("linux-source-1", &archive, &watcher).unwrap().fetch(cache, &watcher);
    let names = fs::read_dir(cache.join("packages")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    (fetched, names.filter(|name| name != ".lock").collect())
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_package_is_fetched_once_and_again_when_it_is_damaged() {
    let cache = tempfile::tempdir().unwrap();
    let fetched = Arc::new(AtomicUsize::new(0));
    let shelf = || Shelf { fetched: Arc::clone(&fetched), ..Shelf::default() };
    for (damage, times) in [(false, 1), (false, 1), (true, 2)] {
        if damage {
            fs::write(cache.path().join("packages/linux-source-1_1_all.deb"), "x").unwrap();
        }
        let (path, left) = fetch(shelf(), cache.path(), LONG);
        assert_eq!(fs::read(path.unwrap()).unwrap(), CONTENT);
        assert_eq!(left, ["linux-source-1_1_all.deb"]);
        assert_eq!(fetched.load(Ordering::SeqCst), times);
    }
}

#[test]
fn what_is_not_there_or_not_what_was_signed_is_told() {
    let cache = tempfile::tempdir().unwrap();
    let (refused, left) = fetch(Shelf { wrong: true, ..Shelf::default() }, cache.path(), LONG);
    let complaint = refused.unwrap_err().to_string();
    assert!(complaint.starts_with("cannot get the package linux-source-1: SHA-256 "), "{complaint}");
    assert!(left.is_empty(), "{left:?}");
    let archive: Arc<dyn PackageArchive> = Arc::new(Shelf::default());
    let missing = Package::find("linux-source-2", &archive, &CalledOffAfter(Instant::now() + LONG));
    let complaint = missing.err().unwrap().to_string();
    assert_eq!(complaint, "cannot get the package linux-source-2: there is no linux-source-2");
}

#[test]
fn nobody_waits_for_a_package_that_is_not_wanted_any_more() {
    let cache = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let shelf = Shelf { slow: true, ..Shelf::default() };
    let (called_off, left) = fetch(shelf, cache.path(), Duration::from_millis(300));
    assert!(matches!(called_off, Err(Error::Cancelled)));
    assert!(left.is_empty(), "{left:?}");
    assert!(begun.elapsed() < Duration::from_secs(30));
}

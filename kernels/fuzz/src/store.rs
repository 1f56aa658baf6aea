//! A store of kernels in memory, to which things are added as `vmrun kernel add` does.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kernels::{Abilities, Addition, Kernel, KernelStore, Source};

const MEMORY: &str = "/dev/shm";
const PREFIX: &str = "vmrun-fuzz-";

/// The one store of this process.
pub struct Store {
    directory: PathBuf,
    store: KernelStore,
}

impl Store {
    pub fn new(target: &str) -> Store {
        remove_abandoned();
        let directory = PathBuf::from(format!("{MEMORY}/{PREFIX}{target}.{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let store = KernelStore::open(&directory.join("store")).unwrap().with_disks(keep_stream);
        Store { directory, store }
    }

    /// A place for files that are to be added.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Adds what the sources are and shows it to `accepted`: a kernel that is whole, or nothing at all and one line
    /// why.
    pub fn add(&self, sources: &[Source], name: Option<&str>, accepted: impl FnOnce(&Kernel)) {
        match self.store.add(sources, &Addition { name, ..Addition::default() }, &|_| ()) {
            Ok(kernel) => {
                self.store.check(&kernel).unwrap();
                assert_eq!(self.store.get(&kernel.name).unwrap(), kernel);
                accepted(&kernel);
                self.store.remove(&kernel.name).unwrap();
            }
            Err(error) => {
                let line = error.to_string();
                let is_line = line.len() < 10_000 && !line.contains(char::is_control);
                assert!(is_line, "{line:?}");
            }
        }
        for entry in fs::read_dir(self.directory.join("store")).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(name == ".lock" || name == ".default", "{name:?} was left behind");
        }
    }
}

/// What processes that are gone have left: a fuzzer ends without cleaning up.
fn remove_abandoned() {
    for entry in fs::read_dir(MEMORY).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('.'));
        if process.is_some_and(|(_, process)| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// In the place of a file system, the stream that one would be made of.
fn keep_stream(tree: &mut dyn Read, disk: &Path, _: &Abilities) -> io::Result<()> {
    io::copy(tree, &mut File::create(disk)?).map(drop)
}

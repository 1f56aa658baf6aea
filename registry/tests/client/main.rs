//! The client against servers that are written here, because no real registry misbehaves on demand.

mod hostile;
mod image;
mod pull;
mod push;
mod server;
mod tls;
mod tokens;

use std::path::Path;
use std::time::Duration;

use registry::{Credentials, Login, Options, Patience, Registry};
use rootfs_builder::progress::Silent;
use rootfs_builder::reference::Reference;
use rootfs_builder::store::{self, Pulled, Store};

/// Little enough for tests.
fn patience() -> Patience {
    Patience {
        silence: Duration::from_millis(300),
        document: Duration::from_millis(500),
        least_bytes: 1 << 10,
        attempts: 4,
        first_delay: Duration::from_millis(5),
        longest_delay: Duration::from_millis(300),
        ..Patience::default()
    }
}

fn registry(host: &str, login: Option<Login>) -> Registry {
    let options = Options { insecure: false, patience: patience() };
    Registry::new(host, Credentials::only(login), options).unwrap()
}

fn somebody() -> Option<Login> {
    Some(Login::Password { user: "somebody".into(), password: "secret:word".into() })
}

/// A store of its own.
struct Home {
    directory: tempfile::TempDir,
    store: Store,
}

impl Home {
    fn new() -> Home {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        Home { directory, store }
    }

    fn pull(&self, host: &str, login: Option<Login>, name: &str) -> store::Result<Pulled> {
        let name: Reference = format!("{host}/{name}").parse().unwrap();
        let registry = registry(host, login);
        self.store.pull(&registry.repository(name.repository()), &name, &Default::default(), &Silent)
    }

    /// What there is: names of blobs, layers and images, and what is unfinished.
    fn contents(&self) -> Vec<String> {
        let list = |path: &str| -> Vec<String> {
            let entries = std::fs::read_dir(self.directory.path().join(path)).unwrap();
            entries.map(|entry| format!("{path}/{}", entry.unwrap().file_name().display())).collect()
        };
        let places = ["oci/blobs/sha256", "layers/sha256", "images/sha256", "tmp"];
        let mut all: Vec<String> = places.iter().flat_map(|place| list(place)).collect();
        all.sort();
        all
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

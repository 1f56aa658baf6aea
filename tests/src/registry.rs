//! A registry of the tests' own: Debian's docker-registry, on loopback, with its files in a temporary directory.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Runs until it is dropped.
pub struct Registry {
    port: u16,
    server: Child,
    _directory: TempDir,
}

impl Registry {
    /// One that anybody may pull from and push to.
    pub fn start() -> Registry {
        let directory = tempfile::tempdir().expect("cannot make a directory");
        let port = free_port();
        let configuration = directory.path().join("config.yml");
        let storage = directory.path().join("registry");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nhttp: {{addr: \"localhost:{port}\"}}\n\
             storage: {{filesystem: {{rootdirectory: \"{}\"}}, delete: {{enabled: true}}}}\n",
            storage.display()
        );
        fs::write(&configuration, text).expect("cannot write a file");
        let server = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed");
        let registry = Registry { port, server, _directory: directory };
        let begun = Instant::now();
        while TcpStream::connect(("localhost", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "docker-registry does not answer");
            thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    /// What an image in this registry is called.
    pub fn name(&self, repository: &str) -> String {
        format!("localhost:{}/{repository}", self.port)
    }

    /// Puts an OCI layout's image `latest` there, by skopeo.
    pub fn push(&self, layout: &Path, repository: &str) {
        let source = format!("oci:{}:latest", layout.display());
        let target = format!("docker://{}", self.name(repository));
        let done = Command::new("skopeo")
            .args(["copy", "--quiet", "--dest-tls-verify=false", &source, &target])
            .output()
            .expect("skopeo is installed");
        assert!(done.status.success(), "skopeo: {}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Somebody else may take it before the registry does; then its start fails, and the test says so.
fn free_port() -> u16 {
    TcpListener::bind("localhost:0")
        .and_then(|listener| listener.local_addr())
        .expect("loopback works")
        .port()
}

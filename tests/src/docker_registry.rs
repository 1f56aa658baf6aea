//! The registry server of Debian's package `docker-registry`, on a port and a storage of its own.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The one user of a registry that wants authentication.
pub const USER: &str = "somebody";
pub const PASSWORD: &str = "secret:word";

/// A registry that runs; ended when it is dropped.
#[derive(Debug)]
pub struct DockerRegistry {
    directory: TempDir,
    /// `localhost:PORT`, the first part of its images' names.
    pub host: String,
    process: Child,
}

impl DockerRegistry {
    /// One that lets everybody do everything.
    pub fn start() -> DockerRegistry {
        DockerRegistry::start_with("", |_| {})
    }

    /// One with TLS, whose certificate was issued by [`DockerRegistry::authority`].
    pub fn start_with_tls() -> DockerRegistry {
        DockerRegistry::start_with("  tls: {certificate: certificate.pem, key: key.pem}\n", |directory| {
            let script = "key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'; \
                openssl req -x509 $key -keyout authority.key -out authority.pem -subj /CN=authority && \
                openssl req $key -keyout key.pem -out request.pem -subj /CN=localhost && \
                echo subjectAltName=DNS:localhost >names && \
                openssl x509 -req -in request.pem -CA authority.pem -CAkey authority.key -CAcreateserial \
                    -extfile names -out certificate.pem";
            run("sh", &["-c", &format!("cd '{}' && {script}", directory.display())]);
        })
    }

    /// One that wants [`USER`]'s password (HTTP basic authentication).
    pub fn start_with_password() -> DockerRegistry {
        DockerRegistry::start_with("auth:\n  htpasswd: {realm: a registry, path: htpasswd}\n", |directory| {
            let file = directory.join("htpasswd");
            run("htpasswd", &["-bBc", "-C", "4", file.to_str().unwrap(), USER, PASSWORD]);
        })
    }

    /// `more` follows the configuration's `http`; `prepare` makes the files that it names.
    fn start_with(more: &str, prepare: impl FnOnce(&Path)) -> DockerRegistry {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        prepare(directory.path());
        let port = free_port();
        let storage = path("storage");
        let configuration = format!(
            "version: 0.1\nlog: {{level: warn}}\n\
             storage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n\
             http:\n  addr: localhost:{port}\n{more}",
            storage.display()
        );
        fs::write(path("config.yml"), configuration).unwrap();
        let log = fs::File::create(path("log")).unwrap();
        let process = Command::new("docker-registry")
            .args(["serve", "config.yml"])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("docker-registry is installed");
        let registry = DockerRegistry { directory, host: format!("localhost:{port}"), process };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(&registry.host).is_err() {
            assert!(Instant::now() < deadline, "docker-registry does not start:\n{}", registry.log());
            thread::sleep(Duration::from_millis(10));
        }
        registry
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// The requests so far that reached it, such as `GET /v2/app/manifests/1`.
    pub fn requests(&self) -> Vec<String> {
        let log = self.log();
        let requests = log.lines().filter_map(|line| line.split('"').find(|part| part.contains(" HTTP/1.")));
        requests.filter_map(|request| Some(request.rsplit_once(' ')?.0.to_owned())).collect()
    }

    /// How often it gave a part of something.
    pub fn partial_answers(&self) -> usize {
        self.log().lines().filter(|line| line.contains(r#" HTTP/1.1" 206 "#)).count()
    }

    /// The certificate of whoever issued the registry's.
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }

    /// `REPOSITORY:TAG` as images are called.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.host)
    }

    /// Copies by skopeo, to or from this registry or another place, with credentials where they are needed.
    pub fn skopeo_copy(&self, options: &[&str], from: &str, to: &str) {
        let auth = self.authfile();
        let words = [
            "copy",
            "-q",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            "--authfile",
            auth.to_str().unwrap(),
        ];
        run("skopeo", &[&words, options, &[from, to]].concat());
    }

    /// The digest of what a name stands for, as skopeo sees it.
    pub fn skopeo_digest(&self, name: &str) -> String {
        let (auth, from) = (self.authfile(), format!("docker://{}", self.name(name)));
        let words = [
            "inspect",
            "--tls-verify=false",
            "--authfile",
            auth.to_str().unwrap(),
            "--format",
            "{{.Digest}}",
            &from,
        ];
        run("skopeo", &words).trim().to_owned()
    }

    /// skopeo's own credentials, which are right.
    fn authfile(&self) -> PathBuf {
        let path = self.directory.path().join("auth.json");
        // base64 of USER:PASSWORD.
        let auth = format!(r#"{{"auths":{{"{}":{{"auth":"c29tZWJvZHk6c2VjcmV0OndvcmQ="}}}}}}"#, self.host);
        fs::write(&path, auth).unwrap();
        path
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that nobody uses, and nobody takes in the moment until the server does: the kernel gives others out from
/// another range, and each test process has a part of this one.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 100) as u16 * 100;
    let mut ports = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed) % 100).take(100);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

/// Runs a tool that has to succeed, and returns its output.
pub fn run(program: &str, words: &[&str]) -> String {
    let output =
        Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

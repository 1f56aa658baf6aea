//! Images travel: the real registry server between vmrun and skopeo.

use std::fs;
use std::io::{self, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use tests::docker_registry::{PASSWORD, USER, run};
use tests::{DockerRegistry, Terminal, vmrun};

use crate::image_file;

/// The layout with an image of several layers.
fn layered() -> String {
    format!("oci:{}", image_file("layered").display())
}

/// A state directory, and beside it the one for credentials.
struct User {
    home: tempfile::TempDir,
    config: tempfile::TempDir,
}

impl User {
    fn new() -> User {
        User { home: tempfile::tempdir().unwrap(), config: tempfile::tempdir().unwrap() }
    }

    fn command(&self, words: &[&str]) -> tests::Command {
        vmrun(words).home(self.home.path()).env("DOCKER_CONFIG", self.config.path())
    }

    fn run(&self, words: &[&str]) -> tests::Outcome {
        self.command(words).run()
    }

    fn config(&self) -> PathBuf {
        self.config.path().join("config.json")
    }

    fn layers(&self) -> usize {
        fs::read_dir(self.home.path().join("layers/sha256")).unwrap().count()
    }
}

#[test]
fn an_image_goes_from_skopeo_to_vmrun_and_back() {
    let registry = DockerRegistry::start();
    registry.skopeo_copy(&[], &layered(), &format!("docker://{}", registry.name("team/app:1")));
    let digest = registry.skopeo_digest("team/app:1");
    let (user, name) = (User::new(), registry.name("team/app:1"));
    let pulled = user.run(&["pull", &name]).succeeds().says(&[
        "1: Pulling from team/app",
        &format!("Digest: {digest}"),
        &format!("Status: Downloaded newer image for {name}"),
    ]);
    assert_eq!(pulled.stderr.lines().filter(|line| line.ends_with(": built")).count(), user.layers());
    user.run(&["pull", &name]).succeeds().says(&["Status: Image is up to date"]);
    let quiet = user.run(&["pull", "--quiet", &registry.name(&format!("team/app@{digest}"))]).succeeds();
    assert_eq!(
        (quiet.text().trim(), quiet.stderr.as_str()),
        (&*registry.name(&format!("team/app@{digest}")), "")
    );

    // To another repository of the same registry nothing is uploaded but the manifest.
    let (other, before) = (registry.name("other:2"), registry.requests().len());
    user.run(&["tag", &name, &other]).succeeds();
    let pushed = user.run(&["push", &other]).succeeds().says(&[&format!("2: digest: {digest} size: ")]);
    assert!(
        pushed.stderr.lines().all(|line| line.ends_with("mounted from another repository")),
        "{}",
        pushed.stderr
    );
    let uploads: Vec<String> =
        registry.requests().split_off(before).into_iter().filter(|line| line.starts_with("PUT")).collect();
    assert_eq!(uploads, ["PUT /v2/other/manifests/2"]);
    assert_eq!(registry.skopeo_digest("other:2"), digest);
    let again = user.run(&["push", &other]).succeeds();
    assert!(again.stderr.lines().all(|line| line.ends_with("already there")), "{}", again.stderr);

    // From a store that did not pull it, everything is.
    let (author, mine) = (User::new(), registry.name("mine:3"));
    let layout = image_file("layered");
    author.run(&["load", "-q", "-i", layout.to_str().unwrap(), "--name", &mine]).succeeds();
    author.run(&["push", &mine]).succeeds().says(&[&digest]).complains(&[": pushed"]);
    let copy = author.home.path().join("copy");
    registry.skopeo_copy(&[], &format!("docker://{mine}"), &format!("oci:{}:copy", copy.display()));
    let blobs = |layout: &Path| {
        let names =
            fs::read_dir(layout.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    assert_eq!(blobs(&copy), blobs(&layout), "the same blobs, manifest and all");
}

/// Only the layer that a derived image adds is fetched, in whatever form it is.
#[test]
fn only_missing_layers_are_fetched() {
    let (registry, user) = (DockerRegistry::start(), User::new());
    let layout = user.config.path().join("layout");
    let image = |tag: &str| format!("{}:{tag}", layout.display());
    registry.skopeo_copy(&[], &layered(), &format!("oci:{}", image("base")));
    let tar = user.config.path().join("extra.tar");
    fs::write(user.config.path().join("extra"), "extra\n").unwrap();
    run("tar", &["-C", user.config.path().to_str().unwrap(), "-cf", tar.to_str().unwrap(), "extra"]);
    run("umoci", &["raw", "add-layer", "--image", &image("base"), "--tag", "derived", tar.to_str().unwrap()]);
    for tag in ["base", "derived"] {
        registry.skopeo_copy(
            &[],
            &format!("oci:{}", image(tag)),
            &format!("docker://{}", registry.name(&format!("app:{tag}"))),
        );
    }
    user.run(&["pull", &registry.name("app:base")]).succeeds();
    let (layers, before) = (user.layers(), registry.requests().len());
    user.run(&["pull", &registry.name("app:derived")]).succeeds().complains(&["already here"]);
    let fetched = registry.requests().split_off(before);
    let blobs = fetched.iter().filter(|line| line.contains("/blobs/")).count();
    assert_eq!((blobs, user.layers()), (2, layers + 1), "a configuration and a layer: {fetched:?}");

    for options in [&["--format", "v2s2"][..], &["--dest-compress-format", "zstd"], &["--dest-decompress"]] {
        let other = registry.name(&format!("form{}:1", options.len() + options[0].len()));
        registry.skopeo_copy(options, &format!("oci:{}", image("derived")), &format!("docker://{other}"));
        user.run(&["pull", &other]).succeeds();
        assert_eq!(user.layers(), layers + 1, "{options:?} has the same layers");
    }
}

#[test]
fn two_pulls_of_one_image_at_once() {
    let (registry, user) = (DockerRegistry::start(), User::new());
    registry.skopeo_copy(&[], &layered(), &format!("docker://{}", registry.name("app:1")));
    let before = registry.requests().len();
    let start = || user.command(&["pull", &registry.name("app:1")]).start();
    let (one, other) = (start(), start());
    one.wait().succeeds();
    other.wait().succeeds();
    let blobs =
        registry.requests().split_off(before).into_iter().filter(|line| line.contains("/blobs/")).count();
    // Layers once; the configuration, which says what they are, by each.
    assert!(blobs <= user.layers() + 2, "{blobs} blobs were fetched for {} layers", user.layers());
    assert_eq!(user.run(&["images", "-q"]).succeeds().text().lines().count(), 1);
}

/// Each connection breaks after so many bytes; the real server gives the rest of a blob when it is asked for that.
#[test]
fn a_pull_over_a_line_that_breaks() {
    const LASTS: u64 = 700_000;
    let (registry, user) = (DockerRegistry::start(), User::new());
    registry.skopeo_copy(&[], &layered(), &format!("docker://{}", registry.name("app:1")));
    let listener = TcpListener::bind("localhost:0").unwrap();
    let name = format!("localhost:{}/app:1", listener.local_addr().unwrap().port());
    let behind = registry.host.clone();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&behind).unwrap();
            let (mut requests, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || io::copy(&mut requests, &mut to_server));
            thread::spawn(move || {
                let _ = io::copy(&mut (&server).take(LASTS), &mut &client);
                let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
            });
        }
    });
    user.run(&["pull", &name]).succeeds().says(&[&registry.skopeo_digest("app:1")]);
    let parts = registry.partial_answers();
    assert!(parts >= 2, "the largest layer is 2 MB, and came in {parts} further parts");
}

#[test]
fn credentials_are_asked_for_kept_and_forgotten() {
    let (registry, user) = (DockerRegistry::start_with_password(), User::new());
    registry.skopeo_copy(&[], &layered(), &format!("docker://{}", registry.name("app:1")));
    let name = registry.name("app:1");
    let hint = format!("vmrun login {}", registry.host);
    user.run(&["pull", "-q", &name]).is_refused(&[&hint]);
    fs::write(user.config(), r#"{"HttpHeaders":{"kept":"yes"}}"#).unwrap();
    let login = |password: &str| {
        let words = ["login", "-u", USER, "--password-stdin", &registry.host];
        user.command(&words).stdin(format!("{password}\n")).run()
    };
    login("wrong").is_refused(&["does not accept", &registry.host]);
    login(PASSWORD).succeeds().says(&["Login Succeeded"]);
    let config = fs::read_to_string(user.config()).unwrap();
    assert!(config.contains(r#""kept": "yes""#) && config.contains(&registry.host), "{config}");
    assert_eq!(fs::metadata(user.config()).unwrap().permissions().mode() & 0o777, 0o600);

    user.run(&["pull", "-q", &name]).succeeds();
    user.run(&["tag", &name, &registry.name("copy:1")]).succeeds();
    user.run(&["push", "-q", &registry.name("copy:1")]).succeeds();
    assert_eq!(registry.skopeo_digest("copy:1"), registry.skopeo_digest("app:1"));
    // skopeo is let in by what vmrun has kept.
    let words = ["inspect", "--tls-verify=false", "--authfile", user.config.path().to_str().unwrap()];
    let config = user.config();
    run("skopeo", &[&words[..3], &[config.to_str().unwrap(), &format!("docker://{name}")]].concat());

    user.run(&["logout", &registry.host]).succeeds().says(&["Removing login credentials"]);
    user.run(&["logout", &registry.host]).succeeds().says(&["Not logged in"]);
    user.run(&["pull", "-q", &name]).is_refused(&[&hint]);
    user.run(&["push", "-q", &name]).is_refused(&[&hint]);
}

/// On a terminal the password is asked for, and not shown.
#[test]
fn a_password_is_typed_unseen() {
    let (registry, user) = (DockerRegistry::start_with_password(), User::new());
    let mut terminal = Terminal::start(24, 100, user.command(&["login", &registry.host]));
    terminal.shows("User name for localhost");
    terminal.types(&format!("{USER}\r"));
    terminal.shows("Password: ");
    terminal.types(&format!("{PASSWORD}\r"));
    assert!(!terminal.shows("Login Succeeded").contains(PASSWORD));
    terminal.wait().succeeds();
}

/// The host's certificate authorities decide, and `--insecure` does without them.
#[test]
fn tls_is_trusted_through_the_hosts_authorities() {
    let (registry, user) = (DockerRegistry::start_with_tls(), User::new());
    registry.skopeo_copy(&[], &layered(), &format!("docker://{}", registry.name("app:1")));
    let name = registry.name("app:1");
    user.run(&["pull", "-q", &name]).is_refused(&[
        "is not trusted",
        "nobody known has issued it",
        "--insecure",
    ]);
    user.command(&["pull", "-q", &name]).env("SSL_CERT_FILE", registry.authority()).run().succeeds();
    User::new().run(&["pull", "-q", "--insecure", &name]).succeeds();
    let nobody = user.config.path().join("nothing.pem");
    user.command(&["pull", &name])
        .env("SSL_CERT_FILE", nobody)
        .env("SSL_CERT_DIR", "/nowhere")
        .run()
        .is_refused(&["ca-certificates"]);
}

/// Without TLS only loopback is spoken to, unless that was asked for. 0.0.0.0 leads here, too, but does not say so.
#[test]
fn plain_http_is_for_loopback() {
    let (registry, user) = (DockerRegistry::start(), User::new());
    registry.skopeo_copy(&[], &layered(), &format!("docker://{}", registry.name("app:1")));
    let name = registry.name("app:1").replace("localhost", "0.0.0.0");
    let before = registry.requests().len();
    user.run(&["pull", "-q", &name]).is_refused(&["does not speak TLS", "--insecure"]);
    assert_eq!(registry.requests().len(), before, "nothing was asked in the clear");
    user.run(&["pull", "-q", "--insecure", &name]).succeeds();
    user.run(&["push", "-q", &name]).is_refused(&["does not speak TLS"]);
    user.run(&["push", "-q", "--insecure", &name]).succeeds();
}

/// A credential helper gets the secret, and the file does not.
#[test]
fn a_helper_keeps_credentials() {
    let (registry, user) = (DockerRegistry::start_with_password(), User::new());
    registry.skopeo_copy(&[], &layered(), &format!("docker://{}", registry.name("app:1")));
    let directory = user.config.path().join("bin");
    fs::create_dir(&directory).unwrap();
    let helper = directory.join("docker-credential-test");
    let script = "#!/bin/sh\nfile=$(dirname \"$0\")/kept\ncase $1 in\nstore) cat >\"$file\" ;;\nerase) rm -f \"$file\" ;;\n\
                  get) cat \"$file\" 2>/dev/null || { echo credentials not found in native keychain; exit 1; } ;;\nesac\n";
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(user.config(), r#"{"credsStore":"test"}"#).unwrap();
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    let command = |words: &[&str]| user.command(words).env("PATH", &path);
    command(&["login", "-u", USER, "--password-stdin", &registry.host]).stdin(PASSWORD).run().succeeds();
    assert!(fs::read_to_string(directory.join("kept")).unwrap().contains("secret:word"));
    assert_eq!(fs::read_to_string(user.config()).unwrap(), r#"{"credsStore":"test"}"#);
    command(&["pull", "-q", &registry.name("app:1")]).run().succeeds();
    command(&["logout", &registry.host]).run().succeeds();
    assert!(!directory.join("kept").exists());
    command(&["pull", "-q", &registry.name("app:1")]).run().is_refused(&["vmrun login"]);
    fs::write(user.config(), r#"{"credsStore":"not-there"}"#).unwrap();
    command(&["pull", "-q", &registry.name("app:1")])
        .run()
        .is_refused(&["docker-credential-not-there", "not installed"]);
}

/// What runs and is not here is pulled, when that is wanted. There is no kernel here, so it goes no further.
#[test]
fn what_is_run_is_pulled_first() {
    let (registry, user) = (DockerRegistry::start(), User::new());
    registry.skopeo_copy(&[], &layered(), &format!("docker://{}", registry.name("app:1")));
    let name = registry.name("app:1");
    user.run(&["run", "--pull", "never", &name]).is_refused(&["no such image", &name]);
    user.run(&["run", &registry.name("app:2")]).is_refused(&["app:2", "was not found"]);
    user.run(&[&name])
        .is_refused(&["vmrun kernel pull"])
        .complains(&["Unable to find image", "Downloaded newer image"]);
    assert!(
        user.run(&["run", &name]).is_refused(&["kernel"]).stderr.lines().count() == 1,
        "nothing is pulled twice"
    );
    user.run(&["run", "--pull", "always", &name]).is_refused(&["kernel"]).complains(&["up to date"]);
    drop(registry);
    user.run(&["run", &name]).is_refused(&["kernel"]);
    user.run(&["run", "--pull", "always", &name]).is_refused(&["cannot pull", "cannot reach localhost"]);
}

/// Another platform's image is kept like any other, and not run.
#[test]
fn other_platforms_are_pulled_when_asked_for_and_never_run() {
    let (registry, user) = (DockerRegistry::start(), User::new());
    let image = format!("{}:arm", user.config.path().join("layout").display());
    registry.skopeo_copy(&[], &layered(), &format!("oci:{image}"));
    run("umoci", &["config", "--image", &image, "--architecture", "arm64"]);
    let name = registry.name("app:1");
    registry.skopeo_copy(&[], &format!("oci:{image}"), &format!("docker://{name}"));
    user.run(&["pull", &name]).is_refused(&["no image for linux/amd64, only for linux/arm64"]);
    user.run(&["pull", "-q", "--platform", "linux/arm64", &name]).succeeds();
    user.run(&["run", &name]).is_refused(&["linux/arm64", "only linux/amd64 can run", "vmrun pull"]);
    user.run(&["tag", &name, &registry.name("copy:1")]).succeeds();
    user.run(&["push", "-q", &registry.name("copy:1")]).succeeds();
    assert_eq!(registry.skopeo_digest("copy:1"), registry.skopeo_digest("app:1"));
}

/// A bar for each layer, which ends as it should.
#[test]
fn a_terminal_shows_bars() {
    let (registry, user) = (DockerRegistry::start(), User::new());
    registry.skopeo_copy(&[], &layered(), &format!("docker://{}", registry.name("app:1")));
    let mut terminal = Terminal::start(24, 100, user.command(&["pull", &registry.name("app:1")]));
    let screen = terminal.shows("Downloaded newer image");
    assert!(screen.contains('█') && screen.contains("MiB") && screen.contains("built"), "{screen}");
    terminal.wait().succeeds();
    user.run(&["tag", &registry.name("app:1"), &registry.name("b:1")]).succeeds();
    let mut terminal = Terminal::start(24, 100, user.command(&["push", &registry.name("b:1")]));
    assert!(terminal.shows("1: digest:").contains("mounted"));
    terminal.wait().succeeds();
}

/// A disk that is full in the middle of a pull: one line, and what was there is whole.
#[test]
fn a_full_disk() {
    let (registry, user) = (DockerRegistry::start(), User::new());
    registry.skopeo_copy(&[], &layered(), &format!("docker://{}", registry.name("app:1")));
    let (home, program) = (user.home.path().display(), tests::setting("VMRUN"));
    let script = format!(
        "mount -t tmpfs -o size=3m none {home} && \"$1\" --root {home} pull \"$2\"; echo \"code $?\"; \
         find {home}/oci/blobs {home}/layers {home}/images {home}/tmp -type f; \
         mount -o remount,size=64m {home} && \"$1\" --root {home} pull -q \"$2\""
    );
    // Root needs no user namespace, which a system may not give.
    let user_namespace: &[&str] =
        if rustix::process::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    let name = registry.name("app:1");
    let output = Command::new("unshare")
        .args(user_namespace)
        .args(["--mount", "sh", "-c", &script, "sh", &program, &name])
        .output()
        .expect("util-linux is installed");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let complaints: Vec<&str> = errors.lines().filter(|line| line.starts_with("vmrun: ")).collect();
    assert!(complaints.len() == 1 && complaints[0].contains("no space left"), "{errors}");
    let after: Vec<&str> = said.lines().skip_while(|line| *line != "code 125").skip(1).collect();
    assert_eq!(after, [&name], "nothing is left over, and with more room it succeeds");
}

#[test]
fn mistakes_are_told_in_one_line() {
    let (registry, user) = (DockerRegistry::start(), User::new());
    user.run(&["pull", &registry.name("Not/Lower")]).is_refused(&["lower case"]);
    user.run(&["pull", &registry.name("../up")]).is_refused(&["not an image name"]);
    user.run(&["pull", &registry.name("no/such:1")]).is_refused(&["no/such:1", "was not found"]);
    user.run(&["pull", "--platform", "amd64", "x"]).exits_with(125).complains(&["OS/ARCH"]);
    user.run(&["push", &registry.name("not-here:1")]).is_refused(&["no such image", "not-here:1"]);
    user.run(&["push", &registry.name(&format!("a@sha256:{}", "0".repeat(64)))])
        .is_refused(&["has a digest"]);
    user.run(&["login", "-u", "x", "-p", "y", "no host"]).is_refused(&["not a registry"]);
    user.run(&["login", &registry.host]).is_refused(&["no terminal"]);
    fs::write(user.config(), "{").unwrap();
    user.run(&["logout", &registry.host]).is_refused(&["config.json", "cannot be understood"]);
}

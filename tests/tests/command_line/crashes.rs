//! A `vmrun` that is killed at any moment leaves a store in which whole images are whole, and which the same
//! command then completes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tests::{DockerRegistry, KERNEL, setting, vmrun};

use crate::image_file;

/// How often `make test` kills; `make test-long` does it ten times as often.
const ROUNDS: u32 = 250;
const KERNEL_ROUNDS: u32 = 6;

fn rounds(rounds: u32) -> u32 {
    if std::env::var("VMRUN_TEST_LONG").is_ok_and(|long| !long.is_empty()) { rounds * 10 } else { rounds }
}

/// Runs a command and kills it after a share of the time that it takes; how it ended.
fn killed(words: &[OsString], home: &Path, after: Duration) -> i32 {
    let running = vmrun(words).home(home).start();
    thread::sleep(after);
    running.signal(Signal::KILL);
    running.wait().code()
}

/// Pseudo-random numbers, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// `kept` is always there; `loaded` and `pulled`, which share layers, come and go.
#[test]
fn images_survive_whatever_is_killed() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let registry = DockerRegistry::start();
    let layered = image_file("layered");
    let derived = format!("oci:{}:latest", derived_layout(home, &layered).display());
    let pulled = registry.name("pulled:latest");
    registry.skopeo_copy(&[], &derived, &format!("docker://{pulled}"));
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let run = |line: &[OsString]| vmrun(line).home(home).run();

    let archive = image_file("layered.oci.tar").into_os_string().into_string().unwrap();
    let busybox = image_file("busybox.tar");
    let import = |name: &str| words(&["import", "--quiet", busybox.to_str().unwrap(), name]);
    let displace = import(&pulled);
    let rename = words(&["tag", "kept", "pulled-before"]);
    let load = words(&["load", "--quiet", "-i", &archive, "--name", "loaded"]);
    let pull = words(&["pull", "--quiet", &pulled]);
    run(&import("kept")).succeeds();

    // Each with what makes it have something to do.
    let commands = [
        (vec![], load.clone()),
        (vec![], pull.clone()),
        (vec![load.clone()], words(&["rmi", "loaded"])),
        (vec![pull.clone()], words(&["rmi", &pulled])),
        // An image without a name, and one with two.
        (vec![pull.clone(), displace, rename], words(&["prune", "--force"])),
    ];
    let mut takes: Vec<Duration> = commands
        .iter()
        .map(|(before, command)| {
            before.iter().for_each(|line| drop(run(line).succeeds()));
            let begun = Instant::now();
            run(command).succeeds();
            begun.elapsed()
        })
        .collect();

    let mut random = Random(1);
    let mut killed_in_time = 0;
    for round in 0..rounds(ROUNDS) {
        let at = random.below(commands.len() as u64) as usize;
        let (before, command) = &commands[at];
        // Half of them begin with nothing but `kept`.
        if random.below(2) == 0 {
            for name in ["loaded", &pulled] {
                run(&words(&["rmi", name]));
            }
        }
        before.iter().for_each(|line| drop(run(line).succeeds()));
        let code = killed(command, home, takes[at].mul_f64(random.below(1000) as f64 / 1000.0));
        let in_time = code == 128 + 9;
        killed_in_time += u32::from(in_time);
        // So that about four of five are, whatever else this computer does.
        takes[at] = takes[at].mul_f64(if in_time { 1.05 } else { 0.8 });

        let about = format!("round {round}: {command:?} ended with {code}");
        let checked = run(&words(&["fsck", "--dry-run"]));
        assert_eq!(checked.code(), 0, "{about}: {}", checked.text());
        let listed = run(&words(&["images", "--format", "json"])).succeeds().text();
        assert!(listed.contains("\"kept\""), "{about}: {listed}");
        let again = run(command);
        // What was to be removed may have been.
        let removed = command[0] == "rmi" && again.code() == 125 && again.stderr.contains("no such image");
        assert!(again.code() == 0 || removed, "{about}: {}", again.stderr);
        run(&words(&["prune", "--force"])).succeeds();
        assert_no_orphans(home, &about);
    }
    println!("{killed_in_time} of {} commands were killed before their end", rounds(ROUNDS));
    assert!(killed_in_time > rounds(ROUNDS) / 2, "too few were killed in time: {killed_in_time}");
}

/// `layered` with one more layer.
fn derived_layout(home: &Path, layered: &Path) -> std::path::PathBuf {
    let (layout, tar) = (home.join("derived"), home.join("derived.tar"));
    let run = |program: &str, arguments: &[&std::ffi::OsStr]| {
        let done = Command::new(program).args(arguments).output().expect("it is installed");
        assert!(done.status.success(), "{program}: {done:?}");
    };
    run("cp", &["-rL".as_ref(), layered.as_ref(), layout.as_ref()]);
    fs::create_dir(home.join("files")).unwrap();
    fs::write(home.join("files/more"), vec![7; 300_000]).unwrap();
    run("tar", &["-cf".as_ref(), tar.as_ref(), "-C".as_ref(), home.join("files").as_ref(), ".".as_ref()]);
    let image = format!("{}:latest", layout.display());
    run("umoci", &["raw".as_ref(), "add-layer".as_ref(), "--image".as_ref(), image.as_ref(), tar.as_ref()]);
    layout
}

/// Nothing is in the store that no name leads to.
fn assert_no_orphans(home: &Path, about: &str) {
    let names = |directory: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(home.join(directory)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let hex = |value: &Value| value.as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    let document = |digest: &str| -> Value {
        serde_json::from_slice(&fs::read(home.join("oci/blobs/sha256").join(digest)).unwrap()).unwrap()
    };
    let (mut blobs, mut images, mut layers) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let index: Value = serde_json::from_slice(&fs::read(home.join("oci/index.json")).unwrap()).unwrap();
    for entry in index["manifests"].as_array().unwrap() {
        let manifest_digest = hex(&entry["digest"]);
        let manifest = document(&manifest_digest);
        let config = hex(&manifest["config"]["digest"]);
        blobs.extend(manifest["layers"].as_array().unwrap().iter().map(|layer| hex(&layer["digest"])));
        layers.extend(document(&config)["rootfs"]["diff_ids"].as_array().unwrap().iter().map(hex));
        images.insert(config.clone());
        blobs.extend([manifest_digest, config]);
    }
    assert_eq!(names("oci/blobs/sha256"), blobs, "{about}");
    assert_eq!(names("images/sha256"), images, "{about}");
    assert_eq!(names("layers/sha256"), layers, "{about}");
    assert_eq!(names("tmp"), BTreeSet::new(), "{about}");
}

#[test]
fn kernel_add_survives_being_killed() {
    let kernels = Path::new(&setting("VMRUN_HOME")).join("kernels");
    let vmlinux = kernels.join(KERNEL).join("vmlinux").into_os_string();
    let add = ["kernel".into(), "add".into(), vmlinux, "--name".into(), "it".into()];
    let look = |home: &Path| {
        let listed = vmrun(["kernel", "ls"]).home(home).run().succeeds().stdout;
        [listed, fs::read(home.join("kernels/it/vmlinux")).unwrap()].concat()
    };
    let mut home = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    vmrun(&add).home(home.path()).run().succeeds();
    let takes = begun.elapsed();
    let expected = look(home.path());

    let mut random = Random(2);
    home = tempfile::tempdir().unwrap();
    for round in 0..rounds(KERNEL_ROUNDS) {
        let code = killed(&add, home.path(), takes.mul_f64(random.below(1000) as f64 / 1000.0));
        assert!(code == 128 + 9 || code == 0, "round {round}: {code}");
        // Each time on what two before have left.
        if round % 3 == 2 {
            vmrun(&add).home(home.path()).run().succeeds();
            assert!(look(home.path()) == expected, "round {round}: what is there is what was to be there");
            home = tempfile::tempdir().unwrap();
        }
    }
}

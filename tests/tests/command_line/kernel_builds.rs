//! `vmrun kernel build` that is called off where no compiler runs: it ends at once, and leaves nothing. And two whole
//! builds, which make the same bytes.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use tests::{Outcome, Running, setting, vmrun};

/// As a shell tells of a program that ^C has ended.
const INTERRUPTED: i32 = 130;

/// Makes what it is asked for, in no time.
const MAKEFILE: &str = "
allnoconfig:
\t@cp $(KCONFIG_ALLCONFIG) $(O)/.config
bzImage:
\t@mkdir -p $(O)/arch/x86/boot
\t@cp $(O)/.config $(O)/arch/x86/boot/bzImage
";

struct Bench(tempfile::TempDir);

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn start(&self, words: &[&str]) -> Running {
        let command = vmrun(["kernel", "build"].iter().chain(words));
        command.home(self.path("home")).env("XDG_CACHE_HOME", self.path("cache")).start()
    }

    /// Every file in the cache of builds but its lock.
    fn cached(&self) -> Vec<String> {
        names(&self.path("cache/vmrun/kernel-builds"))
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != ".lock").collect()
}

/// Waits until the process has `file` open.
fn until_open(running: &Running, file: &Path) {
    let open = PathBuf::from(format!("/proc/{}/fd", running.pid().as_raw_nonzero()));
    let file = file.canonicalize().unwrap_or(file.to_owned());
    let begun = Instant::now();
    while !fs::read_dir(&open)
        .unwrap_or_else(|error| panic!("it has ended: {error}"))
        .flatten()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == file))
    {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not open {}", file.display());
        thread::sleep(Duration::from_millis(10));
    }
}

fn interrupt(running: Running) -> Outcome {
    let begun = Instant::now();
    running.signal(Signal::INT);
    let outcome = running.wait();
    assert_eq!(outcome.code(), INTERRUPTED, "{outcome:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(outcome.stdout.is_empty() && outcome.stderr.lines().count() <= 1, "{outcome:?}");
    outcome
}

#[test]
fn one_that_waits_for_the_archive() {
    let bench = Bench(tempfile::tempdir().unwrap());
    let mirror = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/debian", mirror.local_addr().unwrap());
    let running = bench.start(&["--mirror", &address]);
    // It is asked, and does not answer.
    let _asked = mirror.accept().unwrap();
    let outcome = interrupt(running);
    assert!(outcome.stderr.contains("called off"), "{outcome:?}");
    assert_eq!(bench.cached(), [""; 0]);
}

#[test]
fn one_that_reads_its_source() {
    let bench = Bench(tempfile::tempdir().unwrap());
    let source = bench.path("linux.tar");
    // Minutes of reading, and nothing on the disk.
    File::create(&source).unwrap().set_len(1 << 40).unwrap();
    let running = bench.start(&["--source", source.to_str().unwrap()]);
    until_open(&running, &source);
    let outcome = interrupt(running);
    assert!(outcome.stderr.contains("called off"), "{outcome:?}");
    assert_eq!(bench.cached(), [""; 0]);
}

/// The kernel is built by then, and stays; the store has nothing of it.
#[test]
fn one_that_waits_for_the_store() {
    let bench = Bench(tempfile::tempdir().unwrap());
    let tree = bench.path("tree");
    for (file, text) in [("Makefile", MAKEFILE), ("Kconfig", ""), ("arch/x86/Kconfig", "")] {
        fs::create_dir_all(tree.join(file).parent().unwrap()).unwrap();
        fs::write(tree.join(file), text).unwrap();
    }
    let kernels = bench.path("home/kernels");
    fs::create_dir_all(&kernels).unwrap();
    let lock = File::create(kernels.join(".lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let running = bench.start(&["--source", tree.to_str().unwrap()]);
    until_open(&running, &kernels.join(".lock"));
    interrupt(running);
    drop(lock);
    assert_eq!(names(&kernels), [""; 0]);
    assert_eq!(bench.cached().len(), 1, "the kernel");
}

/// Wherever, whenever, by whomever and by how many compilers at once a kernel is built, it has the same bytes. Two cold
/// builds: a quarter of an hour of two processors.
#[test]
#[ignore = "for make test-long: two builds of the kernel"]
fn two_builds_make_the_same_bytes() {
    let packages = PathBuf::from(setting("VMRUN_CACHE")).join("kernel-builds/packages");
    let source = names(&packages).into_iter().find(|name| name.starts_with("linux-source-6.12_"));
    let source = packages.join(source.expect("scripts/make-test-store has fetched the source"));
    let build = |bench: &Bench, jobs: &str, environment: [(&str, &str); 4]| {
        let words =
            ["kernel", "build", "--name", "own", "--jobs", jobs, "--source", source.to_str().unwrap()];
        let mut command = vmrun(words).home(bench.path("home")).env("XDG_CACHE_HOME", bench.path("cache"));
        for (name, value) in environment {
            command = command.env(name, value);
        }
        command.patience(Duration::from_secs(3 * 3600)).run().succeeds().says(&["own"]);
        let [key] = &bench.cached()[..] else { panic!("{:?}", bench.cached()) };
        let built = bench.path("cache/vmrun/kernel-builds").join(key);
        (key.clone(), fs::read(built.join("config")).unwrap(), fs::read(built.join("bzImage")).unwrap())
    };
    let [one, other] = [(), ()].map(|()| Bench(tempfile::tempdir().unwrap()));
    let place = other.path("another/home");
    fs::create_dir_all(&place).unwrap();
    let place = place.to_str().unwrap();
    let first = build(&one, "2", [("LANG", "C"), ("TZ", "UTC"), ("USER", "root"), ("KCFLAGS", "")]);
    let second = build(
        &other,
        "3",
        [("LANG", "de_DE.UTF-8"), ("TZ", "Asia/Tokyo"), ("HOME", place), ("KCFLAGS", "-O0")],
    );
    assert_eq!(first.0, second.0, "the key");
    assert!(first.1 == second.1, "the configuration");
    assert!(first.2 == second.2, "the kernel");
}

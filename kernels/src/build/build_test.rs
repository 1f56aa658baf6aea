//! Builds of a source that is no kernel's, but is made like one.

use std::cell::{Cell, RefCell};

use super::*;

/// Configures what it is asked for, and makes an image of that and of what the environment says.
const MAKEFILE: &str = "
allnoconfig:
\t@cp $(KCONFIG_ALLCONFIG) $(O)/.config
bzImage:
\t@echo '  CC      init/main.o'
\t@test ! -e fails || { echo 'main.c:1: error: no such thing' >&2; exit 1; }
\t@mkdir -p $(O)/arch/x86/boot
\t@(cat $(O)/.config; env | grep -E 'KBUILD|ARCH|MAKEFLAGS=.*x|SECRET' | sort) >$(O)/arch/x86/boot/bzImage
";

#[derive(Default)]
struct Seen {
    steps: RefCell<Vec<BuildStep>>,
    cancel: Cell<bool>,
}

impl Watcher for Seen {
    fn step(&self, step: BuildStep) {
        self.steps.borrow_mut().push(step);
    }

    fn cancelled(&self) -> bool {
        self.cancel.get()
    }
}

/// An archive that nobody is to ask.
#[derive(Debug)]
struct Empty;

impl PackageArchive for Empty {
    fn find(&self, name: &str) -> Result<Box<dyn SourcePackage>, String> {
        panic!("{name} is no package")
    }
}

struct Bench {
    directory: tempfile::TempDir,
    seen: Seen,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { directory: tempfile::tempdir().unwrap(), seen: Seen::default() };
        for (path, text) in
            [("Makefile", MAKEFILE), ("Kconfig", "config ANSWER\n\tint\n"), ("arch/x86/Kconfig", "")]
        {
            bench.write(&format!("tree/{path}"), text);
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn build(&self, source: &str, fragments: &[PathBuf]) -> Result<Built, Error> {
        let source = Source::parse(self.path(source).to_str().unwrap())?;
        let order = Order { source: &source, fragments, jobs: 2, archive: &(Arc::new(Empty) as _) };
        Builder::open(&self.path("cache"))?.build(&order, &self.seen)
    }

    /// What is in the cache, but for its lock.
    fn cached(&self) -> Vec<String> {
        let names = fs::read_dir(self.path("cache")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != ".lock").collect();
        names.sort();
        names
    }

    fn archive(&self, name: &str, prefix: &str) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_dir_all(prefix, self.path("tree")).unwrap();
        let bytes = zstd::encode_all(&tar.into_inner().unwrap()[..], 1).unwrap();
        fs::write(self.path(name), &bytes).unwrap();
        bytes
    }
}

#[test]
fn a_kernel_is_built_once() {
    let bench = Bench::new();
    let mine = bench.write("mine", "CONFIG_ANSWER=42\nCONFIG_MODULES=y\n");
    let first = bench.build("tree", std::slice::from_ref(&mine)).unwrap();
    assert!(!first.known && first.strange.is_empty());
    let image = fs::read_to_string(&first.image).unwrap();
    for line in ["CONFIG_ANSWER=42", "CONFIG_MODULES=y", "CONFIG_EROFS_FS=y", "KBUILD_BUILD_USER=vmrun"] {
        assert!(image.lines().any(|has| has == line), "{line}: {image}");
    }
    assert!(bench.seen.steps.borrow().contains(&BuildStep::Compiling("init/main.o".into())));
    let left: Vec<_> = fs::read_dir(first.image.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 5, "{left:?}");

    bench.seen.steps.take();
    let again = bench.build("tree", std::slice::from_ref(&mine)).unwrap();
    assert!(again.known && again.image == first.image);
    assert_eq!(bench.seen.steps.take(), [BuildStep::Looking]);

    // Another configuration and another source are another kernel.
    let plain = bench.build("tree", &[]).unwrap();
    bench.write("tree/new", "");
    let other = bench.build("tree", &[]).unwrap();
    assert!(!plain.known && !other.known && plain.image != other.image);
}

#[test]
fn an_archive_and_a_package_are_sources_too() {
    let bench = Bench::new();
    let tar = bench.archive("linux.tar.zst", "linux-1.2");
    assert!(!bench.build("linux.tar.zst", &[]).unwrap().known);
    assert!(bench.build("linux.tar.zst", &[]).unwrap().known);

    let mut files = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(tar.len() as u64);
    header.set_mode(0o644);
    files.append_data(&mut header, "./usr/src/linux-source-1.2.tar.zst", &tar[..]).unwrap();
    let files = files.into_inner().unwrap();
    let mut package = ar::Builder::new(File::create(bench.path("linux-source.deb")).unwrap());
    package.append(&ar::Header::new(b"debian-binary".to_vec(), 4), &b"2.0\n"[..]).unwrap();
    package.append(&ar::Header::new(b"data.tar".to_vec(), files.len() as u64), &files[..]).unwrap();
    drop(package);
    assert!(!bench.build("linux-source.deb", &[]).unwrap().known);

    let cut = bench.path("cut.tar.zst");
    fs::write(&cut, &tar[..tar.len() / 2]).unwrap();
    assert!(matches!(bench.build("cut.tar.zst", &[]), Err(Error::Unpack { .. })));
    bench.archive("flat.tar.zst", ".");
    assert!(matches!(bench.build("flat.tar.zst", &[]), Err(Error::NotSource { .. })));
    assert_eq!(bench.cached().len(), 2);
}

#[test]
fn what_fails_leaves_its_log_and_nothing_else() {
    let bench = Bench::new();
    bench.write("tree/fails", "");
    let error = bench.build("tree", &[]).unwrap_err().to_string();
    assert!(error.contains("make bzImage failed: main.c:1: error: no such thing"), "{error}");
    assert!(!error.contains('\n') && error.contains("failed.log"), "{error}");
    assert_eq!(bench.cached(), ["failed.log"]);
    let log = fs::read_to_string(bench.path("cache/failed.log")).unwrap();
    assert!(log.contains("init/main.o") && log.contains("no such thing"), "{log}");
}

#[test]
fn a_build_that_is_called_off_leaves_nothing() {
    let bench = Bench::new();
    bench.archive("linux.tar.zst", "linux-1.2");
    bench.seen.cancel.set(true);
    for source in ["tree", "linux.tar.zst"] {
        assert!(matches!(bench.build(source, &[]), Err(Error::Cancelled)));
        assert_eq!(bench.seen.steps.take(), [BuildStep::Looking], "it is not even looked at to its end");
        assert_eq!(bench.cached(), [""; 0]);
    }
}

#[test]
fn what_is_no_source_is_refused() {
    let bench = Bench::new();
    bench.write("tree/.config", "");
    assert!(matches!(bench.build("tree", &[]), Err(Error::Unclean(_))));
    fs::create_dir(bench.path("empty")).unwrap();
    let error = bench.build("empty", &[]).unwrap_err().to_string();
    assert!(error.ends_with("is not a kernel's source: it has no Makefile"), "{error}");
    for name in ["no/such/file", "linux-sourcery; rm", "-o", "busybox"] {
        assert!(matches!(Source::parse(name), Err(Error::Source(_))), "{name}");
    }
    assert_eq!(Source::parse("linux-source-6.12").unwrap(), Source::Package("linux-source-6.12".into()));
    let wrong = bench.write("wrong", "CONFIG_A\n");
    assert!(matches!(bench.build("tree", &[wrong]), Err(Error::Fragment { .. })));
}

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::ability::Ability;
use crate::config::ConfigSource;
use crate::fixtures::{self, Entry, VERSION, bzimage, deb, kernel_deb, kernel_files, tool, vmlinux};

pub struct Fixture {
    pub directory: tempfile::TempDir,
    pub store: KernelStore,
}

impl Fixture {
    pub fn new() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let store = KernelStore::open(&directory.path().join("kernels")).unwrap();
        Fixture { directory, store }
    }

    pub fn source(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub fn add(&self, sources: &[&Path]) -> Result<Kernel, Error> {
        let sources: Vec<Source> = sources.iter().map(|path| (*path).into()).collect();
        self.store.add(&sources, &Addition::default(), &|_| ())
    }

    pub fn add_deb(&self, content: &[u8]) -> Result<Kernel, Error> {
        self.add(&[&self.source("kernel.deb", content)])
    }

    /// Everything in the store but its lock.
    pub fn content(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path().join("kernels")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != ".lock").collect()
    }
}

fn archive_names(path: &Path) -> Vec<String> {
    let archive = fs::read(path).unwrap();
    let list = std::process::Command::new("cpio")
        .args(["-t", "--quiet"])
        .stdin(fs::File::open(path).unwrap())
        .output()
        .unwrap();
    assert!(!archive.is_empty());
    String::from_utf8(list.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_package_becomes_a_kernel_with_the_archive_a_machine_needs() {
    let fixture = Fixture::new();
    let kernel = fixture.add_deb(&kernel_deb()).unwrap();
    assert_eq!((kernel.name.as_str(), kernel.version.as_str()), (VERSION, VERSION));
    assert_eq!(kernel.config_source, ConfigSource::File);
    assert_eq!(kernel.modules, 10);
    assert_eq!(kernel.minimum_memory, 96 << 20);
    assert_eq!(*kernel.abilities.of(Feature::Overlayfs), Ability::BuiltIn);
    assert_eq!(*kernel.abilities.of(Feature::Erofs), Ability::Module);
    assert_eq!(*kernel.abilities.of(Feature::NineP), Ability::Absent { missing: "CONFIG_NET_9P".into() });
    // The configuration promises it, but the package has no such file.
    assert_eq!(*kernel.abilities.of(Feature::Ext4), Ability::Absent { missing: "ext4.ko".into() });
    assert!(fs::read(&kernel.vmlinux).unwrap() == vmlinux(VERSION, None));
    assert!(kernel.modules_directory().join("kernel/fs/erofs/erofs.ko.gz").is_file());

    let prepared = kernel.modules_archive(fixtures::MACHINE, LATER, Signatures::Dropped).unwrap();
    assert_eq!(
        archive_names(&prepared),
        [
            "modules",
            "modules/00-virtio_ring.ko",
            "modules/01-virtio_mmio.ko",
            "modules/02-virtio_blk.ko",
            "modules/03-crc32c_generic.ko",
            "modules/04-libcrc32c.ko",
            "modules/05-erofs.ko",
            "modules/06-vsock.ko",
            "modules/07-vmw_vsock_virtio_transport.ko",
            "later-modules",
            "later-modules/00-virtio_balloon.ko"
        ]
    );
    let before = fs::metadata(&prepared).unwrap().modified().unwrap();
    let again = fixture
        .store
        .default_kernel()
        .unwrap()
        .modules_archive(fixtures::MACHINE, LATER, Signatures::Dropped)
        .unwrap();
    assert_eq!((&again, fs::metadata(&again).unwrap().modified().unwrap()), (&prepared, before));

    let other = kernel.modules_archive(&[Feature::Erofs], &[], Signatures::Dropped).unwrap();
    assert_eq!(archive_names(&other).len(), 4);
    let lacking = kernel.modules_archive(&[Feature::Erofs], &[Feature::Ext4], Signatures::Dropped).unwrap();
    assert_eq!(archive_names(&lacking), archive_names(&other), "what is for later need not be there");
    let lacking = kernel.modules_archive(EMULATED_HOST, &[], Signatures::Dropped).unwrap_err().to_string();
    assert_eq!(lacking, format!("the kernel {VERSION} lacks CONFIG_VIRTIO_PCI, needed for virtio-pci"));
}

#[test]
fn every_compression_of_a_package_is_read() {
    let tar = fixtures::files_tar(&kernel_files());
    for (name, content) in [
        ("data.tar", tar.clone()),
        ("data.tar.gz", tool("gzip", &[], &tar)),
        ("data.tar.zst", tool("zstd", &[], &tar)),
        ("data.tar.bz2", tool("bzip2", &[], &tar)),
        // In two streams, of which the first ends between two files.
        ("data.tar.zst", [tool("zstd", &[], &tar[..1024]), tool("zstd", &[], &tar[1024..])].concat()),
    ] {
        Fixture::new().add_deb(&deb(name, &content)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn a_kernel_split_over_two_packages_needs_both() {
    let fixture = Fixture::new();
    let (image, modules): (Vec<_>, Vec<_>) =
        kernel_files().into_iter().partition(|(name, _)| name.contains("vmlinuz"));
    let image = fixture.source("image.deb", &deb("data.tar", &fixtures::files_tar(&image)));
    let modules = fixture.source("modules.deb", &deb("data.tar", &fixtures::files_tar(&modules)));
    let complaint = fixture.add(&[&modules]).unwrap_err().to_string();
    assert!(
        complaint.contains("no kernel: add the package that has boot/vmlinuz-6.1.0-test-amd64"),
        "{complaint}"
    );
    assert_eq!(fixture.content(), [""; 0]);
    let kernel = fixture.add(&[&image, &modules]).unwrap();
    assert!(kernel.abilities.usable(fixtures::MACHINE));
}

#[test]
fn directories_are_taken_whole_or_by_version() {
    let fixture = Fixture::new();
    let root = fixture.directory.path().join("root");
    fixtures::lay_out(&root, &kernel_files());
    std::os::unix::fs::symlink("/usr/src/linux", root.join(format!("lib/modules/{VERSION}/build"))).unwrap();
    let kernel = fixture.add(&[&root]).unwrap();
    assert_eq!(kernel.modules, 10);
    assert!(!kernel.modules_directory().join("build").exists());

    let other = vmlinux("5.10.0", None);
    fixtures::lay_out(
        &root,
        &[("boot/vmlinuz-5.10.0".into(), bzimage(&tool("xz", &[], &other), other.len()))],
    );
    let complaint = fixture.add(&[&root]).unwrap_err().to_string();
    assert!(complaint.contains("5.10.0, 6.1.0-test-amd64"), "{complaint}");
    let by_file = root.join(format!("boot/vmlinuz-{VERSION}"));
    assert_eq!(fixture.add(&[&by_file]).unwrap(), kernel);
    assert_eq!(fixture.add(&[&root.join("boot/vmlinuz-5.10.0")]).unwrap().version, "5.10.0");
}

#[test]
fn a_merged_usr_is_looked_into() {
    let fixture = Fixture::new();
    let root = fixture.directory.path().join("root");
    let mut files = kernel_files();
    for (name, _) in &mut files {
        *name = name.replace("./lib/", "./usr/lib/").replace("./boot/vmlinuz-", "./usr/lib/modules/");
        if name.ends_with(VERSION) && name.contains("modules") {
            name.push_str("/vmlinuz");
        }
    }
    fixtures::lay_out(&root, &files);
    let kernel = fixture.add(&[&root]).unwrap();
    assert_eq!((kernel.version.as_str(), kernel.modules), (VERSION, 10));
    assert!(!kernel.modules_directory().join("vmlinuz").exists());
}

#[test]
fn a_lone_kernel_is_known_by_what_it_carries() {
    let fixture = Fixture::new();
    let config = fixtures::CONFIG.replace("=m", "=y");
    let embedded = fixture.add(&[&fixture.source("a", &vmlinux("5.4", Some(&config)))]).unwrap();
    assert_eq!(embedded.config_source, ConfigSource::Embedded);
    assert!(embedded.abilities.usable(fixtures::MACHINE));
    assert_eq!(
        archive_names(&embedded.modules_archive(fixtures::MACHINE, LATER, Signatures::Dropped).unwrap()),
        ["modules"]
    );

    let silent = vmlinux("5.5", None);
    let unknown = fixture.add(&[&fixture.source("b", &silent)]).unwrap();
    assert_eq!(unknown.config_source, ConfigSource::Nothing);
    assert_eq!(*unknown.abilities.of(Feature::Erofs), Ability::Unknown);

    let given = fixture.source("config", config.as_bytes());
    let kernel = fixture.source("c", &vmlinux("5.6", None));
    assert_eq!(fixture.add(&[&kernel, &given]).unwrap().config_source, ConfigSource::File);
    assert!(unknown.to_string().contains("EROFS                      not known"), "{unknown}");
}

#[test]
fn what_an_old_kernel_calls_erofs_is_not_taken_for_it() {
    let fixture = Fixture::new();
    let config = fixtures::CONFIG.replace("=m", "=y");
    let old = fixture.add(&[&fixture.source("a", &vmlinux("5.3.18", Some(&config)))]).unwrap();
    assert_eq!(
        *old.abilities.of(Feature::Erofs),
        Ability::Absent { missing: "the EROFS of Linux 5.4".into() }
    );
    let silent = fixture.add(&[&fixture.source("b", &vmlinux("4.19", None))]).unwrap();
    assert!(!silent.abilities.usable(&[Feature::Erofs]));
    // One that has none lacks the option, whatever its age.
    let without = config.replace("CONFIG_EROFS_FS=y", "# CONFIG_EROFS_FS is not set");
    let without = fixture.add(&[&fixture.source("c", &vmlinux("5.2", Some(&without)))]).unwrap();
    assert_eq!(*without.abilities.of(Feature::Erofs), Ability::Absent { missing: "CONFIG_EROFS_FS".into() });
}

#[test]
fn kernels_are_listed_chosen_and_removed() {
    let fixture = Fixture::new();
    assert!(matches!(fixture.store.default_kernel(), Err(Error::NoDefault)));
    let one = fixture.source("one", &vmlinux("5.1", None));
    let two = fixture.source("two", &vmlinux("5.2", None));
    fixture.add(&[&one]).unwrap();
    let named = |name| Addition { name: Some(name), ..Addition::default() };
    fixture.store.add(&[two.into()], &named("mine"), &|_| ()).unwrap();
    let names = || {
        fixture
            .store
            .list(&mut |error| panic!("{error}"))
            .unwrap()
            .into_iter()
            .map(|kernel| kernel.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(), ["5.1", "mine"]);
    assert_eq!(fixture.store.default_kernel().unwrap().name, "5.1");
    fixture.store.set_default("mine").unwrap();
    assert_eq!(fixture.store.default_kernel().unwrap().version, "5.2");
    fixture.store.remove("mine").unwrap();
    assert_eq!(names(), ["5.1"]);
    assert!(matches!(fixture.store.default_kernel(), Err(Error::NoDefault)));
    assert!(matches!(fixture.store.remove("mine"), Err(Error::NotFound(_))));
    assert!(matches!(fixture.store.set_default("mine"), Err(Error::NotFound(_))));
    for bad in ["", ".", "..", "../x", "a/b", "-x", ".default", "a\nb"] {
        assert!(matches!(fixture.store.get(bad), Err(Error::NotFound(_))), "{bad:?}");
        assert!(
            matches!(fixture.store.add(&[one.clone().into()], &named(bad), &|_| ()), Err(Error::Name(_))),
            "{bad:?}"
        );
    }
}

#[test]
fn the_same_kernel_again_is_no_mistake_and_another_of_its_name_is() {
    let fixture = Fixture::new();
    let first = fixture.add_deb(&kernel_deb()).unwrap();
    assert_eq!(fixture.add_deb(&kernel_deb()).unwrap(), first);
    let impostor = fixture.source("impostor", &vmlinux(VERSION, None));
    assert!(matches!(fixture.add(&[&impostor]), Err(Error::Exists(_))));
    assert_eq!(fixture.store.get(VERSION).unwrap(), first);
}

#[test]
fn one_damaged_kernel_does_not_hide_the_others() {
    let fixture = Fixture::new();
    for version in ["5.1", "5.2", "5.3"] {
        fixture.add(&[&fixture.source(version, &vmlinux(version, None))]).unwrap();
    }
    fs::write(fixture.store.directory.join("5.2").join(DESCRIPTION), "{").unwrap();
    let mut complaints = Vec::new();
    let list = fixture.store.list(&mut |error| complaints.push(error.to_string())).unwrap();
    assert_eq!(list.iter().map(|kernel| kernel.name.as_str()).collect::<Vec<_>>(), ["5.1", "5.3"]);
    let [complaint] = &complaints[..] else { panic!("{complaints:?}") };
    assert!(complaint.starts_with("the stored kernel 5.2 is damaged: "), "{complaint}");
}

#[test]
fn whoever_has_opened_a_kernels_files_learns_whether_they_are_of_one() {
    let fixture = Fixture::new();
    let add = |version, replace| {
        let source = fixture.source(version, &vmlinux(version, None));
        let addition = Addition { name: Some("mine"), replace, ..Addition::default() };
        fixture.store.add(&[source.as_path().into()], &addition, &|_| ())
    };
    let added = add("6.1", false).unwrap();
    let read = fixture.store.get("mine").unwrap();
    add("6.1", true).unwrap();
    for kernel in [&added, &read] {
        kernel.require_in_place().unwrap();
    }
    let other = add("6.2", true).unwrap();
    for kernel in [&added, &read] {
        assert!(matches!(kernel.require_in_place(), Err(Error::Replaced(name)) if name == "mine"));
    }
    other.require_in_place().unwrap();
    fixture.store.remove("mine").unwrap();
    assert!(matches!(other.require_in_place(), Err(Error::Replaced(_))));
}

#[test]
fn a_damaged_one_is_replaced_where_that_is_wanted() {
    let fixture = Fixture::new();
    let source = fixture.source("one", &vmlinux("5.1", None));
    let put = |replace| {
        fixture.store.add(
            &[source.as_path().into()],
            &Addition { name: Some("mine"), replace, ..Addition::default() },
            &|_| (),
        )
    };
    let good = put(false).unwrap();
    let path = good.directory.join(DESCRIPTION);
    for content in ["{", "", "\u{0}"].map(str::as_bytes).into_iter().chain([&b"\xff"[..], &[b' '; 2 << 20]]) {
        fs::write(&path, content).unwrap();
        assert!(matches!(fixture.store.get("mine"), Err(Error::Damaged { .. })), "{content:.4?}");
        assert!(matches!(put(false), Err(Error::Damaged { .. })), "only who asks for it loses what is there");
        assert_eq!(put(true).unwrap().description, good.description);
        assert_eq!(fixture.store.get("mine").unwrap().description, good.description);
    }
    fs::remove_file(&path).unwrap();
    put(false).unwrap_err();
    assert_eq!(put(true).unwrap().description, good.description);
}

#[test]
fn one_of_a_newer_vmrun_is_left_alone_and_can_be_removed() {
    let fixture = Fixture::new();
    let source = fixture.source("one", &vmlinux("5.1", None));
    let kernel = fixture.add(&[&source]).unwrap();
    fs::write(kernel.directory.join(DESCRIPTION), r#"{"format": 1000}"#).unwrap();
    let complaint = fixture.store.get("5.1").unwrap_err().to_string();
    assert!(complaint.starts_with("the stored kernel 5.1 was made by a newer vmrun: upgrade"), "{complaint}");
    let replace = Addition { replace: true, ..Addition::default() };
    assert!(matches!(fixture.store.add(&[source.into()], &replace, &|_| ()), Err(Error::Newer(_))));
    fixture.store.remove("5.1").unwrap();
    assert_eq!(fixture.content(), [""; 0]);
}

#[test]
fn what_lost_its_description_is_not_overwritten_unasked() {
    let fixture = Fixture::new();
    let source = fixture.source("one", &vmlinux("5.1", None));
    let kernel = fixture.add(&[&source]).unwrap();
    fs::remove_file(kernel.directory.join(DESCRIPTION)).unwrap();
    let complaint = fixture.add(&[&source]).unwrap_err().to_string();
    assert_eq!(
        complaint,
        "the stored kernel 5.1 is damaged: it has no kernel.json: remove it and add it again"
    );
    fixture.store.remove("5.1").unwrap();
    fixture.add(&[&source]).unwrap();
}

#[test]
fn hostile_packages_are_refused_and_leave_nothing() {
    let module = fixtures::module(&["depends="]);
    let place = format!("./lib/modules/{VERSION}/kernel/a.ko");
    let cases: [(&str, Vec<(&str, Entry)>); 7] = [
        ("names /boot/vmlinuz-1", vec![("/boot/vmlinuz-1", Entry::File(&module))]),
        ("names ./boot/../../vmlinuz-1", vec![("./boot/../../vmlinuz-1", Entry::File(&module))]),
        ("names ../x", vec![("../x", Entry::File(&module))]),
        ("a.ko is a link", vec![(&place, Entry::Link("/etc/shadow"))]),
        ("a.ko is a link", vec![(&place, Entry::HardLink("/etc/shadow"))]),
        ("boot/vmlinuz-1 is a link", vec![("boot/vmlinuz-1", Entry::Link("../etc/shadow"))]),
        ("a.ko twice", vec![(&place, Entry::File(&module)), (&place, Entry::File(&module))]),
    ];
    for (expected, entries) in cases {
        let fixture = Fixture::new();
        let complaint = fixture.add_deb(&deb("data.tar", &fixtures::tar(&entries))).unwrap_err().to_string();
        assert!(complaint.contains(expected), "{expected}: {complaint}");
        assert!(!complaint.contains('\n'), "{complaint}");
        assert_eq!(fixture.content(), [""; 0]);
    }
}

#[test]
fn damaged_packages_are_refused_and_leave_nothing() {
    let good = kernel_deb();
    let fixture = Fixture::new();
    for end in (0..good.len() - 1).step_by(good.len() / 40) {
        let complaint = fixture.add_deb(&good[..end]).expect_err("a cut package").to_string();
        assert!(complaint.starts_with("cannot take a kernel from "), "{complaint}");
        assert_eq!(fixture.content(), [""; 0], "cut at {end}");
    }
    let odd = deb("x\n\u{1b}[2J", &[0; 100]);
    let complaint = fixture.add_deb(&odd[..odd.len() - 50]).unwrap_err().to_string();
    assert!(
        complaint.contains("it is cut off in x") && !complaint.contains(char::is_control),
        "{complaint:?}"
    );
    let without = deb("other.tar", b"");
    assert!(fixture.add_deb(&without).unwrap_err().to_string().contains("it has no data.tar"));
    let empty = deb("data.tar", &fixtures::tar(&[("./usr/share/doc/x", Entry::File(b"x"))]));
    assert!(fixture.add_deb(&empty).unwrap_err().to_string().contains("there is no kernel in"));
    let wrong = deb("data.tar", &fixtures::tar(&[("boot/vmlinuz-6", Entry::File(b"MZ junk"))]));
    assert!(fixture.add_deb(&wrong).unwrap_err().to_string().contains("this is not a kernel"));
}

#[test]
fn modules_of_another_version_are_refused() {
    let fixture = Fixture::new();
    let mut files = kernel_files();
    for (name, _) in &mut files {
        *name = name.replace("modules/6.1.0-test-amd64", "modules/6.1.0-other");
    }
    let complaint = fixture.add_deb(&deb("data.tar", &fixtures::files_tar(&files))).unwrap_err().to_string();
    assert_eq!(complaint, "the kernel is version 6.1.0-test-amd64, but its modules are for 6.1.0-other");
}

#[test]
fn sources_that_are_nothing_are_named() {
    let fixture = Fixture::new();
    let missing = fixture.directory.path().join("missing");
    assert!(
        fixture.add(&[&missing]).unwrap_err().to_string().contains("missing: cannot read it: No such file")
    );
    let empty = fixture.directory.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let complaint = fixture.add(&[&empty]).unwrap_err().to_string();
    assert!(complaint.contains("it has neither boot/vmlinuz-VERSION nor lib/modules/VERSION"), "{complaint}");
    let complaint = fixture.add(&[Path::new("/dev/null")]).unwrap_err().to_string();
    assert!(complaint.contains("neither a package, a kernel"), "{complaint}");
}

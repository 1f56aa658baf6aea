//! What several processes do to a store at once, and what they leave when they are killed.

use std::fs;
use std::path::PathBuf;

use super::tests::Fixture;
use super::*;
use crate::fixtures::{VERSION, kernel_deb, vmlinux};

#[test]
fn one_that_is_replaced_is_there_all_the_time() {
    let fixture = Fixture::new();
    let versions = ["5.1", "5.2"];
    let sources = versions.map(|version| fixture.source(version, &vmlinux(version, None)));
    let put = |source: &PathBuf| {
        let addition = Addition { name: Some("mine"), replace: true, ..Addition::default() };
        fixture.store.add(&[source.as_path().into()], &addition, &|_| ()).unwrap().version.clone()
    };
    put(&sources[0]);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for (source, version) in sources.iter().zip(versions).cycle().skip(1).take(10) {
                assert_eq!(put(source), version);
                assert_eq!(fixture.store.get("mine").unwrap().version, version);
            }
        });
        while !writer.is_finished() {
            let found = fixture.store.get("mine").map(|kernel| kernel.version.clone());
            assert!(found.as_ref().is_ok_and(|found| versions.contains(&found.as_str())), "{found:?}");
        }
        writer.join().unwrap();
    });
    let mut content = fixture.content();
    content.sort();
    assert_eq!(content, [".default", "mine"]);
}

#[test]
fn one_that_a_killed_process_has_set_aside_is_there_again() {
    let fixture = Fixture::new();
    let source = fixture.source("one", &vmlinux("5.1", None));
    let kernel = fixture.add(&[&source]).unwrap();
    let aside = fixture.store.directory.join(".replaced-5.1");
    type Look = fn(&KernelStore) -> Kernel;
    let looks: [Look; 4] = [
        |store| store.get("5.1").unwrap(),
        |store| store.default_kernel().unwrap(),
        |store| store.list(&mut |error| panic!("{error}")).unwrap().remove(0),
        |store| store.set_default("5.1").and_then(|()| store.get("5.1")).unwrap(),
    ];
    for look in looks {
        fs::rename(&kernel.directory, &aside).unwrap();
        assert_eq!(look(&fixture.store), kernel);
        assert!(!aside.exists());
    }
    fs::rename(&kernel.directory, &aside).unwrap();
    fixture.store.remove("5.1").unwrap();
    assert_eq!(fixture.content(), [""; 0]);
}

#[test]
fn many_at_once_leave_one_kernel() {
    let fixture = Fixture::new();
    let source = fixture.source("kernel.deb", &kernel_deb());
    std::thread::scope(|scope| {
        let adding: Vec<_> = (0..4).map(|_| scope.spawn(|| fixture.add(&[&source]).unwrap())).collect();
        for kernel in adding {
            assert_eq!(kernel.join().unwrap().name, VERSION);
        }
    });
    let mut content = fixture.content();
    content.sort();
    assert_eq!(content, [".default", VERSION]);
}

#[test]
fn what_a_killed_process_left_is_removed_and_what_a_living_one_fills_is_not() {
    let fixture = Fixture::new();
    let living = Staging::new(&fixture.store.directory).unwrap();
    // Of a process that has no lock any more.
    let dead = fixture.store.directory.join(format!("{}dead", staging::prefix()));
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("image"), "half").unwrap();
    fixture.add_deb(&kernel_deb()).unwrap();
    assert!(!dead.exists());
    assert!(living.path().exists());
}

#[test]
fn one_that_is_removed_while_it_is_used_does_not_come_back() {
    let fixture = Fixture::new();
    let kernel = fixture.add_deb(&kernel_deb()).unwrap();
    fixture.store.remove(VERSION).unwrap();
    assert!(matches!(
        kernel.modules_archive(&[], &[Feature::Ext4], Signatures::Kept),
        Err(Error::Write { .. })
    ));
    assert_eq!(fixture.store.allocated(&kernel).unwrap(), 0);
    assert_eq!(fixture.content(), [""; 0]);
}

/// Whoever removes the default kernel may be killed before it is no default any more.
#[test]
fn a_default_that_is_gone_makes_room_for_the_next() {
    let fixture = Fixture::new();
    for (default, version) in [("5.0", "5.1"), ("", "5.2"), ("../x", "5.3"), ("5.3", "5.4")] {
        fs::write(fixture.store.directory.join(DEFAULT), default).unwrap();
        fixture.add(&[&fixture.source(version, &vmlinux(version, None))]).unwrap();
        let expected = if default == "5.3" { "5.3" } else { version };
        assert_eq!(fixture.store.default_kernel().unwrap().version, expected);
    }
}

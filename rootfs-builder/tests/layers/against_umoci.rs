//! Generated stacks, compared path by path.

use super::archive::{Entry, archive};
use super::disk::Disk;
use super::generate::stack;
use super::reference::Unpacked;
use super::snapshot::{Snapshot, differences, snapshot};
use proptest::prelude::*;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Leaves out entries that umoci refuses, found by giving it a growing archive: random ones mostly have some.
fn accepted(stack: Vec<Vec<Entry>>) -> Vec<Vec<u8>> {
    let mut layers: Vec<Vec<Entry>> = Vec::new();
    for entries in stack {
        layers.push(Vec::new());
        let mut pending = vec![entries];
        // Halves what is refused until it is accepted or alone.
        while let Some(entries) = pending.pop() {
            let last = layers.len() - 1;
            let mut tried = layers.clone();
            tried[last].extend(entries.iter().cloned());
            let tars: Vec<Vec<u8>> = tried.iter().map(|layer| archive(layer)).collect();
            let (reference, ours) = (Unpacked::new(&tars), Disk::new(&tars));
            match (reference, ours) {
                (Ok(_), Ok(_)) => layers = tried,
                (reference, ours) if entries.len() == 1 => assert!(
                    reference.is_err() && ours.is_err(),
                    "only one refuses {:?}: umoci {:?}, we {:?}\nafter {:#?}",
                    entries[0],
                    reference.err(),
                    ours.err(),
                    layers
                ),
                _ => {
                    let (first, second) = entries.split_at(entries.len() / 2);
                    pending.push(second.to_vec());
                    pending.push(first.to_vec());
                }
            }
        }
    }
    layers.iter().map(|layer| archive(layer)).collect()
}

/// Directories that no archive speaks of have the time of unpacking in the reference and the epoch in ours. So
/// have, in the reference, directories in which such a one was made.
fn forget_unpacking(ours: &Snapshot, reference: &mut Snapshot, begin: i64) {
    for (path, file) in reference.iter_mut() {
        let is_directory = file.mode & 0o170000 == 0o040000;
        let Some(our) = ours.get(path).filter(|_| is_directory) else { continue };
        if file.mtime.0 >= begin && file.mtime.0 < 1 << 33 {
            file.mtime = our.mtime;
            if our.mtime == (0, 0)
                && (our.mode, our.uid, our.gid) == (0o040755, 0, 0)
                && our.xattrs.is_empty()
            {
                // Linux hands default ACLs and setgid groups down to directories that a program makes.
                file.xattrs.clear();
                (file.mode, file.gid) = (our.mode, our.gid);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24),
        max_shrink_iters: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_stack_of_layers_looks_as_umoci_unpacks_it(stack in stack()) {
        let begin = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let tars = accepted(stack);
        let disk = Disk::new(&tars).unwrap();
        disk.check();
        let unpacked = Unpacked::new(&tars).unwrap();
        let mut reference = snapshot(&unpacked.path());
        let ours = snapshot(disk.mount().path());
        forget_unpacking(&ours, &mut reference, begin);
        let wrong = differences(&ours, &reference);
        prop_assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let between = differences(&snapshot(disk.mount_flat().path()), &ours);
        prop_assert!(between.is_empty(), "flat: {}", between.join("\n"));
        disk.check_ext4();
        for (form, mount) in [("ext4", disk.mount_ext4()), ("whole ext4", disk.mount_whole_ext4())] {
            let between = differences(&snapshot(mount.path()), &ours);
            prop_assert!(between.is_empty(), "{form}: {}", between.join("\n"));
        }
        let again = Disk::new(&tars).unwrap();
        prop_assert!(disk.bytes() == again.bytes(), "not the same bytes twice");
        let same = |one: &Path, other: &Path| std::fs::read(one).unwrap() == std::fs::read(other).unwrap();
        prop_assert!(same(disk.flat(), again.flat()), "nor when flat");
        prop_assert!(same(disk.ext4(), again.ext4()), "nor as ext4");
        prop_assert!(same(disk.whole_ext4(), again.whole_ext4()), "nor as a whole ext4");
    }
}

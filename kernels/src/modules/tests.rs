use std::path::Path;

use super::*;
use crate::fixtures::{lay_out, module, tool};

fn tree(files: &[(&str, Vec<u8>)]) -> (tempfile::TempDir, ModuleTree) {
    let directory = tempfile::tempdir().unwrap();
    let files: Vec<_> = files.iter().map(|(name, content)| (name.to_string(), content.clone())).collect();
    lay_out(directory.path(), &files);
    let tree = ModuleTree::open(directory.path()).unwrap();
    (directory, tree)
}

#[test]
fn dependencies_come_first_and_built_in_ones_not_at_all() {
    let (_directory, tree) = tree(&[
        ("modules.builtin", b"kernel/x/built-in.ko\n".to_vec()),
        ("kernel/a.ko", module(&["depends=b,c,built-in"])),
        ("kernel/b.ko.xz", tool("xz", &[], &module(&["depends=d"]))),
        ("kernel/c.ko.zst", tool("zstd", &[], &module(&["depends=d,b"]))),
        ("kernel/sub/d.ko.gz", tool("gzip", &[], &module(&["depends="]))),
        ("kernel/unneeded.ko", module(&["depends=nothing"])),
    ]);
    assert_eq!(load_order(&tree, &["a"]).unwrap(), ["d", "b", "c", "a"]);
    assert_eq!(load_order(&tree, &["d", "built_in", "c"]).unwrap(), ["d", "b", "c"]);
}

#[test]
fn a_crypto_algorithm_is_wanted_by_its_name() {
    let files = [
        ("kernel/lib/libcrc32c.ko", module(&["softdep=pre: crc32c", "depends="])),
        ("kernel/crypto/crc32c_generic.ko", module(&["alias=crypto-crc32c-generic", "alias=crypto-crc32c"])),
        ("kernel/arch/x86/crypto/crc32c-intel.ko", module(&["alias=crypto-crc32c"])),
    ];
    let (_directory, both) = tree(&files);
    assert_eq!(load_order(&both, &["libcrc32c"]).unwrap(), ["crc32c_generic", "libcrc32c"]);
    let (_directory, one) = tree(&[files[0].clone(), files[2].clone()]);
    assert_eq!(load_order(&one, &["libcrc32c"]).unwrap(), ["crc32c_intel", "libcrc32c"]);
    let (_directory, none) = tree(&files[..1]);
    assert_eq!(load_order(&none, &["libcrc32c"]).unwrap(), ["libcrc32c"]);
    let built_in = ("modules.builtin.modinfo", b"crc32c_generic.alias=crypto-crc32c\0x.y=z\0".to_vec());
    let (_directory, built_in) = tree(&[files[0].clone(), files[2].clone(), built_in]);
    assert_eq!(load_order(&built_in, &["libcrc32c"]).unwrap(), ["libcrc32c"]);
}

#[test]
fn what_cannot_be_ordered_is_said() {
    let (_directory, tree) = tree(&[
        ("a.ko", module(&["depends=b"])),
        ("b.ko", module(&["depends=a"])),
        ("c.ko", module(&["depends=gone"])),
        ("d.ko", b"no ELF".to_vec()),
        ("e.ko", module(&["softdep=pre: f", "depends="])),
        ("f.ko", module(&["softdep=pre: e", "depends="])),
    ]);
    let complaint = |name| load_order(&tree, &[name]).unwrap_err().to_string();
    assert!(complaint("a").contains("a, b depend on each other"), "{}", complaint("a"));
    assert_eq!(complaint("c"), "the module gone is missing, which c depends on");
    assert!(complaint("gone").contains("the module gone is missing"));
    assert!(complaint("d").contains("d.ko is damaged"), "{}", complaint("d"));
    // Soft dependencies may go round: one of the two is simply first.
    assert_eq!(load_order(&tree, &["e"]).unwrap(), ["f", "e"]);
}

/// As crypto_algapi and cryptomgr of a kernel with CONFIG_CRYPTO=m.
#[test]
fn what_is_only_wanted_is_left_out_where_it_cannot_be_first() {
    let (_directory, tree) = tree(&[
        ("algapi.ko", module(&["softdep=pre: mgr", "depends=base"])),
        ("mgr.ko", module(&["depends=other,algapi"])),
        ("other.ko", module(&["depends="])),
        ("base.ko", module(&["depends="])),
        ("user.ko", module(&["depends=algapi,mgr"])),
        ("half.ko", module(&["softdep=pre: broken", "depends=base"])),
        ("broken.ko", module(&["depends=other,gone"])),
        ("round.ko", module(&["softdep=pre: mgr", "depends=one"])),
        ("one.ko", module(&["depends=two"])),
        ("two.ko", module(&["depends=one"])),
    ]);
    assert_eq!(load_order(&tree, &["algapi"]).unwrap(), ["base", "algapi"]);
    assert_eq!(load_order(&tree, &["algapi", "other"]).unwrap(), ["base", "algapi", "other"]);
    assert_eq!(load_order(&tree, &["user"]).unwrap(), ["base", "algapi", "other", "mgr", "user"]);
    assert_eq!(load_order(&tree, &["half"]).unwrap(), ["base", "half"]);
    // Where it is needed, it is an error all the same.
    assert!(matches!(load_order(&tree, &["round"]), Err(Error::Circle(_))));
    assert!(matches!(load_order(&tree, &["half", "broken"]), Err(Error::MissingDependency { .. })));
}

#[test]
fn wishes_that_fail_for_everyone_who_has_them_come_to_an_end() {
    let mut files: Vec<_> = (0..60)
        .flat_map(|level: u32| {
            let wishes = format!("softdep=pre: a{0} b{0} c{0}", level + 1);
            ["a", "b", "c"].map(|name| (format!("{name}{level}.ko"), module(&[&wishes, "depends=gone"])))
        })
        .collect();
    files.push(("root.ko".into(), module(&["softdep=pre: a0 b0 c0", "depends="])));
    let files: Vec<_> = files.iter().map(|(name, content)| (name.as_str(), content.clone())).collect();
    let (_directory, tree) = tree(&files);
    assert_eq!(load_order(&tree, &["root"]).unwrap(), ["root"]);
}

#[test]
fn names_are_those_of_the_kernel() {
    let (_directory, tree) = tree(&[
        ("kernel/virtio-rng.ko", module(&[])),
        ("kernel/x.ko.bak", module(&[])),
        ("kernel/x.kolibri", module(&[])),
        ("kernel/modules.order", Vec::new()),
    ]);
    assert!(tree.has("virtio_rng"));
    assert_eq!(tree.len(), 1);
}

#[test]
fn no_directory_is_no_modules() {
    assert!(ModuleTree::open(Path::new("/nonexistent")).unwrap().is_empty());
}

#[test]
fn modules_that_unpack_to_more_than_a_machine_holds_are_refused() {
    let large = |records: &[&str]| {
        let mut content = module(records);
        content.resize(1 << 20, 0);
        tool("zstd", &["-1"], &content)
    };
    let (_directory, tree) = tree(&[
        ("a.ko.zst", large(&["depends=b"])),
        ("b.ko.zst", large(&["depends="])),
        ("c.ko.zst", large(&["depends="])),
    ]);
    let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let write = |later: &[&str]| {
        archive::write_within(2 << 20, &tree, &names(&["b", "a"]), &names(later), Signatures::Kept)
    };
    assert!(write(&[]).is_ok());
    let refused = write(&["c"]).unwrap_err();
    assert_eq!(refused.to_string(), "the modules that a start loads have more than 2 MiB, unpacked");
}

#[test]
fn a_thousand_wishes_for_crypto_read_the_modules_once() {
    let wishes: Vec<String> = (0..5_000).map(|number| format!("algorithm{number}")).collect();
    let wishes = format!("softdep=pre: {}", wishes.join(" "));
    let mut heavy = module(&["alias=crypto-algorithm7"]);
    heavy.resize(16 << 20, 0);
    let (_directory, tree) = tree(&[
        ("kernel/a.ko", module(&[&wishes, "depends="])),
        ("kernel/crypto/heavy.ko.zst", tool("zstd", &["-1"], &heavy)),
    ]);
    let begun = std::time::Instant::now();
    assert_eq!(load_order(&tree, &["a"]).unwrap(), ["heavy", "a"]);
    let took = begun.elapsed();
    // Unpacking it for each wish would take many minutes.
    assert!(took.as_secs() < 30, "{took:?}");
}

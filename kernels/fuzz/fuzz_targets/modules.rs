//! A tree of modules, from what they say of themselves to a guest that asks for them: what the host writes into the
//! index of the modules' disk is what guest-init, as the kernel's modprobe, finds in it.

#![no_main]

// A program, of which these parts are read as they are there.
#[path = "../../../guest-init/src/modprobe/name.rs"]
mod name;
#[path = "../../../guest-init/src/modprobe/pattern.rs"]
mod pattern;
#[path = "../../../guest-init/src/modprobe/resolve.rs"]
mod resolve;
#[path = "../../../guest-init/src/modprobe/rules.rs"]
mod rules;
#[path = "../../../guest-init/src/modprobe/trie.rs"]
mod trie;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use arbitrary::Arbitrary;
use kernels::Kernel;
use kernels_fuzz::packing::Packing;
use kernels_fuzz::store::Store;
use kernels_fuzz::{Damage, VERSION, elf};
use libfuzzer_sys::fuzz_target;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};

use name::{name_of, with_underscores};
use resolve::Resolver;
use rules::Rules;
use trie::Trie;

/// Of guest-init's loader, what the others use; in the place of the kernel, a list of what was loaded.
mod load {
    use std::cell::RefCell;

    use rustix::fd::OwnedFd;

    thread_local! {
        pub static LOADED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    pub fn load(_: &OwnedFd, path: &str, _: &str) -> bool {
        LOADED.with_borrow_mut(|loaded| loaded.push(path.to_owned()));
        true
    }
}

#[derive(Arbitrary, Debug)]
struct Input {
    modules: Vec<Module>,
    lists: Vec<(u8, Vec<Line>)>,
    raw_list: Option<(u8, Vec<u8>)>,
    config: Option<Vec<u8>>,
    requests: Vec<String>,
}

#[derive(Arbitrary, Debug)]
struct Module {
    name: ModuleName,
    directory: u8,
    packing: Packing,
    records: Vec<Record>,
    symbols: Vec<Vec<u8>>,
    content: Option<Vec<u8>>,
    signature: Option<(Vec<u8>, u32)>,
    damage: Damage,
}

#[derive(Arbitrary, Debug)]
enum ModuleName {
    Known(u8),
    Letters(Vec<u8>),
    Raw(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
enum Record {
    Depends(Vec<u8>),
    Softdep(Vec<u8>),
    Alias(Alias),
    Device(u8, Vec<u8>),
    Weakdep(Vec<u8>),
    Raw(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
enum Alias {
    /// Of pieces that make patterns.
    Pieces(Vec<u8>),
    Crypto(u8),
    Raw(Vec<u8>),
    Long(u16),
}

#[derive(Arbitrary, Debug)]
enum Line {
    Module(u8, u8),
    Alias(u8, Alias),
    Raw(Vec<u8>),
}

/// Some of them are what a start needs, so that archives are made of them.
const NAMES: [&str; 14] = [
    "virtio",
    "virtio-blk",
    "virtio_mmio",
    "erofs",
    "a",
    "a-b",
    "a_c",
    "ab",
    "crc32c_generic",
    "crc32c-intel",
    "vsock",
    "overlay",
    "b",
    "libcrc32c",
];
const DIRECTORIES: [&str; 8] =
    ["kernel", "kernel/crypto", "updates", "extra", "", "kernel/a/b", "weak-updates", "kernel/net"];
const PIECES: [&str; 16] = [
    "a",
    "b",
    "virtio:",
    "*",
    "?",
    "[",
    "]",
    "0-9",
    "-",
    "_",
    "d00000002v",
    "!",
    "char-major-10-200",
    "devname:",
    ":",
    " ",
];
const LISTS: [&str; 3] = ["modules.order", "modules.builtin", "modules.builtin.modinfo"];
const CONFIG: &str = "CONFIG_ACPI=y\nCONFIG_VIRTIO_MMIO=m\nCONFIG_VIRTIO_BLK=m\nCONFIG_EROFS_FS=m\nCONFIG_OVERLAY_FS=m\n\
    CONFIG_VSOCKETS=m\nCONFIG_VIRTIO_VSOCKETS=y\nCONFIG_EXT4_FS=y\n";

fn name(pick: u8) -> &'static str {
    NAMES[usize::from(pick) % NAMES.len()]
}

impl Alias {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Alias::Pieces(pieces) => {
                let pieces = pieces.iter().take(20).map(|piece| PIECES[usize::from(*piece) % PIECES.len()]);
                pieces.collect::<String>().into_bytes()
            }
            Alias::Crypto(pick) => {
                format!("crypto-{}", ["crc32c", "sha256", "x"][usize::from(pick % 3)]).into()
            }
            Alias::Raw(bytes) => bytes.clone(),
            Alias::Long(length) => vec![b'l'; usize::from(length % 2000)],
        }
    }
}

impl Record {
    fn bytes(&self) -> Vec<u8> {
        let names = |picks: &[u8]| picks.iter().take(20).map(|pick| name(*pick)).collect::<Vec<_>>();
        match self {
            Record::Depends(picks) => format!("depends={}", names(picks).join(",")).into_bytes(),
            Record::Softdep(picks) => {
                let (before, after) = picks.split_at(picks.len() / 2);
                format!("softdep=pre: {} post: {}", names(before).join(" "), names(after).join(" "))
                    .into_bytes()
            }
            Record::Alias(alias) => [b"alias=", alias.bytes().as_slice()].concat(),
            Record::Device(minor, name) => {
                [format!("alias=char-major-10-{minor}\0alias=devname:").as_bytes(), name].concat()
            }
            Record::Weakdep(picks) => format!("weakdep={}", names(picks).join(" ")).into_bytes(),
            Record::Raw(bytes) => bytes.clone(),
        }
    }
}

impl Module {
    fn file(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let stem = match &self.name {
            ModuleName::Known(pick) => name(*pick).as_bytes().to_vec(),
            ModuleName::Letters(letters) => {
                letters.iter().take(40).map(|letter| b"abcdefgh_-0123.Z"[usize::from(letter % 16)]).collect()
            }
            ModuleName::Raw(bytes) => {
                bytes.iter().copied().filter(|byte| !b"/\0".contains(byte)).take(200).collect()
            }
        };
        let directory = DIRECTORIES[usize::from(self.directory) % DIRECTORIES.len()];
        let path = [directory.as_bytes(), b"/", &stem, b".ko", self.packing.suffix().as_bytes()].concat();
        let mut content = match &self.content {
            Some(content) => content.clone(),
            None => {
                let records: Vec<_> = self.records.iter().take(40).map(Record::bytes).collect();
                let symbols: Vec<_> = self
                    .symbols
                    .iter()
                    .take(40)
                    .map(|symbol| [b"__ksymtab_", symbol.as_slice()].concat())
                    .collect();
                elf::module(&records, &symbols)
            }
        };
        if let Some((signature, length)) = &self.signature {
            let length = length.to_be_bytes();
            content.extend([signature, &[0; 8][..], &length, b"~Module signature appended~\n"].concat());
        }
        (!stem.is_empty()).then(|| (path, self.packing.pack(&self.damage.done_to(content))))
    }
}

impl Line {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Line::Module(directory, pick) => {
                let directory = DIRECTORIES[usize::from(*directory) % DIRECTORIES.len()];
                format!("{directory}/{}.ko\n", name(*pick)).into_bytes()
            }
            Line::Alias(pick, alias) => [name(*pick).as_bytes(), b".alias=", &alias.bytes(), b"\0"].concat(),
            Line::Raw(bytes) => bytes.clone(),
        }
    }
}

/// Lays the tree out as a root that has it.
fn lay_out(root: &Path, input: &Input) {
    let modules = root.join("lib/modules").join(VERSION);
    let _ = fs::remove_dir_all(root);
    fs::create_dir_all(root.join("boot")).unwrap();
    fs::write(root.join("boot").join(format!("vmlinuz-{VERSION}")), elf::right_kernel()).unwrap();
    let config = input.config.as_deref().unwrap_or(CONFIG.as_bytes());
    fs::write(root.join("boot").join(format!("config-{VERSION}")), config).unwrap();
    fs::create_dir_all(modules.join("kernel")).unwrap();
    for (path, content) in input.modules.iter().take(12).filter_map(Module::file) {
        let path = modules
            .join(OsStr::from_bytes(&path).to_str().unwrap_or("kernel/odd.ko").trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Names of which the host's file system wants nothing are not to be tried.
        let _ = fs::write(path, content);
    }
    for (which, lines) in input.lists.iter().take(3) {
        let content: Vec<u8> = lines.iter().take(60).flat_map(Line::bytes).collect();
        fs::write(modules.join(LISTS[usize::from(*which) % LISTS.len()]), content).unwrap();
    }
    if let Some((which, content)) = &input.raw_list {
        fs::write(modules.join(LISTS[usize::from(*which) % LISTS.len()]), content).unwrap();
    }
}

/// The files of the disk that the guest reads, laid out in a directory.
fn guest(kernel: &Kernel, place: &Path) -> Option<(OwnedFd, BTreeMap<String, String>)> {
    let mut tar = tar::Archive::new(fs::File::open(kernel.modules_disk()?).unwrap());
    // All disks have the same files.
    fs::create_dir_all(place).unwrap();
    let mut texts = BTreeMap::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        if name.contains('/') || !name.starts_with("modules.") {
            continue;
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        fs::write(place.join(&name), &content).unwrap();
        texts.insert(name, String::from_utf8_lossy(&content).into_owned());
    }
    let disk = open(place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    Some((disk, texts))
}

/// What the kernel's request loads, in order; nothing where it fails.
fn requested(disk: &OwnedFd, rules: &Rules, name: &str) -> Option<Vec<String>> {
    load::LOADED.take();
    let found = Resolver::new(disk, rules).request(name);
    found.then(|| load::LOADED.take())
}

fn check(kernel: &Kernel, place: &Path, requests: &[String]) {
    let Some((disk, texts)) = guest(kernel, place) else { return };
    let none = Rules::default();
    let needs: HashMap<&str, Vec<&str>> = texts["modules.dep"]
        .lines()
        .map(|line| line.split_once(':').unwrap())
        .map(|(path, needs)| (path, needs.split_whitespace().collect()))
        .collect();
    assert_eq!(needs.len(), kernel.modules);
    for (path, needed) in &needs {
        let loaded = requested(&disk, &none, &name_of(path)).expect("a module is not found");
        let expected: Vec<&str> = needed.iter().rev().copied().chain([*path]).collect();
        assert_eq!(loaded, expected);
        for (place, of) in needed.iter().enumerate() {
            assert!(
                needs[of].iter().all(|needed_too| needed[place + 1..].contains(needed_too)),
                "{path}: {needed:?}"
            );
        }
    }
    aliases(&disk, "modules.alias.bin", &texts["modules.alias"]);
    aliases(&disk, "modules.symbols.bin", &texts["modules.symbols"]);
    for path in texts["modules.builtin"].lines() {
        if let Some((name, "")) = path.rsplit('/').next().unwrap().split_once(".ko")
            && is_key(name)
        {
            assert!(requested(&disk, &none, name).is_some(), "{name:?} is built in");
        }
    }
    // With soft dependencies and whatever this host's rules are: it ends.
    let rules = Rules::read(&disk);
    for request in requests.iter().take(8).map(String::as_str).chain(NAMES) {
        requested(&disk, &rules, request);
        requested(&disk, &none, request);
    }
}

/// Every alias is found with its module: as it is written, and as what it stands for.
fn aliases(disk: &OwnedFd, index: &str, text: &str) {
    let trie = Trie::open(disk, index).unwrap();
    for line in text.lines().filter_map(|line| line.strip_prefix("alias ")) {
        let (alias, module) = line.rsplit_once(' ').unwrap();
        let alias = if index.contains("alias") { with_underscores(alias) } else { alias.to_owned() };
        if !is_key(&alias) || !brackets_match(&alias) {
            continue;
        }
        let is_there = |found: &[String]| found.iter().any(|found| found == module);
        assert!(is_there(&trie.exact(&alias).unwrap()), "{alias:?} of {module} is not in {index}");
        if !alias.contains(['[', ']']) {
            let example = alias.replace('*', "1x").replace('?', "y");
            assert!(
                is_there(&trie.matching(&example).unwrap()),
                "{alias:?} of {module} is not found by {example:?}"
            );
            let shortest = alias.replace('*', "").replace('?', "z");
            assert!(is_there(&trie.matching(&shortest).unwrap()), "{alias:?} of {module}: {shortest:?}");
        }
    }
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= 1023 && key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

fn brackets_match(alias: &str) -> bool {
    let mut open = false;
    for letter in alias.chars() {
        match letter {
            '[' => open = true,
            ']' if !open => return false,
            ']' => open = false,
            _ => {}
        }
    }
    !open
}

thread_local! {
    static STORE: RefCell<Option<Store>> = const { RefCell::new(None) };
}

fuzz_target!(|input: Input| {
    STORE.with_borrow_mut(|store| {
        let store = store.get_or_insert_with(|| Store::new("modules"));
        let root = store.scratch("root");
        lay_out(&root, &input);
        store.add(&[root.into()], None, |kernel| check(kernel, &store.scratch("guest"), &input.requests));
    });
});

//! Random stacks of layers.

use super::archive::Entry;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const NAMES: [&[u8]; 7] = [b"a", b"b", b"c", b"dir", b".hidden", b"\xff\xfe", b"-x"];

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        12 => select(&NAMES[..]).prop_map(<[u8]>::to_vec),
        1 => Just(vec![b'n'; 255]),
        1 => (0..40u32).prop_map(|number| format!("file-{number}").into_bytes()),
    ]
}

/// One to three components; few enough names that layers meet.
fn path() -> impl Strategy<Value = Vec<u8>> {
    vec(name(), 1..4).prop_map(|names| names.join(&b'/'))
}

fn mtime() -> impl Strategy<Value = (i64, u32)> {
    prop_oneof![
        4 => Just((1_600_000_000, 0)),
        1 => Just((0, 0)),
        1 => (0..1_700_000_000i64, 0..1_000_000_000u32),
        1 => (-2_000_000_000..0i64, 0..1_000_000_000u32),
        1 => Just((1 << 33, 999_999_999)),
    ]
}

fn owner() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0u64), 1 => 0..70_000u64, 1 => Just(4_000_000_000u64)]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"v".to_vec()),
        Just(b"line\nbreak\0=12 x".to_vec()),
        vec(any::<u8>(), 1..300),
        Just(vec![7; 900]),
    ]
}

const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Owner rw, user 1000 r, group r, mask r, others nothing: what mode 0640 shows.
fn acl(user: u32) -> Vec<u8> {
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in
        [(1u16, 6u16, u32::MAX), (2, 4, user), (4, 4, u32::MAX), (0x10, 4, u32::MAX), (0x20, 0, u32::MAX)]
    {
        acl.extend_from_slice(&tag.to_le_bytes());
        acl.extend_from_slice(&permissions.to_le_bytes());
        acl.extend_from_slice(&id.to_le_bytes());
    }
    acl
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn xattrs(kind: u8) -> BoxedStrategy<Pairs> {
    let trusted = (select(vec!["trusted.a", "trusted.b"]), value());
    let user = (select(vec!["user.one", "user.two", "user.mime_type"]), value());
    let named = |(name, value): (&str, Vec<u8>)| (name.as_bytes().to_vec(), value);
    match kind {
        b'0' => prop_oneof![
            4 => Just(Vec::new()),
            1 => Just(vec![(b"security.capability".to_vec(), CAPABILITY.to_vec())]),
            2 => vec(user.prop_map(named), 1..3),
            1 => vec(trusted.prop_map(named), 1..3),
        ]
        .boxed(),
        b'5' => prop_oneof![
            4 => Just(Vec::new()),
            1 => (0..2u32).prop_map(|user| vec![(b"system.posix_acl_default".to_vec(), acl(user))]),
            1 => vec(user.prop_map(named), 1..3),
        ]
        .boxed(),
        _ => prop_oneof![4 => Just(Vec::new()), 1 => vec(trusted.prop_map(named), 1..3)].boxed(),
    }
}

fn entry_of(kind: u8) -> impl Strategy<Value = Entry> {
    (path(), owner(), owner(), mtime(), select(vec![0o644, 0o755, 0o4755, 0o1777, 0o2750, 0]), xattrs(kind))
        .prop_map(move |(path, uid, gid, mtime, mode, mut xattrs)| {
            xattrs.sort();
            xattrs.dedup_by(|a, b| a.0 == b.0);
            Entry { uid, gid, mtime, mode, xattrs, ..Entry::new(kind, path) }
        })
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let size = prop_oneof![
        1 => Just(0usize),
        4 => 1..300usize,
        3 => 3900..4200usize,
        2 => 4096..20_000usize,
    ];
    (size, any::<u8>()).prop_map(|(size, seed)| (0..size).map(|at| (at / 7) as u8 ^ seed).collect())
}

fn file() -> impl Strategy<Value = Entry> {
    (entry_of(b'0'), content(), 0..8u32).prop_map(|(mut entry, content, with_acl)| {
        if with_acl == 0 {
            entry.mode = 0o640;
            entry.xattrs = vec![(b"system.posix_acl_access".to_vec(), acl(1000))];
        }
        Entry { content, ..entry }
    })
}

fn target() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => path(),
        2 => path().prop_map(|path| [b"/", &path[..]].concat()),
        1 => path().prop_map(|path| [b"../../../", &path[..]].concat()),
        1 => Just(b"nowhere".to_vec()),
        1 => Just(vec![b't'; 250]),
    ]
}

fn symlink() -> impl Strategy<Value = Entry> {
    (entry_of(b'2'), target()).prop_map(|(entry, link)| Entry { link, mode: 0o777, ..entry })
}

fn hard_link() -> impl Strategy<Value = Entry> {
    (entry_of(b'1'), path()).prop_map(|(entry, link)| Entry { link, xattrs: Vec::new(), ..entry })
}

fn device() -> impl Strategy<Value = Entry> {
    (select(vec![b'3', b'4', b'6']).prop_flat_map(entry_of), 1..300u32, 0..70_000u32)
        .prop_map(|(entry, major, minor)| Entry { device: (major, minor), ..entry })
}

fn whiteout() -> impl Strategy<Value = Entry> {
    (path(), 0..3u32).prop_map(|(path, opaque)| {
        let (directory, name) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => path.split_at(slash + 1),
            None => (&b""[..], &path[..]),
        };
        match opaque {
            0 => Entry::file([&path[..], b"/.wh..wh..opq"].concat(), ""),
            _ if name.len() > 251 => Entry::file([directory, b".wh.a"].concat(), ""),
            _ => Entry::file([directory, b".wh.", name].concat(), ""),
        }
    })
}

/// A directory as overlay's upper directories have them: the marks come after its own entry and before its
/// files. The few paths are links in some layers and directories in others.
fn directory_or_link() -> impl Strategy<Value = Vec<Entry>> {
    let path = select(vec!["a", "b", "dir", "dir/a", "dir/b"]);
    let target = select(vec!["b", "dir", "/a", "../b", "dir/a", "/dir/b"]);
    (path, target, name(), name(), 0..8u32).prop_map(|(path, target, one, other, form)| {
        let below = |name: &[u8]| [path.as_bytes(), b"/", name].concat();
        let name = |name: &[u8]| name[..name.len().min(200)].to_vec();
        let whiteout = Entry::file(below(&[b".wh.", &name(&one)[..]].concat()), "");
        let deep = Entry::file(below(&[&one[..], b"/.wh.", &name(&other)[..]].concat()), "");
        let opaque = Entry::file(below(b".wh..wh..opq"), "");
        let (directory, file) = (Entry::directory(path), Entry::file(below(&other), "own"));
        match form {
            0 | 1 => vec![Entry { mode: 0o777, ..Entry::symlink(path, target) }],
            2 => vec![directory],
            3 => vec![directory, opaque],
            4 => vec![directory, opaque, file],
            5 => vec![directory, whiteout, file],
            6 => vec![directory, file, deep],
            _ => vec![directory, Entry::directory(below(&one)), deep, whiteout],
        }
    })
}

/// Leaves out marks that come before what the layer has in a link's place: there umoci hides what is in the link's
/// target, which is no business of the layer's.
fn without_marks_too_early(entries: Vec<Entry>) -> Vec<Entry> {
    let too_early = |at: usize, entry: &Entry| {
        let Some(slash) = entry.path.iter().rposition(|&byte| byte == b'/') else { return false };
        let (directory, name) = (&entry.path[..=slash], &entry.path[slash + 1..]);
        let replaces = |later: &Entry| {
            !matches!(later.kind, b'1' | b'2') && directory.starts_with(&[&later.path[..], b"/"].concat())
        };
        name.starts_with(b".wh.") && entries[at..].iter().any(replaces)
    };
    let kept = entries.iter().enumerate().filter(|(at, entry)| !too_early(*at, entry));
    kept.map(|(_, entry)| entry.clone()).collect()
}

fn layer() -> impl Strategy<Value = Vec<Entry>> {
    let entry = prop_oneof![
        6 => entry_of(b'5'),
        8 => file(),
        2 => symlink(),
        2 => hard_link(),
        1 => device(),
        4 => whiteout(),
    ];
    let entries = prop_oneof![3 => entry.prop_map(|entry| vec![entry]), 1 => directory_or_link()];
    vec(entries, 0..16).prop_map(|entries| without_marks_too_early(entries.concat()))
}

pub fn stack() -> impl Strategy<Value = Vec<Vec<Entry>>> {
    vec(layer(), 1..5)
}

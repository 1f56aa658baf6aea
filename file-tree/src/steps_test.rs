use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{ResolveFlags, openat2};

use super::*;

/// The inode that both found, or the error that both met.
type Found = Result<u64, Errno>;

fn inode(found: Result<OwnedFd, Errno>) -> Found {
    found.map(|directory| fstat(&directory).unwrap().st_ino)
}

/// What the kernel finds, as the writer asks it.
fn by_kernel(base: &OwnedFd, path: &str, links: Links) -> Found {
    let resolve = resolve_flags(links);
    assert!(resolve.contains(ResolveFlags::NO_MAGICLINKS));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    loop {
        match openat2(base, path, flags, Mode::empty(), resolve) {
            // Another test renames.
            Err(Errno::AGAIN) => {}
            opened => break inode(opened),
        }
    }
}

fn open_base(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
}

#[test]
fn steps_lead_where_the_kernel_goes() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().join("base");
    for made in ["a/b/c", "usr/lib", "d"] {
        fs::create_dir_all(base.join(made)).unwrap();
    }
    fs::create_dir_all(directory.path().join("outside")).unwrap();
    fs::write(base.join("file"), "").unwrap();
    let links = [
        ("lib", "usr/lib"),
        ("absolute", "/usr/lib"),
        ("a/up", ".."),
        ("a/b/far", "../../usr/./lib//"),
        ("out", "../outside"),
        ("out-by-name", directory.path().join("outside").to_str().unwrap()),
        ("root", "/"),
        ("above", "/../../usr"),
        ("self", "self"),
        ("one", "two"),
        ("two", "one"),
        ("to-file", "file"),
        ("dangling", "nothing/at/all"),
        ("chain", "a/up/lib"),
    ]
    .map(|(name, target)| (name.to_owned(), target.to_owned()));
    let chain = |length: usize| {
        let name = move |at: usize| format!("chain{length}-{at}");
        let one = move |at| (name(at), if at + 1 < length { name(at + 1) } else { "d".into() });
        (0..length).map(one)
    };
    for (name, target) in links.into_iter().chain(chain(40)).chain(chain(41)) {
        symlink(target, base.join(name)).unwrap();
    }
    let paths = "a a/b/c a/./b//c/ a/b/.. a/.. a/../.. .. ../base lib lib/.. lib/../.. absolute a/up a/up/a/up \
        a/b/far a/b/far/.. out out/.. out-by-name root root/a above above/.. self one to-file file file/.. file/. \
        nothing nothing/.. dangling chain chain/../../.. chain40-0 chain41-0 . a/b/../b/./../up/usr /a /";
    let base = open_base(&base);
    let mut agreed = 0;
    for links in [Links::Refused, Links::Beneath, Links::Root] {
        for path in paths.split_ascii_whitespace() {
            let by_steps = inode(super::directory(base.as_fd(), path.as_bytes(), links));
            assert_eq!(by_steps, by_kernel(&base, path, links), "{path} {links:?}");
            agreed += usize::from(by_steps.is_ok());
        }
    }
    assert!(agreed > 40, "{agreed}");
}

/// A directory that is moved out while the walk is in it does not take the walk along.
#[test]
fn no_way_back_leads_out() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().join("base");
    fs::create_dir_all(base.join("a/b")).unwrap();
    fs::create_dir_all(base.join("c")).unwrap();
    let known = open_base(&base);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let outside = fs::metadata(directory.path()).map(|found| inode_of(&found)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                fs::rename(base.join("a/b"), directory.path().join("b")).unwrap();
                fs::rename(directory.path().join("b"), base.join("a/b")).unwrap();
            }
        });
        let led_out = (0..20_000).find_map(|_| {
            ["a/b/..", "a/b/../..", "a/b/../../c"].into_iter().find(|path| {
                inode(super::directory(known.as_fd(), path.as_bytes(), Links::Root)) == Ok(outside)
            })
        });
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(led_out, None);
    });
}

fn inode_of(found: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    found.ino()
}

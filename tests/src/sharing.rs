//! What machines on one image cost the host's memory: measured, for the test and for the benchmark.
//!
//! An emulated host sees its store over 9p, whose page cache is not that of a disk's file system. So the store's image
//! and kernel are copied to ext4 on a RAM disk (brd, whose own pages are not in the page cache) and everything is
//! measured there. On a host that runs machines itself they are copied to a directory beside the tests' store.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{Advice, fadvise};

use crate::{KERNEL, Running, machine, monitor_of, setting};

const PATIENCE: Duration = Duration::from_secs(1500);
/// Of the kernel that runs emulated hosts, in the order in which they depend on one another.
const MODULES: [&str; 5] =
    ["crypto/crc32c_generic", "lib/crc16", "fs/mbcache", "fs/jbd2/jbd2", "fs/ext4/ext4"];
/// Where the RAM disk is mounted.
const MOUNT: &str = "/run/vmrun-sharing";

/// A store with one image and one kernel, on a file system of its own.
pub struct Store {
    home: PathBuf,
    image: String,
    /// The image's parts.
    files: Vec<PathBuf>,
    /// Bytes of all parts.
    pub rootfs: u64,
}

/// What a number of machines that have read the whole image take. In bytes.
#[derive(Debug, Clone)]
pub struct Measured {
    /// By how much the host's page cache has grown.
    pub page_cache: u64,
    pub monitors: Vec<Share>,
}

/// One machine's share, from its monitor's smaps and the guest's own word.
#[derive(Debug, Clone, Default)]
pub struct Share {
    /// Of the image's files, each page divided by those who map it.
    pub image: u64,
    /// Of a copy of its own.
    pub copy: u64,
    /// Neither of these, nor the guest's memory.
    pub other: u64,
    /// What the guest has read, in pages of files.
    pub read: u64,
    /// Files without DAX, and directories.
    pub without_dax: u64,
    /// By how much the guest's page cache has grown.
    pub guest_cache: u64,
}

impl Store {
    /// Copies `image` and the tests' kernel from the tests' store to a RAM disk.
    pub fn copy(image: &str) -> Store {
        let from = PathBuf::from(setting("VMRUN_HOME"));
        // (statfs tells the type of the file system behind 9p.)
        let home = match fs::read_to_string("/proc/mounts").unwrap().contains(" 9p ") {
            true => ram_disk(&from),
            false => PathBuf::from(setting("VMRUN_CACHE")).join("tests/sharing"),
        };
        let _ = fs::remove_dir_all(&home);
        for directory in ["oci/blobs/sha256", "layers/sha256", "kernels"] {
            fs::create_dir_all(home.join(directory)).unwrap();
        }
        let copy = |path: &Path| {
            let (from, to) = (from.join(path), home.join(path.parent().unwrap()));
            run("cp", &["-r", "--sparse=always", &from.to_string_lossy(), &to.to_string_lossy()]).unwrap();
        };
        for path in ["images", "oci/index.json", "oci/oci-layout", "kernels/.default"] {
            copy(Path::new(path));
        }
        let kernel = Path::new("kernels").join(KERNEL);
        fs::create_dir_all(home.join(&kernel)).unwrap();
        // The modules themselves are in an archive by now.
        for part in ["vmlinux", "kernel.json", "archives", "config"] {
            copy(&kernel.join(part));
        }

        let metadata = metadata_of(&home, image);
        let description = fs::read(metadata.with_file_name("image.json")).unwrap();
        let description: serde_json::Value = serde_json::from_slice(&description).unwrap();
        let mut rootfs = description["metadata_length"].as_u64().unwrap();
        let mut files = vec![metadata];
        for layer in description["layers"].as_array().unwrap() {
            let directory = layer["diff_id"].as_str().unwrap().replace(':', "/");
            copy(&Path::new("layers").join(&directory));
            files.push(home.join("layers").join(directory).join("data"));
            rootfs += layer["length"].as_u64().unwrap();
        }
        run("sync", &[]).unwrap();
        Store { home, image: image.into(), files, rootfs }
    }

    /// Starts machines one after another, lets each read the whole image, and measures while all of them live.
    pub fn measure(&self, machines: usize, words: &[&str]) -> Measured {
        let mut last = None;
        self.measure_each(&[machines], words, |measured| last = Some(measured.clone()));
        last.expect("it was measured")
    }

    /// Does so up to the last of these numbers of machines, and measures at each.
    pub fn measure_each(&self, machines: &[usize], words: &[&str], mut each: impl FnMut(&Measured)) {
        // What a start reads besides the image is in the page cache before.
        self.machine(words).command(["true"]).run().succeeds();
        for file in &self.files {
            fadvise(File::open(file).unwrap(), 0, None, Advice::DontNeed).unwrap();
        }
        let before = page_cache();
        let mut running: Vec<Running> = Vec::new();
        for count in machines {
            while running.len() < *count {
                let mut one = self.machine(words).shell("probe read /; echo done; sleep 100000").start();
                one.says("done");
                running.push(one);
            }
            let page_cache = page_cache().saturating_sub(before);
            each(&Measured { page_cache, monitors: running.iter().map(Share::of).collect() });
        }
    }

    fn machine(&self, words: &[&str]) -> crate::Command {
        machine(&self.image).home(&self.home).with(words).patience(PATIENCE)
    }
}

impl Share {
    fn of(running: &Running) -> Share {
        let pid = monitor_of(running).expect("vmrun has a monitor");
        let said = running.text();
        let number = |name: &str| -> u64 {
            let line = said.lines().find_map(|line| line.strip_prefix(name));
            1024 * line.and_then(|line| line.trim().parse::<u64>().ok()).unwrap_or_else(|| panic!("{said}"))
        };
        let mut share = Share {
            read: number("all "),
            without_dax: number("copied "),
            guest_cache: number("growth "),
            ..Share::default()
        };
        let (mut guest, mut ignored) = (0, 0);
        let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
        let mut kind = &mut ignored;
        for line in smaps.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let Some((from, to)) = words[0].split_once('-')
                && let (Ok(from), Ok(to)) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16))
            {
                let path = words.get(5).copied().unwrap_or_default();
                kind = match (words[1], to - from >= 32 << 20) {
                    _ if path.contains("/layers/") || path.contains("/images/") => &mut share.image,
                    ("r--p", true) if path.is_empty() => &mut share.copy,
                    ("rw-p", true) if path.is_empty() => &mut guest,
                    _ => &mut share.other,
                };
            } else if words[0] == "Pss:" {
                *kind += words[1].parse::<u64>().unwrap() * 1024;
            }
        }
        share
    }
}

/// An empty ext4 on a new RAM disk.
fn ram_disk(store: &Path) -> PathBuf {
    let unpacked = tempfile::tempdir().unwrap();
    let disk = store.join("kernels/debian-generic/modules.disk");
    let extract = format!("--extract={}", unpacked.path().join("modules").display());
    run("fsck.erofs", &[&extract, &disk.to_string_lossy()]).unwrap();
    let modules = unpacked.path().join("modules/kernel");
    for module in MODULES {
        // One that is there already is refused.
        let _ = Command::new("insmod").arg(modules.join(module).with_extension("ko")).output();
    }
    let _ = run("umount", &[MOUNT]);
    let _ = run("rmmod", &["brd"]);
    let brd = modules.join("drivers/block/brd.ko");
    run("insmod", &[&brd.to_string_lossy(), "rd_nr=1", "rd_size=524288"]).unwrap();
    run("mkfs.ext4", &["-q", "-O", "^has_journal", "/dev/ram0"]).unwrap();
    fs::create_dir_all(MOUNT).unwrap();
    run("mount", &["/dev/ram0", MOUNT]).unwrap();
    MOUNT.into()
}

/// The metadata file of the image of that name, by what `vmrun images` says.
fn metadata_of(home: &Path, image: &str) -> PathBuf {
    let images = crate::vmrun(["images", "--quiet", "--no-trunc", image]).home(home).run().succeeds();
    let id = images.text().trim().replace(':', "/");
    home.join("images").join(id).join("metadata")
}

/// Bytes of files in this host's memory; what is in memory only (tmpfs) does not count.
fn page_cache() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let field = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    };
    field("Cached:") - field("Shmem:")
}

fn run(program: &str, words: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(words).output().map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

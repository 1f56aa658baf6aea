//! Measures what many machines on one image take of the host's memory, for `scripts/bench-sharing`:
//!   sharing IMAGE MACHINES [COPIES]
//! Up to MACHINES that hold no copy, and up to COPIES (as many) of those that do.
//! Prints a table; see docs/benchmarks.md.

use std::io::Write;

use tests::{Measured, Store};

const MIB: f64 = (1 << 20) as f64;
const DEVICES: [(&str, &[&str]); 3] = [
    ("pmem", &["--rootfs-device", "pmem"]),
    ("blk", &["--rootfs-device", "blk"]),
    ("pmem, `--no-share`", &["--rootfs-device", "pmem", "--no-share"]),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |word: &String| -> usize { word.parse().expect("a number of machines") };
    let (image, sharing, copies) = match &words[..] {
        [image, most] => (image, number(most), number(most)),
        [image, most, copies] => (image, number(most), number(copies)),
        _ => panic!("sharing IMAGE MACHINES [COPIES]"),
    };
    let store = Store::copy(image);
    println!("The rootfs has {:.1} MiB; each machine 320 MiB of memory.\n", store.rootfs as f64 / MIB);
    println!(
        "| rootfs | machines | host's page cache has grown by, of the rootfs | each monitor: image (PSS) | a copy | the rest | each guest's page cache has grown by |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, device) in DEVICES {
        let words = [&["--memory", "320m"][..], device].concat();
        let most = if name == "pmem" { sharing } else { copies };
        let machines: Vec<usize> = [1, 5].into_iter().filter(|count| *count < most).chain([most]).collect();
        store.measure_each(&machines, &words, |measured| line(name, store.rootfs, measured));
    }
}

fn line(name: &str, rootfs: u64, measured: &Measured) {
    let count = measured.monitors.len();
    // Of the machines in a row, the largest.
    let most = |value: fn(&tests::Share) -> u64| {
        format!("{:.1} MiB", measured.monitors.iter().map(value).max().unwrap_or(0) as f64 / MIB)
    };
    let growth = measured.page_cache as f64 / rootfs as f64;
    let (image, copy) = (most(|share| share.image), most(|share| share.copy));
    let (other, guest) = (most(|share| share.other), most(|share| share.guest_cache));
    println!("| {name} | {count} | {growth:.2} | {image} | {copy} | {other} | {guest} |");
    let _ = std::io::stdout().flush();
}

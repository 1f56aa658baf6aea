//! Writes to a file as databases do, and says how fast that went: `disk_writer FILE MIB`. Prints
//!
//!     random N      MiB a second of writes of 4 KiB in random places, and one fsync at the end
//!     direct N      the same past the page cache (O_DIRECT), one at a time, a second
//!     fsync N       writes of 4 KiB in random places, each with an fdatasync, a second
//!     append N      lines appended, each with an fsync, a second

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

use rustix::fs::OFlags;

const BLOCK: usize = 4096;
const DIRECT_WRITES: u64 = 2000;
const FSYNCS: u64 = 300;

/// Memory that O_DIRECT accepts.
#[repr(align(4096))]
struct Block([u8; BLOCK]);

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [path, mib] = &words[..] else { return Err("disk_writer FILE MIB".into()) };
    let (path, blocks) = (Path::new(path), (mib.parse::<u64>()? << 20) / BLOCK as u64);
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    let block = Block([0x5a; BLOCK]);
    let mut places = Places(1);
    // The blocks exist before they are written in random places.
    let whole = vec![0xa5; 1 << 20];
    for at in (0..blocks * BLOCK as u64).step_by(1 << 20) {
        file.write_all_at(&whole, at)?;
    }
    file.sync_all()?;

    let begun = Instant::now();
    for _ in 0..blocks {
        file.write_all_at(&block.0, places.next(blocks))?;
    }
    file.sync_all()?;
    tell("random", (blocks * BLOCK as u64) as f64 / f64::from(1 << 20), begun);

    let direct = File::options().write(true).custom_flags(OFlags::DIRECT.bits() as i32).open(path)?;
    let begun = Instant::now();
    for _ in 0..DIRECT_WRITES {
        direct.write_all_at(&block.0, places.next(blocks))?;
    }
    tell("direct", DIRECT_WRITES as f64, begun);

    let begun = Instant::now();
    for _ in 0..FSYNCS {
        file.write_all_at(&block.0, places.next(blocks))?;
        file.sync_data()?;
    }
    tell("fsync", FSYNCS as f64, begun);

    let log = path.with_extension("log");
    let mut log = File::create(log)?;
    let begun = Instant::now();
    for number in 0..FSYNCS {
        writeln!(log, "line {number}")?;
        log.sync_all()?;
    }
    tell("append", FSYNCS as f64, begun);
    Ok(())
}

fn tell(name: &str, amount: f64, begun: Instant) {
    println!("{name} {:.2}", amount / begun.elapsed().as_secs_f64());
}

/// The same random places each time, in bytes.
struct Places(u64);

impl Places {
    fn next(&mut self, blocks: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % blocks * BLOCK as u64
    }
}

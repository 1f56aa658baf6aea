//! Makes one EROFS file of uncompressed layer tars, lowest first, or two ext4 ones, with and without what is hidden:
//! `cargo run --release --example flatten OUT [--ext4] LAYER.tar…`

use rootfs_builder::erofs::{LayerFiles, write_metadata};
use rootfs_builder::ext4::{self, LargeFiles};
use rootfs_builder::layer::{Limits, build};
use std::error::Error;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let out: PathBuf = arguments.next().ok_or("usage: flatten OUT [--ext4] LAYER.tar…")?.into();
    let create =
        |path: &PathBuf| File::options().read(true).write(true).create(true).truncate(true).open(path);
    let mut parts = Vec::new();
    let as_ext4 = arguments.next_if(|word| word == "--ext4").is_some();
    for (number, tar) in arguments.enumerate() {
        let data = out.with_extension(format!("{number}.data"));
        let entries = out.with_extension(format!("{number}.entries"));
        let begin = Instant::now();
        let summary = build(File::open(&tar)?, create(&data)?, create(&entries)?, &Limits::default())?;
        eprintln!("{}: {:?} in {:?}", tar.display(), summary, begin.elapsed());
        parts.push((data, entries, summary.data_bytes));
    }
    let layers: Vec<LayerFiles> = parts
        .iter()
        .map(|(data, entries, data_length)| LayerFiles { data, entries, data_length: *data_length })
        .collect();
    let begin = Instant::now();
    if as_ext4 {
        let summary = ext4::write(&layers, LargeFiles::InLayers, &create(&out)?)?;
        eprintln!("ext4: {summary:?} in {:?}", begin.elapsed());
        let begin = Instant::now();
        let summary = ext4::write(&layers, LargeFiles::Copied, &create(&out.with_extension("whole"))?)?;
        eprintln!("whole ext4: {summary:?} in {:?}", begin.elapsed());
    } else {
        let summary = write_metadata(&layers, create(&out)?)?;
        eprintln!("metadata: {summary:?} in {:?}", begin.elapsed());
    }
    let mut disk = File::options().append(true).open(&out)?;
    for (data, entries, _) in &parts {
        io::copy(&mut File::open(data)?, &mut disk)?;
        std::fs::remove_file(data)?;
        std::fs::remove_file(entries)?;
    }
    Ok(())
}

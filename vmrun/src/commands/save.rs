//! `vmrun save`: images as an archive.

use std::io::{self, BufWriter, IsTerminal};

use anyhow::{Result, bail};
use rootfs_builder::store::ArchiveFormat;

use crate::arguments::{SaveArguments, SaveFormat};
use crate::home::Home;
use crate::output::stdout;
use crate::whole_file::write_whole;

/// Few large writes.
const BUFFER: usize = 256 << 10;

pub fn save(home: &Home, arguments: &SaveArguments) -> Result<u8> {
    let store = home.images()?;
    let format = match arguments.format {
        None => ArchiveFormat::Both,
        Some(SaveFormat::Oci) => ArchiveFormat::Oci,
        Some(SaveFormat::Docker) => ArchiveFormat::Docker,
    };
    let save = |out: &mut dyn io::Write| {
        store.save(&arguments.images, format, &mut BufWriter::with_capacity(BUFFER, out))
    };
    match &arguments.output {
        Some(path) => write_whole(path, |file| Ok(save(file)?))?,
        None if io::stdout().is_terminal() => {
            bail!("an archive is not for a terminal: name a file with -o, or redirect standard output")
        }
        None => save(&mut stdout())?,
    }
    Ok(0)
}

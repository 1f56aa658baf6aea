//! The machine's writable layer: a sparse ext4 file system, copied from a template.
//!
//! mke2fs is run once for each size and kind. What it wrote is kept as a list of pieces, so that a machine's disk
//! is made by writing those few hundred kilobytes into an empty file, on any file system.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::config::{MachineConfig, UpperConfig};

const PROGRAM: &str = "mke2fs";

/// Sizes that a disk can have, in bytes.
const SMALLEST: u64 = 16 << 20;
const LARGEST: u64 = 16 << 40;

/// Disks and the pieces of a template are whole blocks, in bytes.
const BLOCK: u64 = 4096;

/// The longest piece, in bytes.
const LONGEST_PIECE: u64 = 1 << 20;

/// Changes with what a template holds.
const FORM: &str = "v1";

/// What every kernel since 5.4 can mount. Group descriptors have checksums, so that inode tables need no zeroes.
const FEATURES: &str = "none,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,\
                        dir_nlink,extra_isize,metadata_csum";

/// Checks a size that a user gave.
pub fn check_size(size: u64) -> Result<u64> {
    if !(SMALLEST..=LARGEST).contains(&size) {
        bail!("a machine's disk has 16m to 16t, not {size} bytes");
    }
    Ok(size.next_multiple_of(BLOCK))
}

/// Makes the disk at `path` as `config` wants it. Templates are kept in `machines`.
pub fn make(machines: &Path, path: &Path, config: &MachineConfig) -> Result<()> {
    let UpperConfig::Disk { size } = config.upper else { return Ok(()) };
    let template = template(machines, size, !config.remove)?;
    let lasting = !config.remove;
    write(&template, path, size, lasting)
        .with_context(|| format!("cannot make the machine's disk {}", path.display()))
}

fn template(machines: &Path, size: u64, journal: bool) -> Result<PathBuf> {
    let kind = if journal { "journal" } else { "plain" };
    let path = machines.join(format!(".ext4-{FORM}-{size}-{kind}"));
    if fs::exists(&path).unwrap_or(false) {
        return Ok(path);
    }
    let cannot = || format!("cannot make {}", path.display());
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let disk = directory.path().join("disk");
    File::create(&disk).and_then(|file| file.set_len(size)).with_context(cannot)?;
    let features = format!("{FEATURES}{}", if journal { ",has_journal" } else { "" });
    let made = Command::new(PROGRAM)
        .args(["-q", "-F", "-t", "ext4", "-m", "0", "-b", "4096", "-I", "256", "-O", &features])
        .args(["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0"])
        .arg(&disk)
        .env("MKE2FS_CONFIG", "/dev/null")
        .stdin(Stdio::null())
        .output();
    let made = match made {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("{PROGRAM} is missing: install the package e2fsprogs, or run with --tmpfs-root")
        }
        made => made.with_context(|| format!("cannot run {PROGRAM}"))?,
    };
    if !made.status.success() {
        bail!("{PROGRAM} failed: {}", String::from_utf8_lossy(&made.stderr).trim());
    }
    let mut new = tempfile::NamedTempFile::new_in(machines).with_context(cannot)?;
    gather(&File::open(&disk)?, size, &mut new).with_context(cannot)?;
    new.as_file().sync_all().with_context(cannot)?;
    new.persist(&path).map_err(|error| error.error).with_context(cannot)?;
    Ok(path)
}

/// Writes the pieces of `disk` that are not zero: offset and length, little-endian `u64`s, and the bytes.
fn gather(disk: &File, size: u64, to: impl Write) -> io::Result<()> {
    let mut to = io::BufWriter::new(to);
    let mut piece = vec![0; LONGEST_PIECE as usize];
    let mut offset = 0;
    while offset < size {
        offset = match rustix::fs::seek(disk, rustix::fs::SeekFrom::Data(offset)) {
            Ok(data) => data / BLOCK * BLOCK,
            Err(rustix::io::Errno::NXIO) => break,
            // A file system without holes: all of it is data.
            Err(_) => offset,
        };
        let length = LONGEST_PIECE.min(size - offset) as usize;
        disk.read_exact_at(&mut piece[..length], offset)?;
        for (at, block) in piece[..length].chunks(BLOCK as usize).enumerate() {
            if block.iter().any(|byte| *byte != 0) {
                to.write_all(&(offset + at as u64 * BLOCK).to_le_bytes())?;
                to.write_all(&(block.len() as u64).to_le_bytes())?;
                to.write_all(block)?;
            }
        }
        offset += length as u64;
    }
    to.flush()
}

/// Writes the template's pieces into a new file of `size` bytes, which is there after a crash of the host if `lasting`.
fn write(template: &Path, path: &Path, size: u64, lasting: bool) -> Result<()> {
    let mut from = BufReader::with_capacity(256 << 10, File::open(template)?);
    let disk = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    disk.set_len(size)?;
    let mut piece = Vec::new();
    let mut header = [0; 16];
    loop {
        match from.read(&mut header[..1])? {
            0 if lasting => return Ok(disk.sync_all()?),
            0 => return Ok(()),
            _ => from.read_exact(&mut header[1..])?,
        }
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| header[at + byte]));
        let (offset, length) = (number(0), number(8));
        if length > LONGEST_PIECE || offset.checked_add(length).is_none_or(|end| end > size) {
            bail!("{} is damaged: delete it", template.display());
        }
        piece.resize(length as usize, 0);
        from.read_exact(&mut piece)?;
        disk.write_all_at(&piece, offset)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_what_mke2fs_made_and_takes_little_space() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        for (journal, name) in [(true, "a"), (false, "b")] {
            let template = template(directory.path(), 10 << 30, journal).unwrap();
            let disk = directory.path().join(name);
            write(&template, &disk, 10 << 30, journal).unwrap();
            let checked = Command::new("e2fsck").args(["-fn"]).arg(&disk).output().unwrap();
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
            assert!(fs::metadata(&disk).unwrap().blocks() * 512 < 2 << 20);
        }
    }

    #[test]
    fn a_damaged_template_writes_nothing_outside() {
        let directory = tempfile::tempdir().unwrap();
        let template = directory.path().join("template");
        fs::write(&template, [&u64::MAX.to_le_bytes()[..], &4096_u64.to_le_bytes(), &[1; 4096]].concat())
            .unwrap();
        assert!(write(&template, &directory.path().join("disk"), 1 << 20, false).is_err());
    }

    #[test]
    fn sizes_are_bounded() {
        assert!(check_size(1 << 20).is_err() && check_size(u64::MAX).is_err());
        assert_eq!(check_size((16 << 20) + 1).unwrap(), (16 << 20) + 4096);
    }
}

//! Archives in cpio's "newc" form, as the kernel's initramfs unpacker reads them
//! (Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! Same calls, same bytes: owners are root, times are zero, inode numbers count up.

use std::io::{self, Write};

const MAGIC: &[u8] = b"070701";
const TRAILER: &str = "TRAILER!!!";
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

/// An archive under construction, in memory.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    pub fn new() -> Archive {
        Archive::default()
    }

    /// Adds a directory. The kernel makes no parents by itself: add them first.
    pub fn add_directory(&mut self, path: &str, permissions: u32) -> io::Result<()> {
        self.add(path, DIRECTORY | (permissions & 0o7777), 2, &[])
    }

    /// Adds a regular file.
    pub fn add_file(&mut self, path: &str, permissions: u32, content: &[u8]) -> io::Result<()> {
        self.add(path, REGULAR | (permissions & 0o7777), 1, content)
    }

    /// The finished archive. Its length is a multiple of 4 bytes, so that another may follow it.
    pub fn finish(mut self) -> io::Result<Vec<u8>> {
        self.entries = 0;
        self.add(TRAILER, 0, 1, &[])?;
        Ok(self.bytes)
    }

    fn add(&mut self, path: &str, mode: u32, links: u32, content: &[u8]) -> io::Result<()> {
        let name = path.trim_start_matches('/');
        let size = u32::try_from(content.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("{path} exceeds 4 GiB")))?;
        let inode = self.entries;
        self.entries += 1;
        let fields = [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        self.bytes.write_all(MAGIC)?;
        for field in fields {
            write!(self.bytes, "{field:08X}")?;
        }
        self.bytes.write_all(name.as_bytes())?;
        self.bytes.push(0);
        self.pad();
        self.bytes.write_all(content)?;
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn sample() -> Vec<u8> {
        let mut archive = Archive::new();
        archive.add_directory("/modules", 0o755).unwrap();
        archive.add_file("/modules/00-a.ko", 0o644, b"abcde").unwrap();
        archive.add_file("init", 0o755, &[7; 4096]).unwrap();
        archive.finish().unwrap()
    }

    #[test]
    fn cpio_reads_it_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut cpio = Command::new("cpio")
            .args(["-id", "--quiet"])
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        cpio.stdin.take().unwrap().write_all(&sample()).unwrap();
        assert!(cpio.wait().unwrap().success());
        assert_eq!(std::fs::read(directory.path().join("modules/00-a.ko")).unwrap(), b"abcde");
        assert_eq!(std::fs::read(directory.path().join("init")).unwrap(), [7; 4096]);
    }

    #[test]
    fn same_calls_same_bytes() {
        assert_eq!(sample(), sample());
        assert_eq!(sample().len() % 4, 0);
    }
}

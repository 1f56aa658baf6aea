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
        let header = header(path, self.entries, mode, links, content.len() as u64)?;
        self.entries += 1;
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// What stands before a regular file's content. For a file that is too large to be copied into an
/// [`Archive`]: this, the `size` bytes of its content, zeroes up to a multiple of 4 bytes, and any
/// archive after it, make an archive too.
pub fn file_header(path: &str, permissions: u32, size: u64) -> io::Result<Vec<u8>> {
    header(path, 0, REGULAR | (permissions & 0o7777), 1, size)
}

fn header(path: &str, inode: u32, mode: u32, links: u32, size: u64) -> io::Result<Vec<u8>> {
    let name = path.trim_start_matches('/');
    let size = u32::try_from(size)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("{path} exceeds 4 GiB")))?;
    let fields = [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name.len() as u32 + 1, 0];
    let mut bytes = MAGIC.to_vec();
    for field in fields {
        write!(bytes, "{field:08X}")?;
    }
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    Ok(bytes)
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
    fn a_file_can_be_left_out_and_put_in_later() {
        let mut whole = Archive::new();
        whole.add_file("/init", 0o755, b"abcde").unwrap();
        let mut parts = file_header("/init", 0o755, 5).unwrap();
        parts.extend_from_slice(b"abcde\0\0\0");
        parts.extend(Archive::new().finish().unwrap());
        assert_eq!(parts, whole.finish().unwrap());
    }

    #[test]
    fn same_calls_same_bytes() {
        assert_eq!(sample(), sample());
        assert_eq!(sample().len() % 4, 0);
    }
}

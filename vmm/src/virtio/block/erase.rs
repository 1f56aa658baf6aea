//! Emptying ranges of a disk's file, as far as its file system helps.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

/// Zeroes written by one system call, in bytes.
const ZEROES: usize = 256 << 10;

/// Lets go of the space behind `length` bytes. It is a wish: a file system without holes (9p, for one) keeps the bytes.
pub fn discard(file: &File, offset: u64, length: u64) -> io::Result<()> {
    punch(file, offset, length).map(drop)
}

/// Makes `length` bytes read as zeroes. With `unmap` their space may go as well.
pub fn zero(file: &File, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
    let kept = !unmap && allocate(file, libc::FALLOC_FL_ZERO_RANGE, offset, length)?;
    match kept || punch(file, offset, length)? {
        true => Ok(()),
        false => write_zeroes(file, offset, length),
    }
}

fn punch(file: &File, offset: u64, length: u64) -> io::Result<bool> {
    allocate(file, libc::FALLOC_FL_PUNCH_HOLE, offset, length)
}

/// False when the file system cannot do this.
fn allocate(file: &File, mode: i32, offset: u64, length: u64) -> io::Result<bool> {
    if length == 0 {
        return Ok(true);
    }
    let mode = mode | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: takes no pointers. Offset and length are inside of a disk, whose length fits an i64.
    let done = unsafe { libc::fallocate64(file.as_raw_fd(), mode, offset as i64, length as i64) };
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        _ if done == 0 => Ok(true),
        Some(libc::EOPNOTSUPP | libc::ENOSYS) => Ok(false),
        _ => Err(error),
    }
}

/// What lies past the file's end reads as zeroes already.
fn write_zeroes(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let end = offset.saturating_add(length).min(file.metadata()?.len());
    let zeroes = vec![0; ZEROES];
    let mut at = offset;
    while at < end {
        let count = (end - at).min(ZEROES as u64);
        file.write_all_at(&zeroes[..count as usize], at)?;
        at += count;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::disk::temporary_file;
    use super::*;

    #[test]
    fn zeroes_are_written_where_nothing_else_helps() {
        let file = temporary_file();
        file.write_all_at(&vec![7; 3 * ZEROES], 0).unwrap();
        write_zeroes(&file, 100, 2 * ZEROES as u64).unwrap();
        write_zeroes(&file, 3 * ZEROES as u64 - 50, 1 << 40).unwrap();
        let mut bytes = vec![1; 3 * ZEROES + 1];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 3 * ZEROES, "the file did not grow");
        let mut expected = vec![7; 3 * ZEROES];
        expected[100..100 + 2 * ZEROES].fill(0);
        expected[3 * ZEROES - 50..].fill(0);
        assert!(bytes[..3 * ZEROES] == expected);
    }

    #[test]
    fn what_is_no_file_with_holes_is_told_apart_from_what_fails() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let writer = File::from(std::os::fd::OwnedFd::from(writer));
        assert_eq!(punch(&writer, 0, 4096).unwrap_err().raw_os_error(), Some(libc::ESPIPE));
        let directory = File::open("/proc/self/fd").unwrap();
        assert!(punch(&directory, 0, 4096).is_err());
        assert!(discard(&temporary_file(), 0, 4096).is_ok());
    }
}

//! Reading a file into memory of one's own, without leaving it in the host's page cache.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

const PAGE: usize = 4096;
const ZEROES: [u8; PAGE] = [0; PAGE];
/// Bytes of one read. Without the page cache nobody reads ahead.
const PIECE: usize = 2 << 20;

/// Calls `take` with the offset and the bytes of each page of the file's first `length` bytes that is not all zeroes;
/// the last one may be short.
pub fn for_each_page(file: &File, length: u64, mut take: impl FnMut(u64, &[u8])) -> io::Result<()> {
    let length = file.metadata()?.len().min(length);
    // For O_DIRECT, memory and offsets are aligned.
    let mut memory = vec![0; PIECE + PAGE];
    let aligned = memory.as_ptr().align_offset(PAGE);
    let piece = &mut memory[aligned..aligned + PIECE];
    let mut direct = set_direct(file, true);
    let mut offset = 0;
    while let Some(data) = next_data(file, offset)?.filter(|data| *data < length) {
        offset = data / PAGE as u64 * PAGE as u64;
        let read = match file.read_at(piece, offset) {
            // Some file systems take the flag and then refuse to read.
            Err(error) if direct && error.raw_os_error() == Some(libc::EINVAL) => {
                direct = false;
                set_direct(file, false);
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        // A read may end early, but not within a page unless the file does.
        let wanted = (length - offset).min(PIECE as u64) as usize;
        let usable = match read {
            read if read >= wanted => wanted,
            read if read < PAGE => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => read / PAGE * PAGE,
        };
        for (page, at) in piece[..usable].chunks(PAGE).zip((offset..).step_by(PAGE)) {
            if page != &ZEROES[..page.len()] {
                take(at, page);
            }
        }
        offset += usable as u64;
    }
    set_direct(file, false);
    Ok(())
}

/// Whether reads of the file now go past the page cache (`direct`), or through it again.
fn set_direct(file: &File, direct: bool) -> bool {
    let flags = if direct { libc::O_DIRECT } else { 0 };
    // SAFETY: takes a number, and changes the flags of a file that was opened for us alone.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags) == 0 }
}

/// Where the file has data at or after `offset`, skipping its holes; nothing when there is none left.
fn next_data(file: &File, offset: u64) -> io::Result<Option<u64>> {
    let offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: takes numbers. The file's position, which it changes, is used by nobody: reads name their offsets.
    let data = unsafe { libc::lseek64(file.as_raw_fd(), offset, libc::SEEK_DATA) };
    match u64::try_from(data) {
        Ok(data) => Ok(Some(data)),
        Err(_) => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            // Without an answer, everything is data.
            error if error.raw_os_error() == Some(libc::EINVAL) => Ok(Some(offset as u64)),
            error => Err(error),
        },
    }
}

//! System calls that move bytes between a descriptor and guest memory, without a copy in between.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::chain::Buffers;

/// Fills `buffers` from `file` at `offset` (bytes), up to the file's end; says how many bytes.
pub fn read_at(file: BorrowedFd, buffers: &Buffers, offset: u64) -> io::Result<usize> {
    transfer_all(buffers, offset, |iovecs, offset| {
        // SAFETY: the iovecs come from `iovecs_of`, so each is memory of the guest that stays mapped while `buffers`
        // lives; it is not Rust's memory, so the kernel may write to it whoever else does.
        unsafe { libc::preadv64(file.as_raw_fd(), iovecs.as_ptr(), iovecs.len() as i32, offset) }
    })
}

/// Writes `buffers` to `file` at `offset` (bytes).
pub fn write_at(file: BorrowedFd, buffers: &Buffers, offset: u64) -> io::Result<()> {
    let written = transfer_all(buffers, offset, |iovecs, offset| {
        // SAFETY: as in `read_at`; the kernel only reads the memory.
        unsafe { libc::pwritev64(file.as_raw_fd(), iovecs.as_ptr(), iovecs.len() as i32, offset) }
    })?;
    match written == buffers.len() {
        true => Ok(()),
        false => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// Reads from a stream what is there, at most `buffers.len()` bytes; 0 at its end. One system call.
pub fn receive(stream: BorrowedFd, buffers: &Buffers) -> io::Result<usize> {
    let iovecs = iovecs_of(buffers);
    retry(|| {
        // SAFETY: as in `read_at`.
        unsafe { libc::readv(stream.as_raw_fd(), iovecs.as_ptr(), iovecs.len() as i32) }
    })
}

/// Sends to a stream what it takes at once. One system call; a closed stream is an error, not a signal.
pub fn send(stream: BorrowedFd, buffers: &Buffers) -> io::Result<usize> {
    let mut iovecs = iovecs_of(buffers);
    // SAFETY: all zeroes is a valid msghdr: no name, no control data, no flags.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = iovecs.as_mut_ptr();
    message.msg_iovlen = iovecs.len();
    retry(|| {
        // SAFETY: `message` points to `iovecs`, which live until the call returns and are guest memory as in `read_at`.
        unsafe { libc::sendmsg(stream.as_raw_fd(), &message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) }
    })
}

fn transfer_all(
    buffers: &Buffers,
    offset: u64,
    transfer: impl Fn(&[libc::iovec], i64) -> isize,
) -> io::Result<usize> {
    let mut rest = buffers.clone();
    let mut done = 0;
    while !rest.is_empty() {
        let position = offset.checked_add(done as u64).and_then(|position| i64::try_from(position).ok());
        let position = position.ok_or(io::ErrorKind::InvalidInput)?;
        let iovecs = iovecs_of(&rest);
        match retry(|| transfer(&iovecs, position))? {
            0 => break,
            count => {
                done += count;
                rest = rest.split_at(count).map(|(_, rest)| rest).unwrap_or_default();
            }
        }
    }
    Ok(done)
}

fn iovecs_of(buffers: &Buffers) -> Vec<libc::iovec> {
    let iovec = |slice: &vm_memory::VolatileSlice| libc::iovec {
        iov_base: slice.ptr_guard_mut().as_ptr().cast(),
        iov_len: slice.len(),
    };
    buffers.slices().iter().map(iovec).collect()
}

fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(count) => return Ok(count),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

//! Trying a feature on the kernel that runs.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;

use super::Trial;

const PAGE: usize = 4096;

const STATX: i64 = 332;
const MEMFD_SECRET: i64 = 447;
const CACHESTAT: i64 = 451;
const MSEAL: i64 = 462;
const CLOSE_RANGE: i64 = 436;
const PIDFD_OPEN: i64 = 434;
const LANDLOCK_CREATE_RULESET: i64 = 444;
const IO_URING_SETUP: i64 = 425;
const IO_URING_REGISTER: i64 = 427;

const LANDLOCK_CREATE_RULESET_VERSION: i64 = 1;
const IORING_REGISTER_PROBE: i64 = 8;
const IO_URING_OP_SUPPORTED: u16 = 1;

const MADV_POPULATE_READ: i32 = 22;
const MADV_GUARD_INSTALL: i32 = 102;
const MAP_DROPPABLE: i32 = 8;
const MFD_NOEXEC_SEAL: u32 = 8;
const PIDFD_THREAD: i64 = libc::O_EXCL as i64;
const F_DUPFD_QUERY: i32 = 1024 + 3;
const SO_PEERPIDFD: i32 = 77;
const STATX_MNT_ID_UNIQUE: u32 = 0x4000;
const PR_SCHED_CORE: i32 = 62;
const PR_GET_MDWE: i32 = 66;
const PR_GET_MEMORY_MERGE: i32 = 68;
const PR_SET_VMA: i32 = 0x5356_4d41;

/// Whether the kernel that runs has it.
pub fn is_there(trial: &Trial) -> bool {
    match trial {
        Trial::SystemCall { number, arguments } => call(*number, *arguments) != Err(libc::ENOSYS),
        Trial::Works(works) => works(),
        Trial::IoUring(operation) => io_uring_has(*operation),
        Trial::Landlock(version) => {
            let flags = LANDLOCK_CREATE_RULESET_VERSION;
            call(LANDLOCK_CREATE_RULESET, [0, 0, flags, 0, 0, 0]).is_ok_and(|abi| abi >= *version)
        }
    }
}

/// A system call; the error is errno.
fn call(number: i64, arguments: [i64; 6]) -> Result<i64, i32> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: what the arguments point to, if they do, is memory of this program's that lives until the call returns
    // and is as large as the call takes it to be: see the callers. The nonsense that is passed elsewhere (-1) is no
    // address that the kernel could write to.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result >= 0 { Ok(result) } else { Err(errno()) }
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// An address as an argument.
fn address<T>(of: &mut T) -> i64 {
    (of as *mut T).expose_provenance() as i64
}

/// The file that a call has opened.
fn opened(result: Result<i64, i32>) -> Option<OwnedFd> {
    let number = i32::try_from(result.ok()?).ok()?;
    // SAFETY: the call has just opened it, and nobody else knows of it.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

fn memory_file() -> Option<OwnedFd> {
    // SAFETY: the name is a string with its end.
    opened(Ok(unsafe { libc::memfd_create(c"probe".as_ptr(), 0) }.into())).filter(|fd| fd.as_raw_fd() >= 0)
}

/// Maps a page, has `with` use it, and gives it back.
fn with_page(with: impl FnOnce(*mut libc::c_void) -> bool) -> bool {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let page = unsafe { libc::mmap(null_mut(), PAGE, protection, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return false;
    }
    let result = with(page);
    // SAFETY: the mapping is of so many bytes, and nothing points into it. One that is sealed stays.
    unsafe { libc::munmap(page, PAGE) };
    result
}

pub fn close_range() -> bool {
    let Some(file) = memory_file() else { return false };
    // The kernel closes a duplicate, which nobody owns.
    // SAFETY: duplicating a descriptor touches no memory.
    let duplicate = unsafe { libc::dup(file.as_raw_fd()) };
    if duplicate < 0 || call(CLOSE_RANGE, [duplicate.into(), duplicate.into(), 0, 0, 0, 0]).is_err() {
        return false;
    }
    // SAFETY: asking for a descriptor's flags touches no memory.
    unsafe { libc::fcntl(duplicate, libc::F_GETFD) == -1 }
}

pub fn memfd_secret() -> bool {
    opened(call(MEMFD_SECRET, [0; 6])).is_some()
}

pub fn madvise_populate() -> bool {
    // SAFETY: the page is this program's, and its contents stay.
    with_page(|page| unsafe { libc::madvise(page, PAGE, MADV_POPULATE_READ) == 0 })
}

pub fn madvise_guard() -> bool {
    // SAFETY: the page is this program's, and nothing touches it any more.
    with_page(|page| unsafe { libc::madvise(page, PAGE, MADV_GUARD_INSTALL) == 0 })
}

pub fn anon_vma_name() -> bool {
    // SAFETY: the page is this program's, and the name is a string with its end.
    with_page(|page| unsafe { libc::prctl(PR_SET_VMA, 0, page, PAGE, c"probe".as_ptr()) == 0 })
}

pub fn mseal() -> bool {
    with_page(|page| {
        let sealed = call(MSEAL, [page.expose_provenance() as i64, PAGE as i64, 0, 0, 0, 0]).is_ok();
        // SAFETY: unmapping the page, which nothing points into, is what a seal forbids.
        sealed && unsafe { libc::munmap(page, PAGE) } == -1 && errno() == libc::EPERM
    })
}

pub fn map_droppable() -> bool {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, MAP_DROPPABLE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address of the kernel's choice, given back at once.
    unsafe {
        let page = libc::mmap(null_mut(), PAGE, protection, flags, -1, 0);
        page != libc::MAP_FAILED && libc::munmap(page, PAGE) == 0
    }
}

pub fn memfd_noexec_seal() -> bool {
    // SAFETY: the name is a string with its end.
    let file = unsafe { libc::memfd_create(c"probe".as_ptr(), MFD_NOEXEC_SEAL) };
    opened(if file >= 0 { Ok(file.into()) } else { Err(errno()) }).is_some()
}

pub fn sched_core() -> bool {
    let mut cookie = 0_u64;
    // Its own cookie, of the thread alone. A processor without hyper-threads has no use for one, and says so.
    // SAFETY: the cookie is as large as the kernel takes it to be.
    let got = unsafe { libc::prctl(PR_SCHED_CORE, 0, 0, 0, &raw mut cookie) };
    got == 0 || errno() == libc::ENODEV
}

pub fn mdwe() -> bool {
    // SAFETY: the call touches no memory.
    unsafe { libc::prctl(PR_GET_MDWE, 0, 0, 0, 0) >= 0 }
}

pub fn memory_merge() -> bool {
    // SAFETY: the call touches no memory.
    unsafe { libc::prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) >= 0 }
}

/// Counts the pages in memory of a file that has one.
pub fn cachestat() -> bool {
    let Some(file) = memory_file() else { return false };
    // SAFETY: the byte is this program's.
    if unsafe { libc::write(file.as_raw_fd(), c"x".as_ptr().cast(), 1) } != 1 {
        return false;
    }
    let (mut range, mut counts) = ([0_u64, 0], [0_u64; 5]);
    let arguments = [file.as_raw_fd().into(), address(&mut range), address(&mut counts), 0, 0, 0];
    call(CACHESTAT, arguments).is_ok() && counts[0] == 1
}

pub fn peer_pidfd() -> bool {
    let Ok((one, _other)) = std::os::unix::net::UnixStream::pair() else { return false };
    let (mut peer, mut length) = (-1_i32, 4_u32);
    // SAFETY: the option is a descriptor, of 4 bytes.
    let got = unsafe {
        let value = (&raw mut peer).cast();
        libc::getsockopt(one.as_raw_fd(), libc::SOL_SOCKET, SO_PEERPIDFD, value, &raw mut length)
    };
    got == 0 && opened(Ok(peer.into())).is_some()
}

pub fn statx_mnt_id_unique() -> bool {
    // The structure, of 256 bytes; its first four say what of it is true. (libc's own function is a weak symbol in a
    // static program.)
    let mut stat = [0_u32; 64];
    let path = c"/".as_ptr().expose_provenance() as i64;
    let arguments = [libc::AT_FDCWD.into(), path, 0, STATX_MNT_ID_UNIQUE.into(), address(&mut stat), 0];
    call(STATX, arguments).is_ok() && stat[0] & STATX_MNT_ID_UNIQUE != 0
}

pub fn pidfd_thread() -> bool {
    opened(call(PIDFD_OPEN, [std::process::id().into(), PIDFD_THREAD, 0, 0, 0, 0])).is_some()
}

/// Asks whether two descriptors are of one open file.
pub fn dupfd_query() -> bool {
    let Some(file) = memory_file() else { return false };
    // SAFETY: the call touches no memory.
    unsafe { libc::fcntl(file.as_raw_fd(), F_DUPFD_QUERY, file.as_raw_fd()) == 1 }
}

/// What `io_uring_register` tells of operations: 16 bytes, and 8 for each.
#[repr(C)]
struct Operations {
    last: u8,
    count: u8,
    reserved: [u16; 7],
    all: [Operation; 256],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Operation {
    number: u8,
    reserved: u8,
    flags: u16,
    more: u32,
}

fn io_uring_has(operation: u8) -> bool {
    // A structure of parameters that ask for nothing, 120 bytes.
    let mut parameters = [0_u64; 15];
    let ring = call(IO_URING_SETUP, [1, address(&mut parameters), 0, 0, 0, 0]);
    let Some(ring) = opened(ring) else { return false };
    let none = Operation { number: 0, reserved: 0, flags: 0, more: 0 };
    let mut told = Operations { last: 0, count: 0, reserved: [0; 7], all: [none; 256] };
    let arguments = [ring.as_raw_fd().into(), IORING_REGISTER_PROBE, address(&mut told), 256, 0, 0];
    let asked = call(IO_URING_REGISTER, arguments).is_ok();
    let entry = told.all[usize::from(operation)];
    asked
        && operation < told.count.max(told.last.saturating_add(1))
        && entry.number == operation
        && entry.flags & IO_URING_OP_SUPPORTED != 0
        && told.reserved == [0; 7]
        && entry.reserved == 0
        && entry.more == 0
}

//! An answer that a child of guest-init's works out: what is read for it may take as long as a process likes, whose
//! memory nobody can look into while it is in the middle of changing it.

use std::rc::Rc;
use std::time::{Duration, Instant};

use guest_protocol::frame::MAX_FRAME;
use rustix::event::PollFlags;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process};

use crate::descriptors::close_all_but;
use crate::image_init;

/// How long a child has.
const PATIENCE: Duration = Duration::from_secs(3);

/// Makes a frame.
pub type Question = fn() -> Vec<u8>;

pub struct Reading {
    pub connection: Rc<OwnedFd>,
    pub until: Instant,
    child: Pid,
    from: OwnedFd,
    answer: Vec<u8>,
}

impl Reading {
    /// Has a child answer; `None` where there can be none.
    pub fn begin(question: Question, connection: &Rc<OwnedFd>) -> Option<Reading> {
        let (from, to) = pipe_with(PipeFlags::CLOEXEC).ok()?;
        fcntl_setfl(&from, OFlags::NONBLOCK).ok()?;
        // SAFETY: guest-init has one thread, so the child's copy of memory is whole and no lock in it is
        // held by a thread that it does not have.
        let child = match unsafe { libc::fork() } {
            0 => {
                let _ = close_all_but(&mut [to.as_raw_fd()]);
                image_init::be_spared_no_more();
                tell(&to, &question());
                // SAFETY: ends this child at once, without anything of the parent's being run or flushed.
                unsafe { libc::_exit(0) };
            }
            child => Pid::from_raw(child).filter(|_| child > 0)?,
        };
        let until = Instant::now() + PATIENCE;
        Some(Reading { connection: connection.clone(), until, child, from, answer: Vec::new() })
    }

    pub fn child(&self) -> Pid {
        self.child
    }

    pub fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        (self.from.as_fd(), PollFlags::IN)
    }

    /// What there is of the answer, once there is no more to come. It is empty when the child has not come to it in
    /// its time.
    pub fn outcome(&mut self) -> Option<Vec<u8>> {
        let mut chunk = [0; 4096];
        loop {
            match read(&self.from, &mut chunk) {
                Ok(count) if count > 0 && self.answer.len() <= 2 * MAX_FRAME => {
                    self.answer.extend_from_slice(&chunk[..count]);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if Instant::now() < self.until => return None,
                Err(Errno::AGAIN) => {
                    let _ = kill_process(self.child, Signal::KILL);
                    return Some(Vec::new());
                }
                _ => return Some(std::mem::take(&mut self.answer)),
            }
        }
    }
}

fn tell(to: &OwnedFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match write(to, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

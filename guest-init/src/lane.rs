//! One direction of one stream: bytes from here to there, with what is between them in a buffer.

use std::rc::Rc;
use std::time::{Duration, Instant};

use guest_protocol::Stream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read, write};
use rustix::net::{Shutdown, shutdown};

use crate::pieces::{self, Decoder};

/// What a lane holds at most, in bytes: what a pipe holds too.
const CAPACITY: usize = 64 * 1024;

/// A record of /dev/kmsg is at most this long; a read with less room fails.
const RECORD: usize = 8 * 1024;

/// How many times a lane reads in one turn, so that a busy one leaves the others theirs.
const READS_PER_TURN: usize = 16;

/// One end of a lane.
#[derive(Clone)]
pub enum End {
    /// Not there yet: the host has not connected.
    Awaited,
    Open(Rc<OwnedFd>),
    /// Nothing comes from it, or can be given to it, any more.
    Over,
}

/// Which of a stream's directions a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToProcess,
    ToHost,
}

/// How the host's end carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// As they are, the connection's end being the stream's.
    Raw,
    /// In pieces with an end of their own, on a port that has none.
    Pieces,
}

pub struct Lane {
    pub stream: Stream,
    pub way: Way,
    from: End,
    to: End,
    buffer: Vec<u8>,
    /// How much of `buffer` has been written already.
    written: usize,
    /// On a port: what turns received pieces into the stream.
    pieces: Option<Decoder>,
}

impl Lane {
    pub fn new(stream: Stream, way: Way, from: End, to: End) -> Lane {
        Lane { stream, way, from, to, buffer: Vec::new(), written: 0, pieces: None }
    }

    /// Gives the lane the host's end, unless it has had one. An end that carries pieces is given
    /// before the first turn.
    pub fn attach(&mut self, host: &Rc<OwnedFd>, carriage: Carriage) -> bool {
        let end = match self.way {
            Way::ToProcess => &mut self.from,
            Way::ToHost => &mut self.to,
        };
        if !matches!(end, End::Awaited) {
            return false;
        }
        *end = End::Open(host.clone());
        if carriage == Carriage::Pieces {
            self.pieces = Some(Decoder::default());
        }
        if matches!(self.from, End::Over) {
            self.source_over();
        }
        true
    }

    /// What the lane waits for: its source while there is room, its sink while there is something for it.
    pub fn interests(&self) -> [Option<(BorrowedFd<'_>, PollFlags)>; 2] {
        let source = match &self.from {
            End::Open(fd) if self.has_room() => Some((fd.as_fd(), PollFlags::IN)),
            _ => None,
        };
        let sink = match &self.to {
            End::Open(fd) if !self.pending().is_empty() => Some((fd.as_fd(), PollFlags::OUT)),
            _ => None,
        };
        [source, sink]
    }

    /// Moves what can be moved without waiting. `sink_gone` says that the sink has been hung up on.
    pub fn turn(&mut self, sink_gone: bool) {
        for _ in 0..READS_PER_TURN {
            let came = self.fill();
            let went = self.flush(sink_gone);
            if !came && !went {
                break;
            }
        }
        self.settle();
    }

    /// Gives the lane its source.
    pub fn begin(&mut self, from: End) {
        self.from = from;
    }

    /// Gives on, for at most `time`, all that the source has by now, ends the stream, and waits until
    /// the host has closed its side: then it has everything.
    pub fn drain_for(&mut self, time: Duration) {
        let End::Open(to) = &self.to else { return };
        let to = to.clone();
        let deadline = Instant::now() + time;
        loop {
            self.turn(false);
            let left = deadline.saturating_duration_since(Instant::now());
            if self.is_drained() || left.is_zero() {
                break;
            }
            wait_on(&to, PollFlags::OUT, left);
        }
        self.end_source();
        wait_on(&to, PollFlags::IN, deadline.saturating_duration_since(Instant::now()));
    }

    /// No more will come: what is in the buffer is the rest.
    pub fn end_source(&mut self) {
        self.source_over();
        self.settle();
    }

    /// Nothing will be taken any more: what is in the buffer is lost.
    pub fn abandon(&mut self) {
        self.from = End::Over;
        self.to = End::Over;
        self.buffer = Vec::new();
        self.written = 0;
    }

    /// Everything that came has been given on, and the sink knows that it was everything.
    pub fn is_over(&self) -> bool {
        matches!(self.to, End::Over)
    }

    /// Whether all that has come so far has been given on.
    pub fn is_drained(&self) -> bool {
        self.pending().is_empty()
    }

    fn pending(&self) -> &[u8] {
        &self.buffer[self.written..]
    }

    fn has_room(&self) -> bool {
        CAPACITY - self.buffer.len() >= RECORD
    }

    fn fill(&mut self) -> bool {
        let End::Open(from) = &self.from else { return false };
        if !self.has_room() {
            return false;
        }
        let held = self.buffer.len();
        let start = if self.sends_pieces() { held + pieces::HEADER } else { held };
        self.buffer.resize(CAPACITY, 0);
        let outcome = read(&**from, &mut self.buffer[start..]);
        match outcome {
            Ok(count) if count > 0 => {
                self.buffer.truncate(start + count);
                self.received(held, count);
                return true;
            }
            _ => self.buffer.truncate(held),
        }
        match outcome {
            Err(Errno::AGAIN) => false,
            // EPIPE is the kernel log's way to say that records were overwritten before they were read.
            Err(Errno::INTR | Errno::PIPE) => true,
            // EIO is a terminal whose other side is closed.
            _ => {
                self.source_over();
                false
            }
        }
    }

    /// Puts the `count` bytes that were just read behind the buffer's first `held` in order.
    fn received(&mut self, held: usize, count: usize) {
        if self.sends_pieces() {
            self.buffer[held..held + pieces::HEADER].copy_from_slice(&pieces::header(count));
        } else if let Some(decoder) = &mut self.pieces {
            let received = self.buffer.split_off(held);
            decoder.decode(&received, &mut self.buffer);
            if decoder.is_ended() {
                self.from = End::Over;
            }
        }
    }

    fn source_over(&mut self) {
        self.from = End::Over;
        if self.sends_pieces() {
            self.buffer.extend_from_slice(&pieces::header(0));
        }
    }

    fn sends_pieces(&self) -> bool {
        self.way == Way::ToHost && self.pieces.is_some()
    }

    fn flush(&mut self, sink_gone: bool) -> bool {
        let End::Open(to) = &self.to else { return false };
        if self.pending().is_empty() {
            return false;
        }
        match write(&**to, self.pending()) {
            Ok(count) => {
                self.written += count;
                if self.written == self.buffer.len() {
                    self.buffer.clear();
                    self.written = 0;
                } else if self.written >= CAPACITY / 2 {
                    self.buffer.drain(..self.written);
                    self.written = 0;
                }
                count > 0
            }
            Err(Errno::AGAIN) if !sink_gone => false,
            Err(Errno::INTR) => true,
            Err(_) => {
                // Nobody reads on: closing our end lets the writer know, as in a pipeline.
                self.abandon();
                false
            }
        }
    }

    /// Passes the end on once everything before it has been.
    fn settle(&mut self) {
        if matches!(self.from, End::Over) && self.pending().is_empty() {
            if let End::Open(to) = &self.to {
                if self.way == Way::ToHost {
                    // A socket's other direction stays. What is no socket has no half to shut down.
                    let _ = shutdown(&**to, Shutdown::Write);
                }
                self.to = End::Over;
            } else if self.way == Way::ToProcess {
                self.to = End::Over;
            }
            self.buffer = Vec::new();
        }
    }
}

fn wait_on(fd: &OwnedFd, flags: PollFlags, time: Duration) {
    let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
    let _ = poll(&mut [PollFd::new(fd, flags)], Some(&time));
}

#[cfg(test)]
#[path = "lane_test.rs"]
mod tests;

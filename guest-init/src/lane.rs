//! One direction of one stream: bytes from here to there, with what is between them in a buffer.

use std::rc::Rc;
use std::time::{Duration, Instant};

use guest_protocol::Stream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read, write};
use rustix::net::{Shutdown, shutdown};

use crate::buffer::Buffer;
use crate::pieces::{self, Decoder};

/// How many times a lane reads in one turn, so that a busy one leaves the others theirs.
const READS_PER_TURN: usize = 64;

/// One end of a lane.
#[derive(Clone)]
pub enum End {
    /// Not there yet: the host has not connected.
    Awaited,
    Open(Rc<OwnedFd>),
    /// Nothing comes from it, or can be given to it, any more.
    Over,
    /// A sink that takes everything and keeps nothing.
    Nowhere,
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
    buffer: Buffer,
    /// On a port: what turns received pieces into the stream.
    pieces: Option<Decoder>,
    /// The source's bytes are lost when the host is, instead of being refused.
    outlives_host: bool,
    /// How many more bytes of the source are the stream's, when that is known.
    left: Option<usize>,
    /// The source, when the stream has ended before it.
    rest: Option<Rc<OwnedFd>>,
}

impl Lane {
    pub fn new(stream: Stream, way: Way, from: End, to: End) -> Lane {
        let (buffer, pieces, left, rest) = (Buffer::default(), None, None, None);
        Lane { stream, way, from, to, buffer, pieces, outlives_host: false, left, rest }
    }

    /// Reads on when the host does not, so that the writer is not kept from its work.
    pub fn outliving_host(self) -> Lane {
        Lane { outlives_host: true, ..self }
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
            self.say_end();
        }
        true
    }

    /// Gives the lane its source.
    pub fn begin(&mut self, from: End) {
        self.from = from;
    }

    /// What the lane waits for: its source while there is room, its sink while there is something for it.
    pub fn interests(&self) -> [Option<(BorrowedFd<'_>, PollFlags)>; 2] {
        let source = match &self.from {
            End::Open(fd) if self.buffer.has_room() => Some((fd.as_fd(), PollFlags::IN)),
            _ => None,
        };
        let sink = match &self.to {
            End::Open(fd) if !self.buffer.is_empty() => Some((fd.as_fd(), PollFlags::OUT)),
            _ => None,
        };
        [source, sink]
    }

    /// Moves what can be moved without waiting. `sink_gone` says that the sink has been hung up on.
    /// Returns whether there was no more to move, as against a turn that has been long enough.
    pub fn turn(&mut self, sink_gone: bool) -> bool {
        let mut reads = 0;
        let idle = loop {
            let before = reads;
            while reads < READS_PER_TURN && self.fill() {
                reads += 1;
            }
            let went = self.flush(sink_gone);
            if reads == before && !went {
                break reads < READS_PER_TURN;
            }
        };
        self.settle();
        idle
    }

    /// Gives on all that the source has by now, ends the stream, and waits until the host has closed
    /// its side: then it has everything. A host that takes nothing for `patience` is not waited for.
    /// `carry` is called while waiting, for connections that need to be carried.
    pub fn drain(&mut self, patience: Duration, mut carry: impl FnMut()) {
        let End::Open(to) = &self.to else { return };
        let to = to.clone();
        loop {
            let idle = self.turn(false);
            if (idle && self.buffer.is_empty()) || !wait_on(&to, PollFlags::OUT, patience, &mut carry) {
                break;
            }
        }
        self.end_source();
        wait_on(&to, PollFlags::IN, patience, &mut carry);
    }

    /// No more will come: what is in the buffer is the rest.
    pub fn end_source(&mut self) {
        self.source_over();
        self.settle();
    }

    /// The stream ends with what is in the source, a pipe, by now: whose stream it was has ended. Others
    /// may go on writing into the pipe.
    pub fn end_with_present(&mut self) {
        if let End::Open(from) = &self.from {
            let present = rustix::io::ioctl_fionread(&**from).unwrap_or(0);
            self.left = Some(usize::try_from(present).unwrap_or(usize::MAX));
            self.turn(false);
        }
    }

    /// What reads on from a source that has not ended with its stream, so that nobody is kept from
    /// writing to it, also when the host, which has had its stream, is gone.
    pub fn take_rest(&mut self) -> Option<Lane> {
        let from = End::Open(self.rest.take()?);
        Some(Lane::new(self.stream, self.way, from, End::Nowhere).outliving_host())
    }

    /// The host reads no more, and has said so: whoever writes on is to learn of it.
    pub fn refuse(&mut self) {
        self.outlives_host = false;
        self.abandon();
    }

    /// The host is gone.
    pub fn lose_host(&mut self) {
        if self.way == Way::ToHost && self.outlives_host && !matches!(self.to, End::Over) {
            self.buffer.discard();
            self.to = End::Nowhere;
            self.turn(false);
        } else {
            self.abandon();
        }
    }

    /// Whether nothing is on its way through it.
    pub fn is_idle(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Nothing will be taken any more: what is in the buffer is lost.
    pub fn abandon(&mut self) {
        self.from = End::Over;
        self.to = End::Over;
        self.buffer.discard();
    }

    /// Whether the host's end is a port, on which its reader's leaving is not noticed.
    pub fn is_on_port(&self) -> bool {
        self.pieces.is_some()
    }

    /// Everything that came has been given on, and the sink knows that it was everything.
    pub fn is_over(&self) -> bool {
        matches!(self.to, End::Over)
    }

    fn fill(&mut self) -> bool {
        let End::Open(from) = &self.from else { return false };
        if !self.buffer.has_room() {
            return false;
        }
        if self.left == Some(0) {
            self.rest = Some(from.clone());
            self.source_over();
            return false;
        }
        let header = if self.sends_pieces() { pieces::HEADER } else { 0 };
        let room = self.buffer.room();
        // Behind them stays room for the header of the last piece, the one without bytes.
        let end = (room.len() - header).min(self.left.unwrap_or(usize::MAX).saturating_add(header));
        match read(&**from, &mut room[header..end]) {
            Ok(count) if count > 0 => {
                self.left = self.left.map(|left| left.saturating_sub(count));
                self.received(count);
                true
            }
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

    /// Takes the `count` bytes that were just read into the buffer's room (behind a header's place).
    fn received(&mut self, count: usize) {
        if self.sends_pieces() {
            self.buffer.room()[..pieces::HEADER].copy_from_slice(&pieces::header(count));
            self.buffer.filled(pieces::HEADER + count);
        } else if let Some(decoder) = &mut self.pieces {
            let length = decoder.decode(&mut self.buffer.room()[..count]);
            self.buffer.filled(length);
            if decoder.is_ended() {
                self.from = End::Over;
            }
        } else {
            self.buffer.filled(count);
        }
    }

    fn source_over(&mut self) {
        if !matches!(self.from, End::Over) {
            self.from = End::Over;
            self.say_end();
        }
    }

    fn say_end(&mut self) {
        if self.sends_pieces() {
            self.buffer.room()[..pieces::HEADER].copy_from_slice(&pieces::header(0));
            self.buffer.filled(pieces::HEADER);
        }
    }

    fn sends_pieces(&self) -> bool {
        self.way == Way::ToHost && self.pieces.is_some()
    }

    fn flush(&mut self, sink_gone: bool) -> bool {
        if self.buffer.is_empty() {
            return false;
        }
        let to = match &self.to {
            End::Open(to) => to,
            End::Nowhere => {
                self.buffer.discard();
                return true;
            }
            End::Awaited | End::Over => return false,
        };
        match write(&**to, self.buffer.pending()) {
            Ok(count) => {
                self.buffer.taken(count);
                count > 0
            }
            Err(Errno::AGAIN) if !sink_gone => false,
            Err(Errno::INTR) => true,
            Err(_) => {
                // Nobody reads on: closing our end lets the writer know, as in a pipeline.
                self.lose_host();
                false
            }
        }
    }

    /// Passes the end on once everything before it has been.
    fn settle(&mut self) {
        if matches!(self.from, End::Over) && self.buffer.is_empty() {
            if let End::Open(to) = &self.to {
                if self.way == Way::ToHost {
                    // A socket's other direction stays. What is no socket has no half to shut down.
                    let _ = shutdown(&**to, Shutdown::Write);
                }
                self.to = End::Over;
            } else if self.way == Way::ToProcess || matches!(self.to, End::Nowhere) {
                self.to = End::Over;
            }
            self.buffer.discard();
        }
    }
}

/// How often what is carried is looked after while a lane is drained.
const CARRY: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

fn wait_on(fd: &OwnedFd, flags: PollFlags, time: Duration, carry: &mut impl FnMut()) -> bool {
    let deadline = Instant::now() + time;
    loop {
        carry();
        if poll(&mut [PollFd::new(fd, flags)], Some(&CARRY)).is_ok_and(|ready| ready > 0) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
    }
}

#[cfg(test)]
#[path = "lane_test.rs"]
mod tests;

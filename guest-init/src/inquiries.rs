//! What the host asks about the machine as a whole, each question on a connection of its own.

use std::rc::Rc;
use std::time::Instant;

use guest_protocol::{Hello, frame};
use rustix::event::PollFlags;
use rustix::fd::{BorrowedFd, OwnedFd};

use crate::freezer::Freezing;
use crate::guest::Guest;
use crate::processes;
use crate::reply::Reply;
use crate::statistics;

/// As many answers can be on their way at once.
const MAX_OPEN: usize = 256;

#[derive(Default)]
pub struct Inquiries {
    freezing: Vec<Freezing>,
    replies: Vec<Reply>,
}

impl Inquiries {
    /// Answers `hello`, now or later.
    pub fn ask(&mut self, hello: Hello, connection: &Rc<OwnedFd>, guest: &Guest) {
        if self.freezing.len() + self.replies.len() >= MAX_OPEN {
            return;
        }
        match hello {
            Hello::Freeze | Hello::Thaw => {
                match Freezing::begin(guest.frozen_together(), hello == Hello::Freeze, connection) {
                    Ok(freezing) => self.freezing.push(freezing),
                    Err(message) => self.reply(connection, frame::answer(&Err::<(), _>(message))),
                }
                self.turn();
            }
            Hello::Statistics => self.reply(connection, frame::answer(&statistics::now())),
            Hello::Processes => self.reply(connection, frame::answer(&processes::list())),
            // Not one of these.
            _ => {}
        }
    }

    pub fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        self.freezing.iter().flat_map(Freezing::interests).chain(self.replies.iter().map(Reply::interest))
    }

    pub fn deadline(&self) -> Option<Instant> {
        let freezing = self.freezing.iter().map(Freezing::deadline);
        freezing.chain(self.replies.iter().map(|reply| reply.until)).min()
    }

    /// Does what can be done by now.
    pub fn turn(&mut self) {
        self.replies.retain_mut(Reply::flush);
        for freezing in std::mem::take(&mut self.freezing) {
            match freezing.outcome() {
                Some(outcome) => {
                    if outcome.is_err() {
                        freezing.give_up();
                    }
                    self.reply(&freezing.connection, frame::answer(&outcome));
                }
                None => self.freezing.push(freezing),
            }
        }
    }

    fn reply(&mut self, connection: &Rc<OwnedFd>, frame: Vec<u8>) {
        self.replies.extend(Reply::send(connection, frame));
    }
}

//! What the host asks about the machine as a whole, each question on a connection of its own.

use std::rc::Rc;
use std::time::Instant;

use guest_protocol::{Hello, frame};
use rustix::event::PollFlags;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::process::Pid;

use crate::guest::Guest;
use crate::processes::{self, Commands};
use crate::reading::{Question, Reading};
use crate::reply::Reply;
use crate::standstill::{Answer, Standstill};
use crate::statistics;

/// As many answers can be on their way at once.
const MAX_OPEN: usize = 256;

/// As many children can be there at once, those included that nothing ends.
const MAX_CHILDREN: usize = 64;

#[derive(Default)]
pub struct Inquiries {
    standstill: Standstill,
    readings: Vec<(Reading, Question)>,
    children: Vec<Pid>,
    replies: Vec<Reply>,
}

impl Inquiries {
    /// Answers `hello`, now or later.
    pub fn ask(&mut self, hello: Hello, connection: &Rc<OwnedFd>, guest: &Guest) {
        if self.standstill.open() + self.readings.len() + self.replies.len() >= MAX_OPEN {
            return;
        }
        match hello {
            Hello::Freeze | Hello::Thaw => {
                let cgroups = guest.frozen_together();
                let answers = match hello {
                    Hello::Freeze => self.standstill.pause(cgroups, connection),
                    _ => self.standstill.unpause(cgroups, connection),
                };
                self.tell(answers);
                self.turn(guest);
            }
            Hello::Statistics => self.read(
                connection,
                || frame::answer(&statistics::now()),
                || frame::answer(&Err::<(), _>(String::from("the machine's figures cannot be read"))),
            ),
            Hello::Processes => self.read(
                connection,
                || frame::answer(&processes::list(Commands::Whole)),
                // It is the command lines that may never come.
                || frame::answer(&processes::list(Commands::Names)),
            ),
            // Not one of these.
            _ => {}
        }
    }

    /// A child that serves files may want that nothing changes meanwhile, and says so by `way`.
    pub fn watch(&mut self, way: OwnedFd) {
        self.standstill.watch(way);
    }

    pub fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let readings = self.readings.iter().map(|(reading, _)| reading.interest());
        self.standstill.interests().chain(readings).chain(self.replies.iter().map(Reply::interest))
    }

    pub fn deadline(&self) -> Option<Instant> {
        let readings = self.readings.iter().map(|(reading, _)| reading.until);
        let replies = self.replies.iter().map(|reply| reply.until);
        self.standstill.deadline().into_iter().chain(readings).chain(replies).min()
    }

    /// Does what can be done by now.
    pub fn turn(&mut self, guest: &Guest) {
        self.replies.retain_mut(Reply::flush);
        let answers = self.standstill.turn(|| guest.frozen_together());
        self.tell(answers);
        for (mut reading, instead) in std::mem::take(&mut self.readings) {
            match reading.outcome() {
                Some(answer) if answer.is_empty() => self.reply(&reading.connection, instead()),
                Some(answer) => self.reply(&reading.connection, answer),
                None => self.readings.push((reading, instead)),
            }
        }
    }

    /// The process with this number has ended, if it is one of these.
    pub fn ended(&mut self, pid: Pid) {
        self.children.retain(|child| *child != pid);
    }

    /// Has a child answer, or gives the answer that needs none.
    fn read(&mut self, connection: &Rc<OwnedFd>, question: Question, instead: Question) {
        let few = self.children.len() < MAX_CHILDREN;
        match few.then(|| Reading::begin(question, connection)).flatten() {
            Some(reading) => {
                self.children.push(reading.child());
                self.readings.push((reading, instead));
            }
            None => self.reply(connection, instead()),
        }
    }

    fn tell(&mut self, answers: Vec<Answer>) {
        for (connection, outcome) in answers {
            self.reply(&connection, frame::answer(&outcome));
        }
    }

    fn reply(&mut self, connection: &Rc<OwnedFd>, frame: Vec<u8>) {
        self.replies.extend(Reply::send(connection, frame));
    }
}

#[cfg(test)]
#[path = "inquiries_test.rs"]
mod tests;

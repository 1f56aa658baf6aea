//! Who wants the machine's processes to stand still: a pause, and every commit while it reads the layer. They
//! go on when nobody wants it any more.

use std::rc::Rc;
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read};

use crate::cgroup::Cgroup;
use crate::freezer::{self, Freezing};

/// What is to be said to whom.
pub type Answer = (Rc<OwnedFd>, Result<(), String>);

#[derive(Default)]
pub struct Standstill {
    is_paused: bool,
    readers: Vec<Reader>,
    /// What is on its way to standing still, or to going on.
    moving: Vec<Freezing>,
    /// What ran before somebody wanted it to stand still.
    stopped: Vec<Cgroup>,
}

/// A child that reads files.
struct Reader {
    /// It says a byte here when nothing may change any more, is answered, and closes it when that is over.
    way: Rc<OwnedFd>,
    is_holding: bool,
}

impl Standstill {
    /// What pauses: `cgroups`, until [`Standstill::unpause`]. `connection` is told.
    pub fn pause(&mut self, cgroups: Vec<Cgroup>, connection: &Rc<OwnedFd>) -> Vec<Answer> {
        self.is_paused = true;
        self.stop(cgroups, connection)
    }

    pub fn unpause(&mut self, cgroups: Vec<Cgroup>, connection: &Rc<OwnedFd>) -> Vec<Answer> {
        self.is_paused = false;
        if self.is_wanted() {
            // It runs as a machine does that is being committed.
            return vec![(connection.clone(), Ok(()))];
        }
        self.stopped.clear();
        match Freezing::begin(cgroups, false, connection) {
            Ok(thawing) => {
                self.moving.push(thawing);
                Vec::new()
            }
            Err(message) => vec![(connection.clone(), Err(message))],
        }
    }

    /// A child has come that may want a standstill, and says so by `way`.
    pub fn watch(&mut self, way: OwnedFd) {
        self.readers.push(Reader { way: Rc::new(way), is_holding: false });
    }

    /// How many are not answered yet.
    pub fn open(&self) -> usize {
        self.moving.len()
    }

    pub fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let readers = self.readers.iter().map(|reader| (reader.way.as_fd(), PollFlags::IN));
        self.moving.iter().flat_map(Freezing::interests).chain(readers)
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.moving.iter().map(Freezing::deadline).min()
    }

    /// Hears who wants to begin and who is done, and returns what there is to say. `cgroups` are what stands still
    /// together.
    pub fn turn(&mut self, cgroups: impl Fn() -> Vec<Cgroup>) -> Vec<Answer> {
        let mut answers = Vec::new();
        for at in (0..self.readers.len()).rev() {
            let mut said = [0; 1];
            match read(&self.readers[at].way, &mut said) {
                Ok(1) if !self.readers[at].is_holding => {
                    self.readers[at].is_holding = true;
                    let way = self.readers[at].way.clone();
                    answers.extend(self.stop(cgroups(), &way));
                }
                Ok(1) | Err(Errno::AGAIN | Errno::INTR) => {}
                _ => {
                    let Reader { way, .. } = self.readers.swap_remove(at);
                    self.moving.retain(|moving| !Rc::ptr_eq(&moving.connection, &way));
                }
            }
        }
        for moving in std::mem::take(&mut self.moving) {
            match moving.outcome() {
                Some(outcome) => {
                    if outcome.is_err() && moving.freezes() {
                        self.is_vain(&moving.connection);
                    }
                    answers.push((moving.connection, outcome));
                }
                None => self.moving.push(moving),
            }
        }
        self.let_go();
        answers
    }

    fn stop(&mut self, cgroups: Vec<Cgroup>, connection: &Rc<OwnedFd>) -> Vec<Answer> {
        // Nothing that is about to go on will have gone on.
        let overtaken = self.moving.extract_if(.., |moving| !moving.freezes());
        let mut answers: Vec<Answer> = overtaken.map(|thawing| (thawing.connection, Ok(()))).collect();
        // An image may keep some standing still for reasons of its own.
        let running = cgroups.iter().filter(|cgroup| !cgroup.is_frozen());
        self.stopped.extend(running.filter_map(Cgroup::duplicate));
        match Freezing::begin(cgroups, true, connection) {
            Ok(freezing) => self.moving.push(freezing),
            Err(message) => {
                self.is_vain(connection);
                self.let_go();
                answers.push((connection.clone(), Err(message)));
            }
        }
        answers
    }

    /// Whoever wanted this standstill does not get it.
    fn is_vain(&mut self, connection: &Rc<OwnedFd>) {
        match self.readers.iter_mut().find(|reader| Rc::ptr_eq(&reader.way, connection)) {
            Some(reader) => reader.is_holding = false,
            None => self.is_paused = false,
        }
    }

    fn is_wanted(&self) -> bool {
        self.is_paused || self.readers.iter().any(|reader| reader.is_holding)
    }

    fn let_go(&mut self) {
        if !self.is_wanted() {
            self.stopped.drain(..).for_each(freezer::thaw);
        }
    }
}

#[cfg(test)]
#[path = "standstill_test.rs"]
mod tests;

//! How a matrix hands its results over: on standard output, and as a document in its folder. That one fails takes neither
//! the other away nor the verdict: the machines have run, and may have run for hours.

use std::io::{self, Write};

use anyhow::{Error, Result};

use crate::output::{StandardOutput, complain, stdout};

/// What is handed over, and whether all of it arrived.
pub struct Delivery<W> {
    out: W,
    /// Somebody reads what is written.
    is_read: bool,
    is_whole: bool,
}

impl<W: Write> Delivery<W> {
    pub fn to(out: W) -> Delivery<W> {
        Delivery { out, is_read: true, is_whole: true }
    }

    /// Writes to standard output. A reader that has left has seen what it wanted; another failure is told once.
    pub fn say(&mut self, text: &str) {
        if !self.is_read {
            return;
        }
        let said = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        self.is_read = said.is_ok();
        match said {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                self.lost(&Error::from(error).context("cannot write the result to standard output"));
            }
            _ => {}
        }
    }

    /// Takes note of how something else went.
    pub fn take<T>(&mut self, done: Result<T>) -> Option<T> {
        done.map_err(|error| self.lost(&error)).ok()
    }

    /// The exit code of a matrix that came to `verdict`.
    pub fn code(&self, verdict: u8) -> u8 {
        if self.is_whole { verdict } else { crate::FAILED }
    }

    fn lost(&mut self, error: &anyhow::Error) {
        self.is_whole = false;
        complain(error);
    }
}

/// To whoever reads the command's output.
pub fn to_stdout() -> Delivery<StandardOutput> {
    Delivery::to(stdout())
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    /// Takes one line, and fails with the next.
    struct Leaves(Vec<u8>, io::ErrorKind);

    impl Write for Leaves {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.is_empty() { self.0.write(bytes) } else { Err(self.1.into()) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_leaves_changes_no_verdict() {
        let mut delivery = Delivery::to(Leaves(Vec::new(), io::ErrorKind::BrokenPipe));
        ["first", "second", "third"].into_iter().for_each(|line| delivery.say(line));
        assert_eq!((delivery.code(0), delivery.code(1), &*delivery.out.0), (0, 1, &b"first"[..]));
    }

    #[test]
    fn what_is_lost_for_another_reason_is_an_error_of_ours() {
        let mut delivery = Delivery::to(Leaves(Vec::new(), io::ErrorKind::StorageFull));
        delivery.say("first");
        assert_eq!(delivery.code(1), 1);
        delivery.say("second");
        assert_eq!(delivery.code(1), crate::FAILED);
        let mut delivery = Delivery::to(Vec::new());
        assert_eq!(delivery.take::<()>(Err(anyhow!("cannot write matrix.json"))), None);
        delivery.say("the table");
        assert_eq!((delivery.code(0), &*delivery.out), (crate::FAILED, &b"the table"[..]));
    }
}

//! The one error of a start that cannot go on.

use std::fmt::{self, Display};

use crate::errno;

/// Why this machine could not be brought up: one line, what was being done and to what, and the
/// cause. A start has no second way round most failures, so what callers need of an error here is
/// its text; the few that are told apart (a missing command, an unknown user) have types of their own.
#[derive(Debug)]
pub struct Fault(String);

impl Fault {
    pub fn new(message: impl Into<String>) -> Fault {
        Fault(message.into())
    }

    pub fn into_message(self) -> String {
        self.0
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Turns an error into a [`Fault`] by saying what was being done.
pub trait OrFault<T> {
    fn or_fault(self, doing: &str, what: &str) -> Result<T, Fault>;
}

impl<T, E: Display> OrFault<T> for Result<T, E> {
    fn or_fault(self, doing: &str, what: &str) -> Result<T, Fault> {
        self.map_err(|cause| Fault([doing, " ", what, ": ", &errno::in_words(&cause)].concat()))
    }
}

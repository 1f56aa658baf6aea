//! One cell: an image's command on a kernel, what is expected of it, and what came of it.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A cell of a matrix, by the indices of its kernel, image and command.
#[derive(Debug, Clone)]
pub struct Cell {
    pub kernel: usize,
    pub image: usize,
    pub command: usize,
    /// Options of `vmrun run`.
    pub words: Vec<OsString>,
    pub timeout: Option<Duration>,
    pub expectation: Expectation,
}

/// What a cell has to come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expectation {
    /// It is not run, for this reason.
    pub skip: Option<String>,
    /// It fails, for this reason.
    pub fails: Option<String>,
    pub exit_code: u8,
    /// What the command writes, but for line ends at the end.
    pub stdout: Option<String>,
}

/// How a cell's machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With the command's exit code, or the one that says why it could not be started.
    Exited {
        code: u8,
    },
    Panicked,
    /// The system or its processor went down before the command ended.
    Crashed {
        why: String,
    },
    TimedOut {
        after: Duration,
    },
    /// On our side.
    Failed {
        why: String,
    },
    /// By the user, with the whole matrix.
    Interrupted,
}

/// What is said of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed(Failure),
    ExpectedFailure(Failure),
    UnexpectedPass,
    Skipped,
    /// There was no time for it.
    NotRun,
}

/// Why a cell has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    ExitCode { code: u8, expected: u8 },
    Output,
    Panicked,
    Crashed { why: String },
    TimedOut { after: Duration },
    Error { why: String },
}

/// What came of a cell.
#[derive(Debug, Clone)]
pub struct Trial {
    pub verdict: Verdict,
    pub end: Option<End>,
    /// How long the machine was there.
    pub duration: Duration,
    /// What vmrun has to say of the machine.
    pub notices: Vec<String>,
    /// The kernel's last lines, when it panicked.
    pub kernel_lines: Vec<String>,
    /// Its output is not kept whole.
    pub shortened: bool,
    /// Where its output and log are, below the matrix's own folder.
    pub folder: Option<PathBuf>,
}

impl Expectation {
    /// What an end comes to. `wrote` says whether standard output is what it should be.
    pub fn judge(&self, end: &End, wrote: bool) -> Verdict {
        let failure = match end {
            End::Exited { code } if *code != self.exit_code => {
                Some(Failure::ExitCode { code: *code, expected: self.exit_code })
            }
            End::Exited { .. } => (!wrote).then_some(Failure::Output),
            End::Panicked => Some(Failure::Panicked),
            End::Crashed { why } => Some(Failure::Crashed { why: why.clone() }),
            End::TimedOut { after } => Some(Failure::TimedOut { after: *after }),
            End::Failed { why } => Some(Failure::Error { why: why.clone() }),
            End::Interrupted => return Verdict::NotRun,
        };
        match (failure, &self.fails) {
            (None, None) => Verdict::Passed,
            (None, Some(_)) => Verdict::UnexpectedPass,
            // Whoever expects the software to fail does not expect that vmrun cannot run it.
            (Some(failure @ Failure::Error { .. }), _) | (Some(failure), None) => Verdict::Failed(failure),
            (Some(failure), Some(_)) => Verdict::ExpectedFailure(failure),
        }
    }

    /// Whether `stdout` is what was expected, if anything was.
    pub fn accepts(&self, stdout: &[u8]) -> bool {
        let Some(expected) = &self.stdout else { return true };
        stdout.trim_ascii_end() == expected.as_bytes().trim_ascii_end()
    }
}

impl Verdict {
    /// Whether the matrix has failed with this.
    pub fn is_failure(&self) -> bool {
        matches!(self, Verdict::Failed(_) | Verdict::UnexpectedPass)
    }

    /// Whether vmrun could not run it.
    pub fn is_error(&self) -> bool {
        matches!(self, Verdict::Failed(Failure::Error { .. }))
    }

    /// A word for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Failed(_) => "failed",
            Verdict::ExpectedFailure(_) => "expected_failure",
            Verdict::UnexpectedPass => "unexpected_pass",
            Verdict::Skipped => "skipped",
            Verdict::NotRun => "not_run",
        }
    }
}

impl fmt::Display for Verdict {
    /// As a table says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Passed => write!(f, "passed"),
            Verdict::Failed(failure) => write!(f, "{}", failure.short()),
            Verdict::ExpectedFailure(failure) => write!(f, "xfail: {}", failure.short()),
            Verdict::UnexpectedPass => write!(f, "unexpected pass"),
            Verdict::Skipped => write!(f, "skipped"),
            Verdict::NotRun => write!(f, "not run"),
        }
    }
}

impl Failure {
    /// As a table says it.
    pub fn short(&self) -> String {
        match self {
            Failure::ExitCode { code, .. } => format!("exit {code}"),
            Failure::Output => "wrong output".into(),
            Failure::Panicked => "panicked".into(),
            Failure::Crashed { .. } => "crashed".into(),
            Failure::TimedOut { .. } => "timed out".into(),
            Failure::Error { .. } => "error".into(),
        }
    }
}

impl fmt::Display for Failure {
    /// In a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::ExitCode { code, expected: 0 } => write!(f, "exit code {code}"),
            Failure::ExitCode { code, expected } => write!(f, "exit code {code}, not {expected}"),
            Failure::Output => write!(f, "standard output is not what was expected"),
            Failure::Panicked => write!(f, "the kernel panicked"),
            Failure::TimedOut { after } => write!(f, "timed out after {} s", after.as_secs()),
            Failure::Crashed { why } | Failure::Error { why } => write!(f, "{why}"),
        }
    }
}

impl End {
    /// A word for programs.
    pub fn name(&self) -> &'static str {
        match self {
            End::Exited { .. } => "exit",
            End::Panicked => "panic",
            End::Crashed { .. } => "crash",
            End::TimedOut { .. } => "timeout",
            End::Failed { .. } => "error",
            End::Interrupted => "interrupted",
        }
    }
}

impl Trial {
    /// What came of a cell without a machine.
    pub fn without_machine(verdict: Verdict) -> Trial {
        Trial {
            verdict,
            end: None,
            duration: Duration::ZERO,
            notices: Vec::new(),
            kernel_lines: Vec::new(),
            shortened: false,
            folder: None,
        }
    }

    /// The failure, expected or not.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.verdict {
            Verdict::Failed(failure) | Verdict::ExpectedFailure(failure) => Some(failure),
            _ => None,
        }
    }

    /// As a table says it: the verdict, and the time where a machine ran.
    pub fn summary(&self) -> String {
        match self.end {
            Some(_) => format!("{} {}", self.shown(), seconds(self.duration)),
            None => self.shown(),
        }
    }

    /// The verdict as a table says it.
    pub fn shown(&self) -> String {
        match self.end {
            Some(End::Interrupted) => "interrupted".into(),
            _ => self.verdict.to_string(),
        }
    }

    pub fn exit_code(&self) -> Option<u8> {
        match self.end {
            Some(End::Exited { code }) => Some(code),
            _ => None,
        }
    }
}

/// A time as tables say it.
pub fn seconds(duration: Duration) -> String {
    format!("{:.1}s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(code: u8) -> End {
        End::Exited { code }
    }

    #[test]
    fn an_exit_code_is_what_was_expected_or_not() {
        let usual = Expectation::default();
        assert_eq!(usual.judge(&exited(0), true), Verdict::Passed);
        assert_eq!(usual.judge(&exited(3), true).to_string(), "exit 3");
        assert_eq!(usual.judge(&exited(0), false).to_string(), "wrong output");
        let three = Expectation { exit_code: 3, ..Expectation::default() };
        assert_eq!(three.judge(&exited(3), true), Verdict::Passed);
        assert!(three.judge(&exited(0), true).is_failure());
    }

    #[test]
    fn a_panic_is_no_exit_code() {
        let refuses = Expectation { exit_code: 125, ..Expectation::default() };
        assert_eq!(refuses.judge(&End::Panicked, true), Verdict::Failed(Failure::Panicked));
        let error = Expectation::default().judge(&End::Failed { why: "no EROFS".into() }, true);
        assert!(error.is_error() && error.to_string() == "error");
    }

    #[test]
    fn who_expects_a_failure_wants_one() {
        let fails = Expectation { fails: Some("a known bug".into()), ..Expectation::default() };
        assert_eq!(fails.judge(&End::Panicked, true), Verdict::ExpectedFailure(Failure::Panicked));
        assert!(!fails.judge(&exited(1), true).is_failure());
        assert_eq!(fails.judge(&exited(0), true), Verdict::UnexpectedPass);
        assert!(fails.judge(&exited(0), true).is_failure());
        assert_eq!(fails.judge(&End::Interrupted, true), Verdict::NotRun);
        assert!(fails.judge(&End::Failed { why: "no memory".into() }, true).is_error());
    }

    #[test]
    fn one_that_ran_when_it_was_interrupted_is_told_from_one_that_did_not() {
        let waiting = Trial::without_machine(Verdict::NotRun);
        let interrupted = Trial { end: Some(End::Interrupted), ..waiting.clone() };
        assert_eq!((waiting.shown(), waiting.summary()), ("not run".into(), "not run".into()));
        assert_eq!(
            (interrupted.shown(), interrupted.summary()),
            ("interrupted".into(), "interrupted 0.0s".into())
        );
    }

    #[test]
    fn output_is_compared_without_the_last_line_ends() {
        let expects = Expectation { stdout: Some("a\nb".into()), ..Expectation::default() };
        assert!(expects.accepts(b"a\nb\n") && !expects.accepts(b"a\n\nb") && !expects.accepts(b""));
        assert!(Expectation::default().accepts(b"\xff"));
    }
}

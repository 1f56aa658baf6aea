//! What came of a matrix, for people and for programs.

mod json;
mod junit;
mod markdown;

use std::fs;

use anyhow::{Context, Result};

use super::cell::{Trial, Verdict};
use super::folder::{DOCUMENT, Folder};
use super::live::line;
use super::plan::Plan;
use super::run::Trials;
use super::table;
use crate::arguments::MatrixFormat;

/// A matrix that is done.
pub struct Report<'a> {
    pub plan: &'a Plan,
    pub trials: &'a Trials,
    pub folder: &'a Folder,
    /// What came of a search.
    pub bisect: Option<&'a Found>,
}

/// What a search found, by the names of kernels.
#[derive(Debug, serde::Serialize)]
pub struct Found {
    pub first_bad: Option<String>,
    pub last_good: Option<String>,
    pub runs: usize,
}

/// How many cells came to what.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    pub cells: usize,
    pub passed: usize,
    pub failed: usize,
    pub expected_failures: usize,
    pub unexpected_passes: usize,
    pub skipped: usize,
    pub not_run: usize,
    /// Those whose output is not kept whole.
    pub shortened: usize,
}

impl Report<'_> {
    /// The document of that format.
    pub fn render(&self, format: MatrixFormat) -> Result<String> {
        Ok(match format {
            MatrixFormat::Table => self.table(),
            MatrixFormat::Json => json::render(self)?,
            MatrixFormat::Junit => junit::render(self)?,
            MatrixFormat::Markdown => markdown::render(self),
        })
    }

    /// Leaves the results beside the cells' output.
    pub fn keep(&self) -> Result<()> {
        let path = self.folder.path().join(DOCUMENT);
        fs::write(&path, json::render(self)?).with_context(|| format!("cannot write {}", path.display()))
    }

    fn table(&self) -> String {
        let text = |cell: usize| self.trials.get(&cell).map(Trial::summary).unwrap_or_default();
        let mut text = table::lines(&table::grid(self.plan, &text), 0).join("\n");
        text.push('\n');
        text
    }

    /// The cells in the order of the plan, with what came of them.
    fn cells(&self) -> impl Iterator<Item = (usize, &Trial)> {
        self.trials.iter().map(|(cell, trial)| (*cell, trial))
    }

    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for (_, trial) in self.cells() {
            tally.cells += 1;
            tally.shortened += usize::from(trial.shortened);
            *match trial.verdict {
                Verdict::Passed => &mut tally.passed,
                Verdict::Failed(_) => &mut tally.failed,
                Verdict::ExpectedFailure(_) => &mut tally.expected_failures,
                Verdict::UnexpectedPass => &mut tally.unexpected_passes,
                Verdict::Skipped => &mut tally.skipped,
                Verdict::NotRun => &mut tally.not_run,
            } += 1;
        }
        tally
    }

    /// Whatever was not as expected, a line each.
    pub fn complaints(&self) -> Vec<String> {
        let failures = self.cells().filter(|(_, trial)| trial.verdict.is_failure());
        failures.map(|(cell, trial)| line(self.plan, cell, trial)).collect()
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = [
            (self.passed, "passed"),
            (self.failed, "failed"),
            (self.expected_failures, "failed as expected"),
            (self.unexpected_passes, "passed unexpectedly"),
            (self.skipped, "skipped"),
            (self.not_run, "not run"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
        let plural = if self.cells == 1 { "" } else { "s" };
        write!(f, "{} cell{plural}: {}", self.cells, counts.join(", "))?;
        match self.shortened {
            0 => Ok(()),
            count => write!(f, "; {count} wrote more than is kept"),
        }
    }
}

#[cfg(test)]
#[path = "report_test.rs"]
mod tests;

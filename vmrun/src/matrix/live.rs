//! How far a matrix is, on standard error: a table that lives on a terminal, in a pipe a line for each cell that is done.
//!
//! A table that the terminal has no room for gives way to the cells that run.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::termios::tcgetwinsize;
use unicode_width::UnicodeWidthStr;

use super::cell::{Trial, Verdict, seconds};
use super::plan::Plan;
use super::table;
use crate::output::warn;

/// The least width of a column, so that they seldom move.
const LEAST_WIDTH: usize = 12;

enum State {
    Running(Instant),
    Done { shown: String, verdict: Verdict },
}

/// What is shown while cells run.
pub struct Live<'a> {
    plan: &'a Plan,
    /// How many cells will run.
    count: usize,
    states: BTreeMap<usize, State>,
    /// Nothing where standard error is no terminal.
    screen: Option<Screen>,
}

struct Screen {
    bars: MultiProgress,
    lines: Vec<ProgressBar>,
}

impl<'a> Live<'a> {
    pub fn new(plan: &'a Plan, count: usize) -> Live<'a> {
        let screen = io::stderr().is_terminal().then(|| Screen {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            lines: Vec::new(),
        });
        let mut live = Live { plan, count, states: BTreeMap::new(), screen };
        live.tick();
        live
    }

    pub fn started(&mut self, cell: usize) {
        self.states.insert(cell, State::Running(Instant::now()));
        self.tick();
    }

    pub fn finished(&mut self, cell: usize, trial: &Trial) {
        let state = State::Done { shown: trial.summary(), verdict: trial.verdict.clone() };
        self.states.insert(cell, state);
        if self.screen.is_none() {
            warn(&line(self.plan, cell, trial));
        }
        self.tick();
    }

    /// Shows the times as they are now.
    pub fn tick(&mut self) {
        let Some(mut screen) = self.screen.take() else { return };
        let size = tcgetwinsize(io::stderr()).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
        screen.draw(&self.lines(size.map(|size| [size.ws_row, size.ws_col].map(usize::from))));
        self.screen = Some(screen);
    }

    /// What a terminal of that many rows and columns shows: the table, or where it has no room for that, the cells that
    /// run; and the tally.
    fn lines(&self, size: Option<[usize; 2]>) -> Vec<String> {
        let grid = table::grid(self.plan, &|cell| self.text(cell));
        let mut lines = table::lines(&grid, LEAST_WIDTH);
        // The cursor has a row, too.
        if let Some([rows, columns]) = size
            && (lines.len() + 2 > rows || lines.iter().any(|line| line.width() > columns))
        {
            lines = self.running();
            lines.truncate(rows.saturating_sub(2));
        }
        lines.push(self.tally());
        lines
    }

    /// The cells that run, the one that has run for longest first.
    fn running(&self) -> Vec<String> {
        let since = |(cell, state): (&usize, &State)| match state {
            State::Running(since) => Some((*since, *cell)),
            State::Done { .. } => None,
        };
        let mut running: Vec<_> = self.states.iter().filter_map(since).collect();
        running.sort_unstable();
        let line = |(_, cell): (Instant, usize)| {
            format!("{}: {}", table::printable(&self.plan.title(cell)), self.text(cell))
        };
        running.into_iter().map(line).collect()
    }

    /// Leaves the place to the final table.
    pub fn end(self) {
        if let Some(screen) = self.screen {
            screen.lines.iter().for_each(ProgressBar::finish_and_clear);
            let _ = screen.bars.clear();
        }
    }

    fn text(&self, cell: usize) -> String {
        match self.states.get(&cell) {
            None => "·".into(),
            Some(State::Running(since)) => format!("running {}", seconds(since.elapsed())),
            Some(State::Done { shown, .. }) => shown.clone(),
        }
    }

    fn tally(&self) -> String {
        let (mut running, mut done, mut failed) = (0, 0, 0);
        for state in self.states.values() {
            match state {
                State::Running(_) => running += 1,
                State::Done { verdict, .. } => {
                    done += 1;
                    failed += usize::from(verdict.is_failure());
                }
            }
        }
        format!("{done} of {} done, {running} running, {failed} failed", self.count)
    }
}

/// A cell, what came of it, and where it failed, what was last said of that.
pub fn line(plan: &Plan, cell: usize, trial: &Trial) -> String {
    let mut line = format!("{}: {}", plan.title(cell), told(plan, cell, trial));
    let last = match trial.verdict {
        Verdict::Failed(_) if !trial.verdict.is_error() => {
            let reason = trial.kernel_lines.iter().find(|line| line.contains("Kernel panic"));
            reason.or_else(|| trial.kernel_lines.last()).or_else(|| trial.notices.last())
        }
        _ => None,
    };
    if let Some(last) = last {
        line.push_str(": ");
        line.push_str(last);
    }
    line
}

/// What came of a cell, in a few words.
pub fn told(plan: &Plan, cell: usize, trial: &Trial) -> String {
    let expectation = &plan.cells[cell].expectation;
    let time = trial.end.as_ref().map(|_| format!(" ({})", seconds(trial.duration))).unwrap_or_default();
    match &trial.verdict {
        Verdict::Passed => format!("passed{time}"),
        Verdict::Failed(failure) => format!("failed: {failure}{time}"),
        Verdict::ExpectedFailure(failure) => {
            let reason = expectation.fails.as_deref().unwrap_or_default();
            format!("failed as expected: {failure}{time}: {reason}")
        }
        Verdict::UnexpectedPass => {
            let reason = expectation.fails.as_deref().unwrap_or_default();
            format!("passed, and was expected to fail{time}: {reason}")
        }
        Verdict::Skipped => format!("skipped: {}", expectation.skip.as_deref().unwrap_or_default()),
        Verdict::NotRun if trial.end.is_some() => format!("interrupted{time}"),
        Verdict::NotRun => "not run".into(),
    }
}

impl Screen {
    fn draw(&mut self, lines: &[String]) {
        for line in self.lines.drain(lines.len().min(self.lines.len())..) {
            line.finish_and_clear();
            self.bars.remove(&line);
        }
        for (index, line) in lines.iter().enumerate() {
            if self.lines.len() == index {
                let bar = self.bars.add(ProgressBar::new_spinner());
                if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
                    bar.set_style(style);
                }
                self.lines.push(bar);
            }
            // What has not changed is not drawn again.
            if self.lines[index].message() != *line {
                self.lines[index].set_message(line.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::cell::{End, Failure};
    use crate::matrix::table::tests::plan_of;
    use std::time::Duration;

    #[test]
    fn a_line_says_what_came_of_a_cell_and_why() {
        let mut plan = plan_of(1, 1, &[None]);
        plan.cells[0].expectation.fails = Some("bug 7".into());
        plan.cells[0].expectation.skip = Some("too old".into());
        let ran = |verdict| Trial {
            end: Some(End::Panicked),
            duration: Duration::from_millis(1500),
            ..Trial::without_machine(verdict)
        };
        let said = |trial: &Trial| told(&plan, 0, trial);
        assert_eq!(said(&ran(Verdict::Failed(Failure::Panicked))), "failed: the kernel panicked (1.5s)");
        let expected = said(&ran(Verdict::ExpectedFailure(Failure::Panicked)));
        assert_eq!(expected, "failed as expected: the kernel panicked (1.5s): bug 7");
        assert_eq!(said(&Trial::without_machine(Verdict::Skipped)), "skipped: too old");
        assert_eq!(said(&ran(Verdict::Passed)), "passed (1.5s)");
        assert_eq!(said(&ran(Verdict::NotRun)), "interrupted (1.5s)");
        assert_eq!(said(&Trial::without_machine(Verdict::NotRun)), "not run");
    }

    #[test]
    fn a_terminal_without_room_for_the_table_shows_what_runs() {
        let plan = plan_of(20, 1, &[None]);
        let mut live = Live { plan: &plan, count: 20, states: BTreeMap::new(), screen: None };
        let begun = Instant::now();
        live.states.insert(15, State::Running(begun));
        live.states.insert(17, State::Running(begun - Duration::from_secs(60)));
        assert_eq!(live.lines(Some([24, 80])).len(), 22);
        assert_eq!(live.lines(None).len(), 22);
        for size in [[22, 80], [24, 30]] {
            let lines = live.lines(Some(size));
            assert!(lines[0].starts_with("image0 on k17: running 60."), "{lines:?}");
            assert!(lines[1].starts_with("image0 on k15: running 0."), "{lines:?}");
            assert_eq!(lines[2..], ["0 of 20 done, 2 running, 0 failed"]);
        }
        assert_eq!(live.lines(Some([3, 80])).len(), 2);
        assert_eq!(live.lines(Some([1, 1])).len(), 1);
    }
}

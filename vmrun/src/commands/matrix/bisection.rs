//! `vmrun matrix --bisect`: the first kernel that fails, step by step.

use anyhow::{Result, bail};

use super::delivery::{Delivery, to_stdout};
use super::{FAILURE, INTERRUPTED};
use crate::arguments::{MatrixArguments, MatrixFormat};
use crate::matrix::bisect::{Search, Word};
use crate::matrix::report::{Found, Report};
use crate::matrix::{Live, Plan, Runner, Trials, Verdict};
use crate::output::{StandardOutput, warn};

pub fn check(plan: &Plan, arguments: &MatrixArguments) -> Result<()> {
    if plan.images.len() != 1 || plan.commands.len() != 1 {
        bail!("--bisect is for one image and one command: choose one of each with --image and `-- COMMAND`");
    }
    if plan.kernels.len() < 2 {
        bail!("--bisect needs at least two kernels, in order: the first passes, the last fails");
    }
    if ![MatrixFormat::Table, MatrixFormat::Json].contains(&arguments.format) {
        bail!("--bisect writes its steps as they are made, or --format json");
    }
    Ok(())
}

/// Finds the first kernel that fails.
pub fn bisect(runner: &Runner<'_>, arguments: &MatrixArguments) -> u8 {
    let last = runner.plan.kernels.len() - 1;
    let mut bisection = Bisection {
        runner,
        trials: Trials::new(),
        says: arguments.format == MatrixFormat::Table,
        delivery: to_stdout(),
    };
    if !arguments.assume {
        for (kernel, wanted) in [(0, Word::Good), (last, Word::Bad)] {
            let words = bisection.round(&[kernel]);
            if runner.interruption.has_come() {
                return bisection.interrupted();
            }
            if words[0].1 != wanted {
                return bisection.hopeless(kernel, words[0].1);
            }
        }
    }
    let mut search = Search::between(0, last);
    loop {
        let next = search.next(runner.jobs);
        if next.is_empty() {
            break;
        }
        let words = bisection.round(&next);
        if runner.interruption.has_come() {
            return bisection.interrupted();
        }
        search.learn(words);
    }
    bisection.verdict(&search)
}

/// A search on its way. The cells of a plan with one image and one command are its kernels.
struct Bisection<'a> {
    runner: &'a Runner<'a>,
    trials: Trials,
    /// The steps are told as they are made.
    says: bool,
    delivery: Delivery<StandardOutput>,
}

impl Bisection<'_> {
    fn round(&mut self, kernels: &[usize]) -> Vec<(usize, Word)> {
        let mut live = Live::new(self.runner.plan, kernels.len());
        let trials = self.runner.run(kernels, &mut live);
        live.end();
        let mut words = Vec::new();
        for (kernel, trial) in trials {
            words.push((
                kernel,
                match &trial.verdict {
                    Verdict::Passed | Verdict::UnexpectedPass => Word::Good,
                    Verdict::NotRun | Verdict::Skipped => Word::Unknown,
                    verdict if verdict.is_error() => Word::Unknown,
                    Verdict::Failed(_) | Verdict::ExpectedFailure(_) => Word::Bad,
                },
            ));
            if self.says {
                let step = self.trials.len() + 1;
                let line = format!("{step}. {}: {}\n", self.name(kernel), trial.summary());
                self.delivery.say(&line);
            }
            self.trials.insert(kernel, trial);
        }
        words
    }

    fn name(&self, kernel: usize) -> String {
        let choice = &self.runner.plan.kernels[kernel];
        format!("{} ({})", choice.name, choice.release)
    }

    /// Leaves what is known so far.
    fn interrupted(&mut self) -> u8 {
        self.report(None);
        self.delivery.code(INTERRUPTED)
    }

    fn hopeless(&mut self, kernel: usize, word: Word) -> u8 {
        self.report(None);
        let (which, wanted) = if kernel == 0 { ("first", "passes") } else { ("last", "fails") };
        let name = self.name(kernel);
        if word == Word::Unknown {
            let trial = &self.trials[&kernel];
            let why = trial.failure().map_or_else(|| trial.verdict.to_string(), ToString::to_string);
            warn(&format!("vmrun: the {which} kernel, {name}, could not be tried: {why}"));
            return crate::FAILED;
        }
        let is = if word == Word::Good { "passes" } else { "fails" };
        warn(&format!(
            "vmrun: the {which} kernel, {name}, {is}: give the kernels in such an order that it {wanted}"
        ));
        self.delivery.code(FAILURE)
    }

    fn verdict(&mut self, search: &Search) -> u8 {
        self.report(Some(search));
        if self.says {
            let (good, bad) = (self.name(search.good()), self.name(search.bad()));
            let (runs, all) = (self.trials.len(), self.runner.plan.kernels.len());
            let line = format!("first bad: {bad}; {good} passes ({runs} runs for {all} kernels)\n");
            self.delivery.say(&line);
        }
        for kernel in search.doubtful() {
            warn(&format!("vmrun: {} may be the first bad one, but could not be tried", self.name(kernel)));
        }
        for kernel in search.odd() {
            warn(&format!("vmrun: {} passes, although an earlier one fails", self.name(kernel)));
        }
        self.delivery.code(0)
    }

    fn report(&mut self, search: Option<&Search>) {
        let name = |kernel: usize| self.runner.plan.kernels[kernel].name.clone();
        let found = Found {
            first_bad: search.map(|search| name(search.bad())),
            last_good: search.map(|search| name(search.good())),
            runs: self.trials.len(),
        };
        let report = Report {
            plan: self.runner.plan,
            trials: &self.trials,
            folder: self.runner.folder,
            bisect: Some(&found),
        };
        if !self.says
            && let Some(document) = self.delivery.take(report.render(MatrixFormat::Json))
        {
            self.delivery.say(&document);
        }
        self.delivery.take(report.keep());
    }
}

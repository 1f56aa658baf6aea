//! `vmrun matrix`: every image on every kernel, or the first kernel on which an image fails.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::create::{check_kvm, find_image};
use super::kernel_pull::find_kernel;
use crate::arguments::{MatrixArguments, MatrixFormat, PullPolicy, machine_arguments};
use crate::home::Home;
use crate::matrix::bisect::{Search, Word};
use crate::matrix::report::Report;
use crate::matrix::{
    DEFAULT_FILE, Folder, Interruption, KernelChoice, Live, Plan, Runner, Sheet, Trials, Verdict, chosen,
    jobs,
};
use crate::output::warn;
use crate::place::Place;

/// The exit code of a matrix with a failure in it.
const FAILURE: u8 = 1;

/// And of one that was interrupted, as a shell says it.
const INTERRUPTED: u8 = 130;

pub fn matrix(home: &Home, arguments: &MatrixArguments) -> Result<u8> {
    let sheet = sheet(arguments)?;
    let plan = plan(home, &sheet, arguments)?;
    if arguments.bisect {
        check_bisect(&plan, arguments)?;
    }
    check_kvm()?;
    // What a mistake keeps from running leaves no folder.
    Folder::check(arguments.output.as_deref())?;
    let jobs = jobs_of(home, &plan, arguments.jobs.or(sheet.jobs))?;
    let folder = Folder::make(arguments.output.as_deref(), &plan)?;
    let runner = Runner {
        home,
        plan: &plan,
        folder: &folder,
        jobs,
        // A search wants to know of each kernel that it asks for.
        fail_fast: (arguments.fail_fast || sheet.fail_fast) && !arguments.bisect,
        interruption: Interruption::on_signals()?,
    };
    let code = if arguments.bisect { bisect(&runner, arguments)? } else { run(&runner, arguments.format)? };
    warn(&format!("output and kernel logs: {}", folder.path().display()));
    Ok(if runner.interruption.has_come() { INTERRUPTED } else { code })
}

fn sheet(arguments: &MatrixArguments) -> Result<Sheet> {
    match &arguments.file {
        Some(path) => Sheet::read(path),
        None if !arguments.kernel.is_empty() && !arguments.image.is_empty() => Ok(Sheet::default()),
        None if Path::new(DEFAULT_FILE).exists() => Sheet::read(Path::new(DEFAULT_FILE)),
        None => Ok(Sheet::default()),
    }
}

/// What is to run, as far as that can be known to be possible.
fn plan(home: &Home, sheet: &Sheet, arguments: &MatrixArguments) -> Result<Plan> {
    let names = chosen(&arguments.kernel, &sheet.kernels, "kernel")?;
    let images = chosen(&arguments.image, &sheet.images, "image")?;
    let policy = policy(sheet, arguments)?;
    let kernel = |name: String| -> Result<KernelChoice> {
        let release = find_kernel(home, &name, policy)?.version.clone();
        Ok(KernelChoice { name, release })
    };
    let kernels = names.into_iter().map(kernel).collect::<Result<Vec<_>>>()?;
    let plan = Plan::new(kernels, images, sheet, arguments)?;
    let images = home.images()?;
    for (index, cell) in plan.cells.iter().enumerate() {
        let of_machine = plan.machine_arguments(index)?;
        // Once for each image.
        if cell.kernel == 0 && cell.command == 0 {
            find_image(&images, &of_machine)?;
        }
    }
    Ok(plan)
}

/// Whether kernels and images are pulled.
fn policy(sheet: &Sheet, arguments: &MatrixArguments) -> Result<PullPolicy> {
    let words = [&sheet.words[..], &arguments.cells.words].concat();
    // Of which kernel and image is all the same.
    Ok(machine_arguments(&words, "any", "any", &[]).map_err(anyhow::Error::msg)?.pull)
}

fn jobs_of(home: &Home, plan: &Plan, asked: Option<u16>) -> Result<usize> {
    let (mut memory, mut processors) = (0, 1);
    for index in 0..plan.cells.len() {
        let machine = plan.machine_arguments(index)?;
        memory = memory.max(machine.memory);
        processors = processors.max(machine.cpus.count);
    }
    let room = Place::of(home.root()).room(memory)?;
    let jobs = jobs(asked, room, memory, processors);
    if let Some(asked) = asked.filter(|asked| usize::from(*asked) > jobs) {
        warn(&format!("vmrun: {jobs} machines at a time instead of {asked}: there is no memory for more"));
    }
    Ok(jobs)
}

fn run(runner: &Runner<'_>, format: MatrixFormat) -> Result<u8> {
    let cells: Vec<usize> = (0..runner.plan.cells.len()).collect();
    let mut live = Live::new(runner.plan, cells.len());
    let trials = runner.run(&cells, &mut live);
    live.end();
    let report = Report { plan: runner.plan, trials: &trials, folder: runner.folder };
    report.keep()?;
    io::stdout().write_all(report.render(format)?.as_bytes()).context("cannot write the result")?;
    // In a pipe they were told as they came.
    if io::stderr().is_terminal() {
        report.complaints().iter().for_each(|line| warn(line));
    }
    warn(&report.tally().to_string());
    Ok(code_of(&trials))
}

fn code_of(trials: &Trials) -> u8 {
    let any = |is: fn(&Verdict) -> bool| trials.values().any(|trial| is(&trial.verdict));
    if any(Verdict::is_error) {
        crate::FAILED
    } else if any(Verdict::is_failure) {
        FAILURE
    } else {
        0
    }
}

fn check_bisect(plan: &Plan, arguments: &MatrixArguments) -> Result<()> {
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
fn bisect(runner: &Runner<'_>, arguments: &MatrixArguments) -> Result<u8> {
    let last = runner.plan.kernels.len() - 1;
    let mut bisection =
        Bisection { runner, trials: Trials::new(), says: arguments.format == MatrixFormat::Table };
    if !arguments.assume {
        for (kernel, wanted) in [(0, Word::Good), (last, Word::Bad)] {
            let words = bisection.round(&[kernel])?;
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
        let words = bisection.round(&next)?;
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
}

impl Bisection<'_> {
    fn round(&mut self, kernels: &[usize]) -> Result<Vec<(usize, Word)>> {
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
                writeln!(io::stdout(), "{step}. {}: {}", self.name(kernel), trial.summary())?;
            }
            self.trials.insert(kernel, trial);
        }
        Ok(words)
    }

    fn name(&self, kernel: usize) -> String {
        let choice = &self.runner.plan.kernels[kernel];
        format!("{} ({})", choice.name, choice.release)
    }

    /// Leaves what is known so far.
    fn interrupted(&self) -> Result<u8> {
        self.report(None)?;
        Ok(INTERRUPTED)
    }

    fn hopeless(&self, kernel: usize, word: Word) -> Result<u8> {
        self.report(None)?;
        let (which, wanted) = if kernel == 0 { ("first", "passes") } else { ("last", "fails") };
        let name = self.name(kernel);
        if word == Word::Unknown {
            let trial = &self.trials[&kernel];
            let why = trial.failure().map_or_else(|| trial.verdict.to_string(), ToString::to_string);
            bail!("the {which} kernel, {name}, could not be tried: {why}");
        }
        let is = if word == Word::Good { "passes" } else { "fails" };
        warn(&format!(
            "vmrun: the {which} kernel, {name}, {is}: give the kernels in such an order that it {wanted}"
        ));
        Ok(FAILURE)
    }

    fn verdict(&self, search: &Search) -> Result<u8> {
        self.report(Some(search))?;
        if self.says {
            let (good, bad) = (self.name(search.good()), self.name(search.bad()));
            let (runs, all) = (self.trials.len(), self.runner.plan.kernels.len());
            writeln!(io::stdout(), "first bad: {bad}; {good} passes ({runs} runs for {all} kernels)")?;
        }
        for kernel in search.doubtful() {
            warn(&format!("vmrun: {} may be the first bad one, but could not be tried", self.name(kernel)));
        }
        for kernel in search.odd() {
            warn(&format!("vmrun: {} passes, although an earlier one fails", self.name(kernel)));
        }
        Ok(0)
    }

    fn report(&self, search: Option<&Search>) -> Result<()> {
        let report = Report { plan: self.runner.plan, trials: &self.trials, folder: self.runner.folder };
        report.keep()?;
        if self.says {
            return Ok(());
        }
        let name = |kernel: usize| self.runner.plan.kernels[kernel].name.as_str();
        let mut document: serde_json::Value = serde_json::from_str(&report.render(MatrixFormat::Json)?)?;
        document["bisect"] = serde_json::json!({
            "first_bad": search.map(|search| name(search.bad())),
            "last_good": search.map(|search| name(search.good())),
            "runs": self.trials.len(),
        });
        Ok(writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&document)?)?)
    }
}

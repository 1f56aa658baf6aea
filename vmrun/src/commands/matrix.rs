//! `vmrun matrix`: every image on every kernel, or the first kernel on which an image fails.

mod bisection;
mod delivery;

use std::io::{self, IsTerminal};
use std::path::Path;

use anyhow::{Context, Result};
use rootfs_builder::store::Image;

use super::create::{check, check_kvm, find_image};
use super::kernel_pull::find_kernel;
use crate::arguments::{MatrixArguments, MatrixFormat, PullPolicy, machine_arguments};
use crate::home::Home;
use crate::matrix::report::Report;
use crate::matrix::{
    DEFAULT_FILE, Folder, Interruption, KernelChoice, Live, Plan, Runner, Sheet, Trials, Verdict,
    check_words, chosen, jobs,
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
        bisection::check(&plan, arguments)?;
    }
    check_kvm()?;
    // What a mistake keeps from running leaves no folder.
    Folder::check(arguments.output.as_deref())?;
    let jobs = jobs_of(home, &plan, asked_jobs(&sheet, arguments))?;
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
    let code = match arguments.bisect {
        true => bisection::bisect(&runner, arguments),
        false => run(&runner, arguments.format),
    };
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
    let store = home.images()?;
    let mut images: Vec<Option<Image>> = plan.images.iter().map(|_| None).collect();
    for (index, cell) in plan.cells.iter().enumerate() {
        let of_machine = plan.machine_arguments(index)?;
        let image = match &mut images[cell.image] {
            Some(image) => image,
            image => image.insert(find_image(&store, &of_machine)?),
        };
        if cell.expectation.skip.is_none() {
            check(&of_machine, Some(image.config())).with_context(|| plan.title(index))?;
        }
    }
    Ok(plan)
}

/// Whether kernels and images are pulled, once it is known that what is said of machines makes sense.
fn policy(sheet: &Sheet, arguments: &MatrixArguments) -> Result<PullPolicy> {
    check_words(&arguments.cells.words).map_err(anyhow::Error::msg)?;
    let words = [&sheet.words[..], &arguments.cells.words].concat();
    // Of which kernel and image is all the same.
    Ok(machine_arguments(&words, "any", "any", &[]).map_err(anyhow::Error::msg)?.pull)
}

/// How many machines the user wants at a time. A search that nobody wants more of has one: with more it ends sooner, but
/// runs more kernels.
fn asked_jobs(sheet: &Sheet, arguments: &MatrixArguments) -> Option<u16> {
    arguments.jobs.or(sheet.jobs).or(arguments.bisect.then_some(1))
}

fn jobs_of(home: &Home, plan: &Plan, asked: Option<u16>) -> Result<usize> {
    let (mut memory, mut processors) = (0, 1);
    let runs = |cell: &usize| plan.cells[*cell].expectation.skip.is_none();
    for index in (0..plan.cells.len()).filter(runs) {
        let machine = plan.machine_arguments(index)?;
        memory = memory.max(machine.memory);
        processors = processors.max(machine.cpus.count);
    }
    // No machine, no host for it.
    if memory == 0 {
        return Ok(1);
    }
    let room = Place::of(home.root()).room(memory)?;
    let jobs = jobs(asked, room, memory, processors);
    if let Some(asked) = asked.filter(|asked| usize::from(*asked) > jobs) {
        warn(&format!("vmrun: {jobs} machines at a time instead of {asked}: there is no memory for more"));
    }
    Ok(jobs)
}

fn run(runner: &Runner<'_>, format: MatrixFormat) -> u8 {
    let cells: Vec<usize> = (0..runner.plan.cells.len()).collect();
    let mut live = Live::new(runner.plan, cells.len());
    let trials = runner.run(&cells, &mut live);
    live.end();
    let report = Report { plan: runner.plan, trials: &trials, folder: runner.folder, bisect: None };
    let mut delivery = delivery::to_stdout();
    if let Some(document) = delivery.take(report.render(format)) {
        delivery.say(&document);
    }
    delivery.take(report.keep());
    // In a pipe they were told as they came.
    if io::stderr().is_terminal() {
        report.complaints().iter().for_each(|line| warn(line));
    }
    warn(&report.tally().to_string());
    delivery.code(code_of(&trials))
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Command};

    #[test]
    fn a_search_runs_one_machine_at_a_time_unless_more_are_asked_for() {
        let asked = |words: &[&str], in_file: Option<u16>| {
            let words = ["vmrun", "matrix"].into_iter().chain(words.iter().copied());
            let Command::Matrix(arguments) = Arguments::try_parse_from(words).unwrap().command else {
                panic!()
            };
            asked_jobs(&Sheet { jobs: in_file, ..Sheet::default() }, &arguments)
        };
        assert_eq!(asked(&["--bisect"], None), Some(1));
        assert_eq!(
            (asked(&["--bisect", "-j", "3"], None), asked(&["--bisect"], Some(2))),
            (Some(3), Some(2))
        );
        assert_eq!(asked(&[], None), None);
    }
}

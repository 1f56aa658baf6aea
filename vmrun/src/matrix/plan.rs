//! What a matrix is made of: kernels, images and commands, and of their cells what holds for each.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Result, bail};

use super::cell::{Cell, Expectation};
use super::file::{Rule, Sheet};
use crate::arguments::{MatrixArguments, check_cell_words, machine_arguments};
use crate::commands::check;
use crate::output::one_line;

/// How long a machine may run where nobody says.
const TIMEOUT: u32 = 600;

/// The largest matrix.
const MAX_CELLS: usize = 10_000;

/// A kernel as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelChoice {
    pub name: String,
    /// What `uname -r` says on it.
    pub release: String,
}

/// A command, with a name where there are several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCommand {
    pub name: Option<String>,
    /// None: the image's own.
    pub words: Vec<OsString>,
}

/// All cells, kernel by kernel in the order given.
#[derive(Debug)]
pub struct Plan {
    pub kernels: Vec<KernelChoice>,
    pub images: Vec<String>,
    pub commands: Vec<NamedCommand>,
    pub cells: Vec<Cell>,
}

/// Those names that the command line has, else those of the file.
pub fn chosen(said: &[String], in_file: &[String], what: &str) -> Result<Vec<String>> {
    let names = if said.is_empty() { in_file } else { said };
    if names.is_empty() {
        bail!("no {what} to run: say --{what} NAME, or list {what}s in a file (see `vmrun matrix --help`)");
    }
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            bail!("--{what} {name} is said twice: once is enough");
        }
    }
    Ok(names.to_vec())
}

/// Checks options of `vmrun run` that somebody wrote down for cells, as far as that needs no kernel and no image. What is
/// wrong is told in a line.
pub fn check_words(words: &[OsString]) -> Result<(), String> {
    check_cell_words(words)?;
    // There is a command, whatever becomes of the image's with `--entrypoint`.
    let machine = machine_arguments(words, "any", "any", &["any".into()])?;
    check(&machine, None).map_err(|error| one_line(&error))
}

impl Plan {
    /// What the command line says goes before what the file says.
    pub fn new(
        kernels: Vec<KernelChoice>,
        images: Vec<String>,
        sheet: &Sheet,
        arguments: &MatrixArguments,
    ) -> Result<Plan> {
        let commands = match (&arguments.command[..], &sheet.commands[..]) {
            ([], []) => vec![NamedCommand { name: None, words: Vec::new() }],
            ([], commands) => commands.to_vec(),
            (words, _) => vec![NamedCommand { name: None, words: words.to_vec() }],
        };
        if kernels.len().saturating_mul(images.len()).saturating_mul(commands.len()) > MAX_CELLS {
            bail!("a matrix has at most {MAX_CELLS} cells: run it in parts");
        }
        let mut plan = Plan { kernels, images, commands, cells: Vec::new() };
        let mut used = vec![false; sheet.rules.len()];
        for kernel in 0..plan.kernels.len() {
            for image in 0..plan.images.len() {
                for command in 0..plan.commands.len() {
                    let cell = plan.cell([kernel, image, command], sheet, arguments, &mut used);
                    plan.cells.push(cell);
                }
            }
        }
        let overridden =
            !arguments.kernel.is_empty() || !arguments.image.is_empty() || !arguments.command.is_empty();
        match used.iter().position(|used| !used) {
            Some(unused) if !overridden => bail!(
                "{}: this matches no cell: look at its patterns, or leave it out",
                sheet.rules[unused].place
            ),
            _ => Ok(plan),
        }
    }

    fn cell(
        &self,
        [kernel, image, command]: [usize; 3],
        sheet: &Sheet,
        arguments: &MatrixArguments,
        used: &mut [bool],
    ) -> Cell {
        let mut words = sheet.words.clone();
        let mut timeout = sheet.timeout;
        let mut expectation = Expectation::default();
        for (rule, used) in sheet.rules.iter().zip(used) {
            if !self.matches(rule, [kernel, image, command]) {
                continue;
            }
            *used = true;
            words.extend(rule.words.iter().cloned());
            timeout = rule.timeout.or(timeout);
            // A later rule takes back what an earlier one expected.
            if rule.skip.is_some() || rule.xfail.is_some() {
                expectation.skip.clone_from(&rule.skip);
                expectation.fails.clone_from(&rule.xfail);
            }
            expectation.exit_code = rule.exit_code.unwrap_or(expectation.exit_code);
            if rule.stdout.is_some() {
                expectation.stdout.clone_from(&rule.stdout);
            }
        }
        words.extend(arguments.cells.words.iter().cloned());
        let timeout = arguments.timeout.or(timeout).unwrap_or(TIMEOUT);
        let timeout = (timeout > 0).then(|| Duration::from_secs(timeout.into()));
        Cell { kernel, image, command, words, timeout, expectation }
    }

    fn matches(&self, rule: &Rule, [kernel, image, command]: [usize; 3]) -> bool {
        let kernel = &self.kernels[kernel];
        let command = self.commands[command].name.as_deref().unwrap_or_default();
        (rule.kernel.matches(&kernel.name) || rule.kernel.matches(&kernel.release))
            && rule.image.matches(&self.images[image])
            && rule.command.matches(command)
    }

    pub fn kernel(&self, cell: usize) -> &KernelChoice {
        &self.kernels[self.cells[cell].kernel]
    }

    pub fn image(&self, cell: usize) -> &str {
        &self.images[self.cells[cell].image]
    }

    pub fn command(&self, cell: usize) -> &NamedCommand {
        &self.commands[self.cells[cell].command]
    }

    /// The index of a cell.
    pub fn index(&self, kernel: usize, image: usize, command: usize) -> usize {
        (kernel * self.images.len() + image) * self.commands.len() + command
    }

    /// A cell in a few words: its image, its command if that has a name, and its kernel.
    pub fn title(&self, cell: usize) -> String {
        format!(
            "{} on {}",
            self.program(self.cells[cell].image, self.cells[cell].command),
            self.kernel(cell).name
        )
    }

    /// What runs: an image and, where it has a name, the command.
    pub fn program(&self, image: usize, command: usize) -> String {
        match &self.commands[command].name {
            Some(name) => format!("{} {name}", self.images[image]),
            None => self.images[image].clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> glob::Pattern {
        glob::Pattern::new(text).unwrap()
    }

    fn rule(kernel: &str, image: &str) -> Rule {
        Rule {
            kernel: pattern(kernel),
            image: pattern(image),
            command: pattern("*"),
            place: "f:1:1".into(),
            skip: None,
            xfail: None,
            exit_code: None,
            stdout: None,
            timeout: None,
            words: Vec::new(),
        }
    }

    fn arguments(words: &[&str]) -> MatrixArguments {
        use clap::Parser;
        let words = ["vmrun", "matrix"].into_iter().chain(words.iter().copied());
        match crate::arguments::Arguments::try_parse_from(words).unwrap().command {
            crate::arguments::Command::Matrix(matrix) => matrix,
            _ => panic!(),
        }
    }

    fn plan(rules: Vec<Rule>, words: &[&str]) -> Result<Plan> {
        let kernel = |name: &str, release: &str| KernelChoice { name: name.into(), release: release.into() };
        let kernels = vec![kernel("old", "5.10.0-1"), kernel("new", "6.1.0-2")];
        let sheet = Sheet { rules, words: vec!["--memory=1g".into()], ..Sheet::default() };
        Plan::new(kernels, vec!["a".into(), "b".into()], &sheet, &arguments(words))
    }

    #[test]
    fn every_image_is_on_every_kernel() {
        let plan = plan(Vec::new(), &["--timeout", "0", "--", "true"]).unwrap();
        let titles: Vec<String> = (0..4).map(|cell| plan.title(cell)).collect();
        assert_eq!(titles, ["a on old", "b on old", "a on new", "b on new"]);
        assert!((0..4).all(|cell| plan.cells[cell].timeout.is_none()));
        assert_eq!(plan.index(1, 0, 0), 2);
        assert_eq!(plan.command(3).words, ["true"]);
    }

    #[test]
    fn rules_hold_for_what_they_match_and_the_command_line_wins() {
        let rules = vec![
            Rule { skip: Some("old".into()), timeout: Some(5), ..rule("5.10.*", "*") },
            Rule { xfail: Some("bug".into()), words: vec!["--memory=2g".into()], ..rule("old", "b") },
            Rule { exit_code: Some(3), stdout: Some("x".into()), ..rule("new", "a") },
        ];
        let plan = plan(rules, &["--cpus", "2"]).unwrap();
        let expected = |cell: usize| &plan.cells[cell].expectation;
        assert_eq!(expected(0).skip.as_deref(), Some("old"));
        assert_eq!((expected(1).skip.as_deref(), expected(1).fails.as_deref()), (None, Some("bug")));
        assert_eq!((expected(2).exit_code, expected(2).stdout.as_deref()), (3, Some("x")));
        assert_eq!(*expected(3), Expectation::default());
        assert_eq!(plan.cells[1].words, ["--memory=1g", "--memory=2g", "--cpus=2"]);
        assert_eq!(plan.cells[0].timeout, Some(Duration::from_secs(5)));
        assert_eq!(plan.cells[3].timeout, Some(Duration::from_secs(TIMEOUT.into())));
    }

    #[test]
    fn a_rule_that_matches_nothing_is_a_mistake() {
        let error = plan(vec![rule("odl", "*")], &[]).unwrap_err().to_string();
        assert!(error.starts_with("f:1:1: ") && error.contains("no cell"), "{error}");
        // Another choice of kernels may leave it without cells.
        assert!(plan(vec![rule("odl", "*")], &["--kernel", "old"]).is_ok());
    }

    #[test]
    fn names_are_said_once() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(chosen(&names(&["a"]), &names(&["b", "c"]), "kernel").unwrap(), ["a"]);
        assert_eq!(chosen(&[], &names(&["b", "c"]), "kernel").unwrap(), ["b", "c"]);
        assert!(chosen(&names(&["a", "a"]), &[], "kernel").is_err() && chosen(&[], &[], "image").is_err());
    }
}

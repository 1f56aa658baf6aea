//! `vmrun-matrix.toml`: kernels, images, commands, and what is expected of single cells.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use glob::Pattern;
use serde::Deserialize;
use toml::Spanned;

use super::plan::{NamedCommand, check_words};

/// What is read when nobody says what to run.
pub const DEFAULT_FILE: &str = "vmrun-matrix.toml";

/// The longest such file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What a file says.
#[derive(Debug, Default)]
pub struct Sheet {
    pub kernels: Vec<String>,
    pub images: Vec<String>,
    pub commands: Vec<NamedCommand>,
    /// Options of `vmrun run` for every cell.
    pub words: Vec<OsString>,
    /// In seconds; 0 is no limit.
    pub timeout: Option<u32>,
    pub jobs: Option<u16>,
    pub fail_fast: bool,
    pub rules: Vec<Rule>,
}

/// What a `[[cell]]` says of those cells that it matches.
#[derive(Debug)]
pub struct Rule {
    pub kernel: Pattern,
    pub image: Pattern,
    pub command: Pattern,
    /// Where in the file it is, as `FILE:LINE:COLUMN`.
    pub place: String,
    pub skip: Option<String>,
    pub xfail: Option<String>,
    pub exit_code: Option<u8>,
    pub stdout: Option<String>,
    pub timeout: Option<u32>,
    pub words: Vec<OsString>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    #[serde(default)]
    kernels: Vec<Spanned<String>>,
    #[serde(default)]
    images: Vec<Spanned<String>>,
    command: Option<Spanned<Command>>,
    #[serde(default)]
    commands: BTreeMap<Spanned<String>, Spanned<Command>>,
    memory: Option<Spanned<String>>,
    cpus: Option<Spanned<Number>>,
    #[serde(default)]
    env: BTreeMap<Spanned<String>, String>,
    run: Option<Spanned<Vec<String>>>,
    timeout: Option<u32>,
    jobs: Option<Spanned<u16>>,
    #[serde(default)]
    fail_fast: bool,
    #[serde(default)]
    cell: Vec<Spanned<CellTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct CellTable {
    kernel: Option<Spanned<String>>,
    image: Option<Spanned<String>>,
    command: Option<Spanned<String>>,
    skip: Option<Spanned<String>>,
    xfail: Option<Spanned<String>>,
    exit_code: Option<u8>,
    stdout: Option<String>,
    timeout: Option<u32>,
    memory: Option<Spanned<String>>,
    cpus: Option<Spanned<Number>>,
    #[serde(default)]
    env: BTreeMap<Spanned<String>, String>,
    run: Option<Spanned<Vec<String>>>,
}

/// A command: words, or a line for a shell.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a command is a list of words, or a string that `sh -c` runs")]
enum Command {
    Line(String),
    Words(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a number of processors, such as 2 or \"1.5\"")]
enum Number {
    Whole(u32),
    Fraction(f64),
    Text(String),
}

/// A file that is being read.
struct Text {
    path: PathBuf,
    text: String,
}

impl Sheet {
    pub fn read(path: &Path) -> Result<Sheet> {
        let cannot = || format!("cannot read {}", path.display());
        let mut bytes = Vec::new();
        let file = File::open(path).with_context(cannot)?;
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).with_context(cannot)?;
        if bytes.len() as u64 > MAX_FILE {
            bail!("{} is longer than {} MiB: that is no matrix", path.display(), MAX_FILE >> 20);
        }
        let text = String::from_utf8(bytes).map_err(|_| anyhow!("{} is no text", path.display()))?;
        Text { path: path.to_owned(), text }.sheet()
    }
}

impl Text {
    fn sheet(&self) -> Result<Sheet> {
        let document: Document = toml::from_str(&self.text).map_err(|error| {
            let at = error.span().unwrap_or(0..0);
            self.mistake(&at, plain(error.message()))
        })?;
        let options =
            Options { memory: document.memory, cpus: document.cpus, env: document.env, run: document.run };
        if let Some(jobs) = document.jobs.as_ref().filter(|jobs| *jobs.get_ref() == 0) {
            return Err(self.mistake(&jobs.span(), "there is at least one job"));
        }
        let rules = document.cell.into_iter().map(|cell| self.rule(cell));
        Ok(Sheet {
            kernels: self.names(&document.kernels, "kernel")?,
            images: self.names(&document.images, "image")?,
            commands: self.commands(document.command, document.commands)?,
            words: self.words(options)?,
            timeout: document.timeout,
            jobs: document.jobs.map(Spanned::into_inner),
            fail_fast: document.fail_fast,
            rules: rules.collect::<Result<_>>()?,
        })
    }

    fn names(&self, names: &[Spanned<String>], what: &str) -> Result<Vec<String>> {
        let mut seen: Vec<String> = Vec::new();
        for name in names {
            if name.get_ref().is_empty() {
                return Err(self.mistake(&name.span(), format!("an empty name is no {what}'s")));
            }
            if seen.contains(name.get_ref()) {
                let message = format!("the {what} '{}' is there already: leave this one out", name.get_ref());
                return Err(self.mistake(&name.span(), message));
            }
            seen.push(name.get_ref().clone());
        }
        Ok(seen)
    }

    fn commands(
        &self,
        command: Option<Spanned<Command>>,
        commands: BTreeMap<Spanned<String>, Spanned<Command>>,
    ) -> Result<Vec<NamedCommand>> {
        if let (Some(_), Some(name)) = (&command, commands.keys().next()) {
            let message = "there is a `command`, too: give that one a name in [commands]";
            return Err(self.mistake(&name.span(), message));
        }
        if let Some(name) = commands.keys().find(|name| name.get_ref().trim().is_empty()) {
            return Err(self.mistake(&name.span(), "a command in [commands] has a name that is not empty"));
        }
        // In the order of the file.
        let mut named: Vec<_> = commands.into_iter().collect();
        named.sort_by_key(|(name, _)| name.span().start);
        let named = named.into_iter().map(|(name, command)| (Some(name.into_inner()), command));
        command
            .map(|command| (None, command))
            .into_iter()
            .chain(named)
            .map(|(name, command)| {
                let at = command.span();
                let words: Vec<OsString> = match command.into_inner() {
                    Command::Line(line) => vec!["sh".into(), "-c".into(), line.into()],
                    Command::Words(words) => words.into_iter().map(OsString::from).collect(),
                };
                match words.is_empty() {
                    true => Err(self.mistake(
                        &at,
                        "a command has at least one word; without a `command`, the image's own runs",
                    )),
                    false => Ok(NamedCommand { name, words }),
                }
            })
            .collect()
    }

    fn rule(&self, cell: Spanned<CellTable>) -> Result<Rule> {
        let at = cell.span();
        let cell = cell.into_inner();
        for (reason, key) in [(&cell.skip, "skip"), (&cell.xfail, "xfail")] {
            if let Some(reason) = reason.as_ref().filter(|reason| reason.get_ref().trim().is_empty()) {
                return Err(self.mistake(&reason.span(), format!("`{key}` says why: give a reason")));
            }
        }
        if let (Some(_), Some(xfail)) = (&cell.skip, &cell.xfail) {
            return Err(
                self.mistake(&xfail.span(), "what is skipped cannot fail: leave out `skip` or `xfail`")
            );
        }
        let options = Options { memory: cell.memory, cpus: cell.cpus, env: cell.env, run: cell.run };
        Ok(Rule {
            kernel: self.pattern(cell.kernel)?,
            image: self.pattern(cell.image)?,
            command: self.pattern(cell.command)?,
            place: self.place(&at),
            skip: cell.skip.map(Spanned::into_inner),
            xfail: cell.xfail.map(Spanned::into_inner),
            exit_code: cell.exit_code,
            stdout: cell.stdout,
            timeout: cell.timeout,
            words: self.words(options)?,
        })
    }

    fn pattern(&self, pattern: Option<Spanned<String>>) -> Result<Pattern> {
        let Some(pattern) = pattern else { return Ok(Pattern::new("*").unwrap_or_default()) };
        let mistake = |error: glob::PatternError| {
            self.mistake(&pattern.span(), format!("'{}' is no pattern: {}", pattern.get_ref(), error.msg))
        };
        Pattern::new(pattern.get_ref()).map_err(mistake)
    }

    /// Options of `vmrun run`, each checked where it stands.
    fn words(&self, options: Options) -> Result<Vec<OsString>> {
        let mut words: Vec<OsString> = Vec::new();
        let mut take = |at: Range<usize>, new: Vec<String>| -> Result<()> {
            let new: Vec<OsString> = new.into_iter().map(OsString::from).collect();
            check_words(&new).map_err(|message| self.mistake(&at, message))?;
            words.extend(new);
            Ok(())
        };
        if let Some(memory) = options.memory {
            take(memory.span(), vec![format!("--memory={}", memory.get_ref())])?;
        }
        if let Some(cpus) = options.cpus {
            let number = match cpus.get_ref() {
                Number::Whole(number) => number.to_string(),
                Number::Fraction(number) => number.to_string(),
                Number::Text(text) => text.clone(),
            };
            take(cpus.span(), vec![format!("--cpus={number}")])?;
        }
        for (name, value) in options.env {
            let (at, name) = (name.span(), name.into_inner());
            // Without its `=` it is another one.
            if name.contains('=') {
                return Err(self.mistake(&at, format!("'{name}' cannot be an environment variable")));
            }
            take(at, vec![format!("--env={name}={value}")])?;
        }
        if let Some(run) = options.run {
            take(run.span(), run.into_inner())?;
        }
        Ok(words)
    }

    fn mistake(&self, at: &Range<usize>, message: impl AsRef<str>) -> anyhow::Error {
        anyhow!("{}: {}", self.place(at), message.as_ref())
    }

    fn place(&self, at: &Range<usize>) -> String {
        let before = self.text.get(..at.start).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{}:{line}:{column}", self.path.display())
    }
}

/// What the reader of TOML says, in a line and in the words of the file instead of a program's types.
fn plain(message: &str) -> String {
    let line = message.lines().collect::<Vec<_>>().join(", ");
    if line == "invalid type: map, expected a sequence" {
        return "this is a list: write [a, b], or for cells [[cell]]".into();
    }
    [
        ("expected a sequence", "expected a list, such as [\"a\", \"b\"]"),
        ("expected u8", "expected a number from 0 to 255"),
        ("expected u16", "expected a number from 1 to 65535"),
        ("expected u32", "expected a number from 0 to 4294967295"),
        ("expected a boolean", "expected true or false"),
        ("expected a map", "expected a table, such as { NAME = \"value\" }"),
    ]
    .into_iter()
    .find_map(|(types, words)| line.strip_suffix(types).map(|start| format!("{start}{words}")))
    .unwrap_or(line)
}

/// What both the whole file and a single cell can say.
struct Options {
    memory: Option<Spanned<String>>,
    cpus: Option<Spanned<Number>>,
    env: BTreeMap<Spanned<String>, String>,
    run: Option<Spanned<Vec<String>>>,
}

#[cfg(test)]
#[path = "file_test.rs"]
mod tests;

//! What vmrun prints of its own: one-line complaints, results, and tables for people.
//!
//! All that goes to standard output goes through here: `println!` would end vmrun in the middle of its work when the
//! reader leaves.

use std::fmt::{self, Display};
use std::io::{self, Write};

use anyhow::{Context, Result};

/// Prints an error and its causes as one line.
pub fn complain(error: &anyhow::Error) {
    warn(&format!("vmrun: {}", one_line(error)));
}

/// An error and its causes, as one line.
pub fn one_line(error: &anyhow::Error) -> String {
    let (mut line, mut last) = (String::new(), String::new());
    for cause in error.chain() {
        let text = cause.to_string();
        // Many errors quote their source in their own text already.
        if last.ends_with(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
        last = text;
    }
    line
}

/// Prints one line to standard error; control characters, which hostile input may have put into
/// it, are shown as escapes.
pub fn warn(line: &str) {
    let mut clean = String::with_capacity(line.len() + 1);
    for character in line.chars() {
        if character.is_control() {
            clean.extend(character.escape_default());
        } else {
            clean.push(character);
        }
    }
    clean.push('\n');
    // There is nobody left to tell when standard error is gone.
    let _ = io::stderr().write_all(clean.as_bytes());
}

/// Says on standard output, in one line, what has been done or found. That nobody reads it any more is no failure, and
/// keeps nothing from being done.
pub fn say(line: impl Display) -> Result<()> {
    match writeln!(stdout(), "{line}") {
        Err(error) if is_reader_gone(&error) => Ok(()),
        said => said.context("cannot write to standard output"),
    }
}

/// Standard output. When its reader leaves there is nothing more to write, which [`has_reader_left`] recognizes.
pub fn stdout() -> StandardOutput {
    StandardOutput(io::stdout())
}

#[derive(Debug)]
pub struct StandardOutput(io::Stdout);

impl Write for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(marked)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(marked)
    }
}

/// The reader of our standard output is gone. Other pipes and sockets break, too, and that is a failure.
#[derive(Debug)]
struct ReaderLeft;

impl Display for ReaderLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads standard output any more")
    }
}

impl std::error::Error for ReaderLeft {}

fn marked(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, ReaderLeft),
        _ => error,
    }
}

fn is_reader_gone(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<ReaderLeft>())
}

/// Whether the reader of our standard output went away, which is no failure of ours.
pub fn has_reader_left(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(is_reader_gone))
}

/// Writes rows under a heading, each column as wide as its widest cell.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let mut widths = heading.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = stdout();
    let mut line = |cells: [&str; N]| {
        let mut text = String::new();
        for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
            if index > 0 {
                text.push_str("   ");
            }
            text.push_str(&format!("{cell:width$}"));
        }
        writeln!(out, "{}", text.trim_end())
    };
    line(heading)?;
    for row in rows {
        line(std::array::from_fn(|index| row[index].as_str()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_reader_may_leave() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(has_reader_left(&anyhow::Error::from(marked(broken())).context("cannot list")));
        assert!(!has_reader_left(&anyhow::Error::from(broken()).context("cannot reach the machine")));
        assert!(!has_reader_left(&marked(io::ErrorKind::StorageFull.into()).into()));
    }
}

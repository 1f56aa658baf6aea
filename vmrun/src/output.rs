//! What vmrun prints of its own: one-line complaints, and tables for people.

use std::io::{self, Write};

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

/// Whether the reader of our standard output went away, which is no failure of ours.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// Writes rows under a heading, each column as wide as its widest cell.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let mut widths = heading.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = io::stdout().lock();
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

//! A matrix as a Markdown table, for issues and pull requests.

use super::Report;
use crate::matrix::cell::{End, Trial, seconds};
use crate::matrix::live::told;
use crate::matrix::table;

pub fn render(report: &Report<'_>) -> String {
    let text = |cell: usize| report.trials.get(&cell).map(shown).unwrap_or_default();
    let grid = table::grid(report.plan, &text);
    let mut out = String::new();
    for (index, row) in grid.iter().enumerate() {
        // Cells have marks of their own; names are text.
        let names = if index == 0 || grid[0][0] == "IMAGE" { 1 } else { 2 };
        let cells = row.iter().enumerate().map(|(column, cell)| match index == 0 || column < names {
            true => escaped(cell),
            false => cell.clone(),
        });
        out.push_str(&format!("| {} |\n", cells.collect::<Vec<_>>().join(" | ")));
        if index == 0 {
            out.push_str(&format!("|{}\n", "---|".repeat(row.len())));
        }
    }
    out.push_str(&format!("\n{}\n", report.tally()));
    let notable = report.cells().filter(|(cell, trial)| {
        let expectation = &report.plan.cells[*cell].expectation;
        trial.verdict.is_failure() || expectation.skip.is_some() || expectation.fails.is_some()
    });
    let notes: Vec<String> = notable
        .map(|(cell, trial)| {
            let said = format!("{}: {}", report.plan.title(cell), told(report.plan, cell, trial));
            format!("* {}\n", escaped(&said))
        })
        .collect();
    if !notes.is_empty() {
        out.push_str(&format!("\n{}", notes.concat()));
    }
    out
}

fn shown(trial: &Trial) -> String {
    let verdict = trial.verdict.to_string();
    let verdict = if trial.verdict.is_failure() { format!("**{verdict}**") } else { verdict };
    match trial.end {
        Some(End::Interrupted) => trial.summary(),
        Some(_) => format!("{verdict} {}", seconds(trial.duration)),
        None => verdict,
    }
}

/// Text that is nothing but text.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in table::printable(text).chars() {
        if "\\|`*_<>[]#~".contains(character) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

//! A matrix as JSON.

use std::borrow::Cow;

use anyhow::Result;
use serde::Serialize;

use super::{Found, Report, Tally};
use crate::matrix::cell::Trial;

#[derive(Serialize)]
struct Document<'a> {
    folder: Cow<'a, str>,
    summary: Tally,
    cells: Vec<Entry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bisect: Option<&'a Found>,
}

#[derive(Serialize)]
struct Entry<'a> {
    kernel: &'a str,
    release: &'a str,
    image: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    command_name: Option<&'a str>,
    command: Vec<Cow<'a, str>>,
    result: &'static str,
    /// What was said of it in the table.
    shown: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
    seconds: f64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// Why it was skipped or expected to fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    kernel_log: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notices: &'a [String],
    /// Below the matrix's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<Cow<'a, str>>,
}

pub fn render(report: &Report<'_>) -> Result<String> {
    let document = Document {
        folder: report.folder.path().to_string_lossy(),
        summary: report.tally(),
        cells: report.cells().map(|(cell, trial)| entry(report, cell, trial)).collect(),
        bisect: report.bisect,
    };
    let mut text = serde_json::to_string_pretty(&document)?;
    text.push('\n');
    Ok(text)
}

fn entry<'a>(report: &Report<'a>, cell: usize, trial: &'a Trial) -> Entry<'a> {
    let plan = report.plan;
    let (kernel, command) = (plan.kernel(cell), plan.command(cell));
    let expectation = &plan.cells[cell].expectation;
    Entry {
        kernel: &kernel.name,
        release: &kernel.release,
        image: plan.image(cell),
        command_name: command.name.as_deref(),
        command: command.words.iter().map(|word| word.to_string_lossy()).collect(),
        result: trial.verdict.name(),
        shown: trial.shown(),
        end: trial.end.as_ref().map(|end| end.name()),
        exit_code: trial.exit_code(),
        seconds: (trial.duration.as_secs_f64() * 1000.0).round() / 1000.0,
        failure: trial.failure().map(ToString::to_string),
        reason: expectation.skip.as_deref().or(expectation.fails.as_deref()),
        kernel_log: &trial.kernel_lines,
        notices: &trial.notices,
        folder: trial.folder.as_ref().map(|folder| folder.to_string_lossy()),
    }
}

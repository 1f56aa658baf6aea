//! A matrix as JUnit's XML, which every CI reads: a suite for each kernel, a case for each image and command.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result};
use quick_xml::Writer;
use quick_xml::events::BytesText;

use super::Report;
use crate::matrix::cell::{Trial, Verdict};
use crate::matrix::live::told;

/// How much of a stream's end is in the document, in bytes; all of it is in the cell's folder.
const SHOWN: u64 = 64 << 10;

type Xml = Writer<Vec<u8>>;

pub fn render(report: &Report<'_>) -> Result<String> {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    let all: Vec<(usize, &Trial)> = report.cells().collect();
    let counts = counts(&all);
    let suites = xml.create_element("testsuites").with_attribute(("name", "vmrun matrix"));
    // The schema of Jenkins' xUnit plugin, which refuses what it does not know, has no `skipped` here.
    let known = attributes(&counts).into_iter().filter(|(name, _)| *name != "skipped");
    suites.with_attributes(known).write_inner_content(|xml| {
        (0..report.plan.kernels.len()).try_for_each(|kernel| suite(xml, report, kernel, &all))
    })?;
    let text = String::from_utf8(xml.into_inner()).context("the document is no text")?;
    Ok(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{text}\n"))
}

fn suite(xml: &mut Xml, report: &Report<'_>, kernel: usize, all: &[(usize, &Trial)]) -> io::Result<()> {
    let of_kernel = |(cell, _): &&(usize, &Trial)| report.plan.cells[*cell].kernel == kernel;
    let cells: Vec<(usize, &Trial)> = all.iter().filter(of_kernel).copied().collect();
    if cells.is_empty() {
        return Ok(());
    }
    let name = legal(&report.plan.kernels[kernel].name);
    let release = legal(&report.plan.kernels[kernel].release);
    let counts = counts(&cells);
    let suite = xml.create_element("testsuite").with_attribute(("name", &*name));
    suite.with_attributes(attributes(&counts)).write_inner_content(|xml| {
        xml.create_element("properties").write_inner_content(|xml| {
            let property = xml.create_element("property");
            property.with_attributes([("name", "release"), ("value", &*release)]).write_empty().map(drop)
        })?;
        cells.iter().try_for_each(|(cell, trial)| case(xml, report, *cell, trial, &name))
    })?;
    Ok(())
}

fn case(xml: &mut Xml, report: &Report<'_>, cell: usize, trial: &Trial, kernel: &str) -> io::Result<()> {
    let place = &report.plan.cells[cell];
    let name = legal(&report.plan.program(place.image, place.command));
    let time = format!("{:.3}", trial.duration.as_secs_f64());
    let attributes = [("name", &*name), ("classname", kernel), ("time", &*time)];
    let said = legal(&told(report.plan, cell, trial));
    xml.create_element("testcase").with_attributes(attributes).write_inner_content(|xml| {
        match &trial.verdict {
            Verdict::Passed => {}
            Verdict::Skipped | Verdict::NotRun | Verdict::ExpectedFailure(_) => {
                xml.create_element("skipped").with_attribute(("message", &*said)).write_empty()?;
            }
            verdict => {
                let element = if verdict.is_error() { "error" } else { "failure" };
                let kind = legal(&verdict.to_string());
                let lines = legal(&trial.kernel_lines.iter().chain(&trial.notices).fold(
                    String::new(),
                    |mut text, line| {
                        text.push_str(line);
                        text.push('\n');
                        text
                    },
                ));
                let element = xml.create_element(element);
                let element = element.with_attributes([("message", &*said), ("type", &*kind)]);
                element.write_text_content(BytesText::new(&lines))?;
            }
        }
        let Some(folder) = &trial.folder else { return Ok(()) };
        for (element, file) in [("system-out", "stdout"), ("system-err", "stderr")] {
            let path = report.folder.path().join(folder).join(file);
            let text = legal(&end_of(&path));
            if !text.is_empty() {
                xml.create_element(element).write_text_content(BytesText::new(&text))?;
            }
        }
        Ok(())
    })?;
    Ok(())
}

/// The numbers that a suite's attributes tell.
fn counts(cells: &[(usize, &Trial)]) -> [(&'static str, String); 5] {
    let count = |is: fn(&Verdict) -> bool| cells.iter().filter(|(_, trial)| is(&trial.verdict)).count();
    let time: f64 = cells.iter().map(|(_, trial)| trial.duration.as_secs_f64()).sum();
    let skipped = |verdict: &Verdict| {
        matches!(verdict, Verdict::Skipped | Verdict::NotRun | Verdict::ExpectedFailure(_))
    };
    [
        ("tests", cells.len().to_string()),
        ("failures", count(|verdict| verdict.is_failure() && !verdict.is_error()).to_string()),
        ("errors", count(Verdict::is_error).to_string()),
        ("skipped", count(skipped).to_string()),
        ("time", format!("{time:.3}")),
    ]
}

fn attributes<'a>(counts: &'a [(&'a str, String); 5]) -> [(&'a str, &'a str); 5] {
    counts.each_ref().map(|(name, value)| (*name, value.as_str()))
}

/// The end of a file as text; what is not there is empty.
fn end_of(path: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(SHOWN)))?;
        let mut bytes = Vec::new();
        file.take(SHOWN).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// XML has no word for most control characters, escaped or not.
fn legal(text: &str) -> String {
    let is_legal = |character: &char| match character {
        '\t' | '\n' | '\r' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        other => !other.is_ascii_control() || *other == '\u{7f}',
    };
    text.chars().map(|character| if is_legal(&character) { character } else { '\u{fffd}' }).collect()
}

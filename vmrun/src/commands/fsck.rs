//! `vmrun fsck`: the stored images against their digests.

use anyhow::Result;
use rootfs_builder::store::{Finding, Remedy};

use crate::arguments::FsckArguments;
use crate::home::Home;
use crate::progress::Steps;
use crate::size;

/// Exit codes of fsck(8).
const REPAIRED: u8 = 1;
const DAMAGED: u8 = 4;

pub fn fsck(home: &Home, arguments: &FsckArguments) -> Result<u8> {
    let steps = Steps::new();
    let report = home.images()?.fsck(!arguments.dry_run, &|step| steps.show(&format!("checking {step}")));
    steps.finish();
    let report = report?;
    for Finding { what, problem, remedy } in &report.findings {
        let remedy = match remedy {
            Remedy::Possible => "can be repaired, without --dry-run".to_owned(),
            Remedy::Repaired => "repaired".to_owned(),
            Remedy::PullAgain(images) => format!("pull or load again: {}", images.join(", ")),
        };
        println!("{what}: {problem}: {remedy}");
    }
    if !arguments.quiet {
        println!(
            "{}, {}, {}, {} read: {}",
            count(report.images, "image"),
            count(report.layers, "layer"),
            count(report.blobs, "blob"),
            size::show(report.bytes),
            match report.findings.len() {
                0 => "all is well".to_owned(),
                findings => count(findings, "finding"),
            }
        );
    }
    Ok(match (report.findings.is_empty(), report.is_damaged()) {
        (true, _) => 0,
        (false, false) => REPAIRED,
        (false, true) => DAMAGED,
    })
}

fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

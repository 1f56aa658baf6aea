//! `vmrun fsck`: the stored images and kernels against their digests.

use anyhow::Result;
use rootfs_builder::store::{Finding, Remedy};

use crate::arguments::FsckArguments;
use crate::home::Home;
use crate::output::say;
use crate::progress::Steps;
use crate::size;

/// Exit codes of fsck(8).
const REPAIRED: u8 = 1;
const DAMAGED: u8 = 4;

pub fn fsck(home: &Home, arguments: &FsckArguments) -> Result<u8> {
    let steps = Steps::new();
    let report = home.images()?.fsck(!arguments.dry_run, &|step| steps.show(&format!("checking {step}")));
    let kernels = damaged_kernels(home, &steps);
    steps.finish();
    let (report, kernels) = (report?, kernels?);
    for Finding { what, problem, remedy } in &report.findings {
        let remedy = match remedy {
            Remedy::Possible => "can be repaired, without --dry-run".to_owned(),
            Remedy::Repaired => "repaired".to_owned(),
            Remedy::PullAgain(images) => format!("pull or load again: {}", images.join(", ")),
        };
        say(format_args!("{what}: {problem}: {remedy}"))?;
    }
    kernels.iter().try_for_each(say)?;
    let findings = report.findings.len() + kernels.len();
    if !arguments.quiet {
        say(format_args!(
            "{}, {}, {}, {} read: {}",
            count(report.images, "image"),
            count(report.layers, "layer"),
            count(report.blobs, "blob"),
            size::show(report.bytes),
            match findings {
                0 => "all is well".to_owned(),
                findings => count(findings, "finding"),
            }
        ))?;
    }
    Ok(match (findings == 0, report.is_damaged() || !kernels.is_empty()) {
        (true, _) => 0,
        (false, false) => REPAIRED,
        (false, true) => DAMAGED,
    })
}

/// What is wrong with kernels. None can be repaired: the package they came from is not kept.
fn damaged_kernels(home: &Home, steps: &Steps) -> Result<Vec<String>> {
    let store = home.kernels()?;
    let mut problems = Vec::new();
    let kernels = store.list(&mut |error| problems.push(error.to_string()))?;
    for kernel in kernels {
        steps.show(&format!("checking kernel {}", kernel.name));
        problems.extend(store.check(&kernel).err().map(|error| error.to_string()));
    }
    Ok(problems)
}

fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

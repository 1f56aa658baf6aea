//! Tries what kernels can from some version on, and prints a line for each: its name, and whether it is there.

use std::io::{self, Write};
use std::process::ExitCode;

use tests::kernel_features::{FEATURES, is_there};

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted.iter().find(|name| FEATURES.iter().all(|feature| feature.name != **name)) {
        eprintln!("kernel_features: there is no {unknown}");
        return ExitCode::from(2);
    }
    let chosen =
        FEATURES.iter().filter(|feature| wanted.is_empty() || wanted.iter().any(|name| name == feature.name));
    let (mut all, mut out) = (true, io::stdout().lock());
    for feature in chosen {
        let there = is_there(&feature.trial);
        all &= there;
        let written = writeln!(out, "{} {}", feature.name, if there { "yes" } else { "no" });
        if written.is_err() {
            return ExitCode::from(2);
        }
    }
    // Whoever asks for some of them wants to know whether they are all there.
    if all || wanted.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

//! The process a machine runs: what the image says, and what the command line says over it.

use std::os::unix::ffi::OsStringExt;

use anyhow::{Result, bail};
use rootfs_builder::image::ImageConfig;

use super::text::Text;
use super::variables::Variables;
use crate::arguments::MachineArguments;

/// Docker's rules: a COMMAND replaces the image's command, `--entrypoint` replaces the entrypoint and drops the image's
/// command with it.
pub fn arguments(run: &MachineArguments, image: &ImageConfig) -> Result<Vec<Text>> {
    let bytes =
        |words: &[String]| -> Vec<Vec<u8>> { words.iter().map(|word| word.clone().into_bytes()).collect() };
    let mut arguments = match &run.entrypoint {
        // An empty --entrypoint takes the image's away.
        Some(entrypoint) if entrypoint.is_empty() => Vec::new(),
        Some(entrypoint) => vec![entrypoint.clone().into_bytes()],
        None => bytes(&image.entrypoint),
    };
    if !run.command.is_empty() {
        arguments.extend(run.command.iter().map(|word| word.clone().into_vec()));
    } else if run.entrypoint.is_none() {
        arguments.extend(bytes(&image.cmd));
    }
    if arguments.is_empty() {
        bail!("image '{}' names no command to run: give one after its name", run.image);
    }
    if arguments.iter().any(|argument| argument.contains(&0)) {
        bail!("an argument of the command contains a NUL byte");
    }
    Ok(arguments.into_iter().map(Text).collect())
}

/// The image's variables, over them those of files, over them those of the command line.
pub fn environment(run: &MachineArguments, image: &ImageConfig) -> Result<Vec<Text>> {
    let mut variables = Variables::default();
    for variable in &image.env {
        variables.set(variable.clone().into_bytes());
    }
    if run.tty && !variables.has(b"TERM") {
        variables.set(b"TERM=xterm".to_vec());
    }
    for file in &run.env_file {
        variables.set_file(file)?;
    }
    for variable in &run.env {
        variables.set_given(variable.as_bytes(), "given with --env")?;
    }
    Ok(variables.into_inner().into_iter().map(Text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Arguments, Command};
    use clap::Parser;

    fn run(words: &[&str]) -> MachineArguments {
        let Command::Run(run) = Arguments::parse_from([&["vmrun", "run"], words].concat()).command else {
            panic!()
        };
        run.machine
    }

    fn image() -> ImageConfig {
        ImageConfig {
            entrypoint: vec!["/entry".into()],
            cmd: vec!["serve".into(), "--all".into()],
            env: vec!["PATH=/bin".into(), "A=image".into()],
            ..ImageConfig::default()
        }
    }

    fn texts(texts: &[Text]) -> Vec<&str> {
        texts.iter().map(|text| std::str::from_utf8(&text.0).unwrap()).collect()
    }

    #[test]
    fn the_command_line_goes_over_the_image() {
        let words = |words: &[&str]| arguments(&run(words), &image()).ok();
        let is = |given: &[&str], expected: &[&str]| assert_eq!(texts(&words(given).unwrap()), expected);
        is(&["i"], &["/entry", "serve", "--all"]);
        is(&["i", "x", "-y"], &["/entry", "x", "-y"]);
        is(&["--entrypoint", "/e", "i"], &["/e"]);
        is(&["--entrypoint", "/e", "i", "x"], &["/e", "x"]);
        assert!(words(&["--entrypoint", "", "i"]).is_none());
    }
}

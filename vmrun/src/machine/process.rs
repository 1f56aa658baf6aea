//! The process a machine runs: what the image says, and what the command line says over it.

use std::env;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use anyhow::{Context, Result, bail};
use guest_protocol::{Process, WindowSize};
use rootfs_builder::image::ImageConfig;

use crate::arguments::RunArguments;

/// Docker's rules: a COMMAND replaces the image's command, `--entrypoint` replaces the entrypoint
/// and drops the image's command with it, variables are set one over the other.
pub fn process(run: &RunArguments, image: &ImageConfig, terminal: Option<WindowSize>) -> Result<Process> {
    Ok(Process {
        args: arguments(run, image)?,
        env: environment(run, image, terminal.is_some())?,
        cwd: run.workdir.as_ref().unwrap_or(&image.workdir).clone().into_bytes(),
        user: run.user.as_ref().unwrap_or(&image.user).clone(),
        terminal,
        stdin: run.interactive,
        ..Process::default()
    })
}

fn arguments(run: &RunArguments, image: &ImageConfig) -> Result<Vec<Vec<u8>>> {
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
    Ok(arguments)
}

fn environment(run: &RunArguments, image: &ImageConfig, terminal: bool) -> Result<Vec<Vec<u8>>> {
    let mut variables: Vec<Vec<u8>> = Vec::new();
    for variable in &image.env {
        set(&mut variables, variable.clone().into_bytes());
    }
    if terminal && !variables.iter().any(|variable| variable.starts_with(b"TERM=")) {
        set(&mut variables, b"TERM=xterm".to_vec());
    }
    for file in &run.env_file {
        let text = fs::read(file).with_context(|| format!("cannot read --env-file {}", file.display()))?;
        for line in text.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let start = line.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(line.len());
            let line = &line[start..];
            if !line.is_empty() && !line.starts_with(b"#") {
                set_given(&mut variables, line, &format!("in {}", file.display()))?;
            }
        }
    }
    for variable in &run.env {
        set_given(&mut variables, variable.as_bytes(), "given with --env")?;
    }
    Ok(variables)
}

/// Sets what a user gave: `NAME=VALUE`, or `NAME` to pass the host's value, if there is one.
fn set_given(variables: &mut Vec<Vec<u8>>, given: &[u8], origin: &str) -> Result<()> {
    let name = name_of(given);
    if name.is_empty() || name.contains(&0) || name.iter().any(u8::is_ascii_whitespace) {
        bail!("'{}' {origin} is no variable: write NAME=VALUE", String::from_utf8_lossy(given));
    }
    if name.len() < given.len() {
        set(variables, given.to_owned());
    } else if let Some(value) = env::var_os(std::ffi::OsStr::from_bytes(name)) {
        let mut variable = name.to_owned();
        variable.push(b'=');
        variable.extend_from_slice(value.as_bytes());
        set(variables, variable);
    }
    Ok(())
}

fn set(variables: &mut Vec<Vec<u8>>, variable: Vec<u8>) {
    match variables.iter_mut().find(|other| name_of(other) == name_of(&variable)) {
        Some(other) => *other = variable,
        None => variables.push(variable),
    }
}

fn name_of(variable: &[u8]) -> &[u8] {
    variable.split(|&byte| byte == b'=').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Arguments, Command};
    use clap::Parser;

    fn run(words: &[&str]) -> RunArguments {
        let Command::Run(run) = Arguments::parse_from([&["vmrun", "run"], words].concat()).command else {
            panic!()
        };
        run
    }

    fn image() -> ImageConfig {
        ImageConfig {
            entrypoint: vec!["/entry".into()],
            cmd: vec!["serve".into(), "--all".into()],
            env: vec!["PATH=/bin".into(), "A=image".into()],
            workdir: "/srv".into(),
            user: "www".into(),
            ..ImageConfig::default()
        }
    }

    fn words(process: &Process) -> Vec<&str> {
        process.args.iter().map(|word| std::str::from_utf8(word).unwrap()).collect()
    }

    #[test]
    fn the_command_line_goes_over_the_image() {
        let plain = process(&run(&["i"]), &image(), None).unwrap();
        assert_eq!(words(&plain), ["/entry", "serve", "--all"]);
        assert_eq!((plain.cwd.as_slice(), plain.user.as_str()), (&b"/srv"[..], "www"));
        let command = process(&run(&["-w", "/w", "-u", "0", "i", "x", "-y"]), &image(), None).unwrap();
        assert_eq!(words(&command), ["/entry", "x", "-y"]);
        assert_eq!((command.cwd.as_slice(), command.user.as_str()), (&b"/w"[..], "0"));
        assert_eq!(words(&process(&run(&["--entrypoint", "/e", "i"]), &image(), None).unwrap()), ["/e"]);
        assert_eq!(
            words(&process(&run(&["--entrypoint", "/e", "i", "x"]), &image(), None).unwrap()),
            ["/e", "x"]
        );
        assert!(process(&run(&["--entrypoint", "", "i"]), &image(), None).is_err());
    }

    #[test]
    fn later_variables_win() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("env");
        fs::write(&file, "# a comment\n\nA=file\nB=file\nUNSET_ON_THE_HOST\n").unwrap();
        let run = run(&["--env-file", file.to_str().unwrap(), "-e", "B=line", "-e", "C=", "i"]);
        let process = process(&run, &image(), Some(WindowSize { rows: 24, columns: 80 })).unwrap();
        let env: Vec<_> = process.env.iter().map(|v| String::from_utf8_lossy(v).into_owned()).collect();
        assert_eq!(env, ["PATH=/bin", "A=file", "TERM=xterm", "B=line", "C="]);
    }
}

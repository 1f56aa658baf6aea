//! `vmrun import`: an image from a root file system tarball.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rootfs_builder::reference::Reference;
use rootfs_builder::store::ImportConfig;

use crate::arguments::ImportArguments;
use crate::home::Home;
use crate::progress::LayerBars;

pub fn import(home: &Home, arguments: ImportArguments) -> Result<u8> {
    let name: Reference = arguments.name.parse()?;
    let config = ImportConfig {
        cmd: command(arguments.cmd)?,
        entrypoint: command(arguments.entrypoint)?,
        env: pairs(arguments.env, "--env")?,
        workdir: arguments.workdir,
        user: arguments.user,
        labels: pairs(arguments.label, "--label")?
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        created: None,
    };
    let file: Box<dyn Read> = if arguments.file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(
            File::open(&arguments.file)
                .with_context(|| format!("cannot open {}", arguments.file.display()))?,
        )
    };
    let imported = home
        .images()?
        .import(file, &name, config, &LayerBars::new(arguments.quiet))
        .with_context(|| format!("cannot import {}", arguments.file.display()))?;
    super::load::show(&imported)?;
    Ok(0)
}

/// A command as a Dockerfile gives it: a JSON list is taken as it is, one string with spaces goes
/// to a shell, several options are the words themselves.
fn command(given: Vec<String>) -> Result<Vec<String>> {
    match given.as_slice() {
        [list] if list.trim_start().starts_with('[') => {
            serde_json::from_str(list).with_context(|| format!("'{list}' is not a JSON list of strings"))
        }
        [line] if line.contains(char::is_whitespace) => Ok(vec!["/bin/sh".into(), "-c".into(), line.clone()]),
        _ => Ok(given),
    }
}

fn pairs(given: Vec<String>, option: &str) -> Result<Vec<String>> {
    match given.iter().find(|pair| !pair.contains('=') || pair.starts_with('=')) {
        Some(bad) => bail!("{option} takes NAME=VALUE, not '{bad}'"),
        None => Ok(given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_written_as_in_a_dockerfile() {
        let words = |given: &[&str]| command(given.iter().map(|word| (*word).to_owned()).collect());
        assert_eq!(words(&[r#"["/bin/bash", "-l"]"#]).unwrap(), ["/bin/bash", "-l"]);
        assert_eq!(words(&["echo hi"]).unwrap(), ["/bin/sh", "-c", "echo hi"]);
        assert_eq!(words(&["/bin/sh"]).unwrap(), ["/bin/sh"]);
        assert_eq!(words(&["echo", "a b"]).unwrap(), ["echo", "a b"]);
        assert!(words(&["[1"]).is_err());
    }
}

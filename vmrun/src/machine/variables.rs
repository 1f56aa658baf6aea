//! Environment variables, as users give them.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Variables as `NAME=VALUE`, each name once. Later ones win.
#[derive(Debug, Default)]
pub struct Variables(Vec<Vec<u8>>);

impl Variables {
    pub fn into_inner(self) -> Vec<Vec<u8>> {
        self.0
    }

    pub fn has(&self, name: &[u8]) -> bool {
        self.0.iter().any(|variable| name_of(variable) == name)
    }

    /// Sets one, which is complete.
    pub fn set(&mut self, variable: Vec<u8>) {
        match self.0.iter_mut().find(|other| name_of(other) == name_of(&variable)) {
            Some(other) => *other = variable,
            None => self.0.push(variable),
        }
    }

    /// Sets those of `--env-file`, one a line.
    pub fn set_file(&mut self, file: &Path) -> Result<()> {
        let text = fs::read(file).with_context(|| format!("cannot read --env-file {}", file.display()))?;
        for line in text.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let start = line.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(line.len());
            let line = &line[start..];
            if !line.is_empty() && !line.starts_with(b"#") {
                self.set_given(line, &format!("in {}", file.display()))?;
            }
        }
        Ok(())
    }

    /// Sets what a user gave: `NAME=VALUE`, or `NAME` to pass the host's value, if there is one.
    pub fn set_given(&mut self, given: &[u8], origin: &str) -> Result<()> {
        let name = name_of(given);
        if name.is_empty() || given.contains(&0) || name.iter().any(u8::is_ascii_whitespace) {
            bail!("'{}' {origin} is no variable: write NAME=VALUE", String::from_utf8_lossy(given));
        }
        if name.len() < given.len() {
            self.set(given.to_owned());
        } else if let Some(value) = env::var_os(OsStr::from_bytes(name)) {
            self.set([name, b"=", value.as_bytes()].concat());
        }
        Ok(())
    }
}

fn name_of(variable: &[u8]) -> &[u8] {
    variable.split(|&byte| byte == b'=').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_variables_win() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("env");
        fs::write(&file, "# a comment\n\nA=file\nB=file\r\n  C=1\nUNSET_ON_THE_HOST\n").unwrap();
        let mut variables = Variables::default();
        variables.set(b"A=image".to_vec());
        variables.set_file(&file).unwrap();
        variables.set_given(b"B=", "given").unwrap();
        assert!(variables.has(b"A") && !variables.has(b"UNSET_ON_THE_HOST"));
        assert_eq!(variables.into_inner(), [&b"A=file"[..], b"B=", b"C=1"]);
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        for given in [&b"=x"[..], b"a b=c", b"", b"A=\0"] {
            assert!(Variables::default().set_given(given, "given").is_err(), "{given:?}");
        }
    }
}

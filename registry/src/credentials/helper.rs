//! Credential helpers: programs `docker-credential-NAME` that keep secrets elsewhere. They are given one word as an
//! argument, and read and write JSON.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::Login;
use crate::error::shown;
use crate::{Error, Result};

/// What helpers say, and exit with 1, when they have nothing.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user's name under which identity tokens are kept.
const TOKEN_USER: &str = "<token>";
const LIMIT: u64 = 1 << 20;

pub fn get(helper: &str, key: &str) -> Result<Option<Login>> {
    let Some(answer) = call(helper, "get", key.as_bytes())? else {
        return Ok(None);
    };
    let text = |answer: &Value, name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    match (text(&answer, "Username"), text(&answer, "Secret")) {
        (Some(user), Some(token)) if user == TOKEN_USER => Ok(Some(Login::IdentityToken(token))),
        (Some(user), Some(password)) if !user.is_empty() => Ok(Some(Login::Password { user, password })),
        (_, Some(_)) => Ok(None),
        _ => Err(failed(helper, "does not answer as one should")),
    }
}

pub fn store(helper: &str, key: &str, login: &Login) -> Result<()> {
    let (user, secret) = match login {
        Login::Password { user, password } => (user.as_str(), password),
        Login::IdentityToken(token) | Login::RegistryToken(token) => (TOKEN_USER, token),
    };
    let entry = json!({ "ServerURL": key, "Username": user, "Secret": secret });
    call(helper, "store", entry.to_string().as_bytes()).map(|_| ())
}

pub fn erase(helper: &str, key: &str) -> Result<()> {
    call(helper, "erase", key.as_bytes()).map(|_| ())
}

fn failed(helper: &str, problem: impl Into<String>) -> Error {
    Error::Helper { program: format!("docker-credential-{}", shown(helper)), problem: problem.into() }
}

/// None if the helper knows nothing of it.
fn call(helper: &str, verb: &str, input: &[u8]) -> Result<Option<Vec<u8>>> {
    // Only ever a program that the search path finds, not one that a path in the file names.
    if !helper.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c)) {
        return Err(failed(helper, "has a name that none can have"));
    }
    let not_run = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => failed(helper, "is not installed, but config.json names it"),
        _ => failed(helper, format!("cannot be run: {error}")),
    };
    let mut child = Command::new(format!("docker-credential-{helper}"))
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(not_run)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read says why by other means.
        let _ = stdin.write_all(input);
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(LIMIT).read_to_end(&mut output).map_err(not_run)?;
    }
    let status = child.wait().map_err(not_run)?;
    if status.success() {
        return Ok(Some(output));
    }
    let said = String::from_utf8_lossy(&output);
    match said.contains(NOT_FOUND) {
        true => Ok(None),
        false => Err(failed(helper, format!("failed ({status}): {}", shown(&said)))),
    }
}

//! `vmrun login` and `vmrun logout`: credentials for registries.

use std::io::{self, IsTerminal, Read, Write};

use anyhow::{Context, Result, bail};
use registry::{Credentials, Host, Login, Options, Registry, Stored};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::arguments::{LoginArguments, LogoutArguments};
use crate::output::{say, warn};

/// No password is longer; some tokens are long.
const LONGEST: u64 = 64 << 10;

/// Tries credentials, and keeps them when they are good.
pub fn login(arguments: &LoginArguments) -> Result<u8> {
    let host = Host::parse(&arguments.server)?;
    let user = match &arguments.username {
        Some(user) => user.clone(),
        None => asked(&format!("User name for {}: ", host.name()), true)?,
    };
    let password = match &arguments.password {
        Some(password) => {
            warn("vmrun: warning: a password on the command line is seen by every user of this host");
            password.clone()
        }
        None if arguments.password_stdin => from_stdin()?,
        None => asked("Password: ", false)?,
    };
    if user.is_empty() || password.is_empty() {
        bail!("a user name and a password are needed");
    }
    let login = Login::Password { user, password };
    let options = Options { insecure: arguments.trust.insecure, ..Options::default() };
    Registry::new(host.name(), Credentials::only(Some(login.clone())), options)?
        .check_login()
        .with_context(|| format!("cannot log in to {}", host.name()))?;
    match Credentials::of_user().store(&host, &login)? {
        Stored::Helper(_) => {}
        Stored::File(path) => {
            warn(&format!(
                "The password is stored unencrypted in {}; a credential helper would hide it",
                path.display()
            ));
        }
    }
    say("Login Succeeded")?;
    Ok(0)
}

pub fn logout(arguments: &LogoutArguments) -> Result<u8> {
    let host = Host::parse(&arguments.server)?;
    match Credentials::of_user().erase(&host)? {
        true => say(format_args!("Removing login credentials for {}", host.name()))?,
        false => say(format_args!("Not logged in to {}", host.name()))?,
    }
    Ok(0)
}

fn from_stdin() -> Result<String> {
    let mut text = String::new();
    io::stdin().take(LONGEST).read_to_string(&mut text).context("cannot read the password")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks on the terminal; a secret is not shown while it is typed.
fn asked(question: &str, shown: bool) -> Result<String> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        bail!("there is no terminal to ask on: give --username and --password-stdin");
    }
    let mut out = io::stderr();
    write!(out, "{question}").and_then(|()| out.flush()).context("cannot ask")?;
    let before = tcgetattr(&stdin).context("cannot ask")?;
    if !shown {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(&stdin, OptionalActions::Flush, &silent).context("cannot ask")?;
    }
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    if !shown {
        let _ = tcsetattr(&stdin, OptionalActions::Flush, &before);
    }
    read.context("cannot read the answer")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

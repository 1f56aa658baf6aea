//! Credentials where docker, podman, skopeo and others keep theirs: `config.json` in `$DOCKER_CONFIG` or `~/.docker`,
//! or a credential helper that is named there.

mod file;
mod helper;

use std::env;
use std::path::PathBuf;

use crate::{Error, Host, Result};

/// What proves who somebody is.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    Password {
        user: String,
        password: String,
    },
    /// Is given to the token server for tokens.
    IdentityToken(String),
    /// Is given to the registry as it is.
    RegistryToken(String),
}

/// Never shows a secret.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Login::Password { user, .. } => {
                f.debug_struct("Password").field("user", user).finish_non_exhaustive()
            }
            Login::IdentityToken(_) => f.write_str("IdentityToken"),
            Login::RegistryToken(_) => f.write_str("RegistryToken"),
        }
    }
}

/// Where credentials were put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// In the clear.
    File(PathBuf),
    Helper(String),
}

/// Where credentials come from.
#[derive(Clone, Debug)]
pub struct Credentials(Source);

#[derive(Clone, Debug)]
enum Source {
    /// The directory of `config.json`, if there is a place for one.
    Directory(Option<PathBuf>),
    These(Option<Login>),
}

impl Credentials {
    /// The user's own.
    pub fn of_user() -> Credentials {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Credentials(Source::Directory(set("DOCKER_CONFIG").or_else(|| Some(set("HOME")?.join(".docker")))))
    }

    /// Those of a directory with a `config.json`.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Credentials {
        Credentials(Source::Directory(Some(directory.into())))
    }

    /// These, or none, whatever is stored.
    pub fn only(login: Option<Login>) -> Credentials {
        Credentials(Source::These(login))
    }

    /// Finds what is stored for a registry.
    pub fn get(&self, host: &Host) -> Result<Option<Login>> {
        let directory = match &self.0 {
            Source::These(login) => return Ok(login.clone()),
            Source::Directory(None) => return Ok(None),
            Source::Directory(Some(directory)) => directory,
        };
        let config = file::ConfigFile::read(directory)?;
        match config.helper(host.credentials_key()) {
            Some(helper) => helper::get(&helper, host.credentials_key()),
            None => config.login(host.credentials_key()),
        }
    }

    /// Keeps credentials for a registry, in place of those that it had.
    pub fn store(&self, host: &Host, login: &Login) -> Result<Stored> {
        let directory = self.directory()?;
        let mut config = file::ConfigFile::read(directory)?;
        let key = host.credentials_key();
        match config.helper(key) {
            Some(helper) => {
                helper::store(&helper, key, login)?;
                Ok(Stored::Helper(helper))
            }
            None => {
                config.set_login(key, login);
                config.write().map(Stored::File)
            }
        }
    }

    /// Forgets a registry's credentials. Returns whether there were any.
    pub fn erase(&self, host: &Host) -> Result<bool> {
        let mut config = file::ConfigFile::read(self.directory()?)?;
        let key = host.credentials_key();
        let mut found = false;
        if let Some(helper) = config.helper(key) {
            found = helper::get(&helper, key)?.is_some();
            if found {
                helper::erase(&helper, key)?;
            }
        }
        if config.remove_login(key) {
            config.write()?;
            found = true;
        }
        Ok(found)
    }

    fn directory(&self) -> Result<&PathBuf> {
        match &self.0 {
            Source::Directory(Some(directory)) => Ok(directory),
            _ => Err(Error::NoHome),
        }
    }
}

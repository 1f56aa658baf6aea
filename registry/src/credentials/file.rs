//! Docker's `config.json`. What is in it that is not ours is kept as it is.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Login;
use crate::{Error, Result};

const LIMIT: u64 = 4 << 20;

pub struct ConfigFile {
    path: PathBuf,
    value: Map<String, Value>,
}

impl ConfigFile {
    /// Reads the file of a directory; none is an empty one.
    pub fn read(directory: &Path) -> Result<ConfigFile> {
        let path = directory.join("config.json");
        let failed = |source| Error::File { doing: "reading", path: path.clone(), source };
        let mut bytes = Vec::new();
        match fs::File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            file => {
                let file = file.map_err(failed)?;
                file.take(LIMIT).read_to_end(&mut bytes).map_err(failed)?;
            }
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(ConfigFile { path, value: Map::new() });
        }
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(ConfigFile { path, value }),
            Err(error) => Err(Error::ConfigFile { path, reason: error.to_string() }),
        }
    }

    /// The helper that keeps the credentials of that key.
    pub fn helper(&self, key: &str) -> Option<String> {
        let own = self.value.get("credHelpers").and_then(|helpers| helpers.get(key));
        let name = own.or_else(|| self.value.get("credsStore"))?.as_str()?;
        (!name.is_empty()).then(|| name.to_owned())
    }

    /// What the file itself has for that key.
    pub fn login(&self, key: &str) -> Result<Option<Login>> {
        let Some(entry) = self.key_of(key).and_then(|key| self.auths()?.get(&key)) else {
            return Ok(None);
        };
        let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(token) = text("registrytoken") {
            return Ok(Some(Login::RegistryToken(token.to_owned())));
        }
        if let Some(token) = text("identitytoken") {
            return Ok(Some(Login::IdentityToken(token.to_owned())));
        }
        if let (Some(user), Some(password)) = (text("username"), text("password")) {
            return Ok(Some(Login::Password { user: user.to_owned(), password: password.to_owned() }));
        }
        let Some(auth) = text("auth") else { return Ok(None) };
        let decoded = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        // Some writers pad the password with zero bytes.
        let pair =
            decoded.as_deref().map(|pair| pair.trim_end_matches('\0')).and_then(|pair| pair.split_once(':'));
        match pair {
            Some((user, password)) => {
                Ok(Some(Login::Password { user: user.to_owned(), password: password.to_owned() }))
            }
            None => Err(Error::ConfigFile {
                path: self.path.clone(),
                reason: format!("“auth” of {key} is not base64 of USER:PASSWORD"),
            }),
        }
    }

    pub fn set_login(&mut self, key: &str, login: &Login) {
        self.remove_login(key);
        let entry = match login {
            Login::Password { user, password } => {
                json!({ "auth": STANDARD.encode(format!("{user}:{password}")) })
            }
            Login::IdentityToken(token) => json!({ "identitytoken": token }),
            Login::RegistryToken(token) => json!({ "registrytoken": token }),
        };
        let auths = self.value.entry("auths").or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        auths[key] = entry;
    }

    /// Returns whether there was something.
    pub fn remove_login(&mut self, key: &str) -> bool {
        let Some(key) = self.key_of(key) else { return false };
        let auths = self.value.get_mut("auths").and_then(Value::as_object_mut);
        auths.is_some_and(|auths| auths.remove(&key).is_some())
    }

    /// Replaces the file as a whole, readable by its owner alone. A link to it stays a link.
    pub fn write(self) -> Result<PathBuf> {
        let path = fs::canonicalize(&self.path).unwrap_or(self.path);
        let failed = |source| Error::File { doing: "writing", path: path.clone(), source };
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory).map_err(failed)?;
        let mut bytes = Vec::new();
        let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, tabs);
        serde::Serialize::serialize(&self.value, &mut serializer).map_err(|error| failed(error.into()))?;
        bytes.push(b'\n');
        // Such a file is made with mode 0600.
        let mut draft = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
        draft.write_all(&bytes).and_then(|()| draft.as_file().sync_data()).map_err(failed)?;
        draft.persist(&path).map_err(|error| failed(error.error))?;
        Ok(path)
    }

    fn auths(&self) -> Option<&Map<String, Value>> {
        self.value.get("auths")?.as_object()
    }

    /// How the file spells a registry: others write addresses where we write hosts.
    fn key_of(&self, key: &str) -> Option<String> {
        let auths = self.auths()?;
        let host = |key: &str| {
            let bare = key.trim_start_matches("https://").trim_start_matches("http://");
            bare.split('/').next().unwrap_or_default().to_owned()
        };
        let exact = auths.keys().find(|known| *known == key);
        exact.or_else(|| auths.keys().find(|known| host(known) == host(key))).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn password(user: &str, password: &str) -> Login {
        Login::Password { user: user.into(), password: password.into() }
    }

    #[test]
    fn what_is_not_ours_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        fs::write(&path, r#"{"psFormat":"x","auths":{"https://quay.io/v1/":{"auth":"YTpi"},"b":{}}}"#)
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let mut config = ConfigFile::read(directory.path()).unwrap();
        assert_eq!(config.login("quay.io").unwrap(), Some(password("a", "b")));
        assert_eq!(config.login("b").unwrap(), None);
        config.set_login("quay.io", &password("new", "with:colon"));
        config.write().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("\t\"psFormat\": \"x\"") && !text.contains("/v1/"), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut config = ConfigFile::read(directory.path()).unwrap();
        assert_eq!(config.login("quay.io").unwrap(), Some(password("new", "with:colon")));
        assert!(config.remove_login("quay.io") && !config.remove_login("quay.io"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn tokens_helpers_and_damage_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            fs::write(directory.path().join("config.json"), text).unwrap();
            ConfigFile::read(directory.path())
        };
        let config = read(r#"{"auths":{"a":{"identitytoken":"i"},"b":{"registrytoken":"r"}}}"#).unwrap();
        assert_eq!(config.login("a").unwrap(), Some(Login::IdentityToken("i".into())));
        assert_eq!(config.login("b").unwrap(), Some(Login::RegistryToken("r".into())));
        let config = read(r#"{"credsStore":"all","credHelpers":{"a":"one"}}"#).unwrap();
        assert_eq!(
            (config.helper("a").as_deref(), config.helper("b").as_deref()),
            (Some("one"), Some("all"))
        );
        assert!(read("[]").is_err() && read("{").is_err());
        assert!(read(" \n").unwrap().login("a").unwrap().is_none());
        assert!(read(r#"{"auths":{"a":{"auth":"no base64"}}}"#).unwrap().login("a").is_err());
    }
}

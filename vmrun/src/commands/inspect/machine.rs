//! A machine by its record, `machines/ID/machine.json`.

use std::fs;
use std::io;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::home::Home;

/// Finds a machine by its ID or the beginning of it.
pub fn find(home: &Home, wanted: &str) -> Result<Option<Value>> {
    if wanted.is_empty() || !wanted.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let machines = home.machines();
    let entries = match fs::read_dir(&machines) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries.with_context(|| format!("cannot read {}", machines.display()))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", machines.display()))?;
        if entry.file_name().to_string_lossy().starts_with(wanted) {
            found.push(entry.path());
        }
    }
    let directory = match found.as_slice() {
        [] => return Ok(None),
        [one] => one,
        _ => bail!("'{wanted}' is the beginning of several machines' IDs; give more digits"),
    };
    let path = directory.join("machine.json");
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let record: Map<String, Value> =
        serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))?;
    let mut shown: Map<String, Value> =
        record.into_iter().map(|(key, value)| (capitalised(&key), value)).collect();
    shown.insert("KernelLog".into(), json!(directory.join("kernel.log")));
    Ok(Some(shown.into()))
}

/// `rootfs_device` as Docker would write it: `RootfsDevice`.
fn capitalised(key: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    };
    key.split('_').map(word).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_are_written_as_dockers() {
        assert_eq!(super::capitalised("rootfs_device"), "RootfsDevice");
        assert_eq!(super::capitalised("id"), "Id");
    }
}

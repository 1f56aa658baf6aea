//! Machines' names: what may be one, and one for those who were given none.

use anyhow::{Result, bail};
use strsim::osa_distance;

use super::id::fill_random;

/// The longest name, in bytes: it is a host name, too, in many uses.
const MAX_LENGTH: usize = 128;

/// How many random names are tried.
const TRIES: u32 = 64;

const QUALITIES: [&str; 48] = [
    "able", "agile", "amber", "ample", "apt", "autumn", "azure", "bold", "brave", "bright", "brisk", "calm",
    "candid", "clear", "clever", "cosy", "crisp", "eager", "early", "fair", "fleet", "fond", "frank",
    "fresh", "gentle", "glad", "golden", "grand", "hardy", "honest", "jolly", "keen", "kind", "light",
    "lively", "loyal", "lucid", "merry", "mild", "modest", "neat", "noble", "patient", "quick", "quiet",
    "ready", "steady", "sunny",
];

const CREATURES: [&str; 48] = [
    "alpaca", "badger", "beaver", "bison", "bittern", "bunting", "chamois", "condor", "crane", "curlew",
    "dipper", "dormouse", "dunlin", "egret", "falcon", "ferret", "finch", "gannet", "gecko", "godwit",
    "hare", "heron", "hoopoe", "ibex", "jackdaw", "kestrel", "lapwing", "linnet", "lynx", "marmot", "marten",
    "merlin", "newt", "osprey", "otter", "petrel", "plover", "puffin", "quail", "raven", "robin", "siskin",
    "stoat", "swift", "tern", "vole", "wagtail", "wren",
];

/// Returns `name` if it can be one, as Docker says it: letters, digits, `_`, `.`, `-`, the first a letter or digit.
pub fn check(name: &str) -> Result<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if !begins || name.len() < 2 || name.len() > MAX_LENGTH || !name.bytes().all(plain) {
        bail!(
            "'{name}' cannot be a machine's name: use letters, digits, '_', '.' and '-', beginning with a letter \
             or digit"
        );
    }
    Ok(name)
}

/// A name that `is_free`.
pub fn free(is_free: impl Fn(&str) -> bool) -> Result<String> {
    for round in 0..TRIES {
        let mut bytes = [0; 3];
        fill_random(&mut bytes)?;
        let pick = |words: &[&'static str], byte: u8| words[usize::from(byte) % words.len()];
        let mut name = format!("{}_{}", pick(&QUALITIES, bytes[0]), pick(&CREATURES, bytes[1]));
        if round > 4 {
            name = format!("{name}{}", bytes[2] % 100);
        }
        if is_free(&name) {
            return Ok(name);
        }
    }
    bail!("no free name was found: give one with --name")
}

/// The one of `names` that was probably meant: at most two typing mistakes away.
pub fn nearest<'a>(wanted: &str, names: &'a [String]) -> Option<&'a str> {
    if wanted.len() > MAX_LENGTH {
        return None;
    }
    let near = names.iter().map(|name| (osa_distance(wanted, name), name)).min()?;
    (near.0 <= 2 && near.0 < wanted.len().max(1)).then_some(near.1.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["web", "a1", "my_app-2.x"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "-x", "a/b", "../x", "a b", "ä1"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_that_is_taken_is_not_given() {
        let first = free(|_| true).unwrap();
        assert!(check(&first).is_ok());
        assert_ne!(free(|name| name != first).unwrap(), first);
        assert!(free(|_| false).is_err());
    }

    #[test]
    fn a_slip_is_recognised() {
        let names = ["web".to_owned(), "database".to_owned()];
        assert_eq!(nearest("databse", &names), Some("database"));
        assert_eq!(nearest("wbe", &names), Some("web"));
        assert_eq!(nearest("mail", &names), None);
        assert_eq!(nearest("", &names), None);
    }
}

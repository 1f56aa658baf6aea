//! Fragments of a kernel's configuration: what is asked for, and whether the kernel has it so.

use std::collections::BTreeMap;
use std::path::Path;

use super::Error;

/// What vmrun builds when nobody asks for something else, with the reason of each option.
const OWN: &str = include_str!("../../configs/vmrun.config");
/// How complaints call it.
const OWN_NAME: &str = "vmrun's own fragment";

/// The longest line that is read, in bytes.
const LONGEST_LINE: usize = 4096;

/// One option, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wish {
    /// As it stands after the `=` in a `.config`; `n` for an option that is not to be set.
    value: String,
    /// Whether vmrun itself asks for it, and no fragment of the user's.
    own: bool,
    /// FILE:LINE.
    place: String,
}

/// Options by their names, without `CONFIG_`. The later fragment has the last word.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Wishes(BTreeMap<String, Wish>);

impl Wishes {
    /// vmrun's own.
    pub fn own() -> Result<Wishes, Error> {
        let mut wishes = Wishes::default();
        wishes.add_text(OWN, OWN_NAME, true)?;
        Ok(wishes)
    }

    /// Adds what a fragment of the user's asks for.
    pub fn add(&mut self, text: &str, file: &Path) -> Result<(), Error> {
        self.add_text(text, &file.display().to_string(), false)
    }

    fn add_text(&mut self, text: &str, file: &str, own: bool) -> Result<(), Error> {
        for (number, line) in text.lines().enumerate() {
            let place = format!("{file}:{}", number + 1);
            let wrong = |why: &str| Error::Fragment { place: place.clone(), why: why.into() };
            if line.len() > LONGEST_LINE {
                return Err(wrong("the line is too long"));
            }
            if let Some((name, value)) = parse(line.trim()).map_err(wrong)? {
                self.0.insert(name.into(), Wish { value: value.into(), own, place });
            }
        }
        Ok(())
    }

    /// As the kernel's own configuration programs read it.
    pub fn to_config(&self) -> String {
        let line = |(name, wish): (&String, &Wish)| match wish.value.as_str() {
            "n" => format!("# CONFIG_{name} is not set\n"),
            value => format!("CONFIG_{name}={value}\n"),
        };
        self.0.iter().map(line).collect()
    }

    /// Which wishes a finished `.config` does not fulfil. Those of vmrun's own that this version of the
    /// kernel has never heard of (`known` says so) are left out of it, and returned.
    pub fn check(&self, config: &str, known: impl Fn(&str) -> bool) -> Result<Vec<String>, Error> {
        let set: BTreeMap<&str, &str> = config
            .lines()
            .filter_map(|line| line.strip_prefix("CONFIG_").and_then(|line| line.split_once('=')))
            .collect();
        let (mut unmet, mut strange) = (Vec::new(), Vec::new());
        for (name, wish) in &self.0 {
            let value = set.get(name.as_str()).copied().unwrap_or("n");
            if value == wish.value {
            } else if known(name) {
                unmet.push(format!("CONFIG_{name}={} ({}) came out as {value}", wish.value, wish.place));
            } else if wish.own {
                strange.push(format!("CONFIG_{name}"));
            } else {
                unmet.push(format!("CONFIG_{name} ({}) is no option of this kernel", wish.place));
            }
        }
        if unmet.is_empty() { Ok(strange) } else { Err(Error::Unmet(unmet.join(", "))) }
    }
}

/// The option and its value of one line; `None` for an empty line or a comment.
fn parse(line: &str) -> Result<Option<(&str, &str)>, &'static str> {
    let unset = line.strip_prefix("# CONFIG_").and_then(|line| line.strip_suffix(" is not set"));
    if let Some(name) = unset {
        return checked(name, "n").map(Some);
    }
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, value) = line
        .strip_prefix("CONFIG_")
        .and_then(|line| line.split_once('='))
        .ok_or("this is neither CONFIG_NAME=value nor a comment")?;
    checked(name, value).map(Some)
}

fn checked<'a>(name: &'a str, value: &'a str) -> Result<(&'a str, &'a str), &'static str> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err("this is no option's name");
    }
    let hexadecimal = value
        .strip_prefix("0x")
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let text = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    match value {
        "y" | "n" => Ok((name, value)),
        "m" => Err("modules are not built: y, or n"),
        _ if hexadecimal || value.parse::<i64>().is_ok() => Ok((name, value)),
        _ if text.is_some_and(|text| !text.contains(['"', '\\'])) => Ok((name, value)),
        _ => Err("the value is none of y, n, a number, and text in quotation marks"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(text: &str) -> Wishes {
        let mut wishes = Wishes::default();
        wishes.add(text, Path::new("mine.config")).unwrap();
        wishes
    }

    /// Every option is under a comment of its paragraph, nothing is asked for twice, and all of it is read.
    #[test]
    fn every_option_of_our_own_has_a_reason() {
        let mut seen = std::collections::BTreeSet::new();
        let mut has_reason = false;
        for (number, line) in OWN.lines().enumerate() {
            let place = format!("{OWN_NAME}:{}: {line}", number + 1);
            assert!(line.chars().count() <= 120, "{place}");
            match line {
                "" => has_reason = false,
                _ if line.starts_with("# -") => {}
                _ if line.starts_with('#') => has_reason = true,
                _ => {
                    assert!(has_reason, "no reason: {place}");
                    assert!(seen.insert(line.split('=').next().unwrap()), "twice: {place}");
                }
            }
        }
        let own = Wishes::own().unwrap();
        assert_eq!(own.0.len(), seen.len());
        assert!(own.0.len() > 300 && own.0["MODULES"].value == "n");
    }

    #[test]
    fn the_later_fragment_has_the_last_word() {
        let mut wishes = wishes("CONFIG_A=y\nCONFIG_B=3\n");
        wishes.add("# CONFIG_A is not set\n\n# note\nCONFIG_C=\"x y\"\n", Path::new("more")).unwrap();
        assert_eq!(wishes.to_config(), "# CONFIG_A is not set\nCONFIG_B=3\nCONFIG_C=\"x y\"\n");
        assert_eq!(wishes.0["A"].place, "more:1");
    }

    #[test]
    fn what_is_no_fragment_is_refused_with_its_place() {
        for (text, words) in [
            ("CONFIG_A=y\nA=y\n", "mine.config:2"),
            ("CONFIG_A=m\n", "modules"),
            ("CONFIG_A=\n", "value"),
            ("CONFIG_=y\n", "name"),
            ("CONFIG_A B=y\n", "name"),
            ("CONFIG_A=\"x\" y\"\n", "value"),
            ("CONFIG_A=0x\n", "value"),
            ("# CONFIG_A/B is not set\n", "name"),
        ] {
            let error = Wishes::default().add(text, Path::new("mine.config")).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains('\n'), "{text:?}: {error}");
        }
        assert!(Wishes::default().add(&"x".repeat(5000), Path::new("x")).is_err());
    }

    #[test]
    fn wishes_that_are_not_met_are_named() {
        let wishes = wishes("CONFIG_A=y\nCONFIG_B=n\nCONFIG_C=3\nCONFIG_D=y\n");
        let config = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=3\nCONFIG_D=y\nCONFIG_E=y\n";
        assert_eq!(wishes.check(config, |_| true).unwrap(), Vec::<String>::new());
        let error = wishes.check("CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=4\n", |name| name != "D").unwrap_err();
        let text = error.to_string();
        for words in
            ["CONFIG_B=n (mine.config:2) came out as y", "CONFIG_C=3", "CONFIG_D (mine.config:4) is no"]
        {
            assert!(text.contains(words), "{text}");
        }
        assert!(!text.contains("CONFIG_A"), "{text}");
    }

    /// What another version of the kernel calls differently does not keep it from being built.
    #[test]
    fn our_own_wishes_may_be_strange_to_a_kernel() {
        let mut wishes = Wishes::default();
        wishes.add_text("CONFIG_NEW=y\nCONFIG_OLD=y\n", OWN_NAME, true).unwrap();
        assert_eq!(wishes.check("CONFIG_OLD=y\n", |name| name == "OLD").unwrap(), ["CONFIG_NEW"]);
        assert!(wishes.check("", |name| name == "OLD").is_err());
    }
}

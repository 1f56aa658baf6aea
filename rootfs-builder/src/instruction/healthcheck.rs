//! `HEALTHCHECK`: how an image's health is to be looked at. It is kept for those who look.

use serde_json::{Value, json};

use super::{Error, Result, command, list};

/// As Docker's configurations have it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Healthcheck {
    /// `NONE`, or `CMD` and words, or `CMD-SHELL` and a line.
    test: Vec<String>,
    /// Nanoseconds, by the name in the configuration.
    times: Vec<(&'static str, u64)>,
    retries: Option<u32>,
}

const TAKES: &str = "NONE, or [--interval= --timeout= --start-period= --start-interval= --retries=] CMD …";

impl Healthcheck {
    pub fn parse(text: &str) -> Result<Healthcheck> {
        let refused =
            |word: &str| Error::Word { instruction: "HEALTHCHECK", takes: TAKES, word: word.to_owned() };
        let mut check = Healthcheck::default();
        let mut rest = text;
        while let Some(option) = rest.strip_prefix("--") {
            let (option, after) = option.split_once(char::is_whitespace).ok_or_else(|| refused(rest))?;
            let (name, value) = option.split_once('=').ok_or_else(|| refused(option))?;
            let time = |key| Ok((key, duration(value).ok_or_else(|| refused(value))?));
            match name {
                "interval" => check.times.push(time("Interval")?),
                "timeout" => check.times.push(time("Timeout")?),
                "start-period" => check.times.push(time("StartPeriod")?),
                "start-interval" => check.times.push(time("StartInterval")?),
                "retries" => check.retries = Some(value.parse().map_err(|_| refused(value))?),
                _ => return Err(refused(option)),
            }
            rest = after.trim_start();
        }
        let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let after = after.trim();
        check.test = match word.to_ascii_uppercase().as_str() {
            "NONE" if after.is_empty() => vec!["NONE".into()],
            "CMD" if !after.is_empty() => match list(after) {
                Some(_) => [vec!["CMD".to_owned()], command(after)].concat(),
                None => vec!["CMD-SHELL".into(), after.into()],
            },
            _ => return Err(refused(text)),
        };
        Ok(check)
    }

    pub fn to_json(&self) -> Value {
        let mut value = json!({ "Test": self.test });
        for (name, nanoseconds) in &self.times {
            value[*name] = json!(nanoseconds);
        }
        if let Some(retries) = self.retries {
            value["Retries"] = json!(retries);
        }
        value
    }
}

/// `1m30s`, `500ms`, as nanoseconds.
fn duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit: u64 = match &rest[..letters] {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[letters..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_forms_are_read() {
        let json = |text| Healthcheck::parse(text).unwrap().to_json();
        assert_eq!(json("NONE"), json!({ "Test": ["NONE"] }));
        assert_eq!(
            json("--interval=1m30s --retries=3 CMD curl -f localhost"),
            json!({ "Test": ["CMD-SHELL", "curl -f localhost"], "Interval": 90_000_000_000_u64, "Retries": 3 })
        );
        assert_eq!(
            json(r#"--timeout=500ms CMD ["a"]"#),
            json!({ "Test": ["CMD", "a"], "Timeout": 500_000_000 })
        );
        for bad in ["", "CMD", "NONE x", "--interval=soon CMD x", "--no=1s CMD x", "--interval=1s", "x"] {
            assert!(Healthcheck::parse(bad).is_err(), "{bad}");
        }
    }
}

//! How many processors a machine has, and how much of them it may take.

use std::str::FromStr;

/// The most that the monitor makes.
const MOST: u32 = 32;

/// What `--cpus` says: `2`, or `1.5`, which is two processors of which the machine takes one and a half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processors {
    pub count: u8,
    /// In thousandths of a processor, where it is not whole.
    pub quota: Option<u32>,
}

impl FromStr for Processors {
    type Err = String;

    fn from_str(text: &str) -> Result<Processors, String> {
        let wrong = || format!("it is a number from 0.01 to {MOST}, such as 2 or 1.5");
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + part.len() == 0 || !is_number(whole) || !is_number(part) || part.len() > 9 {
            return Err(wrong());
        }
        let whole: u32 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
        // What is finer than a thousandth is left out.
        let part: String = part.chars().chain("000".chars()).take(3).collect();
        let thousandths = whole.checked_mul(1000).zip(part.parse::<u32>().ok());
        match thousandths.and_then(|(whole, part)| whole.checked_add(part)) {
            Some(thousandths) if (10..=MOST * 1000).contains(&thousandths) => Ok(Processors {
                count: thousandths.div_ceil(1000) as u8,
                quota: (!thousandths.is_multiple_of(1000)).then_some(thousandths),
            }),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_processors_that_are_not_used_up() {
        let parse = |text: &str| text.parse::<Processors>().map(|cpus| (cpus.count, cpus.quota)).ok();
        assert_eq!(
            [parse("1"), parse("2.0"), parse("32")],
            [Some((1, None)), Some((2, None)), Some((32, None))]
        );
        assert_eq!([parse("1.5"), parse(".25")], [Some((2, Some(1500))), Some((1, Some(250)))]);
        for bad in ["", "0", ".", "0.001", "33", "32.5", "-1", "1,5", "a", "1e3", "99999999999"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}

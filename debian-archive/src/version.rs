//! Versions of packages, and their order (deb-version(7)).

use std::cmp::Ordering;
use std::fmt;

/// `[EPOCH:]UPSTREAM[-REVISION]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(String);

impl Version {
    pub fn new(text: &str) -> Version {
        Version(text.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `asked` is this version or the beginning of it: 6.1 is of 6.1.170-3, and 6.12 is not.
    pub fn begins_with(&self, asked: &str) -> bool {
        let rest = self.without_epoch().strip_prefix(asked);
        rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric()))
    }

    fn without_epoch(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(_, rest)| rest)
    }

    fn parts(&self) -> (u64, &str, &str) {
        let epoch = self.0.split_once(':').and_then(|(epoch, _)| epoch.parse().ok()).unwrap_or(0);
        let (upstream, revision) =
            self.without_epoch().rsplit_once('-').unwrap_or((self.without_epoch(), "0"));
        (epoch, upstream, revision)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Version) -> Ordering {
        let ((epoch, upstream, revision), (other_epoch, other_upstream, other_revision)) =
            (self.parts(), other.parts());
        epoch
            .cmp(&other_epoch)
            .then_with(|| compare(upstream.as_bytes(), other_upstream.as_bytes()))
            .then_with(|| compare(revision.as_bytes(), other_revision.as_bytes()))
            // Different spellings of one version are still different.
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

/// Compares what is not a number by characters, what is by value, in turns.
fn compare(mut one: &[u8], mut other: &[u8]) -> Ordering {
    while !one.is_empty() || !other.is_empty() {
        let (word, rest) = split(one, |byte| !byte.is_ascii_digit());
        let (other_word, other_rest) = split(other, |byte| !byte.is_ascii_digit());
        for at in 0..word.len().max(other_word.len()) {
            let order = weight(word.get(at)).cmp(&weight(other_word.get(at)));
            if order.is_ne() {
                return order;
            }
        }
        let (number, rest) = split(rest, |byte| byte.is_ascii_digit());
        let (other_number, other_rest) = split(other_rest, |byte| byte.is_ascii_digit());
        let (number, other_number) = (significant(number), significant(other_number));
        let order = number.len().cmp(&other_number.len()).then_with(|| number.cmp(other_number));
        if order.is_ne() {
            return order;
        }
        (one, other) = (rest, other_rest);
    }
    Ordering::Equal
}

fn split(text: &[u8], belongs: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !belongs(*byte)).unwrap_or(text.len());
    text.split_at(end)
}

fn significant(digits: &[u8]) -> &[u8] {
    split(digits, |digit| digit == b'0').1
}

/// A tilde comes before the end, letters come before everything else.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_dpkgs() {
        let ordered = [
            "5.10.9-1",
            "5.10.10-1~bpo11+1",
            "5.10.10-1",
            "5.10.10-1+b1",
            "6.1~rc1-1",
            "6.1-1",
            "6.1.9-2",
            "6.1.10-1",
            "6.12~rc7-1~exp1",
            "6.12.9-1",
            "6.12.12-1~bpo12+1",
            "6.12.12-1",
            "6.12.090-1a",
            "6.12.90+deb12.1-1",
            "1:1",
        ];
        for (at, one) in ordered.iter().enumerate() {
            for (other_at, other) in ordered.iter().enumerate() {
                let found = Version::new(one).cmp(&Version::new(other));
                assert_eq!(found, at.cmp(&other_at), "{one} and {other}");
            }
        }
    }

    #[test]
    fn a_beginning_ends_where_a_number_does() {
        let version = Version::new("6.1.170-3");
        for asked in ["6", "6.1", "6.1.170", "6.1.170-3"] {
            assert!(version.begins_with(asked), "{asked}");
        }
        for asked in ["6.1.17", "6.12", "1", "6.1.170-30"] {
            assert!(!version.begins_with(asked), "{asked}");
        }
        assert!(Version::new("2:6.1-1").begins_with("6.1"));
    }
}

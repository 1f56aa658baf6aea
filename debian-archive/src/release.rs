//! A suite's `InRelease`, after its signature was checked.

use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::hash;
use crate::stanza::{Stanza, Stanzas};

/// What the archive has signed about a suite.
#[derive(Debug)]
pub struct Release {
    stanza: Stanza,
    /// Who has signed it.
    pub signers: Vec<String>,
}

/// A file of the suite: what it must be.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed {
    pub sha256: String,
    pub size: u64,
}

impl Release {
    pub fn parse(text: &[u8], signers: Vec<String>) -> Result<Release, String> {
        let stanza = Stanzas::new(text).next().and_then(Result::ok).ok_or("it is empty")?;
        Ok(Release { stanza, signers })
    }

    /// Whether it is the release of `suite`, and not another one in its place.
    pub fn is_of(&self, suite: &str) -> bool {
        ["Suite", "Codename"].iter().any(|field| self.stanza.field(field) == Some(suite))
    }

    pub fn codename(&self) -> Option<&str> {
        self.stanza.field("Codename")
    }

    /// When it was made.
    pub fn date(&self) -> Option<OffsetDateTime> {
        self.stanza.field("Date").and_then(parse_date)
    }

    /// Until when it was good, if it is not good any more. One whose date is not one has never been.
    pub fn expired(&self, now: SystemTime) -> Option<&str> {
        let until = self.stanza.field("Valid-Until")?;
        let is_good = parse_date(until).is_some_and(|until| until >= OffsetDateTime::from(now));
        (!is_good).then_some(until)
    }

    pub fn has_by_hash(&self) -> bool {
        self.stanza.field("Acquire-By-Hash") == Some("yes")
    }

    /// What a file of the suite must be.
    pub fn listed(&self, path: &str) -> Option<Listed> {
        self.stanza.list("SHA256").find_map(|line| {
            let mut words = line.split_whitespace();
            let (sha256, size, name) = (words.next()?, words.next()?, words.next()?);
            let size = size.parse().ok()?;
            (name == path && hash::is(sha256)).then(|| Listed { sha256: sha256.to_owned(), size })
        })
    }
}

/// `Sat, 09 Aug 2025 09:16:30 UTC`.
fn parse_date(text: &str) -> Option<OffsetDateTime> {
    let text = text.strip_suffix("UTC").map_or(text.to_owned(), |text| format!("{text}+0000"));
    OffsetDateTime::parse(&text, &Rfc2822).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TEXT: &str = "Origin: Debian\nSuite: stable\nCodename: trixie\nDate: Sat, 12 Sep 2026 07:55:41 UTC\n\
        Valid-Until: Sat, 19 Sep 2026 07:55:41 UTC\nAcquire-By-Hash: yes\nMD5Sum:\n ff 5 main/x\nSHA256:\n \
        1111111111111111111111111111111111111111111111111111111111111111 5 main/x\n ../.. 6 main/y\n";

    #[test]
    fn what_a_release_says_is_found() {
        let release = Release::parse(TEXT.as_bytes(), Vec::new()).unwrap();
        assert!(release.is_of("stable") && release.is_of("trixie") && !release.is_of("bookworm"));
        assert!(release.has_by_hash());
        assert_eq!(release.listed("main/x").unwrap(), Listed { sha256: "1".repeat(64), size: 5 });
        assert_eq!(release.listed("main/y"), None, "what is no digest");
        assert_eq!(release.listed("main/z"), None);
        let date = SystemTime::from(release.date().unwrap());
        assert_eq!(release.expired(date), None);
        let later = date + Duration::from_secs(8 * 24 * 3600);
        assert_eq!(release.expired(later), Some("Sat, 19 Sep 2026 07:55:41 UTC"));
    }

    #[test]
    fn a_date_that_is_none_has_passed() {
        let release = Release::parse(b"Valid-Until: tomorrow\n", Vec::new()).unwrap();
        assert!(release.expired(SystemTime::UNIX_EPOCH).is_some());
        assert_eq!(Release::parse(b"Suite: x\n", Vec::new()).unwrap().expired(SystemTime::now()), None);
    }
}

//! Times as people read and write them.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rootfs_builder::image::parse_time;

/// How long ago something was made, as Docker says it.
pub fn age(created: Option<SystemTime>) -> String {
    let Some(created) = created else { return "N/A".into() };
    let Ok(age) = SystemTime::now().duration_since(created) else { return "in the future".into() };
    words(age)
}

fn words(age: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = age.as_secs();
    let (count, unit) = match seconds {
        0..MINUTE => (seconds, "second"),
        MINUTE..HOUR => (seconds / MINUTE, "minute"),
        HOUR..DAY => (seconds / HOUR, "hour"),
        _ if seconds < 14 * DAY => (seconds / DAY, "day"),
        _ if seconds < 60 * DAY => (seconds / (7 * DAY), "week"),
        _ if seconds < 730 * DAY => (seconds / (30 * DAY), "month"),
        _ => (seconds / (365 * DAY), "year"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

/// A time (RFC 3339, a date, seconds since 1970), or an age such as `1h30m`.
pub fn moment(text: &str) -> Result<SystemTime> {
    let since_epoch = || Some(SystemTime::UNIX_EPOCH + Duration::from_secs(text.parse().ok()?));
    let ago = || SystemTime::now().checked_sub(duration(text)?);
    parse_time(text)
        .or_else(|| parse_time(&format!("{text}T00:00:00Z")))
        .or_else(|| parse_time(&format!("{text}Z")))
        .or_else(since_epoch)
        .or_else(ago)
        .with_context(|| format!("'{text}' is neither a time (2026-01-31T12:00:00Z) nor an age (24h)"))
}

/// Go's durations: numbers with the units h, m and s.
fn duration(text: &str) -> Option<Duration> {
    let mut seconds = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|character: char| !character.is_ascii_digit())?;
        let number: u64 = rest[..unit_at].parse().ok()?;
        let unit = match rest.as_bytes()[unit_at] {
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[unit_at + 1..];
    }
    (!text.is_empty()).then_some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_said_in_the_largest_unit() {
        let said = |seconds| words(Duration::from_secs(seconds));
        assert_eq!(said(1), "1 second ago");
        assert_eq!(said(7200), "2 hours ago");
        assert_eq!(said(86_400 * 20), "2 weeks ago");
        assert_eq!(said(86_400 * 800), "2 years ago");
    }

    #[test]
    fn moments_are_times_and_ages() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for text in ["1970-01-02T00:00:00Z", "1970-01-02T00:00:00", "1970-01-02", "86400"] {
            assert_eq!(moment(text).unwrap(), at(86_400), "{text}");
        }
        assert_eq!(duration("1h30m5s"), Some(Duration::from_secs(5405)));
        let passed = moment("24h").unwrap().elapsed().unwrap();
        assert!((86_400..86_460).contains(&passed.as_secs()), "{passed:?}");
        for bad in ["", "h", "1d", "yesterday", "99999999999999999999h", "9999999999999999h", "-1h"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}

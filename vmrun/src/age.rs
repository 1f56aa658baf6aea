//! Times as people read them.

use std::time::{Duration, SystemTime};

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
}

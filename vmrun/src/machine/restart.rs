//! Whether and when a machine that has ended is started again.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Docker's `--restart`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum RestartPolicy {
    #[default]
    No,
    /// When it failed; at most so many times, if a number is given.
    OnFailure {
        limit: Option<u32>,
    },
    Always,
    UnlessStopped,
}

/// The first pause before a restart; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A machine that ran so long was well, and its next pause is the first again.
pub const WELL: Duration = Duration::from_secs(10);

impl RestartPolicy {
    /// Whether a machine that ended with `code`, after `restarts` restarts, is started again. One that its
    /// user stopped is not asked about.
    pub fn wants(self, code: u8, restarts: u32) -> bool {
        match self {
            RestartPolicy::No => false,
            RestartPolicy::OnFailure { limit } => code != 0 && limit.is_none_or(|limit| restarts < limit),
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        }
    }
}

/// How long to wait before the restart that follows `failures` short lives in a row.
pub fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(LONGEST_PAUSE)
}

impl FromStr for RestartPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<RestartPolicy, String> {
        Ok(match text.split_once(':') {
            None if text == "no" || text.is_empty() => RestartPolicy::No,
            None if text == "always" => RestartPolicy::Always,
            None if text == "unless-stopped" => RestartPolicy::UnlessStopped,
            None if text == "on-failure" => RestartPolicy::OnFailure { limit: None },
            Some(("on-failure", limit)) => match limit.parse() {
                Ok(0) => RestartPolicy::OnFailure { limit: None },
                Ok(limit) => RestartPolicy::OnFailure { limit: Some(limit) },
                Err(_) => return Err(format!("'{limit}' is no number of restarts")),
            },
            _ => return Err("it is no, on-failure[:N], always or unless-stopped".to_owned()),
        })
    }
}

impl TryFrom<String> for RestartPolicy {
    type Error = String;

    fn try_from(text: String) -> Result<RestartPolicy, String> {
        text.parse()
    }
}

impl From<RestartPolicy> for String {
    fn from(policy: RestartPolicy) -> String {
        policy.to_string()
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestartPolicy::No => f.write_str("no"),
            RestartPolicy::OnFailure { limit: None } => f.write_str("on-failure"),
            RestartPolicy::OnFailure { limit: Some(limit) } => write!(f, "on-failure:{limit}"),
            RestartPolicy::Always => f.write_str("always"),
            RestartPolicy::UnlessStopped => f.write_str("unless-stopped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_written_as_they_are_read() {
        for text in ["no", "on-failure", "on-failure:3", "always", "unless-stopped"] {
            assert_eq!(text.parse::<RestartPolicy>().unwrap().to_string(), text);
        }
        for bad in ["yes", "on-failure:x", "always:3"] {
            assert!(bad.parse::<RestartPolicy>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_failure_is_counted_up_to_the_limit() {
        let twice = RestartPolicy::OnFailure { limit: Some(2) };
        assert_eq!([0, 1, 2].map(|restarts| twice.wants(1, restarts)), [true, true, false]);
        assert!(!twice.wants(0, 0) && RestartPolicy::Always.wants(0, 1000) && !RestartPolicy::No.wants(1, 0));
    }

    #[test]
    fn pauses_grow_to_a_minute() {
        assert_eq!([0, 1, 3].map(|n| pause(n).as_millis()), [100, 200, 800]);
        assert_eq!([10, 40, u32::MAX].map(pause), [LONGEST_PAUSE; 3]);
    }
}

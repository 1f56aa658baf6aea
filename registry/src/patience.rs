//! How long, and how often.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// How long to wait for a registry, and how often to try again.
#[derive(Clone, Debug)]
pub struct Patience {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For anything at all on a connection; then it counts as broken.
    pub silence: Duration,
    /// For a document, from the request to its last byte.
    pub document: Duration,
    /// For the answer to an upload: a registry may look at all of a blob before it takes it.
    pub commit: Duration,
    /// A blob whose bytes come more slowly than these in a time of `silence` is asked for anew.
    pub least_bytes: u64,
    /// Attempts without any progress, the first included.
    pub attempts: u32,
    /// Before the second attempt; twice as long before each further one.
    pub first_delay: Duration,
    /// However long a registry asks us to wait.
    pub longest_delay: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(30),
            silence: Duration::from_secs(60),
            document: Duration::from_secs(120),
            commit: Duration::from_secs(600),
            least_bytes: 16 << 10,
            attempts: 5,
            first_delay: Duration::from_millis(250),
            longest_delay: Duration::from_secs(30),
        }
    }
}

impl Patience {
    /// How long to wait after so many failures, of which the registry may have said something.
    pub fn delay(&self, failures: u32, asked: Option<Duration>) -> Duration {
        let doubled = self.first_delay.saturating_mul(1 << failures.saturating_sub(1).min(16));
        // Between half and all of it, so that many clients do not come back at the same moment.
        let jittered = doubled.mul_f64(0.5 + random_fraction() / 2.0);
        asked.unwrap_or_default().max(jittered).min(self.longest_delay)
    }
}

/// Between 0 and 1. The hasher's keys are random and differ each time.
fn random_fraction() -> f64 {
    f64::from((RandomState::new().build_hasher().finish() >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_are_bounded() {
        let patience = Patience::default();
        for _ in 0..100 {
            let first = patience.delay(1, None);
            assert!((125..=250).contains(&first.as_millis()), "{first:?}");
            assert!(patience.delay(3, None) >= Duration::from_millis(500));
        }
        assert_eq!(patience.delay(40, None), patience.longest_delay);
        assert_eq!(patience.delay(1, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(patience.delay(1, Some(Duration::from_secs(7000))), patience.longest_delay);
    }
}

//! When a message that could not be published is tried again, and when no more.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::stream::{NEVER_SETTLED, Then};

/// How often and how soon a message is tried again.
///
/// Exponential with equal jitter: half of each delay is fixed, half random, so that many keys that
/// failed together do not come back together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// After how many tries in vain a message is parked; at least one is made.
    pub attempts: u32,
    /// The delay after the first failure.
    pub first: Duration,
    /// How much longer each further delay is.
    pub factor: u32,
    /// The longest delay.
    pub longest: Duration,
}

impl Default for RetryPolicy {
    /// Ten tries in about nine minutes: after 1 s, 2 s, 4 s and so on, at most five minutes.
    fn default() -> Self {
        Self {
            attempts: 10,
            first: Duration::from_secs(1),
            factor: 2,
            longest: Duration::from_secs(300),
        }
    }
}

impl RetryPolicy {
    /// The delay after a number of failures, from 1; `jitter` is a random number, all of `u16`
    /// alike.
    #[must_use]
    pub fn delay(&self, failures: u32, jitter: u16) -> Duration {
        let times = self
            .factor
            .max(1)
            .saturating_pow(failures.saturating_sub(1));
        let full = self.first.saturating_mul(times).min(self.longest);
        let half = full / 2;
        let random = half.as_nanos() * u128::from(jitter) / u128::from(u16::MAX);
        full - half + Duration::from_nanos(u64::try_from(random).unwrap_or(u64::MAX))
    }

    /// What becomes of a message before it is tried: nothing, unless relay after relay got it and
    /// none came back to tell how it went.
    #[must_use]
    pub fn before_attempt(&self, attempt: u32) -> Option<Then> {
        (attempt > self.attempts.max(1)).then(|| Then::park(NEVER_SETTLED))
    }

    /// What becomes of a message whose `attempt`, counted from 1, has failed.
    #[must_use]
    pub fn after_failure(
        &self,
        attempt: u32,
        now: DateTime<Utc>,
        jitter: u16,
        error: &str,
    ) -> Then {
        if attempt >= self.attempts {
            return Then::park(error);
        }
        let delay = TimeDelta::from_std(self.delay(attempt, jitter)).unwrap_or(TimeDelta::MAX);
        match now.checked_add_signed(delay) {
            Some(at) => Then::retry(at, error),
            None => Then::park(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn delays_grow_to_the_longest_and_half_of_each_is_random() {
        let policy = RetryPolicy::default();
        let seconds = |failures, jitter| policy.delay(failures, jitter).as_secs_f32();
        assert_eq!(
            [1, 2, 3, 9, 10, u32::MAX].map(|n| seconds(n, u16::MAX)),
            [1.0, 2.0, 4.0, 256.0, 300.0, 300.0]
        );
        assert_eq!(seconds(3, 0), 2.0);
        assert!((2.9..3.1).contains(&seconds(3, u16::MAX / 2)));
        let never = RetryPolicy {
            first: Duration::MAX,
            longest: Duration::MAX,
            ..policy
        };
        assert!(never.delay(5, u16::MAX) >= Duration::MAX / 2);
    }

    #[test]
    fn the_last_failure_parks() {
        let now = Utc.timestamp_opt(0, 0).unwrap();
        let policy = RetryPolicy {
            attempts: 2,
            ..RetryPolicy::default()
        };
        assert_eq!(
            policy.after_failure(1, now, u16::MAX, "no"),
            Then::retry(now + TimeDelta::seconds(1), "no")
        );
        assert_eq!(policy.after_failure(2, now, 0, "no"), Then::park("no"));
        assert_eq!(policy.before_attempt(2), None);
        assert_eq!(policy.before_attempt(3), Some(Then::park(NEVER_SETTLED)));
        let endless = RetryPolicy {
            first: Duration::MAX,
            longest: Duration::MAX,
            ..policy
        };
        assert_eq!(endless.after_failure(1, now, 0, "no"), Then::park("no"));
    }
}

//! The months for which rows that grow without end are kept.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::StoreResult;
use crate::domain::time::Month;

/// How far ahead of the unit's time a row may be: clocks differ.
pub const AHEAD: TimeDelta = TimeDelta::minutes(5);

/// The instants that rows of growing tables may be about, as the unit sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    months: Vec<Month>,
    until: DateTime<Utc>,
}

impl Window {
    /// The window of a unit that began at `now`, with these months kept.
    #[must_use]
    pub fn new(mut months: Vec<Month>, now: DateTime<Utc>) -> Self {
        months.sort_unstable();
        months.dedup();
        Self {
            months,
            until: now + AHEAD,
        }
    }

    /// Whether a row about this instant can be written.
    #[must_use]
    pub fn holds(&self, instant: DateTime<Utc>) -> bool {
        instant <= self.until && self.months.binary_search(&Month::of(instant)).is_ok()
    }

    /// The window in words, for messages: from the oldest month kept to the latest instant.
    #[must_use]
    pub fn describe(&self) -> String {
        match self.months.first() {
            Some(first) => format!(
                "from {first} to {}",
                self.until.format("%Y-%m-%dT%H:%M:%SZ")
            ),
            None => "no month at all; create some first".to_owned(),
        }
    }
}

/// Creates the months that partition events, usage, payloads, error logs and the audit trail.
#[async_trait]
pub trait MonthDirectory: Send {
    /// The months there are, oldest first.
    async fn months(&mut self) -> StoreResult<Vec<Month>>;

    /// Creates the months from `first` to `last`, both included, as far as they are missing;
    /// answers how many it created.
    async fn ensure(&mut self, first: Month, last: Month) -> StoreResult<usize>;
}

//! Instants, half-open periods and the months that partition what grows without end.

use std::fmt;

use chrono::{DateTime, Datelike, Months, NaiveDate, SubsecRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// The instant to whole microseconds, which is all that PostgreSQL keeps.
///
/// Everything that is stored passes through here first, so that a value compares equal to itself
/// when it is read back.
#[must_use]
pub fn micros(instant: DateTime<Utc>) -> DateTime<Utc> {
    instant.trunc_subsecs(6)
}

/// A period with an end before its start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("period: the end {end} is before the start {start}")]
pub struct PeriodError {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

/// A half-open stretch of time: the start belongs to it, the end does not.
///
/// Start and end may be equal, for what happened at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "PeriodFields")]
pub struct Period {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

#[derive(Deserialize)]
struct PeriodFields {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

impl TryFrom<PeriodFields> for Period {
    type Error = PeriodError;

    fn try_from(fields: PeriodFields) -> Result<Self, PeriodError> {
        Self::new(fields.start, fields.end)
    }
}

impl Period {
    /// The period `[start, end)`, both to whole microseconds.
    ///
    /// # Errors
    /// When the end is before the start.
    pub fn new(start: DateTime<Utc>, end: DateTime<Utc>) -> Result<Self, PeriodError> {
        if end < start {
            return Err(PeriodError { start, end });
        }
        Ok(Self {
            start: micros(start),
            end: micros(end),
        })
    }

    /// The period of one instant: it starts and ends there.
    #[must_use]
    pub fn at(instant: DateTime<Utc>) -> Self {
        Self {
            start: micros(instant),
            end: micros(instant),
        }
    }

    /// The first instant of the period.
    #[must_use]
    pub fn start(&self) -> DateTime<Utc> {
        self.start
    }

    /// The first instant after the period.
    #[must_use]
    pub fn end(&self) -> DateTime<Utc> {
        self.end
    }

    /// Whether the instant is in the period.
    #[must_use]
    pub fn contains(&self, instant: DateTime<Utc>) -> bool {
        self.start <= instant && instant < self.end
    }
}

/// A calendar month in UTC: the unit in which tables that grow without end are partitioned.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Month(NaiveDate);

impl Month {
    /// The month that holds the instant.
    #[must_use]
    pub fn of(instant: DateTime<Utc>) -> Self {
        let day = instant.date_naive();
        Self(day.with_day(1).unwrap_or(day))
    }

    /// The month that begins on the day, if a month begins there.
    #[must_use]
    pub fn beginning(day: NaiveDate) -> Option<Self> {
        (day.day() == 1).then_some(Self(day))
    }

    /// Its first day.
    #[must_use]
    pub fn first_day(self) -> NaiveDate {
        self.0
    }

    /// Its first instant.
    #[must_use]
    pub fn start(self) -> DateTime<Utc> {
        self.0.and_time(chrono::NaiveTime::MIN).and_utc()
    }

    /// The first instant of the month after it.
    #[must_use]
    pub fn end(self) -> DateTime<Utc> {
        self.plus(1).start()
    }

    /// The month `months` later; the last one that chrono can name if there is none.
    #[must_use]
    pub fn plus(self, months: u32) -> Self {
        Self(
            self.0
                .checked_add_months(Months::new(months))
                .unwrap_or(self.0),
        )
    }

    /// The month `months` earlier; the first one that chrono can name if there is none.
    #[must_use]
    pub fn minus(self, months: u32) -> Self {
        Self(
            self.0
                .checked_sub_months(Months::new(months))
                .unwrap_or(self.0),
        )
    }

    /// The months from this one to `last`, both included; none when `last` is earlier.
    pub fn through(self, last: Self) -> impl Iterator<Item = Self> {
        let mut next = Some(self);
        std::iter::from_fn(move || {
            let month = next.filter(|month| *month <= last)?;
            let following = month.plus(1);
            next = (following > month).then_some(following);
            Some(month)
        })
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

impl fmt::Debug for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Month({self})")
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn a_period_is_half_open_and_refuses_to_run_backwards() {
        let (start, end) = (
            Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap(),
            Utc.with_ymd_and_hms(2026, 2, 1, 0, 0, 0).unwrap(),
        );
        let period = Period::new(start, end).unwrap();
        assert!(period.contains(start));
        assert!(!period.contains(end));
        assert!(
            Period::new(end, start)
                .unwrap_err()
                .to_string()
                .starts_with("period: the end")
        );
    }

    #[test]
    fn months_step_over_the_year() {
        let november = Month::of(Utc.with_ymd_and_hms(2026, 11, 23, 5, 0, 0).unwrap());
        assert_eq!(november.to_string(), "2026-11");
        let months: Vec<_> = november
            .through(november.plus(3))
            .map(|m| m.to_string())
            .collect();
        assert_eq!(months, ["2026-11", "2026-12", "2027-01", "2027-02"]);
        assert_eq!(november.through(november.minus(1)).count(), 0);
        assert_eq!(
            november.end(),
            Utc.with_ymd_and_hms(2026, 12, 1, 0, 0, 0).unwrap()
        );
    }
}

//! When billing periods begin and end, in the tenant's time zone.

use chrono::{DateTime, Datelike, Days, LocalResult, NaiveDate, NaiveDateTime, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};
use serde::{Deserialize, Serialize};

use super::time::{Period, micros};

/// A broken rule about billing cycles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BillingCycleError {
    /// A count of intervals out of bounds.
    #[error("interval_count {count} must be from 1 to {}", Interval::MAX_COUNT)]
    Count {
        /// What was given.
        count: u32,
    },
    /// A day that no month has.
    #[error("anchor_day {day} must be from 1 to 31")]
    Day {
        /// What was given.
        day: u32,
    },
    /// A month that no year has.
    #[error("anchor_month {month} must be from 1 to 12")]
    Month {
        /// What was given.
        month: u32,
    },
    /// A day of the month for an interval that is not counted in months.
    #[error("anchor_day {day} must be left out: an interval of days or weeks has none")]
    NoDay {
        /// What was given.
        day: u32,
    },
    /// A day on which the anchor is not.
    #[error(
        "anchor_day {day} does not fit the anchor, which is on day {anchor}; it must be {anchor}, \
         or a later day when the month ends there"
    )]
    Anchor {
        /// What was given.
        day: u32,
        /// The anchor's day of the month.
        anchor: u32,
    },
    /// A boundary beyond what can be told.
    #[error("boundary {number} of the billing cycle is beyond the years that can be told")]
    Range {
        /// The number of the boundary, counted from the anchor.
        number: i64,
    },
}

/// What an interval is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IntervalUnit {
    /// Days of the calendar, which last 23 to 25 hours.
    Day,
    /// Seven days.
    Week,
    /// Months of the calendar.
    Month,
    /// Twelve months.
    Year,
}

impl IntervalUnit {
    /// The name that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }
}

/// The length of a billing period: so many days, weeks, months or years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "IntervalFields")]
pub struct Interval {
    interval: IntervalUnit,
    interval_count: u32,
}

#[derive(Deserialize)]
struct IntervalFields {
    interval: IntervalUnit,
    #[serde(default = "once")]
    interval_count: u32,
}

fn once() -> u32 {
    1
}

impl TryFrom<IntervalFields> for Interval {
    type Error = BillingCycleError;

    fn try_from(fields: IntervalFields) -> Result<Self, BillingCycleError> {
        Self::new(fields.interval, fields.interval_count)
    }
}

impl Interval {
    /// The most units of an interval.
    pub const MAX_COUNT: u32 = 1_000;
    /// One month.
    pub const MONTH: Self = Self {
        interval: IntervalUnit::Month,
        interval_count: 1,
    };
    /// One year.
    pub const YEAR: Self = Self {
        interval: IntervalUnit::Year,
        interval_count: 1,
    };

    /// So many units.
    ///
    /// # Errors
    /// `Count` for none, and for more than 1,000.
    pub fn new(unit: IntervalUnit, count: u32) -> Result<Self, BillingCycleError> {
        if !(1..=Self::MAX_COUNT).contains(&count) {
            return Err(BillingCycleError::Count { count });
        }
        Ok(Self {
            interval: unit,
            interval_count: count,
        })
    }

    /// What it is counted in.
    #[must_use]
    pub fn unit(self) -> IntervalUnit {
        self.interval
    }

    /// How many units it has.
    #[must_use]
    pub fn count(self) -> u32 {
        self.interval_count
    }

    /// Its length in months, or else in days.
    fn length(self) -> Length {
        let count = i64::from(self.interval_count);
        match self.interval {
            IntervalUnit::Day => Length::Days(count),
            IntervalUnit::Week => Length::Days(7 * count),
            IntervalUnit::Month => Length::Months(count),
            IntervalUnit::Year => Length::Months(12 * count),
        }
    }
}

#[derive(Clone, Copy)]
enum Length {
    Days(i64),
    Months(i64),
}

/// The boundaries between billing periods: an anchor, and every interval from there in both
/// directions.
///
/// Boundary `n` is the anchor's local date plus `n` intervals, at the anchor's local time. It is
/// always counted from the anchor and never from another boundary: a cycle anchored on January 31
/// has boundaries on February 28 or 29, March 31, April 30. A day that a month has not is its last.
///
/// Where the clock jumps forward over the local time of a boundary, the boundary is the end of the
/// jump; where it goes back and the time comes twice, it is the first of them. The anchor itself
/// is the instant that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "BillingCycleFields")]
pub struct BillingCycle {
    anchor: DateTime<Utc>,
    anchor_day: Option<u32>,
    zone: Tz,
    #[serde(flatten)]
    interval: Interval,
}

#[derive(Deserialize)]
struct BillingCycleFields {
    anchor: DateTime<Utc>,
    #[serde(default)]
    anchor_day: Option<u32>,
    zone: Tz,
    interval: IntervalUnit,
    #[serde(default = "once")]
    interval_count: u32,
}

impl TryFrom<BillingCycleFields> for BillingCycle {
    type Error = BillingCycleError;

    fn try_from(fields: BillingCycleFields) -> Result<Self, BillingCycleError> {
        let interval = Interval::new(fields.interval, fields.interval_count)?;
        let cycle = Self::new(fields.anchor, interval, fields.zone);
        match fields.anchor_day {
            Some(day) => cycle.with_anchor_day(day),
            None => Ok(cycle),
        }
    }
}

/// A billing period and the part of it that a subscription is billed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BillingPeriod {
    /// From boundary to boundary: the denominator of every proration.
    pub whole: Period,
    /// What is left of it from the subscription's start: shorter for the first period only.
    pub billed: Period,
}

impl BillingCycle {
    /// The cycle through an instant.
    #[must_use]
    pub fn new(anchor: DateTime<Utc>, interval: Interval, zone: Tz) -> Self {
        Self {
            anchor: micros(anchor),
            anchor_day: None,
            zone,
            interval,
        }
    }

    /// The cycle with boundaries on a later day than the anchor's, where the anchor's month ends
    /// before it: anchored on February 29 for day 31.
    ///
    /// # Errors
    /// `Day`, `NoDay`, and `Anchor` for a day on which the anchor is not.
    pub fn with_anchor_day(mut self, day: u32) -> Result<Self, BillingCycleError> {
        if !(1..=31).contains(&day) {
            return Err(BillingCycleError::Day { day });
        }
        if matches!(self.interval.length(), Length::Days(_)) {
            return Err(BillingCycleError::NoDay { day });
        }
        let date = self.local().date();
        if on_day(month_of(date), day) != Some(date) {
            return Err(BillingCycleError::Anchor {
                day,
                anchor: date.day(),
            });
        }
        self.anchor_day = Some(day);
        Ok(self)
    }

    /// The cycle of a subscription that starts at an instant and is billed on a day of the month,
    /// at the local time of its start; for intervals longer than a month, counted from a month too.
    ///
    /// Without a month, the first boundary is the first such day on or after the start.
    ///
    /// # Errors
    /// `Day`, `Month`, `NoDay`, and `Range` for a start at the end of time.
    pub fn on_day_of_month(
        start: DateTime<Utc>,
        day: u32,
        month: Option<u32>,
        interval: Interval,
        zone: Tz,
    ) -> Result<Self, BillingCycleError> {
        if !(1..=31).contains(&day) {
            return Err(BillingCycleError::Day { day });
        }
        if let Some(month) = month.filter(|month| !(1..=12).contains(month)) {
            return Err(BillingCycleError::Month { month });
        }
        let Length::Months(step) = interval.length() else {
            return Err(BillingCycleError::NoDay { day });
        };
        let local = micros(start).with_timezone(&zone).naive_local();
        let this = month_of(local.date());
        // A start in a month that has the day already behind it waits for the next.
        let reached = on_day(this, day).is_none_or(|date| date < local.date());
        let first = match month {
            None => this + i64::from(reached),
            Some(month) => {
                let ahead = (i64::from(month) - 1 - this).rem_euclid(12);
                this + if ahead == 0 && reached { 12 } else { ahead }
            }
        };
        // Any boundary can be the anchor; one whose local time exists keeps that time.
        let times = (0..24).filter_map(|n| {
            let time = on_day(first + n * step, day)?.and_time(local.time());
            let shown = zone.from_local_datetime(&time).earliest();
            shown.map(|instant| instant.with_timezone(&Utc))
        });
        let anchor = times
            .into_iter()
            .next()
            .ok_or(BillingCycleError::Range { number: 0 })?;
        Self::new(anchor, interval, zone).with_anchor_day(day)
    }

    /// The instant that all boundaries are counted from.
    #[must_use]
    pub fn anchor(&self) -> DateTime<Utc> {
        self.anchor
    }

    /// The day of the month of the boundaries, where it is not the anchor's.
    #[must_use]
    pub fn anchor_day(&self) -> Option<u32> {
        self.anchor_day
    }

    /// The cycle that goes on from one of this one's boundaries, or from any other instant, with
    /// another interval. From a boundary that was moved to a month's last day the day is kept, where
    /// both intervals are counted in months.
    #[must_use]
    pub fn continued(&self, from: DateTime<Utc>, interval: Interval) -> Self {
        let next = Self::new(from, interval, self.zone);
        let in_months = |interval: Interval| matches!(interval.length(), Length::Months(_));
        let day = self.anchor_day.unwrap_or(self.local().day());
        let at_boundary = self.number_at(from).and_then(|n| self.boundary(n)) == Ok(micros(from));
        if in_months(self.interval) && at_boundary {
            next.with_anchor_day(day).unwrap_or(next)
        } else {
            next
        }
    }

    /// The length of a period.
    #[must_use]
    pub fn interval(&self) -> Interval {
        self.interval
    }

    /// The time zone.
    #[must_use]
    pub fn zone(&self) -> Tz {
        self.zone
    }

    fn local(&self) -> NaiveDateTime {
        self.anchor.with_timezone(&self.zone).naive_local()
    }

    /// The boundary so many intervals after the anchor, or before it for a negative number.
    ///
    /// # Errors
    /// `Range` for a boundary beyond the years that chrono can tell.
    pub fn boundary(&self, number: i64) -> Result<DateTime<Utc>, BillingCycleError> {
        if number == 0 {
            return Ok(self.anchor);
        }
        let local = self.local();
        let date = match self.interval.length() {
            Length::Days(days) => days
                .checked_mul(number)
                .and_then(|days| plus_days(local.date(), days)),
            Length::Months(months) => months.checked_mul(number).and_then(|months| {
                let day = self.anchor_day.unwrap_or(local.day());
                on_day(month_of(local.date()).checked_add(months)?, day)
            }),
        };
        date.and_then(|date| instant(date.and_time(local.time()), self.zone))
            .ok_or(BillingCycleError::Range { number })
    }

    /// The number of the period that holds the instant: it begins at the boundary of that number.
    ///
    /// # Errors
    /// `Range`, as [`Self::boundary`].
    pub fn number_at(&self, at: DateTime<Utc>) -> Result<i64, BillingCycleError> {
        let (from, to) = (
            self.local().date(),
            at.with_timezone(&self.zone).date_naive(),
        );
        let mut number = match self.interval.length() {
            Length::Days(days) => (to - from).num_days().div_euclid(days),
            Length::Months(months) => (month_of(to) - month_of(from)).div_euclid(months),
        };
        // The guess is off by one where the day or the time within it decides.
        while self.boundary(number)? > at {
            number -= 1;
        }
        while self.boundary(number + 1)? <= at {
            number += 1;
        }
        Ok(number)
    }

    /// The period from a boundary to the next one.
    ///
    /// # Errors
    /// `Range`, as [`Self::boundary`].
    pub fn period(&self, number: i64) -> Result<Period, BillingCycleError> {
        let (start, end) = (self.boundary(number)?, self.boundary(number + 1)?);
        Period::new(start, end).map_err(|_| BillingCycleError::Range { number })
    }

    /// The period that holds the instant. A boundary belongs to the period that it begins.
    ///
    /// # Errors
    /// `Range`, as [`Self::boundary`].
    pub fn period_at(&self, at: DateTime<Utc>) -> Result<Period, BillingCycleError> {
        self.period(self.number_at(at)?)
    }

    /// The first boundary at the instant or after it.
    ///
    /// # Errors
    /// `Range`, as [`Self::boundary`].
    pub fn first_boundary(&self, from: DateTime<Utc>) -> Result<DateTime<Utc>, BillingCycleError> {
        let period = self.period_at(from)?;
        let at_start = period.start() == micros(from);
        Ok(if at_start {
            period.start()
        } else {
            period.end()
        })
    }

    /// The period that holds the instant, for a subscription that started at `start`; `None` for
    /// an instant before it.
    ///
    /// # Errors
    /// `Range`, as [`Self::boundary`].
    pub fn billed_at(
        &self,
        start: DateTime<Utc>,
        at: DateTime<Utc>,
    ) -> Result<Option<BillingPeriod>, BillingCycleError> {
        if at < start {
            return Ok(None);
        }
        self.clipped(start, self.number_at(at)?).map(Some)
    }

    /// The periods of a subscription from its start on; the first is short where it starts between
    /// boundaries.
    pub fn periods_from(
        &self,
        start: DateTime<Utc>,
    ) -> impl Iterator<Item = Result<BillingPeriod, BillingCycleError>> {
        let (cycle, start) = (*self, micros(start));
        let mut number = cycle.number_at(start);
        std::iter::from_fn(move || {
            let period = number.clone().and_then(|n| cycle.clipped(start, n));
            number = number.clone().map(|number| number + 1);
            Some(period)
        })
    }

    fn clipped(
        &self,
        start: DateTime<Utc>,
        number: i64,
    ) -> Result<BillingPeriod, BillingCycleError> {
        let whole = self.period(number)?;
        let billed = Period::new(whole.start().max(start), whole.end());
        Ok(BillingPeriod {
            whole,
            billed: billed.map_err(|_| BillingCycleError::Range { number })?,
        })
    }
}

/// The whole months from one day to another, by the rule of the boundaries: a month has passed on
/// the same day of the next, or on its last where it has no such day. Negative for a day before.
#[must_use]
pub fn whole_months(from: NaiveDate, to: NaiveDate) -> i64 {
    if to < from {
        return -whole_months(to, from);
    }
    let months = month_of(to) - month_of(from);
    let passed = on_day(month_of(to), from.day()).is_none_or(|day| day <= to);
    months - i64::from(!passed)
}

/// The number of a month, counted from the year 0.
pub(super) fn month_of(date: NaiveDate) -> i64 {
    i64::from(date.year()) * 12 + i64::from(date.month0())
}

/// The day of a month, or its last.
fn on_day(month: i64, day: u32) -> Option<NaiveDate> {
    let year = i32::try_from(month.div_euclid(12)).ok()?;
    let month = u32::try_from(month.rem_euclid(12)).ok()? + 1;
    (day.min(28)..=day)
        .rev()
        .find_map(|day| NaiveDate::from_ymd_opt(year, month, day))
}

fn plus_days(date: NaiveDate, days: i64) -> Option<NaiveDate> {
    let distance = Days::new(days.unsigned_abs());
    if days < 0 {
        date.checked_sub_days(distance)
    } else {
        date.checked_add_days(distance)
    }
}

/// The instant of a local time: the first of two, or the end of the jump that leaves it out.
pub(super) fn instant(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => {
            Some(instant.with_timezone(&Utc))
        }
        LocalResult::None => {
            let end = GapInfo::new(&local, &zone)?.end?;
            Some(end.with_timezone(&Utc))
        }
    }
}

#[cfg(test)]
mod tests;

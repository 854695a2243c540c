//! The windows over which limits count.

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::domain::billing_cycle::instant;
use crate::domain::catalogue::{LimitName, LimitWindow};
use crate::domain::time::Period;

/// One window of one limit: what has a counter of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LimitSpan {
    /// The limit.
    pub limit: LimitName,
    /// The first instant of the window; that of 1970 for a limit on what there is at one time.
    pub start: DateTime<Utc>,
    /// The first instant after it, when the count begins anew; `None` for one that never ends.
    pub end: Option<DateTime<Utc>>,
}

/// The start and the end of the window that holds an instant.
///
/// Days and months are those of the zone: they begin at midnight, or where the clock jumps over
/// midnight, at the end of the jump. A billing period that does not hold the instant, or is not
/// there, gives way to the month.
#[must_use]
pub fn window_at(
    window: LimitWindow,
    zone: Tz,
    billing_period: Option<Period>,
    at: DateTime<Utc>,
) -> (DateTime<Utc>, Option<DateTime<Utc>>) {
    let today = at.with_timezone(&zone).date_naive();
    let begin = |day: NaiveDate| instant(day.and_time(NaiveTime::MIN), zone);
    let first = today.with_day(1).unwrap_or(today);
    let month = (begin(first), first.checked_add_months(Months::new(1)));
    let (start, next) = match (window, billing_period) {
        (LimitWindow::Lifetime, _) => return (DateTime::UNIX_EPOCH, None),
        (LimitWindow::BillingPeriod, Some(period)) if period.contains(at) => {
            return (period.start(), Some(period.end()));
        }
        (LimitWindow::Day, _) => (begin(today), today.succ_opt()),
        (LimitWindow::Month | LimitWindow::BillingPeriod, _) => month,
    };
    // Only the last days that a calendar can tell have no midnight.
    (start.unwrap_or(DateTime::UNIX_EPOCH), next.and_then(begin))
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone};
    use proptest::prelude::*;

    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn at(window: LimitWindow, zone: Tz, text: &str) -> (DateTime<Utc>, DateTime<Utc>) {
        let (start, end) = window_at(window, zone, None, utc(text));
        (start, end.unwrap())
    }

    #[test]
    fn days_and_months_are_the_tenants() {
        let zone = Tz::Europe__Madrid;
        assert_eq!(
            at(LimitWindow::Month, zone, "2026-10-31T23:30:00Z"),
            (utc("2026-10-31T23:00:00Z"), utc("2026-11-30T23:00:00Z")),
            "November there"
        );
        let spring = at(LimitWindow::Day, zone, "2026-03-29T12:00:00Z");
        assert_eq!(spring.1 - spring.0, TimeDelta::hours(23));
        let autumn = at(LimitWindow::Day, zone, "2026-10-25T12:00:00Z");
        assert_eq!(autumn.1 - autumn.0, TimeDelta::hours(25));
        assert_eq!(
            at(LimitWindow::BillingPeriod, zone, "2026-10-31T23:30:00Z").0,
            utc("2026-10-31T23:00:00Z"),
            "without a billing period the month counts"
        );
    }

    #[test]
    fn a_day_without_a_midnight_begins_where_the_clock_has_jumped_to() {
        // In Beirut the clock jumps from 00:00 to 01:00 on 2026-03-29.
        let zone = Tz::Asia__Beirut;
        let day = at(LimitWindow::Day, zone, "2026-03-29T12:00:00Z");
        assert_eq!(day.0, utc("2026-03-28T22:00:00Z"));
        let before = at(LimitWindow::Day, zone, "2026-03-28T12:00:00Z");
        assert_eq!(before.1, day.0);
    }

    #[test]
    fn a_billing_period_counts_while_it_lasts() {
        let period = Period::new(utc("2026-11-05T10:00:00Z"), utc("2026-12-05T10:00:00Z")).unwrap();
        let of = |text| {
            let window = LimitWindow::BillingPeriod;
            window_at(window, Tz::UTC, Some(period), utc(text))
        };
        assert_eq!(
            of("2026-11-05T10:00:00Z"),
            (period.start(), Some(period.end()))
        );
        assert_eq!(of("2026-12-05T10:00:00Z").0, utc("2026-12-01T00:00:00Z"));
        assert_eq!(
            window_at(LimitWindow::Lifetime, Tz::UTC, Some(period), period.start()),
            (DateTime::UNIX_EPOCH, None)
        );
    }

    proptest! {
        #[test]
        fn every_instant_is_in_one_window(
            second in 0_i64..4_000_000_000,
            zone in prop::sample::select(&[
                Tz::UTC, Tz::Europe__Madrid, Tz::America__Sao_Paulo, Tz::Asia__Beirut,
                Tz::Australia__Lord_Howe, Tz::Pacific__Apia, Tz::America__Havana,
            ]),
            window in prop::sample::select(&[LimitWindow::Day, LimitWindow::Month]),
        ) {
            let instant = Utc.timestamp_opt(second, 0).unwrap();
            let (start, end) = window_at(window, zone, None, instant);
            let end = end.unwrap();
            prop_assert!(start <= instant && instant < end, "{start} {instant} {end}");
            prop_assert_eq!(window_at(window, zone, None, start), (start, Some(end)));
            let next = window_at(window, zone, None, end);
            prop_assert_eq!(next.0, end);
        }
    }
}

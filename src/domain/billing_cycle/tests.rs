//! Boundaries over short months, leap years and clock changes.

use proptest::prelude::*;

use super::*;

fn t(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn zone(name: &str) -> Tz {
    name.parse().unwrap()
}

fn boundaries(cycle: &BillingCycle, numbers: std::ops::Range<i64>) -> Vec<String> {
    numbers
        .map(|number| cycle.boundary(number).unwrap().to_rfc3339())
        .collect()
}

/// The local time of each boundary, with its offset.
fn local(cycle: &BillingCycle, numbers: std::ops::Range<i64>) -> Vec<String> {
    numbers
        .map(|number| {
            let boundary = cycle.boundary(number).unwrap();
            boundary.with_timezone(&cycle.zone()).to_rfc3339()
        })
        .collect()
}

#[test]
fn boundaries_are_counted_from_the_anchor_and_never_chained() {
    let cycle = BillingCycle::new(t("2024-01-31T15:00:00Z"), Interval::MONTH, Tz::UTC);
    assert_eq!(
        boundaries(&cycle, -2..4),
        [
            "2023-11-30T15:00:00+00:00",
            "2023-12-31T15:00:00+00:00",
            "2024-01-31T15:00:00+00:00",
            "2024-02-29T15:00:00+00:00",
            "2024-03-31T15:00:00+00:00",
            "2024-04-30T15:00:00+00:00",
        ]
    );
    let leap = BillingCycle::new(t("2020-02-29T00:00:00Z"), Interval::YEAR, Tz::UTC);
    let days: Vec<_> = (0..6)
        .map(|n| leap.boundary(n).unwrap().date_naive().to_string())
        .collect();
    assert_eq!(
        days,
        [
            "2020-02-29",
            "2021-02-28",
            "2022-02-28",
            "2023-02-28",
            "2024-02-29",
            "2025-02-28"
        ]
    );
}

#[test]
fn a_day_of_the_month_may_be_later_than_the_first_boundary() {
    let cycle = BillingCycle::on_day_of_month(
        t("2012-01-31T00:00:00Z"),
        30,
        None,
        Interval::MONTH,
        Tz::UTC,
    )
    .unwrap();
    assert_eq!(
        cycle.first_boundary(t("2012-01-31T00:00:00Z")),
        Ok(t("2012-02-29T00:00:00Z"))
    );
    assert_eq!(cycle.boundary(1), Ok(t("2012-03-30T00:00:00Z")));
    let yearly = BillingCycle::on_day_of_month(
        t("2025-07-10T00:00:00Z"),
        1,
        Some(4),
        Interval::YEAR,
        Tz::UTC,
    )
    .unwrap();
    assert_eq!(
        yearly.period_at(t("2025-07-10T00:00:00Z")).unwrap(),
        Period::new(t("2025-04-01T00:00:00Z"), t("2026-04-01T00:00:00Z")).unwrap()
    );
}

#[test]
fn the_first_period_is_short_and_its_denominator_is_not() {
    let cycle = BillingCycle::new(t("2025-01-31T15:00:00Z"), Interval::MONTH, Tz::UTC);
    let start = t("2025-07-10T15:00:00Z");
    let periods: Vec<_> = cycle
        .periods_from(start)
        .take(3)
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        periods.iter().map(|p| p.billed.start()).collect::<Vec<_>>(),
        [start, t("2025-07-31T15:00:00Z"), t("2025-08-31T15:00:00Z")]
    );
    assert_eq!(periods[0].whole.start(), t("2025-06-30T15:00:00Z"));
    assert_eq!(cycle.billed_at(start, start), Ok(Some(periods[0])));
    assert_eq!(cycle.billed_at(start, t("2025-07-10T14:59:59Z")), Ok(None));
}

/// Madrid jumps from 02:00 to 03:00 on 2025-03-30 and goes back from 03:00 to 02:00 on 2025-10-26.
#[test]
fn a_boundary_in_a_jump_is_its_end_and_one_that_comes_twice_is_the_first() {
    let madrid = zone("Europe/Madrid");
    let spring = BillingCycle::new(t("2025-01-30T01:30:00Z"), Interval::MONTH, madrid);
    assert_eq!(
        local(&spring, 0..4),
        [
            "2025-01-30T02:30:00+01:00",
            "2025-02-28T02:30:00+01:00",
            "2025-03-30T03:00:00+02:00",
            "2025-04-30T02:30:00+02:00",
        ]
    );
    let autumn = BillingCycle::new(t("2025-09-26T00:30:00Z"), Interval::MONTH, madrid);
    assert_eq!(
        local(&autumn, 0..3),
        [
            "2025-09-26T02:30:00+02:00",
            "2025-10-26T02:30:00+02:00",
            "2025-11-26T02:30:00+01:00",
        ]
    );
    // The anchor itself is kept, also the second of two.
    let second = BillingCycle::new(t("2025-10-26T01:30:00Z"), Interval::MONTH, madrid);
    assert_eq!(
        second.period_at(t("2025-10-26T01:00:00Z")).unwrap().end(),
        second.anchor()
    );
}

#[test]
fn days_follow_the_local_calendar() {
    let daily = Interval::new(IntervalUnit::Day, 1).unwrap();
    let hours = |name, anchor, count| {
        let cycle = BillingCycle::new(t(anchor), daily, zone(name));
        (0..count)
            .map(|n| {
                let period = cycle.period(n).unwrap();
                (period.end() - period.start()).num_minutes()
            })
            .collect::<Vec<_>>()
    };
    // New York, 2025-03-09 and 2025-11-02.
    assert_eq!(
        hours("America/New_York", "2025-03-08T05:00:00Z", 3),
        [1440, 1380, 1440]
    );
    assert_eq!(
        hours("America/New_York", "2025-11-01T04:00:00Z", 3),
        [1440, 1500, 1440]
    );
    // Lord Howe Island moves by half an hour.
    assert_eq!(
        hours("Australia/Lord_Howe", "2025-10-03T13:30:00Z", 3),
        [1440, 1410, 1440]
    );
    // In Beirut and Santiago midnight itself is left out: the day begins at 01:00.
    assert_eq!(
        hours("Asia/Beirut", "2025-03-28T22:00:00Z", 3),
        [1440, 1380, 1440]
    );
    // Samoa had no 2011-12-30: its period is empty.
    assert_eq!(
        hours("Pacific/Apia", "2011-12-29T10:00:00Z", 3),
        [1440, 0, 1440]
    );
}

#[test]
fn midnight_that_is_left_out_is_the_end_of_the_jump() {
    // Santiago, 2025-09-07: from 24:00 to 01:00.
    let cycle = BillingCycle::new(
        t("2025-08-07T04:00:00Z"),
        Interval::MONTH,
        zone("America/Santiago"),
    );
    assert_eq!(
        local(&cycle, 0..3),
        [
            "2025-08-07T00:00:00-04:00",
            "2025-09-07T01:00:00-03:00",
            "2025-10-07T00:00:00-03:00",
        ]
    );
}

#[test]
fn weeks_and_days_count_from_the_anchor() {
    let thirty = Interval::new(IntervalUnit::Day, 30).unwrap();
    let cycle = BillingCycle::new(t("2016-04-08T00:00:00Z"), thirty, Tz::UTC);
    assert_eq!(cycle.boundary(7), Ok(t("2016-11-04T00:00:00Z")));
    let weeks = Interval::new(IntervalUnit::Week, 2).unwrap();
    let cycle = BillingCycle::new(t("2025-01-01T00:00:00Z"), weeks, Tz::UTC);
    assert_eq!(cycle.number_at(t("2024-12-31T23:59:59Z")), Ok(-1));
    assert_eq!(cycle.number_at(t("2025-01-15T00:00:00Z")), Ok(1));
}

#[test]
fn whole_months_follow_the_same_rule() {
    for (from, to, months) in [
        ("2012-07-16", "2012-09-15", 1),
        ("2012-07-16", "2012-09-16", 2),
        ("2025-01-31", "2025-02-28", 1),
        ("2025-01-31", "2025-02-27", 0),
        ("2025-02-28", "2025-01-31", -1),
        ("2025-01-01", "2025-01-01", 0),
    ] {
        assert_eq!(whole_months(day(from), day(to)), months, "{from} {to}");
    }
}

#[test]
fn what_is_no_cycle_says_why() {
    let feb = BillingCycle::new(t("2025-02-28T00:00:00Z"), Interval::MONTH, Tz::UTC);
    let daily = Interval::new(IntervalUnit::Day, 1).unwrap();
    let on = |day, month, interval| {
        BillingCycle::on_day_of_month(t("2025-01-01T00:00:00Z"), day, month, interval, Tz::UTC)
    };
    for (error, message) in [
        (
            Interval::new(IntervalUnit::Day, 0).unwrap_err(),
            "interval_count 0 must be from 1 to 1000",
        ),
        (
            feb.with_anchor_day(27).unwrap_err(),
            "anchor_day 27 does not fit the anchor, which is on day 28; it must be 28, or a later \
             day when the month ends there",
        ),
        (
            on(32, None, Interval::MONTH).unwrap_err(),
            "anchor_day 32 must be from 1 to 31",
        ),
        (
            on(1, Some(13), Interval::YEAR).unwrap_err(),
            "anchor_month 13 must be from 1 to 12",
        ),
        (
            on(1, None, daily).unwrap_err(),
            "anchor_day 1 must be left out: an interval of days or weeks has none",
        ),
        (
            feb.boundary(i64::MAX).unwrap_err(),
            "boundary 9223372036854775807 of the billing cycle is beyond the years that can be told",
        ),
    ] {
        assert_eq!(error.to_string(), message);
    }
    assert!(feb.with_anchor_day(31).is_ok());
}

#[test]
fn a_cycle_reads_and_writes() {
    let json = serde_json::json!({
        "anchor": "2024-02-29T00:00:00Z", "anchor_day": 31, "zone": "Europe/Madrid",
        "interval": "month", "interval_count": 3,
    });
    // Midnight of Greenwich is one in the morning of the 29th in Madrid.
    let cycle: BillingCycle = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(cycle).unwrap(), json);
}

fn cycles() -> impl Strategy<Value = BillingCycle> {
    let unit = prop::sample::select(vec![
        IntervalUnit::Day,
        IntervalUnit::Week,
        IntervalUnit::Month,
        IntervalUnit::Year,
    ]);
    let zones = prop::sample::select(vec![
        "UTC",
        "Europe/Madrid",
        "America/New_York",
        "Asia/Kathmandu",
        "Pacific/Apia",
        "Australia/Lord_Howe",
        "Africa/Casablanca",
        "America/Santiago",
    ]);
    (0..2_000_000_000_i64, unit, 1..=12_u32, zones).prop_map(|(anchor, unit, count, name)| {
        let anchor = DateTime::from_timestamp(anchor, 0).unwrap();
        BillingCycle::new(anchor, Interval::new(unit, count).unwrap(), zone(name))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every instant is in exactly one period, and periods touch.
    #[test]
    fn there_is_no_hole_in_time(cycle in cycles(), at in 0..2_000_000_000_i64) {
        let at = DateTime::from_timestamp(at, 0).unwrap();
        let number = cycle.number_at(at).unwrap();
        let period = cycle.period(number).unwrap();
        prop_assert!(period.contains(at));
        prop_assert_eq!(cycle.period(number + 1).unwrap().start(), period.end());
        prop_assert!(!cycle.period(number + 1).unwrap().contains(at));
        let boundary = cycle.first_boundary(at).unwrap();
        prop_assert!(boundary == period.start() && boundary == at || boundary == period.end());
    }

    #[test]
    fn a_day_of_the_month_is_kept_wherever_it_exists(
        start in 0..2_000_000_000_i64,
        day in 1..=31_u32,
        months in 1..=12_u32,
        number in -24..24_i64,
    ) {
        let start = DateTime::from_timestamp(start, 0).unwrap();
        let interval = Interval::new(IntervalUnit::Month, months).unwrap();
        let cycle = BillingCycle::on_day_of_month(start, day, None, interval, Tz::UTC).unwrap();
        let first = cycle.first_boundary(start).unwrap();
        prop_assert!(start <= first && (first - start).num_days() <= 31);
        let boundary = cycle.boundary(number).unwrap().date_naive();
        let last = on_day(month_of(boundary), 31).unwrap().day();
        prop_assert_eq!(boundary.day(), day.min(last));
    }
}

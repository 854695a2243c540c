//! Parts of periods: worked examples and the laws of telescoping.

use proptest::prelude::*;

use super::*;

fn t(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn period(start: &str, end: &str) -> Period {
    let at = |day: &str| t(&format!("{day}T00:00:00Z"));
    Period::new(at(start), at(end)).unwrap()
}

fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::EUR).unwrap()
}

fn fixed(days: u32) -> ProrationPolicy {
    ProrationPolicy::FixedDays(NonZeroU32::new(days).unwrap())
}

#[test]
fn the_denominator_is_the_whole_period() {
    let quarter = period("2025-10-01", "2026-01-01");
    let days = Proration::new(quarter, ProrationPolicy::Day, Tz::UTC);
    let part = period("2025-10-08", "2026-01-01");
    assert_eq!(days.fraction(part).to_string(), "85/92");
    let nine = days.fraction(part).to_decimal(9, Rounding::HalfUp);
    assert_eq!(nine, Some("0.923913043".parse().unwrap()));
    let january = period("2024-01-01", "2024-02-01");
    let rest = Period::new(t("2024-01-21T21:55:18Z"), january.end()).unwrap();
    let seconds = Proration::new(january, ProrationPolicy::Second, Tz::UTC);
    assert_eq!(seconds.part_amount(eur(2000), rest), Ok(eur(651)));
}

#[test]
fn fixed_days_cost_the_same_in_every_month() {
    for (start, change, end, days) in [
        ("2023-05-23", "2023-06-15", "2023-06-23", 22),
        ("2024-02-23", "2024-03-15", "2024-03-23", 22),
        ("2025-01-31", "2025-02-28", "2025-02-28", 30),
        ("2025-01-28", "2025-02-14", "2025-02-28", 16),
        ("2025-02-28", "2025-03-31", "2025-03-31", 30),
    ] {
        let proration = Proration::new(period(start, end), fixed(30), Tz::UTC);
        let fraction = proration.fraction(period(start, change));
        assert_eq!(
            (fraction.numerator(), fraction.denominator()),
            (days, 30),
            "{start}"
        );
    }
    let week = Proration::new(period("2025-01-01", "2025-01-08"), fixed(30), Tz::UTC);
    assert_eq!(week.whole_units(), 7);
}

#[test]
fn days_are_those_of_the_local_calendar() {
    let madrid: Tz = "Europe/Madrid".parse().unwrap();
    let march = Period::new(t("2025-02-28T23:00:00Z"), t("2025-03-31T22:00:00Z")).unwrap();
    let days = Proration::new(march, ProrationPolicy::Day, madrid);
    assert_eq!(days.whole_units(), 31);
    assert_eq!(days.remaining_units(t("2025-03-30T22:30:00Z")), 1);
    assert_eq!(days.remaining_units(t("2025-03-30T21:30:00Z")), 2);
    let seconds = Proration::new(march, ProrationPolicy::Second, madrid);
    assert_eq!(seconds.whole_units(), 31 * 86_400 - 3_600);
}

#[test]
fn without_proration_the_price_is_due_at_the_start() {
    let january = period("2025-01-01", "2025-02-01");
    let none = Proration::new(january, ProrationPolicy::None, Tz::UTC);
    let first = period("2025-01-01", "2025-01-05");
    let rest = period("2025-01-05", "2025-02-01");
    assert_eq!(none.part_amount(eur(100), first), Ok(eur(100)));
    assert_eq!(none.part_amount(eur(100), rest), Ok(eur(0)));
    let change = none.change(&[eur(100)], &[eur(200)], rest.start()).unwrap();
    assert_eq!(change.lines().count(), 0);
}

#[test]
fn fractions_read_and_say_what_is_wrong() {
    let half: Fraction = "1/2".parse().unwrap();
    assert_eq!(half, Fraction::new(1, 2).unwrap());
    assert_eq!(
        Fraction::new(170, 310).unwrap().reduced().to_string(),
        "17/31"
    );
    assert_eq!(Fraction::new(0, 31).unwrap().reduced().to_string(), "0/1");
    for (text, message) in [
        (
            "half",
            "fraction `half` is not two whole numbers such as 17/31",
        ),
        (
            "1/0",
            "fraction 1/0 must have a numerator from 0 and a denominator from 1",
        ),
        (
            "-1/2",
            "fraction -1/2 must have a numerator from 0 and a denominator from 1",
        ),
    ] {
        assert_eq!(text.parse::<Fraction>().unwrap_err().to_string(), message);
    }
    let policies = [
        ProrationPolicy::Second,
        ProrationPolicy::Day,
        fixed(30),
        ProrationPolicy::None,
    ];
    assert_eq!(
        serde_json::to_string(&policies).unwrap(),
        r#"["second","day",{"fixed_days":30},"none"]"#
    );
}

fn policies() -> impl Strategy<Value = ProrationPolicy> {
    prop_oneof![
        Just(ProrationPolicy::Second),
        Just(ProrationPolicy::Day),
        (1..=31_u32).prop_map(fixed),
        Just(ProrationPolicy::None),
    ]
}

fn zones() -> impl Strategy<Value = Tz> {
    prop::sample::select(vec![
        Tz::UTC,
        Tz::Europe__Madrid,
        Tz::America__New_York,
        Tz::Pacific__Apia,
    ])
}

/// A period of at most 400 days and instants in and around it, in order.
fn instants() -> impl Strategy<Value = (Period, Vec<DateTime<Utc>>)> {
    (0..2_000_000_000_i64, 1..=34_560_000_i64).prop_flat_map(|(start, length)| {
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        let whole = Period::new(at(start), at(start + length)).unwrap();
        let inside = prop::collection::vec(start..=start + length, 0..6);
        (Just(whole), inside).prop_map(move |(whole, mut inside)| {
            inside.sort_unstable();
            (whole, inside.into_iter().map(at).collect())
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// However a period is divided, its parts sum to its price and none has the other sign.
    #[test]
    fn any_division_of_a_period_sums_exactly(
        (whole, cuts) in instants(),
        policy in policies(),
        zone in zones(),
        price in any::<i64>(),
    ) {
        let proration = Proration::new(whole, policy, zone);
        prop_assume!(proration.whole_units() > 0);
        let edges: Vec<_> = std::iter::once(whole.start()).chain(cuts).chain([whole.end()]).collect();
        let parts: Vec<_> = edges
            .windows(2)
            .map(|pair| proration.part_amount(eur(price), Period::new(pair[0], pair[1]).unwrap()).unwrap())
            .collect();
        prop_assert!(parts.iter().all(|part| part.is_zero() || part.is_negative() == (price < 0)));
        prop_assert_eq!(Money::sum(Currency::EUR, parts), Ok(eur(price)));
    }

    /// A change of plan costs what the opposite change at the same instant returns.
    #[test]
    fn an_upgrade_is_the_opposite_of_its_downgrade(
        (whole, cuts) in instants(),
        policy in policies(),
        zone in zones(),
        old in -1_000_000_000_i64..1_000_000_000,
        new in -1_000_000_000_i64..1_000_000_000,
    ) {
        let proration = Proration::new(whole, policy, zone);
        let at = cuts.first().copied().unwrap_or(whole.start());
        let up = proration.change(&[eur(old)], &[eur(new)], at).unwrap();
        let down = proration.change(&[eur(new)], &[eur(old)], at).unwrap();
        let net = |change: &PlanChange| change.net(Currency::EUR).unwrap();
        prop_assert_eq!(net(&up), net(&down).checked_neg().unwrap());
        let rest = Period::new(at, whole.end()).unwrap();
        prop_assert_eq!(up.charges[0], proration.part_amount(eur(new), rest).unwrap());
    }

    #[test]
    fn a_change_at_the_boundary_gives_no_lines(
        (whole, _) in instants(),
        policy in policies(),
        zone in zones(),
        old in any::<i32>(),
        new in any::<i32>(),
    ) {
        let proration = Proration::new(whole, policy, zone);
        let change = proration.change(&[eur(old.into())], &[eur(new.into())], whole.end()).unwrap();
        prop_assert_eq!(change.lines().count(), 0);
    }
}

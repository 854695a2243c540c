//! The laws of changes and renewals.

use chrono::TimeDelta;
use chrono_tz::Tz;
use proptest::prelude::*;

use super::tests::{SECOND, book, day, monthly, start, terms};
use super::*;
use crate::domain::billing_cycle::{Interval, IntervalUnit};
use crate::domain::money::{Currency, Money};
use crate::domain::proration::ProrationPolicy;
use crate::domain::time::Period;

fn net(lines: &[PendingLine]) -> i64 {
    lines.iter().map(|line| line.amount.minor()).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// An upgrade costs exactly what the same downgrade returns, and going there and back at one
    /// instant costs nothing.
    #[test]
    fn an_upgrade_is_the_opposite_of_the_downgrade(
        prices in prop::array::uniform4(0_i64..1_000_000),
        seats in 1_u32..500,
        minutes in 0_i64..60 * 24 * 31,
        policy in prop::sample::select(vec![SECOND, ProrationPolicy::Day, ProrationPolicy::None]),
    ) {
        let (a, b) = (monthly(1, prices[0], prices[1]), monthly(2, prices[2], prices[3]));
        let mut terms = terms();
        terms.quantity = seats;
        let now = day("2026-01-01") + TimeDelta::minutes(minutes);
        let one = start(a.version(), terms.clone(), day("2026-01-01"));
        let other = start(b.version(), terms, day("2026-01-01"));
        let up = one.change_plan(&a, &b, policy, now).unwrap().unwrap();
        let down = other.change_plan(&b, &a, policy, now).unwrap().unwrap();
        prop_assert_eq!(net(&up.lines), -net(&down.lines));
        let back = up.subscription.change_plan(&b, &a, policy, now).unwrap().unwrap();
        prop_assert_eq!(net(&up.lines) + net(&back.lines), 0);
        if minutes == 0 {
            prop_assert!(up.lines.is_empty());
        }
        for line in up.lines.iter().chain(&back.lines) {
            prop_assert_eq!(line.amount.is_negative(), line.kind == LineKind::Credit);
        }
    }

    /// However often the seats change, what was paid in advance and the lines are what the parts of
    /// the period cost; and no credit is above what a full period costs.
    #[test]
    fn changes_of_seats_sum_to_the_parts(
        price in 0_i64..1_000_000,
        steps in prop::collection::vec((1_u32..200, 1_i64..60 * 24), 1..6),
    ) {
        let book = monthly(1, 0, price);
        let mut present = start(book.version(), terms(), day("2026-01-01"));
        let (mut now, mut sum) = (day("2026-01-01"), price);
        let whole = present.current_period;
        let proration = crate::domain::proration::Proration::new(whole, SECOND, Tz::UTC);
        let part = |seats: u32, from, to| {
            let full = Money::new(price * i64::from(seats), Currency::EUR).unwrap();
            proration.part_amount(full, Period::new(from, to).unwrap()).unwrap().minor()
        };
        let mut expected = 0;
        for (seats, minutes) in steps {
            let next = now + TimeDelta::minutes(minutes);
            expected += part(present.quantity, now, next);
            if let Some(change) = present.change_quantity(&book, seats, SECOND, next).unwrap() {
                sum += net(&change.lines);
                for line in &change.lines {
                    prop_assert!(line.amount.minor() >= -price * i64::from(present.quantity));
                }
                present = change.subscription;
            }
            now = next;
        }
        expected += part(present.quantity, now, whole.end());
        prop_assert_eq!(sum, expected);
    }

    /// However late and in whatever steps, renewals come to the same period, and every period ends
    /// where the next one begins.
    #[test]
    fn renewals_do_not_depend_on_when_they_are_done(
        begin in 0_i64..60 * 24 * 400,
        unit in prop::sample::select(vec![IntervalUnit::Day, IntervalUnit::Week, IntervalUnit::Month, IntervalUnit::Year]),
        count in 1_u32..4,
        calls in prop::collection::vec(0_i64..24 * 40, 1..5),
        zone in prop::sample::select(vec![Tz::UTC, Tz::Europe__Madrid, Tz::America__New_York, Tz::Asia__Kolkata]),
    ) {
        let book = book(1, 100, 0, Interval::new(unit, count).unwrap());
        let mut terms = terms();
        terms.zone = zone;
        let begin = day("2026-01-01") + TimeDelta::minutes(begin);
        let first = start(book.version(), terms, begin);
        let to_date = |mut s: Subscription, now| {
            while let Some(change) = s.advance(now).unwrap() {
                assert_eq!(change.subscription.current_period.start(), s.current_period.end());
                s = change.subscription;
            }
            s.current_period
        };
        let (mut now, mut stepwise) = (begin, first.clone());
        for hours in calls {
            now += TimeDelta::hours(hours);
            while let Some(change) = stepwise.advance(now).unwrap() {
                stepwise = change.subscription;
            }
        }
        let at_once = to_date(first, now);
        prop_assert_eq!(stepwise.current_period, at_once);
        prop_assert_eq!(stepwise.cycle.period_at(now).unwrap(), at_once);
    }
}

//! The table of transitions, and worked examples.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use super::SubscriptionStatus as S;
use super::*;
use crate::domain::billing_cycle::Interval;
use crate::domain::catalogue::{
    Charge, ChargeCode, ChargeKind, Plan, PlanDefinition, PlanVersion, Price, PriceBook, PriceTerms,
};
use crate::domain::discount::{Coupon, CouponDuration, Off};
use crate::domain::money::{Currency, Money};
use crate::domain::proration::ProrationPolicy;
use crate::domain::text::{Name, PlanCode};
use crate::domain::time::Period;

pub(super) const SECOND: ProrationPolicy = ProrationPolicy::Second;

fn t(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

pub(super) fn day(text: &str) -> DateTime<Utc> {
    t(&format!("{text}T00:00:00Z"))
}

fn charge(code: &str, per_seat: bool) -> Charge {
    Charge {
        code: ChargeCode::new(code).unwrap(),
        name: Name::new(code).unwrap(),
        kind: ChargeKind::Recurring { per_seat },
    }
}

/// A plan with a base fee and a fee per seat, in minor units.
pub(super) fn book(number: u128, base: i64, seat: i64, interval: Interval) -> PriceBook {
    let mut definition = PlanDefinition::new(Name::new("Pro").unwrap(), interval);
    definition.charges = vec![charge("base", false), charge("seats", true)];
    let code = PlanCode::new(&format!("plan-{number}")).unwrap();
    let id = Uuid::from_u128(number);
    let (_, version) =
        Plan::create(id.into(), id.into(), code, definition, DateTime::UNIX_EPOCH).unwrap();
    let amount = |minor: i64| Money::new(minor, Currency::EUR).unwrap().to_major();
    let model = |text: String| serde_json::from_str(&text).unwrap();
    let prices = [
        (
            "base",
            format!(r#"{{"type":"flat","amount":"{}"}}"#, amount(base)),
        ),
        (
            "seats",
            format!(r#"{{"type":"per_unit","unit_amount":"{}"}}"#, amount(seat)),
        ),
    ];
    let prices = prices.into_iter().map(|(code, text)| {
        let code = ChargeCode::new(code).unwrap();
        let terms = PriceTerms::new(code, Currency::EUR, model(text));
        let epoch = DateTime::UNIX_EPOCH;
        Price::new(Uuid::from_u128(7).into(), version.id, terms, epoch, epoch)
    });
    PriceBook::new(version.clone(), prices.collect(), Vec::new())
}

pub(super) fn monthly(number: u128, base: i64, seat: i64) -> PriceBook {
    book(number, base, seat, Interval::MONTH)
}

pub(super) fn terms() -> StartTerms {
    StartTerms::new(Currency::EUR, Tz::UTC)
}

pub(super) fn start(version: &PlanVersion, terms: StartTerms, now: DateTime<Utc>) -> Subscription {
    let id = Uuid::from_u128(1).into();
    Subscription::start(id, version, terms, now)
        .unwrap()
        .subscription
}

/// A subscription in a state, in the middle of its period.
fn in_state(status: S) -> (Subscription, DateTime<Utc>) {
    let book = monthly(1, 2_900, 0);
    let begun = day("2026-01-01");
    let now = day("2026-01-01") + TimeDelta::hours(1);
    let mut terms = terms();
    match status {
        S::Trialing => terms.trial_days = 14,
        S::Incomplete | S::IncompleteExpired => terms.first_payment = FirstPayment::Required,
        _ => {}
    }
    let fresh = start(book.version(), terms, begun);
    let policy = |then| DunningPolicy {
        retry_after_seconds: Vec::new(),
        then,
    };
    let changed = match status {
        S::Incomplete | S::Trialing | S::Active => None,
        S::IncompleteExpired | S::Canceled => fresh.cancel(now).unwrap(),
        S::PastDue => fresh
            .payment_failed(1, &DunningPolicy::default(), now)
            .unwrap(),
        S::Unpaid => fresh
            .payment_failed(1, &policy(AfterDunning::Unpaid), now)
            .unwrap(),
        S::Paused => fresh.pause(None, now).unwrap(),
    };
    let subscription = changed.map_or(fresh, |change| change.subscription);
    assert_eq!(subscription.status, status);
    (subscription, now)
}

type Act =
    fn(&Subscription, DateTime<Utc>) -> Result<Option<SubscriptionChange>, SubscriptionError>;

/// Every method that goes to a state, with the states it may go from. `advance` is in a test of its
/// own, since what it does depends on the instant.
fn acts() -> Vec<(&'static str, Act)> {
    let give_up: Act = |s, now| {
        let policy = DunningPolicy {
            retry_after_seconds: Vec::new(),
            then: AfterDunning::Unpaid,
        };
        s.payment_failed(1, &policy, now)
    };
    let cancel: Act = |s, now| {
        let policy = DunningPolicy {
            retry_after_seconds: Vec::new(),
            then: AfterDunning::Cancel,
        };
        s.payment_failed(1, &policy, now)
    };
    vec![
        ("paid", |s, now| s.paid(now)),
        ("cancel", |s, now| s.cancel(now)),
        ("end_trial", |s, now| s.end_trial(now).map(Some)),
        ("pause", |s, now| s.pause(None, now)),
        ("resume", |s, now| s.resume(now).map(Some)),
        ("payment_failed", |s, now| {
            s.payment_failed(1, &DunningPolicy::default(), now)
        }),
        ("payment_failed", give_up),
        ("payment_failed", cancel),
        ("advance", |s, _| {
            let mut s = s.clone();
            s.resumes_at = s.paused_at.map(|at| at + TimeDelta::days(40));
            s.advance(day("2027-01-01"))
        }),
        ("advance", |s, _| {
            let mut s = s.clone();
            if s.status != S::Incomplete && !s.status.is_over() {
                s.cancel_at = Some(day("2026-01-03"));
                s.canceled_at = Some(day("2026-01-02"));
            }
            s.advance(day("2026-01-03"))
        }),
    ]
}

/// The rows of the table in the module's docs.
fn documented() -> Vec<(String, String, Vec<String>)> {
    include_str!("mod.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `"))
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let bare = |cell: &str| cell.replace('`', "");
            let by = bare(cells[2]).split(", ").map(str::to_owned).collect();
            (bare(cells[0]), bare(cells[1]), by)
        })
        .collect()
}

#[test]
fn all_pairs_of_states_go_as_the_table_says() {
    let table = documented();
    let mut seen = Vec::new();
    for from in S::ALL {
        for (by, act) in acts() {
            let (subscription, now) = in_state(from);
            match act(&subscription, now) {
                Ok(Some(change)) if change.subscription.status != from => {
                    let to = change.subscription.status;
                    assert!(from.may_become(to), "{by}: {from} -> {to}");
                    seen.push((from.to_string(), to.to_string(), by.to_owned()));
                }
                Ok(_) => {}
                Err(SubscriptionError::Transition {
                    by: named,
                    from: state,
                    to,
                }) => {
                    assert_eq!((named, state), (by, from));
                    let text = SubscriptionError::Transition {
                        by: named,
                        from: state,
                        to,
                    }
                    .to_string();
                    assert!(
                        text.contains(&format!("is {from};"))
                            && text.contains(&format!("become {to} ")),
                        "{text}"
                    );
                }
                Err(other) => panic!("{by} of {from}: {other}"),
            }
        }
        for to in S::ALL {
            let row = table
                .iter()
                .any(|(f, t, _)| f == from.as_str() && t == to.as_str());
            assert_eq!(row, from.may_become(to), "{from} -> {to}");
        }
    }
    // The trial that is not over when the pause ends.
    let (trial, now) = in_state(S::Trialing);
    let paused = trial.pause(None, now).unwrap().unwrap().subscription;
    assert_eq!(paused.resume(now).unwrap().subscription.status, S::Trialing);
    seen.push(("paused".into(), "trialing".into(), "resume".into()));
    for (from, to, by) in &table {
        for by in by {
            let done = seen.contains(&(from.clone(), to.clone(), by.clone()));
            assert!(done, "{from} -> {to} by {by}");
        }
    }
    for (from, to, by) in seen {
        let row = table
            .iter()
            .find(|(f, t, _)| *f == from && *t == to)
            .unwrap();
        assert!(
            row.2.contains(&by),
            "{from} -> {to} by {by} is not in the table"
        );
    }
}

#[test]
fn renewals_are_counted_from_the_anchor_however_late() {
    let book = monthly(1, 100, 0);
    let mut present = start(book.version(), terms(), day("2026-01-31"));
    let mut ends = Vec::new();
    while let Some(change) = present.advance(day("2026-05-31")).unwrap() {
        assert_eq!(change.at, present.current_period.end());
        assert_eq!(change.event, SubscriptionEvent::Renewed);
        let begun = change.begun.unwrap();
        assert_eq!(
            (begun.period, begun.whole),
            (change.subscription.current_period, begun.whole)
        );
        present = change.subscription;
        ends.push(present.current_period.end());
    }
    let expected = ["2026-03-31", "2026-04-30", "2026-05-31", "2026-06-30"];
    assert_eq!(ends, expected.map(day));
    assert_eq!(present.advance(day("2026-05-31")), Ok(None));
}

#[test]
fn a_trial_is_the_first_period_and_the_anchor_is_its_end() {
    let book = monthly(1, 100, 0);
    let mut terms = terms();
    terms.trial_days = 14;
    terms.zone = Tz::Europe__Madrid;
    // Summer time begins on March 29: 14 days of the calendar are an hour less.
    let trial = start(book.version(), terms, t("2026-03-20T11:00:00Z"));
    assert_eq!(trial.trial_end, Some(t("2026-04-03T10:00:00Z")));
    assert_eq!(trial.current_period.end(), t("2026-04-03T10:00:00Z"));
    assert!(trial.is_in_trial_period());
    let first = trial.advance(day("2026-04-04")).unwrap().unwrap();
    assert_eq!(first.event, SubscriptionEvent::TrialEnded);
    assert_eq!(
        first.subscription.current_period.end(),
        t("2026-05-03T10:00:00Z")
    );
    let early = trial.end_trial(day("2026-03-25")).unwrap().subscription;
    assert_eq!(early.current_period.start(), day("2026-03-25"));
    assert_eq!(early.trial_end, Some(day("2026-03-25")));
    assert!(!early.is_in_trial_period());
}

#[test]
fn an_anchor_day_makes_a_short_first_period() {
    let book = monthly(1, 3_100, 0);
    let mut terms = terms();
    terms.anchor_day = Some(1);
    let change = Subscription::start(
        Uuid::from_u128(1).into(),
        book.version(),
        terms,
        day("2026-01-21"),
    );
    let begun = change.unwrap().begun.unwrap();
    assert_eq!(
        begun.period,
        Period::new(day("2026-01-21"), day("2026-02-01")).unwrap()
    );
    assert_eq!(
        begun.whole,
        Period::new(day("2026-01-01"), day("2026-02-01")).unwrap()
    );
}

#[test]
fn a_change_of_plan_credits_and_charges_what_is_left() {
    let (old, new) = (monthly(1, 2_900, 0), monthly(2, 9_900, 0));
    let present = start(old.version(), terms(), day("2026-01-01"));
    let change = present
        .change_plan(&old, &new, SECOND, day("2026-01-16"))
        .unwrap();
    let change = change.unwrap();
    let lines: Vec<_> = change
        .lines
        .iter()
        .map(|line| (line.kind, line.amount.minor(), line.quantity, line.change))
        .collect();
    assert_eq!(
        lines,
        [
            (LineKind::Credit, -1_497, 1, 1),
            (LineKind::Charge, 5_110, 1, 1)
        ]
    );
    assert_eq!(change.lines[0].price.charge.as_str(), "base");
    assert_eq!(change.lines[0].plan_version, old.version().id);
    assert_eq!(
        change.lines[1].period,
        Period::new(day("2026-01-16"), day("2026-02-01")).unwrap()
    );
    assert_eq!(change.begun, None);
    assert_eq!(change.subscription.plan_version, new.version().id);
    let again = change
        .subscription
        .change_plan(&new, &new, SECOND, day("2026-01-17"));
    assert_eq!(again, Ok(None));
}

#[test]
fn seats_are_charged_at_the_prices_of_the_period() {
    let book = monthly(1, 2_900, 1_000);
    let present = start(book.version(), terms(), day("2026-01-01"));
    let change = present
        .change_quantity(&book, 3, SECOND, day("2026-01-16"))
        .unwrap();
    let change = change.unwrap();
    let lines: Vec<_> = change
        .lines
        .iter()
        .map(|line| {
            (
                line.price.charge.as_str(),
                line.amount.minor(),
                line.quantity,
            )
        })
        .collect();
    assert_eq!(
        lines,
        [("seats", -516, 1), ("seats", 1_548, 3)],
        "the base fee stays as it is"
    );
    for wrong in [0, 1_000_001] {
        let refused = present.change_quantity(&book, wrong, SECOND, day("2026-01-16"));
        assert_eq!(
            refused,
            Err(SubscriptionError::Quantity { quantity: wrong })
        );
    }
}

#[test]
fn at_the_start_of_a_period_a_change_gives_no_lines_and_the_period_has_it() {
    let (old, new) = (monthly(1, 2_900, 0), monthly(2, 9_900, 0));
    let present = start(old.version(), terms(), day("2026-01-01"));
    let overdue = present.change_plan(&old, &new, SECOND, day("2026-02-01"));
    assert_eq!(
        overdue,
        Err(SubscriptionError::Overdue {
            due: day("2026-02-01")
        })
    );
    let renewed = present
        .advance(day("2026-02-01"))
        .unwrap()
        .unwrap()
        .subscription;
    let change = renewed
        .change_plan(&old, &new, SECOND, day("2026-02-01"))
        .unwrap()
        .unwrap();
    assert!(change.lines.is_empty());
    assert_eq!(change.begun.unwrap().plan_version, new.version().id);
}

#[test]
fn another_interval_begins_a_period_at_once() {
    let (old, new) = (monthly(1, 2_900, 0), book(2, 29_000, 0, Interval::YEAR));
    let present = start(old.version(), terms(), day("2026-01-01"));
    let change = present
        .change_plan(&old, &new, SECOND, day("2026-01-16"))
        .unwrap()
        .unwrap();
    assert_eq!(change.lines.len(), 1);
    assert_eq!(change.lines[0].amount.minor(), -1_497);
    let year = Period::new(day("2026-01-16"), day("2027-01-16")).unwrap();
    assert_eq!(change.begun.unwrap().period, year);
    assert_eq!(change.subscription.current_period, year);
}

#[test]
fn what_is_pending_changes_with_the_next_period() {
    let (old, new) = (monthly(1, 100, 0), book(2, 100, 0, Interval::YEAR));
    let present = start(old.version(), terms(), day("2026-01-31"));
    let now = day("2026-02-10");
    let pending = present
        .change_plan_at_period_end(&new, now)
        .unwrap()
        .unwrap()
        .subscription;
    assert_eq!(pending.change_plan_at_period_end(&new, now), Ok(None));
    let pending = pending
        .change_quantity_at_period_end(5, now)
        .unwrap()
        .unwrap()
        .subscription;
    assert_eq!(pending.plan_version, old.version().id);
    let told = pending.upcoming(day("2027-03-01")).unwrap();
    let told: Vec<_> = told.iter().map(|told| (told.at, told.changes)).collect();
    assert_eq!(
        told,
        [(day("2026-02-28"), true), (day("2027-02-28"), false)]
    );
    let next = pending
        .advance(day("2026-02-28"))
        .unwrap()
        .unwrap()
        .subscription;
    assert_eq!((next.plan_version, next.quantity), (new.version().id, 5));
    assert_eq!(next.current_period.end(), day("2027-02-28"));
    assert!(next.pending.is_none());
    let leap = next.cycle.boundary(2).unwrap();
    assert_eq!(leap, day("2028-02-29"), "the day 31 of the anchor is kept");
    let dropped = pending.keep_plan(now).unwrap().unwrap().subscription;
    assert!(dropped.pending.is_none());
    assert_eq!(dropped.keep_plan(now), Ok(None));
}

#[test]
fn an_end_can_be_decided_and_taken_back() {
    let (present, now) = in_state(S::Active);
    let ending = present
        .cancel_at_period_end(now)
        .unwrap()
        .unwrap()
        .subscription;
    assert_eq!(
        (ending.status, ending.ends_at()),
        (S::Active, Some(day("2026-02-01")))
    );
    assert_eq!(ending.canceled_at, Some(now));
    assert_eq!(ending.cancel_at_period_end(now), Ok(None));
    let kept = ending.keep(now).unwrap().unwrap().subscription;
    assert_eq!((kept.ends_at(), kept.canceled_at), (None, None));
    let ended = ending.advance(day("2026-02-05")).unwrap().unwrap();
    assert_eq!(
        (ended.event, ended.at),
        (SubscriptionEvent::Canceled, day("2026-02-01"))
    );
    assert_eq!(ended.subscription.ended_at, Some(day("2026-02-01")));
    assert_eq!(ended.subscription.advance(day("2030-01-01")), Ok(None));
    assert_eq!(ended.subscription.cancel(now), Ok(None));
    let error = ended.subscription.keep(now).unwrap_err().to_string();
    assert_eq!(
        error,
        "subscription is canceled; `keep` needs one that is not over"
    );
    let past = present.cancel_at(now, now).unwrap_err().to_string();
    assert!(past.starts_with("cancel_at "), "{past}");
    let at = present
        .cancel_at(day("2026-01-20"), now)
        .unwrap()
        .unwrap()
        .subscription;
    assert_eq!(at.due_at(), Some(day("2026-01-20")));
}

#[test]
fn what_is_left_is_credited_where_that_is_wanted() {
    let book = monthly(1, 2_900, 0);
    let present = start(book.version(), terms(), day("2026-01-01"));
    let change = present
        .cancel_with_credit(&book, SECOND, day("2026-01-16"))
        .unwrap()
        .unwrap();
    assert_eq!(change.lines.len(), 1);
    assert_eq!(
        (change.lines[0].kind, change.lines[0].amount.minor()),
        (LineKind::Credit, -1_497)
    );
    let (trial, now) = in_state(S::Trialing);
    let change = trial
        .cancel_with_credit(&book, SECOND, now)
        .unwrap()
        .unwrap();
    assert!(change.lines.is_empty());
}

#[test]
fn a_pause_begins_no_period_and_the_next_one_lasts_to_the_boundary() {
    let book = monthly(1, 100, 0);
    let present = start(book.version(), terms(), day("2026-01-01"));
    let until = Some(day("2026-03-16"));
    let paused = present
        .pause(until, day("2026-01-10"))
        .unwrap()
        .unwrap()
        .subscription;
    assert_eq!(paused.advance(day("2026-03-01")), Ok(None));
    assert_eq!(paused.pause(until, day("2026-01-11")), Ok(None));
    let resumed = paused.advance(day("2026-03-20")).unwrap().unwrap();
    assert_eq!(
        (resumed.event, resumed.at),
        (SubscriptionEvent::Resumed, day("2026-03-16"))
    );
    let begun = resumed.begun.unwrap();
    assert_eq!(
        begun.period,
        Period::new(day("2026-03-16"), day("2026-04-01")).unwrap()
    );
    assert_eq!(
        begun.whole,
        Period::new(day("2026-03-01"), day("2026-04-01")).unwrap()
    );
    let short = present
        .pause(None, day("2026-01-10"))
        .unwrap()
        .unwrap()
        .subscription;
    let back = short.resume(day("2026-01-12")).unwrap();
    assert_eq!(back.begun, None, "its period is not over");
    let forgotten = short
        .cancel_at_period_end(day("2026-05-01"))
        .unwrap()
        .unwrap()
        .subscription;
    assert_eq!(forgotten.ended_at, Some(day("2026-05-01")));
}

#[test]
fn tries_in_vain_lead_where_the_policy_says() {
    let (present, now) = in_state(S::Active);
    let policy = DunningPolicy::default();
    assert_eq!(policy.next_try(1, now), Some(now + TimeDelta::days(3)));
    assert_eq!(policy.next_try(4, now), None);
    let due = present
        .payment_failed(1, &policy, now)
        .unwrap()
        .unwrap()
        .subscription;
    assert_eq!(due.payment_failed(2, &policy, now), Ok(None));
    let ended = due.payment_failed(4, &policy, now).unwrap().unwrap();
    assert_eq!(ended.event, SubscriptionEvent::Canceled);
    assert_eq!(
        present.payment_failed(0, &policy, now),
        Err(SubscriptionError::Attempt)
    );
    let (waiting, now) = in_state(S::Incomplete);
    assert_eq!(waiting.payment_failed(1, &policy, now), Ok(None));
    let expired = waiting
        .advance(day("2026-01-01") + TimeDelta::hours(23))
        .unwrap()
        .unwrap();
    assert_eq!(expired.event, SubscriptionEvent::Expired);
}

#[test]
fn coupons_begin_with_a_period_that_is_not_billed_yet() {
    let book = monthly(1, 100, 0);
    let coupon = |minor, currency| {
        let off = Off::AmountOff(Money::new(minor, currency).unwrap());
        Coupon::new(off, CouponDuration::Once).unwrap()
    };
    let mut terms = terms();
    terms.trial_days = 7;
    terms.coupons = vec![coupon(50, Currency::EUR)];
    let trial = start(book.version(), terms.clone(), day("2026-01-01"));
    assert_eq!(trial.coupons[0].from, day("2026-01-08"));
    let (present, now) = in_state(S::Active);
    let next = present
        .apply_coupon(coupon(1, Currency::EUR), now)
        .unwrap()
        .unwrap();
    assert_eq!(next.subscription.coupons[0].from, day("2026-02-01"));
    let error = present
        .apply_coupon(coupon(1, Currency::USD), now)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "coupon is in USD; the subscription is in EUR"
    );
    terms.coupons = vec![coupon(1, Currency::EUR); 21];
    let refused = Subscription::start(present.id, book.version(), terms, now);
    assert_eq!(
        refused.unwrap_err(),
        SubscriptionError::TooManyCoupons { count: 21 }
    );
}

#[test]
fn a_subscription_survives_json() {
    let (present, _) = in_state(S::Paused);
    let text = serde_json::to_string(&present).unwrap();
    assert_eq!(
        serde_json::from_str::<Subscription>(&text).unwrap(),
        present
    );
}

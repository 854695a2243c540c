//! Boundaries of billing periods, and proration.

use std::num::NonZeroU32;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tenantry::domain::billing_cycle::{BillingCycle, Interval, IntervalUnit, whole_months};
use tenantry::domain::money::{Currency, Money, Rounding};
use tenantry::domain::proration::{Fraction, Proration, ProrationPolicy};
use tenantry::domain::time::Period;

use super::reader::{Case, Got, Is, Node, Outcome, days, minors, say};

pub(super) fn run(kind: &str, case: &Case<'_>) -> Option<Outcome> {
    Some(match kind {
        "calendar.anchor_series" => anchor_series(case),
        "calendar.anchor_times" => anchor_times(case),
        "calendar.first_boundary" => first_boundary(case),
        "calendar.period_containing" => period_containing(case),
        "calendar.fixed_days" => fixed_days(case),
        "calendar.days" => calendar_days(case),
        "calendar.whole_months" => months(case),
        "proration.factor" => factor(case),
        "proration.partial" => partial(case),
        "proration.partial_seconds" => partial_seconds(case),
        "proration.fraction" => fraction(case),
        "proration.change" => change(case),
        _ => return None,
    })
}

fn interval(unit: IntervalUnit, count: u32) -> Got<Interval> {
    Interval::new(unit, count).map_err(say)
}

fn interval_months(case: &Case<'_>) -> Got<Interval> {
    interval(IntervalUnit::Month, case.input("interval_months").parse()?)
}

/// A cycle of a day of the month, from a start.
fn on_day(case: &Case<'_>, start: &str, interval: Interval) -> Got<BillingCycle> {
    let start = case.input(start).instant()?;
    let day = case.input("anchor_day").parse()?;
    let month = case.input("anchor_month").opt();
    let month = month.map(|month| month.parse()).transpose()?;
    BillingCycle::on_day_of_month(start, day, month, interval, Tz::UTC).map_err(say)
}

fn period(start: DateTime<Utc>, end: DateTime<Utc>) -> Got<Period> {
    Period::new(start, end).map_err(say)
}

fn between(case: &Case<'_>, start: &str, end: &str) -> Got<Period> {
    period(case.input(start).instant()?, case.input(end).instant()?)
}

/// The starts of the first periods from an instant on.
fn starts(case: &Case<'_>, cycle: BillingCycle, from: DateTime<Utc>) -> Got<Vec<DateTime<Utc>>> {
    let periods = cycle.periods_from(from).take(case.input("count").parse()?);
    let start = periods.map(|period| Ok(period.map_err(say)?.billed.start()));
    start.collect()
}

fn anchor_series(case: &Case<'_>) -> Outcome {
    let cycle = on_day(case, "first", interval_months(case)?)?;
    let starts = starts(case, cycle, case.input("first").instant()?)?;
    case.expect("boundaries", days(&starts))
}

fn anchor_times(case: &Case<'_>) -> Outcome {
    let anchor = case.input("anchor").instant()?;
    let cycle = BillingCycle::new(anchor, interval_months(case)?, Tz::UTC);
    let starts = starts(case, cycle, case.input("start").instant()?)?;
    let text = |start: &DateTime<Utc>| start.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
    case.expect("boundaries", starts.iter().map(text).collect::<Vec<_>>())
}

fn first_boundary(case: &Case<'_>) -> Outcome {
    let cycle = on_day(case, "start", Interval::MONTH)?;
    let boundary = cycle.first_boundary(case.input("start").instant()?);
    case.expect("boundary", boundary.map_err(say)?.date_naive().to_string())
}

fn period_containing(case: &Case<'_>) -> Outcome {
    let cycle = on_day(case, "first", interval_months(case)?)?;
    let (first, at) = (case.input("first").instant()?, case.input("at").instant()?);
    let period = cycle.billed_at(first, at).map_err(say)?;
    let billed = period.ok_or("before the first period")?.billed;
    case.expect("start", billed.start().date_naive().to_string())?;
    case.expect("end", billed.end().date_naive().to_string())
}

fn fixed_days(case: &Case<'_>) -> Outcome {
    let interval = interval(IntervalUnit::Day, case.input("days").parse()?)?;
    let cycle = BillingCycle::new(case.input("start").instant()?, interval, Tz::UTC);
    let boundary = cycle.boundary(case.input("count").parse()?).map_err(say)?;
    case.expect("boundary", boundary.date_naive().to_string())
}

fn calendar_days(case: &Case<'_>) -> Outcome {
    let period = between(case, "from", "to")?;
    let days = Proration::new(period, ProrationPolicy::Day, Tz::UTC).whole_units();
    case.expect("days", days)
}

fn months(case: &Case<'_>) -> Outcome {
    let (from, to) = (case.input("from").parse()?, case.input("to").parse()?);
    case.expect("months", whole_months(from, to))
}

/// A policy by its name in the vectors.
fn policy(case: &Case<'_>, name: &str) -> Got<ProrationPolicy> {
    match case.input(name).text()?.as_str() {
        "day" | "actual_days" => Ok(ProrationPolicy::Day),
        "second" | "actual_seconds" => Ok(ProrationPolicy::Second),
        "none" => Ok(ProrationPolicy::None),
        "fixed_days" => {
            let days: NonZeroU32 = case.input("fixed_days").parse()?;
            Ok(ProrationPolicy::FixedDays(days))
        }
        other => Err(format!("the policy `{other}` is not known")),
    }
}

fn factor(case: &Case<'_>) -> Outcome {
    let policy = policy(case, "method")?;
    let part = between(case, "from", "to")?;
    let fraction = match policy {
        // Fixed days come without a period: they are counted in months from the part's start.
        ProrationPolicy::FixedDays(days) => {
            let months = BillingCycle::new(part.start(), Interval::MONTH, Tz::UTC);
            let end = months.first_boundary(part.end()).map_err(say)?;
            let whole = period(part.start(), end)?;
            let counted = Proration::new(whole, policy, Tz::UTC).fraction(part);
            Fraction::new(counted.numerator(), days.get().into()).map_err(say)?
        }
        _ => {
            let whole = between(case, "period_start", "period_end")?;
            Proration::new(whole, policy, Tz::UTC).fraction(part)
        }
    };
    let nine = fraction.to_decimal(9, Rounding::HalfUp);
    case.expect("factor_9dp", nine.ok_or("too many digits")?)?;
    case.compare("days", fraction.numerator())?;
    case.compare("fraction", fraction.reduced().to_string())?;
    Ok(())
}

fn partial(case: &Case<'_>) -> Outcome {
    let amount = case.input("amount_minor").minor(Currency::EUR)?;
    let part = Fraction::new(
        case.input("numerator_days").parse()?,
        case.input("denominator_days").parse()?,
    );
    let amount = part.and_then(|part| part.of(amount, Rounding::HalfUp));
    case.expect("amount_minor", amount.map_err(say)?.minor())
}

fn partial_seconds(case: &Case<'_>) -> Outcome {
    let amount = case.input("amount_minor").minor(Currency::EUR)?;
    let whole = between(case, "period_start", "period_end")?;
    let part = between(case, "from", "to")?;
    let proration = Proration::new(whole, ProrationPolicy::Second, Tz::UTC);
    let amount = proration.part_amount(amount, part).map_err(say)?;
    case.expect("amount_minor", amount.minor())
}

fn fraction(case: &Case<'_>) -> Outcome {
    let currency = case.currency()?;
    let fraction: Fraction = case.input("fraction").parse()?;
    let old = case.input("old_minor").minor(currency)?;
    let new = case.input("new_minor").minor(currency)?;
    let change = fraction.change(&[old], &[new], Rounding::HalfUp);
    let change = change.map_err(say)?;
    let only = |amounts: &[Money]| amounts.first().map_or(0, |amount| amount.minor());
    case.expect("credit_minor", only(&change.credits))?;
    case.expect("charge_minor", only(&change.charges))?;
    case.expect("net_minor", change.net(currency).map_err(say)?.minor())
}

fn change(case: &Case<'_>) -> Outcome {
    let currency = case.currency()?;
    let amounts = |name| {
        let amounts = case.input(name).items()?;
        let minor = |node: &Node<'_>| node.minor(currency);
        amounts.iter().map(minor).collect::<Got<Vec<_>>>()
    };
    let (old, new) = (amounts("old_minor")?, amounts("new_minor")?);
    let whole = between(case, "period_start", "period_end")?;
    let proration = Proration::new(whole, policy(case, "granularity")?, Tz::UTC);
    let at = case.input("change_at").instant()?;
    let change = proration.change(&old, &new, at).map_err(say)?;
    case.expect("credits_minor", minors(&change.credits))?;
    case.expect("charges_minor", minors(&change.charges))?;
    let net: Is = change.net(currency).map_err(say)?.minor().into();
    case.expect("net_minor", net)
}

//! Aggregations of usage, and corrections of what was billed.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tenantry::domain::metering::{Aggregation, Meter, MeterName, NewUsage, UsageRecord, aggregate};
use tenantry::domain::money::{Currency, Money, Rounding};
use tenantry::domain::pricing::{PackagePrice, PriceModel, UnitPrice};
use tenantry::domain::rerate::{Rerating, period_lines};
use tenantry::domain::text::{UniqueValue, UsageKey};
use tenantry::domain::time::Period;

use super::price::model;
use super::reader::{Case, Got, Is, Node, Outcome, say};

pub(super) fn run(kind: &str, case: &Case<'_>) -> Option<Outcome> {
    Some(match kind {
        "aggregation.max" => value(case, Aggregation::Max),
        "aggregation.latest" => value(case, Aggregation::Latest),
        "aggregation.sum" => value(case, Aggregation::Sum),
        "aggregation.count" => value(case, Aggregation::Count),
        "aggregation.unique_count" => value(case, Aggregation::UniqueCount),
        "aggregation.count_windows" => count_windows(case),
        "aggregation.weighted_sum" => weighted_sum(case),
        "rerate.cumulative" => cumulative(case),
        "late.recompute" => recompute(case),
        "late.period_preserving" => period_preserving(case),
        _ => return None,
    })
}

fn record(at: DateTime<Utc>, key: &str, unique: &str, quantity: Decimal) -> Got<UsageRecord> {
    let meter = MeterName::new("m").map_err(say)?;
    let mut usage = NewUsage::new(UsageKey::new(key).map_err(say)?, meter, quantity, at);
    usage.unique_value = Some(UniqueValue::new(unique).map_err(say)?);
    UsageRecord::supplied(&usage, at).map_err(say)
}

/// The events `[instant, key, quantity]` as records.
fn events(case: &Case<'_>) -> Got<Vec<UsageRecord>> {
    let mut records = Vec::new();
    for (index, event) in case.input("events").items()?.iter().enumerate() {
        let [at, key, quantity] = &event.items()?[..] else {
            return Err("an event has not three parts".to_owned());
        };
        let unique = key.text()?;
        let key = format!("{index} {unique}");
        records.push(record(at.instant()?, &key, &unique, quantity.decimal()?)?);
    }
    Ok(records)
}

fn total(aggregation: Aggregation, period: Period, records: &[UsageRecord]) -> Got<Decimal> {
    let meter = Meter::new(MeterName::new("m").map_err(say)?, aggregation);
    Ok(aggregate(&meter, period, records).map_err(say)?.value)
}

fn window(node: &Node<'_>) -> Got<Period> {
    match &node.items()?[..] {
        [start, end] => Period::new(start.instant()?, end.instant()?).map_err(say),
        _ => Err("a window has not two ends".to_owned()),
    }
}

/// The whole of time that the events span, unless there is a window.
fn value(case: &Case<'_>, aggregation: Aggregation) -> Outcome {
    let records = events(case)?;
    let period = match case.input("window").opt() {
        Some(node) => window(&node)?,
        None => {
            let instants = || records.iter().map(|record| record.occurred_at);
            let (first, last) = (instants().min(), instants().max());
            let (first, last) = first.zip(last).ok_or("no events")?;
            Period::new(first, last + chrono::TimeDelta::microseconds(1)).map_err(say)?
        }
    };
    case.expect("value", total(aggregation, period, &records)?)
}

fn count_windows(case: &Case<'_>) -> Outcome {
    let records = events(case)?;
    let mut counts = Vec::new();
    for node in case.input("windows").items()? {
        counts.push(total(Aggregation::Count, window(&node)?, &records)?);
    }
    case.expect("counts", counts)
}

fn weighted_sum(case: &Case<'_>) -> Outcome {
    let start = case.input("period_start").instant()?;
    let end = case.input("period_end").instant()?;
    let period = Period::new(start, end).map_err(say)?;
    let before = start - chrono::TimeDelta::seconds(1);
    let initial = case.input("initial").decimal()?;
    let mut records = vec![record(before, "initial", "initial", initial)?];
    for (index, delta) in case.input("deltas").items()?.iter().enumerate() {
        let [at, quantity] = &delta.items()?[..] else {
            return Err("a delta has not two parts".to_owned());
        };
        let key = index.to_string();
        records.push(record(at.instant()?, &key, &key, quantity.decimal()?)?);
    }
    let mean = total(Aggregation::TimeWeightedSum, period, &records)?;
    let six = Rounding::HalfUp.round(mean, 6).ok_or("too many digits")?;
    case.expect("value_6dp", six)?;
    let unit = PriceModel::PerUnit(UnitPrice::new(Decimal::ONE).map_err(say)?);
    let amount = unit.price(mean, Currency::EUR, Rounding::HalfUp);
    case.expect("amount_minor_at_unit_1", amount.map_err(say)?.minor())
}

/// The price model inside of a case.
fn model_of(node: &Node<'_>) -> Got<PriceModel> {
    let kind = node.field("type").text()?;
    model(&kind, &|name| node.field(name))
        .unwrap_or_else(|| Err(format!("the model `{kind}` is not known")))
}

fn cumulative(case: &Case<'_>) -> Outcome {
    let currency = case.currency()?;
    let model = model_of(&case.input("model"))?;
    let mut rerating = Rerating::new(&model, currency, Rounding::HalfUp);
    if let Some(maximum) = case.input("maximum").opt() {
        rerating = rerating.with_maximum(maximum.major(currency)?);
    }
    let mut billed = Money::zero(currency).map_err(say)?;
    let mut deltas = Vec::new();
    for snapshot in case.input("snapshots").items()? {
        let delta = rerating.delta(snapshot.decimal()?, billed).map_err(say)?;
        billed = billed.checked_add(delta).map_err(say)?;
        deltas.push(delta);
    }
    case.expect("deltas", Is::from(deltas))
}

fn recompute(case: &Case<'_>) -> Outcome {
    let currency = case.currency()?;
    let size = case.input("block_size").decimal()?;
    let block = PackagePrice::new(size, case.input("block_price").decimal()?);
    let model = PriceModel::Package(block.map_err(say)?);
    let rerating = Rerating::new(&model, currency, Rounding::HalfUp);
    let mut additional = Vec::new();
    for period in case.input("periods").items()? {
        let usage = period.field("usage").items()?;
        let usage = usage.iter().map(Node::decimal).collect::<Got<Vec<_>>>()?;
        let billed = period.field("already_billed").major(currency)?;
        let due = rerating.late_charge(usage.iter().sum(), billed);
        additional.push(due.map_err(say)?);
    }
    case.expect("additional", Is::from(additional))
}

/// Each run knows the cumulative quantity at the end of each period so far.
fn period_preserving(case: &Case<'_>) -> Outcome {
    let currency = case.currency()?;
    let unit = case.input("unit").decimal()?;
    let model = PriceModel::PerUnit(UnitPrice::new(unit).map_err(say)?);
    let rerating = Rerating::new(&model, currency, Rounding::HalfUp);
    let mut billed: Vec<Money> = Vec::new();
    let (mut totals, mut last) = (Vec::new(), Vec::new());
    for run in case.input("runs").items()? {
        let cumulative = |node: &Node<'_>| rerating.cumulative(node.decimal()?).map_err(say);
        let cumulative = run
            .items()?
            .iter()
            .map(cumulative)
            .collect::<Got<Vec<_>>>()?;
        last = period_lines(&cumulative, &billed).map_err(say)?;
        let zero = Money::zero(currency).map_err(say)?;
        billed.resize(cumulative.len(), zero);
        for line in &last {
            let period = &mut billed[line.period - 1];
            *period = period.checked_add(line.amount).map_err(say)?;
        }
        let total = Money::sum(currency, last.iter().map(|line| line.amount));
        totals.push(total.map_err(say)?);
    }
    case.expect("run_totals", Is::from(totals))?;
    let wanted = case.expected("last_run_lines").items()?;
    let mut told = Vec::new();
    for line in &wanted {
        let corrects = line.field("corrects_run").opt();
        told.push((
            line.field("period").parse::<usize>()?,
            line.field("amount").major(currency)?,
            corrects.map(|run| run.parse::<usize>()).transpose()?,
        ));
    }
    let lines = last
        .iter()
        .map(|line| (line.period, line.amount, line.corrects));
    if lines.clone().eq(told.iter().copied()) {
        return Ok(());
    }
    let computed: Vec<_> = lines.collect();
    Err(format!(
        "last_run_lines are {told:?} and were computed as {computed:?}"
    ))
}

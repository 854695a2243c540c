//! What pricing a line costs: a graduated price of five tiers, rounded to cents, in tenantry, in a
//! plain loop over `rust_decimal`, in floating point and in `bigdecimal`, in one run.
//!
//! Ends with the ratios of the medians, and with how many of a million lines are off by a cent.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench is no API, and fails by panicking"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::str::FromStr;
use std::time::{Duration, Instant};

use bigdecimal::{BigDecimal, ToPrimitive};
use criterion::{BenchmarkId, Criterion, Throughput};
use rust_decimal::prelude::*;
use tenantry::domain::money::{Currency, Rounding};
use tenantry::domain::pricing::{PreparedPrice, PriceModel, Tier, Tiers};

/// Up to, price of a unit, flat amount.
const TIERS: [(&str, &str, &str); 5] = [
    ("1000", "0.0125", "0"),
    ("10000", "0.0098", "1.50"),
    ("100000", "0.0075", "0"),
    ("1000000", "0.0051", "20"),
    ("", "0.0033", "0"),
];
/// Lines per measured round.
const BATCH: usize = 1_000;
/// Lines that are compared with the exact amount.
const LINES: usize = 1_000_000;

/// Quantities of up to 2,000,000 with three decimal places, spread over the tiers by a
/// multiplicative generator (Knuth's MMIX) and a magnitude.
fn quantities(count: usize) -> Vec<Decimal> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let magnitudes = [
        1_000_000,
        10_000_000,
        100_000_000,
        1_000_000_000,
        2_000_000_000,
    ];
    (0..count)
        .map(|_| {
            let most: u64 = *magnitudes
                .get(usize::try_from(next() % 5).unwrap())
                .unwrap();
            Decimal::new(i64::try_from(next() % most).unwrap(), 3)
        })
        .collect()
}

fn tenantry() -> PreparedPrice {
    let tier = |(up_to, unit, flat): &(&str, &str, &str)| Tier {
        up_to: Decimal::from_str(up_to).ok(),
        unit_amount: unit.parse().unwrap(),
        flat_amount: flat.parse().unwrap(),
    };
    let tiers = Tiers::new(TIERS.iter().map(tier).collect()).unwrap();
    PriceModel::Graduated(tiers)
        .prepare(Currency::EUR, Rounding::HalfUp)
        .unwrap()
}

/// A tier in some kind of number.
struct Row<N> {
    up_to: Option<N>,
    unit: N,
    flat: N,
}

fn rows<N: FromStr>() -> Vec<Row<N>> {
    let parse = |text: &str| text.parse().ok();
    TIERS
        .iter()
        .map(|(up_to, unit, flat)| Row {
            up_to: parse(up_to),
            unit: parse(unit).unwrap(),
            flat: parse(flat).unwrap(),
        })
        .collect()
}

fn by_decimal(rows: &[Row<Decimal>], quantity: Decimal) -> Decimal {
    let (mut total, mut below) = (Decimal::ZERO, Decimal::ZERO);
    for row in rows {
        let top = row.up_to.map_or(quantity, |up_to| up_to.min(quantity));
        total += (top - below) * row.unit + row.flat;
        below = top;
        if row.up_to.is_none_or(|up_to| quantity <= up_to) {
            break;
        }
    }
    total.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
}

fn by_float(rows: &[Row<f64>], quantity: f64) -> i64 {
    let (mut total, mut below) = (0.0, 0.0);
    for row in rows {
        let top = row.up_to.map_or(quantity, |up_to| up_to.min(quantity));
        total += (top - below) * row.unit + row.flat;
        below = top;
        if row.up_to.is_none_or(|up_to| quantity <= up_to) {
            break;
        }
    }
    (total * 100.0).round().to_i64().unwrap()
}

fn by_bigdecimal(rows: &[Row<BigDecimal>], quantity: &BigDecimal) -> BigDecimal {
    let (mut total, mut below) = (BigDecimal::from(0), BigDecimal::from(0));
    for row in rows {
        let top = row
            .up_to
            .as_ref()
            .map_or(quantity, |up_to| up_to.min(quantity));
        total += (top - &below) * &row.unit + &row.flat;
        below = top.clone();
        if row.up_to.as_ref().is_none_or(|up_to| quantity <= up_to) {
            break;
        }
    }
    total.with_scale_round(2, bigdecimal::RoundingMode::HalfUp)
}

/// Nanoseconds per line, one for each sample of a contender.
type Samples = RefCell<BTreeMap<&'static str, Vec<f64>>>;

fn measure<Q>(
    criterion: &mut Criterion,
    samples: &Samples,
    name: &'static str,
    quantities: &[Q],
    mut price: impl FnMut(&Q),
) {
    let mut group = criterion.benchmark_group("pricing");
    group.throughput(Throughput::Elements(BATCH.to_u64().unwrap()));
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        bencher.iter_custom(|rounds| {
            let start = Instant::now();
            for round in 0..rounds {
                let from = round.to_usize().unwrap() % (quantities.len() / BATCH) * BATCH;
                for quantity in quantities.iter().skip(from).take(BATCH) {
                    price(black_box(quantity));
                }
            }
            let elapsed = start.elapsed();
            let lines = rounds.to_f64().unwrap() * BATCH.to_f64().unwrap();
            let nanoseconds = elapsed.as_secs_f64() * 1e9 / lines;
            samples
                .borrow_mut()
                .entry(name)
                .or_default()
                .push(nanoseconds);
            elapsed
        });
    });
    group.finish();
}

fn median(samples: &Samples, name: &str) -> f64 {
    let mut samples = samples.borrow().get(name).cloned().unwrap();
    samples.sort_by(f64::total_cmp);
    *samples.get(samples.len() / 2).unwrap()
}

fn main() {
    let (prepared, decimal_rows) = (tenantry(), rows::<Decimal>());
    let (float_rows, big_rows) = (rows::<f64>(), rows::<BigDecimal>());
    let decimals = quantities(LINES);
    let floats: Vec<f64> = decimals.iter().map(|q| q.to_f64().unwrap()).collect();
    let bigs: Vec<_> = decimals
        .iter()
        .map(|q| BigDecimal::from_str(&q.to_string()).unwrap())
        .collect();

    let samples = Samples::default();
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    measure(
        &mut criterion,
        &samples,
        "tenantry",
        &decimals,
        |quantity| {
            black_box(prepared.price(*quantity).unwrap());
        },
    );
    measure(
        &mut criterion,
        &samples,
        "rust_decimal",
        &decimals,
        |quantity| {
            black_box(by_decimal(&decimal_rows, *quantity));
        },
    );
    measure(&mut criterion, &samples, "f64", &floats, |quantity| {
        black_box(by_float(&float_rows, *quantity));
    });
    measure(&mut criterion, &samples, "bigdecimal", &bigs, |quantity| {
        black_box(by_bigdecimal(&big_rows, quantity));
    });
    criterion.final_summary();

    let (mut wrong, mut wrong_float) = (0, 0);
    for ((decimal, float), big) in decimals.iter().zip(&floats).zip(&bigs) {
        let exact = by_bigdecimal(&big_rows, big) * BigDecimal::from(100);
        let exact = exact.to_i64().unwrap();
        wrong += i64::from(prepared.price(*decimal).unwrap().minor() != exact);
        wrong_float += i64::from(by_float(&float_rows, *float) != exact);
    }
    // A run without samples (`cargo test --benches`) has no ratios to tell.
    if samples.borrow().values().all(|times| times.len() > 10) {
        let ours = median(&samples, "tenantry");
        let against = |name| ours / median(&samples, name);
        println!("pricing: tenantry {ours:.1} ns per line");
        println!(
            "pricing: tenantry / rust_decimal loop = {:.2} (aim 0.30)",
            against("rust_decimal")
        );
        println!(
            "pricing: tenantry / f64 loop = {:.2} (pass 2.50, aim 1.20)",
            against("f64")
        );
        println!(
            "pricing: tenantry / bigdecimal = {:.3}",
            against("bigdecimal")
        );
    }
    println!(
        "pricing: lines off by a cent in {LINES}: tenantry {wrong} (must be 0), f64 {wrong_float}"
    );
    assert_eq!(wrong, 0, "tenantry is exact");
}

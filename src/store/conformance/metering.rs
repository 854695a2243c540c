//! Usage: recorded once by its key, corrected by other records, summed exactly.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::join;
use rust_decimal::Decimal;
use serde_json::json;

use super::fixture::{Fixture, all, fails};
use crate::domain::context::Context;
use crate::domain::json::Document;
use crate::domain::metering::{
    Aggregation, Meter, MeterName, NewUsage, Recorded, UsageRecord, aggregate,
};
use crate::domain::page::{Cursor, PageRequest};
use crate::domain::text::{UniqueValue, UsageKey};
use crate::domain::time::{Month, Period};
use crate::store::{StoreErrorKind, StoreResult, UsageFilter, on_conflict};

super::list_cases! { "metering":
    a_record_is_read_back_as_it_was_written,
    a_key_is_recorded_once,
    a_key_with_other_content_is_told,
    a_key_is_remembered_within_its_month,
    a_batch_of_usage_may_repeat_itself,
    usage_of_an_execution_is_recorded_once,
    usage_without_its_month_is_refused,
    usage_needs_its_tenant,
    numbers_that_cannot_be_kept_are_refused,
    usage_is_listed_by_filter_and_page,
    corrections_are_found,
    a_record_is_voided_once,
    totals_agree_with_the_rules,
    totals_are_of_half_open_periods,
    totals_that_are_too_large_are_refused,
    usage_belongs_to_its_tenant,
    two_units_that_record_one_key_record_it_once,
}

fn at(minutes: i64) -> DateTime<Utc> {
    Fixture::start() + TimeDelta::minutes(minutes)
}

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn key(text: &str) -> UsageKey {
    UsageKey::new(text).unwrap()
}

fn name(text: &str) -> MeterName {
    MeterName::new(text).unwrap()
}

fn new(text: &str, meter: &str, quantity: &str, minutes: i64) -> NewUsage {
    NewUsage::new(key(text), name(meter), d(quantity), at(minutes))
}

fn made(new: &NewUsage) -> UsageRecord {
    UsageRecord::supplied(new, at(0)).unwrap()
}

fn simple(text: &str, quantity: &str, minutes: i64) -> UsageRecord {
    made(&new(text, "tokens", quantity, minutes))
}

async fn record(f: &Fixture, ctx: &Context, records: &[UsageRecord]) -> Vec<Recorded> {
    let mut unit = f.unit(ctx).await;
    let outcomes = unit.usage().record(records).await.unwrap();
    unit.commit().await.unwrap();
    outcomes
}

async fn list(f: &Fixture, ctx: &Context, filter: &UsageFilter) -> Vec<UsageRecord> {
    let mut unit = f.unit(ctx).await;
    unit.usage().page(filter, &all()).await.unwrap().items
}

fn differs(fields: &[&'static str]) -> Recorded {
    Recorded::Differs(fields.to_vec())
}

async fn a_record_is_read_back_as_it_was_written(f: Fixture) {
    let ctx = f.tenant("t").await;
    let mut unit = f.unit(&ctx).await;
    let metadata = json!({"model": "ñ", "n": [1, 2.5, null], "deep": {"x": true}});
    let full = NewUsage {
        period: Some(Period::new(at(-30), at(-20)).unwrap()),
        subscription: Some(unit.ids().fresh()),
        unit_price: Some(d("0.000000000001")),
        unique_value: Some(UniqueValue::new("user 7").unwrap()),
        metadata: Document::new("metadata", metadata).unwrap(),
        occurred_at: at(-1) + TimeDelta::nanoseconds(1_234_567),
        ..new("k1", "tokens", "9999999999999999.999999999999", 0)
    };
    let full = made(&full);
    let plain = simple("k2", "1.50", -2);
    let voiding = plain.void(Document::empty(), at(0)).unwrap();
    let records = [full.clone(), plain.clone(), voiding.clone()];
    assert_eq!(
        unit.usage().record(&records).await.unwrap(),
        [const { Recorded::Now }; 3]
    );
    for record in &records {
        let read = unit.usage().get(record.id).await.unwrap();
        assert_eq!(read.as_ref(), Some(record));
    }
    unit.commit().await.unwrap();
    let read = list(&f, &ctx, &UsageFilter::default()).await;
    assert_eq!(read.len(), 3);
    assert_eq!(read[0], full);
    assert!(read.contains(&plain) && read.contains(&voiding));
}

async fn a_key_is_recorded_once(f: Fixture) {
    let ctx = f.tenant("t").await;
    let (a, b, c) = (
        simple("a", "1", -3),
        simple("b", "2", -2),
        simple("c", "3", -1),
    );
    let first = record(&f, &ctx, &[a.clone(), c.clone()]).await;
    assert_eq!(first, [Recorded::Now, Recorded::Now]);
    f.clock.advance(TimeDelta::hours(1));
    let later = UsageRecord {
        recorded_at: at(60),
        ..c.clone()
    };
    let second = record(&f, &ctx, &[later, b.clone(), a.clone()]).await;
    assert_eq!(second, [Recorded::Before, Recorded::Now, Recorded::Before]);
    let read = list(&f, &ctx, &UsageFilter::default()).await;
    assert_eq!(read, [c, b, a], "as it was first, newest first");
    assert_eq!(record(&f, &ctx, &[]).await, []);
}

async fn a_key_with_other_content_is_told(f: Fixture) {
    let ctx = f.tenant("t").await;
    let a = new("a", "tokens", "1", -3);
    record(&f, &ctx, &[made(&a)]).await;
    let changed = NewUsage {
        quantity: d("2"),
        metadata: Document::new("metadata", json!({"n": 1})).unwrap(),
        ..a.clone()
    };
    let other_meter = NewUsage {
        meter: name("calls"),
        unit_price: Some(d("1")),
        unique_value: Some(UniqueValue::new("u").unwrap()),
        ..a.clone()
    };
    let batch = [made(&changed), simple("b", "1", -3), made(&other_meter)];
    assert_eq!(
        record(&f, &ctx, &batch).await,
        [
            differs(&["quantity", "metadata"]),
            Recorded::Now,
            differs(&["meter", "unit_price", "unique_value"]),
        ],
        "one bad record does not stop its batch"
    );
    let same_number = NewUsage {
        quantity: d("1.000"),
        ..a
    };
    assert_eq!(
        record(&f, &ctx, &[made(&same_number)]).await,
        [Recorded::Before]
    );
}

async fn a_key_is_remembered_within_its_month(f: Fixture) {
    let ctx = f.tenant("t").await;
    let first = DateTime::parse_from_rfc3339("2026-11-01T00:00:00Z")
        .unwrap()
        .to_utc();
    let at = |instant| UsageRecord {
        ..made(&NewUsage {
            occurred_at: instant,
            ..new("a", "tokens", "1", 0)
        })
    };
    let micro = TimeDelta::microseconds(1);
    assert_eq!(record(&f, &ctx, &[at(first)]).await, [Recorded::Now]);
    assert_eq!(
        record(
            &f,
            &ctx,
            &[at(first + micro), at(first + TimeDelta::days(9))]
        )
        .await,
        [
            differs(&["occurred_at", "period"]),
            differs(&["occurred_at", "period"])
        ]
    );
    assert_eq!(
        record(&f, &ctx, &[at(first - micro)]).await,
        [Recorded::Now],
        "another month"
    );
    let mut unit = f.platform().await;
    let month = Month::of(first).minus(7);
    unit.months().ensure(month, month).await.unwrap();
    unit.commit().await.unwrap();
    let old = month.start();
    assert_eq!(
        record(&f, &ctx, &[at(old), at(old + micro)]).await,
        [Recorded::Now, differs(&["occurred_at", "period"])],
        "a month that was made later"
    );
    let of_key = UsageFilter {
        key: Some(key("a")),
        ..UsageFilter::default()
    };
    assert_eq!(
        list(&f, &ctx, &of_key).await,
        [at(first), at(first - micro), at(old)]
    );
}

async fn a_batch_of_usage_may_repeat_itself(f: Fixture) {
    let ctx = f.tenant("t").await;
    let batch = [
        simple("b", "1", -1),
        simple("a", "1", -2),
        simple("b", "1", -1),
        simple("b", "2", -1),
        simple("a", "1", -5),
    ];
    let expected = [
        Recorded::Now,
        Recorded::Now,
        Recorded::Before,
        differs(&["quantity"]),
        differs(&["occurred_at", "period"]),
    ];
    assert_eq!(record(&f, &ctx, &batch).await, expected);
    let read = list(&f, &ctx, &UsageFilter::default()).await;
    assert_eq!(read, batch[..2], "the first of the batch counts");
}

async fn usage_of_an_execution_is_recorded_once(f: Fixture) {
    let ctx = f.tenant("t").await;
    let derived = |minutes: i64, quantity: &str| UsageRecord {
        key: None,
        ..simple(&format!("run {minutes}"), quantity, minutes)
    };
    let (a, b) = (derived(-1, "1"), derived(-2, "1"));
    assert_eq!(
        record(&f, &ctx, &[a.clone(), b.clone(), a.clone()]).await,
        [Recorded::Now, Recorded::Now, Recorded::Before]
    );
    assert_eq!(
        record(&f, &ctx, &[derived(-1, "7"), b.clone()]).await,
        [differs(&["quantity"]), Recorded::Before]
    );
    assert_eq!(list(&f, &ctx, &UsageFilter::default()).await, [a, b]);
}

async fn usage_without_its_month_is_refused(f: Fixture) {
    let ctx = f.tenant("t").await;
    let old = simple("old", "1", -400 * 24 * 60);
    let mut unit = f.unit(&ctx).await;
    fails(
        unit.usage().record(&[simple("a", "1", 0), old]).await,
        StoreErrorKind::OutsideWindow,
    );
    assert!(list(&f, &ctx, &UsageFilter::default()).await.is_empty());
}

async fn usage_needs_its_tenant(f: Fixture) {
    let ghost = Context::system(f.platform().await.ids().fresh());
    let mut unit = f.unit(&ghost).await;
    fails(
        unit.usage().record(&[simple("a", "1", 0)]).await,
        StoreErrorKind::NotFound,
    );
}

async fn numbers_that_cannot_be_kept_are_refused(f: Fixture) {
    let ctx = f.tenant("t").await;
    for quantity in ["10000000000000000", "0.0000000000001"] {
        let mut bad = simple("a", "1", 0);
        bad.quantity = d(quantity);
        fails(
            f.unit(&ctx).await.usage().record(&[bad]).await,
            StoreErrorKind::Invalid,
        );
    }
    let mut bad = simple("a", "1", 0);
    bad.unit_price = Some(d("-1"));
    fails(
        f.unit(&ctx).await.usage().record(&[bad]).await,
        StoreErrorKind::Invalid,
    );
}

async fn usage_is_listed_by_filter_and_page(f: Fixture) {
    let ctx = f.tenant("t").await;
    let subscription = f.unit(&ctx).await.ids().fresh();
    let records: Vec<_> = (0..6)
        .map(|n| {
            let meter = if n % 2 == 0 { "even" } else { "odd" };
            let mut new = new(&format!("k{n}"), meter, "1", -n);
            new.subscription = (n < 3).then_some(subscription);
            made(&new)
        })
        .collect();
    record(&f, &ctx, &records).await;
    let only = |filter: UsageFilter| {
        let (f, ctx) = (&f, &ctx);
        async move { list(f, ctx, &filter).await }
    };
    assert_eq!(only(UsageFilter::default()).await, records, "newest first");
    let odd = UsageFilter {
        meter: Some(name("odd")),
        ..UsageFilter::default()
    };
    let expected = [&records[1], &records[3], &records[5]].map(UsageRecord::clone);
    assert_eq!(only(odd).await, expected);
    let of_subscription = UsageFilter {
        subscription: Some(subscription),
        ..UsageFilter::default()
    };
    assert_eq!(only(of_subscription).await, records[..3]);
    let in_period = UsageFilter {
        period: Some(Period::new(at(-3), at(-1)).unwrap()),
        ..UsageFilter::default()
    };
    assert_eq!(only(in_period).await, records[2..4]);

    let (mut read, mut request) = (Vec::new(), PageRequest::first(4));
    let mut unit = f.unit(&ctx).await;
    loop {
        let page = unit.usage().page(&UsageFilter::default(), &request).await;
        let page = page.unwrap();
        read.extend(page.items);
        let Some(next) = page.next else { break };
        request = PageRequest::first(4).after(next);
    }
    assert_eq!(read, records);
    let foreign = PageRequest::first(1).after(Cursor::from_text("not a cursor"));
    fails(
        unit.usage().page(&UsageFilter::default(), &foreign).await,
        StoreErrorKind::Invalid,
    );
}

async fn corrections_are_found(f: Fixture) {
    let ctx = f.tenant("t").await;
    let wrong = simple("a", "5", -2);
    let reason = Document::new("metadata", json!({"reason": "typo"})).unwrap();
    let voiding = wrong.void(reason, at(0)).unwrap();
    let replacing = simple("a again", "6", -1).in_place_of(wrong.id);
    let records = [wrong.clone(), voiding.clone(), replacing.clone()];
    record(&f, &ctx, &records).await;
    let mut unit = f.unit(&ctx).await;
    assert_eq!(
        unit.usage().corrections(wrong.id).await.unwrap(),
        [voiding.clone(), replacing]
    );
    assert_eq!(unit.usage().corrections(voiding.id).await.unwrap(), []);
}

async fn a_record_is_voided_once(f: Fixture) {
    let ctx = f.tenant("t").await;
    let wrong = simple("a", "5", -2);
    let void = |minutes| wrong.void(Document::empty(), at(minutes)).unwrap();
    record(&f, &ctx, std::slice::from_ref(&wrong)).await;
    assert_eq!(record(&f, &ctx, &[void(0)]).await, [Recorded::Now]);
    assert_eq!(record(&f, &ctx, &[void(1)]).await, [Recorded::Before]);
    let meter = Meter::new(name("tokens"), Aggregation::Sum);
    let period = Period::new(at(-9), at(0)).unwrap();
    let mut unit = f.unit(&ctx).await;
    let totals = unit.usage().totals(&[meter], period, None).await.unwrap();
    assert_eq!((totals[0].value, totals[0].count), (Decimal::ZERO, 0));
}

/// One meter of each aggregation.
fn every_meter() -> Vec<Meter> {
    [
        Aggregation::Sum,
        Aggregation::Count,
        Aggregation::Max,
        Aggregation::Latest,
        Aggregation::UniqueCount,
        Aggregation::TimeWeightedSum,
        Aggregation::Level,
    ]
    .into_iter()
    .map(|aggregation| Meter::new(name(aggregation.as_str()), aggregation))
    .collect()
}

/// Records of every meter with quantities of every size, some of them voided, spread over two
/// months to the microsecond. The same in every run.
fn assorted(subscription: crate::domain::ids::SubscriptionId) -> Vec<UsageRecord> {
    let mut state = 7_u64;
    let mut random = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
    let mut records = Vec::new();
    for (place, meter) in every_meter().into_iter().cycle().take(700).enumerate() {
        let mantissa = i64::try_from(random(1_000_000_000)).unwrap();
        let mut quantity = Decimal::new(mantissa, u32::try_from(random(13)).unwrap());
        if meter.aggregation.is_of_level() && random(3) == 0 {
            quantity = -quantity;
        }
        let micros = TimeDelta::microseconds(i64::try_from(random(40 * 86_400_000_000)).unwrap());
        let mut new = NewUsage::new(
            key(&place.to_string()),
            meter.name,
            quantity,
            at(0) - micros,
        );
        new.unique_value = Some(UniqueValue::new(&random(20).to_string()).unwrap());
        new.subscription = (random(2) == 0).then_some(subscription);
        let record = made(&new);
        if random(8) == 0 {
            records.push(record.void(Document::empty(), at(0)).unwrap());
        }
        records.push(record);
    }
    records
}

async fn totals_agree_with_the_rules(f: Fixture) {
    let ctx = f.tenant("t").await;
    let subscription = f.unit(&ctx).await.ids().fresh();
    let records = assorted(subscription);
    record(&f, &ctx, &records).await;
    let mut meters = every_meter();
    meters.push(Meter::new(name("nothing"), Aggregation::Max));
    // The records of one meter, told by the rule of another.
    meters.push(Meter::new(name("level"), Aggregation::Count));
    let days = |days: i64| at(0) - TimeDelta::days(days) - TimeDelta::microseconds(days * 77);
    let mut unit = f.unit(&ctx).await;
    for (from, until) in [(60, 0), (20, 10), (3, 2), (10, 10), (90, 80)] {
        let period = Period::new(days(from), days(until)).unwrap();
        for of in [None, Some(subscription)] {
            let totals = unit.usage().totals(&meters, period, of).await.unwrap();
            let expected: Vec<_> = meters
                .iter()
                .map(|meter| {
                    let counted = records
                        .iter()
                        .filter(|r| of.is_none() || r.subscription == of);
                    aggregate(meter, period, counted).unwrap()
                })
                .collect();
            assert_eq!(totals, expected, "{from} to {until} days ago, of {of:?}");
        }
    }
}

async fn totals_are_of_half_open_periods(f: Fixture) {
    let ctx = f.tenant("t").await;
    let start = at(-10);
    let micro = |n| start + TimeDelta::microseconds(n);
    let records: Vec<_> = [-1, 0, 400, 999, 1_000]
        .into_iter()
        .map(|n| {
            made(&NewUsage {
                occurred_at: micro(n),
                ..new(&n.to_string(), "tokens", "1", 0)
            })
        })
        .collect();
    record(&f, &ctx, &records).await;
    let meters = [Meter::new(name("tokens"), Aggregation::Sum)];
    let mut unit = f.unit(&ctx).await;
    for (from, until, expected) in [(0, 1_000, 3), (-1, 0, 1), (1, 999, 1), (999, 1_001, 2)] {
        let period = Period::new(micro(from), micro(until)).unwrap();
        let totals = unit.usage().totals(&meters, period, None).await.unwrap();
        assert_eq!(
            totals[0].value,
            Decimal::from(expected),
            "[{from}, {until})"
        );
    }
}

async fn totals_that_are_too_large_are_refused(f: Fixture) {
    let ctx = f.tenant("t").await;
    let records: Vec<_> = (0..8)
        .map(|n| simple(&n.to_string(), "9999999999999999.999999999999", -1))
        .collect();
    record(&f, &ctx, &records).await;
    let meters = [Meter::new(name("tokens"), Aggregation::Sum)];
    let period = Period::new(at(-2), at(0)).unwrap();
    let mut unit = f.unit(&ctx).await;
    fails(
        unit.usage().totals(&meters, period, None).await,
        StoreErrorKind::Invalid,
    );
}

async fn usage_belongs_to_its_tenant(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let (mine, theirs) = (simple("a", "1", -1), simple("a", "7", -1));
    assert_eq!(mine.id, theirs.id);
    let void = theirs.void(Document::empty(), at(0)).unwrap();
    let both = [theirs.clone(), void.clone()];
    assert_eq!(
        record(&f, &two, &both).await,
        [Recorded::Now, Recorded::Now]
    );
    let mut unit = f.unit(&one).await;
    assert_eq!(unit.usage().get(theirs.id).await.unwrap(), None);
    assert_eq!(unit.usage().corrections(theirs.id).await.unwrap(), []);
    unit.commit().await.unwrap();
    // The same key and id, with other content, in another tenant.
    let outcomes = record(&f, &one, std::slice::from_ref(&mine)).await;
    assert_eq!(
        outcomes,
        [Recorded::Now],
        "nothing tells of the other tenant's"
    );
    assert_eq!(list(&f, &one, &UsageFilter::default()).await, [mine]);
    let meters = every_meter().into_iter().map(|meter| Meter {
        name: name("tokens"),
        ..meter
    });
    let meters: Vec<_> = meters.collect();
    let period = Period::new(at(-2), at(0)).unwrap();
    let mut unit = f.unit(&one).await;
    let totals = unit.usage().totals(&meters, period, None).await.unwrap();
    assert!(totals.iter().all(|total| total.count == 1));
    assert_eq!(totals[0].value, Decimal::ONE);
}

async fn two_units_that_record_one_key_record_it_once(f: Fixture) {
    let ctx = f.tenant("t").await;
    let records = [simple("b", "1", -1), simple("a", "1", -2)];
    let attempt = || async {
        on_conflict(&*f.store, || async {
            let mut unit = f.store.begin(&ctx).await?;
            let outcomes = unit.usage().record(&records).await?;
            unit.commit().await?;
            StoreResult::Ok(outcomes)
        })
        .await
        .unwrap()
    };
    let (first, second) = join!(attempt(), attempt());
    let now = [Recorded::Now, Recorded::Now];
    let before = [Recorded::Before, Recorded::Before];
    assert!(
        (first == now && second == before) || (first == before && second == now),
        "{first:?} {second:?}"
    );
}

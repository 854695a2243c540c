//! Usage on PostgreSQL: recording takes one statement, and up to two more where some records were
//! there already.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use uuid::Uuid;

use super::error::corrupt;
use super::session::Session;
use super::unit::PgTx;
use crate::domain::ids::{SubscriptionId, UsageId, floor};
use crate::domain::json::Document;
use crate::domain::metering::{
    Correction, Meter, MeterName, MeteringError, Recorded, UsageRecord, UsageTotal,
};
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::{UniqueValue, UsageKey};
use crate::domain::time::{Month, Period};
use crate::store::{
    StoreError, StoreErrorKind, StoreResult, UsageFilter, UsageRepo, id_range, page_key,
};

const RECORD: &str = "usage.record";

struct UsageRow {
    id: Uuid,
    subscription_id: Option<Uuid>,
    usage_type: String,
    quantity: Decimal,
    unit_price: Option<Decimal>,
    unique_value: Option<String>,
    metadata: Value,
    period_start: DateTime<Utc>,
    period_end: DateTime<Utc>,
    occurred_at: DateTime<Utc>,
    recorded_at: DateTime<Utc>,
    usage_key: Option<String>,
    corrects: Option<Uuid>,
    voids: bool,
}

impl UsageRow {
    fn read(self, operation: &'static str) -> StoreResult<UsageRecord> {
        let place = format!("usage_records {}", self.id);
        let broken = |error: MeteringError| corrupt(operation, &place, error);
        let text = |error| broken(MeteringError::Text(error));
        let period = Period::new(self.period_start, self.period_end)
            .map_err(|error| corrupt(operation, &place, error))?;
        Ok(UsageRecord {
            id: self.id.into(),
            meter: MeterName::new(&self.usage_type).map_err(text)?,
            quantity: self.quantity.normalize(),
            occurred_at: self.occurred_at,
            period,
            recorded_at: self.recorded_at,
            subscription: self.subscription_id.map(SubscriptionId::from),
            unit_price: self.unit_price.map(|price| price.normalize()),
            unique_value: self
                .unique_value
                .as_deref()
                .map(UniqueValue::new)
                .transpose()
                .map_err(text)?,
            metadata: Document::new("metadata", self.metadata)
                .map_err(|error| broken(error.into()))?,
            key: self
                .usage_key
                .as_deref()
                .map(UsageKey::new)
                .transpose()
                .map_err(text)?,
            correction: self.corrects.map(|id| match self.voids {
                true => Correction::Void(id.into()),
                false => Correction::Replacement(id.into()),
            }),
        })
    }
}

/// Reads rows; one that cannot be read spends the unit.
fn read(
    session: &mut Session<'_>,
    operation: &'static str,
    rows: Result<Vec<UsageRow>, sqlx::Error>,
) -> StoreResult<Vec<UsageRecord>> {
    let rows = session.check(operation, rows)?;
    let records = rows.into_iter().map(|row| row.read(operation)).collect();
    session.keep(records)
}

/// A batch by columns, in the order of the keys and then of the ids: units that record the same
/// usage wait for each other and never in a circle.
///
/// A column that says nothing has no elements; UNNEST fills it up with NULL.
#[derive(Default)]
struct Columns<'r> {
    ids: Vec<Uuid>,
    subscriptions: Vec<Option<Uuid>>,
    meters: Vec<&'r str>,
    quantities: Vec<Decimal>,
    prices: Vec<Option<Decimal>>,
    values: Vec<Option<&'r str>>,
    metadata: Vec<Option<String>>,
    starts: Vec<Option<DateTime<Utc>>>,
    ends: Vec<Option<DateTime<Utc>>>,
    occurred: Vec<DateTime<Utc>>,
    recorded: Vec<DateTime<Utc>>,
    keys: Vec<Option<&'r str>>,
    corrects: Vec<Option<Uuid>>,
    voids: Vec<Option<bool>>,
}

impl<'r> Columns<'r> {
    fn of(records: &'r [UsageRecord]) -> Self {
        let mut records: Vec<&UsageRecord> = records.iter().collect();
        // Stable: of two records with one key the first of the batch comes first. Those without a
        // key come last.
        records.sort_by_key(|r| {
            (
                r.key.is_none(),
                r.key.as_ref(),
                r.key.is_none().then_some(r.id),
            )
        });
        let stretch = |r: &UsageRecord| (r.period != Period::at(r.occurred_at)).then_some(r.period);
        let kept = |document: &Document| !document.entries().is_empty();
        Self {
            ids: column(&records, |r| r.id.as_uuid()),
            subscriptions: sparse(&records, |r| r.subscription.map(SubscriptionId::as_uuid)),
            meters: column(&records, |r| r.meter.as_str()),
            quantities: column(&records, |r| r.quantity),
            prices: sparse(&records, |r| r.unit_price),
            values: sparse(&records, |r| {
                r.unique_value.as_ref().map(UniqueValue::as_str)
            }),
            metadata: sparse(&records, |r| {
                kept(&r.metadata).then(|| r.metadata.to_text())
            }),
            starts: sparse(&records, |r| stretch(r).map(|period| period.start())),
            ends: sparse(&records, |r| stretch(r).map(|period| period.end())),
            occurred: column(&records, |r| r.occurred_at),
            recorded: column(&records, |r| r.recorded_at),
            keys: sparse(&records, |r| r.key.as_ref().map(UsageKey::as_str)),
            corrects: sparse(&records, |r| r.correction.map(|c| c.of().as_uuid())),
            voids: sparse(&records, |r| r.is_void().then_some(true)),
        }
    }
}

fn column<'r, T>(records: &[&'r UsageRecord], value: impl Fn(&'r UsageRecord) -> T) -> Vec<T> {
    records.iter().map(|record| value(record)).collect()
}

fn sparse<'r, T>(
    records: &[&'r UsageRecord],
    value: impl Fn(&'r UsageRecord) -> Option<T>,
) -> Vec<Option<T>> {
    let column = column(records, value);
    if column.iter().all(Option::is_none) {
        return Vec::new();
    }
    column
}

/// What is there already, by id and by key and month.
#[derive(Default)]
struct Known {
    by_id: HashMap<UsageId, UsageRecord>,
    by_key: HashMap<(Month, UsageKey), UsageId>,
}

impl Known {
    fn add(&mut self, records: Vec<UsageRecord>) {
        for record in records {
            if let Some(key) = &record.key {
                let key = (Month::of(record.occurred_at), key.clone());
                self.by_key.insert(key, record.id);
            }
            self.by_id.insert(record.id, record);
        }
    }

    fn find(&self, record: &UsageRecord) -> Option<&UsageRecord> {
        self.by_id.get(&record.id).or_else(|| {
            let key = (Month::of(record.occurred_at), record.key.clone()?);
            self.by_id.get(self.by_key.get(&key)?)
        })
    }
}

impl PgTx<'_> {
    /// Inserts what is not there and answers the ids of what is new.
    async fn insert_usage(&mut self, records: &[UsageRecord]) -> StoreResult<HashSet<Uuid>> {
        let (tenant, rows) = (self.tenant(), Columns::of(records));
        let new = sqlx::query_scalar!(
            "INSERT INTO tenantry.usage_records (tenant_id, id, subscription_id, usage_type,
                quantity, unit_price, unique_value, metadata, period_start, period_end,
                occurred_at, recorded_at, usage_key, corrects, voids)
            SELECT $1, r.id, r.subscription_id, r.usage_type, r.quantity, r.unit_price,
                r.unique_value, coalesce(r.metadata::jsonb, '{}'),
                coalesce(r.period_start, r.occurred_at), coalesce(r.period_end, r.occurred_at),
                r.occurred_at, r.recorded_at, r.usage_key, r.corrects, coalesce(r.voids, false)
            FROM UNNEST($2::uuid[], $3::uuid[], $4::text[], $5::numeric[], $6::numeric[],
                $7::text[], $8::text[], $9::timestamptz[], $10::timestamptz[],
                $11::timestamptz[], $12::timestamptz[], $13::text[], $14::uuid[], $15::boolean[])
                AS r (id, subscription_id, usage_type, quantity, unit_price, unique_value,
                    metadata, period_start, period_end, occurred_at, recorded_at, usage_key,
                    corrects, voids)
            ON CONFLICT DO NOTHING
            RETURNING id",
            tenant,
            &rows.ids,
            &rows.subscriptions as &[Option<Uuid>],
            &rows.meters as &[&str],
            &rows.quantities,
            &rows.prices as &[Option<Decimal>],
            &rows.values as &[Option<&str>],
            &rows.metadata as &[Option<String>],
            &rows.starts as &[Option<DateTime<Utc>>],
            &rows.ends as &[Option<DateTime<Utc>>],
            &rows.occurred,
            &rows.recorded,
            &rows.keys as &[Option<&str>],
            &rows.corrects as &[Option<Uuid>],
            &rows.voids as &[Option<bool>],
        )
        .fetch_all(self.session.run(RECORD)?)
        .await;
        Ok(self.session.check(RECORD, new)?.into_iter().collect())
    }

    /// What stood in the way of these records. A statement of its own: that of the insert does not
    /// see what another unit has committed meanwhile. Bounded by the smallest and the largest id,
    /// so that it never reads all of a tenant's history.
    async fn known_usage(&mut self, records: &[&UsageRecord]) -> StoreResult<Known> {
        let (tenant, mut known) = (self.tenant(), Known::default());
        let ids: Vec<Uuid> = column(records, |record| record.id.as_uuid());
        let rows = sqlx::query_as!(
            UsageRow,
            "SELECT r.id, r.subscription_id, r.usage_type, r.quantity, r.unit_price,
                r.unique_value, r.metadata, r.period_start, r.period_end, r.occurred_at,
                r.recorded_at, r.usage_key, r.corrects, r.voids
            FROM UNNEST($2::uuid[]) AS w (id)
            JOIN tenantry.usage_records r ON r.tenant_id = $1 AND r.id = w.id
                AND r.id >= $3 AND r.id <= $4",
            tenant,
            &ids,
            ids.iter().min(),
            ids.iter().max(),
        )
        .fetch_all(self.session.run(RECORD)?)
        .await;
        known.add(read(&mut self.session, RECORD, rows)?);

        // A key that was used at another instant of the month.
        let (mut keys, mut first, mut end) = (Vec::new(), Vec::new(), Vec::new());
        for record in records.iter().filter(|record| known.find(record).is_none()) {
            if let Some(key) = &record.key {
                let month = Month::of(record.occurred_at);
                keys.push(key.as_str());
                first.push(floor(month.start()));
                end.push(floor(month.end()));
            }
        }
        if keys.is_empty() {
            return Ok(known);
        }
        let rows = sqlx::query_as!(
            UsageRow,
            "SELECT r.id, r.subscription_id, r.usage_type, r.quantity, r.unit_price,
                r.unique_value, r.metadata, r.period_start, r.period_end, r.occurred_at,
                r.recorded_at, r.usage_key, r.corrects, r.voids
            FROM UNNEST($2::text[], $3::uuid[], $4::uuid[]) AS w (usage_key, first, ending)
            JOIN tenantry.usage_records r ON r.tenant_id = $1 AND r.usage_key = w.usage_key
                AND r.id >= w.first AND r.id < w.ending AND r.id >= $5 AND r.id < $6",
            tenant,
            &keys as &[&str],
            &first,
            &end,
            first.iter().min(),
            end.iter().max(),
        )
        .fetch_all(self.session.run(RECORD)?)
        .await;
        known.add(read(&mut self.session, RECORD, rows)?);
        Ok(known)
    }
}

#[async_trait]
impl UsageRepo for PgTx<'_> {
    async fn record(&mut self, records: &[UsageRecord]) -> StoreResult<Vec<Recorded>> {
        let storable = records.iter().try_for_each(|record| {
            let broken =
                |error| StoreError::new(StoreErrorKind::Invalid, RECORD).with_source(error);
            record.must_be_storable().map_err(broken)
        });
        self.session.keep(storable)?;
        let mut new = self.insert_usage(records).await?;
        if new.len() == records.len() {
            return Ok(vec![Recorded::Now; records.len()]);
        }
        // Of two records of the batch with one id, the first is the one that was inserted.
        let now: Vec<bool> = records
            .iter()
            .map(|record| new.remove(&record.id.as_uuid()))
            .collect();
        let others: Vec<&UsageRecord> = std::iter::zip(records, &now)
            .filter_map(|(record, now)| (!now).then_some(record))
            .collect();
        let known = self.known_usage(&others).await?;
        let outcomes = std::iter::zip(records, now).map(|(record, now)| {
            if now {
                return Ok(Recorded::Now);
            }
            let stored = known.find(record);
            let stored = stored.ok_or_else(|| StoreError::new(StoreErrorKind::Conflict, RECORD))?;
            let fields = record.differences(stored);
            Ok(match fields.is_empty() {
                true => Recorded::Before,
                false => Recorded::Differs(fields),
            })
        });
        let outcomes = outcomes.collect();
        self.session.keep(outcomes)
    }

    async fn get(&mut self, id: UsageId) -> StoreResult<Option<UsageRecord>> {
        const OPERATION: &str = "usage.get";
        let tenant = self.tenant();
        let rows = sqlx::query_as!(
            UsageRow,
            "SELECT id, subscription_id, usage_type, quantity, unit_price, unique_value, metadata,
                period_start, period_end, occurred_at, recorded_at, usage_key, corrects, voids
            FROM tenantry.usage_records WHERE tenant_id = $1 AND id = $2",
            tenant,
            id.as_uuid(),
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        Ok(read(&mut self.session, OPERATION, rows)?.pop())
    }

    async fn corrections(&mut self, id: UsageId) -> StoreResult<Vec<UsageRecord>> {
        const OPERATION: &str = "usage.corrections";
        let tenant = self.tenant();
        let rows = sqlx::query_as!(
            UsageRow,
            "SELECT id, subscription_id, usage_type, quantity, unit_price, unique_value, metadata,
                period_start, period_end, occurred_at, recorded_at, usage_key, corrects, voids
            FROM tenantry.usage_records WHERE tenant_id = $1 AND corrects = $2 ORDER BY id",
            tenant,
            id.as_uuid(),
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        read(&mut self.session, OPERATION, rows)
    }

    async fn page(
        &mut self,
        filter: &UsageFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<UsageRecord>> {
        const OPERATION: &str = "usage.page";
        let before = self.session.keep(page_key::<UsageId>(OPERATION, page))?;
        let (tenant, limit) = (self.tenant(), page.limit());
        let (first, end) = id_range(filter.period, before.map(UsageId::as_uuid));
        let rows = sqlx::query_as!(
            UsageRow,
            "SELECT id, subscription_id, usage_type, quantity, unit_price, unique_value, metadata,
                period_start, period_end, occurred_at, recorded_at, usage_key, corrects, voids
            FROM tenantry.usage_records
            WHERE tenant_id = $1 AND id >= $2 AND id < $3
                AND ($4::timestamptz IS NULL OR occurred_at >= $4)
                AND ($5::timestamptz IS NULL OR occurred_at < $5)
                AND ($6::text IS NULL OR usage_type = $6)
                AND ($7::uuid IS NULL OR subscription_id = $7)
                AND ($8::text IS NULL OR usage_key = $8)
            ORDER BY id DESC LIMIT $9",
            tenant,
            first,
            end,
            filter.period.map(|period| period.start()),
            filter.period.map(|period| period.end()),
            filter.meter.as_ref().map(MeterName::as_str),
            filter.subscription.map(SubscriptionId::as_uuid),
            filter.key.as_ref().map(UsageKey::as_str),
            limit as i64 + 1,
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let records = read(&mut self.session, OPERATION, rows)?;
        Ok(Page::of(records, limit, |record: &UsageRecord| record.id))
    }

    async fn totals(
        &mut self,
        meters: &[Meter],
        period: Period,
        subscription: Option<SubscriptionId>,
    ) -> StoreResult<Vec<UsageTotal>> {
        self.usage_totals(meters, period, subscription).await
    }
}

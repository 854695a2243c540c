//! Usage and meters in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use imbl::{OrdMap, OrdSet};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::audit::Audited;
use super::unit::MemoryTx;
use crate::domain::audit::audited_instant;
use crate::domain::ids::{SubscriptionId, UsageId, after, floor};
use crate::domain::metering::{
    CustomMeter, Meter, MeterName, MeteringError, Recorded, Tally, UsageRecord, UsageTotal,
};
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::UsageKey;
use crate::domain::time::{Month, Period};
use crate::store::{
    MeterRepo, StoreError, StoreErrorKind, StoreResult, UsageFilter, UsageRepo, id_range, page_key,
};

/// One tenant's usage.
#[derive(Debug, Clone, Default)]
pub(super) struct UsageTable {
    rows: OrdMap<UsageId, Arc<UsageRecord>>,
    keys: OrdMap<(Month, UsageKey), UsageId>,
    corrections: OrdSet<(UsageId, UsageId)>,
}

impl UsageTable {
    fn record(&mut self, records: &[Arc<UsageRecord>]) -> Vec<Recorded> {
        records.iter().map(|record| self.put(record)).collect()
    }

    fn put(&mut self, record: &Arc<UsageRecord>) -> Recorded {
        let key = record.key.as_ref();
        let key = key.map(|key| (Month::of(record.occurred_at), key.clone()));
        let taken = self.rows.get(&record.id).or_else(|| {
            let id = self.keys.get(key.as_ref()?)?;
            self.rows.get(id)
        });
        if let Some(taken) = taken {
            let fields = record.differences(taken);
            return if fields.is_empty() {
                Recorded::Before
            } else {
                Recorded::Differs(fields)
            };
        }
        if let Some(key) = key {
            self.keys.insert(key, record.id);
        }
        if let Some(correction) = record.correction {
            self.corrections.insert((correction.of(), record.id));
        }
        self.rows.insert(record.id, Arc::clone(record));
        Recorded::Now
    }

    /// The sum of a meter's quantities from an instant to another, in whole numbers.
    pub(super) fn sum(
        &self,
        meter: &MeterName,
        start: DateTime<Utc>,
        end: Option<DateTime<Utc>>,
    ) -> u64 {
        let last = end.map_or(Uuid::max(), after);
        let sum: Decimal = self
            .between((floor(start), last))
            .filter(|record| record.meter == *meter)
            .filter(|record| start <= record.occurred_at)
            .filter(|record| end.is_none_or(|end| record.occurred_at < end))
            .map(|record| record.quantity)
            .sum();
        sum.trunc().to_u64().unwrap_or(0)
    }

    /// The records between two ids, the first included.
    fn between(&self, (first, end): (Uuid, Uuid)) -> impl DoubleEndedIterator<Item = &UsageRecord> {
        let rows = self.rows.range(UsageId::from(first)..end.into());
        rows.map(|(_, record)| &**record)
    }
}

fn matches(filter: &UsageFilter, record: &UsageRecord) -> bool {
    let UsageFilter {
        meter,
        subscription,
        key,
        period,
    } = filter;
    meter.as_ref().is_none_or(|meter| *meter == record.meter)
        && (subscription.is_none() || *subscription == record.subscription)
        && (key.is_none() || *key == record.key)
        && period.is_none_or(|period| period.contains(record.occurred_at))
}

#[async_trait]
impl UsageRepo for MemoryTx {
    async fn record(&mut self, records: &[UsageRecord]) -> StoreResult<Vec<Recorded>> {
        const OPERATION: &str = "usage.record";
        if records.is_empty() {
            return self.read(OPERATION).map(|_| Vec::new());
        }
        let storable = records.iter().try_for_each(|record| {
            let broken =
                |error| StoreError::new(StoreErrorKind::Invalid, OPERATION).with_source(error);
            record.must_be_storable().map_err(broken)
        });
        self.check(storable)?;
        let instants = records.iter().map(|record| record.occurred_at);
        self.must_be_kept(OPERATION, "usage_records", instants)?;
        let records: Vec<_> = records.iter().cloned().map(Arc::new).collect();
        self.write(OPERATION, move |shard| Ok(shard.usage.record(&records)))
    }

    async fn get(&mut self, id: UsageId) -> StoreResult<Option<UsageRecord>> {
        let table = &self.read("usage.get")?.usage;
        Ok(table.rows.get(&id).map(|record| UsageRecord::clone(record)))
    }

    async fn corrections(&mut self, id: UsageId) -> StoreResult<Vec<UsageRecord>> {
        let table = &self.read("usage.corrections")?.usage;
        let (first, last) = (Uuid::nil().into(), Uuid::max().into());
        Ok(table
            .corrections
            .range((id, first)..=(id, last))
            .filter_map(|(_, correction)| table.rows.get(correction))
            .map(|record| UsageRecord::clone(record))
            .collect())
    }

    async fn page(
        &mut self,
        filter: &UsageFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<UsageRecord>> {
        const OPERATION: &str = "usage.page";
        let before = self.check(page_key::<UsageId>(OPERATION, page))?;
        let table = &self.read(OPERATION)?.usage;
        let rows = table
            .between(id_range(filter.period, before.map(UsageId::as_uuid)))
            .rev()
            .filter(|record| matches(filter, record))
            .take(page.limit() + 1)
            .cloned()
            .collect();
        Ok(Page::of(rows, page.limit(), |record: &UsageRecord| {
            record.id
        }))
    }

    async fn totals(
        &mut self,
        meters: &[Meter],
        period: Period,
        subscription: Option<SubscriptionId>,
    ) -> StoreResult<Vec<UsageTotal>> {
        const OPERATION: &str = "usage.totals";
        let table = &self.read(OPERATION)?.usage;
        let mut tallies: Vec<_> = meters.iter().map(|m| Tally::new(m, period)).collect();
        let mut places: BTreeMap<&MeterName, Vec<usize>> = BTreeMap::new();
        for (place, meter) in meters.iter().enumerate() {
            places.entry(&meter.name).or_default().push(place);
        }
        let levels = meters.iter().any(|meter| meter.aggregation.is_of_level());
        let (first, end) = id_range(Some(period), None);
        let first = if levels { Uuid::nil() } else { first };
        for record in table.between((first, end)) {
            if subscription.is_some() && record.subscription != subscription {
                continue;
            }
            for place in places.get(&record.meter).into_iter().flatten() {
                if let Some(tally) = tallies.get_mut(*place) {
                    tally.add(record);
                }
            }
        }
        let totals: Result<_, MeteringError> = tallies.iter().map(Tally::total).collect();
        let totals = totals.map_err(|error| {
            StoreError::new(StoreErrorKind::Invalid, OPERATION).with_source(error)
        });
        self.check(totals)
    }
}

impl Audited for CustomMeter {
    const RESOURCE: &'static str = "meters";

    fn resource_id(&self) -> Uuid {
        self.id.as_uuid()
    }

    fn columns(&self) -> Map<String, Value> {
        [
            ("id", json!(self.id)),
            ("name", json!(self.meter.name)),
            ("aggregation", json!(self.meter.aggregation)),
            ("unit", json!(self.meter.unit)),
            ("created_at", audited_instant(self.created_at)),
        ]
        .into_iter()
        .map(|(column, value)| (column.to_owned(), value))
        .collect()
    }
}

#[async_trait]
impl MeterRepo for MemoryTx {
    async fn insert(&mut self, meter: &CustomMeter) -> StoreResult<()> {
        const OPERATION: &str = "meters.insert";
        let (meter, stamp) = (Arc::new(meter.clone()), Arc::clone(&self.stamp));
        self.write(OPERATION, move |shard| {
            let taken = |constraint: &str| {
                Err(StoreError::new(StoreErrorKind::AlreadyExists, OPERATION)
                    .with_detail(constraint))
            };
            if shard.meters.values().any(|known| known.id == meter.id) {
                return taken("meters_pkey");
            }
            if shard.meters.contains_key(&meter.meter.name) {
                return taken("meters_name");
            }
            shard.audit.record(&stamp, None, Some(&*meter));
            shard
                .meters
                .insert(meter.meter.name.clone(), Arc::clone(&meter));
            Ok(())
        })
    }

    async fn find(&mut self, names: &[MeterName]) -> StoreResult<Vec<CustomMeter>> {
        let meters = &self.read("meters.find")?.meters;
        let named = meters.iter().filter(|(name, _)| names.contains(name));
        Ok(named.map(|(_, meter)| CustomMeter::clone(meter)).collect())
    }

    async fn all(&mut self) -> StoreResult<Vec<CustomMeter>> {
        let meters = &self.read("meters.all")?.meters;
        Ok(meters
            .values()
            .map(|meter| CustomMeter::clone(meter))
            .collect())
    }

    async fn update(&mut self, meter: &CustomMeter) -> StoreResult<CustomMeter> {
        const OPERATION: &str = "meters.update";
        let (given, stamp) = (meter.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |shard| {
            let stored = match shard.meters.get(&given.meter.name) {
                Some(stored) if stored.id == given.id && stored.revision == given.revision => {
                    stored
                }
                _ => return Err(StoreError::new(StoreErrorKind::Conflict, OPERATION)),
            };
            let next = CustomMeter {
                meter: Meter {
                    unit: given.meter.unit.clone(),
                    ..stored.meter.clone()
                },
                updated_at: given.updated_at,
                revision: stored.revision + 1,
                ..CustomMeter::clone(stored)
            };
            shard.audit.record(&stamp, Some(&**stored), Some(&next));
            shard
                .meters
                .insert(next.meter.name.clone(), Arc::new(next.clone()));
            Ok(next)
        })
    }
}

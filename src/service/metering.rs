//! Metering: usage is recorded, corrected and summed; tenants define meters of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::access::authorize;
use super::limit_notes::{Followed, new_ones};
use super::tenants::must_be_present;
use crate::domain::access::Permission;
use crate::domain::context::Context;
use crate::domain::ids::{SubscriptionId, UsageId};
use crate::domain::json::Document;
use crate::domain::metering::{
    CustomMeter, Meter, MeterName, MeteringError, NewUsage, Receipt, Recorded, UsageRecord,
    UsageTotal,
};
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::Name;
use crate::domain::time::{Period, Window};
use crate::error::{Error, Result};
use crate::store::{Store, Tx, UsageFilter, on_conflict};

/// Records, corrects and sums usage.
#[derive(Debug, Clone)]
pub struct Metering {
    store: Arc<dyn Store>,
}

impl Metering {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Records a batch of usage, all that can be recorded of it in one unit of work, and answers
    /// for each item, in their order, what became of it. An item that is refused does not stop the
    /// others.
    ///
    /// Calling it again with the same items changes nothing and says so: see
    /// [what deduplicates](crate::domain::metering).
    ///
    /// # Errors
    /// `Forbidden`. Of an item: a meter that is not defined, a number that cannot be kept exactly
    /// or that the meter does not take, an instant outside the months that are kept, a key that is
    /// taken by another content.
    pub async fn record(
        &self,
        ctx: &Context,
        items: &[NewUsage],
    ) -> Result<Vec<Result<Receipt, MeteringError>>> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let receipts = self.record_in(&mut *unit, items).await?;
            unit.commit().await?;
            Ok(receipts)
        })
        .await
    }

    /// Records a batch in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Metering::record`].
    pub async fn record_in(
        &self,
        tx: &mut dyn Tx,
        items: &[NewUsage],
    ) -> Result<Vec<Result<Receipt, MeteringError>>> {
        authorize(tx, Permission::UsageRecord).await?;
        let checks = Checks::of(tx, items).await?;
        let prepared: Vec<_> = items.iter().map(|item| checks.prepare(item)).collect();
        let records: Vec<UsageRecord> = prepared.iter().flatten().cloned().collect();
        let mut outcomes = record_all(tx, &records).await?.into_iter();
        Ok(std::iter::zip(items, prepared)
            .map(|(item, prepared)| {
                let record = prepared?;
                let outcome = outcomes.next().unwrap_or(Recorded::Now);
                outcome.receipt(&record, &item.key)
            })
            .collect())
    }

    /// Takes a record back: it no longer counts, and stays for the trail. Doing so again changes
    /// nothing.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a record that itself takes one back.
    pub async fn void(&self, ctx: &Context, id: UsageId, reason: &str) -> Result<Receipt> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let receipt = self.void_in(&mut *unit, id, reason).await?;
            unit.commit().await?;
            Ok(receipt)
        })
        .await
    }

    /// Takes a record back in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Metering::void`].
    pub async fn void_in(&self, tx: &mut dyn Tx, id: UsageId, reason: &str) -> Result<Receipt> {
        authorize(tx, Permission::UsageRecord).await?;
        let metadata = Document::new("metadata", json!({ "reason": reason }))?;
        let now = tx.now();
        let record = existing(tx, id).await?.void(metadata, now)?;
        let outcomes = record_all(tx, std::slice::from_ref(&record)).await?;
        // A record is voided once, for whichever reason came first.
        let new = outcomes.first() == Some(&Recorded::Now);
        Ok(Receipt { id: record.id, new })
    }

    /// Puts another record in the place of one, which is taken back. Doing so again with the same
    /// key and content changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `AlreadyExists` when the record is taken back already, or the key is taken by
    /// another content; `Invalid` as for an item of [`Metering::record`].
    pub async fn replace(
        &self,
        ctx: &Context,
        id: UsageId,
        by: &NewUsage,
        reason: &str,
    ) -> Result<Receipt> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let receipt = self.replace_in(&mut *unit, id, by, reason).await?;
            unit.commit().await?;
            Ok(receipt)
        })
        .await
    }

    /// Puts another record in the place of one, in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Metering::replace`].
    pub async fn replace_in(
        &self,
        tx: &mut dyn Tx,
        id: UsageId,
        by: &NewUsage,
        reason: &str,
    ) -> Result<Receipt> {
        authorize(tx, Permission::UsageRecord).await?;
        let checks = Checks::of(tx, std::slice::from_ref(by)).await?;
        let record = checks.prepare(by)?.in_place_of(id);
        if !self.void_in(tx, id, reason).await?.new {
            // Two replacements of one record would count twice. Only the one that came with the
            // void may come again.
            return match tx.usage().get(record.id).await? {
                Some(stored) if stored.differences(&record).is_empty() => Ok(Receipt {
                    id: record.id,
                    new: false,
                }),
                _ => Err(MeteringError::AlreadyCorrected { id }.into()),
            };
        }
        let outcomes = record_all(tx, std::slice::from_ref(&record)).await?;
        let outcome = outcomes.into_iter().next().unwrap_or(Recorded::Now);
        Ok(outcome.receipt(&record, &by.key)?)
    }

    /// A record by its id.
    ///
    /// # Errors
    /// `NotFound` if this tenant has none.
    pub async fn get(&self, ctx: &Context, id: UsageId) -> Result<UsageRecord> {
        let mut unit = self.reader(ctx).await?;
        existing(&mut *unit, id).await
    }

    /// The records that take a record back or stand in its place.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn corrections(&self, ctx: &Context, id: UsageId) -> Result<Vec<UsageRecord>> {
        let mut unit = self.reader(ctx).await?;
        Ok(unit.usage().corrections(id).await?)
    }

    /// The records, newest first.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    pub async fn list(
        &self,
        ctx: &Context,
        filter: &UsageFilter,
        page: &PageRequest,
    ) -> Result<Page<UsageRecord>> {
        page.key::<UsageId>()?;
        let mut unit = self.reader(ctx).await?;
        Ok(unit.usage().page(filter, page).await?)
    }

    /// What every meter adds up to in a period, of all subscriptions or of one, in the order of
    /// the meters' names.
    ///
    /// # Errors
    /// `Invalid` for a total that is too large to be told exactly.
    pub async fn totals(
        &self,
        ctx: &Context,
        period: &Period,
        subscription: Option<SubscriptionId>,
    ) -> Result<Vec<UsageTotal>> {
        let mut unit = self.reader(ctx).await?;
        let meters = every_meter(&mut *unit).await?;
        Ok(unit.usage().totals(&meters, *period, subscription).await?)
    }

    /// What one meter adds up to in a period, of all subscriptions or of one.
    ///
    /// # Errors
    /// `Invalid` for a meter that is not defined, or a total that is too large to be told exactly.
    pub async fn total(
        &self,
        ctx: &Context,
        meter: &MeterName,
        period: &Period,
        subscription: Option<SubscriptionId>,
    ) -> Result<UsageTotal> {
        let mut unit = self.reader(ctx).await?;
        let unknown = || MeteringError::UnknownMeter {
            meter: meter.clone(),
        };
        let mut meters = find_meters(&mut *unit, [meter]).await?;
        let meters = [meters.remove(meter).ok_or_else(unknown)?];
        let totals = unit.usage().totals(&meters, *period, subscription).await?;
        Ok(totals.into_iter().next().ok_or_else(unknown)?)
    }

    /// The meters there are: those that every tenant has and those that this one defined, in the
    /// order of their names.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn meters(&self, ctx: &Context) -> Result<Vec<Meter>> {
        let mut unit = self.reader(ctx).await?;
        every_meter(&mut *unit).await
    }

    /// The meters that the tenant defined, in the order of their names.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn custom_meters(&self, ctx: &Context) -> Result<Vec<CustomMeter>> {
        let mut unit = self.reader(ctx).await?;
        Ok(unit.meters().all().await?)
    }

    /// Defines a meter.
    ///
    /// # Errors
    /// `AlreadyExists` for a name that is taken; `Invalid` for that of a built-in meter.
    pub async fn define_meter(&self, ctx: &Context, meter: &Meter) -> Result<CustomMeter> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let defined = self.define_meter_in(&mut *unit, meter).await?;
            unit.commit().await?;
            Ok(defined)
        })
        .await
    }

    /// Defines a meter in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Metering::define_meter`].
    pub async fn define_meter_in(&self, tx: &mut dyn Tx, meter: &Meter) -> Result<CustomMeter> {
        authorize(tx, Permission::UsageRecord).await?;
        let defined = CustomMeter::define(tx.ids().fresh(), meter.clone(), tx.now())?;
        tx.meters().insert(&defined).await?;
        Ok(defined)
    }

    /// Says what the quantities of a meter count.
    ///
    /// # Errors
    /// `NotFound`; `Stale` unless `revision` is the present one.
    pub async fn change_unit(
        &self,
        ctx: &Context,
        meter: &MeterName,
        revision: i64,
        unit: Option<&Name>,
    ) -> Result<CustomMeter> {
        on_conflict(&*self.store, || async {
            let mut work = self.store.begin(ctx).await?;
            let changed = self
                .change_unit_in(&mut *work, meter, revision, unit)
                .await?;
            work.commit().await?;
            Ok(changed)
        })
        .await
    }

    /// Says what the quantities of a meter count, in a unit of work that the caller commits.
    ///
    /// # Errors
    /// As [`Metering::change_unit`].
    pub async fn change_unit_in(
        &self,
        tx: &mut dyn Tx,
        meter: &MeterName,
        revision: i64,
        unit: Option<&Name>,
    ) -> Result<CustomMeter> {
        authorize(tx, Permission::UsageRecord).await?;
        let found = tx.meters().find(std::slice::from_ref(meter)).await?;
        let found = found.into_iter().next();
        let found = found.ok_or_else(|| Error::not_found("meter", meter))?;
        must_be_present("meter", revision, found.revision)?;
        match found.in_unit(unit.cloned(), tx.now()) {
            Some(changed) => Ok(tx.meters().update(&changed).await?),
            None => Ok(found),
        }
    }

    async fn reader(&self, ctx: &Context) -> Result<Box<dyn crate::store::UnitOfWork>> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::UsageRead).await?;
        Ok(unit)
    }
}

/// Records usage, and moves the counters of the limits that it counts for.
async fn record_all(tx: &mut dyn Tx, records: &[UsageRecord]) -> Result<Vec<Recorded>> {
    let followed = Followed::open(tx, records.iter()).await?;
    let outcomes = tx.usage().record(records).await?;
    if let Some(followed) = followed {
        followed.moved(tx, new_ones(records, &outcomes)).await?;
    }
    Ok(outcomes)
}

async fn existing(tx: &mut dyn Tx, id: UsageId) -> Result<UsageRecord> {
    let found = tx.usage().get(id).await?;
    found.ok_or_else(|| Error::not_found("usage", id))
}

/// The meters of these names, as far as they are defined. Built-in meters cost no statement.
async fn find_meters(
    tx: &mut dyn Tx,
    names: impl IntoIterator<Item = &MeterName> + Send,
) -> Result<BTreeMap<MeterName, Meter>> {
    let built_in = Meter::built_in().map(|meter| (meter.name.clone(), meter));
    let mut meters = BTreeMap::from(built_in);
    let names: BTreeSet<&MeterName> = names.into_iter().collect();
    let custom = names.into_iter().filter(|name| !meters.contains_key(name));
    let custom: Vec<MeterName> = custom.cloned().collect();
    if !custom.is_empty() {
        let found = tx.meters().find(&custom).await?;
        meters.extend(found.into_iter().map(|m| (m.meter.name.clone(), m.meter)));
    }
    Ok(meters)
}

async fn every_meter(tx: &mut dyn Tx) -> Result<Vec<Meter>> {
    let custom = tx
        .meters()
        .all()
        .await?
        .into_iter()
        .map(|meter| meter.meter);
    let mut meters: Vec<Meter> = Meter::built_in().into_iter().chain(custom).collect();
    meters.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(meters)
}

/// What an item is checked against.
struct Checks {
    window: Window,
    meters: BTreeMap<MeterName, Meter>,
    now: DateTime<Utc>,
}

impl Checks {
    async fn of(tx: &mut dyn Tx, items: &[NewUsage]) -> Result<Self> {
        Ok(Self {
            window: tx.window().await?,
            meters: find_meters(tx, items.iter().map(|item| &item.meter)).await?,
            now: tx.now(),
        })
    }

    fn prepare(&self, item: &NewUsage) -> Result<UsageRecord, MeteringError> {
        let instant = item.occurred_at;
        if !self.window.holds(instant) {
            return Err(MeteringError::OutsideWindow {
                instant,
                window: self.window.describe(),
            });
        }
        let meter = self.meters.get(&item.meter);
        let meter = meter.ok_or_else(|| MeteringError::UnknownMeter {
            meter: item.meter.clone(),
        })?;
        let record = UsageRecord::supplied(item, self.now)?;
        meter.check(&record)?;
        Ok(record)
    }
}

//! Usage and the meters that tenants define.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::ids::{SubscriptionId, UsageId};
use crate::domain::metering::{CustomMeter, Meter, MeterName, Recorded, UsageRecord, UsageTotal};
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::UsageKey;
use crate::domain::time::Period;

/// Which records of usage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageFilter {
    /// Only those of this meter.
    pub meter: Option<MeterName>,
    /// Only those on this subscription's account.
    pub subscription: Option<SubscriptionId>,
    /// Only those of this key: one a month at the most.
    pub key: Option<UsageKey>,
    /// Only what occurred in this period.
    pub period: Option<Period>,
}

/// The unit's own tenant's usage.
#[async_trait]
pub trait UsageRepo: Send {
    /// Records what is not recorded yet, and answers for each record, in their order, what became
    /// of it. One whose id, or whose key in the calendar month (UTC) of its `occurred_at`, is
    /// there already stays as it was, also when it is there because it came earlier in the batch.
    ///
    /// One statement, however many records; up to two more where some were there already. Units
    /// that record the same keys wait for each other.
    ///
    /// Not checked here: whether the meter, the subscription and the corrected record exist.
    ///
    /// # Errors
    /// `OutsideWindow` when the months have no place for one of them; `NotFound` for a tenant that
    /// does not exist; `Invalid` for a quantity or price that cannot be kept exactly.
    async fn record(&mut self, records: &[UsageRecord]) -> StoreResult<Vec<Recorded>>;

    /// A record by its id.
    async fn get(&mut self, id: UsageId) -> StoreResult<Option<UsageRecord>>;

    /// The records that void or replace this one, in the order of their ids.
    async fn corrections(&mut self, id: UsageId) -> StoreResult<Vec<UsageRecord>>;

    /// The records, newest first.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    async fn page(
        &mut self,
        filter: &UsageFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<UsageRecord>>;

    /// What each of the meters adds up to in the period, of all subscriptions or of one, in their
    /// order. Equal to what [`aggregate`](crate::domain::metering::aggregate) makes of the records,
    /// to the last digit.
    ///
    /// Reads every record of the period; for meters of levels, every record before its end.
    ///
    /// # Errors
    /// `Invalid` for a total that is too large to be told exactly.
    async fn totals(
        &mut self,
        meters: &[Meter],
        period: Period,
        subscription: Option<SubscriptionId>,
    ) -> StoreResult<Vec<UsageTotal>>;
}

/// The meters that the unit's own tenant defined.
#[async_trait]
pub trait MeterRepo: Send {
    /// Adds a meter.
    ///
    /// # Errors
    /// `AlreadyExists` for a name that is taken.
    async fn insert(&mut self, meter: &CustomMeter) -> StoreResult<()>;

    /// The meters of these names, in the order of their names. Those that are not defined are
    /// left out.
    async fn find(&mut self, names: &[MeterName]) -> StoreResult<Vec<CustomMeter>>;

    /// All meters, in the order of their names.
    async fn all(&mut self) -> StoreResult<Vec<CustomMeter>>;

    /// Writes the meter's unit and answers the meter with its next revision.
    ///
    /// # Errors
    /// `Conflict` unless the stored revision is the given one.
    async fn update(&mut self, meter: &CustomMeter) -> StoreResult<CustomMeter>;
}

//! Limits: counters, reservations and the thresholds that were told.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::ids::ReservationId;
use crate::domain::limits::{
    Bounds, CountedRows, Crossing, LimitSpan, LimitTerms, Reservation, Settlement,
};

/// Use to be added to a counter without asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitUse {
    /// The counter.
    pub span: LimitSpan,
    /// How much; negative where something is given back. The counter never falls below zero.
    pub amount: i64,
    /// What thresholds are shares of; none are told without it.
    pub base: Option<u64>,
}

/// What a counter says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counter {
    /// What was used.
    pub used: u64,
    /// What is reserved besides.
    pub reserved: u64,
}

impl Counter {
    /// What is used and reserved.
    #[must_use]
    pub fn taken(self) -> u64 {
        self.used.saturating_add(self.reserved)
    }
}

/// How many of those that asked were admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// How many, from the first one on.
    pub granted: usize,
    /// The counter as it is then.
    pub counter: Counter,
}

/// How many rows may be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowAdmission {
    /// How many of those that were asked for.
    pub granted: u64,
    /// How many there are now.
    pub present: u64,
    /// The thresholds that are crossed by adding them.
    pub crossings: Vec<Crossing>,
}

/// What a settlement did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// The reservations that were held until now, in the order of their ids.
    pub reservations: Vec<Reservation>,
    /// The thresholds that were crossed.
    pub crossings: Vec<Crossing>,
}

/// A counter that was not what the rows say, and is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The counter.
    pub span: LimitSpan,
    /// What it said.
    pub before: Counter,
    /// What it says now.
    pub after: Counter,
}

/// The unit's own tenant's limits.
///
/// Counters are touched last in a unit: whoever comes after waits until the unit ends. Counters are
/// locked in the order of their limits and windows, reservations before them.
#[async_trait]
pub trait LimitRepo: Send {
    /// What decides on the limits now: the version of the plan that the tenant has subscribed to,
    /// with its billing period, or else the newest version of the tenant's plan; its own overrides;
    /// its time zone. Of several subscriptions the newest counts, and none that is over or
    /// incomplete. `None` if the tenant does not exist. One statement.
    async fn terms(&mut self) -> StoreResult<Option<LimitTerms>>;

    /// How many such rows there are.
    async fn count_rows(&mut self, rows: CountedRows) -> StoreResult<u64>;

    /// How many of `asked` rows may be added under the hard bound, and which thresholds that
    /// crosses. The unit must add them, or be dropped.
    ///
    /// Exact with any number of callers: the tenant is locked until the unit ends, or the unit
    /// loses at its commit.
    ///
    /// # Errors
    /// `NotFound` when the tenant does not exist.
    async fn admit_rows(
        &mut self,
        rows: CountedRows,
        asked: u64,
        bounds: &Bounds,
    ) -> StoreResult<RowAdmission>;

    /// Makes the counters that are not there yet. One that follows usage begins with the usage
    /// that is recorded in its window; this unit's own too, so open it before that is recorded.
    ///
    /// # Errors
    /// `NotFound` when the tenant does not exist.
    async fn open(&mut self, spans: &[LimitSpan]) -> StoreResult<()>;

    /// Reserves, in their order, as many of these as fit under the hard bound together with what
    /// is used and reserved; all of them without a bound. The first that does not fit ends it.
    ///
    /// One statement for any number, if the counter is open; it is opened otherwise. Never more
    /// than the bound is admitted, however many units ask at once.
    ///
    /// # Errors
    /// `NotFound` when the tenant does not exist; `AlreadyExists` for an id that is taken.
    async fn reserve(
        &mut self,
        span: &LimitSpan,
        hard: Option<u64>,
        asked: &[Reservation],
    ) -> StoreResult<Admission>;

    /// A reservation by its id.
    async fn reservation(&mut self, id: ReservationId) -> StoreResult<Option<Reservation>>;

    /// Settles those of these reservations that are held, also when they are past their end. The
    /// bounds say what thresholds are shares of.
    async fn settle(
        &mut self,
        ids: &[ReservationId],
        into: Settlement,
        bounds: &[Bounds],
    ) -> StoreResult<Settled>;

    /// Adds use without asking, and answers the thresholds that were crossed, each once per window
    /// and bound.
    ///
    /// # Errors
    /// `NotFound` for a counter that is not open.
    async fn record(&mut self, uses: &[LimitUse]) -> StoreResult<Vec<Crossing>>;

    /// Sets what is used, unless it grows and is then above the hard bound; `None` if so.
    ///
    /// # Errors
    /// `NotFound` when the tenant does not exist.
    async fn set_level(
        &mut self,
        span: &LimitSpan,
        level: u64,
        bounds: &Bounds,
    ) -> StoreResult<Option<Vec<Crossing>>>;

    /// What these counters say, in their order; zero for one that is not open.
    async fn counters(&mut self, spans: &[LimitSpan]) -> StoreResult<Vec<Counter>>;

    /// Gives back what the reservations of a counter hold that nobody settled in time, and answers
    /// how much that is.
    ///
    /// # Errors
    /// `Conflict` when another unit is settling one of them just now: the whole unit runs again.
    async fn expire(&mut self, span: &LimitSpan) -> StoreResult<u64>;

    /// Brings open counters in line with the rows: what is reserved with the reservations that are
    /// held, and what is used, where it follows usage, with what is recorded. Answers those that
    /// differed, in the order of their limits and windows.
    async fn reconcile(&mut self, spans: &[LimitSpan]) -> StoreResult<Vec<Drift>>;
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Reservations that nobody settled in time.
    pub expired: u64,
    /// Reservations that were forgotten.
    pub forgotten: u64,
}

/// All tenants' reservations, for the operator.
#[async_trait]
pub trait ReservationSweep: Send {
    /// Gives back what reservations hold that are past their end, and forgets those that ended
    /// more than an hour ago; at most `limit` of each, the oldest first. Those that another unit
    /// is settling are left to it.
    async fn sweep(&mut self, limit: usize) -> StoreResult<Swept>;
}

//! Limits: checked, reserved, committed, released, told.
//!
//! A host that wants to prevent something reserves before it and settles after it:
//!
//! - what only the host counts (`exports`): [`Limits::reserve`], do it, [`Limits::commit`];
//! - executions: [`Limits::reserve`], start the run, and name the reservation in the report
//!   ([`ExecutionReport::with_reservation`]). The report's usage takes the reservation's place.
//!
//! Whatever is not settled in time is given back. Workflows and users need neither: adding one
//! asks by itself.
//!
//! [`ExecutionReport::with_reservation`]: crate::domain::execution::ExecutionReport::with_reservation

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::access::authorize;
use super::limit_notes::tell;
use crate::domain::access::Permission;
use crate::domain::catalogue::{Entitlement, LimitName};
use crate::domain::context::{Context, PlatformContext};
use crate::domain::ids::ReservationId;
use crate::domain::limits::{
    Bounds, CountedBy, LimitError, LimitSpan, LimitTerms, Reservation, ReservationState, Settlement,
};
use crate::error::{Error, Result};
use crate::store::{Counter, Drift, LimitUse, Store, Swept, Tx, on_conflict};

/// How many reservations one unit of work sweeps.
const SWEPT_AT_ONCE: usize = 1_000;

/// One limit of a tenant, and what is used of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitStatus {
    /// The bounds.
    #[serde(flatten)]
    pub bounds: Bounds,
    /// What is used.
    pub used: u64,
    /// What is reserved besides.
    pub reserved: u64,
    /// The first instant of the window.
    pub window_start: DateTime<Utc>,
    /// When the count begins anew; `None` for a limit on what there is at one time.
    pub resets_at: Option<DateTime<Utc>>,
}

impl LimitStatus {
    fn new(bounds: Bounds, span: &LimitSpan, counter: Counter) -> Self {
        Self {
            bounds,
            used: counter.used,
            reserved: counter.reserved,
            window_start: span.start,
            resets_at: span.end,
        }
    }

    /// How much can still be had; `None` where there is no bound.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        let taken = self.used.saturating_add(self.reserved);
        Some(self.bounds.hard?.saturating_sub(taken))
    }
}

/// Checks and reserves what a tenant may use, and tells what it uses.
///
/// Bounds come from the version of the plan that the tenant has subscribed to, or else from the
/// newest version of the plan it is on, and from its own overrides. A tenant without a subscription
/// whose plan is not in the catalogue is limited by its overrides alone.
#[derive(Debug, Clone)]
pub struct Limits {
    store: Arc<dyn Store>,
}

impl Limits {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Asks whether so much could be had now, and answers the limit as it is. It holds nothing:
    /// the next caller may be faster. `None` where the tenant is not limited.
    ///
    /// # Errors
    /// `LimitExceeded`; `Invalid` for an override of a name that nobody knows.
    pub async fn check(
        &self,
        ctx: &Context,
        limit: &LimitName,
        amount: u64,
    ) -> Result<Option<LimitStatus>> {
        let mut unit = self.store.begin(ctx).await?;
        let tx = &mut *unit;
        authorize(tx, Permission::UsageRead).await?;
        let terms = terms(tx).await?;
        let Some(bounds) = terms.bounds(limit)? else {
            return Ok(None);
        };
        let status = status(tx, &terms, bounds).await?;
        match status.remaining() {
            Some(left) if left < amount => {
                let taken = status.used.saturating_add(status.reserved);
                Err(exceeded(&status.bounds, taken, amount, status.resets_at))
            }
            _ => Ok(Some(status)),
        }
    }

    /// Reserves so much for a while: at least a second, at most 31 days. What is not limited is
    /// counted all the same.
    ///
    /// Exact: with any number of callers at once, never one admission above the hard bound, and
    /// never one below it refused. What nobody settled in time is given back before anything is
    /// refused.
    ///
    /// # Errors
    /// `LimitExceeded`, with what is used and until when; `Invalid` for an amount of nothing, for
    /// workflows and users, which are counted by themselves, and for an override of a name that
    /// nobody knows.
    pub async fn reserve(
        &self,
        ctx: &Context,
        limit: &LimitName,
        amount: u64,
        lasting: TimeDelta,
    ) -> Result<Reservation> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let reserved = self.reserve_in(&mut *unit, limit, amount, lasting).await?;
            unit.commit().await?;
            Ok(reserved)
        })
        .await
    }

    /// Reserves in a unit that the caller commits: as the last thing in it, since whoever reserves
    /// next waits until it ends.
    ///
    /// # Errors
    /// As [`Limits::reserve`].
    pub async fn reserve_in(
        &self,
        tx: &mut dyn Tx,
        limit: &LimitName,
        amount: u64,
        lasting: TimeDelta,
    ) -> Result<Reservation> {
        authorize(tx, Permission::UsageRecord).await?;
        must_have_a_counter(limit)?;
        let terms = terms(tx).await?;
        let bounds = bounds_or_none(&terms, limit)?;
        let now = tx.now();
        let span = terms.span(&bounds, now);
        let asked = Reservation::hold(tx.ids().fresh(), &span, amount, now, lasting)?;
        let asked = [asked];
        let mut admitted = tx.limits().reserve(&span, bounds.hard, &asked).await?;
        if admitted.granted == 0 && tx.limits().expire(&span).await? > 0 {
            admitted = tx.limits().reserve(&span, bounds.hard, &asked).await?;
        }
        let [reservation] = asked;
        if admitted.granted == 0 {
            let taken = admitted.counter.taken();
            return Err(exceeded(&bounds, taken, amount, span.end));
        }
        Ok(reservation)
    }

    /// Turns a reservation into use. Doing so again changes nothing. A reservation past its end can
    /// still be committed, unless its amount was given back.
    ///
    /// # Errors
    /// `NotFound`, also for one that ended more than an hour ago; `Invalid` for one that was
    /// released or has expired.
    pub async fn commit(&self, ctx: &Context, id: ReservationId) -> Result<Reservation> {
        self.settle(ctx, id, Settlement::Commit).await
    }

    /// Commits a reservation in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Limits::commit`].
    pub async fn commit_in(&self, tx: &mut dyn Tx, id: ReservationId) -> Result<Reservation> {
        settle_in(tx, id, Settlement::Commit).await
    }

    /// Gives back what a reservation holds. Doing so again changes nothing.
    ///
    /// # Errors
    /// `NotFound`, also for one that ended more than an hour ago; `Invalid` for one that was
    /// committed.
    pub async fn release(&self, ctx: &Context, id: ReservationId) -> Result<Reservation> {
        self.settle(ctx, id, Settlement::Release).await
    }

    /// Releases a reservation in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Limits::release`].
    pub async fn release_in(&self, tx: &mut dyn Tx, id: ReservationId) -> Result<Reservation> {
        settle_in(tx, id, Settlement::Release).await
    }

    /// A reservation by its id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn reservation(&self, ctx: &Context, id: ReservationId) -> Result<Reservation> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::UsageRead).await?;
        existing(&mut *unit, id).await
    }

    /// Counts what has happened, whatever the bound.
    ///
    /// # Errors
    /// `Invalid` for what is counted by itself: workflows, users, and what follows usage.
    pub async fn record(&self, ctx: &Context, limit: &LimitName, amount: u64) -> Result<()> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            self.record_in(&mut *unit, limit, amount).await?;
            Ok(unit.commit().await?)
        })
        .await
    }

    /// Counts in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Limits::record`].
    pub async fn record_in(&self, tx: &mut dyn Tx, limit: &LimitName, amount: u64) -> Result<()> {
        authorize(tx, Permission::UsageRecord).await?;
        must_be_the_hosts(limit)?;
        Reservation::check_amount(amount)?;
        let terms = terms(tx).await?;
        let bounds = bounds_or_none(&terms, limit)?;
        let span = terms.span(&bounds, tx.now());
        tx.limits().open(std::slice::from_ref(&span)).await?;
        let used = LimitUse {
            span,
            amount: i64::try_from(amount).unwrap_or(i64::MAX),
            base: bounds.base(),
        };
        let crossings = tx.limits().record(&[used]).await?;
        tell(tx, &terms, &crossings).await
    }

    /// Sets how much there is now: seats taken, files kept. More than the bound is refused, unless
    /// it is less than before.
    ///
    /// # Errors
    /// `LimitExceeded`; `Invalid` for what is counted by itself.
    pub async fn set_level(&self, ctx: &Context, limit: &LimitName, level: u64) -> Result<()> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            self.set_level_in(&mut *unit, limit, level).await?;
            Ok(unit.commit().await?)
        })
        .await
    }

    /// Sets a level in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Limits::set_level`].
    pub async fn set_level_in(&self, tx: &mut dyn Tx, limit: &LimitName, level: u64) -> Result<()> {
        authorize(tx, Permission::UsageRecord).await?;
        must_be_the_hosts(limit)?;
        let terms = terms(tx).await?;
        let bounds = bounds_or_none(&terms, limit)?;
        let span = terms.span(&bounds, tx.now());
        match tx.limits().set_level(&span, level, &bounds).await? {
            Some(crossings) => tell(tx, &terms, &crossings).await,
            None => Err(LimitError::LevelExceeded {
                limit: limit.clone(),
                bound: bounds.hard.unwrap_or(u64::MAX),
                level,
            }
            .into()),
        }
    }

    /// All limits of the tenant with what is used of them, in the order of their names.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound` when the tenant does not exist.
    pub async fn usage(&self, ctx: &Context) -> Result<Vec<LimitStatus>> {
        let mut unit = self.store.begin(ctx).await?;
        let tx = &mut *unit;
        authorize(tx, Permission::UsageRead).await?;
        let terms = terms(tx).await?;
        statuses(tx, &terms, terms.all()).await
    }

    /// Whether the tenant's plan includes this.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound` when the tenant does not exist.
    pub async fn has(&self, ctx: &Context, entitlement: &Entitlement) -> Result<bool> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::TenantRead).await?;
        Ok(terms(&mut *unit).await?.includes(entitlement))
    }

    /// Brings the counters of the present windows in line with the rows that they follow, and
    /// answers those that differed. For a nightly job, and after a plan got a limit that it had
    /// not before.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound` when the tenant does not exist.
    pub async fn reconcile(&self, ctx: &Context) -> Result<Vec<Drift>> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let drifts = self.reconcile_in(&mut *unit).await?;
            unit.commit().await?;
            Ok(drifts)
        })
        .await
    }

    /// Reconciles in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Limits::reconcile`].
    pub async fn reconcile_in(&self, tx: &mut dyn Tx) -> Result<Vec<Drift>> {
        authorize(tx, Permission::UsageRecord).await?;
        let (terms, now) = (terms(tx).await?, tx.now());
        let all = terms.all().into_iter();
        let counted = all.filter(|b| !matches!(CountedBy::of(&b.limit), CountedBy::Rows(_)));
        let spans: Vec<LimitSpan> = counted.map(|bounds| terms.span(&bounds, now)).collect();
        Ok(tx.limits().reconcile(&spans).await?)
    }

    /// Gives back what the reservations of all tenants hold that nobody settled in time, and
    /// forgets those that ended more than an hour ago; in units of 1,000. For a job that runs every
    /// minute or so: nothing is refused wrongly without it.
    ///
    /// # Errors
    /// Those of the store; what earlier units did stays done.
    pub async fn expire(&self, ctx: &PlatformContext) -> Result<Swept> {
        let mut all = Swept::default();
        loop {
            let some = on_conflict(&*self.store, || async {
                let mut unit = self.store.begin_platform(ctx).await?;
                let swept = unit.reservations().sweep(SWEPT_AT_ONCE).await?;
                unit.commit().await?;
                Ok::<_, Error>(swept)
            })
            .await?;
            all.expired += some.expired;
            all.forgotten += some.forgotten;
            let most = SWEPT_AT_ONCE as u64;
            if some.expired < most && some.forgotten < most {
                return Ok(all);
            }
        }
    }

    async fn settle(
        &self,
        ctx: &Context,
        id: ReservationId,
        into: Settlement,
    ) -> Result<Reservation> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let settled = settle_in(&mut *unit, id, into).await?;
            unit.commit().await?;
            Ok(settled)
        })
        .await
    }
}

async fn settle_in(tx: &mut dyn Tx, id: ReservationId, into: Settlement) -> Result<Reservation> {
    authorize(tx, Permission::UsageRecord).await?;
    let terms = terms(tx).await?;
    let settled = tx.limits().settle(&[id], into, &terms.all()).await?;
    tell(tx, &terms, &settled.crossings).await?;
    if let Some(reservation) = settled.reservations.into_iter().next() {
        return Ok(reservation);
    }
    let found = existing(tx, id).await?;
    let same = match into {
        Settlement::Commit => found.state == ReservationState::Committed,
        Settlement::Release => {
            matches!(
                found.state,
                ReservationState::Released | ReservationState::Expired
            )
        }
    };
    if same {
        return Ok(found);
    }
    Err(LimitError::NotHeld {
        id,
        state: found.state,
        to: into.state(),
    }
    .into())
}

async fn existing(tx: &mut dyn Tx, id: ReservationId) -> Result<Reservation> {
    let found = tx.limits().reservation(id).await?;
    found.ok_or_else(|| Error::not_found("reservation", id))
}

async fn terms(tx: &mut dyn Tx) -> Result<LimitTerms> {
    let tenant = tx.context().tenant();
    let terms = tx.limits().terms().await?;
    terms.ok_or_else(|| Error::not_found("tenant", tenant))
}

async fn status(tx: &mut dyn Tx, terms: &LimitTerms, bounds: Bounds) -> Result<LimitStatus> {
    let limit = bounds.limit.clone();
    let status = statuses(tx, terms, vec![bounds]).await?.into_iter().next();
    status.ok_or_else(|| Error::not_found("limit", limit))
}

/// Two statements for all that have counters, and one for each kind of rows.
async fn statuses(
    tx: &mut dyn Tx,
    terms: &LimitTerms,
    all: Vec<Bounds>,
) -> Result<Vec<LimitStatus>> {
    let now = tx.now();
    let counted = |bounds: &&Bounds| !matches!(CountedBy::of(&bounds.limit), CountedBy::Rows(_));
    let spans: Vec<LimitSpan> = all
        .iter()
        .filter(counted)
        .map(|bounds| terms.span(bounds, now))
        .collect();
    // A window that nobody has opened yet may have usage all the same.
    tx.limits().open(&spans).await?;
    let mut counters = tx.limits().counters(&spans).await?.into_iter();
    let mut statuses = Vec::with_capacity(all.len());
    for bounds in all {
        let counter = match CountedBy::of(&bounds.limit) {
            CountedBy::Rows(rows) => Counter {
                used: tx.limits().count_rows(rows).await?,
                reserved: 0,
            },
            CountedBy::Usage(_) | CountedBy::Host => counters.next().unwrap_or_default(),
        };
        let span = terms.span(&bounds, now);
        statuses.push(LimitStatus::new(bounds, &span, counter));
    }
    Ok(statuses)
}

fn bounds_or_none(terms: &LimitTerms, limit: &LimitName) -> Result<Bounds> {
    let bounds = terms.bounds(limit)?;
    Ok(bounds.unwrap_or_else(|| Bounds::none(limit.clone())))
}

fn must_have_a_counter(limit: &LimitName) -> Result<()> {
    match CountedBy::of(limit) {
        CountedBy::Rows(rows) => Err(LimitError::Counted {
            limit: limit.clone(),
            by: rows.as_str(),
        }
        .into()),
        CountedBy::Usage(_) | CountedBy::Host => Ok(()),
    }
}

fn must_be_the_hosts(limit: &LimitName) -> Result<()> {
    must_have_a_counter(limit)?;
    match CountedBy::of(limit) {
        CountedBy::Usage(_) => Err(LimitError::Counted {
            limit: limit.clone(),
            by: "usage",
        }
        .into()),
        CountedBy::Rows(_) | CountedBy::Host => Ok(()),
    }
}

fn exceeded(bounds: &Bounds, used: u64, requested: u64, resets_at: Option<DateTime<Utc>>) -> Error {
    LimitError::Exceeded {
        limit: bounds.limit.clone(),
        bound: bounds.hard.unwrap_or(u64::MAX),
        used,
        requested,
        resets_at,
    }
    .into()
}

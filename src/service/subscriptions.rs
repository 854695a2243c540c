//! Subscriptions: begun, changed, renewed and ended.
//!
//! Every write locks the subscription, brings it up to date (what was due by now happens first, as
//! of its own instant) and then does what was asked. What happens is told in the same unit, under
//! the key `subscription:{id}`.
//!
//! The plan that a tenant is on by [`Tenant::plan`](crate::domain::tenancy::Tenant::plan) is the
//! operator's and follows no subscription: it counts where [`Subscriptions::current`] finds none.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::access::authorize;
use super::catalogue::book;
use super::tenants::must_be_present;
use crate::domain::access::Permission;
use crate::domain::catalogue::PriceBook;
use crate::domain::context::{Context, PlatformContext};
use crate::domain::ids::{PlanVersionId, SubscriptionId, TenantId};
use crate::domain::outbox::OutboxMessage;
use crate::domain::page::{Page, PageRequest};
use crate::domain::proration::ProrationPolicy;
use crate::domain::subscription::{
    DunningPolicy, NewSubscription, PendingLine, StripeCustomerId, StripeSubscriptionId,
    Subscription, SubscriptionAct, SubscriptionChange, SubscriptionError, SubscriptionEvent,
    SubscriptionPeriod, SubscriptionStatus, Upcoming, When,
};
use crate::domain::text::PlanCode;
use crate::error::{Error, Result};
use crate::store::{DueSubscription, Store, Tx, on_conflict};

/// How many things that were due happen to one subscription in one unit of work.
const STEPS_AT_ONCE: usize = 100;
/// How many subscriptions that are due are looked up at once.
const DUE_AT_ONCE: usize = 200;

/// What a call did, and the subscription as it is now.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SubscriptionOutcome {
    /// The subscription as it is now.
    pub subscription: Subscription,
    /// What happened, in its order; nothing if all was so already.
    pub events: Vec<SubscriptionEvent>,
    /// The lines that wait for the next invoice because of it.
    pub lines: Vec<PendingLine>,
    /// When a payment that failed is to be tried again.
    pub next_try: Option<DateTime<Utc>>,
}

impl SubscriptionOutcome {
    fn of(subscription: Subscription) -> Self {
        Self {
            subscription,
            events: Vec::new(),
            lines: Vec::new(),
            next_try: None,
        }
    }
}

/// What a run over the subscriptions that are due did.
#[derive(Debug, Default)]
#[must_use]
#[non_exhaustive]
pub struct RenewalReport {
    /// Subscriptions that are up to date now and were not before.
    pub subscriptions: u64,
    /// What happened to them: renewals, ends of trials, cancellations.
    pub events: u64,
    /// Subscriptions that could not be brought up to date, and why. They are due still.
    pub failed: Vec<(DueSubscription, Error)>,
    /// Whether there may be more to do.
    pub more: bool,
}

/// Begins, changes and renews subscriptions.
#[derive(Debug, Clone)]
pub struct Subscriptions {
    store: Arc<dyn Store>,
    proration: ProrationPolicy,
    dunning: DunningPolicy,
}

impl Subscriptions {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            proration: ProrationPolicy::default(),
            dunning: DunningPolicy::default(),
        }
    }

    /// With another way to divide a period that changes in its middle: to the second unless said
    /// otherwise.
    #[must_use]
    pub fn proration(self, proration: ProrationPolicy) -> Self {
        Self { proration, ..self }
    }

    /// With other tries for payments that fail.
    #[must_use]
    pub fn dunning(self, dunning: DunningPolicy) -> Self {
        Self { dunning, ..self }
    }

    /// Subscribes the tenant to a plan, now. A tenant can have several subscriptions.
    ///
    /// # Errors
    /// `NotFound` for a plan or a version that is not there; `Invalid` for a plan that is not
    /// active, for a charge without a price in the currency, and for what
    /// [`Subscription::start`] refuses.
    pub async fn start(&self, ctx: &Context, new: &NewSubscription) -> Result<Subscription> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let subscription = self.start_in(&mut *unit, new).await?;
            unit.commit().await?;
            Ok(subscription)
        })
        .await
    }

    /// Subscribes the tenant in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Subscriptions::start`].
    pub async fn start_in(&self, tx: &mut dyn Tx, new: &NewSubscription) -> Result<Subscription> {
        authorize(tx, Permission::BillingManage)
            .await?
            .require(new.permission())?;
        let tenant = tx.context().tenant();
        let found = tx.tenants().get().await?;
        let tenant = found.ok_or_else(|| Error::not_found("tenant", tenant))?;
        let book = book_of_plan(tx, &new.plan, new.version).await?;
        let terms = new.terms(&tenant.profile, book.version());
        let now = tx.now();
        book.must_sell_in(terms.currency, now)?;
        let change = Subscription::start(tx.ids().fresh(), book.version(), terms, now)?;
        tx.subscriptions().insert(&change).await?;
        let message = OutboxMessage::subscription(&change, &change.subscription);
        tx.outbox().enqueue(&[message]).await?;
        Ok(change.subscription)
    }

    /// Changes a subscription. A caller who has decided by what they read names its revision.
    ///
    /// # Errors
    /// `NotFound`, for a plan too; `Stale` unless a given revision is the present one; `Invalid` for
    /// what the state does not allow, with the state.
    pub async fn apply(
        &self,
        ctx: &Context,
        id: SubscriptionId,
        revision: Option<i64>,
        act: &SubscriptionAct,
    ) -> Result<SubscriptionOutcome> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let outcome = self.apply_in(&mut *unit, id, revision, act).await?;
            unit.commit().await?;
            Ok(outcome)
        })
        .await
    }

    /// Changes a subscription in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Subscriptions::apply`].
    pub async fn apply_in(
        &self,
        tx: &mut dyn Tx,
        id: SubscriptionId,
        revision: Option<i64>,
        act: &SubscriptionAct,
    ) -> Result<SubscriptionOutcome> {
        authorize(tx, Permission::BillingManage)
            .await?
            .require(act.permission())?;
        let mut outcome = SubscriptionOutcome::of(locked(tx, id).await?);
        if let Some(revision) = revision {
            must_be_present("subscription", revision, outcome.subscription.revision)?;
        }
        let now = tx.now();
        advance(tx, &mut outcome, now, usize::MAX).await?;
        if let Some(change) = self.decide(tx, &outcome.subscription, act).await? {
            write(tx, &mut outcome, change).await?;
        }
        if let SubscriptionAct::PaymentFailed { attempt } = act
            && !outcome.subscription.status.is_over()
        {
            outcome.next_try = self.dunning.next_try(*attempt, now);
        }
        Ok(outcome)
    }

    async fn decide(
        &self,
        tx: &mut dyn Tx,
        present: &Subscription,
        act: &SubscriptionAct,
    ) -> Result<Option<SubscriptionChange>> {
        use SubscriptionAct as A;
        let now = tx.now();
        Ok(match act {
            A::ChangePlan {
                plan,
                version,
                when,
            } => {
                let new = book_of_plan(tx, plan, *version).await?;
                match when {
                    When::PeriodEnd => present.change_plan_at_period_end(&new, now)?,
                    When::Now => {
                        let old = book_of_version(tx, present.plan_version).await?;
                        present.change_plan(&old, &new, self.proration, now)?
                    }
                }
            }
            A::ChangeQuantity {
                quantity,
                when: When::PeriodEnd,
            } => present.change_quantity_at_period_end(*quantity, now)?,
            A::ChangeQuantity { quantity, .. } => {
                let book = book_of_version(tx, present.plan_version).await?;
                present.change_quantity(&book, *quantity, self.proration, now)?
            }
            A::KeepPlan => present.keep_plan(now)?,
            A::EndTrial => Some(present.end_trial(now)?),
            A::Cancel { credit: false } => present.cancel(now)?,
            A::Cancel { credit: true } => {
                let book = book_of_version(tx, present.plan_version).await?;
                present.cancel_with_credit(&book, self.proration, now)?
            }
            A::CancelAtPeriodEnd => present.cancel_at_period_end(now)?,
            A::CancelAt { at } => present.cancel_at(*at, now)?,
            A::Keep => present.keep(now)?,
            A::Pause { resumes_at } => present.pause(*resumes_at, now)?,
            A::Resume => Some(present.resume(now)?),
            A::ApplyCoupon { coupon } => present.apply_coupon(*coupon, now)?,
            A::Describe { metadata } => present.described(metadata.clone(), now),
            A::Paid => present.paid(now)?,
            A::PaymentFailed { attempt } => present.payment_failed(*attempt, &self.dunning, now)?,
        })
    }

    /// Brings a subscription up to date: whatever was due by now happens to it, as of its own
    /// instant. Idempotent.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn renew(&self, ctx: &Context, id: SubscriptionId) -> Result<SubscriptionOutcome> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let outcome = self.renew_in(&mut *unit, id).await?;
            unit.commit().await?;
            Ok(outcome)
        })
        .await
    }

    /// Brings a subscription up to date in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Subscriptions::renew`].
    pub async fn renew_in(
        &self,
        tx: &mut dyn Tx,
        id: SubscriptionId,
    ) -> Result<SubscriptionOutcome> {
        authorize(tx, Permission::BillingManage).await?;
        let now = tx.now();
        renewed(tx, id, now, usize::MAX).await
    }

    /// Brings at most so many subscriptions of all tenants up to date, the longest due first: what
    /// was due by `now`, or by the store's clock if that is earlier. One unit of work for each, so a
    /// run that is cut short has lost nothing, and any number of runs may go on at once. One that
    /// fails is reported and holds back no other.
    ///
    /// # Errors
    /// When what is due cannot be read.
    pub async fn renew_due(
        &self,
        ctx: &PlatformContext,
        now: DateTime<Utc>,
        limit: usize,
    ) -> Result<RenewalReport> {
        let (mut report, mut after) = (RenewalReport::default(), None);
        let mut left = limit;
        while left > 0 {
            let mut unit = self.store.begin_platform(ctx).await?;
            let until = now.min(unit.now());
            let wanted = left.min(DUE_AT_ONCE);
            let due = unit.subscriptions().due(until, after, wanted).await?;
            drop(unit);
            for due in &due {
                match self.renew_one(ctx, *due, until).await {
                    Ok(0) => {}
                    Ok(events) => {
                        report.subscriptions += 1;
                        report.events += events;
                        left -= 1;
                    }
                    Err(error) => report.failed.push((*due, error)),
                }
            }
            after = due.last().copied();
            if due.len() < wanted {
                return Ok(report);
            }
        }
        report.more = true;
        Ok(report)
    }

    async fn renew_one(
        &self,
        ctx: &PlatformContext,
        due: DueSubscription,
        until: DateTime<Utc>,
    ) -> Result<u64> {
        let ctx = of_tenant(ctx, due.tenant);
        let mut events = 0;
        loop {
            let done = on_conflict(&*self.store, || async {
                let mut unit = self.store.begin(&ctx).await?;
                let outcome = renewed(&mut *unit, due.id, until, STEPS_AT_ONCE).await?;
                unit.commit().await?;
                Ok::<_, Error>(outcome.events.len())
            })
            .await?;
            events += done as u64;
            if done < STEPS_AT_ONCE {
                return Ok(events);
            }
        }
    }

    /// A subscription by its id, as it was last written: what is due since then has not happened
    /// to it.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, ctx: &Context, id: SubscriptionId) -> Result<Subscription> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::BillingRead).await?;
        let found = unit.subscriptions().get(id).await?;
        found.ok_or_else(|| Error::not_found("subscription", id))
    }

    /// The newest subscription that is in use; `None` if the tenant has none.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn current(&self, ctx: &Context) -> Result<Option<Subscription>> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::BillingRead).await?;
        let live = unit.subscriptions().live().await?;
        Ok(live.into_iter().find(|s| s.status.is_in_use()))
    }

    /// The subscriptions, newest first, all or those in one state.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    pub async fn list(
        &self,
        ctx: &Context,
        status: Option<SubscriptionStatus>,
        page: &PageRequest,
    ) -> Result<Page<Subscription>> {
        page.key::<SubscriptionId>()?;
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::BillingRead).await?;
        Ok(unit.subscriptions().page(status, page).await?)
    }

    /// What is going to happen to the tenant's subscriptions until an instant, in its order:
    /// renewals, ends of trials and pauses, scheduled changes and cancellations. Of each
    /// subscription the first 100.
    ///
    /// # Errors
    /// `Invalid` for an instant beyond the years that can be told.
    pub async fn upcoming(&self, ctx: &Context, until: DateTime<Utc>) -> Result<Vec<Upcoming>> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::BillingRead).await?;
        let mut all = Vec::new();
        for subscription in unit.subscriptions().live().await? {
            all.extend(subscription.upcoming(until)?);
        }
        all.sort_by_key(|upcoming| (upcoming.at, upcoming.subscription));
        Ok(all)
    }

    /// The periods of a subscription, the latest first.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    pub async fn periods(
        &self,
        ctx: &Context,
        id: SubscriptionId,
        page: &PageRequest,
    ) -> Result<Page<SubscriptionPeriod>> {
        page.key::<DateTime<Utc>>()?;
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::BillingRead).await?;
        Ok(unit.subscriptions().periods(id, page).await?)
    }

    /// The lines that wait for a subscription's next invoice.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn pending_lines(
        &self,
        ctx: &Context,
        id: SubscriptionId,
    ) -> Result<Vec<PendingLine>> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::BillingRead).await?;
        Ok(unit.subscriptions().lines(id).await?)
    }

    /// Writes Stripe's ids of a subscription, as the operator.
    ///
    /// # Errors
    /// `NotFound`; `AlreadyExists` for an id that another subscription or another tenant has.
    pub async fn link(
        &self,
        ctx: &PlatformContext,
        tenant: TenantId,
        id: SubscriptionId,
        stripe: Option<&StripeSubscriptionId>,
        customer: Option<&StripeCustomerId>,
    ) -> Result<Subscription> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin_platform(ctx).await?;
            let linked = unit.subscriptions().link(tenant, id, stripe, customer);
            let linked = linked.await?;
            unit.commit().await?;
            Ok(linked)
        })
        .await
    }

    /// Whose subscription has this id at Stripe, for the operator.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn find_by_stripe(
        &self,
        ctx: &PlatformContext,
        id: &StripeSubscriptionId,
    ) -> Result<(TenantId, SubscriptionId)> {
        let mut unit = self.store.begin_platform(ctx).await?;
        let found = unit.subscriptions().find_by_stripe(id).await?;
        found.ok_or_else(|| Error::not_found("stripe subscription", id))
    }

    /// Who has this id as a customer at Stripe, for the operator.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn find_customer(
        &self,
        ctx: &PlatformContext,
        id: &StripeCustomerId,
    ) -> Result<TenantId> {
        let mut unit = self.store.begin_platform(ctx).await?;
        let found = unit.subscriptions().find_customer(id).await?;
        found.ok_or_else(|| Error::not_found("stripe customer", id))
    }
}

/// The same actor, for one tenant.
fn of_tenant(ctx: &PlatformContext, tenant: TenantId) -> Context {
    let of_tenant = Context::new(tenant, ctx.actor().clone()).with_origin(ctx.origin());
    match ctx.reason() {
        Some(reason) => of_tenant.because(reason),
        None => of_tenant,
    }
}

async fn locked(tx: &mut dyn Tx, id: SubscriptionId) -> Result<Subscription> {
    let found = tx.subscriptions().lock(id).await?;
    found.ok_or_else(|| Error::not_found("subscription", id))
}

async fn renewed(
    tx: &mut dyn Tx,
    id: SubscriptionId,
    until: DateTime<Utc>,
    steps: usize,
) -> Result<SubscriptionOutcome> {
    let mut outcome = SubscriptionOutcome::of(locked(tx, id).await?);
    advance(tx, &mut outcome, until, steps).await?;
    Ok(outcome)
}

/// Lets happen what was due, at most so many things.
async fn advance(
    tx: &mut dyn Tx,
    outcome: &mut SubscriptionOutcome,
    until: DateTime<Utc>,
    steps: usize,
) -> Result<()> {
    for _ in 0..steps {
        let Some(change) = outcome.subscription.advance(until)? else {
            break;
        };
        write(tx, outcome, change).await?;
    }
    Ok(())
}

/// Writes a change and tells of it.
async fn write(
    tx: &mut dyn Tx,
    outcome: &mut SubscriptionOutcome,
    change: SubscriptionChange,
) -> Result<()> {
    let stored = tx.subscriptions().update(&change).await?;
    let message = OutboxMessage::subscription(&change, &stored);
    tx.outbox().enqueue(&[message]).await?;
    outcome.subscription = stored;
    outcome.events.push(change.event);
    outcome.lines.extend(change.lines);
    Ok(())
}

/// The prices of a version of a plan as the tenant sees them.
async fn book_of_version(tx: &mut dyn Tx, id: PlanVersionId) -> Result<PriceBook> {
    let version = tx.plans().version(id).await?;
    let version = version.ok_or_else(|| Error::not_found("plan version", id))?;
    book(tx, version).await
}

/// The prices of a version of a plan that can be subscribed to.
async fn book_of_plan(tx: &mut dyn Tx, code: &PlanCode, number: Option<u32>) -> Result<PriceBook> {
    let plan = tx.plans().find(code).await?;
    let plan = plan.ok_or_else(|| Error::not_found("plan", code))?;
    if !plan.active {
        let plan = plan.code;
        return Err(SubscriptionError::PlanNotActive { plan }.into());
    }
    let number = number.unwrap_or(plan.version);
    let version = tx.plans().numbered(code, number).await?;
    let version =
        version.ok_or_else(|| Error::not_found("plan version", format!("{code}/{number}")))?;
    book(tx, version).await
}

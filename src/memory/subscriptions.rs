//! Subscriptions in memory.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use imbl::OrdMap;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::audit::Audited;
use super::platform::MemoryPlatform;
use super::state::Shard;
use super::unit::MemoryTx;
use crate::domain::audit::audited_instant;
use crate::domain::catalogue::ChargeCode;
use crate::domain::ids::{SubscriptionId, TenantId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::subscription::{
    LineKind, PendingLine, StripeCustomerId, StripeSubscriptionId, Subscription,
    SubscriptionChange, SubscriptionPeriod, SubscriptionStatus,
};
use crate::store::{
    DueSubscription, StoreError, StoreErrorKind, StoreResult, SubscriptionDirectory,
    SubscriptionRepo, page_key,
};

type PeriodKey = (SubscriptionId, DateTime<Utc>);
type LineKey = (SubscriptionId, i64, ChargeCode, LineKind);

/// One tenant's subscriptions.
#[derive(Debug, Clone, Default)]
pub(super) struct SubscriptionTable {
    rows: OrdMap<SubscriptionId, Arc<Subscription>>,
    /// Counts the units that locked a subscription.
    locks: OrdMap<SubscriptionId, u64>,
    due: OrdMap<(DateTime<Utc>, SubscriptionId), ()>,
    periods: OrdMap<PeriodKey, SubscriptionPeriod>,
    lines: OrdMap<LineKey, Arc<PendingLine>>,
}

/// What Stripe's ids stand for.
#[derive(Debug, Clone, Default)]
pub(super) struct StripeTable {
    subscriptions: OrdMap<StripeSubscriptionId, (TenantId, SubscriptionId)>,
    customers: OrdMap<StripeCustomerId, TenantId>,
}

impl SubscriptionTable {
    /// The newest one that decides on limits.
    pub(super) fn granting(&self) -> Option<&Subscription> {
        let mut rows = self.rows.values().rev().map(|row| &**row);
        rows.find(|row| row.status.sets_limits())
    }

    fn get(&self, id: SubscriptionId) -> Option<Subscription> {
        self.rows.get(&id).map(|row| Subscription::clone(row))
    }

    fn put(&mut self, next: &Subscription) {
        if let Some(due) = self.rows.get(&next.id).and_then(|former| former.due_at()) {
            self.due.remove(&(due, next.id));
        }
        if let Some(due) = next.due_at() {
            self.due.insert((due, next.id), ());
        }
        self.rows.insert(next.id, Arc::new(next.clone()));
    }

    /// Writes what comes with the subscription itself.
    fn put_parts(
        &mut self,
        operation: &'static str,
        change: &SubscriptionChange,
    ) -> StoreResult<()> {
        let id = change.subscription.id;
        if let Some(period) = change.begun {
            self.periods.insert((id, period.period.start()), period);
        }
        for line in &change.lines {
            let key = (id, line.change, line.charge.clone(), line.kind);
            if self.lines.contains_key(&key) {
                return Err(taken(operation, "pending_lines_pkey"));
            }
            self.lines.insert(key, Arc::new(line.clone()));
        }
        Ok(())
    }
}

/// The constraint of the database that a subscription breaks.
fn broken(s: &Subscription) -> Option<&'static str> {
    use SubscriptionStatus as S;
    let ends = s.cancel_at_period_end || s.cancel_at.is_some() || s.ended_at.is_some();
    let rules = [
        (
            "subscriptions_period",
            s.current_period.start() < s.current_period.end(),
        ),
        (
            "subscriptions_ended",
            s.status.is_over() == s.ended_at.is_some(),
        ),
        ("subscriptions_canceled", s.canceled_at.is_some() || !ends),
        (
            "subscriptions_one_end",
            s.cancel_at.is_none() || !s.cancel_at_period_end,
        ),
        (
            "subscriptions_paused",
            (s.status == S::Paused) == s.paused_at.is_some(),
        ),
        (
            "subscriptions_resumes",
            s.resumes_at
                .is_none_or(|at| s.paused_at.is_none_or(|paused| at > paused)),
        ),
        (
            "subscriptions_trial",
            s.status != S::Trialing || s.trial_end.is_none_or(|end| end == s.current_period.end()),
        ),
        (
            "subscriptions_pending",
            s.ended_at.is_none() || s.pending.is_none(),
        ),
        (
            "subscriptions_quantity_check",
            (1..=Subscription::MAX_QUANTITY).contains(&s.quantity),
        ),
    ];
    let broken = rules.into_iter().find(|(_, kept)| !kept);
    broken.map(|(constraint, _)| constraint)
}

fn must_fit(operation: &'static str, subscription: &Subscription) -> StoreResult<()> {
    match broken(subscription) {
        None => Ok(()),
        Some(constraint) => {
            Err(StoreError::new(StoreErrorKind::Invalid, operation).with_detail(constraint))
        }
    }
}

fn taken(operation: &'static str, constraint: &str) -> StoreError {
    StoreError::new(StoreErrorKind::AlreadyExists, operation).with_detail(constraint)
}

fn missing(operation: &'static str, constraint: &str) -> StoreError {
    StoreError::new(StoreErrorKind::NotFound, operation).with_detail(constraint)
}

impl Audited for Subscription {
    const RESOURCE: &'static str = "subscriptions";

    fn resource_id(&self) -> Uuid {
        self.id.as_uuid()
    }

    fn columns(&self) -> Map<String, Value> {
        let instant = |at: Option<DateTime<Utc>>| json!(at.map(audited_instant));
        let (cycle, plan) = (&self.cycle, self.pending.plan);
        let (period, interval) = (self.current_period, self.cycle.interval());
        let of_plan = plan.map(|plan| plan.interval);
        [
            ("id", json!(self.id)),
            ("plan_version_id", json!(self.plan_version)),
            ("currency", json!(self.currency)),
            ("status", json!(self.status)),
            ("quantity", json!(self.quantity)),
            ("anchor", audited_instant(cycle.anchor())),
            ("anchor_day", json!(cycle.anchor_day())),
            ("time_zone", json!(cycle.zone().name())),
            ("billing_interval", json!(interval.unit())),
            ("interval_count", json!(interval.count())),
            ("started_at", audited_instant(self.started_at)),
            ("current_period_start", audited_instant(period.start())),
            ("current_period_end", audited_instant(period.end())),
            ("priced_at", audited_instant(self.priced_at)),
            ("trial_end", instant(self.trial_end)),
            ("cancel_at_period_end", json!(self.cancel_at_period_end)),
            ("cancel_at", instant(self.cancel_at)),
            ("canceled_at", instant(self.canceled_at)),
            ("ended_at", instant(self.ended_at)),
            ("paused_at", instant(self.paused_at)),
            ("resumes_at", instant(self.resumes_at)),
            (
                "pending_plan_version_id",
                json!(plan.map(|plan| plan.version)),
            ),
            (
                "pending_interval",
                json!(of_plan.map(|interval| interval.unit())),
            ),
            (
                "pending_interval_count",
                json!(of_plan.map(|interval| interval.count())),
            ),
            ("pending_quantity", json!(self.pending.quantity)),
            ("coupons", json!(self.coupons)),
            ("stripe_subscription_id", json!(self.stripe_subscription)),
            ("stripe_customer_id", json!(self.stripe_customer)),
            ("metadata", self.metadata.to_value()),
            ("due_at", instant(self.due_at())),
            ("created_at", audited_instant(self.created_at)),
        ]
        .into_iter()
        .map(|(column, value)| (column.to_owned(), value))
        .collect()
    }
}

impl MemoryTx {
    /// Checks that the versions and charges that a change refers to are there. They never go, so
    /// the check holds at the commit too.
    fn must_be_sold(
        &mut self,
        operation: &'static str,
        change: &SubscriptionChange,
    ) -> StoreResult<()> {
        let catalogue = self.catalogue(operation)?;
        let subscription = &change.subscription;
        let pending = subscription.pending.plan.map(|plan| plan.version);
        let found = if catalogue.version(subscription.plan_version).is_none() {
            Err(missing(operation, "subscriptions_plan_version_id_fkey"))
        } else if pending.is_some_and(|id| catalogue.version(id).is_none()) {
            Err(missing(
                operation,
                "subscriptions_pending_plan_version_id_fkey",
            ))
        } else if change.lines.iter().any(|line| {
            let version = catalogue.version(line.plan_version);
            version.is_none_or(|version| version.definition.charge(&line.charge).is_none())
        }) {
            Err(missing(operation, "pending_lines_charge"))
        } else {
            Ok(())
        };
        self.check(found)
    }
}

#[async_trait]
impl SubscriptionRepo for MemoryTx {
    async fn insert(&mut self, new: &SubscriptionChange) -> StoreResult<()> {
        const OPERATION: &str = "subscriptions.insert";
        let (mut new, stamp) = (new.clone(), Arc::clone(&self.stamp));
        new.subscription.stripe_subscription = None;
        new.subscription.stripe_customer = None;
        let sold = new.clone();
        self.write(OPERATION, move |shard| {
            let next = &new.subscription;
            must_fit(OPERATION, next)?;
            if shard.subscriptions.rows.contains_key(&next.id) {
                return Err(taken(OPERATION, "subscriptions_pkey"));
            }
            shard.subscriptions.put(next);
            shard.audit.record(&stamp, None, Some(next));
            shard.subscriptions.put_parts(OPERATION, &new)
        })?;
        self.must_be_sold(OPERATION, &sold)
    }

    async fn get(&mut self, id: SubscriptionId) -> StoreResult<Option<Subscription>> {
        Ok(self.read("subscriptions.get")?.subscriptions.get(id))
    }

    async fn lock(&mut self, id: SubscriptionId) -> StoreResult<Option<Subscription>> {
        const OPERATION: &str = "subscriptions.lock";
        self.write(OPERATION, move |shard| {
            let table = &mut shard.subscriptions;
            if table.rows.contains_key(&id) {
                *table.locks.entry(id).or_default() += 1;
            }
            Ok(table.locks.get(&id).copied())
        })?;
        Ok(self.read(OPERATION)?.subscriptions.get(id))
    }

    async fn page(
        &mut self,
        status: Option<SubscriptionStatus>,
        page: &PageRequest,
    ) -> StoreResult<Page<Subscription>> {
        const OPERATION: &str = "subscriptions.page";
        let before = self.check(page_key::<SubscriptionId>(OPERATION, page))?;
        let rows = self.read(OPERATION)?.subscriptions.rows.iter().rev();
        let rows = rows
            .filter(|(id, _)| before.is_none_or(|before| **id < before))
            .filter(|(_, row)| status.is_none_or(|status| row.status == status))
            .take(page.limit() + 1)
            .map(|(_, row)| Subscription::clone(row))
            .collect();
        Ok(Page::of(rows, page.limit(), |row: &Subscription| row.id))
    }

    async fn live(&mut self) -> StoreResult<Vec<Subscription>> {
        let rows = self.read("subscriptions.live")?.subscriptions.rows.values();
        let live = rows.rev().filter(|row| !row.status.is_over());
        Ok(live.map(|row| Subscription::clone(row)).collect())
    }

    async fn update(&mut self, change: &SubscriptionChange) -> StoreResult<Subscription> {
        const OPERATION: &str = "subscriptions.update";
        let (change, stamp) = (change.clone(), Arc::clone(&self.stamp));
        let sold = change.clone();
        let stored = self.write(OPERATION, move |shard| {
            let given = &change.subscription;
            let former = match shard.subscriptions.rows.get(&given.id) {
                Some(stored) if stored.revision == given.revision => Arc::clone(stored),
                _ => return Err(StoreError::new(StoreErrorKind::Conflict, OPERATION)),
            };
            let next = Subscription {
                currency: former.currency,
                started_at: former.started_at,
                stripe_subscription: former.stripe_subscription.clone(),
                stripe_customer: former.stripe_customer.clone(),
                created_at: former.created_at,
                revision: former.revision + 1,
                ..given.clone()
            };
            must_fit(OPERATION, &next)?;
            shard.subscriptions.put(&next);
            shard.audit.record(&stamp, Some(&*former), Some(&next));
            shard.subscriptions.put_parts(OPERATION, &change)?;
            Ok(next)
        })?;
        self.must_be_sold(OPERATION, &sold)?;
        Ok(stored)
    }

    async fn periods(
        &mut self,
        id: SubscriptionId,
        page: &PageRequest,
    ) -> StoreResult<Page<SubscriptionPeriod>> {
        const OPERATION: &str = "subscriptions.periods";
        let before = self.check(page_key::<DateTime<Utc>>(OPERATION, page))?;
        let periods = self.read(OPERATION)?.subscriptions.periods.iter().rev();
        let rows = periods
            .filter(|((of, start), _)| *of == id && before.is_none_or(|before| *start < before))
            .take(page.limit() + 1)
            .map(|(_, period)| *period)
            .collect();
        Ok(Page::of(rows, page.limit(), |row: &SubscriptionPeriod| {
            row.period.start()
        }))
    }

    async fn lines(&mut self, id: SubscriptionId) -> StoreResult<Vec<PendingLine>> {
        let lines = &self.read("subscriptions.lines")?.subscriptions.lines;
        let own = lines.iter().filter(|((of, ..), _)| *of == id);
        let mut own: Vec<_> = own.map(|(_, line)| PendingLine::clone(line)).collect();
        own.sort_by(|a, b| {
            let key = |line: &PendingLine| (line.change, line.charge.clone(), line.kind.as_str());
            key(a).cmp(&key(b))
        });
        Ok(own)
    }
}

#[async_trait]
impl SubscriptionDirectory for MemoryPlatform {
    /// Looks at every tenant.
    async fn due(
        &mut self,
        until: DateTime<Utc>,
        after: Option<DueSubscription>,
        limit: usize,
    ) -> StoreResult<Vec<DueSubscription>> {
        let state = self.read("subscriptions.due")?;
        let of_tenant = |(tenant, shard): (&TenantId, &Arc<Shard>)| {
            let due = shard.subscriptions.due.keys();
            let due = due.take_while(|(due_at, _)| *due_at <= until);
            let due = due.map(|(due_at, id)| DueSubscription {
                due_at: *due_at,
                tenant: *tenant,
                id: *id,
            });
            let due = due.filter(|due| after.is_none_or(|after| *due > after));
            due.take(limit).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = state.shards.iter().flat_map(of_tenant).collect();
        all.sort_unstable();
        all.truncate(limit);
        Ok(all)
    }

    async fn find_by_stripe(
        &mut self,
        id: &StripeSubscriptionId,
    ) -> StoreResult<Option<(TenantId, SubscriptionId)>> {
        let state = self.read("subscriptions.find_by_stripe")?;
        Ok(state.stripe.subscriptions.get(id).copied())
    }

    async fn find_customer(&mut self, id: &StripeCustomerId) -> StoreResult<Option<TenantId>> {
        let state = self.read("subscriptions.find_customer")?;
        Ok(state.stripe.customers.get(id).copied())
    }

    async fn link(
        &mut self,
        tenant: TenantId,
        id: SubscriptionId,
        stripe: Option<&StripeSubscriptionId>,
        customer: Option<&StripeCustomerId>,
    ) -> StoreResult<Subscription> {
        const OPERATION: &str = "subscriptions.link";
        let (stripe, customer) = (stripe.cloned(), customer.cloned());
        let (now, stamp) = (self.now, Arc::clone(&self.stamp));
        self.write(OPERATION, move |state| {
            let mut shard = Shard::clone(&state.shard(tenant));
            let former = shard.subscriptions.rows.get(&id).cloned();
            let former = former.ok_or_else(|| missing(OPERATION, "subscriptions"))?;
            let next = Subscription {
                stripe_subscription: stripe.clone(),
                stripe_customer: customer.clone(),
                updated_at: now,
                revision: former.revision + 1,
                ..Subscription::clone(&former)
            };
            if let Some(former) = &former.stripe_subscription {
                state.stripe.subscriptions.remove(former);
            }
            if let Some(stripe) = &stripe {
                let ids = &mut state.stripe.subscriptions;
                if ids.contains_key(stripe) {
                    return Err(taken(OPERATION, "stripe_objects_pkey"));
                }
                ids.insert(stripe.clone(), (tenant, id));
            }
            if let Some(customer) = &customer {
                let owner = *state
                    .stripe
                    .customers
                    .entry(customer.clone())
                    .or_insert(tenant);
                if owner != tenant {
                    return Err(taken(OPERATION, "stripe_objects_pkey"));
                }
            }
            shard.subscriptions.put(&next);
            shard.audit.record(&stamp, Some(&*former), Some(&next));
            state.put(tenant, shard);
            Ok(next)
        })
    }
}

//! Plans, their versions and the price book in memory.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use imbl::OrdMap;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::audit::{Audited, Stamp};
use super::platform::MemoryPlatform;
use super::state::{Shard, State};
use super::unit::MemoryTx;
use crate::domain::audit::audited_instant;
use crate::domain::catalogue::{
    ChargeCode, Plan, PlanVersion, Price, PriceOverride, PriceTerms, StripePriceId,
};
use crate::domain::ids::{OverrideId, PlanId, PlanVersionId, PriceId, TenantId};
use crate::domain::money::{Currency, Money};
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::PlanCode;
use crate::store::{
    CatalogueRepo, PlanRepo, PriceOverrideRepo, StoreError, StoreErrorKind, StoreResult, page_key,
};

/// What a price is found by, and the order of lists.
type PriceKey = (PlanVersionId, ChargeCode, Currency, DateTime<Utc>);
type OverrideKey = (PlanCode, ChargeCode, Currency, DateTime<Utc>);

/// What is sold.
#[derive(Debug, Clone, Default)]
pub(super) struct CatalogueTable {
    plans: OrdMap<PlanCode, Arc<Plan>>,
    /// Counts the units that locked a plan.
    locks: OrdMap<PlanCode, u64>,
    versions: OrdMap<PlanVersionId, Arc<PlanVersion>>,
    numbers: OrdMap<(PlanId, u32), PlanVersionId>,
    prices: OrdMap<PriceKey, Arc<Price>>,
    price_keys: OrdMap<PriceId, PriceKey>,
    stripe: OrdMap<(PlanVersionId, StripePriceId), PriceId>,
}

/// One tenant's own prices.
#[derive(Debug, Clone, Default)]
pub(super) struct OverrideTable {
    rows: OrdMap<OverrideKey, Arc<PriceOverride>>,
    keys: OrdMap<OverrideId, OverrideKey>,
}

impl CatalogueTable {
    fn page(&self, after: Option<&PlanCode>, limit: usize) -> Page<Plan> {
        let rows = self
            .plans
            .iter()
            .filter(|(code, _)| after.is_none_or(|after| *code > after))
            .take(limit + 1)
            .map(|(_, plan)| Plan::clone(plan))
            .collect();
        Page::of(rows, limit, |plan: &Plan| plan.code.clone())
    }

    fn find(&self, code: &PlanCode) -> Option<Plan> {
        self.plans.get(code).map(|plan| Plan::clone(plan))
    }

    pub(super) fn version(&self, id: PlanVersionId) -> Option<PlanVersion> {
        self.versions
            .get(&id)
            .map(|version| PlanVersion::clone(version))
    }

    fn numbered(&self, code: &PlanCode, number: u32) -> Option<PlanVersion> {
        let plan = self.plans.get(code)?;
        self.version(*self.numbers.get(&(plan.id, number))?)
    }

    /// The newest version of a plan.
    pub(super) fn newest(&self, code: &PlanCode) -> Option<PlanVersion> {
        self.numbered(code, self.plans.get(code)?.version)
    }

    fn prices(&self, version: PlanVersionId) -> Vec<Price> {
        let of_version = self.prices.iter().filter(|(key, _)| key.0 == version);
        of_version.map(|(_, price)| Price::clone(price)).collect()
    }

    fn put_version(&mut self, operation: &'static str, version: &PlanVersion) -> StoreResult<()> {
        let place = (version.plan, version.version);
        if self.versions.contains_key(&version.id) {
            return Err(taken(operation, "plan_versions_pkey"));
        }
        if self.numbers.contains_key(&place) {
            return Err(taken(operation, "plan_versions_number"));
        }
        self.numbers.insert(place, version.id);
        self.versions.insert(version.id, Arc::new(version.clone()));
        Ok(())
    }

    /// Fails where another price of the key is valid at the same time, or has the Stripe id.
    fn check_price(&self, operation: &'static str, price: &Price) -> StoreResult<()> {
        let stripe = price.stripe_price.clone();
        let owner = stripe.and_then(|id| self.stripe.get(&(price.plan_version, id)));
        if owner.is_some_and(|owner| *owner != price.id) {
            return Err(taken(operation, "price_book_stripe_price"));
        }
        let (charge, currency) = (&price.terms.charge, price.terms.currency);
        let together = self.prices.values().any(|other| {
            other.id != price.id
                && other.plan_version == price.plan_version
                && other.terms.charge == *charge
                && other.terms.currency == currency
                && meet(
                    (other.valid_from, other.valid_to),
                    (price.valid_from, price.valid_to),
                )
        });
        if together {
            return Err(taken(operation, "price_book_one_at_a_time"));
        }
        Ok(())
    }

    fn put_price(&mut self, price: &Price) {
        let key = (
            price.plan_version,
            price.terms.charge.clone(),
            price.terms.currency,
            price.valid_from,
        );
        let former = self.price_keys.get(&price.id);
        if let Some(former) = former.and_then(|key| self.prices.get(key))
            && let Some(id) = &former.stripe_price
        {
            self.stripe.remove(&(price.plan_version, id.clone()));
        }
        if let Some(id) = &price.stripe_price {
            let key = (price.plan_version, id.clone());
            self.stripe.insert(key, price.id);
        }
        self.price_keys.insert(price.id, key.clone());
        self.prices.insert(key, Arc::new(price.clone()));
    }
}

/// Whether two stretches of time have an instant in common.
fn meet(
    one: (DateTime<Utc>, Option<DateTime<Utc>>),
    other: (DateTime<Utc>, Option<DateTime<Utc>>),
) -> bool {
    one.1.is_none_or(|end| other.0 < end) && other.1.is_none_or(|end| one.0 < end)
}

impl OverrideTable {
    fn all(&self) -> Vec<PriceOverride> {
        let rows = self.rows.values();
        rows.map(|price| PriceOverride::clone(price)).collect()
    }

    fn check(&self, operation: &'static str, price: &PriceOverride) -> StoreResult<()> {
        let together = self.rows.values().any(|other| {
            other.id != price.id
                && other.plan == price.plan
                && other.terms.charge == price.terms.charge
                && other.terms.currency == price.terms.currency
                && meet(
                    (other.valid_from, other.valid_to),
                    (price.valid_from, price.valid_to),
                )
        });
        if together {
            return Err(taken(operation, "price_overrides_one_at_a_time"));
        }
        Ok(())
    }

    fn put(&mut self, price: &PriceOverride) {
        let key = (
            price.plan.clone(),
            price.terms.charge.clone(),
            price.terms.currency,
            price.valid_from,
        );
        self.keys.insert(price.id, key.clone());
        self.rows.insert(key, Arc::new(price.clone()));
    }
}

fn taken(operation: &'static str, constraint: &str) -> StoreError {
    StoreError::new(StoreErrorKind::AlreadyExists, operation).with_detail(constraint)
}

fn missing(operation: &'static str, constraint: &str) -> StoreError {
    StoreError::new(StoreErrorKind::NotFound, operation).with_detail(constraint)
}

fn changed(operation: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Conflict, operation)
}

fn columns<const N: usize>(columns: [(&str, Value); N]) -> Map<String, Value> {
    let columns = columns.into_iter();
    columns
        .map(|(column, value)| (column.to_owned(), value))
        .collect()
}

fn terms(terms: &PriceTerms) -> [(&'static str, Value); 5] {
    let commitment = terms.commitment;
    [
        ("charge", json!(terms.charge)),
        ("currency", json!(terms.currency)),
        ("model", json!(terms.model)),
        ("minimum", json!(commitment.minimum().map(Money::minor))),
        ("maximum", json!(commitment.maximum().map(Money::minor))),
    ]
}

impl Audited for Plan {
    const RESOURCE: &'static str = "plans";

    fn resource_id(&self) -> Uuid {
        self.id.as_uuid()
    }

    fn columns(&self) -> Map<String, Value> {
        columns([
            ("id", json!(self.id)),
            ("code", json!(self.code)),
            ("active", json!(self.active)),
            ("version", json!(self.version)),
            ("created_at", audited_instant(self.created_at)),
        ])
    }
}

impl Audited for PlanVersion {
    const RESOURCE: &'static str = "plan_versions";

    fn resource_id(&self) -> Uuid {
        self.id.as_uuid()
    }

    fn columns(&self) -> Map<String, Value> {
        let definition = &self.definition;
        columns([
            ("id", json!(self.id)),
            ("plan_id", json!(self.plan)),
            ("version", json!(self.version)),
            ("name", json!(definition.name)),
            ("billing_interval", json!(definition.interval.unit())),
            ("interval_count", json!(definition.interval.count())),
            ("trial_days", json!(definition.trial_days)),
            ("limits", json!(definition.limits)),
            ("entitlements", json!(definition.entitlements)),
            ("retention_days", json!(definition.retention_days)),
            ("created_at", audited_instant(self.created_at)),
        ])
    }
}

impl Audited for Price {
    const RESOURCE: &'static str = "price_book";

    fn resource_id(&self) -> Uuid {
        self.id.as_uuid()
    }

    fn columns(&self) -> Map<String, Value> {
        let mut all = columns(terms(&self.terms));
        all.extend(columns([
            ("id", json!(self.id)),
            ("plan_version_id", json!(self.plan_version)),
            ("stripe_price_id", json!(self.stripe_price)),
            ("active", json!(self.active)),
            ("valid_from", audited_instant(self.valid_from)),
            ("valid_to", json!(self.valid_to.map(audited_instant))),
            ("created_at", audited_instant(self.created_at)),
        ]));
        all
    }
}

impl Audited for PriceOverride {
    const RESOURCE: &'static str = "price_overrides";

    fn resource_id(&self) -> Uuid {
        self.id.as_uuid()
    }

    fn columns(&self) -> Map<String, Value> {
        let mut all = columns(terms(&self.terms));
        all.extend(columns([
            ("id", json!(self.id)),
            ("plan_code", json!(self.plan)),
            ("valid_from", audited_instant(self.valid_from)),
            ("valid_to", json!(self.valid_to.map(audited_instant))),
            ("created_at", audited_instant(self.created_at)),
        ]));
        all
    }
}

/// Both kinds of units read the catalogue in the same way.
macro_rules! reads_plans {
    ($unit:ty, $table:ident) => {
        #[async_trait]
        impl PlanRepo for $unit {
            async fn find(&mut self, code: &PlanCode) -> StoreResult<Option<Plan>> {
                Ok(self.$table("plans.find")?.find(code))
            }

            async fn page(&mut self, page: &PageRequest) -> StoreResult<Page<Plan>> {
                const OPERATION: &str = "plans.page";
                let after = self.check(page_key::<PlanCode>(OPERATION, page))?;
                let table = self.$table(OPERATION)?;
                Ok(table.page(after.as_ref(), page.limit()))
            }

            async fn version(&mut self, id: PlanVersionId) -> StoreResult<Option<PlanVersion>> {
                Ok(self.$table("plans.version")?.version(id))
            }

            async fn numbered(
                &mut self,
                code: &PlanCode,
                number: u32,
            ) -> StoreResult<Option<PlanVersion>> {
                Ok(self.$table("plans.numbered")?.numbered(code, number))
            }

            async fn prices(&mut self, version: PlanVersionId) -> StoreResult<Vec<Price>> {
                Ok(self.$table("plans.prices")?.prices(version))
            }
        }
    };
}
reads_plans!(MemoryTx, catalogue);
reads_plans!(MemoryPlatform, catalogue);

#[async_trait]
impl PriceOverrideRepo for MemoryTx {
    async fn all(&mut self) -> StoreResult<Vec<PriceOverride>> {
        Ok(self.read("price_overrides.all")?.overrides.all())
    }
}

#[async_trait]
impl CatalogueRepo for MemoryPlatform {
    async fn lock(&mut self, code: &PlanCode) -> StoreResult<Option<Plan>> {
        const OPERATION: &str = "plans.lock";
        let locked = code.clone();
        self.write(OPERATION, move |state| {
            let table = &mut state.catalogue;
            if table.plans.contains_key(&locked) {
                *table.locks.entry(locked.clone()).or_default() += 1;
            }
            Ok(table.locks.get(&locked).copied())
        })?;
        Ok(self.catalogue(OPERATION)?.find(code))
    }

    async fn insert(&mut self, plan: &Plan, version: &PlanVersion) -> StoreResult<()> {
        const OPERATION: &str = "plans.insert";
        let (plan, version, stamp) = (plan.clone(), version.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |state| {
            let table = &mut state.catalogue;
            if table.plans.values().any(|other| other.id == plan.id) {
                return Err(taken(OPERATION, "plans_pkey"));
            }
            if table.plans.contains_key(&plan.code) {
                return Err(taken(OPERATION, "plans_code"));
            }
            table
                .plans
                .insert(plan.code.clone(), Arc::new(plan.clone()));
            table.put_version(OPERATION, &version)?;
            state.audit.record(&stamp, None, Some(&plan));
            state.audit.record(&stamp, None, Some(&version));
            Ok(())
        })
    }

    async fn publish(&mut self, plan: &Plan, version: &PlanVersion) -> StoreResult<Plan> {
        const OPERATION: &str = "plans.publish";
        let (plan, version, stamp) = (plan.clone(), version.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |state| {
            let next = replace(state, OPERATION, &stamp, &plan)?;
            state.catalogue.put_version(OPERATION, &version)?;
            state.audit.record(&stamp, None, Some(&version));
            Ok(next)
        })
    }

    async fn update(&mut self, plan: &Plan) -> StoreResult<Plan> {
        const OPERATION: &str = "plans.update";
        let (plan, stamp) = (plan.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |state| {
            replace(state, OPERATION, &stamp, &plan)
        })
    }

    async fn insert_price(&mut self, price: &Price) -> StoreResult<()> {
        const OPERATION: &str = "plans.insert_price";
        let (price, stamp) = (price.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |state| {
            let table = &mut state.catalogue;
            if table.price_keys.contains_key(&price.id) {
                return Err(taken(OPERATION, "price_book_pkey"));
            }
            table.check_price(OPERATION, &price)?;
            let version = table.versions.get(&price.plan_version);
            let charge = version.and_then(|v| v.definition.charge(&price.terms.charge));
            if charge.is_none() {
                return Err(missing(OPERATION, "price_book_charge"));
            }
            table.put_price(&price);
            state.audit.record(&stamp, None, Some(&price));
            Ok(())
        })
    }

    async fn update_price(&mut self, price: &Price) -> StoreResult<()> {
        const OPERATION: &str = "plans.update_price";
        let (given, stamp) = (price.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |state| {
            let table = &mut state.catalogue;
            let key = table.price_keys.get(&given.id);
            let former = key.and_then(|key| table.prices.get(key)).cloned();
            let former = former.ok_or_else(|| changed(OPERATION))?;
            let next = Price {
                stripe_price: given.stripe_price.clone(),
                active: given.active,
                valid_to: given.valid_to,
                ..Price::clone(&former)
            };
            table.check_price(OPERATION, &next)?;
            table.put_price(&next);
            state.audit.record(&stamp, Some(&*former), Some(&next));
            Ok(())
        })
    }

    async fn overrides(&mut self, tenant: TenantId) -> StoreResult<Vec<PriceOverride>> {
        let state = self.read("price_overrides.of")?;
        Ok(state.shard(tenant).overrides.all())
    }

    async fn insert_override(
        &mut self,
        tenant: TenantId,
        price: &PriceOverride,
    ) -> StoreResult<()> {
        const OPERATION: &str = "price_overrides.insert";
        let (price, stamp) = (price.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |state| {
            let mut shard = Shard::clone(&state.shard(tenant));
            if shard.overrides.keys.contains_key(&price.id) {
                return Err(taken(OPERATION, "price_overrides_pkey"));
            }
            shard.overrides.check(OPERATION, &price)?;
            if shard.tenant.is_none() {
                return Err(missing(OPERATION, "price_overrides_tenant_id_fkey"));
            }
            if !state.catalogue.plans.contains_key(&price.plan) {
                return Err(missing(OPERATION, "price_overrides_plan_code_fkey"));
            }
            shard.overrides.put(&price);
            shard.audit.record(&stamp, None, Some(&price));
            state.put(tenant, shard);
            Ok(())
        })
    }

    async fn update_override(
        &mut self,
        tenant: TenantId,
        price: &PriceOverride,
    ) -> StoreResult<()> {
        const OPERATION: &str = "price_overrides.update";
        let (given, stamp) = (price.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |state| {
            let mut shard = Shard::clone(&state.shard(tenant));
            let table = &shard.overrides;
            let key = table.keys.get(&given.id);
            let former = key.and_then(|key| table.rows.get(key)).cloned();
            let former = former.ok_or_else(|| changed(OPERATION))?;
            let next = PriceOverride {
                valid_to: given.valid_to,
                ..PriceOverride::clone(&former)
            };
            shard.overrides.check(OPERATION, &next)?;
            shard.overrides.put(&next);
            shard.audit.record(&stamp, Some(&*former), Some(&next));
            state.put(tenant, shard);
            Ok(())
        })
    }
}

/// Writes a plan over the one that the caller has read.
fn replace(
    state: &mut State,
    operation: &'static str,
    stamp: &Stamp,
    given: &Plan,
) -> StoreResult<Plan> {
    let former = match state.catalogue.plans.get(&given.code) {
        Some(stored) if stored.revision == given.revision => Arc::clone(stored),
        _ => return Err(changed(operation)),
    };
    let next = Plan {
        created_at: former.created_at,
        revision: former.revision + 1,
        ..given.clone()
    };
    let code = next.code.clone();
    state.catalogue.plans.insert(code, Arc::new(next.clone()));
    state.audit.record(stamp, Some(&*former), Some(&next));
    Ok(next)
}

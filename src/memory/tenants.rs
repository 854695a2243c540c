//! Tenants in memory.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::audit::{Audited, Stamp};
use super::platform::MemoryPlatform;
use super::state::{Shard, State};
use super::unit::MemoryTx;
use crate::domain::audit::audited_instant;
use crate::domain::ids::TenantId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::tenancy::{DomainName, Tenant, TenantStatus};
use crate::store::{
    StoreError, StoreErrorKind, StoreResult, TenantDirectory, TenantRepo, page_key,
};

impl Audited for Tenant {
    const RESOURCE: &'static str = "tenants";

    fn resource_id(&self) -> Uuid {
        self.id.as_uuid()
    }

    fn columns(&self) -> Map<String, Value> {
        let profile = &self.profile;
        [
            ("id", json!(self.id)),
            ("name", json!(profile.name)),
            ("domain", json!(self.domain)),
            ("plan_type", json!(self.plan)),
            ("status", json!(self.status)),
            ("settings", profile.settings.to_value()),
            ("limits", json!(self.limits)),
            ("time_zone", json!(profile.time_zone.name())),
            ("locale", json!(profile.locale)),
            ("currency", json!(profile.currency)),
            ("created_at", audited_instant(self.created_at)),
        ]
        .into_iter()
        .map(|(column, value)| (column.to_owned(), value))
        .collect()
    }
}

#[async_trait]
impl TenantRepo for MemoryTx {
    async fn get(&mut self) -> StoreResult<Option<Tenant>> {
        Ok(self.read("tenants.get")?.tenant.clone())
    }

    async fn lock(&mut self) -> StoreResult<Option<Tenant>> {
        if self.read("tenants.lock")?.tenant.is_none() {
            return Ok(None);
        }
        // The number of earlier lockers is the answer that must be the same again at commit.
        self.write("tenants.lock", |shard| {
            shard.locks += 1;
            Ok(shard.locks)
        })?;
        Ok(self.read("tenants.lock")?.tenant.clone())
    }

    async fn update_profile(&mut self, tenant: &Tenant) -> StoreResult<Tenant> {
        let (given, stamp) = (tenant.clone(), Arc::clone(&self.stamp));
        self.write("tenants.update_profile", move |shard| {
            let stored = present(shard, "tenants.update_profile", &given)?;
            let next = Tenant {
                profile: given.profile.clone(),
                updated_at: given.updated_at,
                revision: stored.revision + 1,
                ..stored.clone()
            };
            replace(shard, &stamp, &next);
            Ok(next)
        })
    }
}

#[async_trait]
impl TenantDirectory for MemoryPlatform {
    async fn insert(&mut self, tenant: &Tenant) -> StoreResult<()> {
        const OPERATION: &str = "tenants.insert";
        let (tenant, stamp) = (tenant.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |state| {
            if state.shards.contains_key(&tenant.id) {
                return Err(StoreError::new(StoreErrorKind::AlreadyExists, OPERATION)
                    .with_detail("tenants_pkey"));
            }
            take_domain(state, OPERATION, None, &tenant)?;
            let mut shard = Shard::default();
            replace(&mut shard, &stamp, &tenant);
            state.put(tenant.id, shard);
            Ok(())
        })
    }

    async fn get(&mut self, id: TenantId) -> StoreResult<Option<Tenant>> {
        let state = self.read("tenants.get")?;
        Ok(state.shards.get(&id).and_then(|shard| shard.tenant.clone()))
    }

    async fn find_by_domain(&mut self, domain: &DomainName) -> StoreResult<Option<Tenant>> {
        let state = self.read("tenants.find_by_domain")?;
        let shard = state
            .domains
            .get(domain)
            .and_then(|id| state.shards.get(id));
        Ok(shard.and_then(|shard| shard.tenant.clone()))
    }

    async fn page(
        &mut self,
        status: Option<TenantStatus>,
        page: &PageRequest,
    ) -> StoreResult<Page<Tenant>> {
        const OPERATION: &str = "tenants.page";
        let after = self.check(page_key::<TenantId>(OPERATION, page))?;
        let rows = self
            .read(OPERATION)?
            .shards
            .iter()
            .filter(|(id, _)| after.is_none_or(|after| **id > after))
            .filter_map(|(_, shard)| shard.tenant.as_ref())
            .filter(|tenant| status.is_none_or(|status| tenant.status == status))
            .take(page.limit() + 1)
            .cloned()
            .collect();
        Ok(Page::of(rows, page.limit(), |tenant| tenant.id))
    }

    async fn update(&mut self, tenant: &Tenant) -> StoreResult<Tenant> {
        const OPERATION: &str = "tenants.update";
        let (given, stamp) = (tenant.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |state| {
            let mut shard = Shard::clone(&state.shard(given.id));
            let stored = present(&shard, OPERATION, &given)?.clone();
            take_domain(state, OPERATION, stored.domain.as_ref(), &given)?;
            let next = Tenant {
                created_at: stored.created_at,
                revision: stored.revision + 1,
                ..given.clone()
            };
            replace(&mut shard, &stamp, &next);
            state.put(given.id, shard);
            Ok(next)
        })
    }
}

/// The stored tenant, if it is still the one that the caller has read.
fn present<'s>(
    shard: &'s Shard,
    operation: &'static str,
    given: &Tenant,
) -> StoreResult<&'s Tenant> {
    match &shard.tenant {
        Some(stored) if stored.revision == given.revision => Ok(stored),
        _ => Err(StoreError::new(StoreErrorKind::Conflict, operation)),
    }
}

fn replace(shard: &mut Shard, stamp: &Stamp, next: &Tenant) {
    shard.audit.record(stamp, shard.tenant.as_ref(), Some(next));
    shard.tenant = Some(next.clone());
}

/// Moves the domain lookup from the tenant's former domain to its next one.
fn take_domain(
    state: &mut State,
    operation: &'static str,
    former: Option<&DomainName>,
    tenant: &Tenant,
) -> StoreResult<()> {
    if former == tenant.domain.as_ref() {
        return Ok(());
    }
    if let Some(domain) = &tenant.domain {
        if state.domains.contains_key(domain) {
            return Err(StoreError::new(StoreErrorKind::AlreadyExists, operation)
                .with_detail("tenant_domains_pkey"));
        }
        state.domains.insert(domain.clone(), tenant.id);
    }
    if let Some(former) = former {
        state.domains.remove(former);
    }
    Ok(())
}

//! What the memory store keeps: a shard per tenant, and what belongs to nobody.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use super::analytics::EventTable;
use super::audit::AuditTable;
use super::catalogue::{CatalogueTable, OverrideTable};
use super::executions::ExecutionTable;
use super::limits::LimitTable;
use super::metering::UsageTable;
use super::outbox::{OutboxTable, Waiting};
use super::roles::RoleTable;
use super::sources::SourceTable;
use super::subscriptions::{StripeTable, SubscriptionTable};
use super::users::UserTable;
use super::workflows::WorkflowTable;
use crate::domain::ids::TenantId;
use crate::domain::metering::{CustomMeter, MeterName};
use crate::domain::tenancy::{DomainName, Tenant};
use crate::domain::time::Month;

/// Everything, at one instant. Cloning it shares all of it.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) shards: OrdMap<TenantId, Arc<Shard>>,
    pub(super) domains: OrdMap<DomainName, TenantId>,
    pub(super) months: OrdSet<Month>,
    pub(super) events: EventTable,
    pub(super) catalogue: CatalogueTable,
    /// What Stripe's ids stand for.
    pub(super) stripe: StripeTable,
    /// The trail of what belongs to no tenant.
    pub(super) audit: AuditTable,
    /// The tenants whose messages wait for a relay; kept by [`State::put`].
    pub(super) waiting: Waiting,
}

/// What belongs to one tenant. A unit of work holds one shard, so it cannot see another's.
#[derive(Debug, Clone, Default)]
pub(super) struct Shard {
    pub(super) tenant: Option<Tenant>,
    /// Counts the commits of units that locked the tenant.
    pub(super) locks: u64,
    pub(super) sources: SourceTable,
    pub(super) workflows: WorkflowTable,
    pub(super) executions: ExecutionTable,
    pub(super) users: UserTable,
    pub(super) roles: RoleTable,
    pub(super) audit: AuditTable,
    pub(super) events: EventTable,
    pub(super) usage: UsageTable,
    pub(super) meters: OrdMap<MeterName, Arc<CustomMeter>>,
    pub(super) outbox: OutboxTable,
    pub(super) overrides: OverrideTable,
    pub(super) limits: LimitTable,
    pub(super) subscriptions: SubscriptionTable,
}

impl State {
    /// A tenant's shard; an empty one if the tenant does not exist.
    pub(super) fn shard(&self, tenant: TenantId) -> Arc<Shard> {
        self.shards.get(&tenant).cloned().unwrap_or_default()
    }

    /// Replaces a tenant's shard, and with it what is known across tenants.
    pub(super) fn put(&mut self, tenant: TenantId, shard: Shard) {
        let former = self.shards.get(&tenant).map(|shard| shard.outbox.since());
        let next = shard.outbox.since();
        self.waiting
            .follow(tenant, former.unwrap_or_default(), next);
        self.shards.insert(tenant, Arc::new(shard));
    }

    /// Changes a tenant's outbox; `None` if the tenant does not exist. The shard is copied by the
    /// first of a unit's changes only, since nobody else holds the copy.
    pub(super) fn change_outbox<T>(
        &mut self,
        tenant: TenantId,
        change: impl FnOnce(&mut OutboxTable) -> T,
    ) -> Option<T> {
        let shard = Arc::make_mut(self.shards.get_mut(&tenant)?);
        let former = shard.outbox.since();
        let answer = change(&mut shard.outbox);
        let next = shard.outbox.since();
        self.waiting.follow(tenant, former, next);
        Some(answer)
    }
}

//! Use cases: begin, read, decide, write, commit.
//!
//! Every write has two forms: the plain one opens its own unit of work and runs it again when it
//! loses a race; the one ending in `_in` joins a unit that the caller owns, so that several writes
//! hold together.

mod access;
mod analytics;
mod catalogue;
mod concurrent;
mod executions;
mod limit_notes;
mod limits;
mod metering;
mod outbox;
mod relay;
mod roles;
mod sources;
mod subscriptions;
mod sync;
mod tenants;
mod users;
mod workflow_import;
mod workflows;

use std::sync::Arc;

pub use analytics::Analytics;
pub use catalogue::{Catalogue, ImportedPlan, OverrideSet, PriceSet, Published};
pub use executions::Executions;
pub use limits::{LimitStatus, Limits};
pub use metering::Metering;
pub use outbox::Outbox;
pub use relay::{PublishError, Publisher, Relay, RelayReport};
pub use roles::Roles;
pub use sources::{IssuedSecret, Sources};
pub use subscriptions::{RenewalReport, SubscriptionOutcome, Subscriptions};
pub use sync::{SyncPolicy, UnknownWorkflow};
pub use tenants::{TenantChange, Tenants};
pub use users::Users;
pub use workflow_import::Imported;
pub use workflows::{WorkflowOutcome, Workflows};

pub use crate::domain::outbox::Delivery;
use crate::store::Store;

/// The door to everything: one per process, cheap to clone.
#[derive(Debug, Clone)]
pub struct Tenantry {
    store: Arc<dyn Store>,
}

impl Tenantry {
    /// Works on this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The store, for a host that composes its own units of work.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Tenants: the operator's view and the tenant's own.
    #[must_use]
    pub fn tenants(&self) -> Tenants {
        Tenants::new(Arc::clone(&self.store))
    }

    /// The sources of workflows and executions.
    #[must_use]
    pub fn sources(&self) -> Sources {
        Sources::new(Arc::clone(&self.store))
    }

    /// Workflows and the versions of their definitions.
    #[must_use]
    pub fn workflows(&self) -> Workflows {
        Workflows::new(Arc::clone(&self.store))
    }

    /// Executions: reports of them, and questions about them.
    #[must_use]
    pub fn executions(&self) -> Executions {
        Executions::new(Arc::clone(&self.store))
    }

    /// Analytics events.
    #[must_use]
    pub fn analytics(&self) -> Analytics {
        Analytics::new(Arc::clone(&self.store))
    }

    /// Usage and meters.
    #[must_use]
    pub fn metering(&self) -> Metering {
        Metering::new(Arc::clone(&self.store))
    }

    /// Limits: reserved, committed, told.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits::new(Arc::clone(&self.store))
    }

    /// What is sold: plans and prices.
    #[must_use]
    pub fn catalogue(&self) -> Catalogue {
        Catalogue::new(Arc::clone(&self.store))
    }

    /// Messages: written, remembered, and what an operator does about those that fail.
    #[must_use]
    pub fn outbox(&self) -> Outbox {
        Outbox::new(Arc::clone(&self.store))
    }

    /// A relay that hands the messages of all tenants to a publisher of the host's.
    pub fn relay(&self, publisher: Arc<dyn Publisher>) -> Relay {
        Relay::new(Arc::clone(&self.store), publisher)
    }

    /// Subscriptions: begun, changed, renewed and ended.
    #[must_use]
    pub fn subscriptions(&self) -> Subscriptions {
        Subscriptions::new(Arc::clone(&self.store))
    }

    /// Users: people of a tenant, from the first day to the erasure.
    #[must_use]
    pub fn users(&self) -> Users {
        Users::new(Arc::clone(&self.store))
    }

    /// Roles: what users may do, and who gave it to them.
    #[must_use]
    pub fn roles(&self) -> Roles {
        Roles::new(Arc::clone(&self.store))
    }
}

//! The contract between the services and a backend.
//!
//! A [`Store`] begins units of work. Everything that must hold together is written in one
//! [`UnitOfWork`], which belongs to one tenant and sees no other tenant's rows; a [`PlatformUnit`]
//! works across tenants and is another type, so that every such place can be found.
//!
//! # What a unit promises
//! - It reads its own writes; nobody else does before its commit.
//! - Dropping it rolls back. A commit keeps everything or nothing.
//! - Two units that change one row: one wins, the other gets [`StoreErrorKind::Conflict`], at the
//!   write or at the commit. Units that change different rows do not disturb each other.
//! - After an error of any method the unit is spent: it can only be dropped, and a commit answers
//!   [`StoreErrorKind::Spent`].
//! - A batch of nothing does nothing and succeeds, but in a spent unit.
//! - A row of another tenant is not found, not changed and not referred to, and nothing tells that
//!   it exists.
//! - Every change of an audited row is recorded in the same unit.
//!
//! Each sentence is a case of the module `conformance`, which runs on every
//! backend.
//!
//! # To add a repository
//! 1. Write its trait in a file of this folder: narrow, in terms of the business, slices where
//!    many rows are written at once.
//! 2. Add an accessor to [`Tx`] or [`PlatformUnit`]; implement it in `memory/` and `postgres/` in
//!    files of the same name, with a migration.
//! 3. Add its cases to `conformance/`: one per sentence of its docs, and the isolation cases.

mod analytics;
mod audit;
mod catalogue;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod executions;
mod limits;
mod metering;
mod months;
mod outbox;
mod page;
mod relay;
mod retry;
mod roles;
mod runtime;
mod sources;
mod subscriptions;
mod tenants;
mod users;
mod workflows;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

pub use analytics::{EventFilter, EventRepo};
pub use audit::{AuditFilter, AuditRepo};
pub use catalogue::{CatalogueRepo, PlanRepo, PlatformAuditRepo, PriceOverrideRepo};
pub use error::{StoreError, StoreErrorKind, StoreResult};
pub use executions::{Attachments, ExecutionFilter, ExecutionRepo, ExecutionUpdate};
pub use limits::{
    Admission, Counter, Drift, LimitRepo, LimitUse, ReservationSweep, RowAdmission, Settled, Swept,
};
pub use metering::{MeterRepo, UsageFilter, UsageRepo};
pub use months::MonthDirectory;
pub use outbox::OutboxRepo;
pub use page::{id_range, page_key};
pub use relay::{RelayRepo, Wake};
pub use retry::{Retryable, TRIES, on_conflict};
pub use roles::RoleRepo;
pub use runtime::{
    Clock, Entropy, FixedEntropy, ManualClock, Sleeper, SystemClock, SystemEntropy, ThreadSleeper,
    YieldSleeper, unit_time,
};
pub use sources::SourceRepo;
pub use subscriptions::{DueSubscription, SubscriptionDirectory, SubscriptionRepo};
pub use tenants::{TenantDirectory, TenantRepo};
pub use users::UserRepo;
pub use workflows::{Archive, WorkflowFilter, WorkflowRepo};

use crate::domain::context::{Context, PlatformContext};
use crate::domain::ids::IdGenerator;
pub use crate::domain::time::Window;

/// Everything that a service may touch inside one unit of work of one tenant. It cannot commit.
#[async_trait]
pub trait Tx: Send {
    /// When the unit began, by the store's clock, to the microsecond.
    fn now(&self) -> DateTime<Utc>;
    /// Who acts for which tenant.
    fn context(&self) -> &Context;
    /// Makes the ids of new rows.
    fn ids(&mut self) -> &mut IdGenerator;
    /// The instants that rows of growing tables may be about.
    async fn window(&mut self) -> StoreResult<Window>;

    /// The tenant itself.
    fn tenants(&mut self) -> &mut dyn TenantRepo;
    /// The registry of the tenant's sources.
    fn sources(&mut self) -> &mut dyn SourceRepo;
    /// The tenant's workflows.
    fn workflows(&mut self) -> &mut dyn WorkflowRepo;
    /// The tenant's executions.
    fn executions(&mut self) -> &mut dyn ExecutionRepo;
    /// The tenant's users.
    fn users(&mut self) -> &mut dyn UserRepo;
    /// The tenant's roles, and who has them.
    fn roles(&mut self) -> &mut dyn RoleRepo;
    /// The tenant's audit trail.
    fn audit(&mut self) -> &mut dyn AuditRepo;
    /// The tenant's analytics events.
    fn events(&mut self) -> &mut dyn EventRepo;
    /// The tenant's usage.
    fn usage(&mut self) -> &mut dyn UsageRepo;
    /// The meters that the tenant defined.
    fn meters(&mut self) -> &mut dyn MeterRepo;
    /// The tenant's messages.
    fn outbox(&mut self) -> &mut dyn OutboxRepo;
    /// What is sold, to every tenant.
    fn plans(&mut self) -> &mut dyn PlanRepo;
    /// The tenant's own prices.
    fn price_overrides(&mut self) -> &mut dyn PriceOverrideRepo;
    /// The tenant's limits, and what is used of them.
    fn limits(&mut self) -> &mut dyn LimitRepo;
    /// The tenant's subscriptions.
    fn subscriptions(&mut self) -> &mut dyn SubscriptionRepo;
}

/// A [`Tx`] that this crate began and may therefore end. Dropping it rolls back.
#[async_trait]
pub trait UnitOfWork: Tx {
    /// Keeps everything that was written.
    ///
    /// # Errors
    /// `Conflict` when another unit was faster; `Spent` after an earlier error; `Ambiguous` when
    /// the connection was lost and the commit may have landed.
    async fn commit(self: Box<Self>) -> StoreResult<()>;
}

/// Work across tenants: the operator's tools, the relay, archival. Dropping it rolls back.
#[async_trait]
pub trait PlatformUnit: Send {
    /// When the unit began, by the store's clock, to the microsecond.
    fn now(&self) -> DateTime<Utc>;
    /// Who acts.
    fn context(&self) -> &PlatformContext;
    /// Makes the ids of new rows.
    fn ids(&mut self) -> &mut IdGenerator;

    /// All tenants.
    fn tenants(&mut self) -> &mut dyn TenantDirectory;
    /// The months for which growing tables keep rows.
    fn months(&mut self) -> &mut dyn MonthDirectory;
    /// The analytics events that belong to no tenant.
    fn events(&mut self) -> &mut dyn EventRepo;
    /// All tenants' messages, to be published.
    fn relay(&mut self) -> &mut dyn RelayRepo;
    /// What is sold.
    fn catalogue(&mut self) -> &mut dyn CatalogueRepo;
    /// All tenants' reservations.
    fn reservations(&mut self) -> &mut dyn ReservationSweep;
    /// All tenants' subscriptions.
    fn subscriptions(&mut self) -> &mut dyn SubscriptionDirectory;
    /// The trail of what belongs to no tenant.
    fn audit(&mut self) -> &mut dyn PlatformAuditRepo;

    /// Keeps everything that was written.
    ///
    /// # Errors
    /// As [`UnitOfWork::commit`].
    async fn commit(self: Box<Self>) -> StoreResult<()>;
}

/// What a backend implements.
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// Begins a unit of work for the context's tenant.
    ///
    /// Whether the tenant exists is not asked: for one that does not, reads find nothing and
    /// writes fail with `NotFound`.
    async fn begin(&self, context: &Context) -> StoreResult<Box<dyn UnitOfWork>>;

    /// Begins a unit of work across tenants.
    async fn begin_platform(&self, context: &PlatformContext)
    -> StoreResult<Box<dyn PlatformUnit>>;

    /// Tells the time.
    fn clock(&self) -> &dyn Clock;

    /// Gives seeds for ids.
    fn entropy(&self) -> &dyn Entropy;

    /// Waits between two tries of a unit.
    fn sleeper(&self) -> &dyn Sleeper;
}

#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    async fn begin(&self, context: &Context) -> StoreResult<Box<dyn UnitOfWork>> {
        (**self).begin(context).await
    }

    async fn begin_platform(
        &self,
        context: &PlatformContext,
    ) -> StoreResult<Box<dyn PlatformUnit>> {
        (**self).begin_platform(context).await
    }

    fn clock(&self) -> &dyn Clock {
        (**self).clock()
    }

    fn entropy(&self) -> &dyn Entropy {
        (**self).entropy()
    }

    fn sleeper(&self) -> &dyn Sleeper {
        (**self).sleeper()
    }
}

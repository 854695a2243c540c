//! Plans, their versions and the price book.

use async_trait::async_trait;

use super::{AuditFilter, StoreResult};
use crate::domain::audit::AuditEntry;
use crate::domain::catalogue::{Plan, PlanVersion, Price, PriceOverride};
use crate::domain::ids::{PlanVersionId, TenantId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::PlanCode;

/// What is sold, for everybody to read.
#[async_trait]
pub trait PlanRepo: Send {
    /// A plan by its name.
    async fn find(&mut self, code: &PlanCode) -> StoreResult<Option<Plan>>;

    /// The plans in the order of their names, by code point.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    async fn page(&mut self, page: &PageRequest) -> StoreResult<Page<Plan>>;

    /// A version by its id.
    async fn version(&mut self, id: PlanVersionId) -> StoreResult<Option<PlanVersion>>;

    /// A version by its plan and its number.
    async fn numbered(&mut self, code: &PlanCode, number: u32) -> StoreResult<Option<PlanVersion>>;

    /// All prices of a version there ever were, by charge, currency and start.
    async fn prices(&mut self, version: PlanVersionId) -> StoreResult<Vec<Price>>;
}

/// What is sold, for the operator to write.
#[async_trait]
pub trait CatalogueRepo: PlanRepo {
    /// A plan, locked: whoever else locks it waits, or loses at the commit.
    async fn lock(&mut self, code: &PlanCode) -> StoreResult<Option<Plan>>;

    /// Writes a plan with its first version.
    ///
    /// # Errors
    /// `AlreadyExists` for an id or a name that is taken.
    async fn insert(&mut self, plan: &Plan, version: &PlanVersion) -> StoreResult<()>;

    /// Writes a further version, and answers the plan with its next revision.
    ///
    /// # Errors
    /// `Conflict` unless the stored revision is the plan's.
    async fn publish(&mut self, plan: &Plan, version: &PlanVersion) -> StoreResult<Plan>;

    /// Writes whether the plan can be subscribed to, and answers it with its next revision.
    ///
    /// # Errors
    /// `Conflict` unless the stored revision is the given one.
    async fn update(&mut self, plan: &Plan) -> StoreResult<Plan>;

    /// Writes a price.
    ///
    /// # Errors
    /// `AlreadyExists` for an id that is taken, for a Stripe id that is taken in the version, and where another price of the
    /// charge and the currency is valid at the same time; `NotFound` for a charge that the version
    /// has not.
    async fn insert_price(&mut self, price: &Price) -> StoreResult<()>;

    /// Writes a price's end, its Stripe id and whether new subscriptions can be made at it. What it
    /// costs is never changed.
    ///
    /// # Errors
    /// `Conflict` if there is no such price; `AlreadyExists` as for a new one.
    async fn update_price(&mut self, price: &Price) -> StoreResult<()>;

    /// All prices of a tenant's own, by plan, charge, currency and start.
    async fn overrides(&mut self, tenant: TenantId) -> StoreResult<Vec<PriceOverride>>;

    /// Writes a price of a tenant's own.
    ///
    /// # Errors
    /// `AlreadyExists` for an id that is taken, and where another one of the plan, the charge and
    /// the currency is valid at the same time; `NotFound` for a tenant or a plan that is not there.
    async fn insert_override(&mut self, tenant: TenantId, price: &PriceOverride)
    -> StoreResult<()>;

    /// Writes the end of a price of a tenant's own.
    ///
    /// # Errors
    /// `Conflict` if the tenant has no such price; `AlreadyExists` as for a new one.
    async fn update_override(&mut self, tenant: TenantId, price: &PriceOverride)
    -> StoreResult<()>;
}

/// The unit's own tenant's prices.
#[async_trait]
pub trait PriceOverrideRepo: Send {
    /// All prices of the tenant's own there ever were, by plan, charge, currency and start.
    async fn all(&mut self) -> StoreResult<Vec<PriceOverride>>;
}

/// The trail of what belongs to no tenant. It can only be read.
#[async_trait]
pub trait PlatformAuditRepo: Send {
    /// The entries, the latest first.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    async fn page(
        &mut self,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<AuditEntry>>;
}

//! Tenants, seen by themselves and by the operator.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::ids::TenantId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::tenancy::{DomainName, Tenant, TenantStatus};

/// The unit's own tenant.
#[async_trait]
pub trait TenantRepo: Send {
    /// The tenant; `None` if it does not exist.
    async fn get(&mut self) -> StoreResult<Option<Tenant>>;

    /// The tenant, locked until the unit ends: rules over several rows begin with this, since two
    /// units that hold it cannot both commit.
    ///
    /// A second caller waits or gets `Conflict`, at this call or at its commit.
    async fn lock(&mut self) -> StoreResult<Option<Tenant>>;

    /// Writes the tenant's profile and answers the tenant with its next revision.
    ///
    /// # Errors
    /// `Conflict` unless the stored revision is the given one.
    async fn update_profile(&mut self, tenant: &Tenant) -> StoreResult<Tenant>;
}

/// All tenants, for the operator.
#[async_trait]
pub trait TenantDirectory: Send {
    /// Creates a tenant.
    ///
    /// # Errors
    /// `AlreadyExists` for an id or a domain that is taken.
    async fn insert(&mut self, tenant: &Tenant) -> StoreResult<()>;

    /// A tenant by its id.
    async fn get(&mut self, id: TenantId) -> StoreResult<Option<Tenant>>;

    /// The tenant to which a domain belongs.
    async fn find_by_domain(&mut self, domain: &DomainName) -> StoreResult<Option<Tenant>>;

    /// The tenants in the order of their ids, all or those in one state.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    async fn page(
        &mut self,
        status: Option<TenantStatus>,
        page: &PageRequest,
    ) -> StoreResult<Page<Tenant>>;

    /// Writes all of the tenant and answers it with its next revision.
    ///
    /// # Errors
    /// `Conflict` unless the stored revision is the given one; `AlreadyExists` for a domain that
    /// is taken.
    async fn update(&mut self, tenant: &Tenant) -> StoreResult<Tenant>;
}

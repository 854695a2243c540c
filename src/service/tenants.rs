//! Tenants: created and steered by the operator, described by themselves.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::access::authorize;
use crate::domain::access::Permission;
use crate::domain::context::{Context, PlatformContext};
use crate::domain::ids::TenantId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::tenancy::{
    DomainName, LimitOverrides, NewTenant, TenancyError, Tenant, TenantProfile, TenantStatus,
};
use crate::domain::text::PlanCode;
use crate::error::{Error, Result};
use crate::store::{PlatformUnit, Store, Tx, on_conflict};

/// What the operator changes about a tenant; `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use]
pub struct TenantChange {
    /// The domain; `Some(None)` gives it up.
    pub domain: Option<Option<DomainName>>,
    /// The plan.
    pub plan: Option<PlanCode>,
    /// Bounds in place of the plan's.
    pub limits: Option<LimitOverrides>,
    /// What the tenant may also change itself.
    pub profile: Option<TenantProfile>,
}

/// Creates, reads and changes tenants.
#[derive(Debug, Clone)]
pub struct Tenants {
    store: Arc<dyn Store>,
}

impl Tenants {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Creates a tenant.
    ///
    /// # Errors
    /// `AlreadyExists` when its id or its domain is taken.
    pub async fn create(&self, ctx: &PlatformContext, new: NewTenant) -> Result<Tenant> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin_platform(ctx).await?;
            let tenant = self.create_in(&mut *unit, new.clone()).await?;
            unit.commit().await?;
            Ok(tenant)
        })
        .await
    }

    /// Creates a tenant in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Tenants::create`].
    pub async fn create_in(&self, unit: &mut dyn PlatformUnit, new: NewTenant) -> Result<Tenant> {
        let id = new.id.unwrap_or_else(|| unit.ids().fresh());
        let tenant = Tenant::create(id, new, unit.now());
        unit.tenants().insert(&tenant).await?;
        Ok(tenant)
    }

    /// A tenant by its id, for the operator.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub async fn get(&self, ctx: &PlatformContext, id: TenantId) -> Result<Tenant> {
        let mut unit = self.store.begin_platform(ctx).await?;
        unit.tenants()
            .get(id)
            .await?
            .ok_or_else(|| Error::not_found("tenant", id))
    }

    /// The tenant to which a domain belongs: how a host finds the tenant of a request.
    ///
    /// # Errors
    /// `NotFound` if it belongs to none.
    pub async fn find_by_domain(
        &self,
        ctx: &PlatformContext,
        domain: &DomainName,
    ) -> Result<Tenant> {
        let mut unit = self.store.begin_platform(ctx).await?;
        let found = unit.tenants().find_by_domain(domain).await?;
        found.ok_or_else(|| Error::not_found("tenant of domain", domain))
    }

    /// The tenants in the order of their ids, all or those in one state.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    pub async fn list(
        &self,
        ctx: &PlatformContext,
        status: Option<TenantStatus>,
        page: &PageRequest,
    ) -> Result<Page<Tenant>> {
        page.key::<TenantId>()?;
        let mut unit = self.store.begin_platform(ctx).await?;
        Ok(unit.tenants().page(status, page).await?)
    }

    /// Changes a tenant as the operator.
    ///
    /// # Errors
    /// `NotFound`; `Stale` unless `revision` is the present one; `AlreadyExists` for a domain that
    /// is taken.
    pub async fn change(
        &self,
        ctx: &PlatformContext,
        id: TenantId,
        revision: i64,
        change: &TenantChange,
    ) -> Result<Tenant> {
        self.update(ctx, id, Some(revision), |tenant, now| {
            if let Some(domain) = &change.domain {
                tenant.domain.clone_from(domain);
            }
            if let Some(plan) = &change.plan {
                tenant.plan = plan.clone();
            }
            if let Some(limits) = &change.limits {
                tenant.limits = limits.clone();
            }
            if let Some(profile) = &change.profile {
                tenant.profile = profile.clone();
            }
            tenant.updated_at = now;
            Ok(())
        })
        .await
    }

    /// Stops a tenant for a while: it can be read, its users can change nothing.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` unless it is active.
    pub async fn suspend(&self, ctx: &PlatformContext, id: TenantId) -> Result<Tenant> {
        self.update(ctx, id, None, Tenant::suspend).await
    }

    /// Takes a suspended tenant back into use.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` unless it is suspended.
    pub async fn reactivate(&self, ctx: &PlatformContext, id: TenantId) -> Result<Tenant> {
        self.update(ctx, id, None, Tenant::reactivate).await
    }

    /// Ends a tenant for good; its data stays until it is archived.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when it is closed already.
    pub async fn close(&self, ctx: &PlatformContext, id: TenantId) -> Result<Tenant> {
        self.update(ctx, id, None, Tenant::close).await
    }

    /// The context's own tenant.
    ///
    /// # Errors
    /// `NotFound` if it does not exist.
    pub async fn own(&self, ctx: &Context) -> Result<Tenant> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::TenantRead).await?;
        let found = unit.tenants().get().await?;
        found.ok_or_else(|| Error::not_found("tenant", ctx.tenant()))
    }

    /// Changes what a tenant may change about itself.
    ///
    /// # Errors
    /// `Stale` unless `revision` is the present one; `Forbidden` when the tenant is not active.
    pub async fn change_profile(
        &self,
        ctx: &Context,
        revision: i64,
        profile: &TenantProfile,
    ) -> Result<Tenant> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let tenant = self
                .change_profile_in(&mut *unit, revision, profile)
                .await?;
            unit.commit().await?;
            Ok(tenant)
        })
        .await
    }

    /// Changes the profile in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Tenants::change_profile`].
    pub async fn change_profile_in(
        &self,
        tx: &mut dyn Tx,
        revision: i64,
        profile: &TenantProfile,
    ) -> Result<Tenant> {
        authorize(tx, Permission::TenantUpdate).await?;
        let (id, now) = (tx.context().tenant(), tx.now());
        let found = tx.tenants().get().await?;
        let mut tenant = found.ok_or_else(|| Error::not_found("tenant", id))?;
        must_be_present("tenant", revision, tenant.revision)?;
        tenant.change_profile(profile.clone(), now)?;
        Ok(tx.tenants().update_profile(&tenant).await?)
    }

    async fn update(
        &self,
        ctx: &PlatformContext,
        id: TenantId,
        revision: Option<i64>,
        change: impl Fn(&mut Tenant, DateTime<Utc>) -> Result<(), TenancyError> + Send + Sync,
    ) -> Result<Tenant> {
        let change = &change;
        on_conflict(&*self.store, || async move {
            let mut unit = self.store.begin_platform(ctx).await?;
            let found = unit.tenants().get(id).await?;
            let mut tenant = found.ok_or_else(|| Error::not_found("tenant", id))?;
            if let Some(revision) = revision {
                must_be_present("tenant", revision, tenant.revision)?;
            }
            change(&mut tenant, unit.now())?;
            let tenant = unit.tenants().update(&tenant).await?;
            unit.commit().await?;
            Ok(tenant)
        })
        .await
    }
}

/// Checks that the caller decided on the present state of an entity.
pub(super) fn must_be_present(entity: &'static str, given: i64, present: i64) -> Result<()> {
    if given == present {
        Ok(())
    } else {
        Err(Error::Stale {
            entity,
            given,
            present,
        })
    }
}

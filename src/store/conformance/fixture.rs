//! What a case works with.

use std::sync::Arc;

use chrono::{DateTime, TimeZone, Utc};

use super::Backend;
use crate::domain::context::{Context, PlatformContext};
use crate::domain::identity::{NewUser, User};
use crate::domain::ids::TenantId;
use crate::domain::page::PageRequest;
use crate::domain::tenancy::{DomainName, NewTenant, Tenant};
use crate::domain::text::Email;
use crate::store::{ManualClock, PlatformUnit, Store, StoreError, StoreErrorKind, UnitOfWork};

/// A fresh store, and the clock it reads.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// The store under test.
    pub store: Arc<dyn Store>,
    /// Its clock: noon of 15 November 2026 at first.
    pub clock: Arc<ManualClock>,
}

impl Fixture {
    /// Asks the backend for a fresh store.
    pub async fn new(backend: &dyn Backend) -> Self {
        let clock = Arc::new(ManualClock::at(Self::start()));
        Self {
            store: backend.fresh(Arc::clone(&clock)).await,
            clock,
        }
    }

    /// The instant at which the clock stands first.
    #[must_use]
    pub fn start() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 15, 12, 0, 0).unwrap()
    }

    /// Creates a tenant and answers its context, in which everything is permitted.
    pub async fn tenant(&self, name: &str) -> Context {
        let tenant = self.create(NewTenant::named(name).unwrap()).await.unwrap();
        Context::system(tenant.id)
    }

    /// Two tenants, for the cases of isolation.
    pub async fn two_tenants(&self) -> (Context, Context) {
        (self.tenant("one").await, self.tenant("two").await)
    }

    /// Creates a tenant.
    pub async fn create(&self, new: NewTenant) -> Result<Tenant, StoreError> {
        let mut unit = self.platform().await;
        let id: TenantId = new.id.unwrap_or_else(|| unit.ids().fresh());
        let tenant = Tenant::create(id, new, unit.now());
        unit.tenants().insert(&tenant).await?;
        unit.commit().await?;
        Ok(tenant)
    }

    /// Creates a user of a tenant, with an address and nothing else.
    pub async fn user(&self, context: &Context, email: &str) -> User {
        let mut unit = self.unit(context).await;
        let new = NewUser::new(Email::new(email).unwrap());
        let user = User::create(unit.ids().fresh(), new, unit.now());
        unit.users().insert(&user).await.unwrap();
        unit.commit().await.unwrap();
        user
    }

    /// A unit of one tenant.
    pub async fn unit(&self, context: &Context) -> Box<dyn UnitOfWork> {
        self.store.begin(context).await.unwrap()
    }

    /// A unit across tenants.
    pub async fn platform(&self) -> Box<dyn PlatformUnit> {
        self.store
            .begin_platform(&PlatformContext::system())
            .await
            .unwrap()
    }
}

/// The page that holds everything a case writes.
#[must_use]
pub(super) fn all() -> PageRequest {
    PageRequest::first(PageRequest::MAX)
}

/// Asserts the kind of an error.
#[track_caller]
pub(super) fn fails<T: std::fmt::Debug>(result: Result<T, StoreError>, kind: StoreErrorKind) {
    match result {
        Err(error) if error.kind() == kind => {}
        other => panic!("expected {kind:?}, got {other:?}"),
    }
}

/// A domain name that is known to be right.
#[must_use]
pub(super) fn domain(name: &str) -> DomainName {
    DomainName::new(name).unwrap()
}

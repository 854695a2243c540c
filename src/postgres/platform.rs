//! A unit of work across tenants on PostgreSQL.

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::error::commit_error;
use super::relay::Turn;
use super::session::Session;
use crate::domain::context::PlatformContext;
use crate::domain::ids::IdGenerator;
use crate::store::{
    CatalogueRepo, EventRepo, MonthDirectory, PlatformAuditRepo, PlatformUnit, RelayRepo,
    ReservationSweep, StoreResult, SubscriptionDirectory, TenantDirectory,
};

/// One transaction in the role `tenantry_platform`.
pub(super) struct PgPlatform {
    pub(super) session: Session<'static>,
    context: PlatformContext,
    pub(super) now: DateTime<Utc>,
    pub(super) ids: IdGenerator,
    /// Where the next claim begins to look for new messages.
    pub(super) turn: Turn,
}

impl PgPlatform {
    pub(super) fn new(
        session: Session<'static>,
        context: PlatformContext,
        now: DateTime<Utc>,
        ids: IdGenerator,
        turn: Turn,
    ) -> Self {
        Self {
            session,
            context,
            now,
            ids,
            turn,
        }
    }
}

impl fmt::Debug for PgPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgPlatform")
            .field("context", &self.context)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl PlatformUnit for PgPlatform {
    fn now(&self) -> DateTime<Utc> {
        self.now
    }

    fn context(&self) -> &PlatformContext {
        &self.context
    }

    fn ids(&mut self) -> &mut IdGenerator {
        &mut self.ids
    }

    fn tenants(&mut self) -> &mut dyn TenantDirectory {
        self
    }

    fn months(&mut self) -> &mut dyn MonthDirectory {
        self
    }

    fn events(&mut self) -> &mut dyn EventRepo {
        self
    }

    fn relay(&mut self) -> &mut dyn RelayRepo {
        self
    }

    fn catalogue(&mut self) -> &mut dyn CatalogueRepo {
        self
    }

    fn reservations(&mut self) -> &mut dyn ReservationSweep {
        self
    }

    fn subscriptions(&mut self) -> &mut dyn SubscriptionDirectory {
        self
    }

    fn audit(&mut self) -> &mut dyn PlatformAuditRepo {
        self
    }

    async fn commit(self: Box<Self>) -> StoreResult<()> {
        self.session
            .into_transaction()?
            .commit()
            .await
            .map_err(commit_error)
    }
}

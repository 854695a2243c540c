//! A unit of work of one tenant on PostgreSQL.

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::commit_error;
use super::months::read_months;
use super::session::Session;
use super::wake::Bell;
use crate::domain::context::Context;
use crate::domain::ids::IdGenerator;
use crate::store::{
    AuditRepo, EventRepo, ExecutionRepo, LimitRepo, MeterRepo, OutboxRepo, PlanRepo,
    PriceOverrideRepo, RoleRepo, SourceRepo, StoreResult, SubscriptionRepo, TenantRepo, Tx,
    UnitOfWork, UsageRepo, UserRepo, Window, WorkflowRepo,
};

/// One transaction that sees one tenant's rows.
pub(super) struct PgTx<'c> {
    pub(super) session: Session<'c>,
    context: Context,
    pub(super) now: DateTime<Utc>,
    ids: IdGenerator,
    /// Whether relays should be told once this unit has committed.
    pub(super) tells: bool,
    bell: Option<Bell>,
}

impl<'c> PgTx<'c> {
    pub(super) fn new(
        session: Session<'c>,
        context: Context,
        now: DateTime<Utc>,
        ids: IdGenerator,
        bell: Option<Bell>,
    ) -> Self {
        Self {
            session,
            context,
            now,
            ids,
            tells: false,
            bell,
        }
    }

    /// The tenant that every statement names, besides the policy that demands it.
    pub(super) fn tenant(&self) -> Uuid {
        self.context.tenant().as_uuid()
    }
}

impl fmt::Debug for PgTx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgTx")
            .field("context", &self.context)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Tx for PgTx<'_> {
    fn now(&self) -> DateTime<Utc> {
        self.now
    }

    fn context(&self) -> &Context {
        &self.context
    }

    fn ids(&mut self) -> &mut IdGenerator {
        &mut self.ids
    }

    async fn window(&mut self) -> StoreResult<Window> {
        let months = read_months(&mut self.session, "window").await?;
        Ok(Window::new(months, self.now))
    }

    fn tenants(&mut self) -> &mut dyn TenantRepo {
        self
    }

    fn sources(&mut self) -> &mut dyn SourceRepo {
        self
    }

    fn workflows(&mut self) -> &mut dyn WorkflowRepo {
        self
    }

    fn executions(&mut self) -> &mut dyn ExecutionRepo {
        self
    }

    fn users(&mut self) -> &mut dyn UserRepo {
        self
    }

    fn roles(&mut self) -> &mut dyn RoleRepo {
        self
    }

    fn audit(&mut self) -> &mut dyn AuditRepo {
        self
    }

    fn events(&mut self) -> &mut dyn EventRepo {
        self
    }

    fn usage(&mut self) -> &mut dyn UsageRepo {
        self
    }

    fn meters(&mut self) -> &mut dyn MeterRepo {
        self
    }

    fn outbox(&mut self) -> &mut dyn OutboxRepo {
        self
    }

    fn plans(&mut self) -> &mut dyn PlanRepo {
        self
    }

    fn price_overrides(&mut self) -> &mut dyn PriceOverrideRepo {
        self
    }

    fn limits(&mut self) -> &mut dyn LimitRepo {
        self
    }

    fn subscriptions(&mut self) -> &mut dyn SubscriptionRepo {
        self
    }
}

#[async_trait]
impl UnitOfWork for PgTx<'static> {
    async fn commit(self: Box<Self>) -> StoreResult<()> {
        self.session
            .into_transaction()?
            .commit()
            .await
            .map_err(commit_error)?;
        if let Some(bell) = self.bell.filter(|_| self.tells) {
            bell.ring();
        }
        Ok(())
    }
}

//! A unit of work in memory: a snapshot, a view of its own, and the journal that makes it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Shared;
use super::audit::Stamp;
use super::catalogue::CatalogueTable;
use super::journal::Journal;
use super::months::must_be_kept;
use super::state::{Shard, State};
use crate::domain::context::Context;
use crate::domain::ids::IdGenerator;
use crate::store::{
    AuditRepo, EventRepo, ExecutionRepo, LimitRepo, MeterRepo, OutboxRepo, PlanRepo,
    PriceOverrideRepo, RoleRepo, SourceRepo, StoreError, StoreErrorKind, StoreResult,
    SubscriptionRepo, TenantRepo, Tx, UnitOfWork, UsageRepo, UserRepo, Window, WorkflowRepo,
};

/// One unit of work of one tenant.
pub(super) struct MemoryTx {
    shared: Shared,
    snapshot: Arc<State>,
    journal: Journal<Shard>,
    context: Context,
    pub(super) now: DateTime<Utc>,
    ids: IdGenerator,
    /// Who, when and why, for the audit trail.
    pub(super) stamp: Arc<Stamp>,
}

impl MemoryTx {
    pub(super) fn begin(
        shared: Shared,
        context: Context,
        now: DateTime<Utc>,
        ids: IdGenerator,
    ) -> Self {
        let snapshot = shared.snapshot();
        Self {
            shared,
            journal: Journal::new(snapshot.shard(context.tenant())),
            snapshot,
            stamp: Arc::new(Stamp::new(context.platform(), now)),
            context,
            now,
            ids,
        }
    }

    /// The tenant's rows as this unit sees them.
    pub(super) fn read(&self, operation: &'static str) -> StoreResult<&Shard> {
        self.journal.read(operation)
    }

    /// What is sold, as it was when the unit began.
    pub(super) fn catalogue(&self, operation: &'static str) -> StoreResult<&CatalogueTable> {
        self.journal.read(operation)?;
        Ok(&self.snapshot.catalogue)
    }

    /// Changes the tenant's rows: see [`Journal::write`].
    ///
    /// # Errors
    /// `NotFound` when the tenant does not exist, besides those of `write`.
    pub(super) fn write<T>(
        &mut self,
        operation: &'static str,
        write: impl Fn(&mut Shard) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T>
    where
        T: PartialEq + Clone + Send + 'static,
    {
        self.journal.write(operation, move |shard| {
            if shard.tenant.is_some() {
                write(shard)
            } else {
                Err(StoreError::new(StoreErrorKind::NotFound, operation).with_detail("tenant"))
            }
        })
    }

    /// Checks that there are months for rows of `table` about these instants.
    pub(super) fn must_be_kept(
        &mut self,
        operation: &'static str,
        table: &'static str,
        instants: impl IntoIterator<Item = DateTime<Utc>>,
    ) -> StoreResult<()> {
        self.read(operation)?;
        let kept = must_be_kept(&self.snapshot.months, operation, table, instants);
        self.check(kept)
    }

    /// Passes a result on; after an error the unit is spent.
    pub(super) fn check<T>(&mut self, result: StoreResult<T>) -> StoreResult<T> {
        self.journal.check(result)
    }
}

impl fmt::Debug for MemoryTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTx")
            .field("context", &self.context)
            .field("now", &self.now)
            .field("writes", &self.journal.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Tx for MemoryTx {
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
        self.read("window")?;
        Ok(Window::new(
            self.snapshot.months.iter().copied().collect(),
            self.now,
        ))
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
impl UnitOfWork for MemoryTx {
    async fn commit(self: Box<Self>) -> StoreResult<()> {
        let written = self.read("commit")?.outbox.written();
        let Self {
            shared,
            journal,
            context,
            ..
        } = *self;
        if journal.is_empty() {
            return Ok(());
        }
        let tells = written > journal.base().outbox.written();
        let tenant = context.tenant();
        shared.replace(|newest| {
            let shard = journal.onto(&newest.shard(tenant))?;
            let mut state = State::clone(newest);
            state.put(tenant, shard);
            Ok(state)
        })?;
        if tells {
            shared.bell.ring();
        }
        Ok(())
    }
}

//! A unit of work in memory: a snapshot, a view of its own, and the journal that makes it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Shared;
use super::audit::Stamp;
use super::months::must_be_kept;
use super::state::{Shard, State};
use crate::domain::context::Context;
use crate::domain::ids::IdGenerator;
use crate::store::{
    AuditRepo, EventRepo, ExecutionRepo, MeterRepo, OutboxRepo, RoleRepo, SourceRepo, StoreError,
    StoreErrorKind, StoreResult, TenantRepo, Tx, UnitOfWork, UsageRepo, UserRepo, Window,
    WorkflowRepo,
};

type Write = Box<dyn Fn(&mut Shard) -> StoreResult<()> + Send>;

/// One unit of work of one tenant.
pub(super) struct MemoryTx {
    shared: Shared,
    snapshot: Arc<State>,
    base: Arc<Shard>,
    /// The shard as this unit sees it: the snapshot with the journal applied.
    pub(super) view: Shard,
    journal: Vec<Write>,
    context: Context,
    pub(super) now: DateTime<Utc>,
    ids: IdGenerator,
    /// Who, when and why, for the audit trail.
    pub(super) stamp: Arc<Stamp>,
    spent: bool,
}

impl MemoryTx {
    pub(super) fn begin(
        shared: Shared,
        context: Context,
        now: DateTime<Utc>,
        ids: IdGenerator,
    ) -> Self {
        let snapshot = shared.snapshot();
        let base = snapshot.shard(context.tenant());
        Self {
            shared,
            snapshot,
            view: Shard::clone(&base),
            base,
            journal: Vec::new(),
            stamp: Arc::new(Stamp::new(context.platform(), now)),
            context,
            now,
            ids,
            spent: false,
        }
    }

    /// The view, for a method that only reads.
    pub(super) fn read(&self, operation: &'static str) -> StoreResult<&Shard> {
        if self.spent {
            return Err(StoreError::new(StoreErrorKind::Spent, operation));
        }
        Ok(&self.view)
    }

    /// Applies `write` to the view now, and to the newest state at commit.
    ///
    /// Where the second answer differs from the first, the unit has decided on something that is
    /// no longer so, and the commit is a conflict.
    pub(super) fn write<T>(
        &mut self,
        operation: &'static str,
        write: impl Fn(&mut Shard) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T>
    where
        T: PartialEq + Clone + Send + 'static,
    {
        self.read(operation)?;
        let result = if self.view.tenant.is_some() {
            write(&mut self.view)
        } else {
            Err(StoreError::new(StoreErrorKind::NotFound, operation).with_detail("tenant"))
        };
        let answer = self.check(result)?;
        let expected = answer.clone();
        self.journal.push(Box::new(move |shard| {
            if write(shard)? == expected {
                Ok(())
            } else {
                Err(StoreError::new(StoreErrorKind::Conflict, operation))
            }
        }));
        Ok(answer)
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
        self.spent |= result.is_err();
        result
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
}

#[async_trait]
impl UnitOfWork for MemoryTx {
    async fn commit(self: Box<Self>) -> StoreResult<()> {
        self.read("commit")?;
        if self.journal.is_empty() {
            return Ok(());
        }
        let Self {
            shared,
            base,
            view,
            journal,
            context,
            ..
        } = *self;
        let tenant = context.tenant();
        let tells = view.outbox.written() > base.outbox.written();
        shared.replace(|newest| {
            let current = newest.shard(tenant);
            let shard = if Arc::ptr_eq(&current, &base) {
                view
            } else {
                let mut shard = Shard::clone(&current);
                for write in &journal {
                    write(&mut shard)?;
                }
                shard
            };
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

//! A unit of work across tenants, in memory.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Shared;
use super::audit::Stamp;
use super::catalogue::CatalogueTable;
use super::journal::Journal;
use super::months::must_be_kept;
use super::state::State;
use crate::domain::context::PlatformContext;
use crate::domain::ids::IdGenerator;
use crate::store::{
    CatalogueRepo, EventRepo, MonthDirectory, PlatformAuditRepo, PlatformUnit, RelayRepo,
    ReservationSweep, StoreResult, SubscriptionDirectory, TenantDirectory,
};

/// One unit of work across tenants.
pub(super) struct MemoryPlatform {
    shared: Shared,
    journal: Journal<State>,
    context: PlatformContext,
    pub(super) now: DateTime<Utc>,
    pub(super) ids: IdGenerator,
    /// Who, when and why, for the audit trail.
    pub(super) stamp: Arc<Stamp>,
}

impl MemoryPlatform {
    pub(super) fn begin(
        shared: Shared,
        context: PlatformContext,
        now: DateTime<Utc>,
        ids: IdGenerator,
    ) -> Self {
        Self {
            journal: Journal::new(shared.snapshot()),
            shared,
            stamp: Arc::new(Stamp::new(&context, now)),
            context,
            now,
            ids,
        }
    }

    /// All rows as this unit sees them.
    pub(super) fn read(&self, operation: &'static str) -> StoreResult<&State> {
        self.journal.read(operation)
    }

    /// What is sold.
    pub(super) fn catalogue(&self, operation: &'static str) -> StoreResult<&CatalogueTable> {
        Ok(&self.read(operation)?.catalogue)
    }

    /// Changes rows: see [`Journal::write`].
    pub(super) fn write<T>(
        &mut self,
        operation: &'static str,
        write: impl Fn(&mut State) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T>
    where
        T: PartialEq + Clone + Send + 'static,
    {
        self.journal.write(operation, write)
    }

    /// Checks that there are months for rows of `table` about these instants.
    pub(super) fn must_be_kept(
        &mut self,
        operation: &'static str,
        table: &'static str,
        instants: impl IntoIterator<Item = DateTime<Utc>>,
    ) -> StoreResult<()> {
        let months = &self.read(operation)?.months;
        let kept = must_be_kept(months, operation, table, instants);
        self.check(kept)
    }

    /// Passes a result on; after an error the unit is spent.
    pub(super) fn check<T>(&mut self, result: StoreResult<T>) -> StoreResult<T> {
        self.journal.check(result)
    }
}

impl fmt::Debug for MemoryPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryPlatform")
            .field("context", &self.context)
            .field("now", &self.now)
            .field("writes", &self.journal.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl PlatformUnit for MemoryPlatform {
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
        self.read("commit")?;
        let Self {
            shared, journal, ..
        } = *self;
        if journal.is_empty() {
            return Ok(());
        }
        shared.replace(|newest| journal.onto(newest))
    }
}

//! The store in memory: for development, tests and small embedded uses.
//!
//! State is kept in persistent ordered maps, one set per tenant, so that a snapshot costs nothing
//! and a write costs O(log n) however much is stored. A unit works on a snapshot of its own tenant
//! and keeps a journal; at commit the journal is applied again to the newest state, with its
//! preconditions, unless nobody else has committed in between. No lock is held across an await.
//!
//! It enforces what the database enforces: unique keys, references, isolation, the audit trail,
//! and gives the same kinds of errors. Nothing is written to disk.

mod analytics;
mod audit;
mod catalogue;
mod executions;
mod journal;
mod limits;
mod metering;
mod months;
mod outbox;
mod platform;
mod relay;
mod roles;
mod sources;
mod state;
mod subscriptions;
mod tenants;
mod unit;
mod users;
mod wake;
mod workflows;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::domain::context::{Context, PlatformContext};
use crate::domain::ids::IdGenerator;
use crate::domain::time::Month;
use crate::store::{
    Clock, Entropy, PlatformUnit, Sleeper, Store, StoreResult, SystemClock, SystemEntropy,
    UnitOfWork, YieldSleeper, unit_time,
};
use platform::MemoryPlatform;
use state::State;
use unit::MemoryTx;
use wake::Bell;
pub use wake::MemoryWake;

/// The months a new memory store begins with, before and after the present one.
const MONTHS_BEFORE: u32 = 1;
const MONTHS_AHEAD: u32 = 3;

/// A store in memory. Clones share the same state.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    shared: Shared,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    sleeper: Arc<dyn Sleeper>,
}

impl MemoryStore {
    /// An empty store with the machine's clock and randomness.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Arc::new(SystemClock), Arc::new(SystemEntropy))
    }

    /// An empty store with a clock and a source of randomness.
    ///
    /// It begins with the month of the clock's present instant, the one before and three ahead.
    #[must_use]
    pub fn with(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let month = Month::of(clock.now());
        let months = month.minus(MONTHS_BEFORE).through(month.plus(MONTHS_AHEAD));
        let state = State {
            months: months.collect(),
            ..State::default()
        };
        Self {
            shared: Shared::new(state),
            clock,
            entropy,
            sleeper: Arc::new(YieldSleeper),
        }
    }

    /// The same store with another way to wait between two tries of a unit.
    #[must_use]
    pub fn with_sleeper(self, sleeper: Arc<dyn Sleeper>) -> Self {
        Self { sleeper, ..self }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn begin(&self, context: &Context) -> StoreResult<Box<dyn UnitOfWork>> {
        let now = unit_time(&*self.clock);
        let ids = IdGenerator::new(now, self.entropy.seed()?);
        Ok(Box::new(MemoryTx::begin(
            self.shared.clone(),
            context.clone(),
            now,
            ids,
        )))
    }

    async fn begin_platform(
        &self,
        context: &PlatformContext,
    ) -> StoreResult<Box<dyn PlatformUnit>> {
        let now = unit_time(&*self.clock);
        let ids = IdGenerator::new(now, self.entropy.seed()?);
        Ok(Box::new(MemoryPlatform::begin(
            self.shared.clone(),
            context.clone(),
            now,
            ids,
        )))
    }

    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn entropy(&self) -> &dyn Entropy {
        &*self.entropy
    }

    fn sleeper(&self) -> &dyn Sleeper {
        &*self.sleeper
    }
}

/// The newest committed state. The lock is held for a snapshot or a commit, never longer.
#[derive(Debug, Clone)]
struct Shared {
    newest: Arc<Mutex<Arc<State>>>,
    bell: Arc<Bell>,
}

impl Shared {
    fn new(state: State) -> Self {
        Self {
            newest: Arc::new(Mutex::new(Arc::new(state))),
            bell: Arc::default(),
        }
    }

    fn snapshot(&self) -> Arc<State> {
        Arc::clone(&self.newest.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the state by what `change` makes of it, unless that fails.
    fn replace(&self, change: impl FnOnce(&Arc<State>) -> StoreResult<State>) -> StoreResult<()> {
        // A panic cannot leave a half-written state behind: it is swapped in whole.
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = Arc::new(change(&newest)?);
        Ok(())
    }
}

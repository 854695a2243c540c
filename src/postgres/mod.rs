//! The store on PostgreSQL 15 and later.
//!
//! Everything lives in the schema `tenantry`. A unit of work is one transaction at READ COMMITTED
//! that takes the role `tenantry_tenant`, so that row-level security holds even when the host
//! connects as a superuser, and fails closed: no tenant set, no rows. A unit across tenants takes
//! `tenantry_platform`.
//!
//! Beginning costs one round trip: role, tenant and actor travel with `BEGIN`. It runs in a task
//! of its own, so that a caller who is cancelled midway leaves no open transaction behind.
//!
//! sqlx appears in this module's public functions and nowhere else; the version it was built with
//! is re-exported as [`sqlx`].

mod analytics;
mod attachments;
mod audit;
mod catalogue;
mod error;
mod executions;
mod health;
mod join;
mod limit_sums;
mod limit_terms;
mod limits;
mod metering;
mod meters;
mod migrate;
mod months;
mod outbox;
mod platform;
mod price_rows;
mod relay;
mod reservations;
mod role;
mod roles;
mod session;
mod sources;
mod statement;
mod streams;
mod subscription_rows;
mod subscriptions;
mod tenants;
mod unit;
mod usage_totals;
mod users;
mod wake;
mod workflows;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
pub use sqlx;
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgPool, Postgres, Transaction};

pub use health::{Health, SchemaStatus};
pub use join::JoinedTx;
pub use migrate::MigrateOptions;
pub use wake::PgWake;

use crate::domain::context::{Context, PlatformContext};
use crate::domain::ids::IdGenerator;
use crate::store::{
    Clock, Entropy, PlatformUnit, Sleeper, Store, StoreResult, SystemClock, SystemEntropy,
    UnitOfWork, unit_time,
};
use platform::PgPlatform;
use relay::Turn;
use role::Roles;
use session::{Session, begin, platform_settings, tenant_settings};
use unit::PgTx;
use wake::Bell;

/// How the store uses its connections.
#[derive(Debug, Clone)]
#[must_use]
pub struct PgOptions {
    pooler: bool,
    notify: bool,
    lock_timeout: Duration,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    sleeper: Arc<dyn Sleeper>,
}

impl PgOptions {
    /// Direct connections, a lock timeout of five seconds, the machine's clock and randomness.
    pub fn new() -> Self {
        Self {
            pooler: false,
            notify: true,
            lock_timeout: Duration::from_secs(5),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            sleeper: Arc::new(TokioSleeper),
        }
    }

    /// The pool goes through a pooler in transaction mode, such as pgbouncer.
    ///
    /// Its connections must come from [`PgOptions::pooler_connect_options`].
    pub fn pooler(self, pooler: bool) -> Self {
        Self { pooler, ..self }
    }

    /// Whether relays are told of new messages right after a commit, as they are unless this says
    /// otherwise. Without it they find them when they look by themselves.
    pub fn notify(self, notify: bool) -> Self {
        Self { notify, ..self }
    }

    /// How long a unit waits for another unit's row before it gives up with `Conflict`.
    pub fn lock_timeout(self, lock_timeout: Duration) -> Self {
        Self {
            lock_timeout,
            ..self
        }
    }

    /// Tells the time.
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Gives seeds for ids.
    pub fn entropy(self, entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy, ..self }
    }

    /// Waits between two tries of a unit.
    pub fn sleeper(self, sleeper: Arc<dyn Sleeper>) -> Self {
        Self { sleeper, ..self }
    }

    /// Connection options that a pooler in transaction mode accepts: no start-up parameter that it
    /// does not know, no cached statements.
    #[must_use]
    pub fn pooler_connect_options(options: PgConnectOptions) -> PgConnectOptions {
        options.extra_float_digits(None).statement_cache_capacity(0)
    }
}

impl Default for PgOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Waits on tokio's timer.
#[derive(Debug, Clone, Copy, Default)]
struct TokioSleeper;

#[async_trait]
impl Sleeper for TokioSleeper {
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// A store on a pool of connections. Clones share the pool.
#[derive(Debug, Clone)]
pub struct PgStore {
    pool: PgPool,
    options: PgOptions,
    roles: Roles,
    bell: Option<Bell>,
    turn: Turn,
}

impl PgStore {
    /// Checks the server, the login and the way to it, and makes a store.
    ///
    /// The schema need not be there yet: see [`PgStore::migrate`].
    ///
    /// # Errors
    /// `Unavailable` when the server cannot be reached; `Forbidden` when it is older than 15, when
    /// the login can neither take the roles of the schema nor is itself subject to its policies, or
    /// when a pooler stands between that the options do not name. The message says which, and what
    /// to do.
    pub async fn connect(pool: PgPool, options: PgOptions) -> StoreResult<Self> {
        let roles = role::check(&pool, options.pooler).await?;
        Ok(Self {
            bell: options.notify.then(|| Bell::new(pool.clone())),
            turn: Turn::default(),
            pool,
            options,
            roles,
        })
    }

    /// The pool.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    fn session(&self, transaction: Transaction<'static, Postgres>) -> Session<'static> {
        Session::own(transaction, !self.options.pooler)
    }
}

#[async_trait]
impl Store for PgStore {
    async fn begin(&self, context: &Context) -> StoreResult<Box<dyn UnitOfWork>> {
        let now = unit_time(&*self.options.clock);
        let ids = IdGenerator::new(now, self.options.entropy.seed()?);
        let settings = tenant_settings(self.roles, context, now, Some(self.options.lock_timeout));
        let transaction = begin(&self.pool, "begin", settings).await?;
        Ok(Box::new(PgTx::new(
            self.session(transaction),
            context.clone(),
            now,
            ids,
            self.bell.clone(),
        )))
    }

    async fn begin_platform(
        &self,
        context: &PlatformContext,
    ) -> StoreResult<Box<dyn PlatformUnit>> {
        let now = unit_time(&*self.options.clock);
        let ids = IdGenerator::new(now, self.options.entropy.seed()?);
        let settings = platform_settings(self.roles, context, now, self.options.lock_timeout);
        let transaction = begin(&self.pool, "begin_platform", settings).await?;
        Ok(Box::new(PgPlatform::new(
            self.session(transaction),
            context.clone(),
            now,
            ids,
            self.turn.clone(),
        )))
    }

    fn clock(&self) -> &dyn Clock {
        &*self.options.clock
    }

    fn entropy(&self) -> &dyn Entropy {
        &*self.options.entropy
    }

    fn sleeper(&self) -> &dyn Sleeper {
        &*self.options.sleeper
    }
}

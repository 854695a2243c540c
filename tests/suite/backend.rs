//! Fresh stores on PostgreSQL, for the tests that need one.

use std::error::Error;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, TimeZone, Utc};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tenantry::memory::MemoryStore;
use tenantry::postgres::{MigrateOptions, PgOptions, PgStore};
use tenantry::store::conformance::Backend;
use tenantry::store::{FixedEntropy, ManualClock, Store};

use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{Template, TestDatabase};

/// The instant at which the tests' clocks stand, and around which the template has its months.
pub(crate) fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 15, 12, 0, 0).unwrap()
}

/// The schema, migrated once per run.
pub(crate) static SCHEMA: Template = Template::new(
    "tenantry",
    &["tenantry_tenant", "tenantry_platform"],
    |url| Box::pin(migrate(url)),
);

async fn migrate(url: String) -> Result<(), Box<dyn Error + Send + Sync>> {
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .connect(&url)
        .await?;
    let options = PgOptions::new().clock(Arc::new(ManualClock::at(noon())));
    let store = PgStore::connect(pool.clone(), options).await?;
    store.migrate(&MigrateOptions::new().months(1, 2)).await?;
    pool.close().await;
    Ok(())
}

/// How a test connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    /// As a superuser, whom no policy binds.
    Superuser,
    /// As a host should: a login that is a member of the schema's roles and nothing more.
    Plain,
    /// As the plain login, through pgbouncer in transaction mode.
    Pooler,
}

/// A store on a database of its own.
pub(crate) struct Fresh {
    pub(crate) store: PgStore,
    #[allow(
        dead_code,
        reason = "kept so that the database lives as long as the store"
    )]
    pub(crate) database: TestDatabase,
    #[allow(
        dead_code,
        reason = "kept so that the pooler lives as long as the store"
    )]
    pub(crate) pooler: Option<PgBouncer>,
}

/// Makes a store on a new clone of the schema.
pub(crate) async fn fresh(login: Login, clock: Arc<ManualClock>) -> Fresh {
    let database = SCHEMA.database().await;
    let options = PgOptions::new()
        .clock(clock)
        .entropy(Arc::new(FixedEntropy::new(1)));
    let (url, pooler) = match login {
        Login::Superuser => (database.url_superuser.clone(), None),
        Login::Plain => (database.url_plain.clone(), None),
        Login::Pooler => {
            let pooler = PgBouncer::start(&database, 8).await;
            (pooler.url(&database.url_plain), Some(pooler))
        }
    };
    let mut connect = PgConnectOptions::from_str(&url).unwrap();
    if pooler.is_some() {
        connect = PgOptions::pooler_connect_options(connect);
    }
    let pool = PgPoolOptions::new()
        .max_connections(16)
        .connect_with(connect)
        .await
        .unwrap();
    let store = PgStore::connect(pool, options.pooler(pooler.is_some()))
        .await
        .unwrap();
    Fresh {
        store,
        database,
        pooler,
    }
}

/// PostgreSQL as a backend of the conformance suite. Keeps the databases until it is dropped.
pub(crate) struct Postgres {
    login: Login,
    databases: Mutex<Vec<Fresh>>,
}

impl Postgres {
    pub(crate) fn new(login: Login) -> Self {
        Self {
            login,
            databases: Mutex::default(),
        }
    }
}

#[async_trait]
impl Backend for Postgres {
    async fn fresh(&self, clock: Arc<ManualClock>) -> Arc<dyn Store> {
        let fresh = fresh(self.login, clock).await;
        let store: Arc<dyn Store> = Arc::new(fresh.store.clone());
        // The case before this one is over: its connections can go.
        let former: Vec<_> = self.databases.lock().unwrap().drain(..).collect();
        for former in former {
            former.store.pool().close().await;
        }
        self.databases.lock().unwrap().push(fresh);
        store
    }
}

/// A store of either kind, for the tests of services.
pub(crate) struct Backed {
    pub(crate) name: &'static str,
    pub(crate) store: Arc<dyn Store>,
    /// The database behind it, if there is one. It lives as long as the store.
    pub(crate) database: Option<Fresh>,
}

/// A fresh store of each kind. The clocks stand still at [`noon`].
pub(crate) async fn each_backend() -> [Backed; 2] {
    each_backend_at(noon()).await
}

/// A fresh store of each kind. The clocks stand still at this instant.
pub(crate) async fn each_backend_at(instant: DateTime<Utc>) -> [Backed; 2] {
    let clock = || Arc::new(ManualClock::at(instant));
    let memory = MemoryStore::with(clock(), Arc::new(FixedEntropy::new(1)));
    let database = fresh(Login::Plain, clock()).await;
    [
        Backed {
            name: "memory",
            store: Arc::new(memory),
            database: None,
        },
        Backed {
            name: "postgres",
            store: Arc::new(database.store.clone()),
            database: Some(database),
        },
    ]
}

//! A migrated database on a server of the benchmark's own, whose commits wait for the disk.

use std::sync::Arc;

use chrono::{DateTime, TimeZone, Utc};
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tenantry::postgres::{MigrateOptions, PgOptions, PgStore};
use tenantry::store::ManualClock;

use super::postgres::{Server, Settings};

/// The instant at which the benchmarks' clocks stand.
pub(crate) fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 23, 12, 0, 0).unwrap()
}

/// Checkpoints would fall into some measurements and not into others.
const SETTINGS: Settings = Settings {
    durable: true,
    more: &[
        ("shared_buffers", "512MB"),
        ("max_wal_size", "16GB"),
        ("checkpoint_timeout", "1h"),
        ("autovacuum", "off"),
    ],
};

/// The server goes with it.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) store: PgStore,
    pub(crate) pool: PgPool,
    /// The superuser's URL over the socket.
    pub(crate) url: String,
    pub(crate) server: Server,
}

impl Database {
    /// Starts the server and migrates a database on it.
    pub(crate) async fn start(connections: u32) -> Self {
        let server = Server::start(SETTINGS)
            .await
            .unwrap_or_else(|why| panic!("no PostgreSQL server for the benchmark: {why}"));
        server.execute("CREATE DATABASE bench").await.unwrap();
        let url = server.url("bench", "superuser");
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .connect_with(server.options("bench", "superuser"))
            .await
            .unwrap();
        let options = PgOptions::new().clock(Arc::new(ManualClock::at(noon())));
        let store = PgStore::connect(pool.clone(), options).await.unwrap();
        store.migrate(&MigrateOptions::new()).await.unwrap();
        Self {
            store,
            pool,
            url,
            server,
        }
    }

    /// The columns of a table that can be written, in their order.
    pub(crate) async fn columns(&self, table: &str) -> Vec<(String, String)> {
        sqlx::query_as(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
            WHERE attrelid = ('tenantry.' || $1)::regclass AND attnum > 0 AND NOT attisdropped
                AND attidentity = '' AND attgenerated = ''
            ORDER BY attnum",
        )
        .bind(table)
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }

    /// Runs a statement as the superuser.
    pub(crate) async fn execute(&self, sql: String) {
        sqlx::query(AssertSqlSafe(sql))
            .execute(&self.pool)
            .await
            .unwrap();
    }
}

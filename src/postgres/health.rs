//! What an operator needs to know of a store.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::Row;

use super::PgStore;
use super::error::store_error;
use super::migrate::migrator;
use super::session::begin;
use crate::domain::context::PlatformContext;
use crate::domain::outbox::Lag;
use crate::domain::time::Month;
use crate::store::{Store as _, StoreResult, unit_time};

/// How the schema in the database compares with this version of the library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SchemaStatus {
    /// The migrations that are applied, oldest first.
    pub applied: Vec<i64>,
    /// Migrations of this version that are missing: call [`PgStore::migrate`].
    pub pending: Vec<i64>,
    /// Migrations that this version does not know: a newer version applied them.
    pub unknown: Vec<i64>,
}

impl SchemaStatus {
    /// Whether the schema is the one that this version works with.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.pending.is_empty() && self.unknown.is_empty()
    }
}

/// Whether the store can work, and for how long without attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The instant of the check, by the store's clock.
    pub checked_at: DateTime<Utc>,
    /// The schema's state.
    pub schema: SchemaStatus,
    /// The whole months after the present one for which growing tables have room; `None` before
    /// the first migration. Rows of a month without room are refused: create months when fewer
    /// than two are left.
    pub months_left: Option<usize>,
    /// How far the relays are behind; `None` while the schema is not current, and for a login that
    /// cannot work across tenants.
    pub outbox: Option<Lag>,
}

impl PgStore {
    /// Compares the schema in the database with this version of the library.
    ///
    /// # Errors
    /// `Unavailable` when the server cannot be reached.
    pub async fn schema_status(&self) -> StoreResult<SchemaStatus> {
        const OPERATION: &str = "schema_status";
        let failed = |error| store_error(OPERATION, error);
        let mut transaction = begin(&self.pool, OPERATION, String::new()).await?;
        let migrated: bool =
            sqlx::query_scalar("SELECT to_regclass('tenantry.schema_migrations') IS NOT NULL")
                .persistent(false)
                .fetch_one(&mut *transaction)
                .await
                .map_err(failed)?;
        let applied: Vec<i64> = if migrated {
            sqlx::query_scalar("SELECT version FROM tenantry.schema_migrations ORDER BY version")
                .persistent(false)
                .fetch_all(&mut *transaction)
                .await
                .map_err(failed)?
        } else {
            Vec::new()
        };
        transaction.rollback().await.map_err(failed)?;
        let known: Vec<i64> = migrator()
            .iter()
            .map(|migration| migration.version)
            .collect();
        let without = |list: &[i64], other: &[i64]| {
            list.iter()
                .filter(|version| !other.contains(version))
                .copied()
                .collect()
        };
        Ok(SchemaStatus {
            pending: without(&known, &applied),
            unknown: without(&applied, &known),
            applied,
        })
    }

    /// Checks that the server answers, that the schema fits, how much room is left and how far the
    /// relays are behind.
    ///
    /// # Errors
    /// `Unavailable` when the server cannot be reached.
    pub async fn health(&self) -> StoreResult<Health> {
        const OPERATION: &str = "health";
        let failed = |error| store_error(OPERATION, error);
        let schema = self.schema_status().await?;
        let checked_at = unit_time(&*self.options.clock);
        if schema.applied.is_empty() {
            return Ok(Health {
                checked_at,
                schema,
                months_left: None,
                outbox: None,
            });
        }
        let mut transaction = begin(&self.pool, OPERATION, String::new()).await?;
        let row = sqlx::query("SELECT count(*) FROM tenantry.months WHERE month > $1")
            .bind(Month::of(checked_at).first_day())
            .persistent(false)
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.rollback().await.map_err(failed)?;
        let left: i64 = row.try_get(0).map_err(failed)?;
        let months_left = Some(usize::try_from(left).unwrap_or(0));
        let outbox = if schema.is_current() && self.roles.switch() {
            let mut unit = self.begin_platform(&PlatformContext::system()).await?;
            Some(unit.relay().lag().await?)
        } else {
            None
        };
        Ok(Health {
            checked_at,
            schema,
            months_left,
            outbox,
        })
    }
}

//! Brings the schema to the version of this library.

use std::time::Duration;

use sqlx::PgConnection;
use sqlx::migrate::{Migrate, MigrateError, Migrator};

use super::PgStore;
use super::error::{commit_error, store_error};
use super::session::begin;
use crate::domain::time::Month;
use crate::store::{StoreError, StoreErrorKind, StoreResult, unit_time};

/// The migrations of this version, forward only.
///
/// Without sqlx's own lock: it is a session's, and leaks through a pooler. The transaction's own
/// lock is held instead.
pub(super) fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!();
    migrator.set_locking(false);
    migrator
}

/// "tenantry" in ASCII: the advisory lock under which one process migrates at a time.
const LOCK: i64 = 0x7465_6e61_6e74_7279;

/// How a migration waits, and which months it creates.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct MigrateOptions {
    wait: Duration,
    lock_timeout: Duration,
    months_before: u32,
    months_ahead: u32,
}

impl MigrateOptions {
    /// Waits a minute for another process that migrates, five seconds for a table's lock; creates
    /// the present month, the one before and three ahead.
    pub fn new() -> Self {
        Self {
            wait: Duration::from_secs(60),
            lock_timeout: Duration::from_secs(5),
            months_before: 1,
            months_ahead: 3,
        }
    }

    /// How long to wait for another process that migrates.
    pub fn wait(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// How long to wait for the lock of a table that is in use; other statements queue behind.
    pub fn lock_timeout(self, lock_timeout: Duration) -> Self {
        Self {
            lock_timeout,
            ..self
        }
    }

    /// How many months before and after the present one are created if missing.
    pub fn months(self, before: u32, ahead: u32) -> Self {
        Self {
            months_before: before,
            months_ahead: ahead,
            ..self
        }
    }
}

impl Default for MigrateOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl PgStore {
    /// Applies the migrations that are missing, all in one transaction, and creates the months
    /// around the clock's present instant. Any number of processes may call it at once.
    ///
    /// The login must be able to create roles, or they must exist and be granted to it: see the
    /// docs on operation.
    ///
    /// # Errors
    /// `Conflict` when another process migrates for longer than the options wait, or a table's
    /// lock was not granted in time: nothing was changed, call again. `Invalid` when the schema
    /// was migrated by another version of this library that this one does not know.
    #[cfg_attr(feature = "tracing", tracing::instrument(skip_all))]
    pub async fn migrate(&self, options: &MigrateOptions) -> StoreResult<()> {
        const OPERATION: &str = "migrate";
        let failed = |error| store_error(OPERATION, error);
        let mut transaction = begin(&self.pool, OPERATION, String::new()).await?;
        set_lock_timeout(&mut transaction, options.wait)
            .await
            .map_err(failed)?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(LOCK)
            .persistent(false)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        set_lock_timeout(&mut transaction, options.lock_timeout)
            .await
            .map_err(failed)?;
        apply(&mut *transaction).await?;
        // A migration may have brought a table that has no partition yet for a month that is kept.
        sqlx::query("SELECT tenantry.ensure_months(month, month) FROM tenantry.months")
            .persistent(false)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        let month = Month::of(unit_time(&*self.options.clock));
        sqlx::query("SELECT tenantry.ensure_months($1, $2)")
            .bind(month.minus(options.months_before).first_day())
            .bind(month.plus(options.months_ahead).first_day())
            .persistent(false)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        if self.options.pooler {
            // sqlx's migrator names its statements, and the pooler's connection would keep them.
            sqlx::raw_sql("DEALLOCATE ALL")
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(commit_error)
    }
}

async fn set_lock_timeout(connection: &mut PgConnection, time: Duration) -> sqlx::Result<()> {
    sqlx::query("SELECT set_config('lock_timeout', $1, true)")
        .bind(time.as_millis().clamp(1, 86_400_000).to_string())
        .persistent(false)
        .execute(connection)
        .await
        .map(drop)
}

async fn apply<C: Migrate>(connection: &mut C) -> StoreResult<()> {
    migrator()
        .run_direct(None, connection, false)
        .await
        .map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                store_error("migrate", error)
            }
            MigrateError::VersionMissing(version) => StoreError::new(
                StoreErrorKind::Invalid,
                "migrate",
            )
            .with_detail(format!(
                "the schema has migration {version}, which this version of tenantry does not know: \
                 use the newer version that applied it"
            )),
            other => StoreError::new(StoreErrorKind::Invalid, "migrate").with_source(other),
        })
}

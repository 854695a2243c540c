//! A connection inside a unit of work: what is set on it, and whether it still can be used.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use super::error::store_error;
use super::role::Roles;
use super::statement::Statements;
use crate::domain::context::{Actor, Context, PlatformContext};
use crate::store::{StoreError, StoreErrorKind, StoreResult};

/// The connection of one unit: our own transaction, or a host's that is lent to us.
#[derive(Debug)]
pub(super) struct Session<'c> {
    connection: Connection<'c>,
    cached: bool,
    spent: bool,
}

#[derive(Debug)]
enum Connection<'c> {
    Own(Transaction<'static, Postgres>),
    Lent(&'c mut PgConnection),
}

impl<'c> Session<'c> {
    pub(super) fn own(transaction: Transaction<'static, Postgres>, cached: bool) -> Self {
        Self {
            connection: Connection::Own(transaction),
            cached,
            spent: false,
        }
    }

    pub(super) fn lent(connection: &'c mut PgConnection, cached: bool) -> Self {
        Self {
            connection: Connection::Lent(connection),
            cached,
            spent: false,
        }
    }

    /// Where the next statement runs.
    ///
    /// # Errors
    /// `Spent` after an error.
    pub(super) fn run(&mut self, operation: &'static str) -> StoreResult<Statements<'_>> {
        if self.spent {
            return Err(StoreError::new(StoreErrorKind::Spent, operation));
        }
        let connection = match &mut self.connection {
            Connection::Own(transaction) => &mut **transaction,
            Connection::Lent(connection) => connection,
        };
        Ok(Statements {
            connection,
            cached: self.cached,
        })
    }

    /// Where the next statement runs, planned anew for its very values; costs a round trip more.
    ///
    /// For lists with optional filters: the plan that PostgreSQL keeps for any values must allow
    /// for all filters, and reads all of a tenant's rows for a page that has none.
    ///
    /// # Errors
    /// `Spent` after an error.
    pub(super) fn run_planned(&mut self, operation: &'static str) -> StoreResult<Statements<'_>> {
        Ok(Statements {
            cached: false,
            ..self.run(operation)?
        })
    }

    /// Passes a statement's result on; after an error the unit is spent.
    pub(super) fn check<T>(
        &mut self,
        operation: &'static str,
        result: Result<T, sqlx::Error>,
    ) -> StoreResult<T> {
        self.keep(result.map_err(|error| store_error(operation, error)))
    }

    /// Passes a result on; after an error the unit is spent.
    pub(super) fn keep<T>(&mut self, result: StoreResult<T>) -> StoreResult<T> {
        self.spent |= result.is_err();
        result
    }

    /// Our own transaction, to be committed.
    ///
    /// # Errors
    /// `Spent` after an error; `Internal` when the transaction is the host's.
    pub(super) fn into_transaction(self) -> StoreResult<Transaction<'static, Postgres>> {
        match self.connection {
            _ if self.spent => Err(StoreError::new(StoreErrorKind::Spent, "commit")),
            Connection::Own(transaction) => Ok(transaction),
            Connection::Lent(_) => Err(StoreError::new(StoreErrorKind::Internal, "commit")
                .with_detail("a joined transaction is committed by its host")),
        }
    }
}

/// Begins a transaction with these settings, in one round trip.
///
/// sqlx 0.9.0 gives a connection back to the pool with its transaction open when the future that
/// begins it is dropped midway (transact-rs/sqlx #4385). A task of its own is never dropped midway:
/// if nobody waits for it any more, it rolls back.
pub(super) async fn begin(
    pool: &PgPool,
    operation: &'static str,
    settings: String,
) -> StoreResult<Transaction<'static, Postgres>> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move {
        pool.begin_with(sqlx::AssertSqlSafe(format!("BEGIN; {settings}")))
            .await
    });
    match begun.await {
        Ok(transaction) => transaction.map_err(|error| store_error(operation, error)),
        Err(error) => {
            Err(StoreError::new(StoreErrorKind::Unavailable, operation).with_source(error))
        }
    }
}

/// The settings of a unit of one tenant.
///
/// Literals only: the tenant is a UUID, and everything that a caller may have written travels as
/// hexadecimal digits, so no text can end a literal. `SET LOCAL` is the form that Citus passes on.
pub(super) fn tenant_settings(
    roles: Roles,
    context: &Context,
    now: DateTime<Utc>,
    lock_timeout: Option<Duration>,
) -> String {
    let mut sql = String::with_capacity(512);
    if roles.switch() {
        sql.push_str("SET LOCAL ROLE tenantry_tenant; ");
    }
    // Writing to a string cannot fail.
    let _ = write!(
        sql,
        "SET LOCAL tenantry.tenant_id = '{}'; ",
        context.tenant()
    );
    push_context(&mut sql, context.platform(), now);
    if let Some(lock_timeout) = lock_timeout {
        push_lock_timeout(&mut sql, lock_timeout);
    }
    sql
}

/// The settings of a unit across tenants.
pub(super) fn platform_settings(
    roles: Roles,
    context: &PlatformContext,
    now: DateTime<Utc>,
    lock_timeout: Duration,
) -> String {
    let mut sql = String::with_capacity(512);
    if roles.switch() {
        sql.push_str("SET LOCAL ROLE tenantry_platform; ");
    }
    push_context(&mut sql, context, now);
    push_lock_timeout(&mut sql, lock_timeout);
    sql
}

fn push_lock_timeout(sql: &mut String, lock_timeout: Duration) {
    let millis = lock_timeout.as_millis().clamp(1, 3_600_000);
    let _ = write!(sql, "SET LOCAL lock_timeout = {millis}");
}

fn push_context(sql: &mut String, context: &PlatformContext, now: DateTime<Utc>) {
    let origin = context.origin();
    let service = match context.actor() {
        Actor::Service(name) => Some(name.as_str()),
        Actor::User(_) | Actor::System => None,
    };
    let unit = json!({
        "kind": context.actor().kind(),
        "user": context.actor().user(),
        "service": service,
        "at": now.to_rfc3339_opts(SecondsFormat::Micros, true),
        "ip": origin.ip,
        "user_agent": origin.user_agent,
        "session": origin.session,
        "request": origin.request,
        "reason": context.reason(),
    });
    sql.push_str("SET LOCAL tenantry.context = '");
    for byte in unit.to_string().bytes() {
        let _ = write!(sql, "{byte:02x}");
    }
    sql.push_str("'; ");
}

//! Work inside a host's own transaction.

use std::ops::{Deref, DerefMut};

use sqlx::{PgConnection, Row};

use super::PgStore;
use super::error::store_error;
use super::session::{Session, tenant_settings};
use super::unit::PgTx;
use crate::domain::context::Context;
use crate::domain::ids::IdGenerator;
use crate::store::{StoreError, StoreErrorKind, StoreResult, Tx, unit_time};

const OPERATION: &str = "join";

/// What was set on the host's connection before.
#[derive(Debug)]
struct Before {
    role: String,
    tenant: String,
    context: String,
}

/// A unit of work inside a host's transaction: the host commits it, or rolls it back.
///
/// Pass it to every method that ends in `_in`: it dereferences to [`Tx`]. Give the connection back
/// with [`leave`](Self::leave). Dropped without leaving it fails closed: until its transaction or
/// savepoint ends, the host's connection stays in the role `tenantry_tenant`, which may touch
/// nothing of the host's.
///
/// The store does not see the host's commit: relays find the messages of a joined unit when they
/// next look, or at once if the host then calls [`PgStore::wake_relays`].
#[derive(Debug)]
pub struct JoinedTx<'c> {
    tx: PgTx<'c>,
    before: Before,
}

impl PgStore {
    /// Joins the transaction that is open on the connection. Three round trips.
    ///
    /// # Errors
    /// `Invalid` when no transaction is open; `Forbidden` when the connection's login cannot take
    /// the role `tenantry_tenant`, after which the host's transaction is aborted as after any
    /// error: roll back to a savepoint.
    pub async fn join<'c>(
        &self,
        connection: &'c mut PgConnection,
        context: &Context,
    ) -> StoreResult<JoinedTx<'c>> {
        let failed = |error| store_error(OPERATION, error);
        let now = unit_time(&*self.options.clock);
        let ids = IdGenerator::new(now, self.options.entropy.seed()?);
        let row = sqlx::query(
            "SELECT current_setting('role') AS role,
                coalesce(current_setting('tenantry.tenant_id', true), '') AS tenant,
                coalesce(current_setting('tenantry.context', true), '') AS context",
        )
        .persistent(false)
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
        let before = Before {
            role: row.try_get("role").map_err(failed)?,
            tenant: row.try_get("tenant").map_err(failed)?,
            context: row.try_get("context").map_err(failed)?,
        };
        let settings = tenant_settings(self.roles, context, now, None);
        sqlx::raw_sql(sqlx::AssertSqlSafe(settings))
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
        let tenant: Option<String> =
            sqlx::query_scalar("SELECT current_setting('tenantry.tenant_id', true)")
                .persistent(false)
                .fetch_one(&mut *connection)
                .await
                .map_err(failed)?;
        if tenant != Some(context.tenant().to_string()) {
            return Err(StoreError::new(StoreErrorKind::Invalid, OPERATION)
                .with_detail("no transaction is open on this connection; begin one first"));
        }
        let session = Session::lent(connection, !self.options.pooler);
        Ok(JoinedTx {
            tx: PgTx::new(session, context.clone(), now, ids, None),
            before,
        })
    }
}

impl<'c> JoinedTx<'c> {
    /// Gives the connection back with the role and the settings it had. One round trip.
    ///
    /// # Errors
    /// `Spent` after an error of any method: the host's transaction is aborted, and rolling back
    /// to a savepoint from before the join restores everything.
    pub async fn leave(self) -> StoreResult<()> {
        let Self { mut tx, before } = self;
        let restored = sqlx::query(
            "SELECT set_config('role', $1, true), set_config('tenantry.tenant_id', $2, true),
                set_config('tenantry.context', $3, true)",
        )
        .bind(before.role)
        .bind(before.tenant)
        .bind(before.context)
        .persistent(false)
        .execute(tx.session.run("leave")?)
        .await;
        tx.session.check("leave", restored).map(drop)
    }
}

impl<'c> Deref for JoinedTx<'c> {
    type Target = dyn Tx + 'c;

    fn deref(&self) -> &Self::Target {
        &self.tx
    }
}

impl DerefMut for JoinedTx<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.tx
    }
}

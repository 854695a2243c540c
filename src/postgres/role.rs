//! Which role the host's login gives us, checked once when the store is made.

use sqlx::{Connection, PgConnection, PgPool, Row};

use super::error::store_error;
use super::session::begin;
use crate::store::{StoreError, StoreErrorKind, StoreResult};

const OPERATION: &str = "connect";

/// How a unit of work comes under row-level security.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Roles {
    /// It takes the role with SET LOCAL ROLE.
    Switch,
    /// The login itself is a tenant role, with its privileges inherited; it owns nothing and
    /// cannot work across tenants.
    Inherit,
}

impl Roles {
    /// Whether a unit takes its role itself.
    pub(super) fn switch(self) -> bool {
        self == Self::Switch
    }
}

/// What the catalogue says about the login.
struct Login {
    version: i32,
    name: String,
    roles_exist: bool,
    sets_tenant: bool,
    sets_platform: bool,
    inherits_tenant: bool,
    inherits_platform: bool,
    above_policies: bool,
    owns_tables: bool,
}

/// `pg_has_role(…, 'SET')` is new in PostgreSQL 16; before, every member may SET ROLE.
const LOGIN: &str = "
    WITH known AS (
        SELECT to_regrole('tenantry_tenant') AS tenant, to_regrole('tenantry_platform') AS platform,
            CASE WHEN current_setting('server_version_num')::int >= 160000
                THEN 'SET' ELSE 'MEMBER' END AS may_set)
    SELECT current_setting('server_version_num')::int AS version,
        session_user::text AS name,
        k.tenant IS NOT NULL AND k.platform IS NOT NULL AS roles_exist,
        coalesce(pg_has_role(session_user, k.tenant::oid, k.may_set), false) AS sets_tenant,
        coalesce(pg_has_role(session_user, k.platform::oid, k.may_set), false) AS sets_platform,
        coalesce(pg_has_role(session_user, k.tenant::oid, 'USAGE'), false) AS inherits_tenant,
        coalesce(pg_has_role(session_user, k.platform::oid, 'USAGE'), false) AS inherits_platform,
        r.rolsuper OR r.rolbypassrls AS above_policies,
        EXISTS (SELECT FROM pg_class c
            WHERE c.relnamespace = to_regnamespace('tenantry') AND c.relowner = r.oid) AS owns_tables
    FROM known k, pg_roles r WHERE r.rolname = session_user";

/// Checks the server's version, the way to it, and what the login may do.
pub(super) async fn check(pool: &PgPool, pooler: bool) -> StoreResult<Roles> {
    let failed = |error| pooler_hint(store_error(OPERATION, error));
    if !pooler {
        refuse_pooler(pool).await?;
    }
    let mut transaction = begin(pool, OPERATION, String::new())
        .await
        .map_err(pooler_hint)?;
    let row = sqlx::query(LOGIN)
        .persistent(false)
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
    let read = || {
        Ok::<_, sqlx::Error>(Login {
            version: row.try_get("version")?,
            name: row.try_get("name")?,
            roles_exist: row.try_get("roles_exist")?,
            sets_tenant: row.try_get("sets_tenant")?,
            sets_platform: row.try_get("sets_platform")?,
            inherits_tenant: row.try_get("inherits_tenant")?,
            inherits_platform: row.try_get("inherits_platform")?,
            above_policies: row.try_get("above_policies")?,
            owns_tables: row.try_get("owns_tables")?,
        })
    };
    let login = read().map_err(failed)?;
    transaction.rollback().await.map_err(failed)?;
    decide(&login)
        .map_err(|reason| StoreError::new(StoreErrorKind::Forbidden, OPERATION).with_detail(reason))
}

fn decide(login: &Login) -> Result<Roles, String> {
    let name = &login.name;
    if login.version < 150_000 {
        return Err(format!(
            "PostgreSQL {} is too old; tenantry needs 15 or later",
            login.version / 10_000
        ));
    }
    // Before the first migration there are no roles to be a member of; the migration grants them.
    if !login.roles_exist || login.sets_tenant && login.sets_platform {
        return Ok(Roles::Switch);
    }
    if !login.inherits_tenant {
        return Err(format!(
            "the login {name} is not a member of tenantry_tenant and tenantry_platform; run: \
             GRANT tenantry_tenant, tenantry_platform TO {name}"
        ));
    }
    if login.above_policies || login.owns_tables || login.inherits_platform {
        return Err(format!(
            "the login {name} cannot SET ROLE tenantry_tenant, and row-level security would not \
             bind it as it is (it bypasses policies, owns tables of the schema, or inherits \
             tenantry_platform); grant it both roles WITH SET TRUE, INHERIT FALSE"
        ));
    }
    Ok(Roles::Inherit)
}

/// Two direct connections that are open at once have two server processes. A pooler in transaction
/// mode answers both from one, as neither is inside a transaction.
async fn refuse_pooler(pool: &PgPool) -> StoreResult<()> {
    let failed = |error| pooler_hint(store_error(OPERATION, error));
    let mut first = pool.acquire().await.map_err(failed)?;
    let options = pool.connect_options();
    let mut second = PgConnection::connect_with(&options).await.map_err(failed)?;
    let backend = |row: sqlx::postgres::PgRow| row.try_get::<i32, _>(0);
    let pid = || sqlx::query("SELECT pg_backend_pid()").persistent(false);
    let one = pid()
        .fetch_one(&mut *first)
        .await
        .and_then(backend)
        .map_err(failed)?;
    let two = pid()
        .fetch_one(&mut second)
        .await
        .and_then(backend)
        .map_err(failed)?;
    let _ = second.close().await;
    if one == two {
        return Err(
            StoreError::new(StoreErrorKind::Forbidden, OPERATION).with_detail(
                "a pooler in transaction mode stands before the server; connect with \
             PgOptions::pooler_connect_options and set PgOptions::pooler(true)",
            ),
        );
    }
    Ok(())
}

/// pgbouncer refuses the start-up parameter that sqlx sends unless it is told otherwise.
fn pooler_hint(error: StoreError) -> StoreError {
    use std::error::Error as _;
    let refused = error
        .source()
        .is_some_and(|s| s.to_string().contains("extra_float_digits"));
    if refused {
        error.with_detail(
            "a pooler refuses the connection's start-up parameters; connect with \
             PgOptions::pooler_connect_options and set PgOptions::pooler(true)",
        )
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        Login {
            version: 150_018,
            name: "app".to_owned(),
            roles_exist: true,
            sets_tenant: true,
            sets_platform: true,
            inherits_tenant: true,
            inherits_platform: true,
            above_policies: false,
            owns_tables: false,
        }
    }

    #[test]
    fn a_login_that_no_policy_binds_is_refused_with_the_remedy() {
        assert_eq!(decide(&login()), Ok(Roles::Switch));
        let stranger = Login {
            sets_tenant: false,
            sets_platform: false,
            inherits_tenant: false,
            inherits_platform: false,
            ..login()
        };
        assert!(
            decide(&stranger)
                .unwrap_err()
                .contains("GRANT tenantry_tenant")
        );
        let tenant_only = || Login {
            sets_tenant: false,
            sets_platform: false,
            inherits_platform: false,
            ..login()
        };
        assert_eq!(decide(&tenant_only()), Ok(Roles::Inherit));
        for bad in [
            Login {
                owns_tables: true,
                ..tenant_only()
            },
            Login {
                above_policies: true,
                ..tenant_only()
            },
            Login {
                inherits_platform: true,
                ..tenant_only()
            },
        ] {
            assert!(decide(&bad).unwrap_err().contains("would not bind it"));
        }
        assert!(
            decide(&Login {
                version: 140_011,
                ..login()
            })
            .unwrap_err()
            .contains("too old")
        );
    }
}

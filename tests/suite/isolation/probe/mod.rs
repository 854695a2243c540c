//! Generated attacks of one tenant on another: every table, partition, view, function and sequence
//! of the schema, with every kind of statement.
//!
//! A statement that names something of the other tenant must have the very outcome that it has
//! when it names something that never existed: the same rows, the same error, the same words. What
//! is new in the schema is attacked without a change here; a table that nobody fills is reported.

mod attack;
mod broken;
mod catalogue;
mod seed;
mod statements;

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use tenantry::postgres::{PgOptions, PgStore};
use tenantry::store::ManualClock;
use tenantry::{Context, Tenantry};

use crate::backend::{SCHEMA, noon};
use crate::support::postgres::TestDatabase;
use statements::Probe;

/// What no tenant has rows in, and tenants may do there all the same.
const OPEN: [(&str, &str, &str); 6] = [
    (
        "months",
        "select",
        "which months there are is the same for every tenant",
    ),
    (
        "schema_migrations",
        "select",
        "which migrations are applied is the same for every tenant",
    ),
    ("plans", "select", "what is sold is for everybody to read"),
    (
        "plan_versions",
        "select",
        "what is sold is for everybody to read",
    ),
    (
        "plan_charges",
        "select",
        "what is sold is for everybody to read",
    ),
    (
        "price_book",
        "select",
        "what is sold is for everybody to read",
    ),
];

/// The functions that a tenant's unit may call.
const CALLABLE: [(&str, &str); 10] = [
    ("tenant_id", "tells the unit's own setting"),
    ("unit_context", "tells the unit's own setting"),
    ("id_floor", "arithmetic"),
    ("text_range", "makes a range of two texts"),
    ("text_multirange", "makes a set of ranges of texts"),
    ("is_secret_key", "a list of words"),
    ("secret_hash", "arithmetic"),
    ("hide_secrets", "arithmetic"),
    ("without_person", "arithmetic"),
    (
        "forget_in_audit",
        "changes the trail of the unit's own tenant, of an erased user",
    ),
];

/// A database with two tenants that have rows in every table.
pub(super) struct World {
    database: TestDatabase,
    pub(super) attacker: Context,
    pub(super) victim: Context,
}

impl World {
    async fn new() -> Self {
        let database = SCHEMA.database().await;
        let options = PgOptions::new().clock(Arc::new(ManualClock::at(noon())));
        let store = PgStore::connect(database.pool_plain().await, options)
            .await
            .unwrap();
        let app = Tenantry::new(Arc::new(store));
        let victim = seed::tenant(&app, "victim").await;
        let attacker = seed::tenant(&app, "attacker").await;
        Self {
            database,
            attacker,
            victim,
        }
    }

    /// A superuser's connection that has never set a tenant.
    async fn connection(&self) -> PgConnection {
        PgConnection::connect_with(&self.database.options())
            .await
            .unwrap()
    }
}

/// Breaks the schema, attacks it or one table of it, and takes everything back. Answers what was
/// found and how many statements were run.
async fn attack(
    world: &World,
    connection: &mut PgConnection,
    breakage: &str,
    only: Option<&str>,
) -> (Vec<String>, u32) {
    let mut transaction = connection.begin().await.unwrap();
    let breakage = sqlx::raw_sql(AssertSqlSafe(breakage.to_owned()));
    (&mut *transaction).execute(breakage).await.unwrap();
    let mut probe = Probe::new(&mut transaction, world).await;
    probe.everything(only).await;
    let done = (probe.findings, probe.statements);
    transaction.rollback().await.unwrap();
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_reaches_or_senses_another_tenant() {
    let world = World::new().await;
    let mut connection = world.connection().await;
    let (found, statements) = attack(&world, &mut connection, "", None).await;
    assert!(found.is_empty(), "{found:#?}");
    assert!(statements > 2_000, "only {statements} statements");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exceptions_are_still_needed() {
    let database = SCHEMA.database().await;
    let mut connection = PgConnection::connect_with(&database.options())
        .await
        .unwrap();
    for (table, privilege, _) in OPEN {
        let sql = format!(
            "SELECT has_table_privilege('tenantry_tenant', 'tenantry.{table}', '{privilege}')"
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .fetch_one(&mut connection)
            .await;
        assert!(row.unwrap().get::<bool, _>(0), "{table}: {privilege}");
    }
    for (function, _) in CALLABLE {
        let row = sqlx::query(
            "SELECT count(*) FROM pg_proc WHERE proname = $1
                AND pronamespace = 'tenantry'::regnamespace
                AND has_function_privilege('tenantry_tenant', oid, 'EXECUTE')",
        )
        .bind(function)
        .fetch_one(&mut connection)
        .await;
        assert!(row.unwrap().get::<i64, _>(0) > 0, "{function}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_of_tenants_is_no_way_to_another_role() {
    let database = SCHEMA.database().await;
    let url = database
        .login("tenants_only", "IN ROLE tenantry_tenant")
        .await;
    let mut tenants_only = PgConnection::connect(&url).await.unwrap();
    // A host's own login may take both roles of units, and nothing else.
    let mut host = PgConnection::connect(&database.url_plain).await.unwrap();
    let superuser = database.options().get_username().to_owned();
    let refused = async |connection: &mut PgConnection, role: &str| {
        for sql in [
            format!("SET ROLE \"{role}\""),
            format!("SET SESSION AUTHORIZATION \"{role}\""),
            format!("GRANT \"{role}\" TO tenantry_tenant"),
            format!("SELECT set_config('role', '{role}', false)"),
        ] {
            let statement = sqlx::raw_sql(AssertSqlSafe(sql.clone()));
            let error = connection.execute(statement).await.unwrap_err();
            let code = error.as_database_error().and_then(|error| error.code());
            assert_eq!(code.as_deref(), Some("42501"), "{sql}");
        }
    };
    for role in ["tenantry_platform", "tenantry_audit", &superuser] {
        tenants_only
            .execute("SET ROLE tenantry_tenant")
            .await
            .unwrap();
        refused(&mut tenants_only, role).await;
    }
    for role in ["tenantry_audit", &superuser] {
        host.execute("SET ROLE tenantry_tenant").await.unwrap();
        refused(&mut host, role).await;
    }
}

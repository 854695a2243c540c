//! Bringing a database to the schema of this version, and knowing that it is there.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tenantry::postgres::{MigrateOptions, PgOptions, PgStore};
use tenantry::store::{ManualClock, StoreErrorKind};

use crate::backend::{SCHEMA, noon};
use crate::support::postgres::Template;

static EMPTY: Template = Template::new("empty", &[], |_| Box::pin(async { Ok(()) }));

async fn store(url: &str) -> PgStore {
    let pool = PgPoolOptions::new()
        .max_connections(3)
        .connect(url)
        .await
        .unwrap();
    PgStore::connect(pool, options()).await.unwrap()
}

fn options() -> PgOptions {
    PgOptions::new().clock(Arc::new(ManualClock::at(noon())))
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_processes_may_migrate_at_once() {
    let database = EMPTY.database().await;
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let url = database.url_superuser.clone();
            tokio::spawn(async move { store(&url).await.migrate(&MigrateOptions::new()).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let store = store(&database.url_superuser).await;
    assert!(store.schema_status().await.unwrap().is_current());
    store.migrate(&MigrateOptions::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_what_is_missing() {
    let database = EMPTY.database().await;
    let store = store(&database.url_superuser).await;
    let health = store.health().await.unwrap();
    assert!(!health.schema.is_current());
    assert_eq!((health.schema.applied.len(), health.months_left), (0, None));
    store
        .migrate(&MigrateOptions::new().months(0, 2))
        .await
        .unwrap();
    let health = store.health().await.unwrap();
    assert!(health.schema.is_current());
    assert_eq!(health.months_left, Some(2));
    assert_eq!(health.checked_at, noon());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_a_newer_version_is_left_alone() {
    let database = SCHEMA.database().await;
    let pool = database.pool().await;
    pool.execute(
        "INSERT INTO tenantry.schema_migrations
            (version, description, success, checksum, execution_time)
        VALUES (9999, 'of the future', true, '', 0)",
    )
    .await
    .unwrap();
    let store = store(&database.url_superuser).await;
    assert_eq!(store.schema_status().await.unwrap().unknown, [9999]);
    let error = store.migrate(&MigrateOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    assert!(error.to_string().contains("migration 9999"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_use_does_not_block_for_ever() {
    let database = SCHEMA.database().await;
    let pool = database.pool().await;
    let mut reader = pool.begin().await.unwrap();
    reader
        .execute("LOCK TABLE tenantry.months IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let store = store(&database.url_superuser).await;
    let impatient = MigrateOptions::new().lock_timeout(Duration::from_millis(50));
    let error = store.migrate(&impatient).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Conflict, "{error}");
    drop(reader);
    store.migrate(&impatient).await.unwrap();
}

async fn refused(pool: PgPool) -> String {
    let error = PgStore::connect(pool, options()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Forbidden);
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_may_not_take_the_roles_is_told_what_to_do() {
    let database = SCHEMA.database().await;
    let url = database.login("stranger", "NOSUPERUSER").await;
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .connect(&url)
        .await
        .unwrap();
    let message = refused(pool).await;
    assert!(
        message.contains("GRANT tenantry_tenant, tenantry_platform TO"),
        "{message}"
    );
}

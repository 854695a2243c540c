//! The way through pgbouncer in transaction mode. That the whole contract holds there is shown by
//! the conformance suite; here is what the store does to find out, and to survive.

use std::str::FromStr;
use std::sync::Arc;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tenantry::domain::tenancy::NewTenant;
use tenantry::postgres::{MigrateOptions, PgOptions, PgStore};
use tenantry::store::{ManualClock, StoreError};
use tenantry::{Context, PlatformContext, Tenantry};

use crate::backend::{SCHEMA, noon};
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::Template;

static EMPTY: Template = Template::new("empty_behind_pooler", &[], |_| Box::pin(async { Ok(()) }));

async fn connect(options: PgConnectOptions, pooler: bool) -> Result<PgStore, StoreError> {
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .connect_lazy_with(options);
    let options = PgOptions::new().clock(Arc::new(ManualClock::at(noon())));
    PgStore::connect(pool, options.pooler(pooler)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_is_not_named_is_refused_with_the_remedy() {
    let database = SCHEMA.database().await;
    let bouncer = PgBouncer::start(&database, 4).await;
    let options = PgConnectOptions::from_str(&bouncer.url(&database.url_superuser)).unwrap();
    // pgbouncer refuses the start-up parameter of a direct connection.
    let error = connect(options.clone(), false).await.unwrap_err();
    assert!(
        error.to_string().contains("PgOptions::pooler(true)"),
        "{error}"
    );
    // Where it is told to ignore the parameter, one server process for two connections gives it
    // away.
    let error = connect(PgOptions::pooler_connect_options(options), false)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("PgOptions::pooler(true)"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_can_be_migrated_through_it() {
    let database = EMPTY.database().await;
    let bouncer = PgBouncer::start(&database, 2).await;
    let options = PgConnectOptions::from_str(&bouncer.url(&database.url_superuser)).unwrap();
    let store = connect(PgOptions::pooler_connect_options(options), true)
        .await
        .unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.migrate(&MigrateOptions::new()).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert!(store.health().await.unwrap().schema.is_current());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_units_at_once_share_few_connections_and_never_see_each_other() {
    let database = SCHEMA.database().await;
    let bouncer = PgBouncer::start(&database, 2).await;
    let options = PgConnectOptions::from_str(&bouncer.url(&database.url_plain)).unwrap();
    let store = connect(PgOptions::pooler_connect_options(options), true)
        .await
        .unwrap();
    let app = Tenantry::new(Arc::new(store));
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let app = app.clone();
            tokio::spawn(async move {
                let name = format!("tenant {number}");
                let new = NewTenant::named(&name).unwrap();
                let tenant = app
                    .tenants()
                    .create(&PlatformContext::system(), new)
                    .await
                    .unwrap();
                let ctx = Context::system(tenant.id);
                for _ in 0..50 {
                    let own = app.tenants().own(&ctx).await.unwrap();
                    assert_eq!(
                        (own.id, own.profile.name.as_str()),
                        (tenant.id, name.as_str())
                    );
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

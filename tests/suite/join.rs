//! Work inside a host's own transaction.

use std::sync::Arc;

use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Connection, Executor};
use tenantry::domain::tenancy::{NewTenant, TenantProfile};
use tenantry::store::{ManualClock, Store, StoreErrorKind};
use tenantry::{Context, PlatformContext, Tenantry};

use crate::backend::{Fresh, Login, fresh, noon};

async fn scene(login: Login) -> (Fresh, Tenantry, Context) {
    let fresh = fresh(login, Arc::new(ManualClock::at(noon()))).await;
    let app = Tenantry::new(Arc::new(fresh.store.clone()));
    let new = NewTenant::named("before").unwrap();
    let tenant = app
        .tenants()
        .create(&PlatformContext::system(), new)
        .await
        .unwrap();
    // The host's own table, which no role of tenantry may touch.
    let owner = fresh.database.pool().await;
    owner
        .execute("CREATE TABLE public.orders (note text)")
        .await
        .unwrap();
    owner
        .execute("GRANT ALL ON public.orders TO app_plain")
        .await
        .unwrap();
    owner.close().await;
    (fresh, app, Context::system(tenant.id))
}

async fn name(app: &Tenantry, ctx: &Context) -> String {
    app.tenants()
        .own(ctx)
        .await
        .unwrap()
        .profile
        .name
        .to_string()
}

async fn orders(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM public.orders")
        .fetch_one(pool)
        .await
        .unwrap()
}

async fn order(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    connection
        .execute("INSERT INTO public.orders VALUES ('paid')")
        .await
        .map(drop)
}

async fn role(connection: &mut PgConnection) -> (String, String) {
    sqlx::query_as(
        "SELECT current_user::text, coalesce(current_setting('tenantry.tenant_id', true), '')",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_are_committed_together() {
    for login in [Login::Superuser, Login::Plain] {
        let (fresh, app, ctx) = scene(login).await;
        let mut theirs = fresh.store.pool().begin().await.unwrap();
        let before = role(&mut theirs).await;
        order(&mut theirs).await.unwrap();
        let mut joined = fresh.store.join(&mut theirs, &ctx).await.unwrap();
        let profile = TenantProfile::new("after").unwrap();
        app.tenants()
            .change_profile_in(&mut *joined, 1, &profile)
            .await
            .unwrap();
        joined.leave().await.unwrap();
        assert_eq!(
            role(&mut theirs).await,
            before,
            "role and settings are as they were"
        );
        order(&mut theirs).await.unwrap();
        assert_eq!(
            name(&app, &ctx).await,
            "before",
            "nobody sees it before the host commits"
        );
        theirs.commit().await.unwrap();
        assert_eq!(
            (
                name(&app, &ctx).await.as_str(),
                orders(fresh.store.pool()).await
            ),
            ("after", 2)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_are_rolled_back_together() {
    let (fresh, app, ctx) = scene(Login::Plain).await;
    let mut theirs = fresh.store.pool().begin().await.unwrap();
    let mut joined = fresh.store.join(&mut theirs, &ctx).await.unwrap();
    let profile = TenantProfile::new("after").unwrap();
    app.tenants()
        .change_profile_in(&mut *joined, 1, &profile)
        .await
        .unwrap();
    joined.leave().await.unwrap();
    order(&mut theirs).await.unwrap();
    theirs.rollback().await.unwrap();
    assert_eq!(
        (
            name(&app, &ctx).await.as_str(),
            orders(fresh.store.pool()).await
        ),
        ("before", 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_without_leaving_it_fails_closed() {
    let (fresh, _, ctx) = scene(Login::Plain).await;
    let mut theirs = fresh.store.pool().begin().await.unwrap();
    drop(fresh.store.join(&mut theirs, &ctx).await.unwrap());
    assert!(
        order(&mut theirs).await.is_err(),
        "the host's tables are out of reach"
    );
    theirs.rollback().await.unwrap();
    let mut theirs = fresh.store.pool().begin().await.unwrap();
    order(&mut theirs).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_error_a_savepoint_brings_everything_back() {
    let (fresh, app, ctx) = scene(Login::Plain).await;
    let mut theirs = fresh.store.pool().begin().await.unwrap();
    order(&mut theirs).await.unwrap();
    let before = role(&mut theirs).await;
    let mut savepoint = theirs.begin().await.unwrap();
    let mut joined = fresh.store.join(&mut savepoint, &ctx).await.unwrap();
    let tenant = joined.tenants().get().await.unwrap().unwrap();
    joined.tenants().update_profile(&tenant).await.unwrap();
    let lost = joined.tenants().update_profile(&tenant).await.unwrap_err();
    assert_eq!(lost.kind(), StoreErrorKind::Conflict);
    assert_eq!(
        joined.leave().await.unwrap_err().kind(),
        StoreErrorKind::Spent
    );
    savepoint.rollback().await.unwrap();
    assert_eq!(role(&mut theirs).await, before);
    theirs.commit().await.unwrap();
    assert_eq!(orders(fresh.store.pool()).await, 1);
    assert_eq!(app.tenants().own(&ctx).await.unwrap().revision, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_transaction_is_refused() {
    let (fresh, _, ctx) = scene(Login::Superuser).await;
    let mut connection = fresh.store.pool().acquire().await.unwrap();
    let error = fresh.store.join(&mut connection, &ctx).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    assert!(error.to_string().contains("begin one first"), "{error}");
    assert_eq!(role(&mut connection).await.1, "", "nothing is set");
}

#[tokio::test(flavor = "multi_thread")]
async fn joined_and_own_units_wait_for_each_other() {
    let (fresh, app, ctx) = scene(Login::Plain).await;
    let mut theirs = fresh.store.pool().begin().await.unwrap();
    let mut joined = fresh.store.join(&mut theirs, &ctx).await.unwrap();
    let profile = TenantProfile::new("joined").unwrap();
    app.tenants()
        .change_profile_in(&mut *joined, 1, &profile)
        .await
        .unwrap();
    joined.leave().await.unwrap();
    let rival = tokio::spawn({
        let (store, ctx) = (fresh.store.clone(), ctx.clone());
        async move {
            let mut unit = store.begin(&ctx).await.unwrap();
            unit.tenants().lock().await.unwrap().unwrap().revision
        }
    });
    theirs.commit().await.unwrap();
    assert_eq!(rival.await.unwrap(), 2);
}

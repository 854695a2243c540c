//! A caller who goes away at any await leaves nothing behind on the connection.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;

use async_trait::async_trait;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Row};
use tenantry::domain::outbox::{MessageKey, MessageKind, MessagePayload, OutboxMessage};
use tenantry::domain::tenancy::{NewTenant, TenantProfile};
use tenantry::postgres::{PgOptions, PgStore};
use tenantry::service::{Delivery, PublishError, Publisher};
use tenantry::store::{AuditFilter, Clock, ManualClock, Store};
use tenantry::{Context, PlatformContext, Tenantry};

use super::slow::slow;
use crate::backend::{SCHEMA, noon};
use crate::support::postgres::TestDatabase;

/// Drives the work until it has been polled so often, and then drops it; its output if it was done
/// by then.
pub(super) async fn interrupted<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

/// Two tenants, and a store whose only connection everybody borrows in turn.
pub(super) struct Narrow {
    pub(super) database: TestDatabase,
    pub(super) clock: Arc<ManualClock>,
    pool: PgPool,
    pub(super) store: PgStore,
    pub(super) one: Context,
    pub(super) two: Context,
}

impl Narrow {
    pub(super) async fn new() -> Self {
        let database = SCHEMA.database().await;
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect_with(slow(database.options_tcp()).await)
            .await
            .unwrap();
        let clock = Arc::new(ManualClock::at(noon()));
        let options = PgOptions::new().clock(Arc::clone(&clock) as Arc<dyn Clock>);
        let store = PgStore::connect(pool.clone(), options).await.unwrap();
        let app = Tenantry::new(Arc::new(store.clone()));
        let create = async |name: &str| {
            let new = NewTenant::named(name).unwrap();
            let tenant = app
                .tenants()
                .create(&PlatformContext::system(), new)
                .await
                .unwrap();
            Context::system(tenant.id)
        };
        let (one, two) = (create("one").await, create("two").await);
        Self {
            database,
            clock,
            pool,
            store,
            one,
            two,
        }
    }

    /// The connection as its next borrower finds it: nobody's role, nobody's tenant, no
    /// transaction, and a unit of the other tenant sees only that tenant.
    pub(super) async fn is_clean(&self, after: usize) {
        // By the simple protocol: in it, and only there, a statement of its own begins its
        // transaction at the instant at which it arrives.
        let row = sqlx::raw_sql(
            "SELECT current_user = session_user AS own_role,
                coalesce(current_setting('tenantry.tenant_id', true), '') AS tenant,
                coalesce(current_setting('tenantry.context', true), '') AS context,
                (SELECT count(*) FROM tenantry.tenants) AS tenants,
                now() = statement_timestamp() AS outside",
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        assert!(row.get::<bool, _>("own_role"), "after {after} polls");
        assert_eq!(row.get::<String, _>("tenant"), "", "after {after} polls");
        assert_eq!(row.get::<String, _>("context"), "", "after {after} polls");
        assert_eq!(row.get::<i64, _>("tenants"), 2, "after {after} polls");
        assert!(row.get::<bool, _>("outside"), "after {after} polls");
        let mut unit = self.store.begin(&self.two).await.unwrap();
        let seen = unit.tenants().get().await.unwrap().unwrap();
        assert_eq!(seen.id, self.two.tenant(), "after {after} polls");
    }

    /// Interrupts the work after 0, 1, 2 … polls, until it comes to its end.
    async fn at_every_await<T>(&self, work: impl AsyncFn() -> T) -> T {
        for polls in 0..10_000 {
            let done = interrupted(polls, work()).await;
            self.is_clean(polls).await;
            if let Some(done) = done {
                assert!(polls > 1, "the work has awaits");
                return done;
            }
        }
        panic!("the work never ends");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_of_work() {
    let narrow = Narrow::new().await;
    let work = async || {
        let mut unit = narrow.store.begin(&narrow.one).await.unwrap();
        let mut tenant = unit.tenants().lock().await.unwrap().unwrap();
        tenant.profile = TenantProfile::new("renamed").unwrap();
        unit.tenants().update_profile(&tenant).await.unwrap();
        unit.audit()
            .page(&AuditFilter::default(), &Default::default())
            .await
            .unwrap();
        unit.commit().await.unwrap();
    };
    narrow.at_every_await(work).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_is_rolled_back() {
    let narrow = Narrow::new().await;
    let work = async || {
        let mut unit = narrow.store.begin(&narrow.one).await.unwrap();
        unit.tenants().lock().await.unwrap();
    };
    narrow.at_every_await(work).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_across_tenants() {
    let narrow = Narrow::new().await;
    let work = async || {
        let mut unit = narrow
            .store
            .begin_platform(&PlatformContext::system())
            .await
            .unwrap();
        let seen = unit
            .tenants()
            .page(None, &Default::default())
            .await
            .unwrap();
        assert_eq!(seen.items.len(), 2);
        unit.commit().await.unwrap();
    };
    narrow.at_every_await(work).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_s_own_transaction() {
    let narrow = Narrow::new().await;
    let work = async || {
        // The host begins in a task of its own, for the reason for which tenantry does.
        let pool = narrow.pool.clone();
        let begun = tokio::spawn(async move { pool.begin().await.unwrap() });
        let mut transaction = begun.await.unwrap();
        let mut joined = narrow
            .store
            .join(&mut transaction, &narrow.one)
            .await
            .unwrap();
        joined.tenants().get().await.unwrap();
        joined.leave().await.unwrap();
        transaction.commit().await.unwrap();
    };
    narrow.at_every_await(work).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_s_call() {
    let narrow = Narrow::new().await;
    let app = Tenantry::new(Arc::new(narrow.store.clone()));
    let work = async || {
        let tenant = app.tenants().own(&narrow.one).await.unwrap();
        let profile = TenantProfile::new("renamed").unwrap();
        // An interrupted commit may have landed, so the revision is whatever it is now.
        app.tenants()
            .change_profile(&narrow.one, tenant.revision, &profile)
            .await
            .unwrap();
    };
    narrow.at_every_await(work).await;
}

/// Takes whatever comes.
struct Anything;

#[async_trait]
impl Publisher for Anything {
    async fn publish(&self, _: &Delivery) -> Result<(), PublishError> {
        tokio::task::yield_now().await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_s_batch() {
    let narrow = Narrow::new().await;
    let app = Tenantry::new(Arc::new(narrow.store.clone()));
    let relay = app.relay(Arc::new(Anything));
    let round = AtomicU32::new(0);
    let work = async || {
        // A key of its own: the relay that was interrupted before still holds the last one.
        let key = format!("round {}", round.fetch_add(1, Ordering::Relaxed));
        let message = OutboxMessage::new(
            MessageKey::new(&key).unwrap(),
            MessageKind::new("told").unwrap(),
            MessagePayload::new("1").unwrap(),
            noon(),
        );
        app.outbox().send(&narrow.one, &[message]).await.unwrap();
        let report = relay.run_once().await.unwrap();
        assert!(report.published > 0);
    };
    narrow.at_every_await(work).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_migration() {
    let narrow = Narrow::new().await;
    let work = async || {
        narrow.store.health().await.unwrap();
        narrow.store.migrate(&Default::default()).await.unwrap();
    };
    narrow.at_every_await(work).await;
}

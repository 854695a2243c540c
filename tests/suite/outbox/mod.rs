//! The outbox and its relays: parallel, failing, dying and woken, on both backends.

mod failure;
mod waking;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Executor, Row};
use tenantry::domain::context::Actor;
use tenantry::domain::ids::TenantId;
use tenantry::domain::outbox::{
    Lag, MessageKey, MessageKind, MessagePayload, OutboxMessage, RetryPolicy, StreamId,
};
use tenantry::domain::page::PageRequest;
use tenantry::domain::tenancy::NewTenant;
use tenantry::domain::text::Name;
use tenantry::memory::MemoryStore;
use tenantry::postgres::PgStore;
use tenantry::service::{Delivery, PublishError, Publisher, Relay, RelayReport};
use tenantry::store::{FixedEntropy, ManualClock, Sleeper, Store, StoreError, Wake, on_conflict};
use tenantry::{Context, ErrorKind, PlatformContext, Tenantry};
use tokio::sync::oneshot;

use crate::backend::{Fresh, Login, fresh, noon};

/// A fresh store, and a clock that can be moved.
struct Scene {
    app: Tenantry,
    clock: Arc<ManualClock>,
    memory: Option<MemoryStore>,
    database: Option<Fresh>,
}

impl Scene {
    fn in_memory() -> Self {
        let clock = Arc::new(ManualClock::at(noon()));
        let store = MemoryStore::with(clock.clone(), Arc::new(FixedEntropy::new(1)));
        Self {
            app: Tenantry::new(Arc::new(store.clone())),
            clock,
            memory: Some(store),
            database: None,
        }
    }

    async fn on_postgres() -> Self {
        let clock = Arc::new(ManualClock::at(noon()));
        let database = fresh(Login::Plain, clock.clone()).await;
        Self {
            app: Tenantry::new(Arc::new(database.store.clone())),
            clock,
            memory: None,
            database: Some(database),
        }
    }

    async fn tenant(&self, name: &str) -> Context {
        let new = NewTenant::named(name).unwrap();
        let tenants = self.app.tenants();
        let tenant = tenants.create(&PlatformContext::system(), new).await;
        Context::system(tenant.unwrap().id)
    }

    async fn send(&self, ctx: &Context, under: &str, numbers: impl Iterator<Item = usize>) {
        let messages: Vec<_> = numbers.map(|number| message(under, number)).collect();
        self.app.outbox().send(ctx, &messages).await.unwrap();
    }

    fn relay(&self, publisher: &Arc<Recorder>) -> Relay {
        self.app.relay(Arc::clone(publisher) as Arc<dyn Publisher>)
    }

    fn clock_now(&self) -> DateTime<Utc> {
        self.app.store().clock().now()
    }

    async fn lag(&self) -> Lag {
        let system = PlatformContext::system();
        self.app.outbox().lag(&system).await.unwrap()
    }

    /// What wakes a relay here.
    async fn wake(&self) -> Arc<dyn Wake> {
        match (&self.memory, &self.database) {
            (Some(memory), _) => Arc::new(memory.wake()),
            (None, Some(database)) => {
                let url = database.database.url_plain.parse().unwrap();
                Arc::new(PgStore::listen(url).await.unwrap())
            }
            (None, None) => unreachable!(),
        }
    }
}

async fn on_both(test: impl AsyncFn(Scene)) {
    test(Scene::in_memory()).await;
    test(Scene::on_postgres().await).await;
}

fn message(under: &str, number: usize) -> OutboxMessage {
    OutboxMessage::new(
        MessageKey::new(under).unwrap(),
        MessageKind::new("counted").unwrap(),
        MessagePayload::of(&number).unwrap(),
        noon(),
    )
}

fn number(delivery: &Delivery) -> usize {
    delivery.payload.as_str().parse().unwrap()
}

fn stream(ctx: &Context, under: &str) -> StreamId {
    StreamId {
        tenant: ctx.tenant(),
        key: MessageKey::new(under).unwrap(),
    }
}

/// What a test lets a publisher say.
type Act = Box<dyn Fn(&Delivery) -> Result<(), PublishError> + Send + Sync>;

/// A publisher that remembers what it published.
struct Recorder {
    act: Act,
    pause: Option<Duration>,
    published: Mutex<Vec<Delivery>>,
}

impl Recorder {
    fn that(
        act: impl Fn(&Delivery) -> Result<(), PublishError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            act: Box::new(act),
            pause: None,
            published: Mutex::default(),
        })
    }

    fn new() -> Arc<Self> {
        Self::that(|_| Ok(()))
    }

    fn slow(pause: Duration) -> Arc<Self> {
        Arc::new(Self {
            act: Box::new(|_| Ok(())),
            pause: Some(pause),
            published: Mutex::default(),
        })
    }

    fn take(&self) -> Vec<Delivery> {
        std::mem::take(&mut self.published.lock().unwrap())
    }

    /// What was published since the last call: key, number, message.
    fn told(&self) -> Vec<(String, i64, usize)> {
        let published = self.take();
        let told = published.iter();
        told.map(|d| (d.key.to_string(), d.sequence, number(d)))
            .collect()
    }
}

#[async_trait]
impl Publisher for Recorder {
    async fn publish(&self, delivery: &Delivery) -> Result<(), PublishError> {
        if let Some(pause) = self.pause {
            tokio::time::sleep(pause).await;
        }
        (self.act)(delivery)?;
        self.published.lock().unwrap().push(delivery.clone());
        Ok(())
    }
}

/// Checks that each key's numbers came in order and without gaps, and answers the messages.
fn in_order(published: Vec<Delivery>) -> BTreeMap<(TenantId, String), Vec<usize>> {
    let mut by_key: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for delivery in published {
        let messages = by_key
            .entry((delivery.tenant, delivery.key.to_string()))
            .or_default();
        messages.push(number(&delivery));
        assert_eq!(delivery.sequence, messages.len() as i64, "{delivery:?}");
        assert_eq!(delivery.attempt, 1);
    }
    by_key
}

/// A unit that counts the tenant up, and tells three messages of it.
async fn count_up(store: &dyn Store, ctx: &Context) {
    let done: Result<(), StoreError> = on_conflict(store, || async {
        let mut unit = store.begin(ctx).await?;
        let mut tenant = unit.tenants().lock().await?.unwrap();
        let count = tenant.profile.name.as_str().parse::<usize>().unwrap();
        tenant.profile.name = Name::new(&(count + 1).to_string()).unwrap();
        unit.tenants().update_profile(&tenant).await?;
        let numbers = [0, 1, 2].map(|n| count * 3 + n);
        let messages = numbers.map(|number| message("count", number));
        unit.outbox().enqueue(&messages).await?;
        let other = message(&format!("by five: {}", count % 5), count);
        unit.outbox().enqueue(&[other]).await?;
        unit.commit().await
    })
    .await;
    done.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_and_several_relays_keep_the_order_of_the_changes() {
    on_both(async |scene| {
        const UNITS: usize = 25;
        let tenants = [scene.tenant("0").await, scene.tenant("0").await];
        let recorder = Recorder::slow(Duration::from_micros(200));
        let written = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for number in 0..8 {
            let (app, ctx) = (scene.app.clone(), tenants[number % 2].clone());
            tasks.push(tokio::spawn(async move {
                for _ in 0..UNITS {
                    count_up(&**app.store(), &ctx).await;
                }
            }));
        }
        let relays: Vec<_> = [1, 7, 50, 200]
            .map(|batch| {
                let relay = scene.relay(&recorder).batch(batch);
                let written = Arc::clone(&written);
                tokio::spawn(async move {
                    let mut total = RelayReport::default();
                    loop {
                        let over = written.load(Ordering::SeqCst);
                        total += relay.run_once().await.unwrap();
                        if over {
                            return total;
                        }
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                })
            })
            .into();
        for task in tasks {
            task.await.unwrap();
        }
        written.store(true, Ordering::SeqCst);
        let mut total = RelayReport::default();
        for relay in relays {
            total += relay.await.unwrap();
        }
        let counted = 4 * UNITS;
        let expected = RelayReport {
            published: 2 * 4 * counted as u64,
            ..RelayReport::default()
        };
        assert_eq!(total, expected, "each message once");
        let by_key = in_order(recorder.take());
        assert_eq!(by_key.len(), 2 * 6);
        for ((_, key), messages) in by_key {
            if key == "count" {
                assert_eq!(messages, (0..3 * counted).collect::<Vec<_>>());
            } else {
                assert_eq!(messages.len(), counted / 5);
                assert!(messages.is_sorted(), "{messages:?}");
            }
        }
        assert_eq!(scene.lag().await, Lag::default());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_that_share_nothing_but_a_key_lose_nothing() {
    on_both(async |scene| {
        let ctx = scene.tenant("t").await;
        let recorder = Recorder::new();
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (app, ctx) = (scene.app.clone(), ctx.clone());
                tokio::spawn(async move {
                    for unit in 0..20 {
                        let numbers = (0..5).map(|n| writer * 100 + unit * 5 + n);
                        let messages: Vec<_> = numbers.map(|n| message("a", n)).collect();
                        app.outbox().send(&ctx, &messages).await.unwrap();
                    }
                })
            })
            .collect();
        let relays: Vec<_> = (0..3)
            .map(|_| {
                let relay = scene.relay(&recorder).batch(40);
                tokio::spawn(async move {
                    for _ in 0..40 {
                        let _ = relay.run_once().await.unwrap();
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                })
            })
            .collect();
        for task in writers.into_iter().chain(relays) {
            task.await.unwrap();
        }
        let _ = scene.relay(&recorder).run_once().await.unwrap();
        let [messages] = &in_order(recorder.take()).into_values().collect::<Vec<_>>()[..] else {
            panic!("one key")
        };
        for writer in 0..8 {
            let own = messages.iter().copied().filter(|n| n / 100 == writer);
            let expected: Vec<_> = (writer * 100..writer * 100 + 100).collect();
            assert_eq!(
                own.collect::<Vec<_>>(),
                expected,
                "a writer's units follow each other"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_sends_and_reads() {
    on_both(async |scene| {
        let ctx = scene.tenant("t").await;
        let ids = || async { scene.app.store().begin(&ctx).await.unwrap().ids().fresh() };
        let nobody = Context::new(ctx.tenant(), Actor::User(ids().await));
        let outbox = scene.app.outbox();
        let error = outbox.send(&nobody, &[message("a", 1)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forbidden);
        let (key, page) = (MessageKey::new("a").unwrap(), PageRequest::default());
        let error = outbox.history(&nobody, &key, &page).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forbidden);
        assert_eq!(scene.lag().await.pending, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_how_far_the_relays_are_behind() {
    let scene = Scene::on_postgres().await;
    let ctx = scene.tenant("t").await;
    scene.send(&ctx, "a", 1..=2).await;
    let store = &scene.database.as_ref().unwrap().store;
    let lag = store.health().await.unwrap().outbox.unwrap();
    assert_eq!((lag.pending, lag.oldest), (2, Some(noon())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_s_role_reaches_its_own_messages_and_no_stream() {
    let scene = Scene::on_postgres().await;
    let (one, two) = (scene.tenant("one").await, scene.tenant("two").await);
    for ctx in [&one, &two] {
        scene.send(ctx, "a", 1..=2).await;
    }
    let _ = scene.relay(&Recorder::new()).run_once().await.unwrap();
    scene.send(&two, "a", 3..=3).await;
    let pool = scene.database.as_ref().unwrap().store.pool();
    let as_one = async |sql: &'static str| {
        let mut transaction = pool.begin().await.unwrap();
        let role = format!(
            "SET LOCAL ROLE tenantry_tenant; SET LOCAL tenantry.tenant_id = '{}'",
            one.tenant()
        );
        transaction
            .execute(sqlx::AssertSqlSafe(role))
            .await
            .unwrap();
        let foreign = two.tenant().as_uuid();
        let result = sqlx::query(sql)
            .bind(foreign)
            .fetch_all(&mut *transaction)
            .await;
        match result {
            Ok(rows) => Ok(rows.first().and_then(|row| row.try_get::<i64, _>(0).ok())),
            Err(error) => Err(error
                .as_database_error()
                .unwrap()
                .code()
                .unwrap()
                .into_owned()),
        }
    };
    let refused = Err("42501".to_owned());
    let seen = as_one("SELECT count(tenant_id) FROM tenantry.outbox WHERE $1::uuid IS NOT NULL");
    assert_eq!(seen.await, Ok(Some(2)));
    let foreign = as_one("SELECT count(tenant_id) FROM tenantry.outbox WHERE tenant_id = $1");
    assert_eq!(foreign.await, Ok(Some(0)));
    for sql in [
        "SELECT position FROM tenantry.outbox WHERE tenant_id = $1",
        "UPDATE tenantry.outbox SET sequence = 9 WHERE tenant_id = $1",
        "DELETE FROM tenantry.outbox WHERE tenant_id = $1",
        "INSERT INTO tenantry.outbox (tenant_id, key, kind, payload, occurred_at, written_at)
            VALUES ($1, 'a', 'k', '1', now(), now())",
        "INSERT INTO tenantry.outbox (tenant_id, key, kind, payload, occurred_at, written_at,
            sequence) VALUES ($1, 'a', 'k', '1', now(), now(), 1)",
        "SELECT nextval('tenantry.outbox_position_seq') WHERE $1::uuid IS NOT NULL",
        "SELECT last_value FROM tenantry.outbox_position_seq WHERE $1::uuid IS NOT NULL",
        "SELECT count(*) FROM tenantry.outbox_streams WHERE tenant_id = $1",
        "INSERT INTO tenantry.outbox_streams (tenant_id, key) VALUES ($1, 'b')",
        "UPDATE tenantry.outbox_streams SET attempts = 9 WHERE tenant_id = $1",
        "DELETE FROM tenantry.outbox_streams WHERE tenant_id = $1",
    ] {
        assert_eq!(as_one(sql).await, refused, "{sql}");
    }
}

//! Admissions of one hot tenant against bare inserts of the same rows, on the same connections.
//!
//! `cargo bench --bench limits` prints the ratios: each measurement ran right beside its reference.
//!
//! - an admission is `Limits::reserve`: a unit of work with two statements, exact;
//! - a bare insert is one row of a reservation in a transaction of its own, and no counter;
//! - the naive way reads the counter, decides, and writes, in one transaction: it admits too much;
//! - fifty at once are fifty reservations of one unit of work.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on should stop at once"
)]

#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Connection;
use tenantry::domain::catalogue::LimitName;
use tenantry::domain::limits::{LimitSpan, Reservation};
use tenantry::domain::tenancy::NewTenant;
use tenantry::store::Store;
use tenantry::{Context, PlatformContext, Tenantry};
use tokio::runtime::Runtime;

use crate::support::Ratios;
use crate::support::database::{Database, noon};

const ROUNDS: usize = 5;
/// How many admissions a measurement has, shared by its connections.
const ADMISSIONS: usize = 960;
const AT_ONCE: usize = 50;

fn main() {
    let runtime = Runtime::new().unwrap();
    let mut ratios = Ratios::default();
    runtime.block_on(async {
        let database = Database::start(34).await;
        let app = Tenantry::new(Arc::new(database.store.clone()));
        for connections in [1, 8, 32] {
            for _ in 0..ROUNDS {
                let bare = Scene::new(&app, &database).await.bare(connections).await;
                let scene = Scene::new(&app, &database).await;
                let own = scene.admissions(connections).await;
                let naive = Scene::new(&app, &database).await.naive(connections).await;
                let batched = Scene::new(&app, &database).await.batched(connections).await;
                let at = format!("at {connections} connections");
                let aim = "no aim stated";
                ratios.speed(&format!("admission / bare insert {at}"), aim, own, bare);
                ratios.speed(
                    &format!("admission / naive, which is wrong, {at}"),
                    aim,
                    own,
                    naive,
                );
                ratios.speed(
                    &format!("fifty at once / bare insert {at}"),
                    aim,
                    batched,
                    bare,
                );
                let each_second = ADMISSIONS as f64 / own.as_secs_f64();
                ratios.add(&format!("admissions per second {at}"), aim, each_second);
            }
        }
    });
    ratios.print("limits");
}

/// A tenant with a counter of its own.
#[derive(Clone)]
struct Scene {
    app: Tenantry,
    ctx: Context,
    url: String,
    store: Arc<dyn Store>,
}

fn exports() -> LimitName {
    LimitName::new("exports").unwrap()
}

impl Scene {
    async fn new(app: &Tenantry, database: &Database) -> Self {
        let operator = PlatformContext::system();
        let mut new = NewTenant::named("hot").unwrap();
        // High enough to admit everything: a refusal writes nothing and would be cheap.
        new.limits
            .0
            .insert("executions".to_owned(), Some(1_000_000));
        let tenant = app.tenants().create(&operator, new).await.unwrap();
        let ctx = Context::system(tenant.id);
        let first = app.limits().record(&ctx, &exports(), 1).await;
        first.unwrap();
        Self {
            app: app.clone(),
            ctx,
            url: database.url.clone(),
            store: Arc::new(database.store.clone()),
        }
    }

    async fn admissions(&self, connections: usize) -> Duration {
        self.each(connections, |scene, count| async move {
            for _ in 0..count {
                let limits = scene.app.limits();
                let limit = LimitName::EXECUTIONS;
                let lasting = TimeDelta::minutes(5);
                limits
                    .reserve(&scene.ctx, &limit, 1, lasting)
                    .await
                    .unwrap();
            }
        })
        .await
    }

    async fn batched(&self, connections: usize) -> Duration {
        self.each(connections, |scene, count| async move {
            let span = LimitSpan {
                limit: exports(),
                start: DateTime::UNIX_EPOCH,
                end: None,
            };
            let mut left = count;
            while left > 0 {
                let size = left.min(AT_ONCE);
                let mut unit = scene.store.begin(&scene.ctx).await.unwrap();
                let lasting = TimeDelta::minutes(5);
                let asked: Vec<_> = (0..size)
                    .map(|_| {
                        let id = unit.ids().fresh();
                        Reservation::hold(id, &span, 1, noon(), lasting).unwrap()
                    })
                    .collect();
                let done = unit.limits().reserve(&span, Some(1_000_000), &asked).await;
                assert_eq!(done.unwrap().granted, size);
                unit.commit().await.unwrap();
                left -= size;
            }
        })
        .await
    }

    async fn bare(&self, connections: usize) -> Duration {
        self.on_connections(connections, false).await
    }

    async fn naive(&self, connections: usize) -> Duration {
        self.on_connections(connections, true).await
    }

    /// Inserts one row per transaction; if `counts`, after reading the counter and before writing
    /// back what was read plus one.
    async fn on_connections(&self, connections: usize, counts: bool) -> Duration {
        let tenant = self.ctx.tenant().as_uuid();
        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(sqlx::PgConnection::connect(&self.url).await.unwrap());
        }
        let ends = noon() + TimeDelta::minutes(5);
        let start: DateTime<Utc> = DateTime::UNIX_EPOCH;
        let started = Instant::now();
        let tasks = open.into_iter().map(|mut connection| {
            tokio::spawn(async move {
                for _ in 0..ADMISSIONS / connections {
                    let mut transaction = connection.begin().await.unwrap();
                    let mut used = 0_i64;
                    if counts {
                        used = sqlx::query_scalar(
                            "SELECT used FROM tenantry.limit_counters
                            WHERE tenant_id = $1 AND limit_name = 'exports' AND window_start = $2",
                        )
                        .bind(tenant)
                        .bind(start)
                        .fetch_one(&mut *transaction)
                        .await
                        .unwrap();
                        assert!(used < 1_000_000);
                    }
                    sqlx::query(
                        "INSERT INTO tenantry.limit_reservations (tenant_id, id, limit_name,
                            window_start, amount, expires_at, state)
                        VALUES ($1, gen_random_uuid(), 'exports', $2, 1, $3, 'held')",
                    )
                    .bind(tenant)
                    .bind(start)
                    .bind(ends)
                    .execute(&mut *transaction)
                    .await
                    .unwrap();
                    if counts {
                        sqlx::query(
                            "UPDATE tenantry.limit_counters SET used = $3
                            WHERE tenant_id = $1 AND limit_name = 'exports' AND window_start = $2",
                        )
                        .bind(tenant)
                        .bind(start)
                        .bind(used + 1)
                        .execute(&mut *transaction)
                        .await
                        .unwrap();
                    }
                    transaction.commit().await.unwrap();
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        started.elapsed()
    }

    async fn each<F, Fut>(&self, connections: usize, run: F) -> Duration
    where
        F: Fn(Self, usize) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let started = Instant::now();
        let tasks: Vec<_> = (0..connections)
            .map(|_| tokio::spawn(run(self.clone(), ADMISSIONS / connections)))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        started.elapsed()
    }
}

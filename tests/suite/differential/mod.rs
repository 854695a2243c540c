//! Both stores answer every history alike: random calls of the services, made one after the other
//! on the store in memory and on PostgreSQL, at the same instants and with the same random numbers,
//! so that both make the same ids. Each answer is compared, errors with their words, and at the end
//! everything that can be read.
//!
//! The histories are the same in every run, unless `TENANTRY_DIFFERENTIAL_CASES` says how many
//! others are to be tried. A history that shows a difference is printed in its shortest form.

mod apply;
mod observe;
mod operation;
mod side;
mod values;

use std::sync::Arc;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor, PgPool, Row};
use tenantry::domain::identity::NewUser;
use tenantry::domain::tenancy::NewTenant;
use tenantry::domain::time::Month;
use tenantry::domain::workflow::NewWorkflow;
use tenantry::memory::MemoryStore;
use tenantry::postgres::{PgOptions, PgStore};
use tenantry::store::Store;
use tenantry::{Context, PlatformContext, Tenantry};

use crate::backend::{SCHEMA, noon};
use crate::support::postgres::TestDatabase;
use operation::{Step, histories};
use side::{Known, Side, Surroundings};

/// How many histories are tried unless the environment says otherwise.
const CASES: u32 = 80;
const CASES_VARIABLE: &str = "TENANTRY_DIFFERENTIAL_CASES";

/// A database that is emptied before each history.
struct Emptied {
    _database: TestDatabase,
    superuser: PgPool,
    empty: String,
    store: PgStore,
    around: Surroundings,
}

impl Emptied {
    async fn new() -> Self {
        let database = SCHEMA.database().await;
        let around = Surroundings::new();
        let options = PgOptions::new()
            .clock(around.clock.clone())
            .entropy(around.entropy.clone());
        let store = PgStore::connect(database.pool_plain().await, options)
            .await
            .unwrap();
        // As many months as a new store in memory has.
        let mut unit = store
            .begin_platform(&PlatformContext::system())
            .await
            .unwrap();
        let month = Month::of(noon());
        unit.months()
            .ensure(month.minus(1), month.plus(3))
            .await
            .unwrap();
        unit.commit().await.unwrap();
        let superuser = database.pool().await;
        let tables = sqlx::query(
            "SELECT string_agg(format('DELETE FROM tenantry.%I;', c.relname), ' ') AS empty
            FROM pg_class c
            WHERE c.relnamespace = 'tenantry'::regnamespace
                AND c.relkind IN ('r', 'p') AND NOT c.relispartition
                AND c.relname NOT IN ('months', 'month_keys', 'schema_migrations')",
        )
        .fetch_one(&superuser)
        .await
        .unwrap();
        Self {
            _database: database,
            superuser,
            empty: tables.get("empty"),
            store,
            around,
        }
    }

    async fn side(&self) -> Side {
        let empty = format!(
            "BEGIN; SET LOCAL session_replication_role = replica; {} COMMIT",
            self.empty
        );
        let empty = sqlx::raw_sql(AssertSqlSafe(empty));
        self.superuser.execute(empty).await.unwrap();
        Side::new(Arc::new(self.store.clone()), self.around.clone())
    }
}

fn in_memory() -> Side {
    let around = Surroundings::new();
    let store = MemoryStore::with(around.clock.clone(), around.entropy.clone());
    Side::new(Arc::new(store), around)
}

/// A tenant with what most calls need. Its owner has the same id as every other tenant's.
async fn furnish(app: &Tenantry, name: &str) {
    let new = NewTenant::named(name).unwrap();
    let tenants = app.tenants();
    let tenant = tenants.create(&PlatformContext::system(), new).await;
    let system = Context::system(tenant.unwrap().id);
    let mut owner = NewUser::new(values::email(3));
    owner.id = Some(Known::new_user(0));
    owner.roles.push(values::role(0));
    app.users().create(&system, &owner).await.unwrap();
    let source = app
        .sources()
        .register(&system, values::name(5))
        .await
        .unwrap();
    let mut workflow = NewWorkflow::new(values::name(0), values::definition(0));
    workflow.origin = Some((source.id, values::external("w", 0)));
    app.workflows().create(&system, workflow).await.unwrap();
}

/// Runs a history on both stores. What differs is told as the reason.
async fn compare(memory: &Side, postgres: &Side, steps: &[Step]) -> Result<(), String> {
    let mut known = Known::default();
    for (number, name) in ["one", "two"].into_iter().enumerate() {
        for side in [memory, postgres] {
            side.begin_step(number);
            furnish(&side.app, name).await;
        }
    }
    known.learn(memory).await;
    for (number, step) in steps.iter().enumerate() {
        let mut answers = Vec::new();
        for side in [memory, postgres] {
            side.begin_step(number + 2);
            answers.push(apply::apply(side, &known, step).await);
        }
        same(
            &format!("step {number}, {step:?}"),
            &answers[0],
            &answers[1],
        )?;
        known.learn(memory).await;
    }
    let seen = observe::everything(memory, &known).await;
    let there = observe::everything(postgres, &known).await;
    for ((question, here), (_, there)) in seen.iter().zip(&there) {
        same(question, here, there)?;
    }
    Ok(())
}

fn same(question: &str, memory: &Value, postgres: &Value) -> Result<(), String> {
    if memory == postgres {
        return Ok(());
    }
    Err(format!(
        "{question}\n  in memory:  {memory}\n  PostgreSQL: {postgres}"
    ))
}

#[test]
fn both_stores_answer_every_history_alike() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let emptied = runtime.block_on(Emptied::new());
    let asked = std::env::var(CASES_VARIABLE).ok();
    let config = Config {
        cases: asked.as_ref().map_or(CASES, |cases| cases.parse().unwrap()),
        failure_persistence: None,
        max_shrink_iters: 4_000,
        max_shrink_time: 120_000,
        ..Config::default()
    };
    let mut runner = match asked {
        Some(_) => TestRunner::new(config),
        None => {
            let fixed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
            TestRunner::new_with_rng(config, fixed)
        }
    };
    let done = runner.run(&histories(), |steps| {
        runtime.block_on(async {
            let (memory, postgres) = (in_memory(), emptied.side().await);
            compare(&memory, &postgres, &steps)
                .await
                .map_err(TestCaseError::fail)
        })
    });
    if let Err(difference) = done {
        panic!("{difference}");
    }
}

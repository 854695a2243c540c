//! `sync` on PostgreSQL against the way of the original design, and against psql's `\copy`.
//!
//! All three write the very same rows into the same tables, each for a tenant of its own:
//! - `sync` takes a batch in one unit of work;
//! - the original's way is one statement per step per execution, each a transaction of its own;
//! - `\copy` writes the rows that `sync` wrote, table after table, each batch in one transaction.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use criterion::Criterion;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tenantry::domain::ids::{SourceId, TenantId};
use tenantry::domain::tenancy::NewTenant;
use tenantry::domain::text::Name;
use tenantry::{Context, PlatformContext, Tenantry};
use tokio::runtime::Runtime;

use crate::reports::Reports;
use crate::support::Ratios;
use crate::support::database::Database;
use crate::support::psql::{self, Rows};
use crate::{measured, wanted};

/// What a batch writes, parents first.
const TABLES: [&str; 6] = [
    "executions",
    "execution_data",
    "error_logs",
    "usage_records",
    "events",
    "outbox",
];

/// The original's way waits for the disk so often that a part of the executions must do.
const ONE_BY_ONE: usize = 50;

pub(crate) fn bench(criterion: &mut Criterion, ratios: &mut Ratios) {
    if !wanted("postgres") {
        return;
    }
    let runtime = Runtime::new().unwrap();
    let mut scene = runtime.block_on(Scene::start());
    for (size, batches, original) in [
        (1, 40, "no aim stated"),
        (100, 5, "no aim stated"),
        (1_000, 2, "at least 20"),
    ] {
        let pass = "pass 0.40, aim 0.70";
        measured(criterion, &format!("postgres, sync of {size}"), || {
            let times = runtime.block_on(scene.round(size, batches));
            ratios.speed(
                &format!("sync of {size} / one statement per step per execution (speed)"),
                original,
                times.sync,
                times.original,
            );
            ratios.speed(
                &format!("sync of {size} / psql \\copy of the same rows (speed)"),
                if size == 1_000 { pass } else { "no aim stated" },
                times.sync,
                times.copy,
            );
            times.sync
        });
    }
}

/// What each way took for one report.
struct Times {
    sync: Duration,
    original: Duration,
    copy: Duration,
}

struct Scene {
    database: Database,
    /// The host's connection of the original's way.
    connection: PgConnection,
    app: Tenantry,
    reports: Reports,
    tenants: usize,
}

impl Scene {
    async fn start() -> Self {
        let database = Database::start(4).await;
        Self {
            connection: PgConnection::connect(&database.url).await.unwrap(),
            app: Tenantry::new(std::sync::Arc::new(database.store.clone())),
            database,
            reports: Reports::new(),
            tenants: 0,
        }
    }

    async fn round(&mut self, size: usize, batches: usize) -> Times {
        let (ctx, source) = self.tenant().await;
        let executions = self.app.executions();
        let mut sync = Duration::ZERO;
        for _ in 0..batches {
            let batch = self.reports.batch(size);
            let started = Instant::now();
            let report = executions.sync(&ctx, source, &batch).await.unwrap();
            sync += started.elapsed();
            assert_eq!(report.counts().stored, size);
        }
        let written = self.rows(ctx.tenant()).await;
        assert_eq!(written.len(), batches, "each unit of work is one batch");

        let copied = self.twin(&ctx).await;
        let rows = for_tenant(&written, copied);
        let url = self.database.url.clone();
        let copy = tokio::task::spawn_blocking(move || psql::copy(&url, &rows))
            .await
            .unwrap();
        assert_eq!(self.rows(copied).await.len(), batches, "they are all there");

        let twin = self.twin(&ctx).await;
        let rows = for_tenant(&written, twin);
        let (count, original) = self.one_by_one(&rows, size).await;
        let each = |took: Duration, count: usize| took.div_f64(count as f64);
        Times {
            sync: each(sync, size * batches),
            original: each(original, count),
            copy: each(copy, size * batches),
        }
    }

    /// A tenant that knows the workflows.
    async fn tenant(&mut self) -> (Context, SourceId) {
        self.tenants += 1;
        let new = NewTenant::named(&format!("tenant {}", self.tenants)).unwrap();
        let system = PlatformContext::system();
        let tenant = self.app.tenants().create(&system, new).await.unwrap();
        let ctx = Context::system(tenant.id);
        let name = Name::new("n8n").unwrap();
        let source = self.app.sources().register(&ctx, name).await.unwrap();
        let snapshots: Vec<_> = self
            .reports
            .real()
            .iter()
            .map(|report| report.snapshot().unwrap().as_ref().clone())
            .collect();
        let workflows = self.app.workflows();
        workflows.import(&ctx, source.id, &snapshots).await.unwrap();
        (ctx, source.id)
    }

    /// A tenant with the same sources and workflows, under the same ids.
    async fn twin(&mut self, ctx: &Context) -> TenantId {
        self.tenants += 1;
        let new = NewTenant::named(&format!("tenant {}", self.tenants)).unwrap();
        let system = PlatformContext::system();
        let twin = self.app.tenants().create(&system, new).await.unwrap().id;
        for table in ["n8n_sources", "workflows"] {
            let columns = self.database.columns(table).await;
            let names: Vec<_> = columns.iter().map(|(name, _)| name.as_str()).collect();
            let values: Vec<_> = names
                .iter()
                .map(|name| match *name {
                    "tenant_id" => format!("'{twin}'"),
                    other => other.to_owned(),
                })
                .collect();
            let (names, values, from) = (names.join(", "), values.join(", "), ctx.tenant());
            let sql = format!(
                "INSERT INTO tenantry.{table} ({names})
                SELECT {values} FROM tenantry.{table} WHERE tenant_id = '{from}'"
            );
            self.database.execute(sql).await;
        }
        twin
    }

    /// All rows of a tenant, by the transaction that wrote them.
    async fn rows(&self, tenant: TenantId) -> Vec<Vec<Rows>> {
        let mut batches: BTreeMap<i64, Vec<Rows>> = BTreeMap::new();
        for table in TABLES {
            let columns = self.database.columns(table).await;
            let names: Vec<String> = columns.into_iter().map(|(name, _)| name).collect();
            let texts: Vec<_> = names.iter().map(|name| format!("{name}::text")).collect();
            let sql = format!(
                "SELECT xmin::text::bigint, {} FROM tenantry.{table}
                WHERE tenant_id = '{tenant}' ORDER BY 1, ctid",
                texts.join(", ")
            );
            let rows: Vec<PgRow> = sqlx::query(AssertSqlSafe(sql))
                .fetch_all(&self.database.pool)
                .await
                .unwrap();
            for row in rows {
                let values = (1..=names.len()).map(|column| row.get(column)).collect();
                let batch = batches.entry(row.get(0)).or_default();
                match batch.iter_mut().find(|part| part.table == table) {
                    Some(part) => part.rows.push(values),
                    None => batch.push(Rows {
                        table: table.to_owned(),
                        columns: names.clone(),
                        rows: vec![values],
                    }),
                }
            }
        }
        batches.into_values().collect()
    }

    /// The original's way: for every execution, one statement for each table. Answers for how many
    /// executions, and how long it took.
    async fn one_by_one(&mut self, batches: &[Vec<Rows>], size: usize) -> (usize, Duration) {
        let mut statements = Vec::new();
        let mut count = 0;
        for batch in batches {
            let taken = size.min(ONE_BY_ONE - count);
            let executions = &batch[0];
            let id = column(executions, "id").unwrap();
            for (place, execution) in executions.rows.iter().take(taken).enumerate() {
                for part in batch {
                    let rows = share(part, &execution[id], place, size);
                    if !rows.is_empty() {
                        statements.push((self.insert(part, rows.len()).await, rows));
                    }
                }
            }
            count += taken;
        }
        let started = Instant::now();
        for (sql, rows) in statements {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for value in rows.into_iter().flatten() {
                query = query.bind(value.as_deref());
            }
            query.execute(&mut self.connection).await.unwrap();
        }
        (count, started.elapsed())
    }

    async fn insert(&self, part: &Rows, rows: usize) -> String {
        let types = self.database.columns(&part.table).await;
        let mut numbers = 1..;
        let values: Vec<String> = (0..rows)
            .map(|_| {
                let row: Vec<String> = types
                    .iter()
                    .zip(&mut numbers)
                    .map(|((_, kind), number)| format!("${number}::text::{kind}"))
                    .collect();
                format!("({})", row.join(", "))
            })
            .collect();
        let (table, names, values) = (&part.table, part.columns.join(", "), values.join(", "));
        format!("INSERT INTO tenantry.{table} ({names}) VALUES {values}")
    }
}

/// The rows of one execution, where the table says whose they are; otherwise as many.
fn share<'r>(
    part: &'r Rows,
    execution: &Option<String>,
    place: usize,
    size: usize,
) -> Vec<&'r Vec<Option<String>>> {
    let names = match part.table.as_str() {
        "executions" | "execution_data" => column(part, "id"),
        _ => column(part, "execution_id"),
    };
    match names {
        Some(names) => {
            let rows = part.rows.iter();
            rows.filter(|row| row[names] == *execution).collect()
        }
        None => {
            let at = |place: usize| part.rows.len() * place / size;
            part.rows[at(place)..at(place + 1)].iter().collect()
        }
    }
}

fn column(part: &Rows, name: &str) -> Option<usize> {
    part.columns.iter().position(|column| column == name)
}

fn for_tenant(batches: &[Vec<Rows>], tenant: TenantId) -> Vec<Vec<Rows>> {
    let tenant = Some(tenant.to_string());
    let mut batches = batches.to_vec();
    for part in batches.iter_mut().flatten() {
        let place = column(part, "tenant_id");
        for row in &mut part.rows {
            row[place.unwrap()].clone_from(&tenant);
        }
    }
    batches
}

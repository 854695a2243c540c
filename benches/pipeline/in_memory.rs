//! `sync` in memory: how fast, and whether it stays so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::Criterion;
use tenantry::domain::execution::ExecutionReport;
use tenantry::domain::tenancy::NewTenant;
use tenantry::domain::text::Name;
use tenantry::memory::MemoryStore;
use tenantry::store::{FixedEntropy, ManualClock};
use tenantry::{Context, PlatformContext, Tenantry};
use tokio::runtime::Runtime;

use crate::reports::Reports;
use crate::support::{Ratios, database::noon};
use crate::{measured, wanted};

const BATCH: usize = 1_000;
const SMALL: usize = 10_000;
const LARGE: usize = 1_000_000;
/// As many batches are measured at each size.
const WINDOW: usize = 10;

pub(crate) fn bench(criterion: &mut Criterion, ratios: &mut Ratios) {
    let mut reports = Reports::new();
    let scene = Scene::new();
    let mut rows = BTreeMap::new();
    measured(criterion, "memory, sync of 1,000", || {
        let batch = reports.batch(BATCH);
        let own = scene.sync(&batch);
        let started = Instant::now();
        for report in &batch {
            rows.insert(report.external_id().clone(), report.clone());
        }
        let other = started.elapsed();
        let what = "memory: sync / cloning each report into a BTreeMap (time)";
        ratios.time(what, "no aim stated", own, other);
        let rate = BATCH as f64 / own.as_secs_f64();
        ratios.add(
            "memory: thousand reports a second on one core",
            "aim 200",
            rate / 1e3,
        );
        own
    });
    drop((scene, rows));
    let rounds = if wanted("memory, growth") { 3 } else { 0 };
    for _ in 0..rounds {
        let (small, large) = growth();
        ratios.time(
            "memory: a report at 1,000,000 executions / at 10,000 (time)",
            "at most 2",
            large,
            small,
        );
    }
}

/// What a window of batches takes at either size of one store.
fn growth() -> (Duration, Duration) {
    let (mut reports, scene) = (Reports::new(), Scene::new());
    let mut took = [Duration::ZERO; 2];
    for batch in 0..LARGE / BATCH {
        let time = scene.sync(&reports.batch(BATCH));
        let stored = batch * BATCH;
        for (size, took) in [SMALL, LARGE - WINDOW * BATCH].into_iter().zip(&mut took) {
            if (size..size + WINDOW * BATCH).contains(&stored) {
                *took += time;
            }
        }
    }
    let [small, large] = took;
    (small, large)
}

struct Scene {
    runtime: Runtime,
    app: Tenantry,
    ctx: Context,
    source: tenantry::domain::ids::SourceId,
}

impl Scene {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let clock = Arc::new(ManualClock::at(noon()));
        let store = MemoryStore::with(clock, Arc::new(FixedEntropy::new(1)));
        let app = Tenantry::new(Arc::new(store));
        let (ctx, source) = runtime.block_on(async {
            let system = PlatformContext::system();
            let new = NewTenant::named("acme").unwrap();
            let tenant = app.tenants().create(&system, new).await.unwrap();
            let ctx = Context::system(tenant.id);
            let name = Name::new("n8n").unwrap();
            let source = app.sources().register(&ctx, name).await.unwrap();
            (ctx, source.id)
        });
        Self {
            runtime,
            app,
            ctx,
            source,
        }
    }

    fn sync(&self, batch: &[ExecutionReport]) -> Duration {
        let executions = self.app.executions();
        let started = Instant::now();
        let work = executions.sync(&self.ctx, self.source, batch);
        let counts = self.runtime.block_on(work).unwrap().counts();
        let took = started.elapsed();
        assert_eq!(counts.stored, batch.len());
        took
    }
}

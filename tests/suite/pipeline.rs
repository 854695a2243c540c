//! Real n8n executions through the whole pipeline, on both backends.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeZone, Utc};
use rust_decimal::Decimal;
use tenantry::adapter::n8n;
use tenantry::domain::context::Actor;
use tenantry::domain::execution::{
    ExecutionReport, ExecutionStatus, PayloadKind, Rejection, SyncCounts, SyncOutcome,
};
use tenantry::domain::ids::SourceId;
use tenantry::domain::metering::Meter;
use tenantry::domain::page::PageRequest;
use tenantry::domain::payload::PayloadPolicy;
use tenantry::domain::tenancy::NewTenant;
use tenantry::domain::text::{ExternalId, Name};
use tenantry::domain::time::Period;
use tenantry::service::{SyncPolicy, UnknownWorkflow};
use tenantry::store::{EventFilter, ExecutionFilter, Store};
use tenantry::{Context, ErrorKind, PlatformContext, Tenantry};

use crate::backend::each_backend_at;

const EXECUTIONS: &str = include_str!("../fixtures/n8n/executions.ndjson");
const WAITING: &str = include_str!("../fixtures/n8n/waiting_then_finished.ndjson");

fn later() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 23, 12, 0, 0).unwrap()
}

fn reports(lines: &str) -> Vec<ExecutionReport> {
    n8n::parse_many(lines, &PayloadPolicy::default())
        .map(|item| item.result.unwrap())
        .collect()
}

struct Scene {
    app: Tenantry,
    ctx: Context,
    source: SourceId,
}

impl Scene {
    async fn of(store: &Arc<dyn Store>, name: &str) -> Self {
        let app = Tenantry::new(Arc::clone(store));
        let new = NewTenant::named(name).unwrap();
        let tenant = app
            .tenants()
            .create(&PlatformContext::system(), new)
            .await
            .unwrap();
        let ctx = Context::system(tenant.id);
        let source = app
            .sources()
            .register(&ctx, Name::new("n8n").unwrap())
            .await
            .unwrap();
        Self {
            app,
            ctx,
            source: source.id,
        }
    }

    async fn sync(&self, reports: &[ExecutionReport]) -> SyncCounts {
        self.app
            .executions()
            .sync(&self.ctx, self.source, reports)
            .await
            .unwrap()
            .counts()
    }

    async fn usage(&self) -> BTreeMap<String, Decimal> {
        let mut unit = self.app.store().begin(&self.ctx).await.unwrap();
        let november = Period::new(
            Utc.with_ymd_and_hms(2026, 11, 1, 0, 0, 0).unwrap(),
            Utc.with_ymd_and_hms(2026, 12, 1, 0, 0, 0).unwrap(),
        );
        let totals = unit
            .usage()
            .totals(&Meter::built_in(), november.unwrap(), None)
            .await
            .unwrap();
        totals
            .into_iter()
            .filter(|total| !total.value.is_zero())
            .map(|total| (total.meter.to_string(), total.value.normalize()))
            .collect()
    }

    async fn events(&self) -> usize {
        let mut unit = self.app.store().begin(&self.ctx).await.unwrap();
        let page = PageRequest::first(PageRequest::MAX);
        unit.events()
            .page(&EventFilter::default(), &page)
            .await
            .unwrap()
            .items
            .len()
    }

    async fn by_status(&self) -> BTreeMap<&'static str, usize> {
        let page = PageRequest::first(PageRequest::MAX);
        let filter = ExecutionFilter::default();
        let executions = self.app.executions();
        let mut counts = BTreeMap::new();
        for execution in executions
            .list(&self.ctx, &filter, &page)
            .await
            .unwrap()
            .items
        {
            *counts.entry(execution.status.as_str()).or_default() += 1;
        }
        counts
    }
}

async fn on_both(test: impl AsyncFn(Arc<dyn Store>)) {
    for backed in each_backend_at(later()).await {
        test(Arc::clone(&backed.store)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_executions_are_stored_metered_and_announced_once() {
    on_both(async |store| {
        let scene = Scene::of(&store, "acme").await;
        let reports = reports(EXECUTIONS);
        assert_eq!(reports.len(), 55);
        let counts = scene.sync(&reports).await;
        assert_eq!(
            counts,
            SyncCounts {
                stored: 55,
                known: 0,
                rejected: 0,
                completed: 55
            }
        );
        let by_status = scene.by_status().await;
        assert_eq!(
            by_status,
            BTreeMap::from([("canceled", 1), ("error", 9), ("success", 45)])
        );
        let usage = scene.usage().await;
        // All but the retry, the sub-workflow, the error workflow and the cancellation.
        assert_eq!(usage["executions"], Decimal::from(51));
        let bytes: usize = reports.iter().map(ExecutionReport::storage_bytes).sum();
        assert_eq!(usage["storage"], Decimal::from(bytes));
        assert_eq!(scene.events().await, 55);

        let again = scene.sync(&reports).await;
        assert_eq!(
            again,
            SyncCounts {
                stored: 0,
                known: 55,
                rejected: 0,
                completed: 0
            }
        );
        assert_eq!(scene.usage().await, usage);
        assert_eq!(scene.events().await, 55);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_payload_with_control_characters_is_read_back_byte_for_byte() {
    on_both(async |store| {
        let scene = Scene::of(&store, "acme").await;
        scene.sync(&reports(EXECUTIONS)).await;
        let line = EXECUTIONS
            .lines()
            .find(|line| line.contains("\\u0000"))
            .unwrap();
        let start = line.find(r#""data": "#).unwrap() + r#""data": "#.len();
        let end = line.find(r#", "workflowData""#).unwrap();
        let executions = scene.app.executions();
        let id = ExternalId::new("78").unwrap();
        let execution = executions
            .find(&scene.ctx, scene.source, &id)
            .await
            .unwrap();
        let kind = PayloadKind::Output;
        let payload = executions
            .payload(&scene.ctx, execution.id, kind)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(payload.as_str(), &line[start..end]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_and_its_end_give_one_execution_in_either_order() {
    on_both(async |store| {
        let [waiting, success]: [ExecutionReport; 2] = reports(WAITING).try_into().unwrap();
        let orders = [
            vec![vec![waiting.clone()], vec![success.clone()]],
            vec![vec![success.clone()], vec![waiting.clone()]],
            vec![vec![waiting.clone(), success.clone()]],
            vec![vec![success.clone(), waiting.clone()]],
            vec![
                vec![success.clone(), success.clone()],
                vec![waiting.clone(), success.clone()],
            ],
        ];
        let mut seen = Vec::new();
        for (number, order) in orders.iter().enumerate() {
            let scene = Scene::of(&store, &format!("tenant {number}")).await;
            let mut completed = 0;
            for batch in order {
                completed += scene.sync(batch).await.completed;
            }
            assert_eq!(completed, 1, "order {number}");
            assert_eq!(scene.by_status().await, BTreeMap::from([("success", 1)]));
            let usage = scene.usage().await;
            assert_eq!(
                (usage["executions"], scene.events().await),
                (Decimal::ONE, 1)
            );
            let id = success.external_id();
            let executions = scene.app.executions();
            let row = executions.find(&scene.ctx, scene.source, id).await.unwrap();
            let payload = executions
                .payload(&scene.ctx, row.id, PayloadKind::Output)
                .await
                .unwrap();
            assert_eq!(
                payload.unwrap().as_str(),
                success.output().unwrap().as_str()
            );
            seen.push((
                row.status,
                row.started_at,
                row.finished_at,
                row.duration_ms,
                usage,
            ));
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:#?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_cannot_be_taken_does_not_stop_its_batch() {
    on_both(async |store| {
        let scene = Scene::of(&store, "acme").await;
        let mut batch = reports(EXECUTIONS);
        batch.truncate(3);
        let sample = batch[0].clone();
        let id = |text: &str| ExternalId::new(text).unwrap();
        let fresh = |name: &str, at| {
            let (status, mode) = (ExecutionStatus::Success, sample.mode().clone());
            ExecutionReport::new(id(name), sample.workflow().clone(), status, mode, at)
                .with_stopped_at(at)
        };
        let stranger = scene
            .app
            .store()
            .begin(&scene.ctx)
            .await
            .unwrap()
            .ids()
            .fresh();
        let old = Utc.with_ymd_and_hms(2020, 1, 1, 0, 0, 0).unwrap();
        batch.insert(0, fresh("old", old));
        batch.insert(2, fresh("future", later() + chrono::TimeDelta::hours(1)));
        batch.push(fresh("stranger", later()).with_triggered_by(stranger));
        let unseen = ExecutionReport::new(
            id("unseen"),
            id("nobody"),
            ExecutionStatus::Success,
            sample.mode().clone(),
            later(),
        );
        batch.push(unseen);
        let done = scene
            .app
            .executions()
            .sync(&scene.ctx, scene.source, &batch)
            .await
            .unwrap();
        let rejected: Vec<_> = done.rejected().collect();
        assert_eq!(
            rejected.iter().map(|(place, _)| *place).collect::<Vec<_>>(),
            [0, 2, 5, 6]
        );
        assert!(matches!(rejected[0].1, Rejection::OutsideWindow { .. }));
        assert!(matches!(rejected[1].1, Rejection::OutsideWindow { .. }));
        assert!(matches!(rejected[2].1, Rejection::UnknownUser { .. }));
        assert!(matches!(rejected[3].1, Rejection::UnknownWorkflow { .. }));
        assert!(
            rejected[0]
                .1
                .to_string()
                .contains("outside the months that are kept, from 2026-10")
        );
        assert_eq!(done.counts().stored, 3);
        assert_eq!(scene.by_status().await.values().sum::<usize>(), 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_may_reject_unknown_workflows() {
    on_both(async |store| {
        let scene = Scene::of(&store, "acme").await;
        let policy = SyncPolicy {
            unknown_workflow: UnknownWorkflow::Reject,
            ..Default::default()
        };
        let strict = scene.app.executions().with_policy(policy);
        let reports = reports(EXECUTIONS);
        let done = strict
            .sync(&scene.ctx, scene.source, &reports)
            .await
            .unwrap();
        assert_eq!(done.counts().rejected, 55);
        assert_eq!(scene.events().await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_different_ends_are_recorded_and_billed_once() {
    on_both(async |store| {
        let scene = Scene::of(&store, "acme").await;
        let success = reports(EXECUTIONS).remove(0);
        let (at, mode) = (success.started_at(), success.mode().clone());
        let (external, workflow) = (success.external_id().clone(), success.workflow().clone());
        let crashed = ExecutionReport::new(external, workflow, ExecutionStatus::Crashed, mode, at)
            .with_stopped_at(at);
        let executions = scene.app.executions();
        scene.sync(std::slice::from_ref(&success)).await;
        let usage = scene.usage().await;
        for recorded in [true, false] {
            let batch = [crashed.clone()];
            let done = executions
                .sync(&scene.ctx, scene.source, &batch)
                .await
                .unwrap();
            let SyncOutcome::Contradicted {
                execution,
                recorded: now,
            } = done.outcomes()[0]
            else {
                panic!("{done:?}");
            };
            assert_eq!(now, recorded);
            let told = executions
                .contradictions(&scene.ctx, execution)
                .await
                .unwrap();
            assert_eq!(told.len(), 1);
            assert_eq!(told[0].reported.status, ExecutionStatus::Crashed);
        }
        assert_eq!(scene.usage().await, usage);
        assert_eq!(scene.by_status().await, BTreeMap::from([("success", 1)]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_all_or_nothing() {
    on_both(async |store| {
        let scene = Scene::of(&store, "acme").await;
        let other = Scene::of(&store, "globex").await;
        let batch = reports(EXECUTIONS);
        let executions = scene.app.executions();
        let error = executions
            .sync(&scene.ctx, other.source, &batch)
            .await
            .unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::NotFound,
            "another tenant's source is not there"
        );
        let user = scene
            .app
            .store()
            .begin(&scene.ctx)
            .await
            .unwrap()
            .ids()
            .fresh();
        let nobody = Context::new(scene.ctx.tenant(), Actor::User(user));
        let error = executions
            .sync(&nobody, scene.source, &batch)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forbidden);
        let mut unit = store.begin(&scene.ctx).await.unwrap();
        executions
            .sync_in(&mut *unit, scene.source, &batch)
            .await
            .unwrap();
        drop(unit);
        assert!(scene.by_status().await.is_empty());
        assert_eq!((scene.events().await, scene.usage().await.len()), (0, 0));
        assert_eq!(scene.sync(&[]).await, SyncCounts::default());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_at_once_store_each_execution_once() {
    on_both(async |store| {
        let scene = Arc::new(Scene::of(&store, "acme").await);
        let batch = Arc::new(reports(EXECUTIONS));
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let (scene, batch) = (Arc::clone(&scene), Arc::clone(&batch));
                tokio::spawn(async move {
                    let mut mine: Vec<_> = batch.iter().cloned().collect();
                    mine.rotate_left(number * 7);
                    if number % 2 == 0 {
                        mine.reverse();
                    }
                    let mut completed = 0;
                    for part in mine.chunks(20) {
                        completed += scene.sync(part).await.completed;
                    }
                    completed
                })
            })
            .collect();
        let mut completed = 0;
        for task in tasks {
            completed += task.await.unwrap();
        }
        assert_eq!(completed, 55);
        assert_eq!(scene.by_status().await.values().sum::<usize>(), 55);
        assert_eq!(scene.usage().await["executions"], Decimal::from(51));
        assert_eq!(scene.events().await, 55);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_deleted_at_the_same_instant_is_created_again() {
    on_both(async |store| {
        for round in 0..20 {
            let scene = Arc::new(Scene::of(&store, &format!("tenant {round}")).await);
            let report = reports(EXECUTIONS).remove(0);
            let snapshot = report.snapshot().unwrap().as_ref().clone();
            let workflows = scene.app.workflows();
            let imported = workflows
                .import(&scene.ctx, scene.source, &[snapshot])
                .await
                .unwrap();
            let stored = imported[0].as_ref().unwrap().workflow();
            let (id, revision) = (stored.id, stored.revision);
            let rival = tokio::spawn({
                let (scene, workflows) = (Arc::clone(&scene), workflows.clone());
                async move { workflows.delete(&scene.ctx, id, revision).await }
            });
            let counts = scene.sync(&[report]).await;
            assert_eq!((counts.stored, counts.completed), (1, 1));
            let deleted = rival.await.unwrap().is_ok();
            let filter = ExecutionFilter::default();
            let page = PageRequest::first(2);
            let rows = scene
                .app
                .executions()
                .list(&scene.ctx, &filter, &page)
                .await
                .unwrap();
            assert_eq!(rows.items.len(), 1);
            assert_eq!(
                rows.items[0].workflow != id,
                deleted,
                "it belongs to one that is there"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_that_come_with_a_second_report_of_the_end_are_kept_once() {
    on_both(async |store| {
        let scene = Scene::of(&store, "acme").await;
        let whole = reports(EXECUTIONS)
            .into_iter()
            .find(|report| report.status() == ExecutionStatus::Error)
            .unwrap();
        let listed = ExecutionReport::new(
            whole.external_id().clone(),
            whole.workflow().clone(),
            whole.status(),
            whole.mode().clone(),
            whole.started_at(),
        )
        .with_stopped_at(whole.stopped_at().unwrap())
        .with_snapshot(Arc::clone(whole.snapshot().unwrap()));
        let first = scene.sync(std::slice::from_ref(&listed)).await;
        assert_eq!((first.stored, first.completed), (1, 1));
        let before = scene.usage().await;
        assert_eq!(before.get("storage"), None);

        let mut callers = Vec::new();
        let scene = Arc::new(scene);
        for _ in 0..4 {
            let (scene, whole) = (Arc::clone(&scene), whole.clone());
            callers.push(tokio::spawn(async move { scene.sync(&[whole]).await }));
        }
        let mut stored = 0;
        for caller in callers {
            stored += caller.await.unwrap().stored;
        }
        assert_eq!(stored, 1, "one of them kept it");
        let after = scene.usage().await;
        let bytes = Decimal::from(whole.storage_bytes());
        assert_eq!(after.get("storage"), Some(&bytes));
        assert_eq!(after.get("executions"), before.get("executions"));
        assert_eq!(scene.events().await, 1);
        let executions = scene.app.executions();
        let (ctx, id) = (&scene.ctx, whole.external_id());
        let row = executions.find(ctx, scene.source, id).await.unwrap();
        let output = executions.payload(ctx, row.id, PayloadKind::Output).await;
        let output = output.unwrap().map(|payload| payload.as_str().to_owned());
        assert_eq!(
            output.as_deref(),
            whole.output().map(|payload| payload.as_str())
        );
        assert_eq!(
            executions.errors(ctx, row.id).await.unwrap(),
            whole.errors()
        );

        let other = Scene::of(&store, "globex").await;
        let both = other.sync(&[listed, whole]).await;
        assert_eq!((both.stored, both.completed, both.known), (2, 1, 0));
        assert_eq!(other.usage().await, after);
    })
    .await;
}

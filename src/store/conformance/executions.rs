//! Executions, their payloads, error logs and contradictions.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::join;

use super::fixture::{Fixture, all, fails};
use crate::domain::context::Context;
use crate::domain::execution::{
    Execution, ExecutionMode, ExecutionReport, ExecutionStatus, MeterPolicy, PayloadKind,
};
use crate::domain::ids::{ExecutionId, SourceId, WorkflowId};
use crate::domain::payload::{Payload, PayloadPolicy};
use crate::domain::source::Source;
use crate::domain::text::{ExternalId, Name};
use crate::domain::time::Period;
use crate::domain::workflow::{Workflow, WorkflowDefinition};
use crate::store::{Attachments, ExecutionFilter, ExecutionUpdate, StoreErrorKind, UnitOfWork};

super::list_cases! { "executions":
    an_execution_is_read_back_as_it_was_written,
    a_batch_of_any_size_is_written_at_once,
    a_source_knows_an_execution_once,
    of_two_units_that_add_one_execution_one_wins,
    an_update_names_the_revision_it_has_read,
    of_two_units_that_lock_one_execution_one_waits_or_loses,
    an_execution_refers_to_what_its_tenant_has,
    a_tenant_sees_only_its_own_executions,
}

/// A source and a workflow of the tenant, to which executions can belong.
pub(super) struct Place {
    pub(super) source: SourceId,
    pub(super) workflow: WorkflowId,
}

pub(super) async fn place(f: &Fixture, ctx: &Context, name: &str) -> Place {
    let mut unit = f.unit(ctx).await;
    let place = place_in(&mut *unit, name).await;
    unit.commit().await.unwrap();
    place
}

pub(super) async fn place_in(unit: &mut dyn UnitOfWork, name: &str) -> Place {
    let (name, now) = (Name::new(name).unwrap(), unit.now());
    let source = Source::register(unit.ids().fresh(), name.clone(), now);
    unit.sources().insert(&source).await.unwrap();
    let definition = WorkflowDefinition::new(r#"{"nodes": [], "connections": {}}"#).unwrap();
    let new = Workflow::create(unit.ids().fresh(), name, definition, None, now);
    unit.workflows().insert(&new).await.unwrap();
    Place {
        source: source.id,
        workflow: new.workflow.id,
    }
}

pub(super) fn at(seconds: i64) -> DateTime<Utc> {
    Fixture::start() - TimeDelta::hours(1) + TimeDelta::seconds(seconds)
}

pub(super) fn external(text: &str) -> ExternalId {
    ExternalId::new(text).unwrap()
}

pub(super) fn report(
    id: &str,
    status: ExecutionStatus,
    started: i64,
    took: i64,
) -> ExecutionReport {
    let mode = ExecutionMode::Webhook;
    ExecutionReport::new(external(id), external("w"), status, mode, at(started))
        .with_stopped_at(at(started) + TimeDelta::milliseconds(took))
}

pub(super) fn ended(
    unit: &mut dyn UnitOfWork,
    place: &Place,
    report: &ExecutionReport,
) -> Execution {
    let id = unit.ids().fresh_at(report.started_at());
    let policy = MeterPolicy::default();
    Execution::first(
        id,
        place.source,
        place.workflow,
        report,
        &policy,
        unit.now(),
    )
    .execution
}

pub(super) async fn one(f: &Fixture, ctx: &Context, place: &Place, id: &str) -> Execution {
    let mut unit = f.unit(ctx).await;
    let execution = ended(
        &mut *unit,
        place,
        &report(id, ExecutionStatus::Success, 0, 5),
    );
    unit.executions()
        .insert(std::slice::from_ref(&execution))
        .await
        .unwrap();
    unit.commit().await.unwrap();
    execution
}

pub(super) fn payload(text: &str) -> Payload {
    Payload::new(text, &PayloadPolicy::default()).unwrap()
}

pub(super) fn attachments(execution: ExecutionId, text: &str) -> Attachments {
    Attachments {
        execution,
        replace: false,
        payloads: vec![(PayloadKind::Output, payload(text))],
        errors: Arc::default(),
    }
}

async fn an_execution_is_read_back_as_it_was_written(f: Fixture) {
    let ctx = f.tenant("t").await;
    let place = place(&f, &ctx, "p").await;
    let mut unit = f.unit(&ctx).await;
    let full = report("7", ExecutionStatus::Error, 3, 12)
        .with_retry_of(external("5"))
        .with_retry_success(external("9"));
    let waiting = report("8", ExecutionStatus::Waiting, 4, 1).with_wait_till(at(900));
    let odd = report("9", ExecutionStatus::Running, 5, 1).with_status_text("paused ñ");
    let rows: Vec<_> = [full, waiting, odd]
        .iter()
        .map(|report| ended(&mut *unit, &place, report))
        .collect();
    unit.executions().insert(&rows).await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = f.unit(&ctx).await;
    for row in &rows {
        assert_eq!(
            unit.executions().get(row.id).await.unwrap().as_ref(),
            Some(row)
        );
        let found = unit
            .executions()
            .find(place.source, &row.external_id)
            .await
            .unwrap();
        assert_eq!(found.as_ref(), Some(row));
    }
    let unknown = unit.ids().fresh();
    assert_eq!(unit.executions().get(unknown).await.unwrap(), None);
    assert_eq!(
        unit.executions()
            .find(place.source, &external("x"))
            .await
            .unwrap(),
        None
    );
}

async fn a_batch_of_any_size_is_written_at_once(f: Fixture) {
    let ctx = f.tenant("t").await;
    let place = place(&f, &ctx, "p").await;
    let mut unit = f.unit(&ctx).await;
    unit.executions().insert(&[]).await.unwrap();
    unit.executions().update(&[]).await.unwrap();
    unit.executions().attach(&[]).await.unwrap();
    assert!(unit.executions().contradict(&[]).await.unwrap().is_empty());
    assert!(
        unit.executions()
            .lock(place.source, &[])
            .await
            .unwrap()
            .is_empty()
    );
    let rows: Vec<_> = (0..1_200)
        .map(|n| {
            let told = report(&n.to_string(), ExecutionStatus::Success, n, 1);
            ended(&mut *unit, &place, &told)
        })
        .collect();
    unit.executions().insert(&rows).await.unwrap();
    let kept: Vec<_> = rows.iter().map(|row| attachments(row.id, "{}")).collect();
    unit.executions().attach(&kept).await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = f.unit(&ctx).await;
    let keys: Vec<_> = rows.iter().map(|row| row.external_id.clone()).collect();
    assert_eq!(
        unit.executions()
            .lock(place.source, &keys)
            .await
            .unwrap()
            .len(),
        rows.len()
    );
}

async fn a_source_knows_an_execution_once(f: Fixture) {
    let ctx = f.tenant("t").await;
    let (here, there) = (
        place(&f, &ctx, "here").await,
        place(&f, &ctx, "there").await,
    );
    one(&f, &ctx, &here, "1").await;
    one(&f, &ctx, &there, "1").await;
    let mut unit = f.unit(&ctx).await;
    let again = ended(
        &mut *unit,
        &here,
        &report("1", ExecutionStatus::Success, 0, 5),
    );
    fails(
        unit.executions().insert(&[again]).await,
        StoreErrorKind::Conflict,
    );
}

async fn of_two_units_that_add_one_execution_one_wins(f: Fixture) {
    let ctx = f.tenant("t").await;
    let place = place(&f, &ctx, "p").await;
    let (mut a, mut b) = (f.unit(&ctx).await, f.unit(&ctx).await);
    let told = report("1", ExecutionStatus::Success, 0, 5);
    let (in_a, in_b) = (ended(&mut *a, &place, &told), ended(&mut *b, &place, &told));
    a.executions()
        .insert(std::slice::from_ref(&in_a))
        .await
        .unwrap();
    let second = async {
        b.executions().insert(&[in_b]).await?;
        b.commit().await
    };
    let (first, second) = join!(a.commit(), second);
    first.unwrap();
    fails(second, StoreErrorKind::Conflict);
    let mut unit = f.unit(&ctx).await;
    let found = unit
        .executions()
        .find(place.source, &external("1"))
        .await
        .unwrap();
    assert_eq!(found, Some(in_a));
}

async fn an_update_names_the_revision_it_has_read(f: Fixture) {
    let ctx = f.tenant("t").await;
    let place = place(&f, &ctx, "p").await;
    let row = one(&f, &ctx, &place, "1").await;
    let later = Execution {
        started_at: at(50),
        revision: 2,
        ..row.clone()
    };
    let update = ExecutionUpdate {
        read: 1,
        execution: later.clone(),
    };
    let mut unit = f.unit(&ctx).await;
    unit.executions()
        .update(std::slice::from_ref(&update))
        .await
        .unwrap();
    unit.commit().await.unwrap();
    let mut unit = f.unit(&ctx).await;
    assert_eq!(unit.executions().get(row.id).await.unwrap(), Some(later));
    fails(
        unit.executions().update(&[update]).await,
        StoreErrorKind::Conflict,
    );
    let mut unit = f.unit(&ctx).await;
    let ghost = Execution {
        id: unit.ids().fresh_at(at(0)),
        ..row
    };
    let update = ExecutionUpdate {
        read: 1,
        execution: ghost,
    };
    fails(
        unit.executions().update(&[update]).await,
        StoreErrorKind::Conflict,
    );
}

async fn of_two_units_that_lock_one_execution_one_waits_or_loses(f: Fixture) {
    let ctx = f.tenant("t").await;
    let place = place(&f, &ctx, "p").await;
    one(&f, &ctx, &place, "1").await;
    let work = |late: i64| {
        let (f, ctx, source) = (f.clone(), ctx.clone(), place.source);
        async move {
            crate::store::on_conflict(&*f.store, || async {
                let mut unit = f.store.begin(&ctx).await?;
                let found = unit.executions().lock(source, &[external("1")]).await?;
                let read = found[0].revision;
                let started_at = found[0].started_at + TimeDelta::seconds(late);
                let execution = Execution {
                    revision: read + 1,
                    started_at,
                    ..found[0].clone()
                };
                unit.executions()
                    .update(&[ExecutionUpdate { read, execution }])
                    .await?;
                unit.commit().await
            })
            .await
        }
    };
    let (a, b, c) = join!(work(1), work(10), work(100));
    for done in [a, b, c] {
        done.unwrap();
    }
    let mut unit = f.unit(&ctx).await;
    let found = unit
        .executions()
        .find(place.source, &external("1"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.revision, found.started_at),
        (4, at(111)),
        "no update is lost"
    );
}

async fn an_execution_refers_to_what_its_tenant_has(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let (mine, foreign) = (place(&f, &one, "p").await, place(&f, &two, "p").await);
    let wrong = [
        Place {
            source: foreign.source,
            ..mine
        },
        Place {
            workflow: foreign.workflow,
            source: mine.source,
        },
    ];
    for wrong in wrong {
        let mut unit = f.unit(&one).await;
        let row = ended(
            &mut *unit,
            &wrong,
            &report("1", ExecutionStatus::Success, 0, 5),
        );
        fails(
            unit.executions().insert(&[row]).await,
            StoreErrorKind::NotFound,
        );
    }
}

async fn a_tenant_sees_only_its_own_executions(f: Fixture) {
    let (one_ctx, two_ctx) = f.two_tenants().await;
    let mine = place(&f, &one_ctx, "p").await;
    place(&f, &two_ctx, "p").await;
    let row = one(&f, &one_ctx, &mine, "1").await;
    let mut unit = f.unit(&one_ctx).await;
    unit.executions()
        .attach(&[attachments(row.id, "1")])
        .await
        .unwrap();
    unit.commit().await.unwrap();

    let mut other = f.unit(&two_ctx).await;
    assert_eq!(other.executions().get(row.id).await.unwrap(), None);
    assert_eq!(
        other
            .executions()
            .find(mine.source, &external("1"))
            .await
            .unwrap(),
        None
    );
    assert!(
        other
            .executions()
            .lock(mine.source, &[external("1")])
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        other
            .executions()
            .page(&ExecutionFilter::default(), &all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let of_mine = ExecutionFilter {
        workflow: Some(mine.workflow),
        ..ExecutionFilter::default()
    };
    assert!(
        other
            .executions()
            .page(&of_mine, &all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let period = Period::new(at(-100), at(100)).unwrap();
    assert!(
        other
            .executions()
            .performance(None, &period)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        other
            .executions()
            .payload(row.id, PayloadKind::Output)
            .await
            .unwrap(),
        None
    );
    assert!(other.executions().errors(row.id).await.unwrap().is_empty());
    assert!(
        other
            .executions()
            .contradictions(row.id)
            .await
            .unwrap()
            .is_empty()
    );
    let update = ExecutionUpdate {
        read: 1,
        execution: Execution {
            revision: 2,
            ..row.clone()
        },
    };
    fails(
        other.executions().update(&[update]).await,
        StoreErrorKind::Conflict,
    );
    let mut other = f.unit(&two_ctx).await;
    let foreign = attachments(row.id, "2");
    fails(
        other.executions().attach(&[foreign]).await,
        StoreErrorKind::NotFound,
    );
    let mut other = f.unit(&two_ctx).await;
    let replacing = Attachments {
        replace: true,
        ..attachments(row.id, "2")
    };
    fails(
        other.executions().attach(&[replacing]).await,
        StoreErrorKind::NotFound,
    );
    // The same id of the same execution in the other tenant's own place is no collision.
    let mut other = f.unit(&two_ctx).await;
    let theirs = place_in(&mut *other, "q").await;
    let row_of_two = Execution {
        source: theirs.source,
        workflow: theirs.workflow,
        ..row.clone()
    };
    other.executions().insert(&[row_of_two]).await.unwrap();
    let read = f
        .unit(&one_ctx)
        .await
        .executions()
        .payload(row.id, PayloadKind::Output)
        .await;
    assert_eq!(read.unwrap().unwrap().as_str(), "1");
}

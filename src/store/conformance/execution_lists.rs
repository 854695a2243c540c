//! Executions in lists and in numbers.

use super::executions::{at, ended, place, report};
use super::fixture::{Fixture, all};
use crate::domain::execution::{Execution, ExecutionStatus};
use crate::domain::page::PageRequest;
use crate::domain::time::Period;
use crate::store::{ExecutionFilter, ExecutionUpdate};

super::list_cases! { "execution_lists":
    executions_are_listed_by_workflow_state_and_start,
    performance_counts_what_ended,
}

async fn executions_are_listed_by_workflow_state_and_start(f: Fixture) {
    use ExecutionStatus::{Error, Running, Success};
    let ctx = f.tenant("t").await;
    let (here, there) = (
        place(&f, &ctx, "here").await,
        place(&f, &ctx, "there").await,
    );
    let mut unit = f.unit(&ctx).await;
    let wanted = [
        ("1", &here, Success, 10),
        ("2", &here, Error, 20),
        ("3", &there, Success, 20),
        ("4", &here, Running, 30),
        ("5", &here, Success, 20),
    ];
    let rows: Vec<_> = wanted
        .iter()
        .map(|(id, place, status, start)| ended(&mut *unit, place, &report(id, *status, *start, 1)))
        .collect();
    unit.executions().insert(&rows).await.unwrap();
    let names = |items: &[Execution]| {
        items
            .iter()
            .map(|row| row.external_id.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut expected: Vec<_> = rows.iter().collect();
    expected.sort_by_key(|row| std::cmp::Reverse((row.started_at, row.id)));
    let expected: Vec<_> = expected.into_iter().cloned().collect();
    let none = ExecutionFilter::default();
    let whole = unit.executions().page(&none, &all()).await.unwrap();
    assert_eq!(whole.items, expected, "the latest start first");
    let of_here = ExecutionFilter {
        workflow: Some(here.workflow),
        ..none.clone()
    };
    let page = unit.executions().page(&of_here, &all()).await.unwrap();
    assert_eq!(page.items.len(), 4);
    let succeeded = ExecutionFilter {
        status: Some(Success),
        ..of_here.clone()
    };
    assert_eq!(
        names(
            &unit
                .executions()
                .page(&succeeded, &all())
                .await
                .unwrap()
                .items
        ),
        "5 1"
    );
    let period = Some(Period::new(at(10), at(20)).unwrap());
    let early = ExecutionFilter {
        started: period,
        ..none.clone()
    };
    assert_eq!(
        names(&unit.executions().page(&early, &all()).await.unwrap().items),
        "1"
    );
    let (mut seen, mut request) = (Vec::new(), PageRequest::first(2));
    loop {
        let page = unit.executions().page(&none, &request).await.unwrap();
        seen.extend(page.items);
        let Some(next) = page.next else { break };
        request = PageRequest::first(2).after(next);
    }
    assert_eq!(seen, expected, "page by page");
    // A resumed execution moves to its new start.
    let moved = Execution {
        started_at: at(99),
        revision: 2,
        ..rows[0].clone()
    };
    let update = ExecutionUpdate {
        read: 1,
        execution: moved,
    };
    unit.executions().update(&[update]).await.unwrap();
    let page = unit
        .executions()
        .page(&of_here, &PageRequest::first(1))
        .await
        .unwrap();
    assert_eq!(names(&page.items), "1");
    assert_eq!(
        unit.executions()
            .page(&none, &all())
            .await
            .unwrap()
            .items
            .len(),
        5
    );
}

async fn performance_counts_what_ended(f: Fixture) {
    use ExecutionStatus::{Canceled, Crashed, Error, Running, Success};
    let ctx = f.tenant("t").await;
    let (here, there) = (
        place(&f, &ctx, "here").await,
        place(&f, &ctx, "there").await,
    );
    let mut unit = f.unit(&ctx).await;
    let mut rows: Vec<_> = (1..=20)
        .map(|n| {
            ended(
                &mut *unit,
                &here,
                &report(&n.to_string(), Success, n, n * 10),
            )
        })
        .collect();
    for (id, place, status) in [
        ("21", &here, Error),
        ("22", &here, Crashed),
        ("23", &here, Canceled),
        ("24", &there, Running),
    ] {
        rows.push(ended(&mut *unit, place, &report(id, status, 30, 1_000)));
    }
    rows.push(ended(&mut *unit, &here, &report("25", Error, 500, 1)));
    unit.executions().insert(&rows).await.unwrap();
    let period = Period::new(at(0), at(500)).unwrap();
    let summaries = unit.executions().performance(None, &period).await.unwrap();
    assert_eq!(
        summaries.len(),
        1,
        "a workflow without an ended execution has no summary"
    );
    let summary = summaries[0];
    assert_eq!((summary.executions, summary.failures), (23, 2));
    assert_eq!((summary.p50_ms, summary.p95_ms), (120, 1_000));
    let of_there = unit
        .executions()
        .performance(Some(there.workflow), &period)
        .await
        .unwrap();
    assert!(of_there.is_empty());
    let whole = Period::new(at(0), at(501)).unwrap();
    let whole = unit
        .executions()
        .performance(Some(here.workflow), &whole)
        .await
        .unwrap();
    assert_eq!(whole[0].executions, 24);
}

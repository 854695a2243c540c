//! The state machine: one row, whatever the order of the reports.

use chrono::{DateTime, Duration, Utc};
use proptest::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::*;
use crate::domain::ids::{ExecutionId, SourceId, UserId, WorkflowId, numbered};
use crate::domain::metering::MeterName;
use crate::domain::payload::{Payload, PayloadPolicy};
use crate::domain::text::ExternalId;
use crate::domain::time::{Month, Window};

fn at(millis: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::milliseconds(1_795_406_099_000 + millis)
}

fn name(text: &str) -> ExternalId {
    ExternalId::new(text).unwrap()
}

fn report(status: ExecutionStatus, started: i64) -> ExecutionReport {
    ExecutionReport::new(
        name("99"),
        name("wf"),
        status,
        ExecutionMode::Webhook,
        at(started),
    )
}

fn ended(status: ExecutionStatus, started: i64, stopped: i64) -> ExecutionReport {
    report(status, started).with_stopped_at(at(stopped))
}

fn first(report: &ExecutionReport) -> Advance {
    Execution::first(
        ExecutionId::from_uuid(Uuid::from_u128(1)),
        SourceId::from_uuid(Uuid::from_u128(2)),
        WorkflowId::from_uuid(Uuid::from_u128(3)),
        report,
        &MeterPolicy::default(),
        at(900),
    )
}

fn observe(execution: &Execution, report: &ExecutionReport) -> Observation {
    execution.observe(report, &MeterPolicy::default(), at(950))
}

fn advanced(execution: &Execution, report: &ExecutionReport) -> Advance {
    match observe(execution, report) {
        Observation::Advanced(advance) => *advance,
        other => panic!("{other:?}"),
    }
}

/// What came of a sequence of reports.
#[derive(Debug)]
struct Outcome {
    row: Execution,
    completed: Vec<Completed>,
    contradictions: Vec<Contradiction>,
}

fn run<'r>(reports: impl IntoIterator<Item = &'r ExecutionReport>) -> Outcome {
    let mut reports = reports.into_iter();
    let begun = first(reports.next().unwrap());
    let mut outcome = Outcome {
        row: begun.execution,
        completed: begun.completed.into_iter().collect(),
        contradictions: Vec::new(),
    };
    for report in reports {
        match observe(&outcome.row, report) {
            Observation::Known => {}
            Observation::Advanced(advance) => {
                assert_eq!(advance.execution.revision, outcome.row.revision + 1);
                outcome.row = advance.execution;
                outcome.completed.extend(advance.completed);
            }
            Observation::Contradiction(contradiction) => {
                outcome.contradictions.push(*contradiction);
            }
        }
    }
    // What was counted while it was read does not count as what it says.
    outcome.row.revision = 0;
    outcome.row.updated_at = at(0);
    outcome
}

#[test]
fn a_run_that_ends_is_completed_once() {
    let payload = Payload::new("[1, 2]", &PayloadPolicy::default()).unwrap();
    let end = ended(ExecutionStatus::Success, 0, 80)
        .with_output(payload)
        .with_ai_calls(3);
    let running = first(&report(ExecutionStatus::Running, 0));
    assert_eq!(running.completed, None);
    let advance = advanced(&running.execution, &end);
    assert!(advance.moved);
    let completed = advance.completed.unwrap();
    assert!(completed.billable);
    let usage: Vec<_> = completed
        .usage
        .iter()
        .map(|reading| (reading.meter.clone(), reading.quantity))
        .collect();
    assert_eq!(
        usage,
        [
            (MeterName::EXECUTIONS, Decimal::from(1)),
            (MeterName::AI_CALLS, Decimal::from(3)),
            (MeterName::EXECUTION_MS, Decimal::from(80)),
            (MeterName::STORAGE, Decimal::from(6)),
        ]
    );
    let row = advance.execution;
    assert_eq!(row.duration_ms, Some(80));
    assert_eq!(row.finished_at, Some(at(80)));
    assert_eq!((row.revision, row.updated_at), (2, at(950)));
    assert_eq!(observe(&row, &end), Observation::Known);
    assert_eq!(
        row.message_key(),
        "workflow:00000000-0000-0000-0000-000000000003"
    );
    let event: serde_json::Value = serde_json::from_str(&row.event_text()).unwrap();
    assert_eq!(
        (&event["execution_time"], &event["status"]),
        (&80.into(), &"success".into())
    );
}

#[test]
fn a_waiting_run_has_stopped_and_is_not_finished() {
    let waiting = ended(ExecutionStatus::Waiting, 0, 30).with_wait_till(at(70_000));
    let begun = first(&waiting);
    assert_eq!(begun.completed, None);
    assert_eq!(begun.execution.finished_at, None);
    assert_eq!(begun.execution.duration_ms, None);
    assert_eq!(begun.execution.wait_till, Some(at(70_000)));
    let end = ended(ExecutionStatus::Success, 70_010, 70_020);
    let done = advanced(&begun.execution, &end).execution;
    assert_eq!(done.wait_till, None);
    assert_eq!(done.started_at, at(70_010));
    assert_eq!(done.duration_ms, Some(10));
    assert_eq!(observe(&done, &waiting), Observation::Known);
}

#[test]
fn a_resumed_run_is_running_again_until_it_waits_again() {
    let states = [
        report(ExecutionStatus::New, 0),
        report(ExecutionStatus::Running, 0),
        ended(ExecutionStatus::Waiting, 0, 5).with_wait_till(at(100)),
        report(ExecutionStatus::Running, 100),
        ended(ExecutionStatus::Waiting, 100, 105).with_wait_till(at(200)),
    ];
    let mut row = first(&states[0]).execution;
    for (state, earlier) in states[1..].iter().zip(&states) {
        row = advanced(&row, state).execution;
        assert_eq!(row.status, state.status());
        assert_eq!(observe(&row, earlier), Observation::Known);
    }
}

#[test]
fn two_different_ends_contradict_each_other() {
    let begun = first(&ended(ExecutionStatus::Success, 0, 80));
    for other in [
        ended(ExecutionStatus::Error, 0, 80),
        ended(ExecutionStatus::Success, 0, 81),
    ] {
        let Observation::Contradiction(found) = observe(&begun.execution, &other) else {
            panic!("{other:?}");
        };
        assert_eq!(
            *found,
            Contradiction {
                execution: begun.execution.id,
                kept: End {
                    status: ExecutionStatus::Success,
                    at: at(80)
                },
                reported: End {
                    status: other.status(),
                    at: other.stopped_at().unwrap()
                },
                observed_at: at(950),
            }
        );
    }
}

#[test]
fn a_hook_and_a_poll_tell_the_same_end_with_different_starts() {
    let hook = ended(ExecutionStatus::Success, 41, 80);
    let poll = ended(ExecutionStatus::Success, 0, 80);
    let amended = advanced(&first(&hook).execution, &poll);
    assert!(!amended.moved, "payloads stay as they are");
    assert_eq!(amended.completed, None, "billed before");
    assert_eq!(amended.execution.duration_ms, Some(80));
    assert_eq!(observe(&first(&poll).execution, &hook), Observation::Known);
}

#[test]
fn a_link_is_kept_once_it_is_known() {
    let failed = ended(ExecutionStatus::Error, 0, 80);
    let begun = first(&failed).execution;
    let retried = failed.clone().with_retry_success(name("9"));
    let linked = advanced(&begun, &retried);
    assert_eq!((linked.moved, linked.completed), (false, None));
    assert_eq!(linked.execution.retry_success, Some(name("9")));
    assert_eq!(observe(&linked.execution, &failed), Observation::Known);
    let later = failed.with_retry_success(name("10"));
    let row = advanced(&linked.execution, &later).execution;
    assert_eq!(row.retry_success, Some(name("10")), "10 came after 9");
    let user = UserId::from_uuid(Uuid::from_u128(7));
    let started = report(ExecutionStatus::New, 0).with_triggered_by(user);
    assert_eq!(
        advanced(&row, &started).execution.triggered_by,
        Some(user),
        "even a stale report can bring it"
    );
}

#[test]
fn a_clock_that_went_backwards_gives_no_time() {
    let begun = first(&ended(ExecutionStatus::Canceled, 50, 20));
    assert_eq!(begun.execution.duration_ms, Some(0));
    assert_eq!(begun.completed.unwrap().usage, []);
    let untold = first(&report(ExecutionStatus::Crashed, 50)).execution;
    assert_eq!(
        (untold.finished_at, untold.duration_ms),
        (Some(at(50)), Some(0))
    );
}

#[test]
fn only_production_runs_that_ended_in_success_or_error_are_billed() {
    let policy = MeterPolicy::default();
    for mode in [
        "webhook",
        "trigger",
        "chat",
        "manual",
        "retry",
        "integrated",
        "error",
        "cli",
        "internal",
        "evaluation",
        "agent",
        "new one",
    ] {
        for status in ExecutionStatus::ALL {
            let production = matches!(mode, "webhook" | "trigger" | "chat");
            let finished = matches!(status, ExecutionStatus::Success | ExecutionStatus::Error);
            let bills = policy.bills(&ExecutionMode::from(mode), status);
            assert_eq!(bills, production && finished, "{mode} {status}");
        }
    }
    let manual = ExecutionReport::new(
        name("1"),
        name("wf"),
        ExecutionStatus::Success,
        ExecutionMode::Manual,
        at(0),
    );
    let completed = first(&manual.with_stopped_at(at(7)).with_ai_calls(2))
        .completed
        .unwrap();
    assert!(!completed.billable);
    let meters: Vec<_> = completed
        .usage
        .iter()
        .map(|reading| reading.meter.clone())
        .collect();
    assert_eq!(meters, [MeterName::AI_CALLS, MeterName::EXECUTION_MS]);
}

#[test]
fn a_state_of_a_newer_source_is_kept_in_its_own_word() {
    let paused = report(ExecutionStatus::Success, 0).with_status_text("paused");
    let row = first(&paused).execution;
    assert_eq!(row.status, ExecutionStatus::Unknown);
    assert_eq!(row.status_text, Some(Label::of("paused")));
    let done = advanced(&row, &ended(ExecutionStatus::Success, 0, 5)).execution;
    assert_eq!(done.status_text, None);
}

fn any_open() -> impl Strategy<Value = ExecutionReport> {
    let status = prop::sample::select(vec![
        ExecutionStatus::New,
        ExecutionStatus::Running,
        ExecutionStatus::Waiting,
        ExecutionStatus::Unknown,
    ]);
    (status, 0..3_i64, 0..3_i64).prop_map(|(status, started, other)| match status {
        ExecutionStatus::Waiting => {
            ended(status, started, started + 1).with_wait_till(at(10 + other))
        }
        ExecutionStatus::Unknown if other > 0 => {
            report(status, started).with_status_text(&format!("word {other}"))
        }
        _ => report(status, started),
    })
}

/// The one end: told by several, who agree on when it was and not on when it began.
fn any_end() -> impl Strategy<Value = ExecutionReport> {
    (0..3_i64).prop_map(|started| ended(ExecutionStatus::Error, started, 9))
}

fn any_other_end() -> impl Strategy<Value = ExecutionReport> {
    prop_oneof![
        Just(ended(ExecutionStatus::Success, 1, 9)),
        Just(ended(ExecutionStatus::Error, 1, 8)),
        Just(report(ExecutionStatus::Crashed, 1)),
    ]
}

fn linked(
    report: impl Strategy<Value = ExecutionReport>,
) -> impl Strategy<Value = ExecutionReport> {
    (report, 0..8_u8, 8..12_u8).prop_map(|(report, links, number)| {
        let mut report = report;
        if links & 1 == 1 {
            report = report.with_retry_of(name("5"));
        }
        if links & 2 == 2 {
            report = report.with_retry_success(name(&number.to_string()));
        }
        if links & 4 == 4 {
            report = report.with_triggered_by(UserId::from_uuid(Uuid::from_u128(number.into())));
        }
        report
    })
}

fn in_some_orders(
    report: impl Strategy<Value = ExecutionReport>,
) -> impl Strategy<Value = (Vec<ExecutionReport>, Vec<ExecutionReport>)> {
    prop::collection::vec(linked(report), 1..7)
        .prop_flat_map(|reports| (Just(reports.clone()), Just(reports).prop_shuffle()))
}

#[test]
fn what_follows_from_ends_is_in_the_order_of_the_reports() {
    let of = |id: &str, status| {
        let (id, wf) = (name(id), name("wf"));
        ExecutionReport::new(id, wf, status, ExecutionMode::Webhook, at(0))
    };
    let running = |id: &str, number| Execution {
        id: numbered(at(0), number),
        external_id: name(id),
        ..first(&report(ExecutionStatus::Running, 0)).execution
    };
    let known = [running("a", 1), running("b", 2), running("c", 3)];
    let mut reversed = known.clone();
    reversed.reverse();
    for known in [known, reversed] {
        let (source, workflow) = (known[0].source, known[0].workflow);
        let window = Window::new(vec![Month::of(at(0))], at(900));
        let policy = MeterPolicy::default();
        let mut batch = Batch::new(source, known.to_vec(), &policy, window, at(900));
        for id in ["b", "new", "a", "c"] {
            let report = of(id, ExecutionStatus::Success).with_stopped_at(at(5));
            batch.observe(&report, workflow, |at| numbered(at, 9));
        }
        let ended = batch.writes().ended;
        let ended = ended
            .iter()
            .map(|ended| ended.execution.external_id.as_str());
        assert_eq!(ended.collect::<Vec<_>>(), ["b", "new", "a", "c"]);
    }
}

proptest! {
    #[test]
    fn the_order_of_reports_does_not_matter(
        (one, other) in in_some_orders(prop_oneof![2 => any_open(), 1 => any_end()]),
    ) {
        let (a, b) = (run(&one), run(&other));
        prop_assert_eq!(&a.row, &b.row);
        let ends = one.iter().any(|report| report.status().is_terminal());
        for outcome in [&a, &b] {
            prop_assert_eq!(outcome.completed.len(), usize::from(ends));
            prop_assert!(outcome.contradictions.is_empty());
            for report in &one {
                prop_assert_eq!(observe(&outcome.row, report), Observation::Known);
            }
        }
    }

    #[test]
    fn the_first_of_contradictory_ends_stays_and_is_billed_once(
        (one, other) in in_some_orders(
            prop_oneof![any_open(), any_end(), any_other_end()],
        ),
    ) {
        for reports in [one, other] {
            let outcome = run(&reports);
            let first_end = reports.iter().find(|report| report.status().is_terminal());
            prop_assert_eq!(outcome.completed.len(), usize::from(first_end.is_some()));
            if let Some(end) = first_end {
                prop_assert_eq!(outcome.row.status, end.status());
                let stopped = end.stopped_at().unwrap_or(end.started_at());
                prop_assert_eq!(outcome.row.finished_at, Some(stopped));
            }
            for found in &outcome.contradictions {
                prop_assert_eq!(Some(found.kept), outcome.row.end());
                prop_assert_ne!(found.reported, found.kept);
            }
        }
    }
}

//! Real executions and workflows, made-up ones with what the real ones lack, and broken ones.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::domain::execution::{
    Execution, ExecutionReport, ExecutionStatus, MeterPolicy, Observation,
};
use crate::domain::ids::{SourceId, WorkflowId};
use crate::domain::payload::{MAX_DEPTH, Payload, PayloadPolicy};
use crate::domain::redaction::Redaction;
use crate::domain::workflow::{Workflow, WorkflowSnapshot};

const EXECUTIONS: &str = include_str!("../../../tests/fixtures/n8n/executions.ndjson");
const CANCELED: &str = include_str!("../../../tests/fixtures/n8n/canceled.ndjson");
const WAITING: &str = include_str!("../../../tests/fixtures/n8n/waiting_then_finished.ndjson");
const WORKFLOWS: &str = include_str!("../../../tests/fixtures/n8n/workflows.ndjson");
const MODELS: &str = include_str!("../../../tests/fixtures/n8n/language_models.ndjson");
const SECRETS: &str = include_str!("../../../tests/fixtures/n8n/secrets.ndjson");

fn parse(line: &str) -> ExecutionReport {
    parse_line(line, &PayloadPolicy::default()).unwrap()
}

fn refused(line: &str) -> String {
    parse_line(line, &PayloadPolicy::default())
        .unwrap_err()
        .to_string()
}

fn all(lines: &str) -> Vec<ExecutionReport> {
    parse_many(lines, &PayloadPolicy::default())
        .map(|item| item.result.unwrap())
        .collect()
}

fn line_of(id: &str) -> &'static str {
    let begin = format!(r#"{{"id": "{id}", "#);
    EXECUTIONS
        .lines()
        .find(|line| line.starts_with(&begin))
        .unwrap()
}

fn millis(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap()
}

fn text(payload: Option<&Payload>) -> Option<&str> {
    payload.map(Payload::as_str)
}

/// The slices that serde_json cuts from the same line.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Slices<'t> {
    id: &'t str,
    #[serde(borrow)]
    data: &'t RawValue,
    #[serde(borrow)]
    workflow_data: &'t RawValue,
    #[serde(borrow)]
    mode: &'t RawValue,
    #[serde(borrow)]
    status: &'t RawValue,
    #[serde(borrow)]
    started_at: &'t RawValue,
    #[serde(borrow)]
    stopped_at: &'t RawValue,
}

fn slices(line: &str) -> Slices<'_> {
    serde_json::from_str(line).unwrap()
}

#[test]
fn every_real_execution_is_read() {
    let reports = all(EXECUTIONS);
    let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for report in &reports {
        let mode = report.mode().to_string();
        *counts.entry((mode, report.status().as_str())).or_default() += 1;
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|((mode, status), n)| (mode.as_str(), *status, *n))
        .collect();
    assert_eq!(
        counts,
        [
            ("error", "success", 1),
            ("integrated", "success", 1),
            ("retry", "error", 1),
            ("trigger", "success", 8),
            ("webhook", "canceled", 1),
            ("webhook", "error", 8),
            ("webhook", "success", 35),
        ]
    );
    for (report, line) in reports.iter().zip(EXECUTIONS.lines()) {
        assert_eq!(text(report.output()), Some(slices(line).data.get()));
        assert!(report.input().is_some(), "{}", report.external_id());
        assert_eq!(report.ai_calls(), 0);
        let failed = report.status().is_failure();
        assert_eq!(report.errors().len(), usize::from(failed));
        assert_eq!(report.error().is_some(), failed);
        let definition = report.snapshot().unwrap().definition().unwrap();
        assert!(slices(line).workflow_data.get().len() > definition.as_str().len());
    }
}

#[test]
fn an_execution_is_read_field_by_field() {
    let report = parse(line_of("1"));
    assert_eq!(report.external_id().as_str(), "1");
    assert_eq!(report.workflow().as_str(), "nCMfU7BG9NJFgeUf");
    assert_eq!(report.started_at(), millis(1_795_406_099_742));
    assert_eq!(report.stopped_at(), Some(millis(1_795_406_099_822)));
    assert_eq!(report.wait_till(), None);
    assert_eq!((report.retry_of(), report.retry_success()), (None, None));
    assert_eq!(
        text(report.input()),
        Some(concat!(
            r#"[{"json": {"headers": {"accept-encoding": "identity", "content-length": "58", "#,
            r#""host": "127.0.0.1:5678", "user-agent": "Python-urllib/3.11", "content-type": "#,
            r#""application/json", "connection": "close"}, "params": {}, "query": {}, "body": "#,
            r#"{"amount": 99.99, "customer": "Cliente \u00d1and\u00fa 0"}, "webhookUrl": "#,
            r#""http://localhost:5678/webhook/order", "executionMode": "production"}, "#,
            r#""pairedItem": {"item": 0}}]"#,
        ))
    );
    let snapshot = report.snapshot().unwrap();
    assert_eq!(snapshot.name().unwrap().as_str(), "Order intake");
    assert!(snapshot.active());
    assert_eq!(
        snapshot.settings().unwrap().get("executionOrder"),
        Some(&json!("v1"))
    );
    let names: Vec<_> = snapshot.definition().unwrap().nodes().to_vec();
    let names: Vec<_> = names.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["Webhook", "Normalise", "Big?", "Review", "Approve"]);
}

#[test]
fn a_payload_that_no_database_type_takes_is_kept_byte_for_byte() {
    let line = line_of("78");
    let report = parse(line);
    let output = report.output().unwrap();
    let start = line.find(r#"{"version": 1, "startData""#).unwrap();
    let end = line.find(r#", "workflowData": "#).unwrap();
    assert_eq!(output.as_str(), &line[start..end]);
    assert_eq!(output.masked(), 0);
    for odd in [r"a\u0000b", r"\ud800", "9007199254740992", &"9".repeat(400)] {
        assert!(output.as_str().contains(odd), "{odd}");
    }
}

#[test]
fn a_retry_names_what_it_retries_and_its_error_is_logged_once() {
    let line = line_of("80");
    let report = parse(line);
    assert_eq!(report.retry_of().unwrap().as_str(), "71");
    let [entry] = report.errors() else {
        panic!("{:?}", report.errors());
    };
    assert_eq!(entry.node.as_deref(), Some("Stop"));
    assert_eq!(entry.kind.as_deref(), Some("NodeOperationError"));
    assert_eq!(entry.message, "límite alcanzado");
    assert_eq!(entry.description, None);
    assert!(entry.stack.as_ref().unwrap().starts_with(
        "NodeOperationError: límite alcanzado\n    at ExecuteContext.execute (/opt/n8n/"
    ));
    assert_eq!(entry.occurred_at, millis(1_795_406_111_468));
    assert!(!entry.cleaned);
    let value: Value = serde_json::from_str(line).unwrap();
    let error: Value = serde_json::from_str(report.error().unwrap().as_str()).unwrap();
    assert_eq!(error, value["data"]["resultData"]["error"]);
    let input: Value = serde_json::from_str(report.input().unwrap().as_str()).unwrap();
    let run = &value["data"]["resultData"]["runData"]["Webhook"][0];
    assert_eq!(input, run["data"]["main"][0]);
}

#[test]
fn an_error_without_a_time_happened_when_its_node_began() {
    let report = parse(line_of("42"));
    let entry = &report.errors()[0];
    assert_eq!(entry.message, "Saldo insuficiente: c0 [line 1]");
    assert_eq!((entry.node.as_deref(), &entry.kind), (Some("Work"), &None));
    let value: Value = serde_json::from_str(line_of("42")).unwrap();
    let began = value["data"]["resultData"]["runData"]["Work"][0]["startTime"].as_i64();
    assert_eq!(entry.occurred_at, millis(began.unwrap()));
}

fn first(report: &ExecutionReport) -> Execution {
    let (id, policy) = (Uuid::from_u128(1), MeterPolicy::default());
    let (id, source, workflow) = (id.into(), SourceId::from(id), WorkflowId::from(id));
    Execution::first(id, source, workflow, report, &policy, millis(0)).execution
}

#[test]
fn a_cancellation_told_by_two_calls_is_the_same_end() {
    let (one, other) = (parse(line_of("109")), parse(CANCELED));
    assert_eq!(one.status(), ExecutionStatus::Canceled);
    let entry = &one.errors()[0];
    assert_eq!(entry.node, None);
    assert_eq!(entry.kind.as_deref(), Some("ManualExecutionCancelledError"));
    let seen = first(&one).observe(&other, &MeterPolicy::default(), millis(1));
    assert_eq!(seen, Observation::Known);
}

#[test]
fn waiting_then_finished_is_one_run_that_ends_once_in_either_order() {
    let reports = all(WAITING);
    let [waiting, finished] = &reports[..] else {
        panic!("{reports:?}");
    };
    assert_eq!(waiting.external_id(), finished.external_id());
    assert!(waiting.wait_till().is_some() && waiting.stopped_at().is_some());
    let policy = MeterPolicy::default();
    let Observation::Advanced(done) = first(waiting).observe(finished, &policy, millis(1)) else {
        panic!("the end is news");
    };
    assert_eq!(done.completed.unwrap().usage.len(), 3);
    let ended = first(finished);
    assert_eq!(
        ended.observe(waiting, &policy, millis(1)),
        Observation::Known
    );
    assert_eq!(
        (done.execution.started_at, done.execution.finished_at),
        (ended.started_at, ended.finished_at)
    );
    assert_eq!(done.execution.duration_ms, Some(9));
}

#[test]
fn runs_of_language_models_are_counted_and_nothing_else() {
    let report = parse(MODELS);
    assert_eq!(report.ai_calls(), 4, "3 runs of one model, 1 of another");
    let definition = report.snapshot().unwrap().definition().unwrap();
    let models: Vec<_> = definition.language_models().map(|n| &*n.name).collect();
    assert_eq!(models, ["OpenAI Chat Model", "Résumé – lm"]);
    assert!(report.output().unwrap().as_str().contains("tokenUsage"));
    let input: Value = serde_json::from_str(report.input().unwrap().as_str()).unwrap();
    assert_eq!(input[0]["json"]["action"], "sendMessage");
}

#[test]
fn secrets_do_not_get_through() {
    const SECRET: &str = "hunter2-do-not-store";
    assert!(SECRETS.contains(SECRET));
    let report = parse(SECRETS);
    let parts = [report.input(), report.output(), report.error()].map(|part| part.unwrap());
    for part in parts {
        assert!(!part.as_str().contains(SECRET), "{}", part.as_str());
        assert!(part.masked() > 0);
        serde_json::from_str::<&RawValue>(part.as_str()).unwrap();
    }
    let [input, output, error] = parts;
    assert!(output.as_str().contains(input.as_str()));
    assert!(output.as_str().contains(error.as_str()));
    let input: Value = serde_json::from_str(input.as_str()).unwrap();
    assert_eq!(
        input,
        json!([{"json": {
            "headers": {
                "host": "127.0.0.1:5678",
                "Authorization": "[redacted]",
                "COOKIE": "[redacted]",
                "x-api-key": "[redacted]",
            },
            "body": {
                "amount": 12.5,
                "card": {"secret": "[redacted]", "brand": "visa"},
                "list": [
                    {"password": "[redacted]"},
                    {"Password": "[redacted]"},
                    [{"refresh_token": "[redacted]"}],
                ],
                "tokenUsage": {"totalTokens": 3},
                "token": "[redacted]",
            },
        }, "pairedItem": {"item": 0}}])
    );
    assert!(error.as_str().contains(r#""httpCode": "401""#));
    let snapshot = report.snapshot().unwrap();
    let definition = snapshot.definition().unwrap();
    assert!(!definition.as_str().contains(SECRET));
    assert!(definition.as_str().contains(r#""password": "[redacted]""#));
    assert!(
        definition.as_str().contains(r#""Token": {"main""#),
        "a node may have the name of a secret"
    );
}

#[test]
fn odd_characters_in_names_and_errors_do_not_lose_a_report() {
    let report = parse(SECRETS);
    let [entry] = report.errors() else {
        panic!("{:?}", report.errors());
    };
    assert_eq!(entry.node.as_deref(), Some("Send"));
    assert_eq!(
        entry.message,
        "Authorization failed - please check your credentials"
    );
    assert_eq!(
        entry.description.as_deref(),
        Some("Invalid \u{FFFD} credentials")
    );
    assert!(entry.cleaned);
    let odd = r#"{"id":"1","status":"new","mode":"cli","workflowId":"w","startedAt":
        "2026-11-23T03:54:59Z","\ud800":1,"data":{"\u0000":"\udc00","resultData":{"runData":
        {"\ud800\u0000":[{"source":[],"data":{"main":[null,[],[{"\udfff":0}]]}}]}}}}"#;
    assert_eq!(text(parse(odd).input()), Some(r#"[{"\udfff":0}]"#));
}

/// An execution with one field set to other JSON, or left out.
fn with(field: &str, json: Option<&str>) -> String {
    let mut fields = vec![
        ("id", r#""7""#),
        ("status", r#""success""#),
        ("mode", r#""webhook""#),
        ("workflowId", r#""wf""#),
        ("startedAt", r#""2026-11-23T03:54:59.742Z""#),
        ("stoppedAt", r#""2026-11-23T03:55:00.000Z""#),
    ];
    fields.retain(|(name, _)| *name != field);
    fields.extend(json.map(|json| (field, json)));
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, json)| format!(r#""{name}": {json}"#))
        .collect();
    format!("{{{}}}", fields.join(", "))
}

#[test]
fn what_is_missing_or_of_the_wrong_type_is_named() {
    for (field, json, error) in [
        ("id", None, "`id` is missing"),
        ("id", Some("null"), "`id` is missing"),
        ("id", Some("1.5"), "`id` must be a text or a whole number"),
        ("id", Some("-1"), "`id` must be a text or a whole number"),
        ("id", Some("{}"), "`id` must be a text or a whole number"),
        ("id", Some("\"\""), "`id`: external id must not be empty"),
        ("workflowId", None, "`workflowId` is missing"),
        ("status", None, "`status` is missing"),
        ("status", Some("1"), "`status` must be a text"),
        ("mode", None, "`mode` is missing"),
        (
            "stoppedAt",
            Some("\"today\""),
            "`stoppedAt` is `today`, which is not a time like 2026-11-23T03:54:59.742Z",
        ),
        (
            "startedAt",
            Some("1795406099785"),
            "`startedAt` must be a text",
        ),
        (
            "retryOf",
            Some("[]"),
            "`retryOf` must be a text or a whole number",
        ),
        (
            "data",
            Some(r#""[{\"resultData\":\"1\"}]""#),
            "`data` is text in the form of n8n's database; it must be an object, as the public API \
             gives it with includeData=true",
        ),
        ("data", Some("[]"), "`data` must be an object"),
        ("data", Some("{}"), "`data.resultData` is missing"),
        (
            "data",
            Some(r#"{"resultData": 1}"#),
            "`data.resultData` must be an object",
        ),
        (
            "data",
            Some(r#"{"resultData": {}}"#),
            "`data.resultData.runData` is missing",
        ),
        (
            "data",
            Some(r#"{"resultData": {"runData": []}}"#),
            "`data.resultData.runData` must be an object",
        ),
        (
            "data",
            Some(r#"{"resultData": {"runData": {"A \"b\"": {}}}}"#),
            "`data.resultData.runData[\"A \\\"b\\\"\"]` must be an array",
        ),
        (
            "data",
            Some(r#"{"resultData": {"runData": {"A": [{}, 1]}}}"#),
            "`data.resultData.runData[\"A\"][1]` must be an object",
        ),
        (
            "workflowData",
            Some("7"),
            "`workflowData` must be an object",
        ),
        (
            "workflowData",
            Some(r#"{"id": []}"#),
            "`workflowData.id` must be a text or a whole number",
        ),
    ] {
        assert_eq!(refused(&with(field, json)), error);
    }
    for (line, error) in [
        ("", "not JSON: expected a value at byte 0"),
        ("7", "`execution` must be an object"),
        ("{}", "`id` is missing"),
        ("[]", "`id` is missing"),
        ("[7]", "`run` must be an object"),
        (r#"{"run": 7}"#, "`run` must be an object"),
    ] {
        assert_eq!(refused(line), error, "{line}");
    }
    let whole = with("finished", Some("true"));
    assert_eq!(
        refused(&format!("{whole} x")),
        format!("not JSON: expected the end at byte {}", whole.len() + 1)
    );
}

#[test]
fn what_older_and_newer_versions_write_is_read() {
    let numbers = with("id", Some("1042"));
    assert_eq!(parse(&numbers).external_id().as_str(), "1042");
    let retry = parse(&with("retryOf", Some("9007199254740993")));
    assert_eq!(retry.retry_of().unwrap().as_str(), "9007199254740993");
    let status = parse(&with("status", Some(r#""paused\u0000""#)));
    assert_eq!(status.status(), ExecutionStatus::Unknown);
    assert_eq!(status.status_text().unwrap().as_str(), "paused");
    let mode = parse(&with("mode", Some(r#""swarm""#)));
    assert_eq!(mode.mode().as_str(), "swarm");
    let no_data = parse(&with("data", Some("null")));
    assert_eq!((no_data.output(), no_data.snapshot()), (None, None));
    let keys = with("id", None).replacen('{', r#"{"\u0069d": "8", "#, 1);
    assert_eq!(parse(&keys).external_id().as_str(), "8");
    let offset = parse(&with(
        "stoppedAt",
        Some(r#""2026-11-23T05:54:59.742+02:00""#),
    ));
    assert_eq!(offset.stopped_at(), Some(millis(1_795_406_099_742)));
}

#[test]
fn an_execution_that_has_not_started_began_when_it_was_made() {
    let queued = with("startedAt", Some("null")).replacen(
        '{',
        r#"{"createdAt": "2026-11-23T03:54:59.742Z", "#,
        1,
    );
    assert_eq!(parse(&queued).started_at(), millis(1_795_406_099_742));
    let canceled = parse(&with("startedAt", None));
    assert_eq!(Some(canceled.started_at()), canceled.stopped_at());
}

fn nested(depth: usize) -> String {
    // `data` itself, `resultData`, `runData`, the runs, the run: five levels.
    let inner = depth - 5;
    let deep = format!("{}{}", "[".repeat(inner), "]".repeat(inner));
    let data = format!(r#"{{"resultData": {{"runData": {{"A": [{{"x": {deep}}}]}}}}}}"#);
    with("data", Some(&data))
}

#[test]
fn depth_is_bounded_where_the_database_still_copes() {
    let deepest = parse(&nested(MAX_DEPTH));
    assert!(deepest.output().unwrap().bytes() > 2 * (MAX_DEPTH - 5));
    let error = refused(&nested(MAX_DEPTH + 1));
    assert!(
        error.starts_with("`data`: nested deeper than 1000 levels at byte "),
        "{error}"
    );
    let policy = PayloadPolicy {
        max_bytes: 20,
        ..PayloadPolicy::default()
    };
    assert_eq!(
        parse_line(&nested(6), &policy).unwrap_err().to_string(),
        "`data`: the payload has 47 bytes; at most 20 are allowed"
    );
}

#[test]
fn a_hook_tells_what_the_api_tells_but_for_links() {
    for line in EXECUTIONS.lines() {
        let parts = slices(line);
        let (workflow, id) = (parts.workflow_data.get(), parts.id);
        let run = format!(
            r#"{{"data": {}, "mode": {}, "startedAt": {}, "stoppedAt": {}, "status": {}}}"#,
            parts.data, parts.mode, parts.started_at, parts.stopped_at, parts.status,
        );
        let policy = PayloadPolicy::default();
        let report = parse_hook(&run, workflow, id, &policy).unwrap();
        assert_eq!(
            parse(&format!(r#"[{run}, {workflow}, "{id}", {{"context": 1}}]"#)),
            report
        );
        assert_eq!(
            parse(&format!(
                r#"{{"executionId": "{id}", "workflowData": {workflow}, "run": {run}}}"#
            )),
            report
        );
        let api = parse(line);
        match api.retry_of() {
            None => assert_eq!(report, api),
            Some(retried) => assert_eq!(report.with_retry_of(retried.clone()), api),
        }
    }
}

#[test]
fn a_page_loses_only_the_items_that_cannot_be_read() {
    let (good, other) = (line_of("1"), SECRETS.trim());
    let deep = nested(MAX_DEPTH + 1);
    let page =
        format!(r#"{{"data": [{good}, {{"id": "x"}}, {deep}, 7 , {other}], "nextCursor": "abc"}}"#);
    let page = parse_page(&page, &PayloadPolicy::default()).unwrap();
    assert_eq!(page.next_cursor.as_deref(), Some("abc"));
    let indices: Vec<_> = page.items.iter().map(|item| item.index).collect();
    assert_eq!(indices, [0, 1, 2, 3, 4]);
    let results: Vec<_> = page.items.into_iter().map(|item| item.result).collect();
    assert_eq!(results[0], Ok(parse(good)));
    assert_eq!(
        results[1].as_ref().unwrap_err().to_string(),
        "`workflowId` is missing"
    );
    assert!(results[2].is_err() && results[3].is_err());
    assert_eq!(results[4], Ok(parse(other)));

    let policy = PayloadPolicy::default();
    let empty = parse_page(r#"{"data": [], "nextCursor": null}"#, &policy).unwrap();
    assert_eq!((empty.items.len(), empty.next_cursor), (0, None));
    for (json, error) in [
        ("[]", "`page` must be an object"),
        ("{}", "`data` is missing"),
        (r#"{"data": {}}"#, "`data` must be an array"),
        (
            r#"{"data": [{]}"#,
            "not JSON: expected a key in quotation marks at byte 11",
        ),
    ] {
        assert_eq!(parse_page(json, &policy).unwrap_err().to_string(), error);
    }
}

#[test]
fn lines_that_cannot_be_read_are_refused_by_index() {
    let lines = format!("{}\n\n  \nnonsense\n{}\n", line_of("1"), CANCELED.trim());
    let policy = PayloadPolicy::default();
    let items: Vec<_> = parse_many(&lines, &policy).collect();
    let read: Vec<_> = items
        .iter()
        .map(|item| (item.index, item.result.is_ok()))
        .collect();
    assert_eq!(read, [(0, true), (1, false), (2, true)]);
}

#[test]
fn every_real_workflow_is_read_and_can_be_imported() {
    let snapshots: Vec<WorkflowSnapshot> = parse_workflows(WORKFLOWS)
        .map(|item| item.result.unwrap())
        .collect();
    assert_eq!(snapshots.len(), 13);
    for (snapshot, line) in snapshots.iter().zip(WORKFLOWS.lines()) {
        let value: Value = serde_json::from_str(line).unwrap();
        assert_eq!(snapshot.name().unwrap().as_str(), value["name"]);
        assert_eq!(snapshot.external_id().as_str(), value["id"]);
        assert_eq!(snapshot.active(), value["active"] == json!(true));
        let definition = snapshot.definition().unwrap();
        let kept: Value = serde_json::from_str(definition.as_str()).unwrap();
        assert_eq!(
            kept,
            json!({"nodes": value["nodes"], "connections": value["connections"]})
        );
        let id = Uuid::from_u128(1);
        let made = Workflow::import(id.into(), id.into(), snapshot, None, millis(5)).unwrap();
        assert!(!made.workflow.active, "whatever its source says");
        assert_eq!((made.workflow.version, made.version.version), (1, 1));
        assert_eq!(made.workflow.definition_sha256, definition.sha256());
    }
    let page = format!(
        r#"{{"data": [{}], "nextCursor": null}}"#,
        WORKFLOWS.lines().collect::<Vec<_>>().join(",")
    );
    let page = parse_workflow_page(&page).unwrap();
    let again: Vec<_> = page.items.into_iter().map(|i| i.result.unwrap()).collect();
    assert_eq!(again, snapshots);
}

#[test]
fn a_workflow_brings_its_tags_and_nothing_of_it_is_masked() {
    let json = r#"{"id": 12, "name": "A", "tags": [{"id": "1", "name": "b\u00e9"}, "c"],
        "nodes": [{"name": "N", "type": "t.x", "typeVersion": 1, "position": [0, 0],
        "parameters": {"token": "={{ $json.t }}"}}], "connections": {}, "settings": null}"#;
    let snapshot = parse_workflow(json).unwrap();
    assert_eq!(snapshot.external_id().as_str(), "12");
    assert_eq!(snapshot.tags().unwrap().as_slice(), ["bé", "c"]);
    let definition = snapshot.definition().unwrap();
    assert!(
        definition
            .as_str()
            .contains(r#"{"token": "={{ $json.t }}"}"#)
    );
    for (from, to, error) in [
        (r#""id": 12, "#, "", "`id` is missing"),
        (r#""A""#, "null", "name must not be empty"),
        (
            r#""typeVersion": 1, "#,
            "",
            "definition: `nodes[0].typeVersion` is missing",
        ),
        (
            r#", "connections": {}"#,
            "",
            "definition: `connections` is missing",
        ),
        (
            r#""connections": {}"#,
            r#""connections": {"M": {}}"#,
            "definition: `connections.M` names the node `M`, which does not exist",
        ),
        (
            r#""settings": null"#,
            r#""settings": 5"#,
            "settings must be a JSON object, not a number",
        ),
        (r#""c"]"#, r#""\n"]"#, "tag must not be empty"),
    ] {
        let broken = json.replacen(from, to, 1);
        assert_eq!(parse_workflow(&broken).unwrap_err().to_string(), error);
    }
    assert_eq!(
        parse_workflow("null").unwrap_err().to_string(),
        "`workflow` is missing"
    );
}

fn real_line() -> impl Strategy<Value = &'static str> {
    let sources = [EXECUTIONS, WAITING, MODELS, SECRETS];
    let lines: Vec<&str> = sources.iter().flat_map(|source| source.lines()).collect();
    prop::sample::select(lines)
}

proptest! {
    /// Whatever happens to a line on its way, it is read as the JSON it is, or refused.
    #[test]
    fn a_damaged_line_is_read_or_refused(
        line in real_line(),
        at in any::<prop::sample::Index>(),
        taken in 0..40_usize,
        put in "[\\[\\]{},:\" \\\\0-9eE+.tfnu-]{0,3}",
        cut in any::<bool>(),
    ) {
        let at = at.index(line.len());
        let rest = line.get(at + taken..).filter(|_| !cut).unwrap_or("");
        let damaged = format!("{}{put}{rest}", &line[..at]);
        let policy = PayloadPolicy::default();
        let report = parse_line(&damaged, &policy);
        let page = parse_page(&format!(r#"{{"data": [{damaged}]}}"#), &policy);
        if let Ok(report) = report {
            prop_assert!(serde_json::from_str::<&RawValue>(&damaged).is_ok());
            for part in [report.input(), report.output(), report.error()].into_iter().flatten() {
                prop_assert!(serde_json::from_str::<&RawValue>(part.as_str()).is_ok());
            }
            prop_assert_eq!(&page.unwrap().items[0].result, &Ok(report));
        }
        let _ = parse_workflow(&damaged);
    }

    #[test]
    fn any_policy_cuts_the_parts_where_they_stand(
        keys in prop::collection::vec(prop::sample::select(vec![
            "headers", "startTime", "json", "parameters", "messages", "timestamp", "hints", "host",
        ]), 0..4),
        line in real_line(),
    ) {
        let policy = PayloadPolicy {
            redaction: Redaction::of(keys).unwrap(),
            ..PayloadPolicy::default()
        };
        let report = parse_line(line, &policy).unwrap();
        let data = Payload::new(slices(line).data.get(), &policy).unwrap();
        prop_assert_eq!(report.output(), Some(&data));
        prop_assert_eq!(report.output().unwrap().masked(), data.masked());
        for part in [report.input(), report.error()].into_iter().flatten() {
            let again = Payload::new(part.as_str(), &policy).unwrap();
            prop_assert_eq!(part, &again);
            prop_assert_eq!(part.masked(), again.masked());
        }
    }
}

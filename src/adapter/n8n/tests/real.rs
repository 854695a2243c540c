//! Real executions, and made-up ones with what the real ones lack.

use super::*;

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

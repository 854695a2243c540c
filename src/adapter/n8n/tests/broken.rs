//! Executions that lack something, and batches with such among them.

use super::*;

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

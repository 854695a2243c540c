//! Billing against cases that other systems publish: `vectors.json`, and any other file of its
//! schema that `TENANTRY_VECTORS` names.
//!
//! A case goes through the public functions of the domain. An unknown kind, and a field of
//! `inputs`, `expected` or `recommended` that nothing has read, fail the run; `recommended` wins
//! over both. All failures are told together.

mod invoice;
mod period;
mod price;
mod reader;
mod usage;

use std::io::Write;

use serde_json::Value;

use self::reader::{Case, Outcome};

/// Runs a case of a kind; `None` for a kind that is not known.
fn run(kind: &str, case: &Case<'_>) -> Option<Outcome> {
    price::run(kind, case)
        .or_else(|| period::run(kind, case))
        .or_else(|| invoice::run(kind, case))
        .or_else(|| usage::run(kind, case))
}

/// The number of cases of a file, and what failed.
fn check(text: &str) -> (usize, Vec<String>) {
    let file: Value = serde_json::from_str(text).expect("a file of vectors is JSON");
    assert_eq!(file["schema_version"], 1, "another schema of vectors");
    let cases = file["cases"].as_array().expect("a list of cases");
    let failed = cases.iter().filter_map(|value| {
        let id = value["id"].as_str().unwrap_or("a case without id");
        let kind = value["kind"].as_str().unwrap_or("none");
        let case = Case::new(value);
        let outcome = match run(kind, &case) {
            Some(outcome) => outcome.and_then(|()| case.all_read()),
            None => Err(format!("the kind `{kind}` is not known")),
        };
        outcome.err().map(|why| format!("{id}: {why}"))
    });
    (cases.len(), failed.collect())
}

#[test]
fn published_cases_agree() {
    let mut texts = vec![include_str!("vectors.json").to_owned()];
    if let Ok(path) = std::env::var("TENANTRY_VECTORS") {
        texts.push(std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}")));
    }
    let (mut cases, mut failed) = (0, Vec::new());
    for text in texts {
        let (count, why) = check(&text);
        cases += count;
        failed.extend(why);
    }
    // Written past the harness, which keeps back what a test that passes prints.
    let mut told = failed.join("\n");
    if !told.is_empty() {
        told.push('\n');
    }
    let passed = cases - failed.len();
    told.push_str(&format!("vectors: {cases} cases, {passed} passed\n"));
    std::io::stdout().write_all(told.as_bytes()).unwrap();
    assert!(
        failed.is_empty(),
        "{} of {cases} cases failed",
        failed.len()
    );
}

/// What one case of `price.per_unit` with these parts says.
fn say(kind: &str, inputs: &str, expected: &str, recommended: &str) -> Vec<String> {
    let text = format!(
        r#"{{"schema_version": 1, "cases": [{{"id": "it", "kind": "{kind}",
            "inputs": {inputs}, "expected": {expected} {recommended}}}]}}"#
    );
    check(&text).1
}

#[test]
fn the_runner_notices_what_is_wrong() {
    const INPUTS: &str = r#"{"currency": "EUR", "unit": "0.001", "quantity": "100"}"#;
    let right = r#"{"amount": "0.1"}"#;
    assert!(say("price.per_unit", INPUTS, right, "").is_empty());
    for (kind, expected, recommended, why) in [
        (
            "price.magic",
            right,
            "",
            "it: the kind `price.magic` is not known",
        ),
        (
            "price.per_unit",
            r#"{"amount": "0.2"}"#,
            "",
            "it: expected.amount is 0.2 and was computed as 0.1",
        ),
        (
            "price.per_unit",
            r#"{"amount": "0.1", "tax": "1"}"#,
            "",
            "it: never read: expected.tax",
        ),
        (
            "price.per_unit",
            r#"{}"#,
            "",
            "it: expected.amount is missing",
        ),
        (
            "price.per_unit",
            right,
            r#", "recommended": {"amount": "0.2"}"#,
            "it: recommended.amount is 0.2 and was computed as 0.1",
        ),
        (
            "price.per_unit",
            right,
            r#", "recommended": {"colour": "0.2"}"#,
            "it: never read: recommended.colour",
        ),
    ] {
        assert_eq!(say(kind, INPUTS, expected, recommended), [why]);
    }
    let more = r#"{"currency": "EUR", "unit": "0.001", "quantity": "100", "days": 3}"#;
    assert_eq!(
        say("price.per_unit", more, right, ""),
        ["it: never read: inputs.days"]
    );
}

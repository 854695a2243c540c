//! What the adapter's tests share: the fixtures, and how to read them.

mod broken;
mod real;
mod workflows;

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

const EXECUTIONS: &str = include_str!("../../../../tests/fixtures/n8n/executions.ndjson");
const CANCELED: &str = include_str!("../../../../tests/fixtures/n8n/canceled.ndjson");
const WAITING: &str = include_str!("../../../../tests/fixtures/n8n/waiting_then_finished.ndjson");
const WORKFLOWS: &str = include_str!("../../../../tests/fixtures/n8n/workflows.ndjson");
const MODELS: &str = include_str!("../../../../tests/fixtures/n8n/language_models.ndjson");
const SECRETS: &str = include_str!("../../../../tests/fixtures/n8n/secrets.ndjson");

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

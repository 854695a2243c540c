//! Executions: of the public API, and as a hook sees them.

use std::borrow::Cow;
use std::ops::Range;

use chrono::{DateTime, Utc};

use super::run_data::RunData;
use super::value::{Cursor, id, ignore, is_object, missing, null, text, time, type_error};
use super::workflow::WorkflowData;
use super::{Item, N8nError, Page};
use crate::domain::execution::{ExecutionMode, ExecutionReport, ExecutionStatus};
use crate::domain::payload::scan::{Kind, Scanner};
use crate::domain::payload::{Payload, PayloadPolicy, redact};
use crate::domain::text::ExternalId;

/// Parses one execution: an object of the public API, or the arguments of a
/// `workflow.postExecute` hook, either as the array `[run, workflowData, executionId]` or as an
/// object with these three names.
///
/// # Errors
/// When it cannot be read, with the field that is at fault.
pub fn parse_line(json: &str, policy: &PayloadPolicy) -> Result<ExecutionReport, N8nError> {
    let mut cursor = Scanner::new(json);
    let report = Fields::read(&mut cursor, json, policy)?;
    cursor.end()?;
    Ok(report)
}

/// Parses executions that stand one a line. Blank lines are passed over.
pub fn parse_many<'a>(
    lines: &'a str,
    policy: &'a PayloadPolicy,
) -> impl Iterator<Item = Item<ExecutionReport>> + 'a {
    lines
        .lines()
        .filter(|line| !line.trim().is_empty())
        .enumerate()
        .map(move |(index, line)| Item {
            index,
            result: parse_line(line, policy),
        })
}

/// Parses a page of executions: `{"data": […], "nextCursor": …}`.
///
/// # Errors
/// When the page itself is none. What is wrong with one execution is the result of that item.
pub fn parse_page(json: &str, policy: &PayloadPolicy) -> Result<Page<ExecutionReport>, N8nError> {
    page(json, |cursor| Fields::read(cursor, json, policy))
}

/// Parses the arguments that n8n gives to a `workflow.postExecute` hook: `run` and `workflow_data`
/// as JSON, and the id of the execution.
///
/// # Errors
/// When one of them cannot be read, with the field that is at fault.
pub fn parse_hook(
    run: &str,
    workflow_data: &str,
    execution_id: &str,
    policy: &PayloadPolicy,
) -> Result<ExecutionReport, N8nError> {
    let mut fields = Fields {
        id: Some(
            ExternalId::new(execution_id).map_err(|error| N8nError::Text {
                field: "executionId".to_owned(),
                error,
            })?,
        ),
        ..Fields::default()
    };
    let mut cursor = Scanner::new(workflow_data);
    fields.workflow_data(&mut cursor, workflow_data, policy)?;
    cursor.end()?;
    let mut cursor = Scanner::new(run);
    fields.run(&mut cursor, run, policy)?;
    cursor.end()?;
    fields.report()
}

/// Reads a page; `read` reads one item.
pub(super) fn page<'t, 'p, T>(
    json: &'t str,
    mut read: impl FnMut(&mut Cursor<'t, 'p>) -> Result<T, N8nError>,
) -> Result<Page<T>, N8nError> {
    let mut cursor: Cursor<'t, 'p> = Scanner::new(json);
    let (mut items, mut next_cursor) = (None, None);
    is_object(&mut cursor, "page")?;
    cursor.object(|cursor, key| match &*key.name() {
        "data" => {
            let mut found = Vec::new();
            if cursor.kind()? != Kind::Array {
                return Err(type_error("data", "an array"));
            }
            cursor.array(|cursor, index| {
                let result = cursor.attempt(&mut read)?;
                found.push(Item { index, result });
                Ok::<_, N8nError>(())
            })?;
            items = Some(found);
            Ok(())
        }
        "nextCursor" => {
            next_cursor = text(cursor, "nextCursor")?.map(|text| text.into_owned());
            Ok(())
        }
        _ => ignore(cursor),
    })?;
    cursor.end()?;
    Ok(Page {
        items: items.ok_or_else(|| missing("data"))?,
        next_cursor,
    })
}

/// What was found of an execution.
#[derive(Debug, Default)]
struct Fields<'t> {
    id: Option<ExternalId>,
    workflow: Option<ExternalId>,
    status: Option<Cow<'t, str>>,
    mode: Option<ExecutionMode>,
    created_at: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
    stopped_at: Option<DateTime<Utc>>,
    wait_till: Option<DateTime<Utc>>,
    retry_of: Option<ExternalId>,
    retry_success: Option<ExternalId>,
    data: Option<Data<'t>>,
    workflow_data: Option<WorkflowData<'t>>,
}

/// The run data and the payloads cut from it.
#[derive(Debug)]
struct Data<'t> {
    found: RunData<'t>,
    output: Payload,
    input: Option<Payload>,
    error: Option<Payload>,
}

impl<'t> Fields<'t> {
    fn read<'p>(
        cursor: &mut Cursor<'t, 'p>,
        json: &'t str,
        policy: &'p PayloadPolicy,
    ) -> Result<ExecutionReport, N8nError> {
        let mut fields = Self::default();
        match cursor.kind()? {
            Kind::Array => cursor.array(|cursor, index| match index {
                0 => fields.run(cursor, json, policy),
                1 => fields.workflow_data(cursor, json, policy),
                2 => {
                    fields.id = id(cursor, "executionId")?;
                    Ok(())
                }
                _ => ignore(cursor),
            })?,
            Kind::Object => cursor.object(|cursor, key| match &*key.name() {
                "run" => fields.run(cursor, json, policy),
                "executionId" => {
                    fields.id = id(cursor, "executionId")?;
                    Ok(())
                }
                name => fields.field(cursor, name, json, policy),
            })?,
            _ => return Err(type_error("execution", "an object")),
        }
        fields.report()
    }

    /// Reads n8n's `IRun`: what a hook is given first.
    fn run<'p>(
        &mut self,
        cursor: &mut Cursor<'t, 'p>,
        json: &'t str,
        policy: &'p PayloadPolicy,
    ) -> Result<(), N8nError> {
        is_object(cursor, "run")?;
        cursor.object(|cursor, key| self.field(cursor, &key.name(), json, policy))
    }

    fn field<'p>(
        &mut self,
        cursor: &mut Cursor<'t, 'p>,
        name: &str,
        json: &'t str,
        policy: &'p PayloadPolicy,
    ) -> Result<(), N8nError> {
        match name {
            "id" => self.id = id(cursor, "id")?,
            "workflowId" => self.workflow = id(cursor, "workflowId")?,
            "status" => self.status = text(cursor, "status")?,
            "mode" => self.mode = text(cursor, "mode")?.map(|mode| (&*mode).into()),
            "createdAt" => self.created_at = time(cursor, "createdAt")?,
            "startedAt" => self.started_at = time(cursor, "startedAt")?,
            "stoppedAt" => self.stopped_at = time(cursor, "stoppedAt")?,
            "waitTill" => self.wait_till = time(cursor, "waitTill")?,
            "retryOf" => self.retry_of = id(cursor, "retryOf")?,
            "retrySuccessId" => self.retry_success = id(cursor, "retrySuccessId")?,
            "data" => self.data = Data::read(cursor, json, policy)?,
            "workflowData" => self.workflow_data(cursor, json, policy)?,
            _ => ignore(cursor)?,
        }
        Ok(())
    }

    fn workflow_data<'p>(
        &mut self,
        cursor: &mut Cursor<'t, 'p>,
        json: &'t str,
        policy: &'p PayloadPolicy,
    ) -> Result<(), N8nError> {
        self.workflow_data = WorkflowData::read(cursor, json, Some(&policy.redaction))?;
        Ok(())
    }

    fn report(self) -> Result<ExecutionReport, N8nError> {
        let id = self.id.ok_or_else(|| missing("id"))?;
        let workflow = self
            .workflow
            .or_else(|| self.workflow_data.as_ref()?.id.clone())
            .ok_or_else(|| missing("workflowId"))?;
        let status = self.status.ok_or_else(|| missing("status"))?;
        let mode = self.mode.ok_or_else(|| missing("mode"))?;
        // An execution that waits in the queue, or was canceled there, has not started.
        let started_at = self
            .started_at
            .or(self.created_at)
            .or(self.stopped_at)
            .ok_or_else(|| missing("startedAt"))?;
        let known: Option<ExecutionStatus> = status.parse().ok();
        let mut report = ExecutionReport::new(
            id,
            workflow.clone(),
            known.unwrap_or(ExecutionStatus::Unknown),
            mode,
            started_at,
        );
        if known.is_none() {
            report = report.with_status_text(&status);
        }
        if let Some(instant) = self.stopped_at {
            report = report.with_stopped_at(instant);
        }
        if let Some(instant) = self.wait_till {
            report = report.with_wait_till(instant);
        }
        if let Some(other) = self.retry_of {
            report = report.with_retry_of(other);
        }
        if let Some(other) = self.retry_success {
            report = report.with_retry_success(other);
        }
        if let Some(data) = self.data {
            let models = self
                .workflow_data
                .as_ref()
                .map(|data| &*data.language_models);
            report = data.add_to(report, models.unwrap_or_default());
        }
        if let Some(data) = self.workflow_data {
            report = report.with_snapshot(data.snapshot(workflow));
        }
        Ok(report)
    }
}

impl<'t> Data<'t> {
    /// Reads `data`, or null.
    fn read<'p>(
        cursor: &mut Cursor<'t, 'p>,
        json: &'t str,
        policy: &'p PayloadPolicy,
    ) -> Result<Option<Self>, N8nError> {
        if null(cursor)? {
            return Ok(None);
        }
        let start = cursor.start();
        let found = cursor
            .apart(Some(&policy.redaction), RunData::read)
            .map_err(|error| error.within("data"))?;
        let source = start..cursor.at();
        policy
            .check_size(source.len())
            .map_err(|error| N8nError::from(error).within("data"))?;
        let masks = cursor.masks();
        let output = redact(json, source.clone(), masks);
        let part = |place: &Option<Range<usize>>| {
            let place = place.clone()?;
            Some(output.part(&source, masks, place))
        };
        Ok(Some(Self {
            input: part(&found.input),
            error: part(&found.error),
            found,
            output,
        }))
    }

    fn add_to(self, mut report: ExecutionReport, models: &[Cow<'_, str>]) -> ExecutionReport {
        let otherwise = report.stopped_at().unwrap_or(report.started_at());
        let errors = self.found.errors(otherwise);
        let calls = self.found.runs_of(models);
        if let Some(input) = self.input {
            report = report.with_input(input);
        }
        if let Some(error) = self.error {
            report = report.with_error(error);
        }
        if !errors.is_empty() {
            report = report.with_errors(errors);
        }
        report.with_output(self.output).with_ai_calls(calls)
    }
}

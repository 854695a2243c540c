//! What a source says of one execution at one moment.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{ErrorEntry, ExecutionMode, ExecutionStatus, Label};
use crate::domain::ids::{ReservationId, UserId};
use crate::domain::payload::Payload;
use crate::domain::text::ExternalId;
use crate::domain::time::micros;
use crate::domain::workflow::WorkflowSnapshot;

/// One report of one execution: an immutable value, cheap to clone.
///
/// The n8n adapter makes them from what n8n sends; a host with another engine makes them by hand:
///
/// ```
/// use chrono::DateTime;
/// use tenantry::domain::execution::{ExecutionMode, ExecutionReport, ExecutionStatus};
/// use tenantry::domain::payload::{Payload, PayloadPolicy};
/// use tenantry::domain::text::ExternalId;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let output = Payload::new(r#"{"rows": 3}"#, &PayloadPolicy::default())?;
/// let report = ExecutionReport::new(
///     ExternalId::new("run-17")?,
///     ExternalId::new("nightly-import")?,
///     ExecutionStatus::Success,
///     ExecutionMode::Trigger,
///     DateTime::parse_from_rfc3339("2026-11-23T04:00:00Z")?.to_utc(),
/// )
/// .with_stopped_at(DateTime::parse_from_rfc3339("2026-11-23T04:00:02.5Z")?.to_utc())
/// .with_output(output);
/// assert_eq!(report.storage_bytes(), 11);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutionReport {
    external_id: ExternalId,
    workflow: ExternalId,
    status: ExecutionStatus,
    status_text: Option<Label>,
    mode: ExecutionMode,
    started_at: DateTime<Utc>,
    stopped_at: Option<DateTime<Utc>>,
    wait_till: Option<DateTime<Utc>>,
    retry_of: Option<ExternalId>,
    retry_success: Option<ExternalId>,
    triggered_by: Option<UserId>,
    input: Option<Payload>,
    output: Option<Payload>,
    error: Option<Payload>,
    errors: Arc<[ErrorEntry]>,
    ai_calls: u32,
    snapshot: Option<Arc<WorkflowSnapshot>>,
    reservations: Vec<ReservationId>,
}

impl ExecutionReport {
    /// A report with what every report has. `external_id` and `workflow` are the source's own ids,
    /// unique within that source.
    #[must_use]
    pub fn new(
        external_id: ExternalId,
        workflow: ExternalId,
        status: ExecutionStatus,
        mode: ExecutionMode,
        started_at: DateTime<Utc>,
    ) -> Self {
        Self {
            external_id,
            workflow,
            status,
            status_text: None,
            mode,
            started_at: micros(started_at),
            stopped_at: None,
            wait_till: None,
            retry_of: None,
            retry_success: None,
            triggered_by: None,
            input: None,
            output: None,
            error: None,
            errors: Arc::default(),
            ai_calls: 0,
            snapshot: None,
            reservations: Vec::new(),
        }
    }

    /// The same report with the source's own word for a state that this crate does not know. The
    /// state becomes [`ExecutionStatus::Unknown`].
    #[must_use]
    pub fn with_status_text(mut self, text: &str) -> Self {
        self.status = ExecutionStatus::Unknown;
        self.status_text = Some(Label::of(text));
        self
    }

    /// The same report with the instant at which the work stopped, for good or to wait.
    #[must_use]
    pub fn with_stopped_at(mut self, instant: DateTime<Utc>) -> Self {
        self.stopped_at = Some(micros(instant));
        self
    }

    /// The same report with the instant at which a waiting execution resumes.
    #[must_use]
    pub fn with_wait_till(mut self, instant: DateTime<Utc>) -> Self {
        self.wait_till = Some(micros(instant));
        self
    }

    /// The same report with something that was reserved for the run, besides what it names already.
    /// The report that tells of the end puts the run's usage in its place.
    #[must_use]
    pub fn with_reservation(mut self, reservation: ReservationId) -> Self {
        self.reservations.push(reservation);
        self
    }

    /// The same report with the execution that this one tries again.
    #[must_use]
    pub fn with_retry_of(mut self, external_id: ExternalId) -> Self {
        self.retry_of = Some(external_id);
        self
    }

    /// The same report with the later execution that succeeded where this one failed.
    #[must_use]
    pub fn with_retry_success(mut self, external_id: ExternalId) -> Self {
        self.retry_success = Some(external_id);
        self
    }

    /// The same report with the person who started the execution.
    #[must_use]
    pub fn with_triggered_by(mut self, user: UserId) -> Self {
        self.triggered_by = Some(user);
        self
    }

    /// The same report with what the execution was given.
    #[must_use]
    pub fn with_input(mut self, input: Payload) -> Self {
        self.input = Some(input);
        self
    }

    /// The same report with what the execution produced.
    #[must_use]
    pub fn with_output(mut self, output: Payload) -> Self {
        self.output = Some(output);
        self
    }

    /// The same report with the error that ended the execution, as the source wrote it.
    #[must_use]
    pub fn with_error(mut self, error: Payload) -> Self {
        self.error = Some(error);
        self
    }

    /// The same report with the entries of its error log.
    #[must_use]
    pub fn with_errors(mut self, errors: impl Into<Arc<[ErrorEntry]>>) -> Self {
        self.errors = errors.into();
        self
    }

    /// The same report with the number of calls to language models.
    #[must_use]
    pub fn with_ai_calls(mut self, ai_calls: u32) -> Self {
        self.ai_calls = ai_calls;
        self
    }

    /// The same report with the workflow as it was when it ran, from which a workflow that is not
    /// known can be made.
    #[must_use]
    pub fn with_snapshot(mut self, snapshot: impl Into<Arc<WorkflowSnapshot>>) -> Self {
        self.snapshot = Some(snapshot.into());
        self
    }

    /// The source's id of the execution.
    #[must_use]
    pub fn external_id(&self) -> &ExternalId {
        &self.external_id
    }

    /// The source's id of the workflow.
    #[must_use]
    pub fn workflow(&self) -> &ExternalId {
        &self.workflow
    }

    /// The state.
    #[must_use]
    pub fn status(&self) -> ExecutionStatus {
        self.status
    }

    /// The source's own word for a state that this crate does not know.
    #[must_use]
    pub fn status_text(&self) -> Option<&Label> {
        self.status_text.as_ref()
    }

    /// How it was started.
    #[must_use]
    pub fn mode(&self) -> &ExecutionMode {
        &self.mode
    }

    /// When it was started, or resumed after the last wait.
    #[must_use]
    pub fn started_at(&self) -> DateTime<Utc> {
        self.started_at
    }

    /// When work on it stopped. A waiting execution has it too, and is not finished.
    #[must_use]
    pub fn stopped_at(&self) -> Option<DateTime<Utc>> {
        self.stopped_at
    }

    /// When a waiting execution resumes.
    #[must_use]
    pub fn wait_till(&self) -> Option<DateTime<Utc>> {
        self.wait_till
    }

    /// The execution that this one tries again.
    #[must_use]
    pub fn retry_of(&self) -> Option<&ExternalId> {
        self.retry_of.as_ref()
    }

    /// The later execution that succeeded where this one failed.
    #[must_use]
    pub fn retry_success(&self) -> Option<&ExternalId> {
        self.retry_success.as_ref()
    }

    /// The person who started it.
    #[must_use]
    pub fn triggered_by(&self) -> Option<UserId> {
        self.triggered_by
    }

    /// What it was given.
    #[must_use]
    pub fn input(&self) -> Option<&Payload> {
        self.input.as_ref()
    }

    /// What it produced.
    #[must_use]
    pub fn output(&self) -> Option<&Payload> {
        self.output.as_ref()
    }

    /// The error that ended it, as the source wrote it.
    #[must_use]
    pub fn error(&self) -> Option<&Payload> {
        self.error.as_ref()
    }

    /// The entries of its error log, in the order in which they happened.
    #[must_use]
    pub fn errors(&self) -> &[ErrorEntry] {
        &self.errors
    }

    /// The same entries, to be kept without a copy.
    #[must_use]
    pub fn shared_errors(&self) -> Arc<[ErrorEntry]> {
        Arc::clone(&self.errors)
    }

    /// How many calls to language models it made.
    #[must_use]
    pub fn ai_calls(&self) -> u32 {
        self.ai_calls
    }

    /// What was reserved for the run.
    #[must_use]
    pub fn reservations(&self) -> &[ReservationId] {
        &self.reservations
    }

    /// The workflow as it was when it ran.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Arc<WorkflowSnapshot>> {
        self.snapshot.as_ref()
    }

    /// Whether it brings any payload.
    #[must_use]
    pub fn has_payload(&self) -> bool {
        self.input.is_some() || self.output.is_some() || self.error.is_some()
    }

    /// Whether it brings any payload or an error log.
    #[must_use]
    pub fn has_attachment(&self) -> bool {
        self.has_payload() || !self.errors.is_empty()
    }

    /// The bytes its payloads take when they are kept, after masking.
    #[must_use]
    pub fn storage_bytes(&self) -> usize {
        [&self.input, &self.output, &self.error]
            .into_iter()
            .flatten()
            .map(Payload::bytes)
            .sum()
    }
}

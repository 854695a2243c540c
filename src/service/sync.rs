//! The pipeline: a batch of execution reports becomes executions, payloads, error logs, usage,
//! analytics events and messages, in one unit of work or not at all.
//!
//! Statements per batch, whatever its size: one each for the source, the months that are kept, the
//! workflows, the known executions, the executions, the payloads (one per 32 MB), usage, events and
//! messages; more only where there is something to do: workflows that are new, executions that
//! changed, error logs, contradictions, payloads that came late.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use super::access::authorize;
use super::executions::Executions;
use super::limit_notes::{Followed, new_ones, note, release};
use crate::domain::access::Permission;
use crate::domain::analytics::{AnalyticsEvent, EventData, EventType};
use crate::domain::context::Context;
use crate::domain::execution::{
    Batch, Ended, Execution, ExecutionReport, Late, MeterPolicy, Rejection, SyncOutcome,
    SyncReport, Writes,
};
use crate::domain::ids::{ExecutionId, ReservationId, SourceId, UserId, WorkflowId};
use crate::domain::limits::CountedRows;
use crate::domain::metering::UsageRecord;
use crate::domain::outbox::OutboxMessage;
use crate::domain::text::ExternalId;
use crate::domain::workflow::Workflow;
use crate::error::{Error, Result};
use crate::store::{Attachments, ExecutionUpdate, StoreErrorKind, Tx, on_conflict};

/// What the pipeline does where the host has a choice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncPolicy {
    /// Which executions are billed.
    pub meters: MeterPolicy,
    /// What to do with a report of a workflow that is not known.
    pub unknown_workflow: UnknownWorkflow,
}

/// What to do with a report of a workflow that is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnknownWorkflow {
    /// Create it, not in use, from what the report shows of it.
    #[default]
    Create,
    /// Reject the report.
    Reject,
}

type Workflows<'r> = HashMap<&'r ExternalId, Result<WorkflowId, Rejection>>;

impl Executions {
    /// Takes a batch of reports of one source, all of it in one unit of work.
    ///
    /// Calling it again with the same reports changes nothing and says so. A report that cannot be
    /// taken is rejected with its place and the reason; the others are stored. It never refuses
    /// for a limit, since the runs have happened.
    ///
    /// # Errors
    /// `NotFound` when the source is not registered; `Forbidden`. Nothing is stored then.
    #[cfg_attr(
        feature = "tracing",
        tracing::instrument(skip_all, fields(tenant = %ctx.tenant(), %source, reports = reports.len()))
    )]
    pub async fn sync(
        &self,
        ctx: &Context,
        source: SourceId,
        reports: &[ExecutionReport],
    ) -> Result<SyncReport> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let report = self.sync_in(&mut *unit, source, reports).await?;
            unit.commit().await.map_err(raced)?;
            Ok(report)
        })
        .await
    }

    /// Takes a batch in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Executions::sync`]; `Conflict` when another unit was faster: run the whole unit again.
    pub async fn sync_in(
        &self,
        tx: &mut dyn Tx,
        source: SourceId,
        reports: &[ExecutionReport],
    ) -> Result<SyncReport> {
        authorize(tx, Permission::ExecutionsSync).await?;
        if reports.is_empty() {
            return Ok(SyncReport::default());
        }
        if tx.sources().get(source).await?.is_none() {
            return Err(Error::not_found("source", source));
        }
        let window = tx.window().await?;
        let workflows = self.workflows(tx, source, reports).await?;
        let strangers = strangers(tx, reports).await?;
        let external: BTreeSet<&ExternalId> =
            reports.iter().map(ExecutionReport::external_id).collect();
        let external: Vec<ExternalId> = external.into_iter().cloned().collect();
        let known = tx.executions().lock(source, &external).await?;

        let mut batch = Batch::new(source, known, &self.policy.meters, window, tx.now());
        for report in reports {
            let stranger = report
                .triggered_by()
                .filter(|user| strangers.contains(user));
            match (workflows.get(report.workflow()), stranger) {
                (_, Some(user)) => batch.reject(Rejection::UnknownUser { user }),
                (Some(Ok(workflow)), None) => {
                    batch.observe(report, *workflow, |at| tx.ids().fresh_at(at));
                }
                (Some(Err(reason)), None) => batch.reject(reason.clone()),
                (None, None) => batch.reject(unknown(report)),
            }
        }
        let mut writes = batch.writes();
        keep_bare(tx, &mut writes.late).await?;
        write(tx, reports, writes).await.map_err(raced)
    }

    /// The workflows of the batch, by the source's ids; those that are not known are created if
    /// the policy says so.
    async fn workflows<'r>(
        &self,
        tx: &mut dyn Tx,
        source: SourceId,
        reports: &'r [ExecutionReport],
    ) -> Result<Workflows<'r>> {
        let mut wanted: HashMap<&ExternalId, &ExecutionReport> = HashMap::new();
        for report in reports {
            let shown = wanted.entry(report.workflow()).or_insert(report);
            if shown.snapshot().is_none() {
                *shown = report;
            }
        }
        let external: BTreeSet<ExternalId> = wanted.keys().map(|id| (*id).clone()).collect();
        let external: Vec<ExternalId> = external.into_iter().collect();
        let found = tx.workflows().find_by_external(source, &external).await?;
        let mut ids: HashMap<ExternalId, WorkflowId> = by_external(found).collect();

        let mut workflows = Workflows::new();
        let mut missing = Vec::new();
        for external in &external {
            let Some((external, report)) = wanted.get_key_value(external) else {
                continue;
            };
            if ids.contains_key(*external) {
                continue;
            }
            match (self.policy.unknown_workflow, report.snapshot()) {
                (UnknownWorkflow::Create, Some(snapshot)) => {
                    let id = tx.ids().fresh();
                    match Workflow::import(id, source, snapshot, None, tx.now()) {
                        Ok(new) => missing.push(new),
                        Err(reason) => {
                            let (workflow, reason) = ((*external).clone(), reason.to_string());
                            let rejection = Rejection::Workflow { workflow, reason };
                            workflows.insert(external, Err(rejection));
                        }
                    }
                }
                _ => {
                    workflows.insert(external, Err(unknown(report)));
                }
            }
        }
        if !missing.is_empty() {
            note(tx, CountedRows::Workflows, missing.len() as u64).await?;
            ids.extend(by_external(tx.workflows().ensure_external(&missing).await?));
        }
        for external in wanted.into_keys() {
            if let Some(id) = ids.get(external) {
                workflows.insert(external, Ok(*id));
            }
        }
        Ok(workflows)
    }
}

fn by_external(workflows: Vec<Workflow>) -> impl Iterator<Item = (ExternalId, WorkflowId)> {
    workflows
        .into_iter()
        .filter_map(|workflow| Some((workflow.external_id?, workflow.id)))
}

fn unknown(report: &ExecutionReport) -> Rejection {
    Rejection::UnknownWorkflow {
        workflow: report.workflow().clone(),
    }
}

/// The people who are said to have started something and are not users of the tenant.
async fn strangers(tx: &mut dyn Tx, reports: &[ExecutionReport]) -> Result<BTreeSet<UserId>> {
    let mut named: BTreeSet<UserId> = reports
        .iter()
        .filter_map(ExecutionReport::triggered_by)
        .collect();
    if !named.is_empty() {
        let asked: Vec<UserId> = named.iter().copied().collect();
        for user in tx.users().existing(&asked).await? {
            named.remove(&user);
        }
    }
    Ok(named)
}

/// Everything that the batch refers to was there when it was looked for: if it is gone when the
/// batch is written, somebody has deleted a workflow in between.
fn raced(error: impl Into<Error>) -> Error {
    match error.into() {
        Error::Store(error) => error.as_lost_race(StoreErrorKind::NotFound).into(),
        other => other,
    }
}

/// Leaves of what came late that of executions that have nothing of the kind.
async fn keep_bare(tx: &mut dyn Tx, late: &mut Vec<Late>) -> Result<()> {
    let id = |late: &Late| late.execution.id;
    if late.is_empty() {
        return Ok(());
    }
    let asked: Vec<ExecutionId> = late.iter().map(id).collect();
    let bare: BTreeSet<ExecutionId> = tx.executions().bare(&asked).await?.into_iter().collect();
    late.retain(|late| bare.contains(&id(late)));
    Ok(())
}

async fn write(tx: &mut dyn Tx, reports: &[ExecutionReport], writes: Writes) -> Result<SyncReport> {
    let Writes {
        new,
        changed,
        mut attached,
        late,
        ended,
        contradictions,
        mut outcomes,
    } = writes;
    if !new.is_empty() {
        tx.executions().insert(&new).await?;
    }
    if !changed.is_empty() {
        let updates: Vec<ExecutionUpdate> = changed
            .into_iter()
            .map(|(read, execution)| ExecutionUpdate { read, execution })
            .collect();
        tx.executions().update(&updates).await?;
    }
    for late in &late {
        let execution = late.execution.id;
        attached.push((execution, false, late.place));
        if let Some(outcome) = outcomes.get_mut(late.place) {
            let completed = false;
            *outcome = SyncOutcome::Stored {
                execution,
                completed,
            };
        }
    }
    let attachments: Vec<Attachments> = attached
        .into_iter()
        .filter_map(|(execution, replace, place)| {
            let report = reports.get(place)?;
            let (payloads, errors) = (report.payloads(), report.shared_errors());
            Some(Attachments {
                execution,
                replace,
                payloads,
                errors,
            })
        })
        .filter(|attached| attached.replace || attached.brings())
        .collect();
    if !attachments.is_empty() {
        tx.executions().attach(&attachments).await?;
    }
    if !contradictions.is_empty() {
        let (places, told): (Vec<_>, Vec<_>) = contradictions.into_iter().unzip();
        let new = tx.executions().contradict(&told).await?;
        for (place, new) in places.into_iter().zip(new) {
            if let Some(SyncOutcome::Contradicted { recorded, .. }) = outcomes.get_mut(place) {
                *recorded = new;
            }
        }
    }
    let usage = usage(&ended, &late, tx.now());
    let followed = Followed::open(tx, usage.iter()).await?;
    let mut recorded = Vec::new();
    if !usage.is_empty() {
        recorded = tx.usage().record(&usage).await?;
    }
    if !ended.is_empty() {
        announce(tx, &ended).await?;
    }
    // What was reserved for a run gives way to what the run used. Counters come last: whoever
    // needs them next waits until this unit ends.
    let reserved: Vec<ReservationId> = ended
        .iter()
        .filter_map(|ended| reports.get(ended.place))
        .flat_map(|report| report.reservations().iter().copied())
        .collect();
    if !reserved.is_empty() {
        release(tx, &reserved).await?;
    }
    if let Some(followed) = followed {
        followed.moved(tx, new_ones(&usage, &recorded)).await?;
    }
    Ok(SyncReport::new(outcomes))
}

/// What the meters read of executions that ended, and of what came late.
fn usage(ended: &[Ended], late: &[Late], now: DateTime<Utc>) -> Vec<UsageRecord> {
    let of_ended = ended
        .iter()
        .map(|ended| (&ended.execution, &ended.completed.usage));
    let of_late = late.iter().map(|late| (&late.execution, &late.usage));
    of_ended
        .chain(of_late)
        .flat_map(|(execution, readings)| {
            let record = move |reading| UsageRecord::of_execution(execution, reading, now);
            readings.iter().map(record)
        })
        .collect()
}

/// What is told of an execution's end: one event, one message.
async fn announce(tx: &mut dyn Tx, ended: &[Ended]) -> Result<()> {
    let at = |execution: &Execution| execution.finished_at.unwrap_or(execution.started_at);
    let (mut events, mut messages) = (Vec::new(), Vec::new());
    for Ended { execution, .. } in ended {
        let data = EventData::trusted(execution.event_text());
        let event = AnalyticsEvent::derived(
            execution.id.as_uuid().as_bytes(),
            EventType::WORKFLOW_EXECUTION,
            at(execution),
            data,
        );
        events.push(match execution.triggered_by {
            Some(user) => event.by(user),
            None => event,
        });
        messages.push(OutboxMessage::execution_complete(execution));
    }
    tx.events().append(&events).await?;
    tx.outbox().enqueue(&messages).await?;
    Ok(())
}

//! The state machine: from reports, in whatever order they come, to one row.
//!
//! Reports arrive twice, late and in the wrong order. The rules below make the row a function of
//! the *set* of reports, not of their order:
//!
//! - An end (success, error, canceled, crashed) beats every other state, and is never overwritten.
//! - Between states that are not ends the later start wins, since n8n moves `startedAt` forward
//!   when an execution resumes; at equal starts the further state (unknown, new, running, waiting).
//! - Two reports of the same end at the same instant are the same end. The earlier start is kept:
//!   n8n's hook and n8n's database disagree by some milliseconds on when a run started, and agree
//!   on when it stopped.
//! - Two different ends, in state or in instant, contradict each other. The one that was seen first
//!   stays, the other is recorded. Only here does the order of arrival count.
//! - Payloads and an error log that come with a second report of the end are kept if the first one
//!   brought none: a list of runs shows less than one of them asked for by its id.
//! - Links between runs and the person who started one are kept once they are known; n8n writes
//!   `retrySuccessId` into a failed run long after its end.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{ExecutionMode, ExecutionReport, ExecutionStatus, Label, MeterPolicy, MeterReading};
use crate::domain::ids::{ExecutionId, SourceId, UserId, WorkflowId};
use crate::domain::text::ExternalId;
use crate::domain::time::micros;

/// One run of a workflow, as it is known now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// Its id.
    pub id: ExecutionId,
    /// Where it ran.
    pub source: SourceId,
    /// The source's id of it, unique within the source.
    pub external_id: ExternalId,
    /// The workflow that ran.
    pub workflow: WorkflowId,
    /// The person who started it, if one did and it is known.
    pub triggered_by: Option<UserId>,
    /// How it was started.
    pub mode: ExecutionMode,
    /// Its state.
    pub status: ExecutionStatus,
    /// The source's own word for a state that this crate does not know.
    pub status_text: Option<Label>,
    /// When it was started, or resumed after its last wait.
    pub started_at: DateTime<Utc>,
    /// When it resumes. Only while it waits.
    pub wait_till: Option<DateTime<Utc>>,
    /// When it ended. Only once it has; the start, if the source does not tell the end.
    pub finished_at: Option<DateTime<Utc>>,
    /// From the start to the end in whole milliseconds, never negative: zero when the source's
    /// clock went backwards. Of an execution that waited, the stretch after the last wait. Only
    /// once it has ended.
    pub duration_ms: Option<i64>,
    /// The execution that this one tries again.
    pub retry_of: Option<ExternalId>,
    /// The later execution that succeeded where this one failed.
    pub retry_success: Option<ExternalId>,
    /// When it was first heard of.
    pub created_at: DateTime<Utc>,
    /// When this row last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts the changes of this row, from 1.
    pub revision: i64,
}

/// What a report does to an execution.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Observation {
    /// Nothing: it says what is known, or less.
    Known,
    /// It says more than was known.
    Advanced(Box<Advance>),
    /// It tells another end than the one that is known. The execution stays as it is.
    Contradiction(Box<Contradiction>),
}

/// An execution after a report that says more than was known.
#[derive(Debug, Clone, PartialEq)]
pub struct Advance {
    /// The execution as it is now.
    pub execution: Execution,
    /// Whether the report's payloads and error log replace those kept. Not when it only adds a
    /// link, or an earlier start of the same end.
    pub moved: bool,
    /// What follows from reaching the end. Exactly one report of an execution has it.
    pub completed: Option<Completed>,
}

/// What follows when an execution reaches its end: usage, one analytics event, one message.
#[derive(Debug, Clone, PartialEq)]
pub struct Completed {
    /// Whether the policy bills the run.
    pub billable: bool,
    /// What to add to the meters.
    pub usage: Vec<MeterReading>,
}

/// How an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct End {
    /// The state it ended in.
    pub status: ExecutionStatus,
    /// When.
    pub at: DateTime<Utc>,
}

/// Two different ends of one execution. Equal reports give equal contradictions, but for
/// `observed_at`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contradiction {
    /// The execution.
    pub execution: ExecutionId,
    /// The end that stays.
    pub kept: End,
    /// The end that was reported after it.
    pub reported: End,
    /// When that was.
    pub observed_at: DateTime<Utc>,
}

/// The part of an execution that a report decides as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    status: ExecutionStatus,
    status_text: Option<Label>,
    mode: ExecutionMode,
    started_at: DateTime<Utc>,
    wait_till: Option<DateTime<Utc>>,
    end: Option<End>,
}

impl State {
    fn of(report: &ExecutionReport) -> Self {
        let status = report.status();
        let waits = status == ExecutionStatus::Waiting;
        Self {
            status,
            status_text: report.status_text().cloned(),
            mode: report.mode().clone(),
            started_at: report.started_at(),
            wait_till: report.wait_till().filter(|_| waits),
            end: status.is_terminal().then(|| End {
                status,
                at: report.stopped_at().unwrap_or(report.started_at()),
            }),
        }
    }

    /// A total order of the states that are not ends: every field takes part.
    fn progress(&self) -> impl Ord {
        (
            self.started_at,
            self.status,
            self.wait_till,
            self.mode.clone(),
            self.status_text.clone(),
        )
    }

    fn duration_ms(&self) -> Option<i64> {
        let end = self.end?;
        Some((end.at - self.started_at).num_milliseconds().max(0))
    }
}

impl Execution {
    /// The type of the analytics event that [`Completed`] stands for.
    pub const EVENT_TYPE: &'static str = "workflow_execution";
    /// The type of the real-time message that [`Completed`] stands for.
    pub const MESSAGE_TYPE: &'static str = "execution_complete";

    /// An execution that was not known, from the first report of it.
    #[must_use]
    pub fn first(
        id: ExecutionId,
        source: SourceId,
        workflow: WorkflowId,
        report: &ExecutionReport,
        policy: &MeterPolicy,
        now: DateTime<Utc>,
    ) -> Advance {
        let state = State::of(report);
        let execution = Self {
            id,
            source,
            external_id: report.external_id().clone(),
            workflow,
            triggered_by: report.triggered_by(),
            duration_ms: state.duration_ms(),
            mode: state.mode,
            status: state.status,
            status_text: state.status_text,
            started_at: state.started_at,
            wait_till: state.wait_till,
            finished_at: state.end.map(|end| end.at),
            retry_of: report.retry_of().cloned(),
            retry_success: report.retry_success().cloned(),
            created_at: micros(now),
            updated_at: micros(now),
            revision: 1,
        };
        Advance {
            completed: execution.completed(report, policy),
            execution,
            moved: true,
        }
    }

    /// What a further report of this execution does to it. See the module for the rules.
    #[must_use]
    pub fn observe(
        &self,
        report: &ExecutionReport,
        policy: &MeterPolicy,
        now: DateTime<Utc>,
    ) -> Observation {
        let (known, told) = (self.state(), State::of(report));
        let mut next = self.clone();
        let mut moved = false;
        match (known.end, told.end) {
            (Some(kept), Some(reported)) if kept != reported => {
                return Observation::Contradiction(Box::new(Contradiction {
                    execution: self.id,
                    kept,
                    reported,
                    observed_at: micros(now),
                }));
            }
            (Some(_), Some(_)) => {
                if (told.started_at, &told.mode) < (known.started_at, &known.mode) {
                    next.take(told);
                }
            }
            (Some(_), None) => {}
            (None, Some(_)) => {
                next.take(told);
                moved = true;
            }
            (None, None) => {
                if told.progress() > known.progress() {
                    next.take(told);
                    moved = true;
                }
            }
        }
        next.triggered_by = self.triggered_by.max(report.triggered_by());
        next.retry_of = later(self.retry_of.as_ref(), report.retry_of());
        next.retry_success = later(self.retry_success.as_ref(), report.retry_success());
        if next == *self {
            return Observation::Known;
        }
        next.updated_at = micros(now);
        next.revision += 1;
        Observation::Advanced(Box::new(Advance {
            completed: next.completed(report, policy).filter(|_| moved),
            execution: next,
            moved,
        }))
    }

    /// Whether the report tells the end that is known.
    #[must_use]
    pub fn ends_as(&self, report: &ExecutionReport) -> bool {
        self.finished_at.is_some() && self.end() == State::of(report).end
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.finished_at.map(|at| End {
            status: self.status,
            at,
        })
    }

    /// The key of the real-time message: the messages of one workflow are delivered in order.
    #[must_use]
    pub fn message_key(&self) -> String {
        format!("workflow:{}", self.workflow)
    }

    fn state(&self) -> State {
        State {
            status: self.status,
            status_text: self.status_text.clone(),
            mode: self.mode.clone(),
            started_at: self.started_at,
            wait_till: self.wait_till,
            end: self.end(),
        }
    }

    fn take(&mut self, state: State) {
        self.duration_ms = state.duration_ms();
        self.status = state.status;
        self.status_text = state.status_text;
        self.mode = state.mode;
        self.started_at = state.started_at;
        self.wait_till = state.wait_till;
        self.finished_at = state.end.map(|end| end.at);
    }

    fn completed(&self, report: &ExecutionReport, policy: &MeterPolicy) -> Option<Completed> {
        let duration_ms = self.duration_ms?;
        Some(Completed {
            billable: policy.bills(&self.mode, self.status),
            usage: policy.readings(report, duration_ms),
        })
    }
}

/// Of two ids that a source counts upwards, the later; any rather than none.
fn later(a: Option<&ExternalId>, b: Option<&ExternalId>) -> Option<ExternalId> {
    let rank = |id: &&ExternalId| (id.as_str().len(), id.as_str().to_owned());
    a.into_iter().chain(b).max_by_key(rank).cloned()
}

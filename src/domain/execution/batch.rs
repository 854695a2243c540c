//! A batch of reports: decided as a whole, so that a store can write it in a few statements.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    Completed, Contradiction, Execution, ExecutionReport, MeterPolicy, MeterReading, Observation,
};
use crate::domain::ids::{ExecutionId, SourceId, UserId, WorkflowId, instant_of};
use crate::domain::text::ExternalId;
use crate::domain::time::Window;

/// Why a report of a batch was not taken. The others were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The workflow is not known, and the report does not show it or the policy creates none.
    #[error("workflow {workflow} is not known")]
    UnknownWorkflow {
        /// The source's id of it.
        workflow: ExternalId,
    },
    /// The workflow is not known, and what the report shows of it is refused.
    #[error("workflow {workflow} cannot be created: {reason}")]
    Workflow {
        /// The source's id of it.
        workflow: ExternalId,
        /// What was wrong with it.
        reason: String,
    },
    /// The person who started it is not a user of the tenant.
    #[error("user {user} is not known")]
    UnknownUser {
        /// The id that was given.
        user: UserId,
    },
    /// It is about an instant outside the months that are kept, or too far ahead.
    #[error("{instant} is outside the months that are kept, {window}")]
    OutsideWindow {
        /// The instant: a start or an end.
        instant: DateTime<Utc>,
        /// The window in words.
        window: String,
    },
}

/// What became of one report of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncOutcome {
    /// It said more than was known, and that was stored.
    Stored {
        /// The execution.
        execution: ExecutionId,
        /// Whether it brought the execution to its end: metered, announced, once.
        completed: bool,
    },
    /// It said what was known, or less: nothing was changed.
    Known {
        /// The execution.
        execution: ExecutionId,
    },
    /// It told another end than the one that is known.
    Contradicted {
        /// The execution, which stays as it is.
        execution: ExecutionId,
        /// Whether the contradiction itself was recorded now, or was known.
        recorded: bool,
    },
    /// It was not taken.
    Rejected(Rejection),
}

/// An execution that the batch brought to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// The execution as it is at the end of the batch.
    pub execution: Execution,
    /// What follows.
    pub completed: Completed,
    /// The place in the batch of the report that told of the end.
    pub place: usize,
}

/// What a further report of an end brings, to be kept if the execution has nothing of the kind yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Late {
    /// The execution.
    pub execution: Execution,
    /// The place of the report in the batch.
    pub place: usize,
    /// What is metered of it then.
    pub usage: Vec<MeterReading>,
}

/// One execution that the batch is about.
#[derive(Debug)]
struct Row {
    /// The stored revision; `None` for an execution that is new.
    read: Option<i64>,
    execution: Execution,
    /// The report whose payloads and error log are to be kept.
    attach: Option<usize>,
    /// Whether that report has any.
    attached: bool,
    /// A report of the known end that has some.
    late: Option<(usize, Vec<MeterReading>)>,
    /// The place of the report that brought it to its end, and what follows.
    completed: Option<(usize, Completed)>,
    changed: bool,
}

impl Row {
    /// Takes what a further report of the end brings, where nothing is kept yet: at once if the
    /// batch itself told of the end, otherwise if the store finds nothing. Answers whether at once.
    fn takes(&mut self, report: &ExecutionReport, place: usize, policy: &MeterPolicy) -> bool {
        if self.attached || !report.has_attachment() || !self.execution.ends_as(report) {
            return false;
        }
        if self.attach.is_none() {
            let usage = MeterPolicy::readings_of_attachment(report);
            self.late.get_or_insert((place, usage));
            return false;
        }
        self.attach = Some(place);
        self.attached = true;
        if let (Some((_, completed)), Some(duration)) =
            (&mut self.completed, self.execution.duration_ms)
        {
            completed.usage = policy.readings(report, duration);
        }
        true
    }
}

/// Reports of one source, decided one after the other against what is known.
#[derive(Debug)]
pub struct Batch<'r> {
    source: SourceId,
    policy: &'r MeterPolicy,
    window: Window,
    now: DateTime<Utc>,
    rows: Vec<Row>,
    by_external: HashMap<ExternalId, usize>,
    outcomes: Vec<SyncOutcome>,
    contradictions: Vec<(usize, Contradiction)>,
}

/// What a store has to write for a batch.
#[derive(Debug, Default)]
pub struct Writes {
    /// Executions that are new.
    pub new: Vec<Execution>,
    /// Executions that changed, each over the revision that was read.
    pub changed: Vec<(i64, Execution)>,
    /// Whose payloads and error log are kept: the execution, whether an earlier report's are to be
    /// replaced, and the place of the report in the batch.
    pub attached: Vec<(ExecutionId, bool, usize)>,
    /// What is to be kept of executions that have neither payloads nor an error log.
    pub late: Vec<Late>,
    /// The executions that reached their end, in the order of the reports that told of it.
    pub ended: Vec<Ended>,
    /// Contradictions, with the place of the report in the batch.
    pub contradictions: Vec<(usize, Contradiction)>,
    /// What became of each report, in the order of the batch.
    pub outcomes: Vec<SyncOutcome>,
}

impl<'r> Batch<'r> {
    /// A batch of reports of one source, with the executions that are known already.
    #[must_use]
    pub fn new(
        source: SourceId,
        known: Vec<Execution>,
        policy: &'r MeterPolicy,
        window: Window,
        now: DateTime<Utc>,
    ) -> Self {
        let rows: Vec<Row> = known
            .into_iter()
            .map(|execution| Row {
                read: Some(execution.revision),
                execution,
                attach: None,
                attached: false,
                late: None,
                completed: None,
                changed: false,
            })
            .collect();
        let by_external = rows
            .iter()
            .enumerate()
            .map(|(place, row)| (row.execution.external_id.clone(), place))
            .collect();
        Self {
            source,
            policy,
            window,
            now,
            rows,
            by_external,
            outcomes: Vec::new(),
            contradictions: Vec::new(),
        }
    }

    /// Leaves the next report out, for this reason.
    pub fn reject(&mut self, reason: Rejection) {
        self.outcomes.push(SyncOutcome::Rejected(reason));
    }

    /// Decides the next report, whose workflow is known. `id` makes the id of a new execution from
    /// its start.
    pub fn observe(
        &mut self,
        report: &ExecutionReport,
        workflow: WorkflowId,
        id: impl FnOnce(DateTime<Utc>) -> ExecutionId,
    ) {
        let outcome = self.decide(report, workflow, id);
        self.outcomes
            .push(outcome.unwrap_or_else(SyncOutcome::Rejected));
    }

    fn decide(
        &mut self,
        report: &ExecutionReport,
        workflow: WorkflowId,
        id: impl FnOnce(DateTime<Utc>) -> ExecutionId,
    ) -> Result<SyncOutcome, Rejection> {
        let place = self.outcomes.len();
        self.within(report.started_at())?;
        if report.status().is_terminal() {
            self.within(report.stopped_at().unwrap_or(report.started_at()))?;
        }
        let row = match self.by_external.entry(report.external_id().clone()) {
            Entry::Occupied(known) => self.rows.get_mut(*known.get()),
            Entry::Vacant(vacant) => {
                let id = id(report.started_at());
                let first =
                    Execution::first(id, self.source, workflow, report, self.policy, self.now);
                let completed = first.completed.is_some();
                vacant.insert(self.rows.len());
                self.rows.push(Row {
                    read: None,
                    execution: first.execution,
                    attach: Some(place),
                    attached: report.has_attachment(),
                    late: None,
                    completed: first.completed.map(|completed| (place, completed)),
                    changed: true,
                });
                return Ok(SyncOutcome::Stored {
                    execution: id,
                    completed,
                });
            }
        };
        let Some(row) = row else {
            return Err(Rejection::UnknownWorkflow {
                workflow: report.workflow().clone(),
            });
        };
        let execution = row.execution.id;
        match row.execution.observe(report, self.policy, self.now) {
            Observation::Known if row.takes(report, place, self.policy) => {
                Ok(SyncOutcome::Stored {
                    execution,
                    completed: false,
                })
            }
            Observation::Known => Ok(SyncOutcome::Known { execution }),
            Observation::Contradiction(told) => {
                self.contradictions.push((place, *told));
                Ok(SyncOutcome::Contradicted {
                    execution,
                    recorded: false,
                })
            }
            Observation::Advanced(advance) => {
                if advance.moved && row.read.is_some() {
                    // Its payloads go to the month of its id, which may no longer be kept.
                    let month = instant_of(execution.as_uuid()).unwrap_or_default();
                    if !self.window.holds(month) {
                        return Err(outside(&self.window, month));
                    }
                }
                let completed = advance.completed.is_some();
                row.execution = advance.execution;
                row.changed = true;
                if advance.moved {
                    row.attach = Some(place);
                    row.attached = report.has_attachment();
                    row.late = None;
                } else {
                    row.takes(report, place, self.policy);
                }
                if let Some(completed) = advance.completed {
                    row.completed = Some((place, completed));
                }
                Ok(SyncOutcome::Stored {
                    execution,
                    completed,
                })
            }
        }
    }

    fn within(&self, instant: DateTime<Utc>) -> Result<(), Rejection> {
        if self.window.holds(instant) {
            Ok(())
        } else {
            Err(outside(&self.window, instant))
        }
    }

    /// What is to be written.
    #[must_use]
    pub fn writes(self) -> Writes {
        let mut writes = Writes {
            outcomes: self.outcomes,
            contradictions: self.contradictions,
            ..Writes::default()
        };
        let mut ended = Vec::new();
        for row in self.rows {
            let month = instant_of(row.execution.id.as_uuid()).unwrap_or_default();
            if let Some((place, usage)) = row.late
                && self.window.holds(month)
            {
                let execution = row.execution.clone();
                writes.late.push(Late {
                    execution,
                    place,
                    usage,
                });
            }
            if !row.changed {
                continue;
            }
            if let Some(place) = row.attach {
                writes
                    .attached
                    .push((row.execution.id, row.read.is_some(), place));
            }
            if let Some((place, completed)) = row.completed {
                let execution = row.execution.clone();
                let end = Ended {
                    execution,
                    completed,
                    place,
                };
                ended.push((place, end));
            }
            match row.read {
                None => writes.new.push(row.execution),
                Some(read) => writes.changed.push((read, row.execution)),
            }
        }
        // What is known comes in no particular order, and messages are published in this one.
        ended.sort_unstable_by_key(|(place, _)| *place);
        writes.ended = ended.into_iter().map(|(_, end)| end).collect();
        writes
    }
}

fn outside(window: &Window, instant: DateTime<Utc>) -> Rejection {
    Rejection::OutsideWindow {
        instant,
        window: window.describe(),
    }
}

/// What became of a batch, report by report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncReport {
    outcomes: Vec<SyncOutcome>,
}

/// How many reports of a batch met which fate; they add up to the batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SyncCounts {
    /// Said more than was known, or contradicted it for the first time.
    pub stored: usize,
    /// Said what was known.
    pub known: usize,
    /// Were not taken.
    pub rejected: usize,
    /// Of the stored ones, those that brought an execution to its end.
    pub completed: usize,
}

impl SyncReport {
    /// The outcomes of a batch, in its order.
    #[must_use]
    pub fn new(outcomes: Vec<SyncOutcome>) -> Self {
        Self { outcomes }
    }

    /// What became of each report, in the order of the batch.
    #[must_use]
    pub fn outcomes(&self) -> &[SyncOutcome] {
        &self.outcomes
    }

    /// The reports that were not taken: their places in the batch, and why.
    pub fn rejected(&self) -> impl Iterator<Item = (usize, &Rejection)> {
        self.outcomes
            .iter()
            .enumerate()
            .filter_map(|(place, outcome)| match outcome {
                SyncOutcome::Rejected(reason) => Some((place, reason)),
                _ => None,
            })
    }

    /// How many met which fate.
    #[must_use]
    pub fn counts(&self) -> SyncCounts {
        let mut counts = SyncCounts::default();
        for outcome in &self.outcomes {
            match outcome {
                SyncOutcome::Stored { completed, .. } => {
                    counts.stored += 1;
                    counts.completed += usize::from(*completed);
                }
                SyncOutcome::Contradicted { recorded: true, .. } => counts.stored += 1,
                SyncOutcome::Known { .. } | SyncOutcome::Contradicted { .. } => counts.known += 1,
                SyncOutcome::Rejected(_) => counts.rejected += 1,
            }
        }
        counts
    }
}

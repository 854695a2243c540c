//! Executions, their payloads, their error logs and their contradictions.

use std::sync::Arc;

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::execution::{
    Contradiction, ErrorEntry, Execution, ExecutionStatus, PayloadKind, WorkflowPerformance,
};
use crate::domain::ids::{ExecutionId, SourceId, WorkflowId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::payload::{Payload, StoredPayload};
use crate::domain::text::ExternalId;
use crate::domain::time::Period;

/// Which executions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutionFilter {
    /// Only those of this workflow.
    pub workflow: Option<WorkflowId>,
    /// Only those in this state.
    pub status: Option<ExecutionStatus>,
    /// Only those that started in this period.
    pub started: Option<Period>,
}

/// An execution as it is to be written, over the revision that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutionUpdate {
    /// The revision that the change was decided on.
    pub read: i64,
    /// The execution as it is to be.
    pub execution: Execution,
}

/// What one report brings along with its execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Attachments {
    /// The execution.
    pub execution: ExecutionId,
    /// Whether there may be some of an earlier report, which these replace.
    pub replace: bool,
    /// Its payloads, at most one of each kind.
    pub payloads: Vec<(PayloadKind, Payload)>,
    /// Its error log, in order.
    pub errors: Arc<[ErrorEntry]>,
}

impl Attachments {
    /// Whether there is anything to keep.
    #[must_use]
    pub fn brings(&self) -> bool {
        !self.payloads.is_empty() || !self.errors.is_empty()
    }
}

/// The unit's own tenant's executions.
#[async_trait]
pub trait ExecutionRepo: Send {
    /// An execution by its id.
    async fn get(&mut self, id: ExecutionId) -> StoreResult<Option<Execution>>;

    /// The execution that a source knows by this id.
    async fn find(
        &mut self,
        source: SourceId,
        external: &ExternalId,
    ) -> StoreResult<Option<Execution>>;

    /// The executions that a source knows by these ids, locked until the unit ends, in no
    /// particular order. Those that are not known are left out.
    ///
    /// A second caller waits or gets `Conflict`, at this call or when it updates.
    async fn lock(
        &mut self,
        source: SourceId,
        external: &[ExternalId],
    ) -> StoreResult<Vec<Execution>>;

    /// Adds executions that were not known.
    ///
    /// # Errors
    /// `Conflict` when another unit was faster to add one of them; `NotFound` when a source, a
    /// workflow or a user does not exist in this tenant.
    async fn insert(&mut self, executions: &[Execution]) -> StoreResult<()>;

    /// Writes executions over the revisions that were read.
    ///
    /// # Errors
    /// `Conflict` unless each stored revision is the one that was read; `NotFound` when a user
    /// does not exist in this tenant.
    async fn update(&mut self, updates: &[ExecutionUpdate]) -> StoreResult<()>;

    /// Keeps payloads and error logs. An attachment that brings neither asks for nothing.
    ///
    /// # Errors
    /// `NotFound` for an execution that does not exist in this tenant; `OutsideWindow` when the
    /// month of its id is not kept; `AlreadyExists` when it has some already and they are not to
    /// be replaced.
    async fn attach(&mut self, attachments: &[Attachments]) -> StoreResult<()>;

    /// Which of these executions have neither a payload nor an error log, in no particular order;
    /// one that does not exist has neither. Nobody else keeps any for them until the unit ends, if
    /// it has locked them.
    async fn bare(&mut self, executions: &[ExecutionId]) -> StoreResult<Vec<ExecutionId>>;

    /// Keeps contradictions and answers for each whether it was new.
    ///
    /// # Errors
    /// `NotFound` for an execution that does not exist in this tenant.
    async fn contradict(&mut self, contradictions: &[Contradiction]) -> StoreResult<Vec<bool>>;

    /// Executions, the latest start first.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    async fn page(
        &mut self,
        filter: &ExecutionFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<Execution>>;

    /// The summary of each workflow that has executions which started in the period and ended, in
    /// the order of the workflows' ids.
    async fn performance(
        &mut self,
        workflow: Option<WorkflowId>,
        started: &Period,
    ) -> StoreResult<Vec<WorkflowPerformance>>;

    /// A payload of an execution, byte for byte as it was kept.
    async fn payload(
        &mut self,
        id: ExecutionId,
        kind: PayloadKind,
    ) -> StoreResult<Option<StoredPayload>>;

    /// The error log of an execution, in order.
    async fn errors(&mut self, id: ExecutionId) -> StoreResult<Vec<ErrorEntry>>;

    /// The contradictions of an execution, in the order of the reported instants and states.
    async fn contradictions(&mut self, id: ExecutionId) -> StoreResult<Vec<Contradiction>>;
}

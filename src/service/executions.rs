//! Executions: what ran, how it ended, what it left behind.

use std::sync::Arc;

use super::access::authorize;
use super::sync::SyncPolicy;
use crate::domain::access::Permission;
use crate::domain::context::Context;
use crate::domain::execution::{
    Contradiction, ErrorEntry, Execution, PayloadKind, WorkflowPerformance,
};
use crate::domain::ids::{ExecutionId, SourceId, WorkflowId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::payload::StoredPayload;
use crate::domain::text::ExternalId;
use crate::domain::time::Period;
use crate::error::{Error, Result};
use crate::store::{ExecutionFilter, Store, Tx};

/// Takes reports of executions and answers questions about them.
#[derive(Debug, Clone)]
pub struct Executions {
    pub(super) store: Arc<dyn Store>,
    pub(super) policy: Arc<SyncPolicy>,
}

impl Executions {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            policy: Arc::default(),
        }
    }

    /// The same with another policy for [`Executions::sync`].
    #[must_use]
    pub fn with_policy(self, policy: SyncPolicy) -> Self {
        Self {
            policy: Arc::new(policy),
            ..self
        }
    }

    /// An execution by its id.
    ///
    /// # Errors
    /// `NotFound` if this tenant has no such execution.
    pub async fn get(&self, ctx: &Context, id: ExecutionId) -> Result<Execution> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::ExecutionsRead).await?;
        existing(&mut *unit, id).await
    }

    /// The execution that a source knows by this id.
    ///
    /// # Errors
    /// `NotFound` if this tenant's source has reported no such execution.
    pub async fn find(
        &self,
        ctx: &Context,
        source: SourceId,
        external: &ExternalId,
    ) -> Result<Execution> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::ExecutionsRead).await?;
        let found = unit.executions().find(source, external).await?;
        found.ok_or_else(|| Error::not_found("execution", external))
    }

    /// Executions by workflow, state and start, the latest start first.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    pub async fn list(
        &self,
        ctx: &Context,
        filter: &ExecutionFilter,
        page: &PageRequest,
    ) -> Result<Page<Execution>> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::ExecutionsRead).await?;
        Ok(unit.executions().page(filter, page).await?)
    }

    /// How well workflows ran, of executions that started in the period and ended: one workflow,
    /// or each that has such executions.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn performance(
        &self,
        ctx: &Context,
        workflow: Option<WorkflowId>,
        started: &Period,
    ) -> Result<Vec<WorkflowPerformance>> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::ExecutionsRead).await?;
        Ok(unit.executions().performance(workflow, started).await?)
    }

    /// A payload, byte for byte as it was kept: what the policy masks is masked, all else is as
    /// the source wrote it. `None` if the execution has none of this kind.
    ///
    /// # Errors
    /// `NotFound` if this tenant has no such execution.
    pub async fn payload(
        &self,
        ctx: &Context,
        id: ExecutionId,
        kind: PayloadKind,
    ) -> Result<Option<StoredPayload>> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::PayloadsRead).await?;
        existing(&mut *unit, id).await?;
        Ok(unit.executions().payload(id, kind).await?)
    }

    /// The error log of an execution, in order.
    ///
    /// # Errors
    /// `NotFound` if this tenant has no such execution.
    pub async fn errors(&self, ctx: &Context, id: ExecutionId) -> Result<Vec<ErrorEntry>> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::ExecutionsRead).await?;
        existing(&mut *unit, id).await?;
        Ok(unit.executions().errors(id).await?)
    }

    /// The other ends that the source has told of an execution.
    ///
    /// # Errors
    /// `NotFound` if this tenant has no such execution.
    pub async fn contradictions(
        &self,
        ctx: &Context,
        id: ExecutionId,
    ) -> Result<Vec<Contradiction>> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::ExecutionsRead).await?;
        existing(&mut *unit, id).await?;
        Ok(unit.executions().contradictions(id).await?)
    }
}

async fn existing(tx: &mut dyn Tx, id: ExecutionId) -> Result<Execution> {
    tx.executions()
        .get(id)
        .await?
        .ok_or_else(|| Error::not_found("execution", id))
}

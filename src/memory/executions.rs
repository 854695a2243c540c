//! Executions in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use imbl::{OrdMap, OrdSet};

use super::state::Shard;
use super::unit::MemoryTx;
use crate::domain::execution::{
    Contradiction, ErrorEntry, Execution, ExecutionStatus, PayloadKind, WorkflowPerformance,
};
use crate::domain::ids::{ExecutionId, SourceId, WorkflowId, instant_of};
use crate::domain::page::{Page, PageRequest};
use crate::domain::payload::{Payload, StoredPayload};
use crate::domain::text::ExternalId;
use crate::domain::time::Period;
use crate::store::{
    Attachments, ExecutionFilter, ExecutionRepo, ExecutionUpdate, StoreError, StoreErrorKind,
    StoreResult, page_key,
};

type ByTime = (DateTime<Utc>, ExecutionId);

/// One tenant's executions, with the orders in which they are listed.
#[derive(Debug, Clone, Default)]
pub(super) struct ExecutionTable {
    rows: OrdMap<ExecutionId, Arc<Execution>>,
    by_external: OrdMap<(SourceId, ExternalId), ExecutionId>,
    by_time: OrdSet<ByTime>,
    by_workflow: OrdMap<WorkflowId, OrdSet<ByTime>>,
    payloads: OrdMap<(ExecutionId, PayloadKind), Payload>,
    errors: OrdMap<ExecutionId, Arc<[ErrorEntry]>>,
    contradictions: OrdMap<(ExecutionId, DateTime<Utc>, ExecutionStatus), Contradiction>,
}

impl ExecutionTable {
    /// How many executions a workflow has.
    pub(super) fn of_workflow(&self, workflow: WorkflowId) -> usize {
        self.by_workflow.get(&workflow).map_or(0, OrdSet::len)
    }

    fn bare(&self, executions: &[ExecutionId]) -> Vec<ExecutionId> {
        let has_any = |id: ExecutionId| {
            let kinds = (id, PayloadKind::Input)..=(id, PayloadKind::Error);
            self.errors.contains_key(&id) || self.payloads.range(kinds).next().is_some()
        };
        let bare = executions.iter().copied().filter(|id| !has_any(*id));
        bare.collect()
    }

    fn put(&mut self, execution: Arc<Execution>) {
        let place = (execution.started_at, execution.id);
        match self
            .rows
            .get(&execution.id)
            .map(|former| (former.started_at, former.id))
        {
            Some(former) if former == place => {}
            former => {
                let of_workflow = self.by_workflow.entry(execution.workflow).or_default();
                if let Some(former) = former {
                    self.by_time.remove(&former);
                    of_workflow.remove(&former);
                }
                self.by_time.insert(place);
                of_workflow.insert(place);
            }
        }
        self.rows.insert(execution.id, execution);
    }

    /// The executions of the filter, the latest start first, from before the key on.
    fn list(
        &self,
        filter: &ExecutionFilter,
        before: Option<ByTime>,
    ) -> impl Iterator<Item = &Arc<Execution>> {
        let order = match filter.workflow {
            Some(workflow) => self.by_workflow.get(&workflow),
            None => Some(&self.by_time),
        };
        let at = |instant| (instant, ExecutionId::from_uuid(uuid::Uuid::nil()));
        let from = filter.started.map_or(Bound::Unbounded, |period| {
            Bound::Included(at(period.start()))
        });
        let end = filter.started.map(|period| at(period.end()));
        let to = before
            .into_iter()
            .chain(end)
            .min()
            .map_or(Bound::Unbounded, Bound::Excluded);
        let status = filter.status;
        order
            .into_iter()
            .flat_map(move |order| order.range((from, to)).rev())
            .filter_map(|(_, id)| self.rows.get(id))
            .filter(move |row| status.is_none_or(|status| row.status == status))
    }
}

/// Fails unless everything that the execution refers to is there.
fn check_references(
    shard: &Shard,
    operation: &'static str,
    execution: &Execution,
) -> StoreResult<()> {
    let missing = |constraint: &str| {
        Err(StoreError::new(StoreErrorKind::NotFound, operation).with_detail(constraint))
    };
    if !shard.sources.has(execution.source) {
        return missing("executions_tenant_id_source_id_fkey");
    }
    if !shard.workflows.has(execution.workflow) {
        return missing("executions_tenant_id_workflow_id_fkey");
    }
    if execution
        .triggered_by
        .is_some_and(|user| shard.users.get(user).is_none())
    {
        return missing("executions_tenant_id_triggered_by_fkey");
    }
    Ok(())
}

#[async_trait]
impl ExecutionRepo for MemoryTx {
    async fn get(&mut self, id: ExecutionId) -> StoreResult<Option<Execution>> {
        let shard = self.read("executions.get")?;
        Ok(shard
            .executions
            .rows
            .get(&id)
            .map(|row| Execution::clone(row)))
    }

    async fn find(
        &mut self,
        source: SourceId,
        external: &ExternalId,
    ) -> StoreResult<Option<Execution>> {
        let table = &self.read("executions.find")?.executions;
        let id = table.by_external.get(&(source, external.clone()));
        Ok(id
            .and_then(|id| table.rows.get(id))
            .map(|row| Execution::clone(row)))
    }

    async fn lock(
        &mut self,
        source: SourceId,
        external: &[ExternalId],
    ) -> StoreResult<Vec<Execution>> {
        // What was read here is guarded by the revisions that `update` names.
        let table = &self.read("executions.lock")?.executions;
        let mut found = BTreeMap::new();
        for external in external {
            let key = (source, external.clone());
            if let Some(row) = table
                .by_external
                .get(&key)
                .and_then(|id| table.rows.get(id))
            {
                found.insert(row.id, Execution::clone(row));
            }
        }
        Ok(found.into_values().collect())
    }

    async fn insert(&mut self, executions: &[Execution]) -> StoreResult<()> {
        const OPERATION: &str = "executions.insert";
        if executions.is_empty() {
            return self.read(OPERATION).map(drop);
        }
        let rows: Vec<Arc<Execution>> = executions.iter().cloned().map(Arc::new).collect();
        self.write(OPERATION, move |shard| {
            for row in &rows {
                check_references(shard, OPERATION, row)?;
                let table = &mut shard.executions;
                let key = (row.source, row.external_id.clone());
                if table.rows.contains_key(&row.id) || table.by_external.contains_key(&key) {
                    return Err(StoreError::new(StoreErrorKind::Conflict, OPERATION));
                }
                table.by_external.insert(key, row.id);
                table.put(Arc::clone(row));
            }
            Ok(())
        })
    }

    async fn update(&mut self, updates: &[ExecutionUpdate]) -> StoreResult<()> {
        const OPERATION: &str = "executions.update";
        if updates.is_empty() {
            return self.read(OPERATION).map(drop);
        }
        let updates: Vec<(i64, Arc<Execution>)> = updates
            .iter()
            .map(|update| (update.read, Arc::new(update.execution.clone())))
            .collect();
        self.write(OPERATION, move |shard| {
            for (read, next) in &updates {
                let stored = shard.executions.rows.get(&next.id);
                if stored.is_none_or(|stored| stored.revision != *read) {
                    return Err(StoreError::new(StoreErrorKind::Conflict, OPERATION));
                }
                check_references(shard, OPERATION, next)?;
                shard.executions.put(Arc::clone(next));
            }
            Ok(())
        })
    }

    async fn attach(&mut self, attachments: &[Attachments]) -> StoreResult<()> {
        const OPERATION: &str = "executions.attach";
        if attachments.is_empty() {
            return self.read(OPERATION).map(drop);
        }
        let instants = attachments
            .iter()
            .filter(|attached| attached.brings())
            .map(|attached| instant_of(attached.execution.as_uuid()));
        let instants: Vec<_> = instants.map(Option::unwrap_or_default).collect();
        self.must_be_kept(OPERATION, "execution_data", instants)?;
        let attachments = attachments.to_vec();
        self.write(OPERATION, move |shard| {
            let table = &mut shard.executions;
            for attached in &attachments {
                let id = attached.execution;
                if attached.brings() && !table.rows.contains_key(&id) {
                    return Err(StoreError::new(StoreErrorKind::NotFound, OPERATION));
                }
                if attached.replace {
                    for kind in [PayloadKind::Input, PayloadKind::Output, PayloadKind::Error] {
                        table.payloads.remove(&(id, kind));
                    }
                    table.errors.remove(&id);
                }
                let taken = || Err(StoreError::new(StoreErrorKind::AlreadyExists, OPERATION));
                for (kind, payload) in &attached.payloads {
                    if table
                        .payloads
                        .insert((id, *kind), payload.clone())
                        .is_some()
                    {
                        return taken();
                    }
                }
                if !attached.errors.is_empty()
                    && table
                        .errors
                        .insert(id, Arc::clone(&attached.errors))
                        .is_some()
                {
                    return taken();
                }
            }
            Ok(())
        })
    }

    async fn bare(&mut self, executions: &[ExecutionId]) -> StoreResult<Vec<ExecutionId>> {
        const OPERATION: &str = "executions.bare";
        let table = &self.read(OPERATION)?.executions;
        let bare = table.bare(executions);
        if bare.is_empty() {
            return Ok(bare);
        }
        // A write, so that the commit asks again.
        let asked = executions.to_vec();
        self.write(OPERATION, move |shard| Ok(shard.executions.bare(&asked)))
    }

    async fn contradict(&mut self, contradictions: &[Contradiction]) -> StoreResult<Vec<bool>> {
        const OPERATION: &str = "executions.contradict";
        if contradictions.is_empty() {
            return self.read(OPERATION).map(|_| Vec::new());
        }
        let contradictions = contradictions.to_vec();
        self.write(OPERATION, move |shard| {
            let table = &mut shard.executions;
            let mut new = Vec::with_capacity(contradictions.len());
            for told in &contradictions {
                if !table.rows.contains_key(&told.execution) {
                    return Err(StoreError::new(StoreErrorKind::NotFound, OPERATION));
                }
                let key = (told.execution, told.reported.at, told.reported.status);
                let unknown = !table.contradictions.contains_key(&key);
                if unknown {
                    table.contradictions.insert(key, told.clone());
                }
                new.push(unknown);
            }
            Ok(new)
        })
    }

    async fn page(
        &mut self,
        filter: &ExecutionFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<Execution>> {
        const OPERATION: &str = "executions.page";
        let before = self.check(page_key::<ByTime>(OPERATION, page))?;
        let table = &self.read(OPERATION)?.executions;
        let rows = table
            .list(filter, before)
            .take(page.limit() + 1)
            .map(|row| Execution::clone(row))
            .collect();
        Ok(Page::of(rows, page.limit(), |row| (row.started_at, row.id)))
    }

    async fn performance(
        &mut self,
        workflow: Option<WorkflowId>,
        started: &Period,
    ) -> StoreResult<Vec<WorkflowPerformance>> {
        let table = &self.read("executions.performance")?.executions;
        let filter = ExecutionFilter {
            workflow,
            started: Some(*started),
            status: None,
        };
        let mut ended: BTreeMap<WorkflowId, Vec<(ExecutionStatus, i64)>> = BTreeMap::new();
        for row in table.list(&filter, None) {
            if let Some(millis) = row.duration_ms {
                ended
                    .entry(row.workflow)
                    .or_default()
                    .push((row.status, millis));
            }
        }
        Ok(ended
            .into_iter()
            .filter_map(|(workflow, ended)| WorkflowPerformance::of(workflow, ended))
            .collect())
    }

    async fn payload(
        &mut self,
        id: ExecutionId,
        kind: PayloadKind,
    ) -> StoreResult<Option<StoredPayload>> {
        let table = &self.read("executions.payload")?.executions;
        Ok(table.payloads.get(&(id, kind)).map(Payload::stored))
    }

    async fn errors(&mut self, id: ExecutionId) -> StoreResult<Vec<ErrorEntry>> {
        let table = &self.read("executions.errors")?.executions;
        Ok(table
            .errors
            .get(&id)
            .map(|entries| entries.to_vec())
            .unwrap_or_default())
    }

    async fn contradictions(&mut self, id: ExecutionId) -> StoreResult<Vec<Contradiction>> {
        let table = &self.read("executions.contradictions")?.executions;
        let first = (id, DateTime::<Utc>::MIN_UTC, ExecutionStatus::Unknown);
        Ok(table
            .contradictions
            .range(first..)
            .take_while(|((execution, _, _), _)| *execution == id)
            .map(|(_, told)| told.clone())
            .collect())
    }
}

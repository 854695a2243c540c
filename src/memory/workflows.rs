//! Workflows in memory.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use imbl::OrdMap;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::audit::{Audited, Stamp};
use super::state::Shard;
use super::unit::MemoryTx;
use crate::domain::audit::audited_instant;
use crate::domain::ids::{SourceId, UserId, WorkflowId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::ExternalId;
use crate::domain::workflow::{
    Dependents, Redefinition, VersionSummary, Workflow, WorkflowVersion, search_key,
};
use crate::store::{
    StoreError, StoreErrorKind, StoreResult, WorkflowFilter, WorkflowRepo, page_key,
};

/// One tenant's workflows.
#[derive(Debug, Clone, Default)]
pub(super) struct WorkflowTable {
    rows: OrdMap<WorkflowId, Arc<Workflow>>,
    by_name: OrdMap<NameKey, ()>,
    by_external: OrdMap<(SourceId, ExternalId), WorkflowId>,
    versions: OrdMap<(WorkflowId, i32), Arc<WorkflowVersion>>,
}

/// The order of lists.
type NameKey = (String, WorkflowId);

impl WorkflowTable {
    pub(super) fn has(&self, id: WorkflowId) -> bool {
        self.rows.contains_key(&id)
    }

    /// How many are not archived.
    pub(super) fn kept(&self) -> u64 {
        let kept = self.rows.values().filter(|row| row.archived_at.is_none());
        kept.count() as u64
    }

    fn by_external(&self, key: &(SourceId, ExternalId)) -> Option<&Arc<Workflow>> {
        self.by_external.get(key).and_then(|id| self.rows.get(id))
    }
}

impl Audited for Workflow {
    const RESOURCE: &'static str = "workflows";

    fn resource_id(&self) -> Uuid {
        self.id.as_uuid()
    }

    fn columns(&self) -> Map<String, Value> {
        [
            ("id", json!(self.id)),
            ("source_id", json!(self.source)),
            ("n8n_id", json!(self.external_id)),
            ("name", json!(self.name)),
            ("name_key", json!(self.name_key())),
            ("description", json!(self.description)),
            ("settings", self.settings.to_value()),
            ("tags", json!(self.tags)),
            ("active", json!(self.active)),
            ("version", json!(self.version)),
            ("definition_sha256", json!(self.definition_sha256)),
            ("created_by", json!(self.created_by)),
            (
                "archived_at",
                self.archived_at.map_or(Value::Null, audited_instant),
            ),
            ("created_at", audited_instant(self.created_at)),
        ]
        .into_iter()
        .map(|(column, value)| (column.to_owned(), value))
        .collect()
    }
}

#[async_trait]
impl WorkflowRepo for MemoryTx {
    async fn insert(&mut self, new: &Redefinition) -> StoreResult<()> {
        const OPERATION: &str = "workflows.insert";
        let (new, stamp) = (new.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |shard| {
            insert(shard, OPERATION, &stamp, &new)
        })
    }

    async fn ensure_external(&mut self, new: &[Redefinition]) -> StoreResult<Vec<Workflow>> {
        const OPERATION: &str = "workflows.ensure_external";
        if new.is_empty() {
            self.read(OPERATION)?;
            return Ok(Vec::new());
        }
        let (new, stamp) = (new.to_vec(), Arc::clone(&self.stamp));
        // Only the ids must be the same again at commit: what else changes about a workflow that
        // was there is no concern of this unit.
        let ids = self.write(OPERATION, move |shard| {
            let keys = new.iter().map(|new| {
                external_key(&new.workflow)
                    .ok_or_else(|| broken(OPERATION, "workflows_source_and_id"))
            });
            let keys = keys.collect::<StoreResult<Vec<_>>>()?;
            let mut missing: Vec<_> = std::iter::zip(&keys, &new).collect();
            missing.sort_by_key(|(key, _)| *key);
            for (key, new) in missing {
                if shard.workflows.by_external(key).is_none() {
                    insert(shard, OPERATION, &stamp, new)?;
                }
            }
            let stored = keys
                .iter()
                .filter_map(|key| shard.workflows.by_external(key));
            Ok(stored.map(|workflow| workflow.id).collect::<Vec<_>>())
        })?;
        let rows = &self.read(OPERATION)?.workflows.rows;
        Ok(ids
            .iter()
            .filter_map(|id| rows.get(id))
            .map(|workflow| Workflow::clone(workflow))
            .collect())
    }

    async fn find_by_external(
        &mut self,
        source: SourceId,
        external: &[ExternalId],
    ) -> StoreResult<Vec<Workflow>> {
        let table = &self.read("workflows.find_by_external")?.workflows;
        let wanted: BTreeSet<_> = external.iter().collect();
        Ok(wanted
            .into_iter()
            .filter_map(|external| table.by_external(&(source, external.clone())))
            .map(|workflow| Workflow::clone(workflow))
            .collect())
    }

    async fn get(&mut self, id: WorkflowId) -> StoreResult<Option<Workflow>> {
        let rows = &self.read("workflows.get")?.workflows.rows;
        Ok(rows.get(&id).map(|workflow| Workflow::clone(workflow)))
    }

    async fn update(&mut self, workflow: &Workflow) -> StoreResult<Workflow> {
        const OPERATION: &str = "workflows.update";
        let (given, stamp) = (workflow.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |shard| {
            let stored = present(shard, OPERATION, &given)?;
            let next = Workflow {
                version: stored.version,
                definition_sha256: stored.definition_sha256.clone(),
                ..changed(&stored, &given)
            };
            replace(shard, OPERATION, &stamp, &stored, next)
        })
    }

    async fn redefine(&mut self, redefinition: &Redefinition) -> StoreResult<Workflow> {
        const OPERATION: &str = "workflows.redefine";
        let (given, stamp) = (redefinition.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |shard| {
            let stored = present(shard, OPERATION, &given.workflow)?;
            let next = changed(&stored, &given.workflow);
            let next = replace(shard, OPERATION, &stamp, &stored, next)?;
            add_version(shard, OPERATION, next.id, &given.version)?;
            Ok(next)
        })
    }

    async fn version(
        &mut self,
        id: WorkflowId,
        version: i32,
    ) -> StoreResult<Option<WorkflowVersion>> {
        let versions = &self.read("workflows.version")?.workflows.versions;
        let found = versions.get(&(id, version));
        Ok(found.map(|version| WorkflowVersion::clone(version)))
    }

    async fn versions(
        &mut self,
        id: WorkflowId,
        page: &PageRequest,
    ) -> StoreResult<Page<VersionSummary>> {
        const OPERATION: &str = "workflows.versions";
        let before = self.check(page_key::<i32>(OPERATION, page))?;
        let versions = &self.read(OPERATION)?.workflows.versions;
        let rows = versions
            .range((id, 0)..(id, before.map_or(i32::MAX, |before| before.max(0))))
            .rev()
            .take(page.limit() + 1)
            .map(|(_, version)| VersionSummary::from(&**version))
            .collect();
        Ok(Page::of(rows, page.limit(), |row: &VersionSummary| {
            row.version
        }))
    }

    async fn page(
        &mut self,
        filter: &WorkflowFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<Workflow>> {
        const OPERATION: &str = "workflows.page";
        let after = self.check(page_key::<NameKey>(OPERATION, page))?;
        let table = &self.read(OPERATION)?.workflows;
        let name = filter.name.as_deref().map(search_key);
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = table
            .by_name
            .range((start, Bound::Unbounded))
            .filter(|((key, _), ())| name.as_ref().is_none_or(|name| key.contains(name)))
            .filter_map(|((_, id), ())| table.rows.get(id))
            .filter(|workflow| matches(filter, workflow))
            .take(page.limit() + 1)
            .map(|workflow| Workflow::clone(workflow))
            .collect();
        Ok(Page::of(rows, page.limit(), name_key))
    }

    async fn dependents(&mut self, id: WorkflowId) -> StoreResult<Dependents> {
        Ok(dependents(self.read("workflows.dependents")?, id))
    }

    async fn delete(&mut self, workflow: &Workflow) -> StoreResult<()> {
        const OPERATION: &str = "workflows.delete";
        let (given, stamp) = (workflow.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |shard| {
            let stored = present(shard, OPERATION, &given)?;
            if !dependents(shard, stored.id).is_empty() {
                return Err(StoreError::new(StoreErrorKind::Conflict, OPERATION));
            }
            let table = &mut shard.workflows;
            table.rows.remove(&stored.id);
            table.by_name.remove(&name_key(&stored));
            if let Some(key) = external_key(&stored) {
                table.by_external.remove(&key);
            }
            for version in 1..=stored.version {
                table.versions.remove(&(stored.id, version));
            }
            shard.audit.record(&stamp, Some(&*stored), None);
            Ok(())
        })
    }
}

fn name_key(workflow: &Workflow) -> NameKey {
    (workflow.name_key(), workflow.id)
}

fn external_key(workflow: &Workflow) -> Option<(SourceId, ExternalId)> {
    workflow.source.zip(workflow.external_id.clone())
}

fn matches(filter: &WorkflowFilter, workflow: &Workflow) -> bool {
    let tags = workflow.tags.as_slice();
    filter.tags.iter().all(|tag| tags.contains(tag))
        && filter.active.is_none_or(|active| workflow.active == active)
        && filter
            .source
            .is_none_or(|source| workflow.source == Some(source))
        && filter
            .archive
            .archived()
            .is_none_or(|archived| workflow.archived_at.is_some() == archived)
}

fn dependents(shard: &Shard, id: WorkflowId) -> Dependents {
    let executions = shard.executions.of_workflow(id);
    Dependents::new(u64::try_from(executions).unwrap_or(u64::MAX))
}

fn broken(operation: &'static str, constraint: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, operation).with_detail(constraint)
}

/// The checks that the table has over several columns.
fn check(operation: &'static str, workflow: &Workflow) -> StoreResult<()> {
    if workflow.source.is_some() != workflow.external_id.is_some() {
        return Err(broken(operation, "workflows_source_and_id"));
    }
    if workflow.archived_at.is_some() && workflow.active {
        return Err(broken(operation, "workflows_archived_inactive"));
    }
    Ok(())
}

fn check_person(
    shard: &Shard,
    operation: &'static str,
    constraint: &str,
    person: Option<UserId>,
) -> StoreResult<()> {
    if person.is_some_and(|user| shard.users.get(user).is_none()) {
        return Err(StoreError::new(StoreErrorKind::NotFound, operation).with_detail(constraint));
    }
    Ok(())
}

fn insert(
    shard: &mut Shard,
    operation: &'static str,
    stamp: &Stamp,
    new: &Redefinition,
) -> StoreResult<()> {
    let workflow = &new.workflow;
    check(operation, workflow)?;
    let taken = |constraint: &str| {
        StoreError::new(StoreErrorKind::AlreadyExists, operation).with_detail(constraint)
    };
    let table = &mut shard.workflows;
    if table.rows.contains_key(&workflow.id) {
        return Err(taken("workflows_pkey"));
    }
    if let Some(key) = external_key(workflow) {
        if table.by_external.contains_key(&key) {
            return Err(taken("workflows_external"));
        }
        if !shard.sources.has(key.0) {
            return Err(StoreError::new(StoreErrorKind::NotFound, operation)
                .with_detail("workflows_source"));
        }
        table.by_external.insert(key, workflow.id);
    }
    check_person(
        shard,
        operation,
        "workflows_created_by",
        workflow.created_by,
    )?;
    let table = &mut shard.workflows;
    table.by_name.insert(name_key(workflow), ());
    table.rows.insert(workflow.id, Arc::new(workflow.clone()));
    shard.audit.record(stamp, None, Some(workflow));
    add_version(shard, operation, workflow.id, &new.version)
}

/// The stored workflow, if it is still the one that the caller has read.
fn present(shard: &Shard, operation: &'static str, given: &Workflow) -> StoreResult<Arc<Workflow>> {
    match shard.workflows.rows.get(&given.id) {
        Some(stored) if stored.revision == given.revision => Ok(Arc::clone(stored)),
        _ => Err(StoreError::new(StoreErrorKind::Conflict, operation)),
    }
}

/// The given workflow with what never changes taken from the stored one.
fn changed(stored: &Workflow, given: &Workflow) -> Workflow {
    Workflow {
        source: stored.source,
        external_id: stored.external_id.clone(),
        created_by: stored.created_by,
        created_at: stored.created_at,
        revision: stored.revision + 1,
        ..given.clone()
    }
}

fn replace(
    shard: &mut Shard,
    operation: &'static str,
    stamp: &Stamp,
    stored: &Workflow,
    next: Workflow,
) -> StoreResult<Workflow> {
    check(operation, &next)?;
    let table = &mut shard.workflows;
    table.by_name.remove(&name_key(stored));
    table.by_name.insert(name_key(&next), ());
    table.rows.insert(next.id, Arc::new(next.clone()));
    shard.audit.record(stamp, Some(stored), Some(&next));
    Ok(next)
}

fn add_version(
    shard: &mut Shard,
    operation: &'static str,
    id: WorkflowId,
    version: &WorkflowVersion,
) -> StoreResult<()> {
    let key = (id, version.version);
    if shard.workflows.versions.contains_key(&key) {
        return Err(StoreError::new(StoreErrorKind::AlreadyExists, operation)
            .with_detail("workflow_versions_pkey"));
    }
    let by = version.created_by;
    check_person(shard, operation, "workflow_versions_created_by", by)?;
    let version = WorkflowVersion {
        workflow: id,
        ..version.clone()
    };
    shard.workflows.versions.insert(key, Arc::new(version));
    Ok(())
}

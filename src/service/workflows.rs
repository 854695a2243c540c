//! Workflows: created, changed, versioned, archived, deleted, searched.

use std::sync::Arc;

use serde::Serialize;

use super::access::authorize;
use super::limit_notes::admit_one;
use super::tenants::must_be_present;
use crate::domain::access::Permission;
use crate::domain::context::Context;
use crate::domain::ids::{SourceId, WorkflowId};
use crate::domain::limits::CountedRows;
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::ExternalId;
use crate::domain::workflow::{
    Dependents, NewWorkflow, VersionSummary, Workflow, WorkflowChange, WorkflowDefinition,
    WorkflowError, WorkflowPatch, WorkflowVersion,
};
use crate::error::{Error, Result};
use crate::store::{Store, Tx, WorkflowFilter, on_conflict};

/// What a call did, and the workflow as it is now.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", content = "workflow", rename_all = "snake_case")]
#[non_exhaustive]
pub enum WorkflowOutcome {
    /// There was none; now there is.
    Created(Workflow),
    /// It was changed.
    Updated(Workflow),
    /// It was so already; nothing was written.
    Unchanged(Workflow),
}

impl WorkflowOutcome {
    /// The workflow as it is now.
    #[must_use]
    pub fn workflow(&self) -> &Workflow {
        match self {
            Self::Created(workflow) | Self::Updated(workflow) | Self::Unchanged(workflow) => {
                workflow
            }
        }
    }
}

impl From<WorkflowOutcome> for Workflow {
    fn from(outcome: WorkflowOutcome) -> Self {
        match outcome {
            WorkflowOutcome::Created(workflow)
            | WorkflowOutcome::Updated(workflow)
            | WorkflowOutcome::Unchanged(workflow) => workflow,
        }
    }
}

/// Creates, changes, searches and deletes workflows.
///
/// A change that changes nothing writes nothing, and says so. A workflow in the archive takes no
/// change but [`unarchive`](Self::unarchive) and [`delete`](Self::delete).
#[derive(Debug, Clone)]
pub struct Workflows {
    pub(super) store: Arc<dyn Store>,
}

/// One change of one workflow.
#[derive(Debug, Clone, Copy)]
enum Edit<'e> {
    Patch(&'e WorkflowPatch),
    Redefine(&'e WorkflowDefinition),
    Restore(i32),
    Archive,
    Unarchive,
}

impl Workflows {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Creates a workflow with its first version.
    ///
    /// # Errors
    /// `LimitExceeded` when the tenant has as many as it may; `NotFound` for a source that this tenant does not have; `AlreadyExists` when the source has
    /// a workflow with this external id.
    pub async fn create(&self, ctx: &Context, new: NewWorkflow) -> Result<Workflow> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let workflow = self.create_in(&mut *unit, new.clone()).await?;
            unit.commit().await?;
            Ok(workflow)
        })
        .await
    }

    /// Creates a workflow in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Workflows::create`].
    pub async fn create_in(&self, tx: &mut dyn Tx, new: NewWorkflow) -> Result<Workflow> {
        authorize(tx, Permission::WorkflowsWrite).await?;
        admit_one(tx, CountedRows::Workflows).await?;
        let (by, now) = (tx.context().actor().user(), tx.now());
        let made = new.make(tx.ids().fresh(), by, now);
        tx.workflows().insert(&made).await?;
        Ok(made.workflow)
    }

    /// A workflow by its id, archived or not.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, ctx: &Context, id: WorkflowId) -> Result<Workflow> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::WorkflowsRead).await?;
        existing(&mut *unit, id).await
    }

    /// The workflow that a source knows by this id, archived or not.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn find_by_external(
        &self,
        ctx: &Context,
        source: SourceId,
        external: &ExternalId,
    ) -> Result<Workflow> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::WorkflowsRead).await?;
        let wanted = std::slice::from_ref(external);
        let found = unit.workflows().find_by_external(source, wanted).await?;
        let found = found.into_iter().next();
        found.ok_or_else(|| Error::not_found("workflow", external))
    }

    /// The workflows that fit the filter, in the order of their names without regard to case, and
    /// of their ids where names are equal.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    pub async fn search(
        &self,
        ctx: &Context,
        filter: &WorkflowFilter,
        page: &PageRequest,
    ) -> Result<Page<Workflow>> {
        page.key::<(String, WorkflowId)>()?;
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::WorkflowsRead).await?;
        Ok(unit.workflows().page(filter, page).await?)
    }

    /// The newest version of a workflow, with its definition.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn newest_version(&self, ctx: &Context, id: WorkflowId) -> Result<WorkflowVersion> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::WorkflowsRead).await?;
        let workflow = existing(&mut *unit, id).await?;
        existing_version(&mut *unit, id, workflow.version).await
    }

    /// One version of a workflow, with its definition.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn version(
        &self,
        ctx: &Context,
        id: WorkflowId,
        version: i32,
    ) -> Result<WorkflowVersion> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::WorkflowsRead).await?;
        existing_version(&mut *unit, id, version).await
    }

    /// The versions of a workflow, newest first, without their definitions.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a cursor of another list.
    pub async fn versions(
        &self,
        ctx: &Context,
        id: WorkflowId,
        page: &PageRequest,
    ) -> Result<Page<VersionSummary>> {
        page.key::<i32>()?;
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::WorkflowsRead).await?;
        existing(&mut *unit, id).await?;
        Ok(unit.workflows().versions(id, page).await?)
    }

    /// Changes what describes a workflow, or whether it is in use.
    ///
    /// # Errors
    /// `NotFound`; `Stale` unless `revision` is the present one; `Invalid` in the archive.
    pub async fn update(
        &self,
        ctx: &Context,
        id: WorkflowId,
        revision: i64,
        patch: &WorkflowPatch,
    ) -> Result<WorkflowOutcome> {
        self.edit(ctx, id, Some(revision), Edit::Patch(patch)).await
    }

    /// Changes a workflow in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Workflows::update`].
    pub async fn update_in(
        &self,
        tx: &mut dyn Tx,
        id: WorkflowId,
        revision: i64,
        patch: &WorkflowPatch,
    ) -> Result<WorkflowOutcome> {
        edit_in(tx, id, Some(revision), Edit::Patch(patch)).await
    }

    /// Gives a workflow a new version of its definition; the former ones stay. The very text of the
    /// newest version makes no new one.
    ///
    /// # Errors
    /// `NotFound`; `Stale` unless `revision` is the present one; `Invalid` in the archive.
    pub async fn redefine(
        &self,
        ctx: &Context,
        id: WorkflowId,
        revision: i64,
        definition: &WorkflowDefinition,
    ) -> Result<WorkflowOutcome> {
        self.edit(ctx, id, Some(revision), Edit::Redefine(definition))
            .await
    }

    /// Gives a workflow a new version in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Workflows::redefine`].
    pub async fn redefine_in(
        &self,
        tx: &mut dyn Tx,
        id: WorkflowId,
        revision: i64,
        definition: &WorkflowDefinition,
    ) -> Result<WorkflowOutcome> {
        edit_in(tx, id, Some(revision), Edit::Redefine(definition)).await
    }

    /// Takes a former definition up again, as a new version. Name, settings and tags, which have no
    /// versions, stay as they are.
    ///
    /// # Errors
    /// `NotFound`, for the version too; `Stale` unless `revision` is the present one; `Invalid` in
    /// the archive.
    pub async fn restore(
        &self,
        ctx: &Context,
        id: WorkflowId,
        revision: i64,
        version: i32,
    ) -> Result<WorkflowOutcome> {
        self.edit(ctx, id, Some(revision), Edit::Restore(version))
            .await
    }

    /// Takes a former definition up again in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Workflows::restore`].
    pub async fn restore_in(
        &self,
        tx: &mut dyn Tx,
        id: WorkflowId,
        revision: i64,
        version: i32,
    ) -> Result<WorkflowOutcome> {
        edit_in(tx, id, Some(revision), Edit::Restore(version)).await
    }

    /// Takes a workflow into use, whatever its revision.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` in the archive.
    pub async fn activate(&self, ctx: &Context, id: WorkflowId) -> Result<WorkflowOutcome> {
        let patch = WorkflowPatch::new().active(true);
        self.edit(ctx, id, None, Edit::Patch(&patch)).await
    }

    /// Takes a workflow into use in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Workflows::activate`].
    pub async fn activate_in(&self, tx: &mut dyn Tx, id: WorkflowId) -> Result<WorkflowOutcome> {
        let patch = WorkflowPatch::new().active(true);
        edit_in(tx, id, None, Edit::Patch(&patch)).await
    }

    /// Takes a workflow out of use, whatever its revision.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` in the archive.
    pub async fn deactivate(&self, ctx: &Context, id: WorkflowId) -> Result<WorkflowOutcome> {
        let patch = WorkflowPatch::new().active(false);
        self.edit(ctx, id, None, Edit::Patch(&patch)).await
    }

    /// Takes a workflow out of use in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Workflows::deactivate`].
    pub async fn deactivate_in(&self, tx: &mut dyn Tx, id: WorkflowId) -> Result<WorkflowOutcome> {
        let patch = WorkflowPatch::new().active(false);
        edit_in(tx, id, None, Edit::Patch(&patch)).await
    }

    /// Puts a workflow into the archive, out of use: lists hide it, its executions stay. For one
    /// that cannot be deleted.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn archive(&self, ctx: &Context, id: WorkflowId) -> Result<WorkflowOutcome> {
        self.edit(ctx, id, None, Edit::Archive).await
    }

    /// Puts a workflow into the archive in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Workflows::archive`].
    pub async fn archive_in(&self, tx: &mut dyn Tx, id: WorkflowId) -> Result<WorkflowOutcome> {
        edit_in(tx, id, None, Edit::Archive).await
    }

    /// Takes a workflow out of the archive, not in use.
    ///
    /// # Errors
    /// `NotFound`; `LimitExceeded` when the tenant has as many as it may.
    pub async fn unarchive(&self, ctx: &Context, id: WorkflowId) -> Result<WorkflowOutcome> {
        self.edit(ctx, id, None, Edit::Unarchive).await
    }

    /// Takes a workflow out of the archive in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Workflows::unarchive`].
    pub async fn unarchive_in(&self, tx: &mut dyn Tx, id: WorkflowId) -> Result<WorkflowOutcome> {
        edit_in(tx, id, None, Edit::Unarchive).await
    }

    /// What depends on a workflow, and keeps it from being deleted.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn dependents(&self, ctx: &Context, id: WorkflowId) -> Result<Dependents> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::WorkflowsRead).await?;
        existing(&mut *unit, id).await?;
        Ok(unit.workflows().dependents(id).await?)
    }

    /// Deletes a workflow with all its versions. One that has executions is not deleted:
    /// [`archive`](Self::archive) it.
    ///
    /// # Errors
    /// `NotFound`; `Stale` unless `revision` is the present one; `Invalid`, with what depends on
    /// it.
    pub async fn delete(&self, ctx: &Context, id: WorkflowId, revision: i64) -> Result<()> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            self.delete_in(&mut *unit, id, revision).await?;
            Ok(unit.commit().await?)
        })
        .await
    }

    /// Deletes a workflow in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Workflows::delete`].
    pub async fn delete_in(&self, tx: &mut dyn Tx, id: WorkflowId, revision: i64) -> Result<()> {
        authorize(tx, Permission::WorkflowsDelete).await?;
        let workflow = existing(tx, id).await?;
        must_be_present("workflow", revision, workflow.revision)?;
        let dependents = tx.workflows().dependents(id).await?;
        if !dependents.is_empty() {
            return Err(WorkflowError::InUse { dependents }.into());
        }
        Ok(tx.workflows().delete(&workflow).await?)
    }

    async fn edit(
        &self,
        ctx: &Context,
        id: WorkflowId,
        revision: Option<i64>,
        edit: Edit<'_>,
    ) -> Result<WorkflowOutcome> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let outcome = edit_in(&mut *unit, id, revision, edit).await?;
            unit.commit().await?;
            Ok(outcome)
        })
        .await
    }
}

async fn existing(tx: &mut dyn Tx, id: WorkflowId) -> Result<Workflow> {
    let found = tx.workflows().get(id).await?;
    found.ok_or_else(|| Error::not_found("workflow", id))
}

async fn existing_version(
    tx: &mut dyn Tx,
    id: WorkflowId,
    version: i32,
) -> Result<WorkflowVersion> {
    let found = tx.workflows().version(id, version).await?;
    found.ok_or_else(|| Error::not_found("workflow version", format!("{id}/{version}")))
}

async fn edit_in(
    tx: &mut dyn Tx,
    id: WorkflowId,
    revision: Option<i64>,
    edit: Edit<'_>,
) -> Result<WorkflowOutcome> {
    authorize(tx, Permission::WorkflowsWrite).await?;
    let (by, now) = (tx.context().actor().user(), tx.now());
    let workflow = existing(tx, id).await?;
    if let Some(revision) = revision {
        must_be_present("workflow", revision, workflow.revision)?;
    }
    if !matches!(edit, Edit::Archive | Edit::Unarchive) {
        workflow.must_not_be_archived()?;
    }
    let change = match edit {
        Edit::Patch(patch) => workflow.patched(patch, now).into(),
        Edit::Redefine(definition) => workflow.redefined(definition.clone(), by, now)?.into(),
        Edit::Restore(version) => {
            let former = existing_version(tx, id, version).await?;
            workflow.redefined(former.definition, by, now)?.into()
        }
        Edit::Archive => workflow.archived(now).into(),
        Edit::Unarchive => {
            let next = workflow.unarchived(now);
            if next.is_some() {
                admit_one(tx, CountedRows::Workflows).await?;
            }
            next.into()
        }
    };
    write(tx, workflow, change).await
}

/// Writes a change and says what became of the workflow.
pub(super) async fn write(
    tx: &mut dyn Tx,
    workflow: Workflow,
    change: WorkflowChange,
) -> Result<WorkflowOutcome> {
    Ok(match change {
        WorkflowChange::Nothing => WorkflowOutcome::Unchanged(workflow),
        WorkflowChange::Details(next) => {
            WorkflowOutcome::Updated(tx.workflows().update(&next).await?)
        }
        WorkflowChange::Definition(next) => {
            WorkflowOutcome::Updated(tx.workflows().redefine(&next).await?)
        }
    })
}

//! Workflows and the versions of their definitions.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::ids::{SourceId, WorkflowId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::ExternalId;
use crate::domain::workflow::{
    Dependents, Redefinition, VersionSummary, Workflow, WorkflowVersion,
};

/// Which workflows. Whoever sets several fields gets those that fit all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkflowFilter {
    /// Only those whose name has this text in it, without regard to case. No character of it is a
    /// wildcard.
    pub name: Option<String>,
    /// Only those with all of these tags. Case counts.
    pub tags: Vec<String>,
    /// Only those in use, or only those that are not.
    pub active: Option<bool>,
    /// Only those of this source.
    pub source: Option<SourceId>,
    /// Whether those in the archive are shown.
    pub archive: Archive,
}

/// Whether a list shows what is in the archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Archive {
    /// It does not.
    #[default]
    Hidden,
    /// It shows nothing else.
    Only,
    /// It shows all.
    Included,
}

impl Archive {
    /// Which of both is asked for: `Some(true)` for only archived, `None` for all.
    #[must_use]
    pub fn archived(self) -> Option<bool> {
        match self {
            Self::Hidden => Some(false),
            Self::Only => Some(true),
            Self::Included => None,
        }
    }
}

/// The unit's own tenant's workflows.
///
/// A workflow's definition is in its versions, under its id and version number. A version is
/// written once and never changed.
#[async_trait]
pub trait WorkflowRepo: Send {
    /// Writes a new workflow with its first version.
    ///
    /// # Errors
    /// `AlreadyExists` for an id that is taken, or an external id that its source has already;
    /// `NotFound` for a source or a creator that this tenant does not have; `Invalid` for a source
    /// without an external id or the reverse.
    async fn insert(&mut self, new: &Redefinition) -> StoreResult<()>;

    /// Writes those of the new workflows whose external id their source does not have yet, and
    /// answers the stored workflow for each one given, in the same order: the given one, or the
    /// one that was there, which has another id. Of two given with one external id the first
    /// counts. They are written, and so recorded in the trail, in the order of their sources and
    /// external ids.
    ///
    /// Two units that do this at once for the same external id make one workflow: the second waits
    /// for the first and answers its workflow, or gets `Conflict` at its commit. One statement to
    /// write, one to read, for any number.
    ///
    /// # Errors
    /// As [`insert`](Self::insert), but for the external id; `Invalid` for one without.
    async fn ensure_external(&mut self, new: &[Redefinition]) -> StoreResult<Vec<Workflow>>;

    /// The workflows that a source knows by these ids, each once, in the order of the external
    /// ids. Ids that are not known are left out. One statement for any number.
    async fn find_by_external(
        &mut self,
        source: SourceId,
        external: &[ExternalId],
    ) -> StoreResult<Vec<Workflow>>;

    /// A workflow by its id.
    async fn get(&mut self, id: WorkflowId) -> StoreResult<Option<Workflow>>;

    /// Writes name, description, settings, tags, whether it is in use and whether it is archived,
    /// and answers the workflow with its next revision.
    ///
    /// # Errors
    /// `Conflict` unless the stored revision is the given one; `Invalid` for one that is in use and
    /// archived.
    async fn update(&mut self, workflow: &Workflow) -> StoreResult<Workflow>;

    /// Writes a new version of a workflow's definition, and what [`update`](Self::update) writes.
    /// The former versions stay.
    ///
    /// # Errors
    /// As [`update`](Self::update); `NotFound` for a person that this tenant does not have.
    async fn redefine(&mut self, redefinition: &Redefinition) -> StoreResult<Workflow>;

    /// One version with its definition.
    async fn version(
        &mut self,
        id: WorkflowId,
        version: i32,
    ) -> StoreResult<Option<WorkflowVersion>>;

    /// The versions of a workflow, newest first, without the definitions.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    async fn versions(
        &mut self,
        id: WorkflowId,
        page: &PageRequest,
    ) -> StoreResult<Page<VersionSummary>>;

    /// The workflows in the order of their names without regard to case (by code point), and of
    /// their ids where names are equal.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    async fn page(
        &mut self,
        filter: &WorkflowFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<Workflow>>;

    /// What depends on a workflow.
    async fn dependents(&mut self, id: WorkflowId) -> StoreResult<Dependents>;

    /// Deletes a workflow with all its versions.
    ///
    /// # Errors
    /// `Conflict` unless the stored revision is the given one, or when something depends on it:
    /// ask [`dependents`](Self::dependents) first.
    async fn delete(&mut self, workflow: &Workflow) -> StoreResult<()>;
}

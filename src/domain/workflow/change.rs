//! What is asked of a workflow, and what has to be written for it.

use chrono::{DateTime, Utc};

use super::definition::WorkflowDefinition;
use super::entity::Workflow;
use super::tags::Tags;
use super::version::Redefinition;
use crate::domain::ids::{SourceId, UserId, WorkflowId};
use crate::domain::json::Document;
use crate::domain::text::{self, ExternalId, Name, TextError};

/// What is needed to create a workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct NewWorkflow {
    /// Its name.
    pub name: Name,
    /// Its first definition.
    pub definition: WorkflowDefinition,
    /// What else is to be set; a name here counts instead of the other.
    pub details: WorkflowPatch,
    /// Where it runs, and the id that it has there.
    pub origin: Option<(SourceId, ExternalId)>,
}

impl NewWorkflow {
    /// A workflow that is not in use, of no source, without description, settings and tags.
    #[must_use]
    pub fn new(name: Name, definition: WorkflowDefinition) -> Self {
        Self {
            name,
            definition,
            details: WorkflowPatch::new(),
            origin: None,
        }
    }

    /// The workflow with its first version.
    #[must_use]
    pub fn make(self, id: WorkflowId, by: Option<UserId>, now: DateTime<Utc>) -> Redefinition {
        let mut made = Workflow::create(id, self.name, self.definition, by, now);
        if let Some(detailed) = made.workflow.patched(&self.details, now) {
            made.workflow = detailed;
        }
        (made.workflow.source, made.workflow.external_id) = self.origin.unzip();
        made
    }
}

/// What a change of a workflow has to write.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum WorkflowChange {
    /// Nothing: it is so already.
    Nothing,
    /// The workflow, with its newest definition.
    Details(Workflow),
    /// The workflow with a new version of its definition.
    Definition(Redefinition),
}

impl From<Option<Workflow>> for WorkflowChange {
    fn from(changed: Option<Workflow>) -> Self {
        changed.map_or(Self::Nothing, Self::Details)
    }
}

impl From<Option<Redefinition>> for WorkflowChange {
    fn from(changed: Option<Redefinition>) -> Self {
        changed.map_or(Self::Nothing, Self::Definition)
    }
}

/// What to change of a workflow; nothing is changed that is not named.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WorkflowPatch {
    name: Option<Name>,
    description: Option<Option<String>>,
    settings: Option<Document>,
    tags: Option<Tags>,
    active: Option<bool>,
}

impl WorkflowPatch {
    /// Changes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives it another name.
    #[must_use]
    pub fn name(mut self, name: Name) -> Self {
        self.name = Some(name);
        self
    }

    /// Says what it is for, or no longer says it.
    ///
    /// # Errors
    /// When the text is too long or has control characters but line breaks and tabs.
    pub fn description(mut self, description: Option<&str>) -> Result<Self, TextError> {
        self.description = Some(description.map(checked_description).transpose()?);
        Ok(self)
    }

    /// Gives it other settings.
    #[must_use]
    pub fn settings(mut self, settings: Document) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Gives it other tags.
    #[must_use]
    pub fn tags(mut self, tags: Tags) -> Self {
        self.tags = Some(tags);
        self
    }

    /// Takes it into use, or out of it.
    #[must_use]
    pub fn active(mut self, active: bool) -> Self {
        self.active = Some(active);
        self
    }

    pub(super) fn apply(&self, workflow: &mut Workflow) {
        set(&mut workflow.name, self.name.as_ref());
        set(&mut workflow.description, self.description.as_ref());
        set(&mut workflow.settings, self.settings.as_ref());
        set(&mut workflow.tags, self.tags.as_ref());
        set(&mut workflow.active, self.active.as_ref());
    }
}

fn checked_description(text: &str) -> Result<String, TextError> {
    text::prose("description", text, Workflow::MAX_DESCRIPTION)
}

fn set<T: Clone>(field: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        field.clone_from(value);
    }
}

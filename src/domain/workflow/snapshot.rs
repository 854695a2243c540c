//! A workflow as its source shows it: in a list of workflows, or inside a report of a run.

use std::sync::Arc;

use serde_json::Value;

use super::definition::{DefinitionError, WorkflowDefinition};
use super::tags::{Tags, TagsError};
use crate::domain::json::{Document, DocumentError};
use crate::domain::payload::Payload;
use crate::domain::text::{ExternalId, Name, TextError};

/// A workflow as its source shows it, from which one of ours can be made.
///
/// Its parts are checked when they are asked for: nearly every report is of a workflow that is
/// known, and needs none of them.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkflowSnapshot {
    external_id: ExternalId,
    name: Arc<str>,
    definition: Payload,
    settings: Option<Payload>,
    tags: Vec<String>,
    active: bool,
}

impl WorkflowSnapshot {
    /// A snapshot with a definition: an object with at least `nodes` and `connections`.
    #[must_use]
    pub fn new(external_id: ExternalId, name: &str, definition: Payload) -> Self {
        Self {
            external_id,
            name: name.into(),
            definition,
            settings: None,
            tags: Vec::new(),
            active: false,
        }
    }

    /// The same snapshot with the workflow's settings: an object.
    #[must_use]
    pub fn with_settings(mut self, settings: Payload) -> Self {
        self.settings = Some(settings);
        self
    }

    /// The same snapshot with the workflow's tags.
    #[must_use]
    pub fn with_tags(mut self, tags: Vec<String>) -> Self {
        self.tags = tags;
        self
    }

    /// The same snapshot with whether the workflow is active in its source.
    #[must_use]
    pub fn with_active(mut self, active: bool) -> Self {
        self.active = active;
        self
    }

    /// The source's id of the workflow.
    #[must_use]
    pub fn external_id(&self) -> &ExternalId {
        &self.external_id
    }

    /// The name.
    ///
    /// # Errors
    /// When the source's name is empty, too long or has a control character.
    pub fn name(&self) -> Result<Name, TextError> {
        Name::new(&self.name)
    }

    /// The definition: `nodes` and `connections`.
    ///
    /// # Errors
    /// As [`WorkflowDefinition::of_workflow`].
    pub fn definition(&self) -> Result<WorkflowDefinition, DefinitionError> {
        WorkflowDefinition::of_workflow(self.definition.as_str())
    }

    /// The settings; empty when the source shows none.
    ///
    /// # Errors
    /// When they are no document.
    pub fn settings(&self) -> Result<Document, DocumentError> {
        let Some(settings) = &self.settings else {
            return Ok(Document::empty());
        };
        let value = serde_json::from_str(settings.as_str()).unwrap_or(Value::Null);
        Document::new("settings", value)
    }

    /// The tags.
    ///
    /// # Errors
    /// When one is refused or there are too many.
    pub fn tags(&self) -> Result<Tags, TagsError> {
        Tags::new(&self.tags)
    }

    /// Whether the workflow is active in its source.
    #[must_use]
    pub fn active(&self) -> bool {
        self.active
    }
}

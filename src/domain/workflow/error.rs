//! Broken rules about workflows.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::definition::DefinitionError;
use super::tags::TagsError;
use crate::domain::json::DocumentError;
use crate::domain::limits::LimitError;
use crate::domain::text::TextError;

/// Why a workflow was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkflowError {
    /// A name or a description.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The tags.
    #[error(transparent)]
    Tags(#[from] TagsError),
    /// The settings.
    #[error(transparent)]
    Settings(#[from] DocumentError),
    /// The definition.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// One more than the tenant's limit allows.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// No more versions can be counted.
    #[error("version: a workflow has at most {} versions", i32::MAX)]
    TooManyVersions,
    /// A change of a workflow that is in the archive.
    #[error("workflow is archived; take it out of the archive to change it")]
    Archived,
    /// A deletion of a workflow that others depend on.
    #[error("workflow cannot be deleted: it has {dependents}; archive it instead")]
    InUse {
        /// What depends on it.
        dependents: Dependents,
    },
}

/// What depends on a workflow, so that it cannot be deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Dependents {
    /// Its executions.
    pub executions: u64,
}

impl Dependents {
    /// What depends on a workflow with so many executions.
    #[must_use]
    pub fn new(executions: u64) -> Self {
        Self { executions }
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.executions == 0
    }
}

impl fmt::Display for Dependents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.executions == 1 { "" } else { "s" };
        write!(f, "{} execution{plural}", self.executions)
    }
}

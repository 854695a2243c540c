//! The versions of a workflow's definition.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::definition::WorkflowDefinition;
use super::entity::Workflow;
use crate::domain::ids::{UserId, WorkflowId};

/// One version of a workflow's definition. Versions are never changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkflowVersion {
    /// The workflow.
    pub workflow: WorkflowId,
    /// Its number, from 1.
    pub version: i32,
    /// The definition.
    pub definition: WorkflowDefinition,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who made it, if a person did.
    pub created_by: Option<UserId>,
}

/// One version of a workflow's definition, without the definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionSummary {
    /// Its number, from 1.
    pub version: i32,
    /// The SHA-256 of its definition, in lower-case hexadecimal digits.
    pub definition_sha256: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who made it, if a person did.
    pub created_by: Option<UserId>,
}

impl From<&WorkflowVersion> for VersionSummary {
    fn from(version: &WorkflowVersion) -> Self {
        Self {
            version: version.version,
            definition_sha256: version.definition.sha256().to_owned(),
            created_at: version.created_at,
            created_by: version.created_by,
        }
    }
}

/// A workflow with a new version of its definition. Both are to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Redefinition {
    /// The workflow as it is now.
    pub workflow: Workflow,
    /// Its new version.
    pub version: WorkflowVersion,
}

//! Workflows: their definitions, their versions, and the snapshots that reports bring.

mod change;
mod check;
mod definition;
mod entity;
mod error;
mod snapshot;
mod tags;
mod version;

pub use self::change::{NewWorkflow, WorkflowChange, WorkflowPatch};
pub use self::definition::{DefinitionError, Node, WorkflowDefinition, is_language_model};
pub use self::entity::{Workflow, search_key};
pub use self::error::{Dependents, WorkflowError};
pub use self::snapshot::WorkflowSnapshot;
pub use self::tags::{Tags, TagsError};
pub use self::version::{Redefinition, VersionSummary, WorkflowVersion};

#[cfg(test)]
mod tests;

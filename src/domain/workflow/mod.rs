//! Workflows: their definitions, their versions, and the snapshots that reports bring.

mod check;
mod definition;
mod entity;
mod snapshot;
mod tags;

pub use self::definition::{DefinitionError, Node, WorkflowDefinition, is_language_model};
pub use self::entity::{
    Dependents, NewWorkflow, Redefinition, VersionSummary, Workflow, WorkflowChange, WorkflowError,
    WorkflowPatch, WorkflowVersion, search_key,
};
pub use self::snapshot::WorkflowSnapshot;
pub use self::tags::{Tags, TagsError};

#[cfg(test)]
mod tests;

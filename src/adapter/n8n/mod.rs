//! Executions and workflows of n8n, in every form in which n8n gives them away.
//!
//! | form | where it comes from | function |
//! |---|---|---|
//! | one execution | `GET /api/v1/executions/{id}?includeData=true` | [`parse_line`] |
//! | lines of executions | a file of the above, one a line | [`parse_many`] |
//! | a page of executions | `GET /api/v1/executions?includeData=true` | [`parse_page`] |
//! | the arguments of a hook | `workflow.postExecute` of an external hook file | [`parse_hook`], [`parse_line`] |
//! | one workflow | `GET /api/v1/workflows/{id}` | [`parse_workflow`] |
//! | lines of workflows | a file of the above, one a line | [`parse_workflows`] |
//! | a page of workflows | `GET /api/v1/workflows` | [`parse_workflow_page`] |
//!
//! An execution is read in one pass, in which its payloads are checked and masked too; they stay
//! the text they were. Lone surrogates, `\u0000`, numbers of any length and nesting of up to
//! [`MAX_DEPTH`](crate::domain::payload::MAX_DEPTH) levels are welcome everywhere. What cannot be
//! read is refused with the name of the field; in a batch, only that item is.
//!
//! The shapes are those of n8n 1.123 (`packages/workflow/src/interfaces.ts`: `IRun`,
//! `IRunExecutionData`, `ITaskData`, `IWorkflowBase`; `packages/cli/src/execution-lifecycle` for
//! the hook). Not read: n8n's own database form, where `data` is text in the `flatted` format.
//!
//! ```
//! use tenantry::adapter::n8n;
//! use tenantry::domain::payload::PayloadPolicy;
//!
//! let line = r#"{"id": "7", "status": "success", "mode": "webhook", "workflowId": "wf",
//!     "startedAt": "2026-11-23T03:54:59.742Z", "stoppedAt": "2026-11-23T03:54:59.822Z",
//!     "data": {"resultData": {"runData": {"Hook": [{"source": [], "data":
//!         {"main": [[{"json": {"Authorization": "Bearer s3cret"}}]]}}]}}}}"#;
//! let report = n8n::parse_line(line, &PayloadPolicy::default())?;
//! let input = report.input().map(|input| input.as_str());
//! assert_eq!(input, Some(r#"[{"json": {"Authorization": "[redacted]"}}]"#));
//! # Ok::<(), n8n::N8nError>(())
//! ```

mod error;
mod execution;
mod run_data;
mod value;
mod workflow;

pub use self::error::N8nError;
pub use self::execution::{parse_hook, parse_line, parse_many, parse_page};
pub use self::workflow::{parse_workflow, parse_workflow_page, parse_workflows};

/// One item of a batch: where it stood, and what it is or why it was refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Item<T> {
    /// The position in the batch, counted from 0. Blank lines are no items.
    pub index: usize,
    /// What it is, or why it was refused.
    pub result: Result<T, N8nError>,
}

/// A page of n8n's public API.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The items, in order.
    pub items: Vec<Item<T>>,
    /// What to ask for next, if there is more.
    pub next_cursor: Option<String>,
}

#[cfg(test)]
mod tests;

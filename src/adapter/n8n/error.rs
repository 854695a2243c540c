//! Why something of n8n's was refused.

use crate::domain::payload::PayloadError;
use crate::domain::text::TextError;
use crate::domain::workflow::WorkflowError;

/// Why something of n8n's was refused. Fields are named as n8n names them:
/// `data.resultData.runData`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum N8nError {
    /// Not JSON, or nested too deep.
    #[error(transparent)]
    Json(#[from] PayloadError),
    /// A payload that no policy lets in.
    #[error("`{field}`: {error}")]
    Payload {
        /// The field.
        field: &'static str,
        /// What was wrong.
        error: PayloadError,
    },
    /// A field that must be there is not, or is null.
    #[error("`{field}` is missing")]
    Missing {
        /// The field.
        field: String,
    },
    /// A value of the wrong type.
    #[error("`{field}` must be {expected}")]
    Type {
        /// The field.
        field: String,
        /// What would be right.
        expected: &'static str,
    },
    /// An id that is empty, too long or has control characters.
    #[error("`{field}`: {error}")]
    Text {
        /// The field.
        field: String,
        /// What was wrong.
        error: TextError,
    },
    /// A time that is none.
    #[error("`{field}` is `{value}`, which is not a time like 2026-11-23T03:54:59.742Z")]
    Time {
        /// The field.
        field: String,
        /// The value, cut at 64 characters.
        value: String,
    },
    /// The run data is in the form in which n8n's database keeps it.
    #[error(
        "`data` is text in the form of n8n's database; it must be an object, as the public API \
         gives it with includeData=true"
    )]
    Flatted,
    /// A workflow that cannot be made one of ours.
    #[error(transparent)]
    Workflow(#[from] WorkflowError),
}

impl N8nError {
    /// Says in which field text was not JSON or too deep.
    pub(super) fn within(self, field: &'static str) -> Self {
        match self {
            Self::Json(error) => Self::Payload { field, error },
            other => other,
        }
    }
}

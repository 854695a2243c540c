//! What is kept beside an execution's row.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ExecutionReport;
use crate::domain::ids::{ErrorLogId, ExecutionId, derived, instant_of};
use crate::domain::payload::Payload;
use crate::domain::text::TextError;

/// The kinds of payload that an execution can have, one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PayloadKind {
    /// What it was given.
    Input,
    /// What it produced: all of the run's data, in n8n's case.
    Output,
    /// The error that ended it.
    Error,
}

impl PayloadKind {
    /// The name that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for PayloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PayloadKind {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        [Self::Input, Self::Output, Self::Error]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| TextError::form("payload kind", text, "input, output or error"))
    }
}

impl ExecutionReport {
    /// The payloads it brings, by kind.
    #[must_use]
    pub fn payloads(&self) -> Vec<(PayloadKind, Payload)> {
        [
            (PayloadKind::Input, self.input()),
            (PayloadKind::Output, self.output()),
            (PayloadKind::Error, self.error()),
        ]
        .into_iter()
        .filter_map(|(kind, payload)| Some((kind, payload?.clone())))
        .collect()
    }
}

/// The id of an entry of an execution's error log: in the month of its execution, so that both
/// are archived together.
#[must_use]
pub fn error_log_id(execution: ExecutionId, entry: usize) -> ErrorLogId {
    let instant = instant_of(execution.as_uuid()).unwrap_or_default();
    let entry = u64::try_from(entry).unwrap_or(u64::MAX);
    derived(
        instant,
        &[execution.as_uuid().as_bytes(), &entry.to_be_bytes()],
    )
}

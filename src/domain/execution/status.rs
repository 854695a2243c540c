//! States and modes of executions, in n8n's words.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A short word of a foreign system, kept for people to read: at most [`Label::MAX`] characters,
/// without control characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Label(Arc<str>);

impl Label {
    /// The most characters kept.
    pub const MAX: usize = 64;

    /// Keeps what fits; never refuses.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let kept: String = text
            .chars()
            .filter(|c| !c.is_control())
            .take(Self::MAX)
            .collect();
        Self(kept.trim().into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Label {
    fn from(text: String) -> Self {
        Self::of(&text)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0.as_ref().into()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The state of an execution.
///
/// The list is n8n's `ExecutionStatusList`, its ends are n8n's `TERMINAL_EXECUTION_STATUSES`
/// (`packages/workflow/src/execution-status.ts`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ExecutionStatus {
    /// The source does not know, or says a word that this crate does not know.
    Unknown,
    /// Accepted, not begun.
    New,
    /// Being worked on.
    Running,
    /// Put aside until an instant or an outer event. Not an end, although n8n gives it a stop time.
    Waiting,
    /// Ended well.
    Success,
    /// Ended by a failure.
    Error,
    /// Ended by a person or a time limit.
    Canceled,
    /// Ended because the process that worked on it did.
    Crashed,
}

impl ExecutionStatus {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Unknown,
        Self::New,
        Self::Running,
        Self::Waiting,
        Self::Success,
        Self::Error,
        Self::Canceled,
        Self::Crashed,
    ];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::New => "new",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Success => "success",
            Self::Error => "error",
            Self::Canceled => "canceled",
            Self::Crashed => "crashed",
        }
    }

    /// Whether an execution ends here.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Success | Self::Error | Self::Canceled | Self::Crashed
        )
    }

    /// Whether it ended otherwise than well.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Error | Self::Canceled | Self::Crashed)
    }
}

impl fmt::Display for ExecutionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no state of an execution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("status `{text}` is none of {}", names())]
pub struct StatusError {
    text: Label,
}

fn names() -> String {
    ExecutionStatus::ALL.map(ExecutionStatus::as_str).join(", ")
}

impl FromStr for ExecutionStatus {
    type Err = StatusError;

    fn from_str(text: &str) -> Result<Self, StatusError> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| StatusError {
                text: Label::of(text),
            })
    }
}

/// How an execution was started.
///
/// The list is n8n's `WorkflowExecuteModeList` (`packages/workflow/src/execution-context.ts`).
/// A word that is not in it is kept as [`Other`](Self::Other), so that a newer n8n loses nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[non_exhaustive]
pub enum ExecutionMode {
    /// By an HTTP request from outside.
    Webhook,
    /// By a schedule, a poll or a message.
    Trigger,
    /// By a person in the editor.
    Manual,
    /// Again, after a failure.
    Retry,
    /// By another workflow.
    Integrated,
    /// As the error workflow of another.
    Error,
    /// From the command line.
    Cli,
    /// By n8n for its own ends.
    Internal,
    /// As a test case of an evaluation.
    Evaluation,
    /// By a message in a chat.
    Chat,
    /// By an agent.
    Agent,
    /// Some other way, in the source's own word.
    Other(Label),
}

impl ExecutionMode {
    /// The stable name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Webhook => "webhook",
            Self::Trigger => "trigger",
            Self::Manual => "manual",
            Self::Retry => "retry",
            Self::Integrated => "integrated",
            Self::Error => "error",
            Self::Cli => "cli",
            Self::Internal => "internal",
            Self::Evaluation => "evaluation",
            Self::Chat => "chat",
            Self::Agent => "agent",
            Self::Other(label) => label.as_str(),
        }
    }
}

impl From<&str> for ExecutionMode {
    fn from(text: &str) -> Self {
        match text {
            "webhook" => Self::Webhook,
            "trigger" => Self::Trigger,
            "manual" => Self::Manual,
            "retry" => Self::Retry,
            "integrated" => Self::Integrated,
            "error" => Self::Error,
            "cli" => Self::Cli,
            "internal" => Self::Internal,
            "evaluation" => Self::Evaluation,
            "chat" => Self::Chat,
            "agent" => Self::Agent,
            other => Self::Other(Label::of(other)),
        }
    }
}

impl From<String> for ExecutionMode {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<ExecutionMode> for String {
    fn from(mode: ExecutionMode) -> Self {
        mode.as_str().to_owned()
    }
}

impl fmt::Display for ExecutionMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_as_they_are_written() {
        for status in ExecutionStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            let json = serde_json::to_string(&status).unwrap();
            assert_eq!(json, format!("\"{status}\""));
        }
        assert_eq!(
            "paused\n"
                .parse::<ExecutionStatus>()
                .unwrap_err()
                .to_string(),
            "status `paused` is none of unknown, new, running, waiting, success, error, canceled, \
             crashed"
        );
    }

    #[test]
    fn four_statuses_are_ends() {
        let ends = ExecutionStatus::ALL.map(|status| (status.as_str(), status.is_terminal()));
        assert_eq!(
            ends.into_iter()
                .filter_map(|(name, end)| end.then_some(name))
                .collect::<Vec<_>>(),
            ["success", "error", "canceled", "crashed"]
        );
    }

    #[test]
    fn an_unseen_mode_is_kept_within_bounds() {
        let mode = ExecutionMode::from("swarm\u{0}");
        assert_eq!(mode, ExecutionMode::Other(Label::of("swarm")));
        assert_eq!(mode.as_str(), "swarm");
        assert_eq!(
            ExecutionMode::from("m".repeat(999)).as_str().len(),
            Label::MAX
        );
        let known = ExecutionMode::from("webhook");
        assert_eq!(known, ExecutionMode::Webhook);
        let json = serde_json::to_string(&known).unwrap();
        assert_eq!(serde_json::from_str::<ExecutionMode>(&json).unwrap(), known);
    }
}

//! What went wrong in an execution, one entry per failure.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::payload::Excerpt;
use crate::domain::time::micros;

/// One failure of an execution, in text that any column and any terminal takes.
///
/// Texts are cleaned: U+0000 is left out, lone surrogates become U+FFFD, what is too long is cut.
/// The untouched original is in the execution's error payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorEntry {
    /// The node that failed, if one did; at most [`MAX_NAME`](Self::MAX_NAME) characters.
    pub node: Option<String>,
    /// The kind of error, as `NodeApiError`; at most [`MAX_NAME`](Self::MAX_NAME) characters.
    pub kind: Option<String>,
    /// What went wrong; at most [`MAX_TEXT`](Self::MAX_TEXT) characters.
    pub message: String,
    /// What the node added to it; at most [`MAX_TEXT`](Self::MAX_TEXT) characters.
    pub description: Option<String>,
    /// Where in the program; at most [`MAX_STACK`](Self::MAX_STACK) characters.
    pub stack: Option<String>,
    /// When.
    pub occurred_at: DateTime<Utc>,
    /// Whether one of the texts says less than its original.
    pub cleaned: bool,
}

impl ErrorEntry {
    /// The most characters of a node's or an error's name.
    pub const MAX_NAME: usize = 255;
    /// The most characters of a message and of a description.
    pub const MAX_TEXT: usize = 4_000;
    /// The most characters of a stack trace.
    pub const MAX_STACK: usize = 16_000;

    /// A failure with its message.
    #[must_use]
    pub fn new(message: &str, occurred_at: DateTime<Utc>) -> Self {
        Self::of(Excerpt::of_text(message, Self::MAX_TEXT), occurred_at)
    }

    pub(crate) fn of(message: Excerpt, occurred_at: DateTime<Utc>) -> Self {
        Self {
            node: None,
            kind: None,
            message: message.text,
            description: None,
            stack: None,
            occurred_at: micros(occurred_at),
            cleaned: message.cleaned,
        }
    }

    /// The same entry with the node that failed.
    #[must_use]
    pub fn with_node(self, node: &str) -> Self {
        self.with(Excerpt::of_text(node, Self::MAX_NAME), |entry| {
            &mut entry.node
        })
    }

    /// The same entry with the kind of error.
    #[must_use]
    pub fn with_kind(self, kind: &str) -> Self {
        self.with(Excerpt::of_text(kind, Self::MAX_NAME), |entry| {
            &mut entry.kind
        })
    }

    /// The same entry with what the node added.
    #[must_use]
    pub fn with_description(self, description: &str) -> Self {
        self.with(Excerpt::of_text(description, Self::MAX_TEXT), |entry| {
            &mut entry.description
        })
    }

    /// The same entry with the stack trace.
    #[must_use]
    pub fn with_stack(self, stack: &str) -> Self {
        self.with(Excerpt::of_text(stack, Self::MAX_STACK), |entry| {
            &mut entry.stack
        })
    }

    pub(crate) fn with(
        mut self,
        excerpt: Excerpt,
        field: impl FnOnce(&mut Self) -> &mut Option<String>,
    ) -> Self {
        self.cleaned |= excerpt.cleaned;
        *field(&mut self) = Some(excerpt.text);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_says_when_a_text_was_cleaned() {
        let entry = ErrorEntry::new("broken", DateTime::UNIX_EPOCH).with_node("Stop");
        assert!(!entry.cleaned);
        let entry = entry.with_stack("at a\0b");
        assert!(entry.cleaned);
        assert_eq!(entry.stack.as_deref(), Some("at ab"));
        assert_eq!(entry.node.as_deref(), Some("Stop"));
        let long = ErrorEntry::new(&"x".repeat(5_000), DateTime::UNIX_EPOCH);
        assert_eq!(long.message.len(), ErrorEntry::MAX_TEXT);
        assert!(long.cleaned);
    }
}

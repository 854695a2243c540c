//! Payloads of executions: JSON text, kept as it came apart from what a policy masks.
//!
//! Node outputs hold what no JSON type of a database or a language takes without loss: `\u0000`,
//! lone surrogates, numbers over 2^53, numbers of 400 digits. So they are never parsed into values:
//! [`Payload`] holds the text. The cleaned [`Excerpt`] is what goes into columns for search.

mod decode;
mod lex;
mod redact;
pub(crate) mod scan;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

pub use self::decode::Excerpt;
pub(crate) use self::decode::decode;
pub(crate) use self::redact::redact;
use self::scan::Scanner;
use super::redaction::Redaction;

/// The deepest nesting a payload may have. PostgreSQL's `json` gives up at about 20 times as many
/// levels, and would take the whole batch with it.
pub const MAX_DEPTH: usize = 1_000;
/// The most bytes a payload may have unless the policy says otherwise.
pub const DEFAULT_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Why a text was refused as a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// Not JSON.
    #[error("not JSON: expected {expected} at byte {at}")]
    Syntax {
        /// The byte at which it was noticed, counted from 0.
        at: usize,
        /// What would be right there.
        expected: &'static str,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels at byte {at}")]
    TooDeep {
        /// The byte at which the first level too many begins, counted from 0.
        at: usize,
    },
    /// Larger than the policy allows.
    #[error("the payload has {actual} bytes; at most {max} are allowed")]
    TooLarge {
        /// The bytes given.
        actual: usize,
        /// The most bytes allowed.
        max: usize,
    },
}

/// What a host lets into its payloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadPolicy {
    /// The keys whose values are masked.
    pub redaction: Redaction,
    /// The most bytes of one payload, before masking.
    pub max_bytes: usize,
}

impl PayloadPolicy {
    pub(crate) fn check_size(&self, actual: usize) -> Result<(), PayloadError> {
        let max = self.max_bytes;
        if actual > max {
            return Err(PayloadError::TooLarge { actual, max });
        }
        Ok(())
    }
}

impl Default for PayloadPolicy {
    fn default() -> Self {
        Self {
            redaction: Redaction::default(),
            max_bytes: DEFAULT_MAX_BYTES,
        }
    }
}

/// JSON text that passed through a [`Redaction`], and so may be stored.
///
/// No constructor goes round the policy. What the policy does not mask is kept byte for byte,
/// white space included. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    stored: StoredPayload,
    masked: usize,
}

impl Payload {
    /// Checks the text and masks what the policy names.
    ///
    /// # Errors
    /// When the text is too large, is not JSON, or is nested deeper than [`MAX_DEPTH`].
    pub fn new(text: &str, policy: &PayloadPolicy) -> Result<Self, PayloadError> {
        policy.check_size(text.len())?;
        let mut scanner = Scanner::redacting(text, &policy.redaction);
        scanner.skip()?;
        scanner.end()?;
        Ok(redact(text, 0..text.len(), scanner.masks()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.stored.as_str()
    }

    /// How many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.stored.bytes()
    }

    /// How many values were masked in it.
    #[must_use]
    pub fn masked(&self) -> usize {
        self.masked
    }

    /// What is fit for a column of text: at most `max` characters, cleaned.
    #[must_use]
    pub fn excerpt(&self, max: usize) -> Excerpt {
        self.stored.excerpt(max)
    }

    /// The payload as a store gives it back.
    #[must_use]
    pub fn stored(&self) -> StoredPayload {
        self.stored.clone()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("bytes", &self.bytes())
            .field("masked", &self.masked)
            .finish_non_exhaustive()
    }
}

/// Written as the JSON it is, not as a string. Needs serde_json's serializer.
impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.stored.serialize(serializer)
    }
}

/// A payload as a store gives it back.
///
/// Another type than [`Payload`], so that text which did not pass through a policy cannot be
/// written. Cheap to clone.
#[derive(Clone)]
pub struct StoredPayload {
    text: Arc<str>,
    range: Range<usize>,
}

impl StoredPayload {
    /// Text that a store holds.
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        Self {
            range: 0..text.len(),
            text,
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text.get(self.range.clone()).unwrap_or_default()
    }

    /// How many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.range.len()
    }

    /// What is fit for a column of text: at most `max` characters, cleaned.
    #[must_use]
    pub fn excerpt(&self, max: usize) -> Excerpt {
        Excerpt::of_json(self.as_str(), max)
    }
}

impl PartialEq for StoredPayload {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for StoredPayload {}

impl fmt::Debug for StoredPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredPayload")
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// Written as the JSON it is, not as a string. Needs serde_json's serializer.
impl Serialize for StoredPayload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(self.as_str())
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

#[cfg(test)]
mod tests;

//! Payloads of executions: JSON text, kept as it came apart from what a policy masks.
//!
//! Node outputs hold what no JSON type of a database or a language takes without loss: `\u0000`,
//! lone surrogates, numbers over 2^53, numbers of 400 digits. So they are never parsed into values:
//! [`Payload`] holds the text. The cleaned [`Excerpt`] is what goes into columns for search.

mod decode;
pub(crate) mod scan;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

pub use self::decode::Excerpt;
pub(crate) use self::decode::decode;
use self::scan::Scanner;
use super::redaction::{MASK, Redaction};

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
#[derive(Clone)]
pub struct Payload {
    text: Arc<str>,
    range: Range<usize>,
    masked: usize,
}

impl Payload {
    /// Checks the text and masks what the policy names.
    ///
    /// # Errors
    /// When the text is too large, is not JSON, or is nested deeper than [`MAX_DEPTH`].
    pub fn new(text: &str, policy: &PayloadPolicy) -> Result<Self, PayloadError> {
        if text.len() > policy.max_bytes {
            return Err(PayloadError::TooLarge {
                actual: text.len(),
                max: policy.max_bytes,
            });
        }
        let mut scanner = Scanner::redacting(text, &policy.redaction);
        scanner.skip()?;
        scanner.end()?;
        Ok(Redacted::new(text, 0..text.len(), scanner.masks()).whole())
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

    /// How many values were masked in it.
    #[must_use]
    pub fn masked(&self) -> usize {
        self.masked
    }

    /// What is fit for a column of text: at most `max` characters, cleaned.
    #[must_use]
    pub fn excerpt(&self, max: usize) -> Excerpt {
        Excerpt::of_json(self.as_str(), max)
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Payload {}

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
        raw(self.as_str(), serializer)
    }
}

/// A payload as a store gives it back.
///
/// Another type than [`Payload`], so that text which did not pass through a policy cannot be
/// written. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPayload(Arc<str>);

impl StoredPayload {
    /// Text that a store holds.
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// What is fit for a column of text: at most `max` characters, cleaned.
    #[must_use]
    pub fn excerpt(&self, max: usize) -> Excerpt {
        Excerpt::of_json(&self.0, max)
    }
}

impl From<&Payload> for StoredPayload {
    fn from(payload: &Payload) -> Self {
        if payload.range == (0..payload.text.len()) {
            Self(Arc::clone(&payload.text))
        } else {
            Self(payload.as_str().into())
        }
    }
}

/// Written as the JSON it is, not as a string. Needs serde_json's serializer.
impl Serialize for StoredPayload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw(&self.0, serializer)
    }
}

fn raw<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serde_json::from_str::<&RawValue>(text)
        .map_err(serde::ser::Error::custom)?
        .serialize(serializer)
}

/// A stretch of text that a [`Scanner`] has passed over, with its masks put in place.
///
/// Payloads cut from it share its memory.
#[derive(Debug)]
pub(crate) struct Redacted<'m> {
    text: Arc<str>,
    source: Range<usize>,
    masks: &'m [Range<usize>],
}

impl<'m> Redacted<'m> {
    /// `masks` are in order, and either inside `source` or outside of it.
    pub(crate) fn new(text: &str, source: Range<usize>, masks: &'m [Range<usize>]) -> Self {
        let from = masks.partition_point(|mask| mask.start < source.start);
        let to = masks.partition_point(|mask| mask.start < source.end);
        let masks = masks.get(from..to).unwrap_or_default();
        let piece = |range: Range<usize>| text.get(range).unwrap_or_default();
        if masks.is_empty() {
            return Self {
                text: Arc::from(piece(source.clone())),
                source,
                masks,
            };
        }
        let mut copy = String::with_capacity(source.len() + masks.len() * MASK.len());
        let mut at = source.start;
        for mask in masks {
            copy.push_str(piece(at..mask.start));
            copy.push_str(MASK);
            at = mask.end;
        }
        copy.push_str(piece(at..source.end));
        Self {
            text: copy.into(),
            source,
            masks,
        }
    }

    /// All of it.
    pub(crate) fn whole(&self) -> Payload {
        Payload {
            text: Arc::clone(&self.text),
            range: 0..self.text.len(),
            masked: self.masks.len(),
        }
    }

    /// The part that stood at this place of the source text.
    pub(crate) fn part(&self, place: Range<usize>) -> Payload {
        let range = self.moved(place.start)..self.moved(place.end);
        let inside = |mask: &&Range<usize>| place.start <= mask.start && mask.end <= place.end;
        Payload {
            text: Arc::clone(&self.text),
            range,
            masked: self.masks.iter().filter(inside).count(),
        }
    }

    fn moved(&self, at: usize) -> usize {
        let before = self.masks.iter().take_while(|mask| mask.end <= at);
        before.fold(at - self.source.start, |at, mask| {
            at - mask.len() + MASK.len()
        })
    }
}

//! The tags of a workflow.

use serde::{Deserialize, Serialize};

use crate::domain::text::{self, TextError};

/// Why a list of tags was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TagsError {
    /// A tag is empty, too long or has a control character.
    #[error(transparent)]
    Text(#[from] TextError),
    /// More tags than [`Tags::MAX`].
    #[error("tags has {actual} entries; at most {max} are allowed", max = Tags::MAX)]
    TooMany {
        /// The tags given, each counted once.
        actual: usize,
    },
}

/// Tags: trimmed, each once, in the order given; at most [`Tags::MAX`] of at most
/// [`Tags::MAX_TAG`] characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Tags(Vec<String>);

impl Tags {
    /// The most tags of one workflow.
    pub const MAX: usize = 50;
    /// The most characters of one tag.
    pub const MAX_TAG: usize = 100;

    /// Checks and trims the tags; leaves out repetitions.
    ///
    /// # Errors
    /// When a tag is empty, too long or has a control character, or there are too many.
    pub fn new<T: AsRef<str>>(tags: impl IntoIterator<Item = T>) -> Result<Self, TagsError> {
        let mut kept: Vec<String> = Vec::new();
        for tag in tags {
            let tag = text::line("tag", tag.as_ref(), Self::MAX_TAG)?;
            if !kept.contains(&tag) {
                kept.push(tag);
            }
        }
        if kept.len() > Self::MAX {
            return Err(TagsError::TooMany { actual: kept.len() });
        }
        Ok(Self(kept))
    }

    /// The tags.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl TryFrom<Vec<String>> for Tags {
    type Error = TagsError;

    fn try_from(tags: Vec<String>) -> Result<Self, TagsError> {
        Self::new(tags)
    }
}

impl From<Tags> for Vec<String> {
    fn from(tags: Tags) -> Self {
        tags.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_trimmed_and_counted_once() {
        let tags = Tags::new([" a ", "b", "a"]).unwrap();
        assert_eq!(tags.as_slice(), ["a", "b"]);
        assert_eq!(
            Tags::new(["a", ""]).unwrap_err().to_string(),
            "tag must not be empty"
        );
        let many = (0..=Tags::MAX).map(|n| n.to_string());
        assert_eq!(
            Tags::new(many).unwrap_err().to_string(),
            "tags has 51 entries; at most 50 are allowed"
        );
    }
}

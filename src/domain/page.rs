//! Pages of a list, continued by a key and never by an offset.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A cursor that no page of this list gave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cursor is not one that this list gave; start again without it")]
pub struct CursorError;

/// Where a page ended: opaque to callers, to be handed back unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// A cursor handed back by a caller.
    #[must_use]
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text to hand to a caller.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The cursor after a row with this sort key.
    #[must_use]
    pub fn after<K: Serialize>(key: &K) -> Self {
        let json = serde_json::to_vec(key).unwrap_or_default();
        Self(json.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The sort key inside.
    ///
    /// # Errors
    /// When the text was not made by [`Cursor::after`] for a key of this type.
    pub fn key<K: DeserializeOwned>(&self) -> Result<K, CursorError> {
        let bytes = self
            .0
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect::<Option<Vec<_>>>()
            .ok_or(CursorError)?;
        serde_json::from_slice(&bytes).map_err(|_| CursorError)
    }
}

/// Which page of a list: how many rows, and after which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    limit: u16,
    after: Option<Cursor>,
}

impl PageRequest {
    /// The most rows of one page.
    pub const MAX: u16 = 500;

    /// The first `limit` rows; the limit is kept between 1 and [`PageRequest::MAX`].
    #[must_use]
    pub fn first(limit: u16) -> Self {
        Self {
            limit: limit.clamp(1, Self::MAX),
            after: None,
        }
    }

    /// The same number of rows after the cursor.
    #[must_use]
    pub fn after(self, cursor: Cursor) -> Self {
        Self {
            after: Some(cursor),
            ..self
        }
    }

    /// How many rows at the most.
    #[must_use]
    pub fn limit(&self) -> usize {
        usize::from(self.limit)
    }

    /// The sort key after which the page begins.
    ///
    /// # Errors
    /// When the cursor is not one that this list gave.
    pub fn key<K: DeserializeOwned>(&self) -> Result<Option<K>, CursorError> {
        self.after.as_ref().map(Cursor::key).transpose()
    }
}

impl Default for PageRequest {
    fn default() -> Self {
        Self::first(50)
    }
}

/// One page of a list, and where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    /// The rows, in the list's order.
    pub items: Vec<T>,
    /// The cursor of the next page; `None` on the last one.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// Makes a page of rows that were fetched with one row more than the limit, to see whether
    /// there is another page.
    #[must_use]
    pub fn of<K: Serialize>(mut rows: Vec<T>, limit: usize, key: impl Fn(&T) -> K) -> Self {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows
            .last()
            .filter(|_| more)
            .map(|row| Cursor::after(&key(row)));
        Self { items: rows, next }
    }

    /// The same page of other rows.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(convert).collect(),
            next: self.next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_knows_whether_there_is_another() {
        let page = Page::of(vec![1, 2, 3], 2, |n| *n);
        assert_eq!(page.items, [1, 2]);
        let next = PageRequest::first(2).after(page.next.unwrap());
        assert_eq!(next.key::<i32>(), Ok(Some(2)));
        assert_eq!(Page::of(vec![3], 2, |n| *n).next, None);
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        assert_eq!(Cursor::after(&"x").key::<i32>(), Err(CursorError));
        assert_eq!(Cursor::from_text("zz").key::<i32>(), Err(CursorError));
        assert_eq!(Cursor::from_text("é1").key::<i32>(), Err(CursorError));
    }
}

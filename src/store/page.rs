//! Where a page of a list begins and ends.

use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{StoreError, StoreErrorKind, StoreResult};
use crate::domain::ids::{after, floor};
use crate::domain::page::PageRequest;
use crate::domain::time::Period;

/// The sort key after which the page begins.
///
/// # Errors
/// `Invalid` for a cursor of another list.
pub fn page_key<K: DeserializeOwned>(
    operation: &'static str,
    page: &PageRequest,
) -> StoreResult<Option<K>> {
    page.key()
        .map_err(|error| StoreError::new(StoreErrorKind::Invalid, operation).with_source(error))
}

/// The ids of rows that are about a period, or about any instant, and come before the row at which
/// the page begins: the first included, the last not.
///
/// Ids carry milliseconds: the rows at the edges of the period are still to be looked at.
#[must_use]
pub fn id_range(period: Option<Period>, before: Option<Uuid>) -> (Uuid, Uuid) {
    let (first, end) = match period {
        Some(period) => (floor(period.start()), after(period.end())),
        None => (Uuid::nil(), Uuid::max()),
    };
    let end = before.map_or(end, |before| end.min(before));
    (first, end.max(first))
}

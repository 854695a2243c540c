//! Where a page of a list begins.

use serde::de::DeserializeOwned;

use super::{StoreError, StoreErrorKind, StoreResult};
use crate::domain::page::PageRequest;

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

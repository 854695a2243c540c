//! The registry of sources.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::ids::SourceId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::source::Source;
use crate::domain::text::Name;

/// The unit's own tenant's sources.
#[async_trait]
pub trait SourceRepo: Send {
    /// Registers a source.
    ///
    /// # Errors
    /// `AlreadyExists` for an id or a name that is taken; `NotFound` if the tenant does not exist.
    async fn insert(&mut self, source: &Source) -> StoreResult<()>;

    /// A source by its id.
    async fn get(&mut self, id: SourceId) -> StoreResult<Option<Source>>;

    /// The source of this very name: case counts.
    async fn find_by_name(&mut self, name: &Name) -> StoreResult<Option<Source>>;

    /// The sources in the order of their names, by code point.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    async fn page(&mut self, page: &PageRequest) -> StoreResult<Page<Source>>;

    /// Writes name and secret and answers the source with its next revision.
    ///
    /// # Errors
    /// `Conflict` unless the stored revision is the given one; `AlreadyExists` for a name that is
    /// taken.
    async fn update(&mut self, source: &Source) -> StoreResult<Source>;
}

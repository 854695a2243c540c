//! Analytics events: appended in batches, read in pages.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::analytics::{AnalyticsEvent, EventType};
use crate::domain::ids::UserId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::time::Period;

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only this kind.
    pub event_type: Option<EventType>,
    /// Only what this user did.
    pub user: Option<UserId>,
    /// Only what happened in this period.
    pub period: Option<Period>,
}

/// The unit's own tenant's events; in a unit across tenants, the events that belong to none.
#[async_trait]
pub trait EventRepo: Send {
    /// Appends the events that are not there yet, by their ids, and answers how many were new.
    /// An event that is there already stays as it is. One statement, however many events.
    ///
    /// # Errors
    /// `OutsideWindow` when the months have no place for one of them; `NotFound` for a tenant or a
    /// user that does not exist.
    async fn append(&mut self, events: &[AnalyticsEvent]) -> StoreResult<u64>;

    /// The events, newest first.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    async fn page(
        &mut self,
        filter: &EventFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<AnalyticsEvent>>;

    /// Removes session, address and user agent from all events of a user, for their erasure, and
    /// answers how many events had any. The events and the user's id stay.
    async fn erase_person(&mut self, user: UserId) -> StoreResult<u64>;
}

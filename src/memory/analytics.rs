//! Analytics events in memory.

use std::sync::Arc;

use async_trait::async_trait;
use imbl::{OrdMap, OrdSet};
use uuid::Uuid;

use super::platform::MemoryPlatform;
use super::unit::MemoryTx;
use crate::domain::analytics::AnalyticsEvent;
use crate::domain::ids::{EventId, UserId};
use crate::domain::page::{Page, PageRequest};
use crate::store::{
    EventFilter, EventRepo, StoreError, StoreErrorKind, StoreResult, id_range, page_key,
};

const APPEND: &str = "events.append";
const PAGE: &str = "events.page";
const ERASE: &str = "events.erase_person";

/// One tenant's events, or those of no tenant.
#[derive(Debug, Clone, Default)]
pub(super) struct EventTable {
    rows: OrdMap<EventId, Arc<AnalyticsEvent>>,
    by_user: OrdSet<(UserId, EventId)>,
}

impl EventTable {
    /// Appends what is new; what names a user must name one that is known.
    fn append(
        &mut self,
        events: &[Arc<AnalyticsEvent>],
        known: impl Fn(UserId) -> bool,
    ) -> StoreResult<u64> {
        let mut new = 0;
        for event in events {
            if self.rows.contains_key(&event.id()) {
                continue;
            }
            if let Some(user) = event.user() {
                if !known(user) {
                    return Err(StoreError::new(StoreErrorKind::NotFound, APPEND)
                        .with_detail("events_of_user"));
                }
                self.by_user.insert((user, event.id()));
            }
            self.rows.insert(event.id(), Arc::clone(event));
            new += 1;
        }
        Ok(new)
    }

    fn page(
        &self,
        filter: &EventFilter,
        before: Option<EventId>,
        limit: usize,
    ) -> Page<AnalyticsEvent> {
        let (first, end) = id_range(filter.period, before.map(EventId::as_uuid));
        let rows = self
            .rows
            .range(EventId::from(first)..end.into())
            .rev()
            .map(|(_, event)| event)
            .filter(|event| matches(filter, event))
            .take(limit + 1)
            .map(|event| AnalyticsEvent::clone(event))
            .collect();
        Page::of(rows, limit, AnalyticsEvent::id)
    }

    fn erase(&mut self, user: UserId) -> u64 {
        let (first, last) = (Uuid::nil().into(), Uuid::max().into());
        let mut erased = 0;
        for (_, id) in self.by_user.range((user, first)..=(user, last)) {
            let Some(event) = self.rows.get(id) else {
                continue;
            };
            let without = AnalyticsEvent::clone(event).without_origin();
            if without.origin() != event.origin() {
                self.rows.insert(*id, Arc::new(without));
                erased += 1;
            }
        }
        erased
    }
}

fn matches(filter: &EventFilter, event: &AnalyticsEvent) -> bool {
    filter
        .event_type
        .as_ref()
        .is_none_or(|kind| kind == event.event_type())
        && filter.user.is_none_or(|user| event.user() == Some(user))
        && filter
            .period
            .is_none_or(|period| period.contains(event.occurred_at()))
}

fn shared(events: &[AnalyticsEvent]) -> Vec<Arc<AnalyticsEvent>> {
    events.iter().cloned().map(Arc::new).collect()
}

#[async_trait]
impl EventRepo for MemoryTx {
    async fn append(&mut self, events: &[AnalyticsEvent]) -> StoreResult<u64> {
        if events.is_empty() {
            return self.read(APPEND).map(|_| 0);
        }
        self.must_be_kept(
            APPEND,
            "events",
            events.iter().map(AnalyticsEvent::occurred_at),
        )?;
        let events = shared(events);
        self.write(APPEND, move |shard| {
            let users = &shard.users;
            shard
                .events
                .append(&events, |user| users.get(user).is_some())
        })
    }

    async fn page(
        &mut self,
        filter: &EventFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<AnalyticsEvent>> {
        let before = self.check(page_key(PAGE, page))?;
        Ok(self.read(PAGE)?.events.page(filter, before, page.limit()))
    }

    async fn erase_person(&mut self, user: UserId) -> StoreResult<u64> {
        self.write(ERASE, move |shard| Ok(shard.events.erase(user)))
    }
}

#[async_trait]
impl EventRepo for MemoryPlatform {
    async fn append(&mut self, events: &[AnalyticsEvent]) -> StoreResult<u64> {
        self.must_be_kept(
            APPEND,
            "platform_events",
            events.iter().map(AnalyticsEvent::occurred_at),
        )?;
        let events = shared(events);
        self.write(APPEND, move |state| state.events.append(&events, |_| true))
    }

    async fn page(
        &mut self,
        filter: &EventFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<AnalyticsEvent>> {
        let before = self.check(page_key(PAGE, page))?;
        Ok(self.read(PAGE)?.events.page(filter, before, page.limit()))
    }

    async fn erase_person(&mut self, user: UserId) -> StoreResult<u64> {
        self.write(ERASE, move |state| Ok(state.events.erase(user)))
    }
}

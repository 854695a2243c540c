//! Analytics: events are recorded and listed.

use std::sync::Arc;

use super::access::authorize;
use crate::domain::access::Permission;
use crate::domain::analytics::{AnalyticsEvent, NewEvent};
use crate::domain::context::{Context, PlatformContext};
use crate::domain::ids::{EventId, IdGenerator};
use crate::domain::page::{Page, PageRequest};
use crate::error::{Error, Result};
use crate::store::{EventFilter, PlatformUnit, Store, Tx, Window, on_conflict};

/// Records and lists analytics events.
#[derive(Debug, Clone)]
pub struct Analytics {
    store: Arc<dyn Store>,
}

impl Analytics {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Records events and answers how many were new: one that has a key and is there already
    /// stays as it is.
    ///
    /// # Errors
    /// `Invalid` for an event outside the months that are kept, with the window; `NotFound` for a
    /// user that does not exist.
    pub async fn record(&self, ctx: &Context, events: &[NewEvent]) -> Result<u64> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let new = self.record_in(&mut *unit, events).await?;
            unit.commit().await?;
            Ok(new)
        })
        .await
    }

    /// Records events in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Analytics::record`].
    pub async fn record_in(&self, tx: &mut dyn Tx, events: &[NewEvent]) -> Result<u64> {
        authorize(tx, Permission::AnalyticsRecord).await?;
        let window = tx.window().await?;
        let events = prepare(&window, tx.ids(), events)?;
        Ok(tx.events().append(&events).await?)
    }

    /// The tenant's events, newest first.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    pub async fn list(
        &self,
        ctx: &Context,
        filter: &EventFilter,
        page: &PageRequest,
    ) -> Result<Page<AnalyticsEvent>> {
        page.key::<EventId>()?;
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::AnalyticsRead).await?;
        Ok(unit.events().page(filter, page).await?)
    }

    /// Records events that belong to no tenant, and answers how many were new.
    ///
    /// # Errors
    /// `Invalid` for an event outside the months that are kept, with the window.
    pub async fn record_platform(&self, ctx: &PlatformContext, events: &[NewEvent]) -> Result<u64> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin_platform(ctx).await?;
            let new = self.record_platform_in(&mut *unit, events).await?;
            unit.commit().await?;
            Ok(new)
        })
        .await
    }

    /// Records events that belong to no tenant, in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Analytics::record_platform`].
    pub async fn record_platform_in(
        &self,
        unit: &mut dyn PlatformUnit,
        events: &[NewEvent],
    ) -> Result<u64> {
        let window = Window::new(unit.months().months().await?, unit.now());
        let events = prepare(&window, unit.ids(), events)?;
        Ok(unit.events().append(&events).await?)
    }

    /// The events that belong to no tenant, newest first.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    pub async fn list_platform(
        &self,
        ctx: &PlatformContext,
        filter: &EventFilter,
        page: &PageRequest,
    ) -> Result<Page<AnalyticsEvent>> {
        page.key::<EventId>()?;
        let mut unit = self.store.begin_platform(ctx).await?;
        Ok(unit.events().page(filter, page).await?)
    }
}

fn prepare(
    window: &Window,
    ids: &mut IdGenerator,
    events: &[NewEvent],
) -> Result<Vec<AnalyticsEvent>> {
    events
        .iter()
        .map(|event| {
            if window.holds(event.occurred_at) {
                Ok(event.clone().into_event(ids))
            } else {
                Err(Error::outside(window, "event", event.occurred_at))
            }
        })
        .collect()
}

//! The outbox: messages of the host's own, what was published, and the operator's part.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::access::authorize;
use crate::domain::access::Permission;
use crate::domain::context::{Context, PlatformContext};
use crate::domain::outbox::{Lag, MessageKey, OutboxMessage, ParkedStream, PastMessage, StreamId};
use crate::domain::page::{Page, PageRequest};
use crate::error::{Error, Result};
use crate::store::{Store, Tx, on_conflict};

/// How many messages one unit of work removes.
pub(super) const PRUNED_AT_ONCE: usize = 2_000;

/// Writes and reads messages, and looks after those that could not be published.
#[derive(Debug, Clone)]
pub struct Outbox {
    store: Arc<dyn Store>,
}

impl Outbox {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Writes messages of the host's own, to be published in this order.
    ///
    /// # Errors
    /// `NotFound` when the tenant does not exist; `Forbidden`.
    pub async fn send(&self, ctx: &Context, messages: &[OutboxMessage]) -> Result<()> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            self.send_in(&mut *unit, messages).await?;
            Ok(unit.commit().await?)
        })
        .await
    }

    /// Writes messages in a unit that the caller commits: after the change that they tell of, so
    /// that they are published in the order of such changes.
    ///
    /// # Errors
    /// As [`Outbox::send`].
    pub async fn send_in(&self, tx: &mut dyn Tx, messages: &[OutboxMessage]) -> Result<()> {
        authorize(tx, Permission::MessagesSend).await?;
        Ok(tx.outbox().enqueue(messages).await?)
    }

    /// The messages of a key that were published or skipped, in their order, as long as they are
    /// kept. For a client that was away, the page after
    /// [`Cursor::after`](crate::domain::page::Cursor::after) of the last number it has seen.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list; `Forbidden`.
    pub async fn history(
        &self,
        ctx: &Context,
        key: &MessageKey,
        page: &PageRequest,
    ) -> Result<Page<PastMessage>> {
        page.key::<i64>()?;
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::MessagesRead).await?;
        Ok(unit.outbox().history(key, page).await?)
    }

    /// The keys whose first message could not be published and that wait for a decision, by tenant
    /// and key.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    pub async fn parked(
        &self,
        ctx: &PlatformContext,
        page: &PageRequest,
    ) -> Result<Page<ParkedStream>> {
        page.key::<StreamId>()?;
        let mut unit = self.store.begin_platform(ctx).await?;
        Ok(unit.relay().parked(page).await?)
    }

    /// Lets a parked key go on with the message that failed.
    ///
    /// # Errors
    /// `NotFound` unless the key is parked.
    pub async fn release(&self, ctx: &PlatformContext, stream: &StreamId) -> Result<()> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin_platform(ctx).await?;
            found(unit.relay().release(stream).await?, stream)?;
            Ok(unit.commit().await?)
        })
        .await
    }

    /// Sets the message for which a key is parked aside, with its error, and lets the key go on
    /// behind it. The message stays in the history as long as published ones do.
    ///
    /// # Errors
    /// `NotFound` unless the key is parked.
    pub async fn skip(&self, ctx: &PlatformContext, stream: &StreamId) -> Result<()> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin_platform(ctx).await?;
            found(unit.relay().skip(stream).await?, stream)?;
            Ok(unit.commit().await?)
        })
        .await
    }

    /// How far publishing is behind writing.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn lag(&self, ctx: &PlatformContext) -> Result<Lag> {
        let mut unit = self.store.begin_platform(ctx).await?;
        Ok(unit.relay().lag().await?)
    }

    /// Removes the messages that were published or skipped before an instant, in units of 2,000;
    /// answers how many. A relay that runs on does so by itself.
    ///
    /// # Errors
    /// Those of the store; what earlier units removed stays removed.
    pub async fn prune(&self, ctx: &PlatformContext, before: DateTime<Utc>) -> Result<u64> {
        let mut removed = 0;
        loop {
            let some = prune_some(&*self.store, ctx, before).await?;
            removed += some;
            if some < PRUNED_AT_ONCE as u64 {
                return Ok(removed);
            }
        }
    }
}

/// Removes old messages in one unit; fewer than [`PRUNED_AT_ONCE`] when these were the last.
pub(super) async fn prune_some(
    store: &dyn Store,
    ctx: &PlatformContext,
    before: DateTime<Utc>,
) -> Result<u64> {
    on_conflict(store, || async {
        let mut unit = store.begin_platform(ctx).await?;
        let removed = unit.relay().prune(before, PRUNED_AT_ONCE).await?;
        unit.commit().await?;
        Ok(removed)
    })
    .await
}

fn found(parked: bool, stream: &StreamId) -> Result<()> {
    if parked {
        Ok(())
    } else {
        Err(Error::not_found("parked key", &stream.key))
    }
}

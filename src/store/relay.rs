//! The relay's side of the outbox, and what an operator sees and does there.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::StoreResult;
use crate::domain::ids::LeaseId;
use crate::domain::outbox::{Claim, Lag, LeaseHeld, ParkedStream, Settlement, StreamId};
use crate::domain::page::{Page, PageRequest};

/// All tenants' messages, key after key.
///
/// Any number of relays may work at once. What one of them claims counts only once its unit has
/// committed, and instants are those of the unit, by the store's clock: where relays run on several
/// machines, a lease should be much longer than their clocks differ.
#[async_trait]
pub trait RelayRepo: Send {
    /// Claims keys that are due, longest due first, for the length of the lease, and answers at
    /// most `limit` of their messages.
    ///
    /// Messages of one key come in their order, numbered without gaps from the key's first message
    /// that is neither published nor skipped; keys that are claimed together get about the same
    /// number. A key that is held, that waits for its next try or that is parked is not claimed, and
    /// holds back no other key, however many messages it has. A key whose lease ended without a
    /// settlement is due again, and counts the try as one in vain.
    ///
    /// It waits for no other unit: a key that another one has at hand at this moment is passed
    /// over.
    async fn claim(&mut self, lease: Duration, limit: usize) -> StoreResult<Claim>;

    /// Keeps what was done with keys held under a lease, and answers for each whether it was still
    /// held: if not, nothing of it is kept.
    ///
    /// What is published leaves the queue. Of the rest, a message that failed is due at its next
    /// try or parked, with its error, and the others wait behind it; what was not tried is due.
    async fn settle(
        &mut self,
        lease: LeaseId,
        settlements: &[Settlement],
    ) -> StoreResult<Vec<LeaseHeld>>;

    /// The keys that are parked, by tenant and key.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    async fn parked(&mut self, page: &PageRequest) -> StoreResult<Page<ParkedStream>>;

    /// Lets a parked key go on: its message is tried again, as often as a new one. Answers whether
    /// the key was parked; if not, nothing happens.
    async fn release(&mut self, stream: &StreamId) -> StoreResult<bool>;

    /// Sets the message for which a key is parked aside, with its error, and lets the key go on
    /// behind it. Answers whether the key was parked; if not, nothing happens.
    async fn skip(&mut self, stream: &StreamId) -> StoreResult<bool>;

    /// How far publishing is behind writing.
    async fn lag(&mut self) -> StoreResult<Lag>;

    /// Removes messages that were published or skipped before an instant, at most `limit` of them;
    /// answers how many.
    async fn prune(&mut self, before: DateTime<Utc>, limit: usize) -> StoreResult<u64>;
}

/// Tells a relay of new messages, sooner than it would look by itself.
///
/// A hint and nothing more: it may come for nothing, and may fail to come, so a relay looks by
/// itself now and then.
#[async_trait]
pub trait Wake: Debug + Send + Sync + 'static {
    /// Returns when messages were written after the last call returned; at once if that has
    /// happened already. Dropping the future loses nothing.
    async fn wait(&self);
}

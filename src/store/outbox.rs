//! The outbox: messages are written in the unit of work of the change that they tell of.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::outbox::{MessageKey, OutboxMessage, PastMessage};
use crate::domain::page::{Page, PageRequest};

/// The unit's own tenant's messages.
///
/// Writing never waits for another unit that writes messages, whatever their keys.
#[async_trait]
pub trait OutboxRepo: Send {
    /// Writes messages, which are published in this order once the unit has committed.
    ///
    /// Of units that change one row, the messages of the later one are published after those of
    /// the earlier one, if each writes its messages after it has changed or locked that row. Units
    /// that share no row have no order between them.
    ///
    /// # Errors
    /// `NotFound` if the tenant does not exist.
    async fn enqueue(&mut self, messages: &[OutboxMessage]) -> StoreResult<()>;

    /// The messages of a key that were published or skipped, in their order, as long as they are
    /// kept: what a client that was away asks for. The cursor is the number of a message, so
    /// [`Cursor::after`](crate::domain::page::Cursor::after) of the last number seen begins there.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    async fn history(
        &mut self,
        key: &MessageKey,
        page: &PageRequest,
    ) -> StoreResult<Page<PastMessage>>;
}

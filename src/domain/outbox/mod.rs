//! The outbox: messages that leave a unit of work, and the streams in which they are published.
//!
//! A unit of work writes an [`OutboxMessage`] beside the change that it tells of. All messages of
//! one key form a [`Stream`]: a relay numbers them, claims them under a lease and publishes each as
//! a [`Delivery`], in order. Consumers get every message at least once and tell a repeated one by
//! its number.

mod message;
mod retry;
mod stream;

pub use message::{
    Delivery, MessageError, MessageKey, MessageKind, MessagePayload, OutboxMessage, PastMessage,
};
pub use retry::RetryPolicy;
pub use stream::{
    Claim, Lag, LeaseHeld, ParkedStream, Settlement, Stream, StreamId, StreamState, Then,
    lease_end, share,
};

//! A stream: the messages of one key, the one order in which they leave, and who may publish them.
//!
//! ```text
//! idle ──number──> due ──claim──> leased ──settle──> idle, or due again (more, or a retry)
//!                   ^               │ └──settle──> parked ──release or skip──> due
//!                   └──lease ends───┘
//! ```
//!
//! Both backends store a stream and leave its changes to the functions here.

use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::message::{Delivery, MessageKey, MessageKind, MessagePayload, OutboxMessage};
use crate::domain::ids::{LeaseId, TenantId};
use crate::domain::time::micros;

/// The error of an attempt that nobody finished.
pub(super) const NEVER_SETTLED: &str =
    "the lease ended before the relay that held it settled the message";
/// The most characters of an error that are kept.
const MAX_ERROR: usize = 1_000;

/// Which stream: a key of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamId {
    /// Whose.
    pub tenant: TenantId,
    /// The key.
    pub key: MessageKey,
}

/// Where a stream stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    /// The last number given to a message; 0 before the first.
    pub last_sequence: i64,
    /// The last number published or skipped: the next one is the head.
    pub settled_sequence: i64,
    /// Whether it can be claimed.
    pub state: StreamState,
    /// How often the head was tried in vain.
    pub attempts: u32,
    /// What the last of these tries said.
    pub last_error: Option<String>,
}

/// Whether a stream can be claimed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamState {
    /// Nothing is left to publish.
    #[default]
    Idle,
    /// A relay may claim it from this instant.
    Due {
        /// From when.
        at: DateTime<Utc>,
    },
    /// A relay holds it.
    Leased {
        /// The token that the relay shows.
        lease: LeaseId,
        /// The end of the lease: from then on the token is worth nothing, and another relay may
        /// claim the stream.
        until: DateTime<Utc>,
    },
    /// Its head failed for good. Nothing of this stream is published until an operator releases it
    /// or skips the head.
    Parked {
        /// Since when.
        at: DateTime<Utc>,
    },
}

/// What becomes of a stream after what was published of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Then {
    /// It can be claimed at once: the rest was not tried.
    GiveBack,
    /// The head was tried in vain, and is to be tried again.
    Retry {
        /// From when.
        at: DateTime<Utc>,
        /// What went wrong.
        error: String,
    },
    /// The head was tried in vain for the last time.
    Park {
        /// What went wrong.
        error: String,
    },
}

impl Then {
    /// The head is to be tried again from an instant; of the error the first 1,000 characters are
    /// kept, with spaces for control characters.
    #[must_use]
    pub fn retry(at: DateTime<Utc>, error: &str) -> Self {
        Self::Retry {
            at,
            error: kept(error),
        }
    }

    /// The head is not to be tried again; the error is kept as in [`Then::retry`].
    #[must_use]
    pub fn park(error: &str) -> Self {
        Self::Park { error: kept(error) }
    }
}

fn kept(error: &str) -> String {
    error
        .chars()
        .take(MAX_ERROR)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// What a relay did with a stream that it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Which stream.
    pub stream: StreamId,
    /// The last number that was published; the one before the head if none was.
    pub through: i64,
    /// What becomes of the rest, if there is one.
    pub then: Then,
}

/// Whether a relay still held a stream when it settled it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseHeld {
    /// It did: what it said is kept.
    Yes,
    /// It did not: nothing was changed, and what it published will be published again.
    Lost,
}

/// What a relay got to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The token to settle with.
    pub lease: LeaseId,
    /// The end of the lease.
    pub until: DateTime<Utc>,
    /// Stream after stream, each in its order without gaps, beginning with its head.
    pub deliveries: Vec<Delivery>,
    /// Whether new messages were left over that the next claim may find, even if this one found
    /// nothing to publish.
    pub more: bool,
}

impl Claim {
    /// Whether there is nothing to do until something is written, due or released.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.deliveries.is_empty() && !self.more
    }
}

/// A stream that waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedStream {
    /// Whose.
    pub tenant: TenantId,
    /// The key.
    pub key: MessageKey,
    /// The number of the message that failed.
    pub sequence: i64,
    /// What that message tells.
    pub kind: MessageKind,
    /// Its details.
    pub payload: MessagePayload,
    /// How often it was tried.
    pub attempts: u32,
    /// What went wrong the last time.
    pub error: String,
    /// Since when it waits.
    pub parked_at: DateTime<Utc>,
    /// How many messages wait behind it.
    pub held_back: u64,
}

/// How far publishing is behind writing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lag {
    /// The messages that are written and not yet published, without those of parked keys.
    pub pending: u64,
    /// When the oldest of them was written.
    pub oldest: Option<DateTime<Utc>>,
    /// The keys that wait for an operator.
    pub parked_keys: u64,
    /// The messages of these keys that are not published.
    pub held_back: u64,
}

impl Stream {
    /// Gives numbers to the next messages, and answers which.
    pub fn number(&mut self, messages: u32, now: DateTime<Utc>) -> RangeInclusive<i64> {
        let first = self.last_sequence + 1;
        self.last_sequence += i64::from(messages);
        if self.state == StreamState::Idle && self.last_sequence > self.settled_sequence {
            self.state = StreamState::Due { at: now };
        }
        first..=self.last_sequence
    }

    /// The instant from which it can be claimed; `None` while nothing is left or it is parked.
    #[must_use]
    pub fn due_at(&self) -> Option<DateTime<Utc>> {
        match self.state {
            StreamState::Due { at } => Some(at),
            StreamState::Leased { until, .. } => Some(until),
            StreamState::Idle | StreamState::Parked { .. } => None,
        }
    }

    /// How many messages have a number and are neither published nor skipped.
    #[must_use]
    pub fn open(&self) -> u64 {
        u64::try_from(self.last_sequence - self.settled_sequence).unwrap_or(0)
    }

    /// Hands the stream to a relay until an instant; answers whether it could be claimed.
    ///
    /// A lease that another relay let run out counts as a try in vain: a message that brings its
    /// relay down every time ends up parked, as any other that cannot be published.
    pub fn claim(&mut self, lease: LeaseId, now: DateTime<Utc>, until: DateTime<Utc>) -> bool {
        if self.due_at().is_none_or(|at| at > now) {
            return false;
        }
        if let StreamState::Leased { .. } = self.state {
            self.attempts = self.attempts.saturating_add(1);
            self.last_error = Some(NEVER_SETTLED.to_owned());
        }
        self.state = StreamState::Leased { lease, until };
        true
    }

    /// Takes what a relay says it did, and answers the numbers that were published, which may be
    /// none. `None` when the relay does not hold the stream any more: nothing changes.
    pub fn settle(
        &mut self,
        lease: LeaseId,
        now: DateTime<Utc>,
        through: i64,
        then: &Then,
    ) -> Option<RangeInclusive<i64>> {
        match self.state {
            StreamState::Leased { lease: held, until } if held == lease && now < until => {}
            _ => return None,
        }
        let first = self.settled_sequence + 1;
        let through = through.clamp(self.settled_sequence, self.last_sequence);
        if through >= first {
            self.advance(through);
        }
        self.state = match then {
            _ if self.open() == 0 => StreamState::Idle,
            Then::GiveBack => StreamState::Due { at: now },
            Then::Retry { at, error } => {
                self.failed(error);
                StreamState::Due { at: *at }
            }
            Then::Park { error } => {
                self.failed(error);
                StreamState::Parked { at: now }
            }
        };
        Some(first..=through)
    }

    /// A message of a claimed stream, as a publisher gets it. Earlier tries are the head's only.
    #[must_use]
    pub fn delivery(&self, id: &StreamId, sequence: i64, message: &OutboxMessage) -> Delivery {
        let is_head = sequence == self.settled_sequence + 1;
        let before = if is_head { self.attempts } else { 0 };
        Delivery {
            tenant: id.tenant,
            key: id.key.clone(),
            sequence,
            kind: message.kind().clone(),
            payload: message.payload().clone(),
            occurred_at: message.occurred_at(),
            attempt: before.saturating_add(1),
        }
    }

    /// Lets a parked stream go on: its head is tried again, as often as a new message. Answers
    /// whether it was parked.
    pub fn release(&mut self, now: DateTime<Utc>) -> bool {
        if !matches!(self.state, StreamState::Parked { .. }) {
            return false;
        }
        self.state = StreamState::Due { at: now };
        self.attempts = 0;
        true
    }

    /// Sets the head of a parked stream aside and lets the rest go on. Answers the head's number
    /// and its error; `None` if the stream is not parked.
    pub fn skip(&mut self, now: DateTime<Utc>) -> Option<(i64, String)> {
        if !matches!(self.state, StreamState::Parked { .. }) {
            return None;
        }
        let head = self.settled_sequence + 1;
        let error = self.last_error.take().unwrap_or_default();
        self.advance(head);
        self.state = match self.open() {
            0 => StreamState::Idle,
            _ => StreamState::Due { at: now },
        };
        Some((head, error))
    }

    fn advance(&mut self, through: i64) {
        self.settled_sequence = through;
        self.attempts = 0;
        self.last_error = None;
    }

    fn failed(&mut self, error: &str) {
        self.attempts = self.attempts.saturating_add(1);
        self.last_error = Some(error.to_owned());
    }
}

/// When a lease that begins now ends.
#[must_use]
pub fn lease_end(now: DateTime<Utc>, lease: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(lease)
        .ok()
        .and_then(|lease| now.checked_add_signed(lease))
        .map_or(DateTime::<Utc>::MAX_UTC, micros)
}

/// How many messages each of several streams gets of a common bound: alike, and at least one.
#[must_use]
pub fn share(bound: usize, streams: usize) -> usize {
    bound.checked_div(streams).unwrap_or(bound).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use uuid::Uuid;

    fn at(seconds: i64) -> DateTime<Utc> {
        Utc.timestamp_opt(seconds, 0).unwrap()
    }

    fn lease(number: u128) -> LeaseId {
        LeaseId::from_uuid(Uuid::from_u128(number))
    }

    /// Three messages, held by lease 1 until 10 s.
    fn held() -> Stream {
        let mut stream = Stream::default();
        assert_eq!(stream.number(3, at(0)), 1..=3);
        assert!(stream.claim(lease(1), at(0), at(10)));
        stream
    }

    #[test]
    fn a_stream_is_due_while_messages_are_left() {
        let mut stream = Stream::default();
        assert_eq!(stream.due_at(), None);
        assert!(stream.number(0, at(0)).is_empty());
        assert_eq!(stream.state, StreamState::Idle);
        let mut stream = held();
        assert_eq!(stream.number(1, at(1)), 4..=4);
        assert_eq!(stream.due_at(), Some(at(10)), "still held");
        let done = stream.settle(lease(1), at(2), 3, &Then::GiveBack);
        assert_eq!(done, Some(1..=3));
        assert_eq!(stream.state, StreamState::Due { at: at(2) });
        assert!(stream.claim(lease(2), at(2), at(12)));
        assert_eq!(
            stream.settle(lease(2), at(3), 4, &Then::GiveBack),
            Some(4..=4)
        );
        assert_eq!((stream.state, stream.open()), (StreamState::Idle, 0));
    }

    #[test]
    fn a_lease_that_ended_or_went_to_another_is_worth_nothing() {
        let mut stream = held();
        let before = stream.clone();
        assert!(!stream.claim(lease(2), at(9), at(19)));
        assert_eq!(stream.settle(lease(2), at(1), 3, &Then::GiveBack), None);
        assert_eq!(stream.settle(lease(1), at(10), 3, &Then::GiveBack), None);
        assert_eq!(stream, before);
        assert!(stream.claim(lease(2), at(10), at(20)));
        assert_eq!(stream.settle(lease(1), at(11), 3, &Then::GiveBack), None);
        assert_eq!(
            (stream.attempts, stream.last_error.as_deref()),
            (1, Some(NEVER_SETTLED))
        );
        assert!(
            stream
                .settle(lease(2), at(11), 3, &Then::GiveBack)
                .is_some()
        );
    }

    #[test]
    fn a_failure_counts_for_the_head_and_success_forgets_it() {
        let mut stream = held();
        let retry = Then::retry(at(5), "no\0!");
        let done = stream.settle(lease(1), at(1), 0, &retry);
        assert!(done.is_some_and(|done| done.is_empty()));
        assert_eq!(
            (stream.attempts, stream.last_error.as_deref()),
            (1, Some("no !"))
        );
        assert!(!stream.claim(lease(2), at(4), at(14)));
        assert!(stream.claim(lease(2), at(5), at(15)));
        stream
            .settle(lease(2), at(6), 0, &Then::retry(at(7), "no"))
            .unwrap();
        assert_eq!(stream.attempts, 2);
        assert!(stream.claim(lease(3), at(7), at(17)));
        stream
            .settle(lease(3), at(8), 1, &Then::retry(at(9), "also"))
            .unwrap();
        assert_eq!(
            (stream.settled_sequence, stream.attempts),
            (1, 1),
            "the first try of the next head"
        );
        assert!(stream.claim(lease(4), at(9), at(19)));
        let through = stream.last_sequence + 5;
        assert_eq!(
            stream.settle(lease(4), at(10), through, &Then::park("no")),
            Some(2..=3)
        );
        assert_eq!(stream.state, StreamState::Idle, "nothing is left to park");
        assert_eq!((stream.attempts, stream.last_error), (0, None));
    }

    #[test]
    fn a_parked_stream_waits_for_a_release_or_a_skip() {
        let mut stream = held();
        stream
            .settle(lease(1), at(1), 1, &Then::park("no"))
            .unwrap();
        assert_eq!(stream.state, StreamState::Parked { at: at(1) });
        stream.number(1, at(2));
        assert!(!stream.claim(lease(2), at(99), at(109)));
        let mut skipped = stream.clone();
        assert_eq!(skipped.skip(at(3)), Some((2, "no".to_owned())));
        assert_eq!(
            (skipped.settled_sequence, skipped.state, skipped.attempts),
            (2, StreamState::Due { at: at(3) }, 0)
        );
        assert_eq!(skipped.skip(at(3)), None);
        assert!(stream.release(at(3)));
        assert_eq!(
            (stream.settled_sequence, stream.state, stream.attempts),
            (1, StreamState::Due { at: at(3) }, 0)
        );
        assert!(!stream.release(at(3)));
        let mut last = Stream::default();
        last.number(1, at(0));
        last.claim(lease(1), at(0), at(10));
        last.settle(lease(1), at(1), 0, &Then::park("no")).unwrap();
        assert_eq!(last.skip(at(2)), Some((1, "no".to_owned())));
        assert_eq!(last.state, StreamState::Idle);
    }

    #[test]
    fn errors_are_cut_and_shares_are_even() {
        let Then::Park { error } = Then::park(&"é".repeat(2_000)) else {
            panic!("parked")
        };
        assert_eq!(error.chars().count(), MAX_ERROR);
        assert_eq!([share(100, 3), share(2, 5), share(7, 0)], [33, 1, 7]);
    }
}

//! The outbox in memory: an inbox that units of work fill, and the streams that relays empty.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use imbl::{OrdMap, OrdSet};

use super::unit::MemoryTx;
use crate::domain::ids::TenantId;
use crate::domain::outbox::{Lag, MessageKey, OutboxMessage, PastMessage, Stream, StreamState};
use crate::domain::page::{Page, PageRequest};
use crate::store::{OutboxRepo, StoreResult, page_key};

/// One tenant's messages.
#[derive(Debug, Clone, Default)]
pub(super) struct OutboxTable {
    /// What units have written and no relay has numbered yet, a batch per unit, in the order of
    /// the commits. Writing is one insertion, whatever the number of messages.
    inbox: OrdMap<u64, Arc<Batch>>,
    written: u64,
    streams: OrdMap<MessageKey, Arc<Stream>>,
    messages: OrdMap<(MessageKey, i64), Arc<Numbered>>,
    due: OrdSet<(DateTime<Utc>, MessageKey)>,
    parked: OrdSet<MessageKey>,
    settled: OrdSet<(DateTime<Utc>, MessageKey, i64)>,
}

/// What one unit wrote at once.
#[derive(Debug)]
struct Batch {
    messages: Vec<OutboxMessage>,
    written_at: DateTime<Utc>,
}

/// A message with a number.
#[derive(Debug, Clone)]
pub(super) struct Numbered {
    pub(super) message: OutboxMessage,
    written_at: DateTime<Utc>,
    settled: Option<Settled>,
}

#[derive(Debug, Clone)]
struct Settled {
    at: DateTime<Utc>,
    skipped: Option<String>,
}

impl OutboxTable {
    /// Counts the batches that were ever written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    fn write(&mut self, batch: &Arc<Batch>) {
        self.written += 1;
        self.inbox.insert(self.written, Arc::clone(batch));
    }

    /// Since when a relay is waited for.
    pub(super) fn since(&self) -> Since {
        Since {
            new: self.inbox.get_min().map(|(_, batch)| batch.written_at),
            due: self.due_after(None).map(|(at, _)| *at),
        }
    }

    /// The messages without a number, and when each was written.
    fn new_messages(&self) -> impl Iterator<Item = (&OutboxMessage, DateTime<Utc>)> {
        self.inbox
            .values()
            .flat_map(|batch| batch.messages.iter().map(|m| (m, batch.written_at)))
    }

    /// How many messages of each key have no number.
    pub(super) fn count_new(&self) -> BTreeMap<&MessageKey, u64> {
        let mut counts = BTreeMap::new();
        for (message, _) in self.new_messages() {
            *counts.entry(message.key()).or_default() += 1;
        }
        counts
    }

    /// Gives numbers to all new messages. Not to some: a key with many would hold back the others.
    pub(super) fn number(&mut self, now: DateTime<Utc>) {
        let mut by_key: BTreeMap<MessageKey, Vec<Numbered>> = BTreeMap::new();
        for (message, written_at) in self.new_messages() {
            let key = message.key().clone();
            by_key.entry(key).or_default().push(Numbered {
                message: message.clone(),
                written_at,
                settled: None,
            });
        }
        self.inbox.clear();
        for (key, messages) in by_key {
            let mut stream = self
                .streams
                .get(&key)
                .map(|stream| Stream::clone(stream))
                .unwrap_or_default();
            let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
            for (sequence, message) in stream.number(count, now).zip(messages) {
                self.messages
                    .insert((key.clone(), sequence), Arc::new(message));
            }
            self.put(&key, stream);
        }
    }

    /// A key's stream, if the key ever had a message with a number.
    pub(super) fn stream(&self, key: &MessageKey) -> Option<&Arc<Stream>> {
        self.streams.get(key)
    }

    /// Changes a key's stream; `None` if the key has none.
    pub(super) fn change<T>(
        &mut self,
        key: &MessageKey,
        change: impl FnOnce(&mut Stream) -> T,
    ) -> Option<T> {
        let mut stream = Stream::clone(self.streams.get(key)?);
        let answer = change(&mut stream);
        self.put(key, stream);
        Some(answer)
    }

    fn put(&mut self, key: &MessageKey, stream: Stream) {
        if let Some(at) = self.streams.get(key).and_then(|former| former.due_at()) {
            self.due.remove(&(at, key.clone()));
        }
        if let Some(at) = stream.due_at() {
            self.due.insert((at, key.clone()));
        }
        if matches!(stream.state, StreamState::Parked { .. }) {
            self.parked.insert(key.clone());
        } else {
            self.parked.remove(key);
        }
        self.streams.insert(key.clone(), Arc::new(stream));
    }

    /// The first stream that becomes due after another, or the first of all.
    pub(super) fn due_after(
        &self,
        after: Option<&(DateTime<Utc>, MessageKey)>,
    ) -> Option<&(DateTime<Utc>, MessageKey)> {
        use std::ops::Bound::{Excluded, Unbounded};
        match after {
            None => self.due.get_min(),
            Some(after) => self.due.range((Excluded(after.clone()), Unbounded)).next(),
        }
    }

    /// The keys that are parked, in their order.
    pub(super) fn parked(&self) -> impl Iterator<Item = &MessageKey> {
        self.parked.iter()
    }

    /// A key's messages from a number on.
    pub(super) fn from(
        &self,
        key: &MessageKey,
        sequence: i64,
    ) -> impl Iterator<Item = (i64, &Numbered)> {
        self.messages
            .range((key.clone(), sequence)..=(key.clone(), i64::MAX))
            .map(|((_, sequence), message)| (*sequence, &**message))
    }

    /// Marks a message as published, or as skipped for an error.
    pub(super) fn mark(
        &mut self,
        key: &MessageKey,
        sequence: i64,
        at: DateTime<Utc>,
        skipped: Option<&str>,
    ) {
        let place = (key.clone(), sequence);
        if let Some(message) = self.messages.get(&place) {
            let settled = Some(Settled {
                at,
                skipped: skipped.map(str::to_owned),
            });
            let message = Numbered {
                settled,
                ..Numbered::clone(message)
            };
            self.messages.insert(place, Arc::new(message));
            self.settled.insert((at, key.clone(), sequence));
        }
    }

    /// The first messages that were settled before an instant.
    pub(super) fn settled_before(
        &self,
        before: DateTime<Utc>,
    ) -> impl Iterator<Item = &(DateTime<Utc>, MessageKey, i64)> {
        self.settled
            .iter()
            .take_while(move |(at, _, _)| *at < before)
    }

    /// Removes a settled message; answers whether it was there.
    pub(super) fn remove(&mut self, settled: &(DateTime<Utc>, MessageKey, i64)) -> bool {
        let (_, key, sequence) = settled;
        self.messages.remove(&(key.clone(), *sequence));
        self.settled.remove(settled).is_some()
    }

    /// Adds this tenant's share.
    pub(super) fn add_to(&self, lag: &mut Lag) {
        let oldest = |lag: &mut Lag, written_at| {
            lag.oldest = Some(
                lag.oldest
                    .map_or(written_at, |oldest| oldest.min(written_at)),
            );
        };
        for (message, written_at) in self.new_messages() {
            if self.parked.contains(message.key()) {
                lag.held_back += 1;
            } else {
                lag.pending += 1;
                oldest(lag, written_at);
            }
        }
        for key in &self.parked {
            lag.parked_keys += 1;
            lag.held_back += self.streams.get(key).map_or(0, |stream| stream.open());
        }
        for stream in self
            .due
            .iter()
            .filter_map(|(_, key)| self.streams.get_key_value(key))
        {
            let (key, stream) = stream;
            lag.pending += stream.open();
            if let Some((_, head)) = self.from(key, stream.settled_sequence + 1).next() {
                oldest(lag, head.written_at);
            }
        }
    }
}

/// The tenants that a relay has to look at, so that it need not look at all of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting {
    /// By the instant at which the oldest message was written that has no number.
    pub(super) new: OrdSet<(DateTime<Utc>, TenantId)>,
    /// By the instant at which the tenant's first stream is due.
    pub(super) due: OrdSet<(DateTime<Utc>, TenantId)>,
}

impl Waiting {
    /// Takes notice of a tenant's change: what its table answered before, and after it.
    pub(super) fn follow(&mut self, tenant: TenantId, former: Since, next: Since) {
        replace(&mut self.new, tenant, former.new, next.new);
        replace(&mut self.due, tenant, former.due, next.due);
    }
}

/// Since when a tenant waits for a relay: for numbers, and for its first stream to be published.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Since {
    new: Option<DateTime<Utc>>,
    due: Option<DateTime<Utc>>,
}

fn replace(
    set: &mut OrdSet<(DateTime<Utc>, TenantId)>,
    tenant: TenantId,
    former: Option<DateTime<Utc>>,
    next: Option<DateTime<Utc>>,
) {
    if former == next {
        return;
    }
    if let Some(at) = former {
        set.remove(&(at, tenant));
    }
    if let Some(at) = next {
        set.insert((at, tenant));
    }
}

#[async_trait]
impl OutboxRepo for MemoryTx {
    async fn enqueue(&mut self, messages: &[OutboxMessage]) -> StoreResult<()> {
        const OPERATION: &str = "outbox.enqueue";
        if messages.is_empty() {
            return self.read(OPERATION).map(drop);
        }
        let batch = Arc::new(Batch {
            messages: messages.to_vec(),
            written_at: self.now,
        });
        self.write(OPERATION, move |shard| {
            shard.outbox.write(&batch);
            Ok(())
        })
    }

    async fn history(
        &mut self,
        key: &MessageKey,
        page: &PageRequest,
    ) -> StoreResult<Page<PastMessage>> {
        const OPERATION: &str = "outbox.history";
        let after = self.check(page_key::<i64>(OPERATION, page))?;
        let outbox = &self.read(OPERATION)?.outbox;
        let rows = outbox
            .from(key, after.map_or(0, |after| after.saturating_add(1)))
            .filter_map(|(sequence, row)| {
                let settled = row.settled.as_ref()?;
                Some(PastMessage {
                    sequence,
                    kind: row.message.kind().clone(),
                    payload: row.message.payload().clone(),
                    occurred_at: row.message.occurred_at(),
                    settled_at: settled.at,
                    skipped: settled.skipped.clone(),
                })
            })
            .take(page.limit() + 1)
            .collect();
        Ok(Page::of(rows, page.limit(), |row: &PastMessage| {
            row.sequence
        }))
    }
}

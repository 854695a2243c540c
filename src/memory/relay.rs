//! The relay's side of the outbox in memory.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::outbox::OutboxTable;
use super::platform::MemoryPlatform;
use super::state::State;
use crate::domain::ids::{LeaseId, TenantId};
use crate::domain::outbox::{
    Claim, Delivery, Lag, LeaseHeld, MessageKey, ParkedStream, Settlement, Stream, StreamId,
    StreamState, lease_end, share,
};
use crate::domain::page::{Page, PageRequest};
use crate::store::{RelayRepo, StoreError, StoreErrorKind, StoreResult, page_key};

const CLAIM: &str = "relay.claim";

#[async_trait]
impl RelayRepo for MemoryPlatform {
    async fn claim(&mut self, lease: Duration, limit: usize) -> StoreResult<Claim> {
        let (limit, now) = (limit.max(1), self.now);
        let more = self.number(limit)?;
        let token: LeaseId = self.ids.fresh();
        let until = lease_end(now, lease);
        let due = due(self.read(CLAIM)?, now, limit);
        let claimed = due.clone();
        // The heads are the answer that must be the same again at commit: another relay may have
        // published some of these streams since.
        self.write(CLAIM, move |state| {
            let claim = |id: &StreamId| {
                let claimed = state.change_outbox(id.tenant, |outbox| {
                    outbox.change(&id.key, |stream| {
                        let settled = stream.settled_sequence;
                        stream.claim(token, now, until).then_some(settled)
                    })
                });
                claimed
                    .flatten()
                    .flatten()
                    .ok_or_else(|| StoreError::new(StoreErrorKind::Conflict, CLAIM))
            };
            claimed.iter().map(claim).collect::<StoreResult<Vec<i64>>>()
        })?;
        let (state, share) = (self.read(CLAIM)?, share(limit, due.len()));
        let deliveries = due.iter().flat_map(|id| deliveries(state, id, share));
        Ok(Claim {
            lease: token,
            until,
            deliveries: deliveries.collect(),
            more,
        })
    }

    async fn settle(
        &mut self,
        lease: LeaseId,
        settlements: &[Settlement],
    ) -> StoreResult<Vec<LeaseHeld>> {
        let (now, settlements) = (self.now, settlements.to_vec());
        self.write("relay.settle", move |state| {
            let settle = |Settlement {
                              stream: id,
                              through,
                              then,
                          }: &Settlement| {
                let settled = state.change_outbox(id.tenant, |outbox| {
                    let published = outbox
                        .change(&id.key, |stream| stream.settle(lease, now, *through, then))??;
                    for sequence in published {
                        outbox.mark(&id.key, sequence, now, None);
                    }
                    Some(())
                });
                settled
                    .flatten()
                    .map_or(LeaseHeld::Lost, |()| LeaseHeld::Yes)
            };
            Ok(settlements.iter().map(settle).collect::<Vec<_>>())
        })
    }

    async fn parked(&mut self, page: &PageRequest) -> StoreResult<Page<ParkedStream>> {
        const OPERATION: &str = "relay.parked";
        let after = self.check(page_key::<StreamId>(OPERATION, page))?;
        let mut rows = Vec::new();
        for (tenant, shard) in &self.read(OPERATION)?.shards {
            if rows.len() > page.limit() {
                break;
            }
            if after.as_ref().is_none_or(|after| *tenant >= after.tenant) {
                let after = after.as_ref().filter(|after| after.tenant == *tenant);
                rows.extend(parked(
                    *tenant,
                    &shard.outbox,
                    after.map(|after| &after.key),
                ));
            }
        }
        rows.truncate(page.limit() + 1);
        Ok(Page::of(rows, page.limit(), |row: &ParkedStream| {
            StreamId {
                tenant: row.tenant,
                key: row.key.clone(),
            }
        }))
    }

    async fn release(&mut self, stream: &StreamId) -> StoreResult<bool> {
        let (id, now) = (stream.clone(), self.now);
        self.write("relay.release", move |state| {
            let released = state.change_outbox(id.tenant, |outbox| {
                outbox.change(&id.key, |stream| stream.release(now))
            });
            Ok(released.flatten().unwrap_or(false))
        })
    }

    async fn skip(&mut self, stream: &StreamId) -> StoreResult<bool> {
        let (id, now) = (stream.clone(), self.now);
        self.write("relay.skip", move |state| {
            let skipped = state.change_outbox(id.tenant, |outbox| {
                let (head, error) = outbox.change(&id.key, |stream| stream.skip(now))??;
                outbox.mark(&id.key, head, now, Some(&error));
                Some(())
            });
            Ok(skipped.flatten().is_some())
        })
    }

    async fn lag(&mut self) -> StoreResult<Lag> {
        let mut lag = Lag::default();
        for shard in self.read("relay.lag")?.shards.values() {
            shard.outbox.add_to(&mut lag);
        }
        Ok(lag)
    }

    async fn prune(&mut self, before: DateTime<Utc>, limit: usize) -> StoreResult<u64> {
        const OPERATION: &str = "relay.prune";
        let shards = self.read(OPERATION)?.shards.iter();
        let old: Vec<_> = shards
            .flat_map(|(tenant, shard)| {
                let settled = shard.outbox.settled_before(before);
                settled.map(|settled| (*tenant, settled.clone()))
            })
            .take(limit)
            .collect();
        self.write(OPERATION, move |state| {
            let mut removed = 0;
            for (tenant, settled) in &old {
                let done = state.change_outbox(*tenant, |outbox| outbox.remove(settled));
                removed += u64::from(done.unwrap_or(false));
            }
            Ok(removed)
        })
    }
}

impl MemoryPlatform {
    /// Gives numbers to the new messages of some tenants, those first that wait longest; answers
    /// whether other tenants have new messages, too.
    fn number(&mut self, limit: usize) -> StoreResult<bool> {
        let (new, now) = (&self.read(CLAIM)?.waiting.new, self.now);
        let tenants: Vec<TenantId> = new.iter().take(limit).map(|(_, tenant)| *tenant).collect();
        let more = new.len() > tenants.len();
        if !tenants.is_empty() {
            self.write(CLAIM, move |state| {
                for tenant in &tenants {
                    state.change_outbox(*tenant, |outbox| outbox.number(now));
                }
                Ok(())
            })?;
        }
        Ok(more)
    }
}

/// The streams that are due, longest due first: merged from the tenants' own lists, of which each
/// of the first `limit` may begin with one of them.
fn due(state: &State, now: DateTime<Utc>, limit: usize) -> Vec<StreamId> {
    let after = |tenant: TenantId, after: Option<&(DateTime<Utc>, MessageKey)>| {
        let outbox = &state.shards.get(&tenant)?.outbox;
        let (at, key) = outbox.due_after(after)?;
        (*at <= now).then(|| (*at, tenant, key.clone()))
    };
    let tenants = state.waiting.due.iter().take_while(|(at, _)| *at <= now);
    let mut heads: BTreeSet<_> = tenants
        .take(limit)
        .filter_map(|(_, tenant)| after(*tenant, None))
        .collect();
    let mut found = Vec::new();
    while found.len() < limit {
        let Some((at, tenant, key)) = heads.pop_first() else {
            break;
        };
        let place = (at, key);
        heads.extend(after(tenant, Some(&place)));
        found.push(StreamId {
            tenant,
            key: place.1,
        });
    }
    found
}

/// The first messages of a claimed stream.
fn deliveries(state: &State, id: &StreamId, limit: usize) -> Vec<Delivery> {
    let Some(shard) = state.shards.get(&id.tenant) else {
        return Vec::new();
    };
    let Some(stream) = shard.outbox.stream(&id.key) else {
        return Vec::new();
    };
    let head = stream.settled_sequence + 1;
    let rows = shard.outbox.from(&id.key, head).take(limit);
    rows.map(|(sequence, row)| stream.delivery(id, sequence, &row.message))
        .collect()
}

fn parked(tenant: TenantId, outbox: &OutboxTable, after: Option<&MessageKey>) -> Vec<ParkedStream> {
    let new = outbox.count_new();
    let row = |key: &MessageKey| {
        let stream: &Stream = outbox.stream(key)?;
        let StreamState::Parked { at } = stream.state else {
            return None;
        };
        let (sequence, head) = outbox.from(key, stream.settled_sequence + 1).next()?;
        Some(ParkedStream {
            tenant,
            key: key.clone(),
            sequence,
            kind: head.message.kind().clone(),
            payload: head.message.payload().clone(),
            attempts: stream.attempts,
            error: stream.last_error.clone().unwrap_or_default(),
            parked_at: at,
            held_back: stream.open() - 1 + new.get(key).copied().unwrap_or(0),
        })
    };
    outbox
        .parked()
        .filter(|key| after.is_none_or(|after| *key > after))
        .filter_map(row)
        .collect()
}

//! The relay's side of the outbox on PostgreSQL.
//!
//! A claim is at most eight statements, two when there is nothing to do; a settlement three; other
//! calls one to three.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::corrupt;
use super::platform::PgPlatform;
use super::streams::{self, columns, stream_id};
use crate::domain::ids::LeaseId;
use crate::domain::outbox::{
    Claim, Delivery, Lag, LeaseHeld, MessageKey, MessageKind, MessagePayload, OutboxMessage,
    ParkedStream, Settlement, Stream, StreamId, lease_end, share,
};
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::TextError;
use crate::store::{RelayRepo, StoreResult, page_key};

const CLAIM: &str = "relay.claim";
const SETTLE: &str = "relay.settle";

/// The key behind which the next claim looks for new messages: so each key has its turn, however
/// many there are and however fast they fill.
#[derive(Debug, Clone, Default)]
pub(super) struct Turn(Arc<Mutex<Place>>);

type Place = Option<(Uuid, String)>;

impl Turn {
    fn get(&self) -> Place {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, place: Place) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }
}

struct KeyRow {
    tenant_id: Uuid,
    key: String,
}

struct CountRow {
    tenant_id: Uuid,
    key: String,
    messages: i64,
}

struct MessageRow {
    tenant_id: Uuid,
    key: String,
    sequence: i64,
    kind: String,
    payload: String,
    occurred_at: DateTime<Utc>,
}

impl MessageRow {
    fn read(self) -> StoreResult<(StreamId, i64, OutboxMessage)> {
        let place = || format!("outbox {} {} {}", self.tenant_id, self.key, self.sequence);
        let broken = |error: TextError| corrupt(CLAIM, &place(), error);
        let key = MessageKey::new(&self.key).map_err(broken)?;
        let kind = MessageKind::new(&self.kind).map_err(broken)?;
        let id = StreamId {
            tenant: self.tenant_id.into(),
            key: key.clone(),
        };
        let payload = MessagePayload::trusted(self.payload);
        let message = OutboxMessage::new(key, kind, payload, self.occurred_at);
        Ok((id, self.sequence, message))
    }
}

struct ParkedRow {
    tenant_id: Uuid,
    key: String,
    sequence: i64,
    kind: String,
    payload: String,
    attempts: i32,
    last_error: Option<String>,
    parked_at: DateTime<Utc>,
    held_back: i64,
}

impl ParkedRow {
    fn read(self, operation: &'static str) -> StoreResult<ParkedStream> {
        let place = || format!("outbox {} {} kind", self.tenant_id, self.key);
        let id = stream_id(operation, self.tenant_id, &self.key)?;
        Ok(ParkedStream {
            tenant: id.tenant,
            key: id.key,
            sequence: self.sequence,
            kind: MessageKind::new(&self.kind)
                .map_err(|error| corrupt(operation, &place(), error))?,
            payload: MessagePayload::trusted(self.payload),
            attempts: self.attempts.unsigned_abs(),
            error: self.last_error.unwrap_or_default(),
            parked_at: self.parked_at,
            held_back: count(self.held_back),
        })
    }
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[async_trait]
impl RelayRepo for PgPlatform {
    async fn claim(&mut self, lease: Duration, limit: usize) -> StoreResult<Claim> {
        let (limit, now) = (limit.max(1), self.now);
        let more = self.number(limit).await?;
        let token: LeaseId = self.ids.fresh();
        let until = lease_end(now, lease);
        let mut held = streams::lock_due(&mut self.session, CLAIM, now, limit).await?;
        let mut deliveries = Vec::new();
        if !held.is_empty() {
            for (_, stream) in &mut held {
                stream.claim(token, now, until);
            }
            streams::write(&mut self.session, CLAIM, &held).await?;
            deliveries = self.heads(&held, share(limit, held.len())).await?;
        }
        Ok(Claim {
            lease: token,
            until,
            deliveries,
            more,
        })
    }

    async fn settle(
        &mut self,
        lease: LeaseId,
        settlements: &[Settlement],
    ) -> StoreResult<Vec<LeaseHeld>> {
        let ids = settlements.iter().map(|settlement| &settlement.stream);
        let mut held: HashMap<StreamId, Stream> = streams::lock(&mut self.session, SETTLE, ids)
            .await?
            .into_iter()
            .collect();
        let (mut answers, mut published, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        for Settlement {
            stream: id,
            through,
            then,
        } in settlements
        {
            let stream = held.get_mut(id);
            let settled = stream.and_then(|stream| {
                let numbers = stream.settle(lease, self.now, *through, then)?;
                Some((numbers, stream.clone()))
            });
            answers.push(match settled {
                None => LeaseHeld::Lost,
                Some((numbers, stream)) => {
                    changed.push((id.clone(), stream));
                    if !numbers.is_empty() {
                        published.push((id, *numbers.start(), *numbers.end()));
                    }
                    LeaseHeld::Yes
                }
            });
        }
        if !published.is_empty() {
            self.mark(&published).await?;
        }
        if !changed.is_empty() {
            streams::write(&mut self.session, SETTLE, &changed).await?;
        }
        Ok(answers)
    }

    async fn parked(&mut self, page: &PageRequest) -> StoreResult<Page<ParkedStream>> {
        const OPERATION: &str = "relay.parked";
        let after = self.session.keep(page_key::<StreamId>(OPERATION, page))?;
        let limit = page.limit();
        let rows = sqlx::query_as!(
            ParkedRow,
            r#"SELECT s.tenant_id, s.key, o.sequence AS "sequence!", o.kind,
                o.payload::text AS "payload!", s.attempts, s.last_error,
                s.parked_at AS "parked_at!",
                s.last_sequence - o.sequence + (SELECT count(*) FROM tenantry.outbox n
                    WHERE n.tenant_id = s.tenant_id AND n.key = s.key AND n.sequence IS NULL)
                    AS "held_back!"
            FROM tenantry.outbox_streams s
            JOIN tenantry.outbox o ON o.tenant_id = s.tenant_id AND o.key = s.key
                AND o.sequence = s.settled_sequence + 1
            WHERE s.parked_at IS NOT NULL
                AND ($1::uuid IS NULL OR (s.tenant_id, s.key) > ($1, $2::text))
            ORDER BY s.tenant_id, s.key LIMIT $3"#,
            after.as_ref().map(|after| after.tenant.as_uuid()),
            after.as_ref().map(|after| after.key.as_str()),
            limit as i64 + 1,
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        let rows = rows.into_iter().map(|row| row.read(OPERATION)).collect();
        Ok(Page::of(
            self.session.keep(rows)?,
            limit,
            |row: &ParkedStream| StreamId {
                tenant: row.tenant,
                key: row.key.clone(),
            },
        ))
    }

    async fn release(&mut self, stream: &StreamId) -> StoreResult<bool> {
        const OPERATION: &str = "relay.release";
        let one = std::iter::once(stream);
        let mut held = streams::lock(&mut self.session, OPERATION, one).await?;
        let now = self.now;
        let released = held.iter_mut().any(|(_, stream)| stream.release(now));
        if released {
            streams::write(&mut self.session, OPERATION, &held).await?;
        }
        Ok(released)
    }

    async fn skip(&mut self, stream: &StreamId) -> StoreResult<bool> {
        const OPERATION: &str = "relay.skip";
        let one = std::iter::once(stream);
        let mut held = streams::lock(&mut self.session, OPERATION, one).await?;
        let now = self.now;
        let Some((head, error)) = held.iter_mut().find_map(|(_, stream)| stream.skip(now)) else {
            return Ok(false);
        };
        let done = sqlx::query!(
            "UPDATE tenantry.outbox SET settled_at = $4, error = $5
            WHERE tenant_id = $1 AND key = $2 AND sequence = $3",
            stream.tenant.as_uuid(),
            stream.key.as_str(),
            head,
            now,
            error,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        self.session.check(OPERATION, done)?;
        streams::write(&mut self.session, OPERATION, &held).await?;
        Ok(true)
    }

    async fn lag(&mut self) -> StoreResult<Lag> {
        const OPERATION: &str = "relay.lag";
        let row = sqlx::query!(
            r#"WITH new AS (
                SELECT tenant_id, key, count(*) AS messages, min(written_at) AS oldest
                FROM tenantry.outbox WHERE sequence IS NULL GROUP BY tenant_id, key),
            behind AS (
                SELECT n.messages, n.oldest, s.parked_at IS NOT NULL AS parked, 0 AS streams
                FROM new n LEFT JOIN tenantry.outbox_streams s USING (tenant_id, key)
                UNION ALL
                SELECT s.last_sequence - s.settled_sequence,
                    (SELECT o.written_at FROM tenantry.outbox o
                        WHERE o.tenant_id = s.tenant_id AND o.key = s.key
                            AND o.sequence = s.settled_sequence + 1),
                    s.parked_at IS NOT NULL, 1
                FROM tenantry.outbox_streams s
                WHERE s.due_at IS NOT NULL OR s.parked_at IS NOT NULL)
            SELECT coalesce(sum(messages) FILTER (WHERE NOT parked), 0)::bigint AS "pending!",
                min(oldest) FILTER (WHERE NOT parked) AS oldest,
                coalesce(sum(streams) FILTER (WHERE parked), 0)::bigint AS "parked_keys!",
                coalesce(sum(messages) FILTER (WHERE parked), 0)::bigint AS "held_back!"
            FROM behind"#
        )
        .fetch_one(self.session.run(OPERATION)?)
        .await;
        let row = self.session.check(OPERATION, row)?;
        Ok(Lag {
            pending: count(row.pending),
            oldest: row.oldest,
            parked_keys: count(row.parked_keys),
            held_back: count(row.held_back),
        })
    }

    async fn prune(&mut self, before: DateTime<Utc>, limit: usize) -> StoreResult<u64> {
        const OPERATION: &str = "relay.prune";
        let done = sqlx::query!(
            "WITH old AS (
                SELECT tenant_id, position FROM tenantry.outbox
                WHERE settled_at < $1 ORDER BY settled_at LIMIT $2
                FOR UPDATE SKIP LOCKED)
            DELETE FROM tenantry.outbox o USING old
            WHERE o.tenant_id = old.tenant_id AND o.position = old.position",
            before,
            limit as i64,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        Ok(self.session.check(OPERATION, done)?.rows_affected())
    }
}

impl PgPlatform {
    /// Gives numbers to new messages: some of each key, at most `limit` in all. Answers whether
    /// other keys may have new messages, too.
    ///
    /// The rows are read after their stream is locked, by a statement of its own and so with a
    /// snapshot of its own: what another relay has numbered before is seen.
    async fn number(&mut self, limit: usize) -> StoreResult<bool> {
        let keys = self.keys_with_new(limit).await?;
        if keys.is_empty() {
            return Ok(false);
        }
        let full = keys.len() == limit;
        let mut held = streams::ensure(&mut self.session, CLAIM, &keys).await?;
        let (tenants, keys) = columns(held.iter().map(|(id, _)| id));
        let last: Vec<i64> = held
            .iter()
            .map(|(_, stream)| stream.last_sequence)
            .collect();
        let rows = sqlx::query_as!(
            CountRow,
            r#"WITH given AS (
                SELECT n.tenant_id, n.position, s.last_sequence + row_number()
                    OVER (PARTITION BY n.tenant_id, n.key ORDER BY n.position) AS sequence
                FROM UNNEST($1::uuid[], $2::text[], $3::bigint[])
                    AS s (tenant_id, key, last_sequence)
                CROSS JOIN LATERAL (
                    SELECT o.tenant_id, o.key, o.position FROM tenantry.outbox o
                    WHERE o.tenant_id = s.tenant_id AND o.key = s.key AND o.sequence IS NULL
                    ORDER BY o.position LIMIT $4) n),
            numbered AS (
                UPDATE tenantry.outbox o SET sequence = given.sequence FROM given
                WHERE o.tenant_id = given.tenant_id AND o.position = given.position
                RETURNING o.tenant_id, o.key)
            SELECT tenant_id, key, count(*) AS "messages!" FROM numbered GROUP BY tenant_id, key"#,
            &tenants,
            &keys as &[&str],
            &last,
            share(limit, held.len()) as i64,
        )
        .fetch_all(self.session.run(CLAIM)?)
        .await;
        let numbered: HashMap<(Uuid, String), i64> = self
            .session
            .check(CLAIM, rows)?
            .into_iter()
            .map(|row| ((row.tenant_id, row.key), row.messages))
            .collect();
        held.retain_mut(|(id, stream)| {
            let key = (id.tenant.as_uuid(), id.key.as_str().to_owned());
            let messages = numbered.get(&key).copied().unwrap_or(0);
            stream.number(u32::try_from(messages).unwrap_or(0), self.now);
            messages > 0
        });
        if held.is_empty() {
            // Another relay has these keys at hand; that is no reason to come back at once.
            return Ok(false);
        }
        streams::write(&mut self.session, CLAIM, &held).await?;
        Ok(full)
    }

    /// The next keys in turn that have new messages: one or two statements.
    async fn keys_with_new(&mut self, limit: usize) -> StoreResult<Vec<StreamId>> {
        let turn = self.turn.get();
        let mut keys = self.keys_after(turn.as_ref(), limit).await?;
        if let Some(turn) = &turn
            && keys.len() < limit
        {
            let rest = self.keys_after(None, limit - keys.len()).await?;
            keys.extend(rest.into_iter().take_while(|key| key <= turn));
        }
        let last = keys.last().filter(|_| keys.len() == limit);
        self.turn.set(last.cloned());
        keys.iter()
            .map(|(tenant, key)| stream_id(CLAIM, *tenant, key))
            .collect()
    }

    /// Jumps from one key to the next, so that a key costs one step however many rows it has.
    async fn keys_after(
        &mut self,
        after: Option<&(Uuid, String)>,
        limit: usize,
    ) -> StoreResult<Vec<(Uuid, String)>> {
        let (tenant, key) = after.map_or((Uuid::nil(), ""), |(tenant, key)| (*tenant, key));
        let rows = sqlx::query_as!(
            KeyRow,
            r#"WITH RECURSIVE keys AS (
                (SELECT tenant_id, key FROM tenantry.outbox
                    WHERE sequence IS NULL AND (tenant_id, key) > ($1, $2)
                    ORDER BY tenant_id, key LIMIT 1)
                UNION ALL
                SELECT n.tenant_id, n.key FROM keys k CROSS JOIN LATERAL (
                    SELECT o.tenant_id, o.key FROM tenantry.outbox o
                    WHERE o.sequence IS NULL AND (o.tenant_id, o.key) > (k.tenant_id, k.key)
                    ORDER BY o.tenant_id, o.key LIMIT 1) n)
            SELECT tenant_id AS "tenant_id!", key AS "key!" FROM keys LIMIT $3"#,
            tenant,
            key,
            limit as i64,
        )
        .fetch_all(self.session.run(CLAIM)?)
        .await;
        let rows = self.session.check(CLAIM, rows)?;
        Ok(rows
            .into_iter()
            .map(|row| (row.tenant_id, row.key))
            .collect())
    }

    /// The first messages of claimed streams, stream after stream. One statement.
    async fn heads(
        &mut self,
        held: &[(StreamId, Stream)],
        limit: usize,
    ) -> StoreResult<Vec<Delivery>> {
        let (tenants, keys) = columns(held.iter().map(|(id, _)| id));
        let settled: Vec<i64> = held.iter().map(|(_, s)| s.settled_sequence).collect();
        let rows = sqlx::query_as!(
            MessageRow,
            r#"SELECT o.tenant_id, o.key, o.sequence AS "sequence!", o.kind,
                o.payload::text AS "payload!", o.occurred_at
            FROM UNNEST($1::uuid[], $2::text[], $3::bigint[])
                WITH ORDINALITY AS s (tenant_id, key, settled, place)
            CROSS JOIN LATERAL (
                SELECT m.tenant_id, m.key, m.sequence, m.kind, m.payload, m.occurred_at
                FROM tenantry.outbox m
                WHERE m.tenant_id = s.tenant_id AND m.key = s.key AND m.sequence > s.settled
                ORDER BY m.sequence LIMIT $4) o
            ORDER BY s.place, o.sequence"#,
            &tenants,
            &keys as &[&str],
            &settled,
            limit as i64,
        )
        .fetch_all(self.session.run(CLAIM)?)
        .await;
        let rows = self.session.check(CLAIM, rows)?;
        let streams: HashMap<&StreamId, &Stream> = held.iter().map(|(id, s)| (id, s)).collect();
        let delivery = |row: MessageRow| {
            let (id, sequence, message) = row.read()?;
            Ok(streams
                .get(&id)
                .map(|stream| stream.delivery(&id, sequence, &message)))
        };
        let deliveries = rows.into_iter().filter_map(|row| delivery(row).transpose());
        self.session.keep(deliveries.collect())
    }

    /// Marks messages as published: of each stream those from one number to another.
    async fn mark(&mut self, published: &[(&StreamId, i64, i64)]) -> StoreResult<()> {
        let (tenants, keys) = columns(published.iter().map(|(id, ..)| *id));
        let first: Vec<i64> = published.iter().map(|(_, first, _)| *first).collect();
        let through: Vec<i64> = published.iter().map(|(.., through)| *through).collect();
        let done = sqlx::query!(
            "UPDATE tenantry.outbox o SET settled_at = $5
            FROM UNNEST($1::uuid[], $2::text[], $3::bigint[], $4::bigint[])
                AS p (tenant_id, key, first, through)
            WHERE o.tenant_id = p.tenant_id AND o.key = p.key
                AND o.sequence >= p.first AND o.sequence <= p.through",
            &tenants,
            &keys as &[&str],
            &first,
            &through,
            self.now,
        )
        .execute(self.session.run(SETTLE)?)
        .await;
        self.session.check(SETTLE, done).map(drop)
    }
}

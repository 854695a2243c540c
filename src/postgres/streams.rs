//! The rows of the outbox's streams: read, locked and written back.
//!
//! A statement that waits for locks takes them in the order of tenant and key, so that relays never
//! wait for each other in a circle.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::corrupt;
use super::session::Session;
use crate::domain::ids::LeaseId;
use crate::domain::outbox::{MessageKey, Stream, StreamId, StreamState};
use crate::store::StoreResult;

struct StreamRow {
    tenant_id: Uuid,
    key: String,
    last_sequence: i64,
    settled_sequence: i64,
    due_at: Option<DateTime<Utc>>,
    lease_id: Option<Uuid>,
    attempts: i32,
    last_error: Option<String>,
    parked_at: Option<DateTime<Utc>>,
}

impl StreamRow {
    fn read(self, operation: &'static str) -> StoreResult<(StreamId, Stream)> {
        let state = match (self.parked_at, self.due_at, self.lease_id) {
            (Some(at), ..) => StreamState::Parked { at },
            (None, Some(until), Some(lease)) => StreamState::Leased {
                lease: lease.into(),
                until,
            },
            (None, Some(at), None) => StreamState::Due { at },
            (None, None, _) => StreamState::Idle,
        };
        let stream = Stream {
            last_sequence: self.last_sequence,
            settled_sequence: self.settled_sequence,
            state,
            attempts: self.attempts.unsigned_abs(),
            last_error: self.last_error,
        };
        Ok((stream_id(operation, self.tenant_id, &self.key)?, stream))
    }
}

/// The id of a stored stream.
pub(super) fn stream_id(operation: &'static str, tenant: Uuid, key: &str) -> StoreResult<StreamId> {
    let place = || format!("outbox_streams {tenant} key");
    Ok(StreamId {
        tenant: tenant.into(),
        key: MessageKey::new(key).map_err(|error| corrupt(operation, &place(), error))?,
    })
}

/// Tenants and keys by columns, for a statement.
pub(super) fn columns<'i>(ids: impl Iterator<Item = &'i StreamId>) -> (Vec<Uuid>, Vec<&'i str>) {
    ids.map(|id| (id.tenant.as_uuid(), id.key.as_str())).unzip()
}

/// Creates the streams that are missing, and locks them all but those that another relay has
/// locked at this moment. Two statements.
pub(super) async fn ensure(
    session: &mut Session<'_>,
    operation: &'static str,
    ids: &[StreamId],
) -> StoreResult<Vec<(StreamId, Stream)>> {
    let (tenants, keys) = columns(ids.iter());
    let done = sqlx::query!(
        "INSERT INTO tenantry.outbox_streams (tenant_id, key)
        SELECT i.tenant_id, i.key FROM UNNEST($1::uuid[], $2::text[]) AS i (tenant_id, key)
        ORDER BY i.tenant_id, i.key COLLATE \"C\"
        ON CONFLICT DO NOTHING",
        &tenants,
        &keys as &[&str],
    )
    .execute(session.run(operation)?)
    .await;
    session.check(operation, done)?;
    let rows = sqlx::query_as!(
        StreamRow,
        "SELECT s.tenant_id, s.key, s.last_sequence, s.settled_sequence, s.due_at, s.lease_id,
            s.attempts, s.last_error, s.parked_at
        FROM UNNEST($1::uuid[], $2::text[]) AS i (tenant_id, key)
        JOIN tenantry.outbox_streams s ON s.tenant_id = i.tenant_id AND s.key = i.key
        FOR UPDATE OF s SKIP LOCKED",
        &tenants,
        &keys as &[&str],
    )
    .fetch_all(session.run(operation)?)
    .await;
    read(session, operation, rows)
}

/// Locks streams, and waits for those that another relay has locked. One statement.
pub(super) async fn lock(
    session: &mut Session<'_>,
    operation: &'static str,
    ids: impl Iterator<Item = &StreamId>,
) -> StoreResult<Vec<(StreamId, Stream)>> {
    let (tenants, keys) = columns(ids);
    let rows = sqlx::query_as!(
        StreamRow,
        "SELECT s.tenant_id, s.key, s.last_sequence, s.settled_sequence, s.due_at, s.lease_id,
            s.attempts, s.last_error, s.parked_at
        FROM UNNEST($1::uuid[], $2::text[]) AS i (tenant_id, key)
        JOIN tenantry.outbox_streams s ON s.tenant_id = i.tenant_id AND s.key = i.key
        ORDER BY s.tenant_id, s.key
        FOR UPDATE OF s",
        &tenants,
        &keys as &[&str],
    )
    .fetch_all(session.run(operation)?)
    .await;
    read(session, operation, rows)
}

/// Locks the streams that are due, longest due first, but those that another relay has locked at
/// this moment. One statement.
pub(super) async fn lock_due(
    session: &mut Session<'_>,
    operation: &'static str,
    now: DateTime<Utc>,
    limit: usize,
) -> StoreResult<Vec<(StreamId, Stream)>> {
    let rows = sqlx::query_as!(
        StreamRow,
        "SELECT tenant_id, key, last_sequence, settled_sequence, due_at, lease_id, attempts,
            last_error, parked_at
        FROM tenantry.outbox_streams WHERE due_at <= $1 ORDER BY due_at LIMIT $2
        FOR UPDATE SKIP LOCKED",
        now,
        limit as i64,
    )
    .fetch_all(session.run(operation)?)
    .await;
    read(session, operation, rows)
}

fn read(
    session: &mut Session<'_>,
    operation: &'static str,
    rows: Result<Vec<StreamRow>, sqlx::Error>,
) -> StoreResult<Vec<(StreamId, Stream)>> {
    let rows = session.check(operation, rows)?;
    let streams = rows.into_iter().map(|row| row.read(operation)).collect();
    session.keep(streams)
}

/// Writes streams back that are locked. One statement.
pub(super) async fn write(
    session: &mut Session<'_>,
    operation: &'static str,
    streams: &[(StreamId, Stream)],
) -> StoreResult<()> {
    let (tenants, keys) = columns(streams.iter().map(|(id, _)| id));
    let states = || streams.iter().map(|(_, stream)| stream);
    let last: Vec<i64> = states().map(|stream| stream.last_sequence).collect();
    let settled: Vec<i64> = states().map(|stream| stream.settled_sequence).collect();
    let due: Vec<Option<DateTime<Utc>>> = states().map(Stream::due_at).collect();
    let leases: Vec<Option<Uuid>> = states()
        .map(|stream| match stream.state {
            StreamState::Leased { lease, .. } => Some(LeaseId::as_uuid(lease)),
            _ => None,
        })
        .collect();
    let attempts: Vec<i32> = states()
        .map(|stream| i32::try_from(stream.attempts).unwrap_or(i32::MAX))
        .collect();
    let errors: Vec<Option<&str>> = states().map(|s| s.last_error.as_deref()).collect();
    let parked: Vec<Option<DateTime<Utc>>> = states()
        .map(|stream| match stream.state {
            StreamState::Parked { at } => Some(at),
            _ => None,
        })
        .collect();
    let done = sqlx::query!(
        "UPDATE tenantry.outbox_streams s
        SET last_sequence = n.last_sequence, settled_sequence = n.settled_sequence,
            due_at = n.due_at, lease_id = n.lease_id, attempts = n.attempts,
            last_error = n.last_error, parked_at = n.parked_at
        FROM UNNEST($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::timestamptz[],
            $6::uuid[], $7::integer[], $8::text[], $9::timestamptz[])
            AS n (tenant_id, key, last_sequence, settled_sequence, due_at, lease_id, attempts,
                last_error, parked_at)
        WHERE s.tenant_id = n.tenant_id AND s.key = n.key",
        &tenants,
        &keys as &[&str],
        &last,
        &settled,
        &due as &[Option<DateTime<Utc>>],
        &leases as &[Option<Uuid>],
        &attempts,
        &errors as &[Option<&str>],
        &parked as &[Option<DateTime<Utc>>],
    )
    .execute(session.run(operation)?)
    .await;
    session.check(operation, done).map(drop)
}

//! Counters that are made, or made right, from the rows that they follow.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::limits::{number, span_of};
use super::unit::PgTx;
use crate::domain::ids::{after, floor};
use crate::domain::limits::{CountedBy, LimitSpan};
use crate::store::{Counter, Drift, StoreResult};

/// Windows as columns: the counter's key, the ids and instants of the usage it follows.
struct Columns<'s> {
    names: Vec<&'s str>,
    starts: Vec<DateTime<Utc>>,
    ends: Vec<Option<DateTime<Utc>>>,
    /// Whether the counter follows usage of the meter of its name.
    follows: Vec<bool>,
    first: Vec<Uuid>,
    last: Vec<Uuid>,
}

impl<'s> Columns<'s> {
    fn of(spans: &'s [LimitSpan]) -> Self {
        let follows = |span: &LimitSpan| matches!(CountedBy::of(&span.limit), CountedBy::Usage(_));
        Self {
            names: spans.iter().map(|span| span.limit.as_str()).collect(),
            starts: spans.iter().map(|span| span.start).collect(),
            ends: spans.iter().map(|span| span.end).collect(),
            follows: spans.iter().map(follows).collect(),
            first: spans.iter().map(|span| floor(span.start)).collect(),
            last: spans
                .iter()
                .map(|span| span.end.map_or(Uuid::max(), after))
                .collect(),
        }
    }
}

struct DriftRow {
    limit_name: String,
    window_start: DateTime<Utc>,
    window_end: Option<DateTime<Utc>>,
    used_before: i64,
    reserved_before: i64,
    used: i64,
    reserved: i64,
}

impl DriftRow {
    fn read(self, operation: &'static str) -> StoreResult<Drift> {
        Ok(Drift {
            span: LimitSpan {
                end: self.window_end,
                ..span_of(operation, &self.limit_name, self.window_start)?
            },
            before: Counter {
                used: number(self.used_before),
                reserved: number(self.reserved_before),
            },
            after: Counter {
                used: number(self.used),
                reserved: number(self.reserved),
            },
        })
    }
}

impl PgTx<'_> {
    /// Makes the counters that are not there yet. A second unit that does so waits for the first,
    /// and then finds its counter.
    pub(super) async fn open_counters(
        &mut self,
        operation: &'static str,
        spans: &[LimitSpan],
    ) -> StoreResult<()> {
        let (tenant, columns) = (self.tenant(), Columns::of(spans));
        let done = sqlx::query!(
            "INSERT INTO tenantry.limit_counters (tenant_id, limit_name, window_start, used, reserved)
            SELECT DISTINCT ON (s.limit_name, s.start_at) $1::uuid, s.limit_name, s.start_at, CASE
                WHEN s.follows THEN (
                    SELECT greatest(coalesce(trunc(sum(u.quantity)), 0), 0)
                    FROM tenantry.usage_records u
                    WHERE u.tenant_id = $1 AND u.id >= s.first_id AND u.id < s.last_id
                        AND u.usage_type = s.limit_name AND u.occurred_at >= s.start_at
                        AND (s.end_at IS NULL OR u.occurred_at < s.end_at))
                ELSE 0 END, 0
            FROM UNNEST($2::text[], $3::timestamptz[], $4::timestamptz[], $5::boolean[],
                $6::uuid[], $7::uuid[]) s (limit_name, start_at, end_at, follows, first_id, last_id)
            WHERE NOT EXISTS (
                SELECT FROM tenantry.limit_counters c
                WHERE c.tenant_id = $1 AND c.limit_name = s.limit_name
                    AND c.window_start = s.start_at)
            ORDER BY s.limit_name, s.start_at
            ON CONFLICT DO NOTHING",
            tenant,
            &columns.names as &[&str],
            &columns.starts,
            &columns.ends as &[Option<DateTime<Utc>>],
            &columns.follows,
            &columns.first,
            &columns.last,
        )
        .execute(self.session.run(operation)?)
        .await;
        self.session.check(operation, done).map(drop)
    }

    /// Brings counters in line with the rows. The counters are locked first, by a statement of its
    /// own: a sum in the same statement would not see what was committed while it waited.
    pub(super) async fn reconcile_counters(
        &mut self,
        operation: &'static str,
        spans: &[LimitSpan],
    ) -> StoreResult<Vec<Drift>> {
        let (tenant, columns) = (self.tenant(), Columns::of(spans));
        let locked = sqlx::query!(
            "SELECT FROM tenantry.limit_counters c
            WHERE c.tenant_id = $1 AND (c.limit_name, c.window_start) IN (
                SELECT * FROM UNNEST($2::text[], $3::timestamptz[]))
            ORDER BY c.limit_name, c.window_start FOR UPDATE",
            tenant,
            &columns.names as &[&str],
            &columns.starts,
        )
        .execute(self.session.run(operation)?)
        .await;
        self.session.check(operation, locked)?;
        let rows = sqlx::query_as!(
            DriftRow,
            r#"WITH right_ones AS (
                SELECT c.limit_name, c.window_start, s.end_at, c.used AS used_before,
                    c.reserved AS reserved_before,
                    CASE WHEN s.follows THEN (
                        SELECT greatest(coalesce(trunc(sum(u.quantity)), 0), 0)::bigint
                        FROM tenantry.usage_records u
                        WHERE u.tenant_id = $1 AND u.id >= s.first_id AND u.id < s.last_id
                            AND u.usage_type = s.limit_name AND u.occurred_at >= s.start_at
                            AND (s.end_at IS NULL OR u.occurred_at < s.end_at))
                    ELSE c.used END AS used,
                    (SELECT coalesce(sum(r.amount), 0)::bigint
                        FROM tenantry.limit_reservations r
                        WHERE r.tenant_id = $1 AND r.limit_name = s.limit_name
                            AND r.window_start = s.start_at AND r.state = 'held') AS reserved
                FROM UNNEST($2::text[], $3::timestamptz[], $4::timestamptz[], $5::boolean[],
                    $6::uuid[], $7::uuid[])
                    s (limit_name, start_at, end_at, follows, first_id, last_id)
                JOIN tenantry.limit_counters c ON c.tenant_id = $1
                    AND c.limit_name = s.limit_name AND c.window_start = s.start_at),
            changed AS (
                UPDATE tenantry.limit_counters c SET used = o.used, reserved = o.reserved
                FROM right_ones o
                WHERE c.tenant_id = $1 AND c.limit_name = o.limit_name
                    AND c.window_start = o.window_start
                    AND (o.used, o.reserved) <> (o.used_before, o.reserved_before)
                RETURNING c.limit_name, c.window_start, c.used, c.reserved)
            SELECT d.limit_name, d.window_start, o.end_at AS window_end,
                o.used_before, o.reserved_before, d.used, d.reserved
            FROM changed d JOIN right_ones o
                ON o.limit_name = d.limit_name AND o.window_start = d.window_start
            ORDER BY d.limit_name, d.window_start"#,
            tenant,
            &columns.names as &[&str],
            &columns.starts,
            &columns.ends as &[Option<DateTime<Utc>>],
            &columns.follows,
            &columns.first,
            &columns.last,
        )
        .fetch_all(self.session.run(operation)?)
        .await;
        let rows = self.session.check(operation, rows)?;
        let drifts = rows.into_iter().map(|row| row.read(operation)).collect();
        self.session.keep(drifts)
    }
}

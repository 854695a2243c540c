//! The sweep over all tenants' reservations.

use async_trait::async_trait;
use chrono::TimeDelta;

use super::limits::number;
use super::platform::PgPlatform;
use crate::domain::limits::Reservation;
use crate::store::{ReservationSweep, StoreResult, Swept};

#[async_trait]
impl ReservationSweep for PgPlatform {
    async fn sweep(&mut self, limit: usize) -> StoreResult<Swept> {
        const OPERATION: &str = "reservations.sweep";
        let now = self.now;
        let old = now - TimeDelta::hours(Reservation::KEPT_HOURS);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let expired = sqlx::query_scalar!(
            r#"WITH due AS (
                SELECT tenant_id, id FROM tenantry.limit_reservations
                WHERE state = 'held' AND expires_at <= $1
                ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED),
            ended AS (
                UPDATE tenantry.limit_reservations r SET state = 'expired' FROM due d
                WHERE r.tenant_id = d.tenant_id AND r.id = d.id
                RETURNING r.tenant_id, r.limit_name, r.window_start, r.amount),
            sums AS (
                SELECT tenant_id, limit_name, window_start, sum(amount)::bigint AS amount
                FROM ended GROUP BY tenant_id, limit_name, window_start),
            locked AS (
                SELECT c.tenant_id, c.limit_name, c.window_start, s.amount
                FROM tenantry.limit_counters c JOIN sums s ON s.tenant_id = c.tenant_id
                    AND s.limit_name = c.limit_name AND s.window_start = c.window_start
                ORDER BY c.tenant_id, c.limit_name, c.window_start FOR UPDATE OF c),
            counters AS (
                UPDATE tenantry.limit_counters c
                SET reserved = greatest(c.reserved - l.amount, 0) FROM locked l
                WHERE c.tenant_id = l.tenant_id AND c.limit_name = l.limit_name
                    AND c.window_start = l.window_start)
            SELECT count(*) AS "count!" FROM ended"#,
            now,
            limit,
        )
        .fetch_one(self.session.run(OPERATION)?)
        .await;
        let expired = number(self.session.check(OPERATION, expired)?);
        let gone = sqlx::query!(
            "WITH old AS (
                SELECT tenant_id, id FROM tenantry.limit_reservations
                WHERE expires_at <= $1
                ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
            DELETE FROM tenantry.limit_reservations r USING old o
            WHERE r.tenant_id = o.tenant_id AND r.id = o.id",
            old,
            limit,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        let forgotten = self.session.check(OPERATION, gone)?.rows_affected();
        Ok(Swept { expired, forgotten })
    }
}

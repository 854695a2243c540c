//! Limits on PostgreSQL.
//!
//! An admission is one statement: it locks the counter, reads it as it is under the lock, and
//! writes as many reservations as fit. The counter stays locked until the unit ends, so it is the
//! last thing that a unit touches.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::corrupt;
use super::unit::PgTx;
use crate::domain::catalogue::LimitName;
use crate::domain::ids::ReservationId;
use crate::domain::limits::{
    Bounds, CountedRows, Crossing, LimitSpan, LimitTerms, Reservation, Settlement, Threshold,
    crossed,
};
use crate::domain::text::TextError;
use crate::store::{
    Admission, Counter, Drift, LimitRepo, LimitUse, RowAdmission, Settled, StoreError,
    StoreErrorKind, StoreResult, TenantRepo,
};

/// The thresholds there are, as the table has them.
fn percents() -> [i16; 2] {
    Threshold::ALL.map(|threshold| i16::from(threshold.percent()))
}

struct CounterRow {
    used: i64,
    reserved: i64,
    granted: i64,
}

struct ReservationRow {
    id: Uuid,
    limit_name: String,
    window_start: DateTime<Utc>,
    amount: i64,
    expires_at: DateTime<Utc>,
    state: String,
}

impl ReservationRow {
    fn read(self, operation: &'static str) -> StoreResult<Reservation> {
        let place = format!("limit_reservations {}", self.id);
        let broken = |error: TextError| corrupt(operation, &place, error);
        Ok(Reservation {
            id: self.id.into(),
            limit: LimitName::new(&self.limit_name).map_err(broken)?,
            window_start: self.window_start,
            amount: number(self.amount),
            expires_at: self.expires_at,
            state: self.state.parse().map_err(broken)?,
        })
    }
}

/// A counter that was changed, and a threshold that this crossed for the first time.
struct ChangeRow {
    limit_name: String,
    window_start: DateTime<Utc>,
    used: i64,
    bound: Option<i64>,
    percent: Option<i16>,
}

impl ChangeRow {
    fn read(&self, operation: &'static str) -> StoreResult<Option<Crossing>> {
        let threshold = self.percent.and_then(|percent| {
            let percent = u8::try_from(percent).ok()?;
            Threshold::of_percent(percent)
        });
        let (Some(threshold), Some(bound)) = (threshold, self.bound) else {
            return Ok(None);
        };
        Ok(Some(Crossing {
            limit: span_of(operation, &self.limit_name, self.window_start)?.limit,
            window_start: self.window_start,
            threshold,
            bound: number(bound),
            used: number(self.used),
        }))
    }
}

/// What is to be added to a counter.
#[derive(Debug, Default)]
struct Move {
    used: i64,
    reserved: i64,
    /// What thresholds are shares of.
    base: Option<i64>,
}

/// By limit and window: the order in which counters are locked.
type Moves<'m> = BTreeMap<(&'m str, DateTime<Utc>), Move>;

pub(super) fn span_of(
    operation: &'static str,
    limit: &str,
    start: DateTime<Utc>,
) -> StoreResult<LimitSpan> {
    let broken = |error| corrupt(operation, &format!("limit_counters {limit}"), error);
    Ok(LimitSpan {
        limit: LimitName::new(limit).map_err(broken)?,
        start,
        end: None,
    })
}

pub(super) fn number(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

/// The largest number that a counter can hold stands for all that are larger.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl PgTx<'_> {
    /// One try to reserve; nothing if the counter is not open.
    async fn try_reserve(
        &mut self,
        operation: &'static str,
        span: &LimitSpan,
        hard: Option<u64>,
        asked: &[Reservation],
    ) -> StoreResult<Option<Admission>> {
        let tenant = self.tenant();
        let ids: Vec<Uuid> = asked.iter().map(|asked| asked.id.as_uuid()).collect();
        let amounts: Vec<i64> = asked.iter().map(|asked| stored(asked.amount)).collect();
        let ends: Vec<_> = asked.iter().map(|asked| asked.expires_at).collect();
        // The counter is read FOR UPDATE: after a wait, as it was left, not as it was when the
        // statement began. So the sums below are sums of what is there under the lock.
        let row = sqlx::query_as!(
            CounterRow,
            r#"WITH locked AS (
                SELECT used, reserved FROM tenantry.limit_counters
                WHERE tenant_id = $1 AND limit_name = $2 AND window_start = $3 FOR UPDATE),
            granted AS (
                SELECT a.id, a.amount, a.expires_at
                FROM (SELECT a.*, sum(a.amount) OVER (ORDER BY a.place) AS upto
                    FROM UNNEST($5::uuid[], $6::bigint[], $7::timestamptz[])
                        WITH ORDINALITY AS a (id, amount, expires_at, place)) a, locked l
                WHERE $4::bigint IS NULL OR a.upto <= $4::numeric - l.used - l.reserved),
            held AS (
                INSERT INTO tenantry.limit_reservations
                    (tenant_id, id, limit_name, window_start, amount, expires_at, state)
                SELECT $1, id, $2, $3, amount, expires_at, 'held' FROM granted),
            total AS (SELECT sum(amount)::bigint AS amount, count(*) AS granted FROM granted),
            counter AS (
                UPDATE tenantry.limit_counters c SET reserved = c.reserved + t.amount FROM total t
                WHERE c.tenant_id = $1 AND c.limit_name = $2 AND c.window_start = $3
                    AND t.granted > 0)
            SELECT l.used, l.reserved + coalesce(t.amount, 0) AS "reserved!",
                t.granted AS "granted!"
            FROM locked l, total t"#,
            tenant,
            span.limit.as_str(),
            span.start,
            hard.map(stored),
            &ids,
            &amounts,
            &ends,
        )
        .fetch_optional(self.session.run(operation)?)
        .await;
        let row = self.session.check(operation, row)?;
        Ok(row.map(|row| Admission {
            granted: usize::try_from(row.granted).unwrap_or(0),
            counter: Counter {
                used: number(row.used),
                reserved: number(row.reserved),
            },
        }))
    }

    /// Tells the thresholds between a former use and a present one that were not told yet.
    async fn tell(
        &mut self,
        operation: &'static str,
        span: &LimitSpan,
        former: u64,
        used: u64,
        base: Option<u64>,
    ) -> StoreResult<Vec<Crossing>> {
        let between = base.map(|bound| crossed(former, used, bound));
        let between: Vec<Threshold> = between.into_iter().flatten().collect();
        let (Some(bound), false) = (base, between.is_empty()) else {
            return Ok(Vec::new());
        };
        let (tenant, now) = (self.tenant(), self.now);
        let percents: Vec<i16> = between.iter().map(|t| i16::from(t.percent())).collect();
        let told = sqlx::query_scalar!(
            "INSERT INTO tenantry.limit_thresholds
                (tenant_id, limit_name, window_start, percent, bound, used, crossed_at)
            SELECT $1, $2, $3, p, $5, $6, $7 FROM UNNEST($4::smallint[]) p
            ON CONFLICT DO NOTHING RETURNING percent",
            tenant,
            span.limit.as_str(),
            span.start,
            &percents,
            stored(bound),
            stored(used),
            now,
        )
        .fetch_all(self.session.run(operation)?)
        .await;
        let told = self.session.check(operation, told)?;
        let told = between
            .into_iter()
            .filter(|threshold| told.contains(&i16::from(threshold.percent())));
        Ok(told
            .map(|threshold| Crossing {
                limit: span.limit.clone(),
                window_start: span.start,
                threshold,
                bound,
                used,
            })
            .collect())
    }

    /// Moves counters that are open, in the order of their keys, and tells the thresholds that
    /// this crosses.
    async fn move_counters(
        &mut self,
        operation: &'static str,
        moves: &Moves<'_>,
    ) -> StoreResult<Vec<ChangeRow>> {
        let (tenant, now) = (self.tenant(), self.now);
        let (names, starts): (Vec<&str>, Vec<_>) = moves.keys().copied().unzip();
        let used: Vec<i64> = moves.values().map(|change| change.used).collect();
        let reserved: Vec<i64> = moves.values().map(|change| change.reserved).collect();
        let bases: Vec<Option<i64>> = moves.values().map(|change| change.base).collect();
        let changed = sqlx::query_as!(
            ChangeRow,
            r#"WITH locked AS (
                SELECT c.limit_name, c.window_start, c.used AS former, m.used, m.reserved, m.base
                FROM tenantry.limit_counters c
                JOIN UNNEST($2::text[], $3::timestamptz[], $4::bigint[], $5::bigint[], $6::bigint[])
                    AS m (limit_name, window_start, used, reserved, base)
                    ON m.limit_name = c.limit_name AND m.window_start = c.window_start
                WHERE c.tenant_id = $1
                ORDER BY c.limit_name, c.window_start FOR UPDATE OF c),
            changed AS (
                UPDATE tenantry.limit_counters c SET
                    used = greatest(c.used + l.used, 0),
                    reserved = greatest(c.reserved + l.reserved, 0)
                FROM locked l
                WHERE c.tenant_id = $1 AND c.limit_name = l.limit_name
                    AND c.window_start = l.window_start
                RETURNING c.limit_name, c.window_start, l.former, c.used, l.base),
            told AS (
                INSERT INTO tenantry.limit_thresholds
                    (tenant_id, limit_name, window_start, percent, bound, used, crossed_at)
                SELECT $1, c.limit_name, c.window_start, p, c.base, c.used, $8
                FROM changed c, UNNEST($7::smallint[]) p
                WHERE c.former::numeric * 100 < c.base::numeric * p
                    AND c.used::numeric * 100 >= c.base::numeric * p
                ON CONFLICT DO NOTHING
                RETURNING limit_name, window_start, percent)
            SELECT c.limit_name, c.window_start, c.used, c.base AS "bound?", t.percent AS "percent?"
            FROM changed c LEFT JOIN told t
                ON t.limit_name = c.limit_name AND t.window_start = c.window_start
            ORDER BY c.limit_name, c.window_start, t.percent"#,
            tenant,
            &names as &[&str],
            &starts,
            &used,
            &reserved,
            &bases as &[Option<i64>],
            &percents(),
            now,
        )
        .fetch_all(self.session.run(operation)?)
        .await;
        self.session.check(operation, changed)
    }

    fn crossings(
        &mut self,
        operation: &'static str,
        rows: &[ChangeRow],
    ) -> StoreResult<Vec<Crossing>> {
        let crossings = rows.iter().map(|row| row.read(operation));
        let crossings = crossings.filter_map(Result::transpose).collect();
        self.session.keep(crossings)
    }
}

#[async_trait]
impl LimitRepo for PgTx<'_> {
    async fn terms(&mut self) -> StoreResult<Option<LimitTerms>> {
        self.limit_terms("limits.terms").await
    }

    async fn count_rows(&mut self, rows: CountedRows) -> StoreResult<u64> {
        const OPERATION: &str = "limits.count_rows";
        let tenant = self.tenant();
        let statements = self.session.run(OPERATION)?;
        let count = match rows {
            CountedRows::Workflows => {
                sqlx::query_scalar!(
                    r#"SELECT count(*) AS "count!" FROM tenantry.workflows
                    WHERE tenant_id = $1 AND archived_at IS NULL"#,
                    tenant,
                )
                .fetch_one(statements)
                .await
            }
            CountedRows::Users => {
                sqlx::query_scalar!(
                    r#"SELECT count(*) AS "count!" FROM tenantry.users
                    WHERE tenant_id = $1 AND status = 'active'"#,
                    tenant,
                )
                .fetch_one(statements)
                .await
            }
        };
        self.session.check(OPERATION, count).map(number)
    }

    async fn admit_rows(
        &mut self,
        rows: CountedRows,
        asked: u64,
        bounds: &Bounds,
    ) -> StoreResult<RowAdmission> {
        const OPERATION: &str = "limits.admit_rows";
        // Two statements: one that counted and locked at once would count what was there before it
        // waited for the lock.
        if TenantRepo::lock(self).await?.is_none() {
            let missing = StoreError::new(StoreErrorKind::NotFound, OPERATION);
            return self.session.keep(Err(missing.with_detail("tenant")));
        }
        let present = self.count_rows(rows).await?;
        let room = bounds
            .hard
            .map_or(asked, |hard| hard.saturating_sub(present));
        let granted = asked.min(room);
        let span = LimitSpan {
            limit: bounds.limit.clone(),
            start: DateTime::UNIX_EPOCH,
            end: None,
        };
        let next = present.saturating_add(granted);
        let crossings = self
            .tell(OPERATION, &span, present, next, bounds.base())
            .await?;
        Ok(RowAdmission {
            granted,
            present,
            crossings,
        })
    }

    async fn open(&mut self, spans: &[LimitSpan]) -> StoreResult<()> {
        const OPERATION: &str = "limits.open";
        if spans.is_empty() {
            return self.session.run(OPERATION).map(drop);
        }
        self.open_counters(OPERATION, spans).await
    }

    async fn reserve(
        &mut self,
        span: &LimitSpan,
        hard: Option<u64>,
        asked: &[Reservation],
    ) -> StoreResult<Admission> {
        const OPERATION: &str = "limits.reserve";
        if let Some(done) = self.try_reserve(OPERATION, span, hard, asked).await? {
            return Ok(done);
        }
        self.open_counters(OPERATION, std::slice::from_ref(span))
            .await?;
        let done = self.try_reserve(OPERATION, span, hard, asked).await?;
        self.session
            .keep(done.ok_or_else(|| StoreError::new(StoreErrorKind::Conflict, OPERATION)))
    }

    async fn reservation(&mut self, id: ReservationId) -> StoreResult<Option<Reservation>> {
        const OPERATION: &str = "limits.reservation";
        let tenant = self.tenant();
        let row = sqlx::query_as!(
            ReservationRow,
            "SELECT id, limit_name, window_start, amount, expires_at, state
            FROM tenantry.limit_reservations WHERE tenant_id = $1 AND id = $2",
            tenant,
            id.as_uuid(),
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        let row = self.session.check(OPERATION, row)?;
        self.session
            .keep(row.map(|row| row.read(OPERATION)).transpose())
    }

    async fn settle(
        &mut self,
        ids: &[ReservationId],
        into: Settlement,
        bounds: &[Bounds],
    ) -> StoreResult<Settled> {
        const OPERATION: &str = "limits.settle";
        let tenant = self.tenant();
        let ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        let statements = self.session.run(OPERATION)?;
        if ids.is_empty() {
            return Ok(Settled::default());
        }
        let rows = sqlx::query_as!(
            ReservationRow,
            "WITH held AS (
                SELECT id FROM tenantry.limit_reservations
                WHERE tenant_id = $1 AND id = ANY ($2) AND state = 'held'
                ORDER BY id FOR UPDATE)
            UPDATE tenantry.limit_reservations r SET state = $3 FROM held h
            WHERE r.tenant_id = $1 AND r.id = h.id
            RETURNING r.id, r.limit_name, r.window_start, r.amount, r.expires_at, r.state",
            tenant,
            &ids,
            into.state().as_str(),
        )
        .fetch_all(statements)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        let read = rows.into_iter().map(|row| row.read(OPERATION)).collect();
        let mut reservations: Vec<Reservation> = self.session.keep(read)?;
        reservations.sort_unstable_by_key(|reservation| reservation.id);
        let base = |limit: &LimitName| {
            let of_limit = bounds.iter().find(|bounds| bounds.limit == *limit);
            of_limit.and_then(Bounds::base).map(stored)
        };
        let mut moves = Moves::new();
        for settled in &reservations {
            let counter = (settled.limit.as_str(), settled.window_start);
            let amount = stored(settled.amount);
            let change = moves.entry(counter).or_default();
            change.reserved = change.reserved.saturating_sub(amount);
            if into == Settlement::Commit {
                change.used = change.used.saturating_add(amount);
                change.base = base(&settled.limit);
            }
        }
        if moves.is_empty() {
            return Ok(Settled::default());
        }
        let changed = self.move_counters(OPERATION, &moves).await?;
        let crossings = self.crossings(OPERATION, &changed)?;
        Ok(Settled {
            reservations,
            crossings,
        })
    }

    async fn record(&mut self, uses: &[LimitUse]) -> StoreResult<Vec<Crossing>> {
        const OPERATION: &str = "limits.record";
        if uses.is_empty() {
            return self.session.run(OPERATION).map(|_| Vec::new());
        }
        let mut moves = Moves::new();
        for used in uses {
            let counter = (used.span.limit.as_str(), used.span.start);
            let change = moves.entry(counter).or_default();
            change.used = change.used.saturating_add(used.amount);
            change.base = change.base.max(used.base.map(stored));
        }
        let changed = self.move_counters(OPERATION, &moves).await?;
        let mut counters: Vec<_> = changed
            .iter()
            .map(|c| (&c.limit_name, c.window_start))
            .collect();
        counters.dedup();
        if counters.len() < moves.len() {
            let missing = StoreError::new(StoreErrorKind::NotFound, OPERATION);
            return self
                .session
                .keep(Err(missing.with_detail("limit_counters")));
        }
        self.crossings(OPERATION, &changed)
    }

    async fn set_level(
        &mut self,
        span: &LimitSpan,
        level: u64,
        bounds: &Bounds,
    ) -> StoreResult<Option<Vec<Crossing>>> {
        const OPERATION: &str = "limits.set_level";
        self.open_counters(OPERATION, std::slice::from_ref(span))
            .await?;
        let tenant = self.tenant();
        let row = sqlx::query!(
            r#"WITH locked AS (
                SELECT used FROM tenantry.limit_counters
                WHERE tenant_id = $1 AND limit_name = $2 AND window_start = $3 FOR UPDATE),
            changed AS (
                UPDATE tenantry.limit_counters c SET used = $4 FROM locked l
                WHERE c.tenant_id = $1 AND c.limit_name = $2 AND c.window_start = $3
                    AND ($5::bigint IS NULL OR $4 <= $5 OR $4 <= l.used)
                RETURNING c.used)
            SELECT l.used AS former, (SELECT used FROM changed) AS "used?" FROM locked l"#,
            tenant,
            span.limit.as_str(),
            span.start,
            stored(level),
            bounds.hard.map(stored),
        )
        .fetch_one(self.session.run(OPERATION)?)
        .await;
        let row = self.session.check(OPERATION, row)?;
        let Some(used) = row.used else {
            return Ok(None);
        };
        let (former, used) = (number(row.former), number(used));
        let told = self.tell(OPERATION, span, former, used, bounds.base());
        told.await.map(Some)
    }

    async fn counters(&mut self, spans: &[LimitSpan]) -> StoreResult<Vec<Counter>> {
        const OPERATION: &str = "limits.counters";
        let tenant = self.tenant();
        let names: Vec<&str> = spans.iter().map(|span| span.limit.as_str()).collect();
        let starts: Vec<_> = spans.iter().map(|span| span.start).collect();
        let rows = sqlx::query!(
            r#"SELECT coalesce(c.used, 0) AS "used!", coalesce(c.reserved, 0) AS "reserved!"
            FROM UNNEST($2::text[], $3::timestamptz[])
                WITH ORDINALITY AS s (limit_name, start_at, place)
            LEFT JOIN tenantry.limit_counters c ON c.tenant_id = $1
                AND c.limit_name = s.limit_name AND c.window_start = s.start_at
            ORDER BY s.place"#,
            tenant,
            &names as &[&str],
            &starts,
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        Ok(rows
            .into_iter()
            .map(|row| Counter {
                used: number(row.used),
                reserved: number(row.reserved),
            })
            .collect())
    }

    async fn expire(&mut self, span: &LimitSpan) -> StoreResult<u64> {
        const OPERATION: &str = "limits.expire";
        let (tenant, now) = (self.tenant(), self.now);
        // Whoever settles a reservation has it locked and waits for the counter next: to wait for
        // the reservation here, with the counter locked, would be a deadlock. To go on without it
        // would be to refuse what is about to be given back.
        let row = sqlx::query!(
            r#"WITH due AS (
                SELECT id FROM tenantry.limit_reservations
                WHERE tenant_id = $1 AND limit_name = $2 AND window_start = $3
                    AND state = 'held' AND expires_at <= $4
                FOR UPDATE SKIP LOCKED),
            ended AS (
                UPDATE tenantry.limit_reservations r SET state = 'expired' FROM due d
                WHERE r.tenant_id = $1 AND r.id = d.id RETURNING r.amount),
            total AS (SELECT coalesce(sum(amount), 0)::bigint AS amount, count(*) AS ended FROM ended),
            counter AS (
                UPDATE tenantry.limit_counters c
                SET reserved = greatest(c.reserved - t.amount, 0) FROM total t
                WHERE c.tenant_id = $1 AND c.limit_name = $2 AND c.window_start = $3
                    AND t.amount > 0)
            SELECT t.amount AS "amount!", t.ended < (
                SELECT count(*) FROM tenantry.limit_reservations
                WHERE tenant_id = $1 AND limit_name = $2 AND window_start = $3
                    AND state = 'held' AND expires_at <= $4) AS "skipped!"
            FROM total t"#,
            tenant,
            span.limit.as_str(),
            span.start,
            now,
        )
        .fetch_one(self.session.run(OPERATION)?)
        .await;
        let row = self.session.check(OPERATION, row)?;
        self.session.keep(if row.skipped {
            Err(StoreError::new(StoreErrorKind::Conflict, OPERATION))
        } else {
            Ok(number(row.amount))
        })
    }

    async fn reconcile(&mut self, spans: &[LimitSpan]) -> StoreResult<Vec<Drift>> {
        const OPERATION: &str = "limits.reconcile";
        let mut spans = spans.to_vec();
        spans.sort_unstable();
        spans.dedup();
        self.reconcile_counters(OPERATION, &spans).await
    }
}

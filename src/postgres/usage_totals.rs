//! What usage adds up to, on PostgreSQL: one statement for each of four ways to sum, as far as the
//! meters ask for it.
//!
//! The database sums exactly and answers whole numbers in digits; what becomes of them is the same
//! here as in memory.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::unit::PgTx;
use crate::domain::ids::{SubscriptionId, after, floor};
use crate::domain::metering::{
    Aggregation, Exact, Meter, MeteringError, Sum, UsageTotal, Weighted,
};
use crate::domain::time::Period;
use crate::store::{StoreError, StoreErrorKind, StoreResult};

const OPERATION: &str = "usage.totals";

/// Which totals are asked for.
#[derive(Clone, Copy)]
struct Question<'m> {
    meters: &'m [Meter],
    period: Period,
    subscription: Option<Uuid>,
}

impl<'m> Question<'m> {
    fn names(&self, wanted: &[Aggregation]) -> Vec<&'m str> {
        let meters = self.meters.iter();
        let meters = meters.filter(|meter| wanted.contains(&meter.aggregation));
        meters.map(|meter| meter.name.as_str()).collect()
    }
}

/// A sum in trillionths.
struct PlainRow {
    meter: String,
    sum: String,
    count: i64,
}

/// Sums of quantity times microseconds: whole units, and the trillionths beside them.
struct WeightedRow {
    meter: String,
    whole: String,
    trillionths: String,
    count: i64,
}

/// What can be said only of the records that are not voided. Quantities are in trillionths.
struct StandingRow {
    meter: String,
    largest: String,
    latest: String,
    different: i64,
    count: i64,
}

/// Digits as a number; `None` where there are too many.
fn plain(trillionths: &str) -> Option<Sum> {
    let trillionths: i128 = trillionths.parse().ok()?;
    Some(Sum::Plain(Exact::from(trillionths)))
}

fn number(number: i64) -> Option<Sum> {
    Exact::of(number.into()).map(Sum::Plain)
}

impl WeightedRow {
    fn sum(&self) -> Option<Sum> {
        let sums = (self.whole.parse().ok()?, self.trillionths.parse().ok()?);
        Some(Sum::Weighted(Weighted::from(sums)))
    }
}

impl PgTx<'_> {
    pub(super) async fn usage_totals(
        &mut self,
        meters: &[Meter],
        period: Period,
        subscription: Option<SubscriptionId>,
    ) -> StoreResult<Vec<UsageTotal>> {
        let question = Question {
            meters,
            period,
            subscription: subscription.map(SubscriptionId::as_uuid),
        };
        let present = Some(period.start());
        let summed = [Aggregation::Sum, Aggregation::Count];
        let plain_sums = self.plain_sums(question, &summed, present).await?;
        let levels = self
            .plain_sums(question, &[Aggregation::Level], None)
            .await?;
        let weighted = self.weighted_sums(question).await?;
        let standing = self.standing(question).await?;
        let totals: Result<_, MeteringError> = meters
            .iter()
            .map(|meter| {
                let name = meter.name.as_str();
                let known = match meter.aggregation {
                    Aggregation::Sum => plain_sums.get(name).map(|r| (plain(&r.sum), r.count)),
                    Aggregation::Count => plain_sums.get(name).map(|r| (number(r.count), r.count)),
                    Aggregation::Level => levels.get(name).map(|r| (plain(&r.sum), r.count)),
                    Aggregation::TimeWeightedSum => weighted.get(name).map(|r| (r.sum(), r.count)),
                    Aggregation::Max => standing.get(name).map(|r| (plain(&r.largest), r.count)),
                    Aggregation::Latest => standing.get(name).map(|r| (plain(&r.latest), r.count)),
                    Aggregation::UniqueCount => {
                        standing.get(name).map(|r| (number(r.different), r.count))
                    }
                };
                let (sum, count) = known.unwrap_or((number(0), 0));
                UsageTotal::of(meter, period, sum, count)
            })
            .collect();
        let totals = totals.map_err(|error| {
            StoreError::new(StoreErrorKind::Invalid, OPERATION).with_source(error)
        });
        self.session.keep(totals)
    }

    /// The sums before the period's end, from `first` on; the counts are always of the period.
    async fn plain_sums(
        &mut self,
        question: Question<'_>,
        wanted: &[Aggregation],
        first: Option<DateTime<Utc>>,
    ) -> StoreResult<HashMap<String, PlainRow>> {
        let (tenant, names, period) = (self.tenant(), question.names(wanted), question.period);
        if names.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = sqlx::query_as!(
            PlainRow,
            r#"SELECT usage_type AS meter,
                trunc(sum(quantity) * 1000000000000)::text AS "sum!",
                coalesce(sum(CASE WHEN voids THEN -1 ELSE 1 END)
                    FILTER (WHERE occurred_at >= $8), 0) AS "count!"
            FROM tenantry.usage_records
            WHERE tenant_id = $1 AND usage_type = ANY($2)
                AND id >= $3 AND id < $4
                AND ($5::timestamptz IS NULL OR occurred_at >= $5) AND occurred_at < $6
                AND ($7::uuid IS NULL OR subscription_id = $7)
            GROUP BY usage_type"#,
            tenant,
            &names as &[&str],
            first.map_or(Uuid::nil(), floor),
            after(period.end()),
            first,
            period.end(),
            question.subscription,
            period.start(),
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        Ok(rows
            .into_iter()
            .map(|row| (row.meter.clone(), row))
            .collect())
    }

    async fn weighted_sums(
        &mut self,
        question: Question<'_>,
    ) -> StoreResult<HashMap<String, WeightedRow>> {
        let names = question.names(&[Aggregation::TimeWeightedSum]);
        let (tenant, period) = (self.tenant(), question.period);
        if names.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = sqlx::query_as!(
            WeightedRow,
            r#"SELECT usage_type AS meter,
                trunc(sum(trunc(quantity) * micros))::text AS "whole!",
                trunc(sum((quantity - trunc(quantity)) * 1000000000000 * micros))::text
                    AS "trillionths!",
                coalesce(sum(CASE WHEN voids THEN -1 ELSE 1 END)
                    FILTER (WHERE occurred_at >= $5), 0) AS "count!"
            FROM tenantry.usage_records
            CROSS JOIN LATERAL (SELECT
                extract(epoch FROM $4 - greatest(occurred_at, $5)) * 1000000 AS micros) AS l
            WHERE tenant_id = $1 AND usage_type = ANY($2) AND id < $3 AND occurred_at < $4
                AND ($6::uuid IS NULL OR subscription_id = $6)
            GROUP BY usage_type"#,
            tenant,
            &names as &[&str],
            after(period.end()),
            period.end(),
            period.start(),
            question.subscription,
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        Ok(rows
            .into_iter()
            .map(|row| (row.meter.clone(), row))
            .collect())
    }

    async fn standing(
        &mut self,
        question: Question<'_>,
    ) -> StoreResult<HashMap<String, StandingRow>> {
        let names = question.names(&[
            Aggregation::Max,
            Aggregation::Latest,
            Aggregation::UniqueCount,
        ]);
        let (tenant, period) = (self.tenant(), question.period);
        if names.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = sqlx::query_as!(
            StandingRow,
            r#"WITH standing AS (
                SELECT usage_type, quantity, unique_value, occurred_at, recorded_at, id
                FROM tenantry.usage_records r
                WHERE tenant_id = $1 AND usage_type = ANY($2)
                    AND id >= $3 AND id < $4 AND occurred_at >= $5 AND occurred_at < $6
                    AND ($7::uuid IS NULL OR subscription_id = $7)
                    AND NOT voids AND NOT EXISTS (
                        SELECT FROM tenantry.usage_records v
                        WHERE v.tenant_id = $1 AND v.corrects = r.id AND v.voids
                            AND v.id >= $3 AND v.id < $4))
            SELECT usage_type AS meter,
                trunc(max(quantity) * 1000000000000)::text AS "largest!",
                (SELECT trunc(l.quantity * 1000000000000)::text FROM standing l
                    WHERE l.usage_type = s.usage_type
                    ORDER BY l.occurred_at DESC, l.recorded_at DESC, l.id DESC
                    LIMIT 1) AS "latest!",
                count(DISTINCT unique_value) AS "different!",
                count(*) AS "count!"
            FROM standing s GROUP BY usage_type"#,
            tenant,
            &names as &[&str],
            floor(period.start()),
            after(period.end()),
            period.start(),
            period.end(),
            question.subscription,
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        Ok(rows
            .into_iter()
            .map(|row| (row.meter.clone(), row))
            .collect())
    }
}

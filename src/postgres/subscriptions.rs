//! Subscriptions on PostgreSQL.
//!
//! A change takes one statement, and one more each for a period that begins and for lines.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::platform::PgPlatform;
use super::session::Session;
use super::subscription_rows::{LineRow, PeriodRow, SubscriptionRow};
use super::unit::PgTx;
use crate::domain::ids::{SubscriptionId, TenantId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::subscription::{
    PendingLine, StripeCustomerId, StripeSubscriptionId, Subscription, SubscriptionChange,
    SubscriptionPeriod, SubscriptionStatus,
};
use crate::store::{
    DueSubscription, StoreError, StoreErrorKind, StoreResult, SubscriptionDirectory,
    SubscriptionRepo, page_key,
};

/// A statement that answers whole subscriptions: what comes before and after their columns.
macro_rules! subscriptions {
    ($before:tt, $after:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            SubscriptionRow,
            $before
                + " id, plan_version_id, currency, status, quantity, anchor, anchor_day, time_zone,
                    billing_interval, interval_count, started_at, current_period_start,
                    current_period_end, priced_at, trial_end, cancel_at_period_end, cancel_at,
                    canceled_at, ended_at, paused_at, resumes_at, pending_plan_version_id,
                    pending_interval, pending_interval_count, pending_quantity, coupons,
                    stripe_subscription_id, stripe_customer_id, metadata, created_at, updated_at,
                    revision "
                + $after
            $(, $argument)*
        )
    };
}

fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn read(
    session: &mut Session<'_>,
    operation: &'static str,
    row: Result<Option<SubscriptionRow>, sqlx::Error>,
) -> StoreResult<Option<Subscription>> {
    let row = session.check(operation, row)?;
    session.keep(row.map(|row| row.read(operation)).transpose())
}

fn read_all(
    session: &mut Session<'_>,
    operation: &'static str,
    rows: Result<Vec<SubscriptionRow>, sqlx::Error>,
) -> StoreResult<Vec<Subscription>> {
    let rows = session.check(operation, rows)?;
    session.keep(rows.into_iter().map(|row| row.read(operation)).collect())
}

impl PgTx<'_> {
    /// Writes what comes with the subscription itself.
    async fn put_parts(
        &mut self,
        operation: &'static str,
        change: &SubscriptionChange,
    ) -> StoreResult<()> {
        let (tenant, id) = (self.tenant(), change.subscription.id.as_uuid());
        if let Some(begun) = change.begun {
            let done = sqlx::query!(
                "INSERT INTO tenantry.subscription_periods (tenant_id, subscription_id,
                    period_start, period_end, whole_start, whole_end, plan_version_id, quantity,
                    trial)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                ON CONFLICT (tenant_id, subscription_id, period_start) DO UPDATE SET
                    period_end = EXCLUDED.period_end, whole_start = EXCLUDED.whole_start,
                    whole_end = EXCLUDED.whole_end, plan_version_id = EXCLUDED.plan_version_id,
                    quantity = EXCLUDED.quantity, trial = EXCLUDED.trial",
                tenant,
                id,
                begun.period.start(),
                begun.period.end(),
                begun.whole.start(),
                begun.whole.end(),
                begun.plan_version.as_uuid(),
                number(begun.quantity),
                begun.trial,
            )
            .execute(self.session.run(operation)?)
            .await;
            self.session.check(operation, done)?;
        }
        if change.lines.is_empty() {
            return Ok(());
        }
        let lines = &change.lines;
        let changes: Vec<_> = lines.iter().map(|line| line.change).collect();
        let charges: Vec<_> = lines.iter().map(|line| line.charge.as_str()).collect();
        let kinds: Vec<_> = lines.iter().map(|line| line.kind.as_str()).collect();
        let amounts: Vec<_> = lines.iter().map(|line| line.amount.minor()).collect();
        let currencies: Vec<_> = lines.iter().map(|l| l.amount.currency().code()).collect();
        let starts: Vec<_> = lines.iter().map(|line| line.period.start()).collect();
        let ends: Vec<_> = lines.iter().map(|line| line.period.end()).collect();
        let versions: Vec<_> = lines.iter().map(|l| l.plan_version.as_uuid()).collect();
        let prices: Vec<_> = lines.iter().map(|l| serde_json::json!(l.price)).collect();
        let quantities: Vec<_> = lines.iter().map(|line| number(line.quantity)).collect();
        let created: Vec<_> = lines.iter().map(|line| line.created_at).collect();
        let done = sqlx::query!(
            "INSERT INTO tenantry.pending_lines (tenant_id, subscription_id, change, charge, kind,
                amount, currency, period_start, period_end, plan_version_id, price, quantity,
                created_at)
            SELECT $1, $2, l.* FROM UNNEST($3::bigint[], $4::text[], $5::text[], $6::bigint[],
                $7::text[], $8::timestamptz[], $9::timestamptz[], $10::uuid[], $11::jsonb[],
                $12::integer[], $13::timestamptz[]) AS l",
            tenant,
            id,
            &changes,
            &charges as &[&str],
            &kinds as &[&str],
            &amounts,
            &currencies as &[&str],
            &starts,
            &ends,
            &versions,
            &prices,
            &quantities,
            &created,
        )
        .execute(self.session.run(operation)?)
        .await;
        self.session.check(operation, done).map(drop)
    }
}

#[async_trait]
impl SubscriptionRepo for PgTx<'_> {
    async fn insert(&mut self, new: &SubscriptionChange) -> StoreResult<()> {
        const OPERATION: &str = "subscriptions.insert";
        let (tenant, s) = (self.tenant(), &new.subscription);
        let (interval, plan) = (s.cycle.interval(), s.pending.plan);
        let done = sqlx::query!(
            "INSERT INTO tenantry.subscriptions (tenant_id, id, plan_version_id, currency, status,
                quantity, anchor, anchor_day, time_zone, billing_interval, interval_count,
                started_at, current_period_start, current_period_end, priced_at, trial_end,
                cancel_at_period_end, cancel_at, canceled_at, ended_at, paused_at, resumes_at,
                pending_plan_version_id, pending_interval, pending_interval_count,
                pending_quantity, coupons, metadata, due_at, created_at, updated_at, revision)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32)",
            tenant,
            s.id.as_uuid(),
            s.plan_version.as_uuid(),
            s.currency.code(),
            s.status.as_str(),
            number(s.quantity),
            s.cycle.anchor(),
            s.cycle.anchor_day().map(number),
            s.cycle.zone().name(),
            interval.unit().as_str(),
            number(interval.count()),
            s.started_at,
            s.current_period.start(),
            s.current_period.end(),
            s.priced_at,
            s.trial_end,
            s.cancel_at_period_end,
            s.cancel_at,
            s.canceled_at,
            s.ended_at,
            s.paused_at,
            s.resumes_at,
            plan.map(|plan| plan.version.as_uuid()),
            plan.map(|plan| plan.interval.unit().as_str()),
            plan.map(|plan| number(plan.interval.count())),
            s.pending.quantity.map(number),
            serde_json::json!(s.coupons),
            s.metadata.to_value(),
            s.due_at(),
            s.created_at,
            s.updated_at,
            s.revision,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        self.session.check(OPERATION, done)?;
        self.put_parts(OPERATION, new).await
    }

    async fn get(&mut self, id: SubscriptionId) -> StoreResult<Option<Subscription>> {
        const OPERATION: &str = "subscriptions.get";
        let tenant = self.tenant();
        let row = subscriptions!(
            "SELECT",
            "FROM tenantry.subscriptions WHERE tenant_id = $1 AND id = $2",
            tenant,
            id.as_uuid(),
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        read(&mut self.session, OPERATION, row)
    }

    async fn lock(&mut self, id: SubscriptionId) -> StoreResult<Option<Subscription>> {
        const OPERATION: &str = "subscriptions.lock";
        let tenant = self.tenant();
        let row = subscriptions!(
            "SELECT",
            "FROM tenantry.subscriptions WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE",
            tenant,
            id.as_uuid(),
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        read(&mut self.session, OPERATION, row)
    }

    async fn page(
        &mut self,
        status: Option<SubscriptionStatus>,
        page: &PageRequest,
    ) -> StoreResult<Page<Subscription>> {
        const OPERATION: &str = "subscriptions.page";
        let before = page_key::<SubscriptionId>(OPERATION, page);
        let before = self.session.keep(before)?;
        let (tenant, limit) = (self.tenant(), page.limit());
        let rows = subscriptions!(
            "SELECT",
            "FROM tenantry.subscriptions
            WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2)
                AND ($3::text IS NULL OR status = $3)
            ORDER BY id DESC LIMIT $4",
            tenant,
            before.map(SubscriptionId::as_uuid),
            status.map(SubscriptionStatus::as_str),
            limit as i64 + 1,
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let rows = read_all(&mut self.session, OPERATION, rows)?;
        Ok(Page::of(rows, limit, |row: &Subscription| row.id))
    }

    async fn live(&mut self) -> StoreResult<Vec<Subscription>> {
        const OPERATION: &str = "subscriptions.live";
        let tenant = self.tenant();
        let rows = subscriptions!(
            "SELECT",
            "FROM tenantry.subscriptions WHERE tenant_id = $1 AND ended_at IS NULL
            ORDER BY id DESC",
            tenant,
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        read_all(&mut self.session, OPERATION, rows)
    }

    async fn update(&mut self, change: &SubscriptionChange) -> StoreResult<Subscription> {
        const OPERATION: &str = "subscriptions.update";
        let (tenant, s) = (self.tenant(), &change.subscription);
        let (interval, plan) = (s.cycle.interval(), s.pending.plan);
        let row = subscriptions!(
            "UPDATE tenantry.subscriptions
            SET plan_version_id = $4, status = $5, quantity = $6, anchor = $7, anchor_day = $8,
                billing_interval = $9, interval_count = $10, current_period_start = $11,
                current_period_end = $12, priced_at = $13, trial_end = $14,
                cancel_at_period_end = $15, cancel_at = $16, canceled_at = $17, ended_at = $18,
                paused_at = $19, resumes_at = $20, pending_plan_version_id = $21,
                pending_interval = $22, pending_interval_count = $23, pending_quantity = $24,
                coupons = $25, metadata = $26, due_at = $27, updated_at = $28,
                revision = revision + 1
            WHERE tenant_id = $1 AND id = $2 AND revision = $3
            RETURNING",
            "",
            tenant,
            s.id.as_uuid(),
            s.revision,
            s.plan_version.as_uuid(),
            s.status.as_str(),
            number(s.quantity),
            s.cycle.anchor(),
            s.cycle.anchor_day().map(number),
            interval.unit().as_str(),
            number(interval.count()),
            s.current_period.start(),
            s.current_period.end(),
            s.priced_at,
            s.trial_end,
            s.cancel_at_period_end,
            s.cancel_at,
            s.canceled_at,
            s.ended_at,
            s.paused_at,
            s.resumes_at,
            plan.map(|plan| plan.version.as_uuid()),
            plan.map(|plan| plan.interval.unit().as_str()),
            plan.map(|plan| number(plan.interval.count())),
            s.pending.quantity.map(number),
            serde_json::json!(s.coupons),
            s.metadata.to_value(),
            s.due_at(),
            s.updated_at,
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        let stored = read(&mut self.session, OPERATION, row)?;
        let stored = stored.ok_or_else(|| StoreError::new(StoreErrorKind::Conflict, OPERATION));
        let stored = self.session.keep(stored)?;
        self.put_parts(OPERATION, change).await?;
        Ok(stored)
    }

    async fn periods(
        &mut self,
        id: SubscriptionId,
        page: &PageRequest,
    ) -> StoreResult<Page<SubscriptionPeriod>> {
        const OPERATION: &str = "subscriptions.periods";
        let before = page_key::<DateTime<Utc>>(OPERATION, page);
        let before = self.session.keep(before)?;
        let (tenant, limit) = (self.tenant(), page.limit());
        let rows = sqlx::query_as!(
            PeriodRow,
            "SELECT subscription_id, period_start, period_end, whole_start, whole_end,
                plan_version_id, quantity, trial
            FROM tenantry.subscription_periods
            WHERE tenant_id = $1 AND subscription_id = $2
                AND ($3::timestamptz IS NULL OR period_start < $3)
            ORDER BY period_start DESC LIMIT $4",
            tenant,
            id.as_uuid(),
            before,
            limit as i64 + 1,
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        let rows = rows.into_iter().map(|row| row.read(OPERATION)).collect();
        let rows = self.session.keep(rows)?;
        Ok(Page::of(rows, limit, |row: &SubscriptionPeriod| {
            row.period.start()
        }))
    }

    async fn lines(&mut self, id: SubscriptionId) -> StoreResult<Vec<PendingLine>> {
        const OPERATION: &str = "subscriptions.lines";
        let tenant = self.tenant();
        let rows = sqlx::query_as!(
            LineRow,
            "SELECT subscription_id, change, charge, kind, amount, currency, period_start,
                period_end, plan_version_id, price, quantity, created_at
            FROM tenantry.pending_lines WHERE tenant_id = $1 AND subscription_id = $2
            ORDER BY change, charge, kind",
            tenant,
            id.as_uuid(),
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        self.session
            .keep(rows.into_iter().map(|row| row.read(OPERATION)).collect())
    }
}

#[async_trait]
impl SubscriptionDirectory for PgPlatform {
    async fn due(
        &mut self,
        until: DateTime<Utc>,
        after: Option<DueSubscription>,
        limit: usize,
    ) -> StoreResult<Vec<DueSubscription>> {
        const OPERATION: &str = "subscriptions.due";
        let after = after.map(|due| (due.due_at, due.tenant.as_uuid(), due.id.as_uuid()));
        // Every instant that is stored comes after this one.
        let first = (DateTime::<Utc>::UNIX_EPOCH, Uuid::nil(), Uuid::nil());
        let (due_at, tenant, id) = after.unwrap_or(first);
        let rows = sqlx::query!(
            "SELECT due_at AS \"due_at!\", tenant_id, id FROM tenantry.subscriptions
            WHERE due_at <= $1 AND (due_at, tenant_id, id) > ($2, $3, $4)
            ORDER BY due_at, tenant_id, id LIMIT $5",
            until,
            due_at,
            tenant,
            id,
            i64::try_from(limit).unwrap_or(i64::MAX),
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        let due = rows.into_iter().map(|row| DueSubscription {
            due_at: row.due_at,
            tenant: row.tenant_id.into(),
            id: row.id.into(),
        });
        Ok(due.collect())
    }

    async fn find_by_stripe(
        &mut self,
        id: &StripeSubscriptionId,
    ) -> StoreResult<Option<(TenantId, SubscriptionId)>> {
        const OPERATION: &str = "subscriptions.find_by_stripe";
        let row = sqlx::query!(
            "SELECT owner, object_id AS \"object_id!\" FROM tenantry.stripe_objects
            WHERE kind = 'subscription' AND stripe_id = $1",
            id.as_str(),
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        let row = self.session.check(OPERATION, row)?;
        Ok(row.map(|row| (row.owner.into(), row.object_id.into())))
    }

    async fn find_customer(&mut self, id: &StripeCustomerId) -> StoreResult<Option<TenantId>> {
        const OPERATION: &str = "subscriptions.find_customer";
        let owner = sqlx::query_scalar!(
            "SELECT owner FROM tenantry.stripe_objects WHERE kind = 'customer' AND stripe_id = $1",
            id.as_str(),
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        let owner = self.session.check(OPERATION, owner)?;
        Ok(owner.map(TenantId::from))
    }

    async fn link(
        &mut self,
        tenant: TenantId,
        id: SubscriptionId,
        stripe: Option<&StripeSubscriptionId>,
        customer: Option<&StripeCustomerId>,
    ) -> StoreResult<Subscription> {
        const OPERATION: &str = "subscriptions.link";
        let (owner, object) = (tenant.as_uuid(), id.as_uuid());
        let stripe = stripe.map(StripeSubscriptionId::as_str);
        let customer = customer.map(StripeCustomerId::as_str);
        let row = subscriptions!(
            "UPDATE tenantry.subscriptions
            SET stripe_subscription_id = $3, stripe_customer_id = $4, updated_at = $5,
                revision = revision + 1
            WHERE tenant_id = $1 AND id = $2 RETURNING",
            "",
            owner,
            object,
            stripe,
            customer,
            self.now,
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        let stored = read(&mut self.session, OPERATION, row)?;
        let stored = stored.ok_or_else(|| {
            StoreError::new(StoreErrorKind::NotFound, OPERATION).with_detail("subscriptions")
        });
        let stored = self.session.keep(stored)?;
        let freed = sqlx::query!(
            "DELETE FROM tenantry.stripe_objects
            WHERE kind = 'subscription' AND owner = $1 AND object_id = $2
                AND stripe_id IS DISTINCT FROM $3",
            owner,
            object,
            stripe,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        self.session.check(OPERATION, freed)?;
        // What is claimed by the same already is left out; what is claimed by another is refused.
        let claimed = sqlx::query!(
            "INSERT INTO tenantry.stripe_objects (kind, stripe_id, owner, object_id)
            SELECT c.kind, c.stripe_id, $1, c.object_id
            FROM (VALUES ('subscription', $3::text, $2::uuid), ('customer', $4::text, NULL))
                AS c (kind, stripe_id, object_id)
            WHERE c.stripe_id IS NOT NULL AND NOT EXISTS (
                SELECT FROM tenantry.stripe_objects o
                WHERE o.kind = c.kind AND o.stripe_id = c.stripe_id AND o.owner = $1
                    AND o.object_id IS NOT DISTINCT FROM c.object_id)",
            owner,
            object,
            stripe,
            customer,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        self.session.check(OPERATION, claimed)?;
        Ok(stored)
    }
}

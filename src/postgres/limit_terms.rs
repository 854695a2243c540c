//! What decides on a tenant's limits, in one statement.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::error::corrupt;
use super::unit::PgTx;
use crate::domain::catalogue::Entitlement;
use crate::domain::limits::LimitTerms;
use crate::domain::subscription::SubscriptionStatus;
use crate::domain::tenancy::time_zone;
use crate::domain::text::TextError;
use crate::domain::time::Period;
use crate::store::StoreResult;

struct TermsRow {
    limits: Value,
    time_zone: String,
    plan_limits: Option<Value>,
    entitlements: Option<Vec<String>>,
    period_start: Option<DateTime<Utc>>,
    period_end: Option<DateTime<Utc>>,
}

impl TermsRow {
    fn read(self, operation: &'static str, tenant: Uuid) -> StoreResult<LimitTerms> {
        let place = format!("tenants {tenant} limits");
        let text = |error: TextError| corrupt(operation, &place, error);
        let json = |error: serde_json::Error| corrupt(operation, &place, error);
        let included = self.entitlements.unwrap_or_default();
        let included = included.iter().map(|name| Entitlement::new(name));
        let period = self.period_start.zip(self.period_end);
        let period = period.map(|(start, end)| Period::new(start, end));
        let plan = self.plan_limits.map(serde_json::from_value).transpose();
        Ok(LimitTerms {
            plan: plan.map_err(json)?.unwrap_or_default(),
            entitlements: included.collect::<Result<_, _>>().map_err(text)?,
            overrides: serde_json::from_value(self.limits).map_err(json)?,
            time_zone: time_zone(&self.time_zone).map_err(text)?,
            billing_period: period
                .transpose()
                .map_err(|error| corrupt(operation, &place, error))?,
        })
    }
}

impl PgTx<'_> {
    pub(super) async fn limit_terms(
        &mut self,
        operation: &'static str,
    ) -> StoreResult<Option<LimitTerms>> {
        let tenant = self.tenant();
        let decisive = SubscriptionStatus::ALL.into_iter();
        let decisive = decisive.filter(|status| status.sets_limits());
        let decisive: Vec<&str> = decisive.map(SubscriptionStatus::as_str).collect();
        let row = sqlx::query_as!(
            TermsRow,
            r#"SELECT t.limits, t.time_zone, v.limits AS "plan_limits?",
                v.entitlements AS "entitlements?", s.current_period_start AS "period_start?",
                s.current_period_end AS "period_end?"
            FROM tenantry.tenants t
            LEFT JOIN LATERAL (
                SELECT plan_version_id, current_period_start, current_period_end
                FROM tenantry.subscriptions
                WHERE tenant_id = $1 AND status = ANY ($2)
                ORDER BY id DESC LIMIT 1) s ON true
            LEFT JOIN tenantry.plans p ON p.code = t.plan_type
            LEFT JOIN tenantry.plan_versions v ON v.id = coalesce(s.plan_version_id, (
                SELECT n.id FROM tenantry.plan_versions n
                WHERE n.plan_id = p.id AND n.version = p.version))
            WHERE t.id = $1"#,
            tenant,
            &decisive as &[&str],
        )
        .fetch_optional(self.session.run(operation)?)
        .await;
        let row = self.session.check(operation, row)?;
        self.session
            .keep(row.map(|row| row.read(operation, tenant)).transpose())
    }
}

//! Plans, their versions and the price book on PostgreSQL.
//!
//! A version takes two statements: itself, and its charges. Everything else takes one.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use uuid::Uuid;

use super::error::corrupt;
use super::platform::PgPlatform;
use super::price_rows::{Bounds, OverrideRow, PriceRow};
use super::session::Session;
use super::unit::PgTx;
use crate::domain::billing_cycle::{Interval, IntervalUnit};
use crate::domain::catalogue::{
    CatalogueError, Charge, ChargeCode, ChargeKind, Entitlement, Plan, PlanDefinition, PlanVersion,
    Price, PriceOverride, StripePriceId,
};
use crate::domain::ids::{PlanVersionId, TenantId};
use crate::domain::metering::MeterName;
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::{Name, PlanCode};
use crate::store::{
    CatalogueRepo, PlanRepo, PriceOverrideRepo, StoreError, StoreErrorKind, StoreResult, page_key,
};

struct PlanRow {
    id: Uuid,
    code: String,
    active: bool,
    version: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl PlanRow {
    fn read(self, operation: &'static str) -> StoreResult<Plan> {
        let place = format!("plans {}", self.id);
        Ok(Plan {
            id: self.id.into(),
            code: PlanCode::new(&self.code).map_err(|error| corrupt(operation, &place, error))?,
            active: self.active,
            version: self.version.unsigned_abs(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            revision: self.revision,
        })
    }
}

struct VersionRow {
    id: Uuid,
    plan_id: Uuid,
    code: String,
    version: i32,
    name: String,
    billing_interval: String,
    interval_count: i32,
    trial_days: i32,
    limits: Value,
    entitlements: Vec<String>,
    retention_days: Option<i32>,
    created_at: DateTime<Utc>,
}

impl VersionRow {
    fn read(self, operation: &'static str, charges: Vec<Charge>) -> StoreResult<PlanVersion> {
        let place = format!("plan_versions {}", self.id);
        let broken = |error: CatalogueError| corrupt(operation, &place, error);
        let unreadable = |error: serde_json::Error| corrupt(operation, &place, error);
        let text = |error| broken(CatalogueError::Text(error));
        let unit: IntervalUnit =
            serde_json::from_value(Value::String(self.billing_interval)).map_err(unreadable)?;
        let interval = Interval::new(unit, self.interval_count.unsigned_abs());
        let entitlements = self.entitlements.iter().map(|name| Entitlement::new(name));
        Ok(PlanVersion {
            id: self.id.into(),
            plan: self.plan_id.into(),
            code: PlanCode::new(&self.code).map_err(text)?,
            version: self.version.unsigned_abs(),
            definition: PlanDefinition {
                name: Name::new(&self.name).map_err(text)?,
                interval: interval.map_err(|error| broken(error.into()))?,
                trial_days: self.trial_days.unsigned_abs(),
                charges,
                limits: serde_json::from_value(self.limits).map_err(unreadable)?,
                entitlements: entitlements.collect::<Result<_, _>>().map_err(text)?,
                retention_days: self.retention_days.map(i32::unsigned_abs),
            },
            created_at: self.created_at,
        })
    }
}

struct ChargeRow {
    code: String,
    name: String,
    kind: String,
    per_seat: bool,
    meter: Option<String>,
    included: Decimal,
}

impl ChargeRow {
    fn read(self, operation: &'static str, version: Uuid) -> StoreResult<Charge> {
        let place = format!("plan_charges {version} {}", self.code);
        let broken = |error| corrupt(operation, &place, error);
        let kind = match (self.kind.as_str(), self.meter) {
            ("recurring", None) => ChargeKind::Recurring {
                per_seat: self.per_seat,
            },
            ("usage", Some(meter)) => ChargeKind::Usage {
                meter: MeterName::new(&meter).map_err(broken)?,
                included: self.included.normalize(),
            },
            ("one_time", None) => ChargeKind::OneTime,
            _ => {
                return Err(StoreError::new(StoreErrorKind::Corrupt, operation)
                    .with_detail(format!("{place} kind")));
            }
        };
        Ok(Charge {
            code: ChargeCode::new(&self.code).map_err(broken)?,
            name: Name::new(&self.name).map_err(broken)?,
            kind,
        })
    }
}

async fn find(
    session: &mut Session<'_>,
    operation: &'static str,
    code: &PlanCode,
) -> StoreResult<Option<Plan>> {
    let row = sqlx::query_as!(
        PlanRow,
        "SELECT id, code, active, version, created_at, updated_at, revision
        FROM tenantry.plans WHERE code = $1",
        code.as_str(),
    )
    .fetch_optional(session.run(operation)?)
    .await;
    read_plan(session, operation, row)
}

fn read_plan(
    session: &mut Session<'_>,
    operation: &'static str,
    row: Result<Option<PlanRow>, sqlx::Error>,
) -> StoreResult<Option<Plan>> {
    let row = session.check(operation, row)?;
    session.keep(row.map(|row| row.read(operation)).transpose())
}

async fn page(session: &mut Session<'_>, page: &PageRequest) -> StoreResult<Page<Plan>> {
    const OPERATION: &str = "plans.page";
    let after = session.keep(page_key::<PlanCode>(OPERATION, page))?;
    let rows = sqlx::query_as!(
        PlanRow,
        "SELECT id, code, active, version, created_at, updated_at, revision
        FROM tenantry.plans WHERE code > $1 ORDER BY code LIMIT $2",
        // No code is empty, so the first page is what comes after the empty one.
        after.as_ref().map_or("", PlanCode::as_str),
        page.limit() as i64 + 1,
    )
    .fetch_all(session.run(OPERATION)?)
    .await;
    let rows = session.check(OPERATION, rows)?;
    let plans = rows.into_iter().map(|row| row.read(OPERATION)).collect();
    let plans = session.keep(plans)?;
    Ok(Page::of(plans, page.limit(), |plan: &Plan| {
        plan.code.clone()
    }))
}

async fn version(
    session: &mut Session<'_>,
    operation: &'static str,
    id: PlanVersionId,
) -> StoreResult<Option<PlanVersion>> {
    let row = sqlx::query_as!(
        VersionRow,
        "SELECT v.id, v.plan_id, p.code, v.version, v.name, v.billing_interval, v.interval_count,
            v.trial_days, v.limits, v.entitlements, v.retention_days, v.created_at
        FROM tenantry.plan_versions v JOIN tenantry.plans p ON p.id = v.plan_id
        WHERE v.id = $1",
        id.as_uuid(),
    )
    .fetch_optional(session.run(operation)?)
    .await;
    let Some(row) = session.check(operation, row)? else {
        return Ok(None);
    };
    let charges = sqlx::query_as!(
        ChargeRow,
        "SELECT code, name, kind, per_seat, meter, included
        FROM tenantry.plan_charges WHERE plan_version_id = $1 ORDER BY position",
        id.as_uuid(),
    )
    .fetch_all(session.run(operation)?)
    .await;
    let charges = session.check(operation, charges)?;
    let charges = charges
        .into_iter()
        .map(|charge| charge.read(operation, row.id))
        .collect::<StoreResult<_>>();
    let charges = session.keep(charges)?;
    session.keep(row.read(operation, charges).map(Some))
}

async fn numbered(
    session: &mut Session<'_>,
    code: &PlanCode,
    number: u32,
) -> StoreResult<Option<PlanVersion>> {
    const OPERATION: &str = "plans.numbered";
    let id = sqlx::query_scalar!(
        "SELECT v.id FROM tenantry.plan_versions v JOIN tenantry.plans p ON p.id = v.plan_id
        WHERE p.code = $1 AND v.version = $2",
        code.as_str(),
        i32::try_from(number).unwrap_or(i32::MAX),
    )
    .fetch_optional(session.run(OPERATION)?)
    .await;
    match session.check(OPERATION, id)? {
        Some(id) => version(session, OPERATION, id.into()).await,
        None => Ok(None),
    }
}

async fn prices(session: &mut Session<'_>, version: PlanVersionId) -> StoreResult<Vec<Price>> {
    const OPERATION: &str = "plans.prices";
    let rows = sqlx::query_as!(
        PriceRow,
        "SELECT id, plan_version_id, charge, currency, model, minimum, maximum, stripe_price_id,
            active, valid_from, valid_to, created_at
        FROM tenantry.price_book WHERE plan_version_id = $1
        ORDER BY charge, currency, valid_from",
        version.as_uuid(),
    )
    .fetch_all(session.run(OPERATION)?)
    .await;
    let rows = session.check(OPERATION, rows)?;
    session.keep(rows.into_iter().map(|row| row.read(OPERATION)).collect())
}

/// Both kinds of units read the catalogue in the same way.
macro_rules! reads_plans {
    ($unit:ty) => {
        #[async_trait]
        impl PlanRepo for $unit {
            async fn find(&mut self, code: &PlanCode) -> StoreResult<Option<Plan>> {
                find(&mut self.session, "plans.find", code).await
            }

            async fn page(&mut self, request: &PageRequest) -> StoreResult<Page<Plan>> {
                page(&mut self.session, request).await
            }

            async fn version(&mut self, id: PlanVersionId) -> StoreResult<Option<PlanVersion>> {
                version(&mut self.session, "plans.version", id).await
            }

            async fn numbered(
                &mut self,
                code: &PlanCode,
                number: u32,
            ) -> StoreResult<Option<PlanVersion>> {
                numbered(&mut self.session, code, number).await
            }

            async fn prices(&mut self, version: PlanVersionId) -> StoreResult<Vec<Price>> {
                prices(&mut self.session, version).await
            }
        }
    };
}
reads_plans!(PgTx<'_>);
reads_plans!(PgPlatform);

#[async_trait]
impl PriceOverrideRepo for PgTx<'_> {
    async fn all(&mut self) -> StoreResult<Vec<PriceOverride>> {
        let tenant = self.tenant();
        overrides(&mut self.session, "price_overrides.all", tenant).await
    }
}

async fn overrides(
    session: &mut Session<'_>,
    operation: &'static str,
    tenant: Uuid,
) -> StoreResult<Vec<PriceOverride>> {
    let rows = sqlx::query_as!(
        OverrideRow,
        "SELECT id, plan_code, charge, currency, model, minimum, maximum, valid_from, valid_to,
            created_at
        FROM tenantry.price_overrides WHERE tenant_id = $1
        ORDER BY plan_code, charge, currency, valid_from",
        tenant,
    )
    .fetch_all(session.run(operation)?)
    .await;
    let rows = session.check(operation, rows)?;
    session.keep(rows.into_iter().map(|row| row.read(operation)).collect())
}

impl PgPlatform {
    async fn insert_version(
        &mut self,
        operation: &'static str,
        version: &PlanVersion,
    ) -> StoreResult<()> {
        let definition = &version.definition;
        let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let entitlements: Vec<&str> = definition
            .entitlements
            .iter()
            .map(Entitlement::as_str)
            .collect();
        let done = sqlx::query!(
            "INSERT INTO tenantry.plan_versions (id, plan_id, version, name, billing_interval,
                interval_count, trial_days, limits, entitlements, retention_days, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            version.id.as_uuid(),
            version.plan.as_uuid(),
            number(version.version),
            definition.name.as_str(),
            definition.interval.unit().as_str(),
            number(definition.interval.count()),
            number(definition.trial_days),
            serde_json::json!(definition.limits),
            &entitlements as &[&str],
            definition.retention_days.map(number),
            version.created_at,
        )
        .execute(self.session.run(operation)?)
        .await;
        self.session.check(operation, done)?;
        let charges = &definition.charges;
        let codes: Vec<_> = charges.iter().map(|c| c.code.as_str()).collect();
        let names: Vec<_> = charges.iter().map(|c| c.name.as_str()).collect();
        let kinds: Vec<_> = charges.iter().map(|c| c.kind.as_str()).collect();
        let (mut seats, mut meters, mut included) = (Vec::new(), Vec::new(), Vec::new());
        for charge in charges {
            let (meter, quantity) = match &charge.kind {
                ChargeKind::Usage { meter, included } => (Some(meter.as_str()), *included),
                _ => (None, Decimal::ZERO),
            };
            seats.push(matches!(charge.kind, ChargeKind::Recurring { per_seat } if per_seat));
            meters.push(meter);
            included.push(quantity);
        }
        let done = sqlx::query!(
            "INSERT INTO tenantry.plan_charges
                (plan_version_id, code, position, name, kind, per_seat, meter, included)
            SELECT $1, c.code, c.position - 1, c.name, c.kind, c.per_seat, c.meter, c.included
            FROM UNNEST($2::text[], $3::text[], $4::text[], $5::bool[], $6::text[], $7::numeric[])
                WITH ORDINALITY AS c (code, name, kind, per_seat, meter, included, position)",
            version.id.as_uuid(),
            &codes as &[&str],
            &names as &[&str],
            &kinds as &[&str],
            &seats,
            &meters as &[Option<&str>],
            &included,
        )
        .execute(self.session.run(operation)?)
        .await;
        self.session.check(operation, done).map(drop)
    }

    /// Writes what changes of a plan, guarded by its revision.
    async fn replace(&mut self, operation: &'static str, plan: &Plan) -> StoreResult<Plan> {
        let row = sqlx::query_as!(
            PlanRow,
            "UPDATE tenantry.plans
            SET active = $3, version = $4, updated_at = $5, revision = revision + 1
            WHERE id = $1 AND revision = $2
            RETURNING id, code, active, version, created_at, updated_at, revision",
            plan.id.as_uuid(),
            plan.revision,
            plan.active,
            i32::try_from(plan.version).unwrap_or(i32::MAX),
            plan.updated_at,
        )
        .fetch_optional(self.session.run(operation)?)
        .await;
        let stored = read_plan(&mut self.session, operation, row)?;
        self.session.keep(stored.ok_or_else(|| lost(operation)))
    }

    fn must_have_changed(&mut self, operation: &'static str, rows: u64) -> StoreResult<()> {
        let changed = if rows == 0 {
            Err(lost(operation))
        } else {
            Ok(())
        };
        self.session.keep(changed)
    }
}

fn lost(operation: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Conflict, operation)
}

#[async_trait]
impl CatalogueRepo for PgPlatform {
    async fn lock(&mut self, code: &PlanCode) -> StoreResult<Option<Plan>> {
        const OPERATION: &str = "plans.lock";
        let row = sqlx::query_as!(
            PlanRow,
            "SELECT id, code, active, version, created_at, updated_at, revision
            FROM tenantry.plans WHERE code = $1 FOR NO KEY UPDATE",
            code.as_str(),
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        read_plan(&mut self.session, OPERATION, row)
    }

    async fn insert(&mut self, plan: &Plan, version: &PlanVersion) -> StoreResult<()> {
        const OPERATION: &str = "plans.insert";
        let done = sqlx::query!(
            "INSERT INTO tenantry.plans
                (id, code, active, version, created_at, updated_at, revision)
            VALUES ($1, $2, $3, $4, $5, $6, $7)",
            plan.id.as_uuid(),
            plan.code.as_str(),
            plan.active,
            i32::try_from(plan.version).unwrap_or(i32::MAX),
            plan.created_at,
            plan.updated_at,
            plan.revision,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        self.session.check(OPERATION, done)?;
        self.insert_version(OPERATION, version).await
    }

    async fn publish(&mut self, plan: &Plan, version: &PlanVersion) -> StoreResult<Plan> {
        const OPERATION: &str = "plans.publish";
        let stored = self.replace(OPERATION, plan).await?;
        self.insert_version(OPERATION, version).await?;
        Ok(stored)
    }

    async fn update(&mut self, plan: &Plan) -> StoreResult<Plan> {
        self.replace("plans.update", plan).await
    }

    async fn insert_price(&mut self, price: &Price) -> StoreResult<()> {
        const OPERATION: &str = "plans.insert_price";
        let bounds = Bounds::of(&price.terms);
        let done = sqlx::query!(
            "INSERT INTO tenantry.price_book (id, plan_version_id, charge, currency, model, minimum,
                maximum, stripe_price_id, active, valid_from, valid_to, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            price.id.as_uuid(),
            price.plan_version.as_uuid(),
            price.terms.charge.as_str(),
            price.terms.currency.code(),
            serde_json::json!(price.terms.model),
            bounds.minimum,
            bounds.maximum,
            price.stripe_price.as_ref().map(StripePriceId::as_str),
            price.active,
            price.valid_from,
            price.valid_to,
            price.created_at,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        self.session.check(OPERATION, done).map(drop)
    }

    async fn update_price(&mut self, price: &Price) -> StoreResult<()> {
        const OPERATION: &str = "plans.update_price";
        let done = sqlx::query!(
            "UPDATE tenantry.price_book SET stripe_price_id = $2, active = $3, valid_to = $4
            WHERE id = $1",
            price.id.as_uuid(),
            price.stripe_price.as_ref().map(StripePriceId::as_str),
            price.active,
            price.valid_to,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, done)?.rows_affected();
        self.must_have_changed(OPERATION, rows)
    }

    async fn overrides(&mut self, tenant: TenantId) -> StoreResult<Vec<PriceOverride>> {
        overrides(&mut self.session, "price_overrides.of", tenant.as_uuid()).await
    }

    async fn insert_override(
        &mut self,
        tenant: TenantId,
        price: &PriceOverride,
    ) -> StoreResult<()> {
        const OPERATION: &str = "price_overrides.insert";
        let bounds = Bounds::of(&price.terms);
        let done = sqlx::query!(
            "INSERT INTO tenantry.price_overrides (tenant_id, id, plan_code, charge, currency,
                model, minimum, maximum, valid_from, valid_to, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            tenant.as_uuid(),
            price.id.as_uuid(),
            price.plan.as_str(),
            price.terms.charge.as_str(),
            price.terms.currency.code(),
            serde_json::json!(price.terms.model),
            bounds.minimum,
            bounds.maximum,
            price.valid_from,
            price.valid_to,
            price.created_at,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        self.session.check(OPERATION, done).map(drop)
    }

    async fn update_override(
        &mut self,
        tenant: TenantId,
        price: &PriceOverride,
    ) -> StoreResult<()> {
        const OPERATION: &str = "price_overrides.update";
        let done = sqlx::query!(
            "UPDATE tenantry.price_overrides SET valid_to = $3 WHERE tenant_id = $1 AND id = $2",
            tenant.as_uuid(),
            price.id.as_uuid(),
            price.valid_to,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, done)?.rows_affected();
        self.must_have_changed(OPERATION, rows)
    }
}

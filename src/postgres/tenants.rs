//! Tenants on PostgreSQL.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::error::corrupt;
use super::platform::PgPlatform;
use super::session::Session;
use super::unit::PgTx;
use crate::domain::ids::TenantId;
use crate::domain::json::Document;
use crate::domain::money::Currency;
use crate::domain::page::{Page, PageRequest};
use crate::domain::tenancy::{
    DomainName, Locale, TenancyError, Tenant, TenantProfile, TenantStatus, time_zone,
};
use crate::domain::text::{Name, PlanCode};
use crate::store::{
    StoreError, StoreErrorKind, StoreResult, TenantDirectory, TenantRepo, page_key,
};

struct TenantRow {
    id: Uuid,
    name: String,
    domain: Option<String>,
    plan_type: String,
    status: String,
    settings: Value,
    limits: Value,
    time_zone: String,
    locale: String,
    currency: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl TenantRow {
    fn read(self, operation: &'static str) -> StoreResult<Tenant> {
        let place = format!("tenants {}", self.id);
        let broken = |error: TenancyError| corrupt(operation, &place, error);
        let text = |error| broken(TenancyError::Text(error));
        Ok(Tenant {
            id: self.id.into(),
            profile: TenantProfile {
                name: Name::new(&self.name).map_err(text)?,
                settings: Document::new("settings", self.settings)
                    .map_err(|error| broken(error.into()))?,
                time_zone: time_zone(&self.time_zone).map_err(text)?,
                locale: Locale::new(&self.locale).map_err(text)?,
                currency: Currency::new(&self.currency).map_err(text)?,
            },
            domain: self
                .domain
                .as_deref()
                .map(DomainName::new)
                .transpose()
                .map_err(text)?,
            plan: PlanCode::new(&self.plan_type).map_err(text)?,
            status: self.status.parse().map_err(text)?,
            limits: serde_json::from_value(self.limits)
                .map_err(|error| corrupt(operation, &format!("{place} limits"), error))?,
            created_at: self.created_at,
            updated_at: self.updated_at,
            revision: self.revision,
        })
    }
}

/// Reads a row if there is one; a row that cannot be read spends the unit.
fn read(
    session: &mut Session<'_>,
    operation: &'static str,
    row: Result<Option<TenantRow>, sqlx::Error>,
) -> StoreResult<Option<Tenant>> {
    let row = session.check(operation, row)?;
    session.keep(row.map(|row| row.read(operation)).transpose())
}

fn lost(operation: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Conflict, operation)
}

#[async_trait]
impl TenantRepo for PgTx<'_> {
    async fn get(&mut self) -> StoreResult<Option<Tenant>> {
        const OPERATION: &str = "tenants.get";
        let tenant = self.tenant();
        let row = sqlx::query_as!(
            TenantRow,
            "SELECT id, name, domain, plan_type, status, settings, limits, time_zone, locale,
                currency, created_at, updated_at, revision
            FROM tenantry.tenants WHERE id = $1",
            tenant,
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        read(&mut self.session, OPERATION, row)
    }

    async fn lock(&mut self) -> StoreResult<Option<Tenant>> {
        const OPERATION: &str = "tenants.lock";
        let tenant = self.tenant();
        let row = sqlx::query_as!(
            TenantRow,
            "SELECT id, name, domain, plan_type, status, settings, limits, time_zone, locale,
                currency, created_at, updated_at, revision
            FROM tenantry.tenants WHERE id = $1 FOR NO KEY UPDATE",
            tenant,
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        read(&mut self.session, OPERATION, row)
    }

    async fn update_profile(&mut self, tenant: &Tenant) -> StoreResult<Tenant> {
        const OPERATION: &str = "tenants.update_profile";
        let (id, profile) = (self.tenant(), &tenant.profile);
        let row = sqlx::query_as!(
            TenantRow,
            "UPDATE tenantry.tenants
            SET name = $3, settings = $4, time_zone = $5, locale = $6, currency = $7,
                updated_at = $8, revision = revision + 1
            WHERE id = $1 AND revision = $2
            RETURNING id, name, domain, plan_type, status, settings, limits, time_zone, locale,
                currency, created_at, updated_at, revision",
            id,
            tenant.revision,
            profile.name.as_str(),
            profile.settings.to_value(),
            profile.time_zone.name(),
            profile.locale.to_string(),
            profile.currency.code(),
            tenant.updated_at,
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        let stored = read(&mut self.session, OPERATION, row)?;
        self.session.keep(stored.ok_or_else(|| lost(OPERATION)))
    }
}

#[async_trait]
impl TenantDirectory for PgPlatform {
    async fn insert(&mut self, tenant: &Tenant) -> StoreResult<()> {
        const OPERATION: &str = "tenants.insert";
        let profile = &tenant.profile;
        let done = sqlx::query!(
            "WITH tenant AS (
                INSERT INTO tenantry.tenants (id, name, domain, plan_type, status, settings, limits,
                    time_zone, locale, currency, created_at, updated_at, revision)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
                RETURNING id, domain)
            INSERT INTO tenantry.tenant_domains (domain, owner)
            SELECT domain, id FROM tenant WHERE domain IS NOT NULL",
            tenant.id.as_uuid(),
            profile.name.as_str(),
            tenant.domain.as_ref().map(DomainName::as_str),
            tenant.plan.as_str(),
            tenant.status.as_str(),
            profile.settings.to_value(),
            serde_json::json!(tenant.limits),
            profile.time_zone.name(),
            profile.locale.to_string(),
            profile.currency.code(),
            tenant.created_at,
            tenant.updated_at,
            tenant.revision,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        self.session.check(OPERATION, done).map(drop)
    }

    async fn get(&mut self, id: TenantId) -> StoreResult<Option<Tenant>> {
        const OPERATION: &str = "tenants.get";
        let row = sqlx::query_as!(
            TenantRow,
            "SELECT id, name, domain, plan_type, status, settings, limits, time_zone, locale,
                currency, created_at, updated_at, revision
            FROM tenantry.tenants WHERE id = $1",
            id.as_uuid(),
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        read(&mut self.session, OPERATION, row)
    }

    async fn find_by_domain(&mut self, domain: &DomainName) -> StoreResult<Option<Tenant>> {
        const OPERATION: &str = "tenants.find_by_domain";
        let row = sqlx::query_as!(
            TenantRow,
            "SELECT t.id, t.name, t.domain, t.plan_type, t.status, t.settings, t.limits,
                t.time_zone, t.locale, t.currency, t.created_at, t.updated_at, t.revision
            FROM tenantry.tenant_domains d JOIN tenantry.tenants t ON t.id = d.owner
            WHERE d.domain = $1",
            domain.as_str(),
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        read(&mut self.session, OPERATION, row)
    }

    async fn page(
        &mut self,
        status: Option<TenantStatus>,
        page: &PageRequest,
    ) -> StoreResult<Page<Tenant>> {
        const OPERATION: &str = "tenants.page";
        let after = self.session.keep(page_key::<TenantId>(OPERATION, page))?;
        let limit = page.limit();
        let rows = sqlx::query_as!(
            TenantRow,
            "SELECT id, name, domain, plan_type, status, settings, limits, time_zone, locale,
                currency, created_at, updated_at, revision
            FROM tenantry.tenants
            WHERE ($1::uuid IS NULL OR id > $1) AND ($2::text IS NULL OR status = $2)
            ORDER BY id LIMIT $3",
            after.map(TenantId::as_uuid),
            status.map(TenantStatus::as_str),
            limit as i64 + 1,
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        let tenants = rows.into_iter().map(|row| row.read(OPERATION)).collect();
        Ok(Page::of(
            self.session.keep(tenants)?,
            limit,
            |tenant: &Tenant| tenant.id,
        ))
    }

    async fn update(&mut self, tenant: &Tenant) -> StoreResult<Tenant> {
        const OPERATION: &str = "tenants.update";
        let profile = &tenant.profile;
        let row = sqlx::query_as!(
            TenantRow,
            "UPDATE tenantry.tenants
            SET name = $3, domain = $4, plan_type = $5, status = $6, settings = $7, limits = $8,
                time_zone = $9, locale = $10, currency = $11, updated_at = $12,
                revision = revision + 1
            WHERE id = $1 AND revision = $2
            RETURNING id, name, domain, plan_type, status, settings, limits, time_zone, locale,
                currency, created_at, updated_at, revision",
            tenant.id.as_uuid(),
            tenant.revision,
            profile.name.as_str(),
            tenant.domain.as_ref().map(DomainName::as_str),
            tenant.plan.as_str(),
            tenant.status.as_str(),
            profile.settings.to_value(),
            serde_json::json!(tenant.limits),
            profile.time_zone.name(),
            profile.locale.to_string(),
            profile.currency.code(),
            tenant.updated_at,
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        let stored = read(&mut self.session, OPERATION, row)?;
        let stored = self.session.keep(stored.ok_or_else(|| lost(OPERATION)))?;
        self.move_domain(&stored).await?;
        Ok(stored)
    }
}

impl PgPlatform {
    /// Brings the lookup table in line with the tenant's domain. Two statements, since a key that
    /// one part of a statement frees is still taken for its other parts.
    async fn move_domain(&mut self, tenant: &Tenant) -> StoreResult<()> {
        const OPERATION: &str = "tenants.update";
        let domain = tenant.domain.as_ref().map(DomainName::as_str);
        let freed = sqlx::query!(
            "DELETE FROM tenantry.tenant_domains
            WHERE owner = $1 AND domain IS DISTINCT FROM $2",
            tenant.id.as_uuid(),
            domain,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        self.session.check(OPERATION, freed)?;
        let claimed = sqlx::query!(
            "INSERT INTO tenantry.tenant_domains (domain, owner)
            SELECT $2, $1 WHERE $2::text IS NOT NULL AND NOT EXISTS (
                SELECT FROM tenantry.tenant_domains WHERE owner = $1 AND domain = $2)",
            tenant.id.as_uuid(),
            domain,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        self.session.check(OPERATION, claimed).map(drop)
    }
}

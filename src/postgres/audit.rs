//! The audit trail on PostgreSQL, which a trigger writes.

use std::net::IpAddr;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::types::ipnetwork::IpNetwork;
use uuid::Uuid;

use super::error::corrupt;
use super::platform::PgPlatform;
use super::unit::PgTx;
use crate::domain::audit::AuditEntry;
use crate::domain::context::{Actor, Origin, ServiceName};
use crate::domain::ids::{AuditId, UserId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::TextError;
use crate::store::{AuditFilter, AuditRepo, PlatformAuditRepo, StoreResult, page_key};

struct AuditRow {
    id: Uuid,
    actor_kind: String,
    user_id: Option<Uuid>,
    service_name: Option<String>,
    action: String,
    resource_type: String,
    resource_id: Option<Uuid>,
    old_values: Value,
    new_values: Value,
    ip_address: Option<IpNetwork>,
    user_agent: Option<String>,
    session_id: Option<String>,
    request_id: Option<String>,
    reason: Option<String>,
    database_user: String,
    created_at: DateTime<Utc>,
}

impl AuditRow {
    fn read(self, operation: &'static str) -> StoreResult<AuditEntry> {
        let place = format!("audit_logs {}", self.id);
        let broken = |error: TextError| corrupt(operation, &place, error);
        let actor = match (self.actor_kind.as_str(), self.user_id, self.service_name) {
            ("user", Some(user), _) => Actor::User(user.into()),
            ("service", _, Some(name)) => Actor::Service(ServiceName::new(&name).map_err(broken)?),
            _ => Actor::System,
        };
        Ok(AuditEntry {
            id: self.id.into(),
            actor,
            action: self.action.parse().map_err(broken)?,
            resource_type: self.resource_type,
            resource_id: self.resource_id,
            old_values: object(self.old_values),
            new_values: object(self.new_values),
            origin: Origin {
                ip: self.ip_address.map(|network| -> IpAddr { network.ip() }),
                user_agent: self.user_agent,
                session: self.session_id,
                request: self.request_id,
            },
            reason: self.reason,
            database_user: Some(self.database_user),
            created_at: self.created_at,
        })
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[async_trait]
impl AuditRepo for PgTx<'_> {
    async fn page(
        &mut self,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<AuditEntry>> {
        const OPERATION: &str = "audit.page";
        let before = self.session.keep(page_key::<AuditId>(OPERATION, page))?;
        let (tenant, limit) = (self.tenant(), page.limit());
        let rows = sqlx::query_as!(
            AuditRow,
            "SELECT id, actor_kind, user_id, service_name, action, resource_type, resource_id,
                old_values, new_values, ip_address, user_agent, session_id, request_id, reason,
                database_user, created_at
            FROM tenantry.audit_logs
            WHERE tenant_id = $1
                AND ($2::uuid IS NULL OR id < $2)
                AND ($3::text IS NULL OR resource_type = $3)
                AND ($4::uuid IS NULL OR resource_id = $4)
                AND ($5::uuid IS NULL OR user_id = $5)
                AND ($6::timestamptz IS NULL
                    OR (id >= tenantry.id_floor($6) AND created_at >= $6))
                AND ($7::timestamptz IS NULL OR created_at < $7)
            ORDER BY id DESC LIMIT $8",
            tenant,
            before.map(AuditId::as_uuid),
            filter.resource_type,
            filter.resource_id,
            filter.user.map(UserId::as_uuid),
            filter.period.map(|period| period.start()),
            filter.period.map(|period| period.end()),
            limit as i64 + 1,
        )
        .fetch_all(self.session.run_planned(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        let entries = rows.into_iter().map(|row| row.read(OPERATION)).collect();
        Ok(Page::of(
            self.session.keep(entries)?,
            limit,
            |entry: &AuditEntry| entry.id,
        ))
    }
    async fn forget(&mut self, person: UserId) -> StoreResult<u64> {
        const OPERATION: &str = "audit.forget";
        let found = sqlx::query_scalar!(
            r#"SELECT tenantry.forget_in_audit($1) AS "found!""#,
            person.as_uuid(),
        )
        .fetch_one(self.session.run(OPERATION)?)
        .await;
        let found = self.session.check(OPERATION, found)?;
        Ok(u64::try_from(found).unwrap_or(0))
    }
}

#[async_trait]
impl PlatformAuditRepo for PgPlatform {
    async fn page(
        &mut self,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<AuditEntry>> {
        const OPERATION: &str = "platform_audit.page";
        let before = self.session.keep(page_key::<AuditId>(OPERATION, page))?;
        let limit = page.limit();
        let rows = sqlx::query_as!(
            AuditRow,
            "SELECT id, actor_kind, user_id, service_name, action, resource_type, resource_id,
                old_values, new_values, ip_address, user_agent, session_id, request_id, reason,
                database_user, created_at
            FROM tenantry.platform_audit_logs
            WHERE ($1::uuid IS NULL OR id < $1)
                AND ($2::text IS NULL OR resource_type = $2)
                AND ($3::uuid IS NULL OR resource_id = $3)
                AND ($4::uuid IS NULL OR user_id = $4)
                AND ($5::timestamptz IS NULL OR created_at >= $5)
                AND ($6::timestamptz IS NULL OR created_at < $6)
            ORDER BY id DESC LIMIT $7",
            before.map(AuditId::as_uuid),
            filter.resource_type,
            filter.resource_id,
            filter.user.map(UserId::as_uuid),
            filter.period.map(|period| period.start()),
            filter.period.map(|period| period.end()),
            limit as i64 + 1,
        )
        .fetch_all(self.session.run_planned(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        let entries = rows.into_iter().map(|row| row.read(OPERATION)).collect();
        Ok(Page::of(
            self.session.keep(entries)?,
            limit,
            |entry: &AuditEntry| entry.id,
        ))
    }
}

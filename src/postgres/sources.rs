//! Sources on PostgreSQL.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::corrupt;
use super::session::Session;
use super::unit::PgTx;
use crate::domain::ids::SourceId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::source::{SecretHash, Source};
use crate::domain::text::{Name, TextError};
use crate::store::{SourceRepo, StoreError, StoreErrorKind, StoreResult, page_key};

struct SourceRow {
    id: Uuid,
    name: String,
    secret_hash: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl SourceRow {
    fn read(self, operation: &'static str) -> StoreResult<Source> {
        let place = format!("n8n_sources {}", self.id);
        let broken = |error: TextError| corrupt(operation, &place, error);
        Ok(Source {
            id: self.id.into(),
            name: Name::new(&self.name).map_err(broken)?,
            secret: self
                .secret_hash
                .as_deref()
                .map(SecretHash::new)
                .transpose()
                .map_err(broken)?,
            created_at: self.created_at,
            updated_at: self.updated_at,
            revision: self.revision,
        })
    }
}

fn read(
    session: &mut Session<'_>,
    operation: &'static str,
    row: Result<Option<SourceRow>, sqlx::Error>,
) -> StoreResult<Option<Source>> {
    let row = session.check(operation, row)?;
    session.keep(row.map(|row| row.read(operation)).transpose())
}

#[async_trait]
impl SourceRepo for PgTx<'_> {
    async fn insert(&mut self, source: &Source) -> StoreResult<()> {
        const OPERATION: &str = "sources.insert";
        let tenant = self.tenant();
        let done = sqlx::query!(
            "INSERT INTO tenantry.n8n_sources
                (tenant_id, id, name, secret_hash, created_at, updated_at, revision)
            VALUES ($1, $2, $3, $4, $5, $6, $7)",
            tenant,
            source.id.as_uuid(),
            source.name.as_str(),
            source.secret.as_ref().map(SecretHash::as_str),
            source.created_at,
            source.updated_at,
            source.revision,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        self.session.check(OPERATION, done).map(drop)
    }

    async fn get(&mut self, id: SourceId) -> StoreResult<Option<Source>> {
        const OPERATION: &str = "sources.get";
        let tenant = self.tenant();
        let row = sqlx::query_as!(
            SourceRow,
            "SELECT id, name, secret_hash, created_at, updated_at, revision
            FROM tenantry.n8n_sources WHERE tenant_id = $1 AND id = $2",
            tenant,
            id.as_uuid(),
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        read(&mut self.session, OPERATION, row)
    }

    async fn find_by_name(&mut self, name: &Name) -> StoreResult<Option<Source>> {
        const OPERATION: &str = "sources.find_by_name";
        let tenant = self.tenant();
        let row = sqlx::query_as!(
            SourceRow,
            "SELECT id, name, secret_hash, created_at, updated_at, revision
            FROM tenantry.n8n_sources WHERE tenant_id = $1 AND name = $2",
            tenant,
            name.as_str(),
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        read(&mut self.session, OPERATION, row)
    }

    async fn page(&mut self, page: &PageRequest) -> StoreResult<Page<Source>> {
        const OPERATION: &str = "sources.page";
        let after = self.session.keep(page_key::<Name>(OPERATION, page))?;
        let (tenant, limit) = (self.tenant(), page.limit());
        let rows = sqlx::query_as!(
            SourceRow,
            "SELECT id, name, secret_hash, created_at, updated_at, revision
            FROM tenantry.n8n_sources WHERE tenant_id = $1 AND name > $2
            ORDER BY name LIMIT $3",
            tenant,
            // No name is empty, so the first page is what comes after the empty one.
            after.as_ref().map_or("", Name::as_str),
            limit as i64 + 1,
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        let sources = rows.into_iter().map(|row| row.read(OPERATION)).collect();
        Ok(Page::of(
            self.session.keep(sources)?,
            limit,
            |source: &Source| source.name.clone(),
        ))
    }

    async fn update(&mut self, source: &Source) -> StoreResult<Source> {
        const OPERATION: &str = "sources.update";
        let tenant = self.tenant();
        let row = sqlx::query_as!(
            SourceRow,
            "UPDATE tenantry.n8n_sources
            SET name = $4, secret_hash = $5, updated_at = $6, revision = revision + 1
            WHERE tenant_id = $1 AND id = $2 AND revision = $3
            RETURNING id, name, secret_hash, created_at, updated_at, revision",
            tenant,
            source.id.as_uuid(),
            source.revision,
            source.name.as_str(),
            source.secret.as_ref().map(SecretHash::as_str),
            source.updated_at,
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        let stored = read(&mut self.session, OPERATION, row)?;
        self.session
            .keep(stored.ok_or_else(|| StoreError::new(StoreErrorKind::Conflict, OPERATION)))
    }
}

//! Users on PostgreSQL.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::error::corrupt;
use super::session::Session;
use super::unit::PgTx;
use crate::domain::identity::{User, UserStatus};
use crate::domain::ids::UserId;
use crate::domain::json::Document;
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::{Email, Name, Subject, TextError};
use crate::store::{StoreError, StoreErrorKind, StoreResult, UserRepo, page_key};

struct UserRow {
    id: Uuid,
    subject: Option<String>,
    email: String,
    full_name: Option<String>,
    preferences: Value,
    status: String,
    last_login_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl UserRow {
    fn read(self, operation: &'static str) -> StoreResult<User> {
        let place = format!("users {}", self.id);
        let text = |error: TextError| corrupt(operation, &place, error);
        let subject = self.subject.as_deref().map(Subject::new);
        let full_name = self.full_name.as_deref().map(Name::new);
        Ok(User {
            id: self.id.into(),
            subject: subject.transpose().map_err(text)?,
            email: Email::new(&self.email).map_err(text)?,
            full_name: full_name.transpose().map_err(text)?,
            preferences: Document::new("preferences", self.preferences)
                .map_err(|error| corrupt(operation, &place, error))?,
            status: self.status.parse().map_err(text)?,
            last_login_at: self.last_login_at,
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
    row: Result<Option<UserRow>, sqlx::Error>,
) -> StoreResult<Option<User>> {
    let row = session.check(operation, row)?;
    session.keep(row.map(|row| row.read(operation)).transpose())
}

#[async_trait]
impl UserRepo for PgTx<'_> {
    async fn insert(&mut self, user: &User) -> StoreResult<()> {
        const OPERATION: &str = "users.insert";
        let tenant = self.tenant();
        let done = sqlx::query!(
            "INSERT INTO tenantry.users (tenant_id, id, subject, email, email_key, full_name,
                preferences, status, last_login_at, created_at, updated_at, revision)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            tenant,
            user.id.as_uuid(),
            user.subject.as_ref().map(Subject::as_str),
            user.email.as_str(),
            user.email.key(),
            user.full_name.as_ref().map(Name::as_str),
            user.preferences.to_value(),
            user.status.as_str(),
            user.last_login_at,
            user.created_at,
            user.updated_at,
            user.revision,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        self.session.check(OPERATION, done).map(drop)
    }

    async fn get(&mut self, id: UserId) -> StoreResult<Option<User>> {
        const OPERATION: &str = "users.get";
        let tenant = self.tenant();
        let row = sqlx::query_as!(
            UserRow,
            "SELECT id, subject, email, full_name, preferences, status, last_login_at, created_at,
                updated_at, revision
            FROM tenantry.users WHERE tenant_id = $1 AND id = $2",
            tenant,
            id.as_uuid(),
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        read(&mut self.session, OPERATION, row)
    }

    async fn find_by_email(&mut self, email: &Email) -> StoreResult<Option<User>> {
        const OPERATION: &str = "users.find_by_email";
        let tenant = self.tenant();
        let row = sqlx::query_as!(
            UserRow,
            "SELECT id, subject, email, full_name, preferences, status, last_login_at, created_at,
                updated_at, revision
            FROM tenantry.users WHERE tenant_id = $1 AND email_key = $2",
            tenant,
            email.key(),
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        read(&mut self.session, OPERATION, row)
    }

    async fn find_by_subject(&mut self, subject: &Subject) -> StoreResult<Option<User>> {
        const OPERATION: &str = "users.find_by_subject";
        let tenant = self.tenant();
        let row = sqlx::query_as!(
            UserRow,
            "SELECT id, subject, email, full_name, preferences, status, last_login_at, created_at,
                updated_at, revision
            FROM tenantry.users WHERE tenant_id = $1 AND subject = $2",
            tenant,
            subject.as_str(),
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        read(&mut self.session, OPERATION, row)
    }

    async fn page(
        &mut self,
        status: Option<UserStatus>,
        page: &PageRequest,
    ) -> StoreResult<Page<User>> {
        const OPERATION: &str = "users.page";
        let after = self.session.keep(page_key::<UserId>(OPERATION, page))?;
        let (tenant, limit) = (self.tenant(), page.limit());
        let rows = sqlx::query_as!(
            UserRow,
            "SELECT id, subject, email, full_name, preferences, status, last_login_at, created_at,
                updated_at, revision
            FROM tenantry.users
            WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2)
                AND ($3::text IS NULL OR status = $3)
            ORDER BY id LIMIT $4",
            tenant,
            after.map(UserId::as_uuid),
            status.map(UserStatus::as_str),
            limit as i64 + 1,
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        let users = rows.into_iter().map(|row| row.read(OPERATION)).collect();
        Ok(Page::of(self.session.keep(users)?, limit, |user: &User| {
            user.id
        }))
    }

    async fn update(&mut self, user: &User) -> StoreResult<User> {
        const OPERATION: &str = "users.update";
        let tenant = self.tenant();
        let row = sqlx::query_as!(
            UserRow,
            "UPDATE tenantry.users
            SET subject = $4, email = $5, email_key = $6, full_name = $7, preferences = $8,
                status = $9, updated_at = $10, revision = revision + 1,
                last_login_at = CASE WHEN $9 = 'erased' THEN NULL ELSE last_login_at END
            WHERE tenant_id = $1 AND id = $2 AND revision = $3
            RETURNING id, subject, email, full_name, preferences, status, last_login_at,
                created_at, updated_at, revision",
            tenant,
            user.id.as_uuid(),
            user.revision,
            user.subject.as_ref().map(Subject::as_str),
            user.email.as_str(),
            user.email.key(),
            user.full_name.as_ref().map(Name::as_str),
            user.preferences.to_value(),
            user.status.as_str(),
            user.updated_at,
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        let stored = read(&mut self.session, OPERATION, row)?;
        self.session
            .keep(stored.ok_or_else(|| StoreError::new(StoreErrorKind::Conflict, OPERATION)))
    }

    async fn record_login(&mut self, id: UserId, at: DateTime<Utc>) -> StoreResult<DateTime<Utc>> {
        const OPERATION: &str = "users.record_login";
        let tenant = self.tenant();
        let last = sqlx::query_scalar!(
            r#"UPDATE tenantry.users SET last_login_at = greatest(last_login_at, $3)
            WHERE tenant_id = $1 AND id = $2 AND status = 'active'
            RETURNING last_login_at AS "last_login_at!""#,
            tenant,
            id.as_uuid(),
            at,
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        let last = self.session.check(OPERATION, last)?;
        self.session.keep(last.ok_or_else(|| {
            StoreError::new(StoreErrorKind::NotFound, OPERATION).with_detail("users")
        }))
    }
}

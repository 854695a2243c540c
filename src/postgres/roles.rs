//! Roles and their grants on PostgreSQL.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::corrupt;
use super::session::Session;
use super::unit::PgTx;
use crate::domain::access::Permission;
use crate::domain::identity::{Rights, Role, RoleDefinition, RoleGrant, RoleName};
use crate::domain::ids::{GrantId, UserId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::TextError;
use crate::store::{RoleRepo, StoreError, StoreErrorKind, StoreResult, page_key};

struct RoleRow {
    id: Uuid,
    name: String,
    permissions: Vec<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl RoleRow {
    fn read(self, operation: &'static str) -> StoreResult<RoleDefinition> {
        let place = format!("roles {}", self.id);
        let broken = |error: TextError| corrupt(operation, &place, error);
        Ok(RoleDefinition {
            id: self.id.into(),
            name: RoleName::new(&self.name).map_err(broken)?,
            permissions: parse(&self.permissions).map_err(broken)?,
            created_at: self.created_at,
            updated_at: self.updated_at,
            revision: self.revision,
        })
    }
}

struct GrantRow {
    id: Uuid,
    user_id: Uuid,
    role: String,
    /// A custom role's.
    permissions: Option<Vec<String>>,
    granted_by: Option<Uuid>,
    granted_at: DateTime<Utc>,
}

impl GrantRow {
    fn read(self, operation: &'static str) -> StoreResult<RoleGrant> {
        let place = format!("user_roles {}", self.id);
        let broken = |error: TextError| corrupt(operation, &place, error);
        let role: Role = self.role.parse().map_err(broken)?;
        let permissions = match role.built_in_permissions() {
            Some(permissions) => permissions,
            None => parse(&self.permissions.unwrap_or_default()).map_err(broken)?,
        };
        Ok(RoleGrant {
            id: self.id.into(),
            user: self.user_id.into(),
            role,
            permissions,
            granted_by: self.granted_by.map(UserId::from),
            granted_at: self.granted_at,
        })
    }
}

/// A user with one of their roles, or with none.
struct RightsRow {
    tenant_status: String,
    user_status: String,
    role: Option<String>,
    /// A custom role's.
    permissions: Option<Vec<String>>,
}

fn read_rights(rows: Vec<RightsRow>) -> Result<Option<Rights>, TextError> {
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let mut rights = Rights {
        tenant: first.tenant_status.parse()?,
        user: first.user_status.parse()?,
        roles: BTreeSet::new(),
        granted: BTreeSet::new(),
    };
    for row in &rows {
        let Some(role) = &row.role else { continue };
        let role: Role = role.parse()?;
        match role.built_in_permissions() {
            Some(permissions) => rights.granted.extend(permissions),
            // What a newer version may have written allows nothing in this one.
            None => rights.granted.extend(
                row.permissions
                    .iter()
                    .flatten()
                    .filter_map(|name| name.parse::<Permission>().ok()),
            ),
        }
        rights.roles.insert(role);
    }
    Ok(Some(rights))
}

fn parse(names: &[String]) -> Result<BTreeSet<Permission>, TextError> {
    names.iter().map(|name| name.parse()).collect()
}

fn names(permissions: &BTreeSet<Permission>) -> Vec<String> {
    permissions.iter().map(Permission::to_string).collect()
}

/// Reads a row if there is one; a row that cannot be read spends the unit.
fn read(
    session: &mut Session<'_>,
    operation: &'static str,
    row: Result<Option<RoleRow>, sqlx::Error>,
) -> StoreResult<Option<RoleDefinition>> {
    let row = session.check(operation, row)?;
    session.keep(row.map(|row| row.read(operation)).transpose())
}

fn read_grants(
    session: &mut Session<'_>,
    operation: &'static str,
    rows: Result<Vec<GrantRow>, sqlx::Error>,
) -> StoreResult<Vec<RoleGrant>> {
    let rows = session.check(operation, rows)?;
    session.keep(rows.into_iter().map(|row| row.read(operation)).collect())
}

#[async_trait]
impl RoleRepo for PgTx<'_> {
    async fn rights_of(&mut self, user: UserId) -> StoreResult<Option<Rights>> {
        const OPERATION: &str = "roles.rights_of";
        let tenant = self.tenant();
        let rows = sqlx::query_as!(
            RightsRow,
            r#"SELECT t.status AS tenant_status, u.status AS user_status, g.role AS "role?",
                r.permissions AS "permissions?"
            FROM tenantry.users u
            JOIN tenantry.tenants t ON t.id = u.tenant_id
            LEFT JOIN tenantry.user_roles g ON g.tenant_id = u.tenant_id AND g.user_id = u.id
            LEFT JOIN tenantry.roles r ON r.tenant_id = g.tenant_id AND r.name = g.custom_role
            WHERE u.tenant_id = $1 AND u.id = $2"#,
            tenant,
            user.as_uuid(),
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        let rights = read_rights(rows)
            .map_err(|error| corrupt(OPERATION, &format!("rights of users {user}"), error));
        self.session.keep(rights)
    }

    async fn define(&mut self, role: &RoleDefinition) -> StoreResult<()> {
        const OPERATION: &str = "roles.define";
        let tenant = self.tenant();
        let done = sqlx::query!(
            "INSERT INTO tenantry.roles
                (tenant_id, id, name, permissions, created_at, updated_at, revision)
            VALUES ($1, $2, $3, $4, $5, $6, $7)",
            tenant,
            role.id.as_uuid(),
            role.name.as_str(),
            &names(&role.permissions),
            role.created_at,
            role.updated_at,
            role.revision,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        self.session.check(OPERATION, done).map(drop)
    }

    async fn find(&mut self, name: &RoleName) -> StoreResult<Option<RoleDefinition>> {
        const OPERATION: &str = "roles.find";
        let tenant = self.tenant();
        let row = sqlx::query_as!(
            RoleRow,
            "SELECT id, name, permissions, created_at, updated_at, revision
            FROM tenantry.roles WHERE tenant_id = $1 AND name = $2",
            tenant,
            name.as_str(),
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        read(&mut self.session, OPERATION, row)
    }

    async fn page(&mut self, page: &PageRequest) -> StoreResult<Page<RoleDefinition>> {
        const OPERATION: &str = "roles.page";
        let after = self.session.keep(page_key::<RoleName>(OPERATION, page))?;
        let (tenant, limit) = (self.tenant(), page.limit());
        let rows = sqlx::query_as!(
            RoleRow,
            "SELECT id, name, permissions, created_at, updated_at, revision
            FROM tenantry.roles
            WHERE tenant_id = $1 AND ($2::text IS NULL OR name > $2)
            ORDER BY name LIMIT $3",
            tenant,
            after.as_ref().map(RoleName::as_str),
            limit as i64 + 1,
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        let roles = rows.into_iter().map(|row| row.read(OPERATION)).collect();
        Ok(Page::of(
            self.session.keep(roles)?,
            limit,
            |role: &RoleDefinition| role.name.clone(),
        ))
    }

    async fn redefine(&mut self, role: &RoleDefinition) -> StoreResult<RoleDefinition> {
        const OPERATION: &str = "roles.redefine";
        let tenant = self.tenant();
        let row = sqlx::query_as!(
            RoleRow,
            "UPDATE tenantry.roles
            SET permissions = $4, updated_at = $5, revision = revision + 1
            WHERE tenant_id = $1 AND id = $2 AND revision = $3
            RETURNING id, name, permissions, created_at, updated_at, revision",
            tenant,
            role.id.as_uuid(),
            role.revision,
            &names(&role.permissions),
            role.updated_at,
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        let stored = read(&mut self.session, OPERATION, row)?;
        self.session
            .keep(stored.ok_or_else(|| StoreError::new(StoreErrorKind::Conflict, OPERATION)))
    }

    async fn delete(&mut self, role: &RoleDefinition) -> StoreResult<()> {
        const OPERATION: &str = "roles.delete";
        let tenant = self.tenant();
        let done = sqlx::query!(
            "DELETE FROM tenantry.roles r
            WHERE r.tenant_id = $1 AND r.id = $2 AND r.revision = $3
                AND NOT EXISTS (SELECT FROM tenantry.user_roles g
                    WHERE g.tenant_id = $1 AND g.custom_role = r.name)",
            tenant,
            role.id.as_uuid(),
            role.revision,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        let deleted = self.session.check(OPERATION, done)?.rows_affected();
        self.session.keep(match deleted {
            0 => Err(StoreError::new(StoreErrorKind::Conflict, OPERATION)),
            _ => Ok(()),
        })
    }

    async fn grant(&mut self, grant: &RoleGrant) -> StoreResult<()> {
        const OPERATION: &str = "roles.grant";
        let tenant = self.tenant();
        let done = sqlx::query!(
            "INSERT INTO tenantry.user_roles
                (tenant_id, id, user_id, role, granted_by, granted_at)
            VALUES ($1, $2, $3, $4, $5, $6)",
            tenant,
            grant.id.as_uuid(),
            grant.user.as_uuid(),
            grant.role.as_str(),
            grant.granted_by.map(UserId::as_uuid),
            grant.granted_at,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        self.session.check(OPERATION, done).map(drop)
    }

    async fn revoke(&mut self, grant: GrantId) -> StoreResult<()> {
        const OPERATION: &str = "roles.revoke";
        let tenant = self.tenant();
        let done = sqlx::query!(
            "DELETE FROM tenantry.user_roles WHERE tenant_id = $1 AND id = $2",
            tenant,
            grant.as_uuid(),
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        let revoked = self.session.check(OPERATION, done)?.rows_affected();
        self.session.keep(match revoked {
            0 => {
                Err(StoreError::new(StoreErrorKind::NotFound, OPERATION).with_detail("user_roles"))
            }
            _ => Ok(()),
        })
    }

    async fn grants_of(&mut self, user: UserId) -> StoreResult<Vec<RoleGrant>> {
        const OPERATION: &str = "roles.grants_of";
        let tenant = self.tenant();
        let rows = sqlx::query_as!(
            GrantRow,
            r#"SELECT g.id, g.user_id, g.role, r.permissions AS "permissions?", g.granted_by,
                g.granted_at
            FROM tenantry.user_roles g
            LEFT JOIN tenantry.roles r ON r.tenant_id = g.tenant_id AND r.name = g.custom_role
            WHERE g.tenant_id = $1 AND g.user_id = $2
            ORDER BY g.id"#,
            tenant,
            user.as_uuid(),
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        read_grants(&mut self.session, OPERATION, rows)
    }

    async fn holders(&mut self, role: &Role, page: &PageRequest) -> StoreResult<Page<RoleGrant>> {
        const OPERATION: &str = "roles.holders";
        let after = self.session.keep(page_key::<UserId>(OPERATION, page))?;
        let (tenant, limit) = (self.tenant(), page.limit());
        let rows = sqlx::query_as!(
            GrantRow,
            r#"SELECT g.id, g.user_id, g.role, r.permissions AS "permissions?", g.granted_by,
                g.granted_at
            FROM tenantry.user_roles g
            LEFT JOIN tenantry.roles r ON r.tenant_id = g.tenant_id AND r.name = g.custom_role
            WHERE g.tenant_id = $1 AND g.role = $2 AND ($3::uuid IS NULL OR g.user_id > $3)
            ORDER BY g.user_id LIMIT $4"#,
            tenant,
            role.as_str(),
            after.map(UserId::as_uuid),
            limit as i64 + 1,
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let grants = read_grants(&mut self.session, OPERATION, rows)?;
        Ok(Page::of(grants, limit, |grant: &RoleGrant| grant.user))
    }

    async fn active_owners(&mut self) -> StoreResult<u64> {
        const OPERATION: &str = "roles.active_owners";
        let tenant = self.tenant();
        let count = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!"
            FROM tenantry.user_roles g
            JOIN tenantry.users u ON u.tenant_id = g.tenant_id AND u.id = g.user_id
            WHERE g.tenant_id = $1 AND g.role = 'owner' AND u.status = 'active'"#,
            tenant,
        )
        .fetch_one(self.session.run(OPERATION)?)
        .await;
        let count = self.session.check(OPERATION, count)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

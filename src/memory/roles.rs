//! Roles and their grants in memory.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use imbl::OrdMap;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::audit::Audited;
use super::state::Shard;
use super::unit::MemoryTx;
use crate::domain::access::Permission;
use crate::domain::audit::audited_instant;
use crate::domain::identity::{Rights, Role, RoleDefinition, RoleGrant, RoleName, UserStatus};
use crate::domain::ids::{GrantId, UserId};
use crate::domain::page::{Page, PageRequest};
use crate::store::{RoleRepo, StoreError, StoreErrorKind, StoreResult, page_key};

/// One tenant's roles and grants.
#[derive(Debug, Clone, Default)]
pub(super) struct RoleTable {
    definitions: OrdMap<RoleName, Arc<RoleDefinition>>,
    grants: OrdMap<GrantId, Arc<GrantRow>>,
    by_user: OrdMap<(UserId, GrantId), Role>,
    by_role: OrdMap<(Role, UserId), GrantId>,
}

/// A grant as it is stored: without the permissions, which are the role's.
#[derive(Debug, Clone)]
struct GrantRow {
    id: GrantId,
    user: UserId,
    role: Role,
    granted_by: Option<UserId>,
    granted_at: DateTime<Utc>,
}

impl RoleTable {
    fn permissions(&self, role: &Role) -> BTreeSet<Permission> {
        match role.custom().map(|name| self.definitions.get(name)) {
            Some(definition) => definition.map(|d| d.permissions.clone()),
            None => role.built_in_permissions(),
        }
        .unwrap_or_default()
    }

    fn grant(&self, row: &GrantRow) -> RoleGrant {
        RoleGrant {
            id: row.id,
            user: row.user,
            role: row.role.clone(),
            permissions: self.permissions(&row.role),
            granted_by: row.granted_by,
            granted_at: row.granted_at,
        }
    }

    /// The user's grants, in the order of their ids.
    fn grants_of(&self, user: UserId) -> impl Iterator<Item = (GrantId, &Role)> {
        self.by_user
            .range((user, GrantId::from_uuid(Uuid::nil()))..)
            .take_while(move |((holder, _), _)| *holder == user)
            .map(|((_, id), role)| (*id, role))
    }

    /// The users who have the role, in the order of their ids, after one of them.
    fn holders(
        &self,
        role: &Role,
        after: Option<UserId>,
    ) -> impl Iterator<Item = (UserId, GrantId)> {
        let start = match after {
            Some(user) => Bound::Excluded((role.clone(), user)),
            None => Bound::Included((role.clone(), UserId::from_uuid(Uuid::nil()))),
        };
        self.by_role
            .range((start, Bound::Unbounded))
            .take_while(move |((held, _), _)| held == role)
            .map(|((_, user), id)| (*user, *id))
    }
}

impl Audited for RoleDefinition {
    const RESOURCE: &'static str = "roles";

    fn resource_id(&self) -> Uuid {
        self.id.as_uuid()
    }

    fn columns(&self) -> Map<String, Value> {
        [
            ("id", json!(self.id)),
            ("name", json!(self.name)),
            ("permissions", json!(self.permissions)),
            ("created_at", audited_instant(self.created_at)),
        ]
        .into_iter()
        .map(|(column, value)| (column.to_owned(), value))
        .collect()
    }
}

impl Audited for GrantRow {
    const RESOURCE: &'static str = "user_roles";

    fn resource_id(&self) -> Uuid {
        self.id.as_uuid()
    }

    fn columns(&self) -> Map<String, Value> {
        [
            ("id", json!(self.id)),
            ("user_id", json!(self.user)),
            ("role", json!(self.role)),
            ("custom_role", json!(self.role.custom())),
            ("granted_by", json!(self.granted_by)),
            ("granted_at", audited_instant(self.granted_at)),
        ]
        .into_iter()
        .map(|(column, value)| (column.to_owned(), value))
        .collect()
    }
}

#[async_trait]
impl RoleRepo for MemoryTx {
    async fn rights_of(&mut self, user: UserId) -> StoreResult<Option<Rights>> {
        let shard = self.read("roles.rights_of")?;
        let (Some(tenant), Some(person)) = (&shard.tenant, shard.users.get(user)) else {
            return Ok(None);
        };
        let roles: BTreeSet<Role> = shard
            .roles
            .grants_of(user)
            .map(|(_, role)| role.clone())
            .collect();
        Ok(Some(Rights {
            tenant: tenant.status,
            user: person.status,
            granted: roles
                .iter()
                .flat_map(|role| shard.roles.permissions(role))
                .collect(),
            roles,
        }))
    }

    async fn define(&mut self, role: &RoleDefinition) -> StoreResult<()> {
        const OPERATION: &str = "roles.define";
        let (role, stamp) = (role.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |shard| {
            let definitions = &mut shard.roles.definitions;
            let taken = if definitions.values().any(|other| other.id == role.id) {
                "roles_pkey"
            } else if definitions.contains_key(&role.name) {
                "roles_name_key"
            } else {
                definitions.insert(role.name.clone(), Arc::new(role.clone()));
                shard.audit.record(&stamp, None, Some(&role));
                return Ok(());
            };
            Err(StoreError::new(StoreErrorKind::AlreadyExists, OPERATION).with_detail(taken))
        })
    }

    async fn find(&mut self, name: &RoleName) -> StoreResult<Option<RoleDefinition>> {
        let definitions = &self.read("roles.find")?.roles.definitions;
        Ok(definitions
            .get(name)
            .map(|role| RoleDefinition::clone(role)))
    }

    async fn page(&mut self, page: &PageRequest) -> StoreResult<Page<RoleDefinition>> {
        const OPERATION: &str = "roles.page";
        let after = self.check(page_key::<RoleName>(OPERATION, page))?;
        let rows = self
            .read(OPERATION)?
            .roles
            .definitions
            .range((
                after.map_or(Bound::Unbounded, Bound::Excluded),
                Bound::Unbounded,
            ))
            .take(page.limit() + 1)
            .map(|(_, role)| RoleDefinition::clone(role))
            .collect();
        Ok(Page::of(rows, page.limit(), |role: &RoleDefinition| {
            role.name.clone()
        }))
    }

    async fn redefine(&mut self, role: &RoleDefinition) -> StoreResult<RoleDefinition> {
        const OPERATION: &str = "roles.redefine";
        let (given, stamp) = (role.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |shard| {
            let stored = present(shard, OPERATION, &given)?;
            let next = RoleDefinition {
                permissions: given.permissions.clone(),
                updated_at: given.updated_at,
                revision: stored.revision + 1,
                ..RoleDefinition::clone(&stored)
            };
            shard.audit.record(&stamp, Some(&*stored), Some(&next));
            let definitions = &mut shard.roles.definitions;
            definitions.insert(next.name.clone(), Arc::new(next.clone()));
            Ok(next)
        })
    }

    async fn delete(&mut self, role: &RoleDefinition) -> StoreResult<()> {
        const OPERATION: &str = "roles.delete";
        let (given, stamp) = (role.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |shard| {
            let stored = present(shard, OPERATION, &given)?;
            let held = Role::Custom(stored.name.clone());
            if shard.roles.holders(&held, None).next().is_some() {
                return Err(StoreError::new(StoreErrorKind::Conflict, OPERATION));
            }
            shard.audit.record(&stamp, Some(&*stored), None);
            shard.roles.definitions.remove(&stored.name);
            Ok(())
        })
    }

    async fn grant(&mut self, grant: &RoleGrant) -> StoreResult<()> {
        const OPERATION: &str = "roles.grant";
        let stamp = Arc::clone(&self.stamp);
        let row = GrantRow {
            id: grant.id,
            user: grant.user,
            role: grant.role.clone(),
            granted_by: grant.granted_by,
            granted_at: grant.granted_at,
        };
        self.write(OPERATION, move |shard| {
            must_be_new(shard, OPERATION, &row)?;
            must_refer(shard, OPERATION, &row)?;
            shard.audit.record(&stamp, None, Some(&row));
            let roles = &mut shard.roles;
            roles.by_user.insert((row.user, row.id), row.role.clone());
            roles.by_role.insert((row.role.clone(), row.user), row.id);
            roles.grants.insert(row.id, Arc::new(row.clone()));
            Ok(())
        })
    }

    async fn revoke(&mut self, grant: GrantId) -> StoreResult<()> {
        const OPERATION: &str = "roles.revoke";
        let stamp = Arc::clone(&self.stamp);
        self.write(OPERATION, move |shard| {
            let Some(row) = shard.roles.grants.remove(&grant) else {
                return Err(
                    StoreError::new(StoreErrorKind::NotFound, OPERATION).with_detail("user_roles")
                );
            };
            shard.roles.by_user.remove(&(row.user, row.id));
            shard.roles.by_role.remove(&(row.role.clone(), row.user));
            shard.audit.record(&stamp, Some(&*row), None);
            Ok(())
        })
    }

    async fn grants_of(&mut self, user: UserId) -> StoreResult<Vec<RoleGrant>> {
        let roles = &self.read("roles.grants_of")?.roles;
        Ok(roles
            .grants_of(user)
            .filter_map(|(id, _)| roles.grants.get(&id))
            .map(|row| roles.grant(row))
            .collect())
    }

    async fn holders(&mut self, role: &Role, page: &PageRequest) -> StoreResult<Page<RoleGrant>> {
        const OPERATION: &str = "roles.holders";
        let after = self.check(page_key::<UserId>(OPERATION, page))?;
        let roles = &self.read(OPERATION)?.roles;
        let rows = roles
            .holders(role, after)
            .filter_map(|(_, id)| roles.grants.get(&id))
            .take(page.limit() + 1)
            .map(|row| roles.grant(row))
            .collect();
        Ok(Page::of(rows, page.limit(), |grant: &RoleGrant| grant.user))
    }

    async fn active_owners(&mut self) -> StoreResult<u64> {
        let shard = self.read("roles.active_owners")?;
        let owners = shard.roles.holders(&Role::Owner, None);
        let active = owners.filter(|(user, _)| {
            let user = shard.users.get(*user);
            user.is_some_and(|user| user.status == UserStatus::Active)
        });
        Ok(active.count() as u64)
    }
}

/// The stored role, if it is still the one that the caller has read.
fn present(
    shard: &Shard,
    operation: &'static str,
    given: &RoleDefinition,
) -> StoreResult<Arc<RoleDefinition>> {
    let mut stored = shard.roles.definitions.values();
    stored
        .find(|stored| stored.id == given.id && stored.revision == given.revision)
        .cloned()
        .ok_or_else(|| StoreError::new(StoreErrorKind::Conflict, operation))
}

fn must_be_new(shard: &Shard, operation: &'static str, row: &GrantRow) -> StoreResult<()> {
    let key = (row.role.clone(), row.user);
    let taken = if shard.roles.grants.contains_key(&row.id) {
        "user_roles_pkey"
    } else if shard.roles.by_role.contains_key(&key) {
        "user_roles_role_user_key"
    } else {
        return Ok(());
    };
    Err(StoreError::new(StoreErrorKind::AlreadyExists, operation).with_detail(taken))
}

/// Checks that the tenant has what the grant refers to.
fn must_refer(shard: &Shard, operation: &'static str, row: &GrantRow) -> StoreResult<()> {
    let (users, definitions) = (&shard.users, &shard.roles.definitions);
    let missing = if users.get(row.user).is_none() {
        "user_roles_tenant_id_user_id_fkey"
    } else if row
        .role
        .custom()
        .is_some_and(|name| !definitions.contains_key(name))
    {
        "user_roles_tenant_id_custom_role_fkey"
    } else if row
        .granted_by
        .is_some_and(|giver| users.get(giver).is_none())
    {
        "user_roles_tenant_id_granted_by_fkey"
    } else {
        return Ok(());
    };
    Err(StoreError::new(StoreErrorKind::NotFound, operation).with_detail(missing))
}

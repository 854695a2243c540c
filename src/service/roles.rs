//! Roles: defined by tenants, granted and revoked, and asked for what they allow.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::access::{authorize, authorize_alone, authorize_own};
use super::tenants::must_be_present;
use crate::domain::access::{Permission, Powers};
use crate::domain::context::Context;
use crate::domain::identity::{
    IdentityError, Rights, Role, RoleDefinition, RoleGrant, RoleName, one_owner_remains,
};
use crate::domain::ids::UserId;
use crate::domain::page::{Page, PageRequest};
use crate::error::{Error, Result};
use crate::store::{Store, Tx, on_conflict};

/// Defines, grants and revokes roles.
#[derive(Debug, Clone)]
pub struct Roles {
    store: Arc<dyn Store>,
}

impl Roles {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Checks that the context's actor may do this: for acts of the host's own.
    ///
    /// # Errors
    /// `Forbidden`, with the permission that is missing or the state of the tenant.
    pub async fn check(&self, ctx: &Context, permission: Permission) -> Result<()> {
        let mut unit = self.store.begin(ctx).await?;
        self.check_in(&mut *unit, permission).await
    }

    /// Checks in a unit that the caller owns.
    ///
    /// # Errors
    /// As [`Roles::check`].
    pub async fn check_in(&self, tx: &mut dyn Tx, permission: Permission) -> Result<()> {
        authorize(tx, permission).await.map(drop)
    }

    /// What a user may do, and why; everybody may ask it about themselves.
    ///
    /// # Errors
    /// `NotFound` if there is no such user; `Forbidden` without `users.read`.
    pub async fn rights_of(&self, ctx: &Context, user: UserId) -> Result<Rights> {
        let mut unit = self.store.begin(ctx).await?;
        authorize_own(&mut *unit, user, Permission::UsersRead).await?;
        rights_of(&mut *unit, user).await
    }

    /// The roles that a user has, and who gave them; everybody may ask it about themselves.
    ///
    /// # Errors
    /// `Forbidden` without `users.read`.
    pub async fn grants_of(&self, ctx: &Context, user: UserId) -> Result<Vec<RoleGrant>> {
        let mut unit = self.store.begin(ctx).await?;
        authorize_own(&mut *unit, user, Permission::UsersRead).await?;
        Ok(unit.roles().grants_of(user).await?)
    }

    /// Who has a role, in the order of the users' ids.
    ///
    /// # Errors
    /// `Forbidden` without `users.read`; `Invalid` for a cursor of another list.
    pub async fn holders(
        &self,
        ctx: &Context,
        role: &Role,
        page: &PageRequest,
    ) -> Result<Page<RoleGrant>> {
        page.key::<UserId>()?;
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::UsersRead).await?;
        Ok(unit.roles().holders(role, page).await?)
    }

    /// A role that the tenant defined.
    ///
    /// # Errors
    /// `NotFound` if it did not; `Forbidden` without `users.read`.
    pub async fn get(&self, ctx: &Context, name: &RoleName) -> Result<RoleDefinition> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::UsersRead).await?;
        definition(&mut *unit, name).await
    }

    /// The roles that the tenant defined, by their names.
    ///
    /// # Errors
    /// `Forbidden` without `users.read`; `Invalid` for a cursor of another list.
    pub async fn list(&self, ctx: &Context, page: &PageRequest) -> Result<Page<RoleDefinition>> {
        page.key::<RoleName>()?;
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::UsersRead).await?;
        Ok(unit.roles().page(page).await?)
    }

    /// Defines a role.
    ///
    /// # Errors
    /// `Forbidden` without `roles.manage` and all that the role allows; `AlreadyExists` for a name
    /// that is taken.
    pub async fn define(
        &self,
        ctx: &Context,
        name: &RoleName,
        permissions: &BTreeSet<Permission>,
    ) -> Result<RoleDefinition> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let role = self.define_in(&mut *unit, name, permissions).await?;
            unit.commit().await?;
            Ok(role)
        })
        .await
    }

    /// Defines a role in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Roles::define`].
    pub async fn define_in(
        &self,
        tx: &mut dyn Tx,
        name: &RoleName,
        permissions: &BTreeSet<Permission>,
    ) -> Result<RoleDefinition> {
        let powers = authorize_alone(tx, Permission::RolesManage).await?;
        powers.require_all(permissions)?;
        let now = tx.now();
        let role = RoleDefinition {
            id: tx.ids().fresh(),
            name: name.clone(),
            permissions: permissions.clone(),
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        tx.roles().define(&role).await?;
        Ok(role)
    }

    /// Changes what a role allows, from now on for everybody who has it.
    ///
    /// # Errors
    /// `Forbidden` without `roles.manage` and all that the role allowed and will allow; `NotFound`;
    /// `Stale` unless `revision` is the present one.
    pub async fn redefine(
        &self,
        ctx: &Context,
        name: &RoleName,
        revision: i64,
        permissions: &BTreeSet<Permission>,
    ) -> Result<RoleDefinition> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let role = self
                .redefine_in(&mut *unit, name, revision, permissions)
                .await?;
            unit.commit().await?;
            Ok(role)
        })
        .await
    }

    /// Changes a role in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Roles::redefine`].
    pub async fn redefine_in(
        &self,
        tx: &mut dyn Tx,
        name: &RoleName,
        revision: i64,
        permissions: &BTreeSet<Permission>,
    ) -> Result<RoleDefinition> {
        let powers = authorize_alone(tx, Permission::RolesManage).await?;
        let mut role = definition(tx, name).await?;
        must_be_present("role", revision, role.revision)?;
        powers.require_all(role.permissions.union(permissions))?;
        role.permissions.clone_from(permissions);
        role.updated_at = tx.now();
        Ok(tx.roles().redefine(&role).await?)
    }

    /// Removes a role that nobody has.
    ///
    /// # Errors
    /// `Forbidden` without `roles.manage` and all that the role allows; `NotFound`; `Invalid` while
    /// somebody has the role.
    pub async fn delete(&self, ctx: &Context, name: &RoleName) -> Result<()> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            self.delete_in(&mut *unit, name).await?;
            unit.commit().await?;
            Ok(())
        })
        .await
    }

    /// Removes a role in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Roles::delete`].
    pub async fn delete_in(&self, tx: &mut dyn Tx, name: &RoleName) -> Result<()> {
        let powers = authorize_alone(tx, Permission::RolesManage).await?;
        let role = definition(tx, name).await?;
        powers.require_all(&role.permissions)?;
        let held = Role::Custom(name.clone());
        let holders = tx.roles().holders(&held, &PageRequest::first(1)).await?;
        if !holders.items.is_empty() {
            return Err(IdentityError::RoleInUse { role: role.name }.into());
        }
        Ok(tx.roles().delete(&role).await?)
    }

    /// Gives a user a role.
    ///
    /// # Errors
    /// `Forbidden` without `roles.manage` and all that the role allows; `NotFound` for a user or a
    /// role that the tenant does not have; `Invalid` for an erased user; `AlreadyExists` when the
    /// user has the role.
    pub async fn grant(&self, ctx: &Context, user: UserId, role: &Role) -> Result<RoleGrant> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let grant = self.grant_in(&mut *unit, user, role).await?;
            unit.commit().await?;
            Ok(grant)
        })
        .await
    }

    /// Gives a role in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Roles::grant`].
    pub async fn grant_in(&self, tx: &mut dyn Tx, user: UserId, role: &Role) -> Result<RoleGrant> {
        let powers = authorize_alone(tx, Permission::RolesManage).await?;
        let found = tx.users().get(user).await?;
        let person = found.ok_or_else(|| Error::not_found("user", user))?;
        person.must_not_be_erased()?;
        give(tx, &powers, user, role).await
    }

    /// Takes a role from a user; answers what was taken. The trail keeps when and by whom.
    ///
    /// # Errors
    /// `Forbidden` without `roles.manage` and all that the role allows; `NotFound` when the user
    /// does not have it; `Invalid` for the last active owner.
    pub async fn revoke(&self, ctx: &Context, user: UserId, role: &Role) -> Result<RoleGrant> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let grant = self.revoke_in(&mut *unit, user, role).await?;
            unit.commit().await?;
            Ok(grant)
        })
        .await
    }

    /// Takes a role in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Roles::revoke`].
    pub async fn revoke_in(&self, tx: &mut dyn Tx, user: UserId, role: &Role) -> Result<RoleGrant> {
        let powers = authorize_alone(tx, Permission::RolesManage).await?;
        let grants = tx.roles().grants_of(user).await?;
        let held = grants.into_iter().find(|grant| grant.role == *role);
        let grant =
            held.ok_or_else(|| Error::not_found("role of user", format!("{role} of {user}")))?;
        powers.require_all(&grant.permissions)?;
        if grant.role == Role::Owner {
            let rights = rights_of(tx, user).await?;
            keep_an_owner(tx, &rights).await?;
        }
        tx.roles().revoke(grant.id).await?;
        Ok(grant)
    }
}

/// Gives a role to a user who is known to be there, as far as the giver's own powers go. The
/// caller holds the tenant's lock, so that the role stays what was checked.
pub(super) async fn give(
    tx: &mut dyn Tx,
    powers: &Powers,
    user: UserId,
    role: &Role,
) -> Result<RoleGrant> {
    let permissions = match (role.built_in_permissions(), role.custom()) {
        (Some(permissions), _) => permissions,
        (None, Some(name)) => definition(tx, name).await?.permissions,
        (None, None) => BTreeSet::new(),
    };
    powers.require_all(&permissions)?;
    let grant = RoleGrant {
        id: tx.ids().fresh(),
        user,
        role: role.clone(),
        permissions,
        granted_by: tx.context().actor().user(),
        granted_at: tx.now(),
    };
    tx.roles().grant(&grant).await?;
    Ok(grant)
}

/// Checks that the tenant keeps an active owner when this user goes or loses the role. The caller
/// holds the tenant's lock, so that two cannot go at once.
pub(super) async fn keep_an_owner(tx: &mut dyn Tx, leaving: &Rights) -> Result<()> {
    if leaving.is_active_owner() {
        one_owner_remains(tx.roles().active_owners().await?)?;
    }
    Ok(())
}

pub(super) async fn rights_of(tx: &mut dyn Tx, user: UserId) -> Result<Rights> {
    let rights = tx.roles().rights_of(user).await?;
    rights.ok_or_else(|| Error::not_found("user", user))
}

async fn definition(tx: &mut dyn Tx, name: &RoleName) -> Result<RoleDefinition> {
    let found = tx.roles().find(name).await?;
    found.ok_or_else(|| Error::not_found("role", name))
}

//! Users: created, changed, deactivated and erased, and seen to log in.

use std::sync::Arc;

use super::access::{authorize, authorize_alone, authorize_own};
use super::limit_notes::admit_one;
use super::roles::{give, keep_an_owner, rights_of};
use super::tenants::must_be_present;
use crate::domain::access::{Permission, Powers};
use crate::domain::analytics::{EventData, EventType, NewEvent};
use crate::domain::context::Context;
use crate::domain::identity::{NewUser, Rights, User, UserPatch, UserStatus};
use crate::domain::ids::UserId;
use crate::domain::limits::CountedRows;
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::{Email, Subject};
use crate::error::{Error, Result};
use crate::store::{Store, Tx, on_conflict};

/// Creates, reads and changes users.
///
/// ```
/// use tenantry::domain::identity::{NewUser, Role, User};
/// use tenantry::domain::{ids::TenantId, text::Email};
/// use tenantry::{Context, Result, Tenantry};
///
/// async fn first_owner(tenantry: &Tenantry, tenant: TenantId, email: &str) -> Result<User> {
///     let mut new = NewUser::new(Email::new(email)?);
///     new.roles.push(Role::Owner);
///     tenantry.users().create(&Context::system(tenant), &new).await
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Users {
    store: Arc<dyn Store>,
}

impl Users {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Creates a user, with roles at once.
    ///
    /// The first owner of a tenant is created by the system or a service: a tenant without users
    /// has nobody who may.
    ///
    /// # Errors
    /// `Forbidden` without `users.manage`, or, with roles, `roles.manage` and all that they allow;
    /// `LimitExceeded` when the tenant has as many as it may; `AlreadyExists` for an id, an address
    /// or a subject that is taken in this tenant; `NotFound` for a role that the tenant does not
    /// have.
    pub async fn create(&self, ctx: &Context, new: &NewUser) -> Result<User> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let user = self.create_in(&mut *unit, new).await?;
            unit.commit().await?;
            Ok(user)
        })
        .await
    }

    /// Creates a user in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Users::create`].
    pub async fn create_in(&self, tx: &mut dyn Tx, new: &NewUser) -> Result<User> {
        let powers = if new.roles.is_empty() {
            authorize(tx, Permission::UsersManage).await?
        } else {
            let powers = authorize_alone(tx, Permission::UsersManage).await?;
            powers.require(Permission::RolesManage)?;
            powers
        };
        admit_one(tx, CountedRows::Users).await?;
        let id = new.id.unwrap_or_else(|| tx.ids().fresh());
        let user = User::create(id, new.clone(), tx.now());
        tx.users().insert(&user).await?;
        for role in &new.roles {
            give(tx, &powers, id, role).await?;
        }
        Ok(user)
    }

    /// A user by their id; everybody may read themselves.
    ///
    /// # Errors
    /// `NotFound` if there is none; `Forbidden` without `users.read`.
    pub async fn get(&self, ctx: &Context, id: UserId) -> Result<User> {
        let mut unit = self.store.begin(ctx).await?;
        authorize_own(&mut *unit, id, Permission::UsersRead).await?;
        existing(&mut *unit, id).await
    }

    /// The user with this address, without regard to case.
    ///
    /// # Errors
    /// `NotFound` if there is none; `Forbidden` without `users.read`.
    pub async fn find_by_email(&self, ctx: &Context, email: &Email) -> Result<User> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::UsersRead).await?;
        let found = unit.users().find_by_email(email).await?;
        found.ok_or_else(|| Error::not_found("user with e-mail", email))
    }

    /// The user with this id at an identity provider: how a host finds the user of a token.
    ///
    /// # Errors
    /// `NotFound` if there is none; `Forbidden` without `users.read`.
    pub async fn find_by_subject(&self, ctx: &Context, subject: &Subject) -> Result<User> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::UsersRead).await?;
        let found = unit.users().find_by_subject(subject).await?;
        found.ok_or_else(|| Error::not_found("user with subject", subject))
    }

    /// The users in the order of their ids, all or those in one state.
    ///
    /// # Errors
    /// `Forbidden` without `users.read`; `Invalid` for a cursor of another list.
    pub async fn list(
        &self,
        ctx: &Context,
        status: Option<UserStatus>,
        page: &PageRequest,
    ) -> Result<Page<User>> {
        page.key::<UserId>()?;
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::UsersRead).await?;
        Ok(unit.users().page(status, page).await?)
    }

    /// Changes a user; everybody may change their own name and preferences.
    ///
    /// # Errors
    /// `Forbidden` without `users.manage` and all that the user may do; `NotFound`; `Stale` unless
    /// `revision` is the present one; `AlreadyExists` for an address or a subject that is taken in
    /// this tenant; `Invalid` for an erased user.
    pub async fn change(
        &self,
        ctx: &Context,
        id: UserId,
        revision: i64,
        patch: &UserPatch,
    ) -> Result<User> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let user = self.change_in(&mut *unit, id, revision, patch).await?;
            unit.commit().await?;
            Ok(user)
        })
        .await
    }

    /// Changes a user in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Users::change`].
    pub async fn change_in(
        &self,
        tx: &mut dyn Tx,
        id: UserId,
        revision: i64,
        patch: &UserPatch,
    ) -> Result<User> {
        if patch.is_personal() && tx.context().actor().user() == Some(id) {
            authorize_own(tx, id, Permission::UsersManage).await?;
        } else {
            let powers = authorize(tx, Permission::UsersManage).await?;
            reach(tx, &powers, id).await?;
        }
        let mut user = existing(tx, id).await?;
        must_be_present("user", revision, user.revision)?;
        user.patch(patch, tx.now())?;
        Ok(tx.users().update(&user).await?)
    }

    /// Takes everything they may do from a user, for a while; data and roles stay.
    ///
    /// # Errors
    /// `Forbidden` without `users.manage` and all that the user may do; `NotFound`; `Invalid`
    /// unless the user is active, and for the last active owner.
    pub async fn deactivate(&self, ctx: &Context, id: UserId) -> Result<User> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let user = self.deactivate_in(&mut *unit, id).await?;
            unit.commit().await?;
            Ok(user)
        })
        .await
    }

    /// Deactivates a user in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Users::deactivate`].
    pub async fn deactivate_in(&self, tx: &mut dyn Tx, id: UserId) -> Result<User> {
        let powers = authorize_alone(tx, Permission::UsersManage).await?;
        let rights = reach(tx, &powers, id).await?;
        keep_an_owner(tx, &rights).await?;
        let mut user = existing(tx, id).await?;
        user.deactivate(tx.now())?;
        Ok(tx.users().update(&user).await?)
    }

    /// Gives a deactivated user everything back.
    ///
    /// # Errors
    /// `Forbidden` without `users.manage` and all that the user will be able to do; `NotFound`;
    /// `Invalid` unless the user is deactivated; `LimitExceeded` when the tenant has as many as it
    /// may.
    pub async fn reactivate(&self, ctx: &Context, id: UserId) -> Result<User> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let user = self.reactivate_in(&mut *unit, id).await?;
            unit.commit().await?;
            Ok(user)
        })
        .await
    }

    /// Reactivates a user in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Users::reactivate`].
    pub async fn reactivate_in(&self, tx: &mut dyn Tx, id: UserId) -> Result<User> {
        let powers = authorize_alone(tx, Permission::UsersManage).await?;
        reach(tx, &powers, id).await?;
        let mut user = existing(tx, id).await?;
        user.reactivate(tx.now())?;
        admit_one(tx, CountedRows::Users).await?;
        Ok(tx.users().update(&user).await?)
    }

    /// Erases what tells who a person is, here, in the analytics and in the audit trail, for good;
    /// takes all their roles. The id stays, for what refers to it; the erasure is itself in the trail.
    ///
    /// # Errors
    /// `Forbidden` without `users.manage` and all that the user may do; `NotFound`; `Invalid` for
    /// an erased user, and for the last active owner.
    pub async fn erase(&self, ctx: &Context, id: UserId) -> Result<User> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let user = self.erase_in(&mut *unit, id).await?;
            unit.commit().await?;
            Ok(user)
        })
        .await
    }

    /// Erases a user in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Users::erase`].
    pub async fn erase_in(&self, tx: &mut dyn Tx, id: UserId) -> Result<User> {
        let powers = authorize_alone(tx, Permission::UsersManage).await?;
        let rights = reach(tx, &powers, id).await?;
        keep_an_owner(tx, &rights).await?;
        let mut user = existing(tx, id).await?;
        user.erase(tx.now())?;
        for grant in tx.roles().grants_of(id).await? {
            tx.roles().revoke(grant.id).await?;
        }
        let user = tx.users().update(&user).await?;
        forget_elsewhere(tx, id).await?;
        Ok(user)
    }

    /// Keeps that a user logged in just now, and records the event `user_login` with the context's
    /// origin. A host calls it when it has checked who they are, as a service or as the user.
    ///
    /// The last login never goes back, though the clocks of the host's machines may differ. Every
    /// call is a login: repeated after a lost connection, it may be counted twice.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` unless the user is active, or for another user without
    /// `users.manage`.
    pub async fn record_login(&self, ctx: &Context, id: UserId) -> Result<User> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let user = self.record_login_in(&mut *unit, id).await?;
            unit.commit().await?;
            Ok(user)
        })
        .await
    }

    /// Keeps a login in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Users::record_login`].
    pub async fn record_login_in(&self, tx: &mut dyn Tx, id: UserId) -> Result<User> {
        authorize_own(tx, id, Permission::UsersManage).await?;
        let user = existing(tx, id).await?;
        user.must_be_active()?;
        let now = tx.now();
        let login = NewEvent {
            user: Some(id),
            origin: tx.context().platform().origin().clone(),
            ..NewEvent::new(EventType::USER_LOGIN, now, EventData::default())
        };
        let login = login.into_event(tx.ids());
        let last_login_at = Some(tx.users().record_login(id, now).await?);
        tx.events().append(&[login]).await?;
        Ok(User {
            last_login_at,
            ..user
        })
    }
}

async fn existing(tx: &mut dyn Tx, id: UserId) -> Result<User> {
    let found = tx.users().get(id).await?;
    found.ok_or_else(|| Error::not_found("user", id))
}

/// Checks that the actor may act on a user: on somebody else, only with all that they may do, so
/// that nobody takes over the account of somebody above them. Answers the user's rights.
async fn reach(tx: &mut dyn Tx, powers: &Powers, id: UserId) -> Result<Rights> {
    let rights = rights_of(tx, id).await?;
    if tx.context().actor().user() != Some(id) {
        powers.require_all(&rights.granted)?;
    }
    Ok(rights)
}

/// Takes an erased person's data out of everything but their own row: every area that keeps some
/// has a line here. Ids stay.
async fn forget_elsewhere(tx: &mut dyn Tx, person: UserId) -> Result<()> {
    tx.events().erase_person(person).await?;
    tx.audit().forget(person).await?;
    Ok(())
}

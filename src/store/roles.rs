//! A tenant's roles, and who has them.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::identity::{Rights, Role, RoleDefinition, RoleGrant, RoleName};
use crate::domain::ids::{GrantId, UserId};
use crate::domain::page::{Page, PageRequest};

/// The unit's own tenant's roles.
///
/// Rules over several grants, such as the last owner's, begin with
/// [`TenantRepo::lock`](super::TenantRepo::lock).
#[async_trait]
pub trait RoleRepo: Send {
    /// All that decides what a user may do; `None` if there is no such user. One statement: it
    /// precedes every act of a user.
    ///
    /// A permission that this version does not know, because a newer one wrote it, allows nothing.
    async fn rights_of(&mut self, user: UserId) -> StoreResult<Option<Rights>>;

    /// Defines a role.
    ///
    /// # Errors
    /// `AlreadyExists` for an id or a name that is taken in this tenant.
    async fn define(&mut self, role: &RoleDefinition) -> StoreResult<()>;

    /// A role that the tenant defined.
    async fn find(&mut self, name: &RoleName) -> StoreResult<Option<RoleDefinition>>;

    /// The roles that the tenant defined, by their names.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    async fn page(&mut self, page: &PageRequest) -> StoreResult<Page<RoleDefinition>>;

    /// Writes what the role allows, from now on for everybody who has it, and answers the role
    /// with its next revision.
    ///
    /// # Errors
    /// `Conflict` unless the stored revision is the given one.
    async fn redefine(&mut self, role: &RoleDefinition) -> StoreResult<RoleDefinition>;

    /// Removes a role.
    ///
    /// # Errors
    /// `Conflict` unless the stored revision is the given one and nobody has the role.
    async fn delete(&mut self, role: &RoleDefinition) -> StoreResult<()>;

    /// Gives a user a role. What the grant says of the role's permissions is not stored.
    ///
    /// # Errors
    /// `AlreadyExists` for an id that is taken or a role that the user has; `NotFound` for a user,
    /// a custom role or a giver that the tenant does not have.
    async fn grant(&mut self, grant: &RoleGrant) -> StoreResult<()>;

    /// Takes a role from a user.
    ///
    /// # Errors
    /// `NotFound` if there is no such grant.
    async fn revoke(&mut self, grant: GrantId) -> StoreResult<()>;

    /// The roles that a user has, in the order of the grants' ids.
    async fn grants_of(&mut self, user: UserId) -> StoreResult<Vec<RoleGrant>>;

    /// Who has a role, in the order of the users' ids, whatever their states.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    async fn holders(&mut self, role: &Role, page: &PageRequest) -> StoreResult<Page<RoleGrant>>;

    /// How many active users are owners.
    async fn active_owners(&mut self) -> StoreResult<u64>;
}

//! Roles: the built-in ones, those a tenant defines, and their grants.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{IdentityError, UserStatus};
use crate::domain::access::Permission;
use crate::domain::ids::{GrantId, RoleId, UserId};
use crate::domain::tenancy::TenantStatus;
use crate::domain::text::TextError;

/// What a user is in a tenant. In texts and in JSON it is its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, and works on workflows.
    Editor,
    /// Does everything but make owners.
    Admin,
    /// Does everything that is a tenant's to do.
    Owner,
    /// A role that the tenant defined.
    Custom(RoleName),
}

impl Role {
    const BUILT_IN: [Self; 4] = [Self::Viewer, Self::Editor, Self::Admin, Self::Owner];

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
            Self::Owner => "owner",
            Self::Custom(name) => name.as_str(),
        }
    }

    /// The name of a role that the tenant defined; `None` for a built-in one.
    #[must_use]
    pub fn custom(&self) -> Option<&RoleName> {
        match self {
            Self::Custom(name) => Some(name),
            Self::Viewer | Self::Editor | Self::Admin | Self::Owner => None,
        }
    }

    /// What a built-in role allows; `None` for a custom one, whose definition says it.
    #[must_use]
    pub fn built_in_permissions(&self) -> Option<BTreeSet<Permission>> {
        if self.custom().is_some() {
            return None;
        }
        let allowed = Permission::ALL.iter().copied().filter(|permission| {
            // The built-in roles are declared from the least to the greatest, each with all that
            // the one before it has.
            least_role(*permission).is_some_and(|least| least <= *self)
        });
        Some(allowed.collect())
    }
}

/// The least built-in role that has the permission: the source of the table in the module's docs.
fn least_role(permission: Permission) -> Option<Role> {
    use Permission as P;
    match permission {
        P::TenantRead
        | P::UsersRead
        | P::WorkflowsRead
        | P::ExecutionsRead
        | P::UsageRead
        | P::AnalyticsRead
        | P::BillingRead
        | P::MessagesRead => Some(Role::Viewer),
        P::WorkflowsWrite | P::PayloadsRead | P::AnalyticsRecord => Some(Role::Editor),
        P::TenantUpdate
        | P::UsersManage
        | P::RolesManage
        | P::SourcesManage
        | P::WorkflowsDelete
        | P::ExecutionsSync
        | P::BillingManage
        | P::AuditRead => Some(Role::Admin),
        P::OwnersManage => Some(Role::Owner),
        P::UsageRecord | P::BillingOperate | P::MessagesSend => None,
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        match Self::BUILT_IN
            .into_iter()
            .find(|role| role.as_str() == text)
        {
            Some(role) => Ok(role),
            None => RoleName::new(text).map(Self::Custom),
        }
    }
}

impl TryFrom<String> for Role {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        text.parse()
    }
}

impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.as_str().to_owned()
    }
}

/// The name of a role that a tenant defines: 1 to 50 of `a-z`, `0-9`, `-` and `_`, beginning with
/// a letter, and not the name of a built-in role.
///
/// So few characters that no two names look alike: a role called `Owner`, or `оwner` with a
/// Cyrillic letter, would be granted by mistake.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoleName(String);

impl RoleName {
    /// The most characters it may have.
    pub const MAX: usize = 50;

    /// Checks the name.
    ///
    /// # Errors
    /// When it has another form, or is the name of a built-in role.
    pub fn new(text: &str) -> Result<Self, TextError> {
        let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_');
        let refused = |expected| Err(TextError::form("role", text, expected));
        if text.len() > Self::MAX
            || !text.starts_with(|c: char| c.is_ascii_lowercase())
            || !text.chars().all(allowed)
        {
            return refused("1 to 50 of a-z, 0-9, - and _, beginning with a letter");
        }
        if Role::BUILT_IN.iter().any(|role| role.as_str() == text) {
            return refused("a new name; this role is built in");
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RoleName {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        Self::new(&text)
    }
}

impl From<RoleName> for String {
    fn from(name: RoleName) -> Self {
        name.0
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A role that a tenant defined. Its name stays; its permissions may change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleDefinition {
    /// Its id.
    pub id: RoleId,
    /// Its name, unique in the tenant.
    pub name: RoleName,
    /// What it allows.
    pub permissions: BTreeSet<Permission>,
    /// When it was defined.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts its changes, from 1; a writer must name the one it has read.
    pub revision: i64,
}

/// A role that a user has, and who gave it. When it is revoked, the trail says when and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleGrant {
    /// Its id.
    pub id: GrantId,
    /// Who has the role.
    pub user: UserId,
    /// The role.
    pub role: Role,
    /// What the role allows at present.
    pub permissions: BTreeSet<Permission>,
    /// The user who gave it; `None` when a service or the system did, which the trail names.
    pub granted_by: Option<UserId>,
    /// When it was given.
    pub granted_at: DateTime<Utc>,
}

/// All that decides what a user may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// The state of the tenant.
    pub tenant: TenantStatus,
    /// The state of the user.
    pub user: UserStatus,
    /// The roles that the user has.
    pub roles: BTreeSet<Role>,
    /// What these roles allow together, whatever the states.
    pub granted: BTreeSet<Permission>,
}

impl Rights {
    /// What the user may do: all that is granted, or nothing unless the user is active.
    ///
    /// The state of the tenant is another question: [`TenantStatus::must_admit`].
    #[must_use]
    pub fn permissions(&self) -> BTreeSet<Permission> {
        match self.user {
            UserStatus::Active => self.granted.clone(),
            UserStatus::Deactivated | UserStatus::Erased => BTreeSet::new(),
        }
    }

    /// Whether the user counts among the owners that a tenant needs.
    #[must_use]
    pub fn is_active_owner(&self) -> bool {
        self.user == UserStatus::Active && self.roles.contains(&Role::Owner)
    }
}

/// Checks that an active owner remains when one of them goes.
///
/// # Errors
/// [`IdentityError::LastOwner`] when there is no other.
pub fn one_owner_remains(active_owners: u64) -> Result<(), IdentityError> {
    if active_owners > 1 {
        Ok(())
    } else {
        Err(IdentityError::LastOwner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_back_by_its_name() {
        let clerk = Role::Custom(RoleName::new("billing-clerk").unwrap());
        for role in Role::BUILT_IN.into_iter().chain([clerk]) {
            assert_eq!(role.as_str().parse(), Ok(role.clone()));
            let json = serde_json::to_string(&role).unwrap();
            assert_eq!(json, format!("\"{role}\""));
            assert_eq!(serde_json::from_str::<Role>(&json).unwrap(), role);
        }
    }

    #[test]
    fn a_custom_role_cannot_pass_for_a_built_in_one() {
        for bad in ["", "Owner", "оwner", "1st", "a b", "-a", &"a".repeat(51)] {
            assert!(RoleName::new(bad).is_err(), "{bad}");
        }
        assert_eq!(
            RoleName::new("owner").unwrap_err().to_string(),
            "role `owner` is not a new name; this role is built in"
        );
    }

    #[test]
    fn only_an_active_user_may_do_something() {
        let mut rights = Rights {
            tenant: TenantStatus::Active,
            user: UserStatus::Active,
            roles: BTreeSet::from([Role::Owner]),
            granted: Role::Owner.built_in_permissions().unwrap(),
        };
        assert!(rights.is_active_owner());
        assert_eq!(rights.permissions(), rights.granted);
        for status in [UserStatus::Deactivated, UserStatus::Erased] {
            rights.user = status;
            assert!(!rights.is_active_owner());
            assert!(rights.permissions().is_empty());
        }
    }

    #[test]
    fn the_last_owner_stays() {
        assert_eq!(one_owner_remains(2), Ok(()));
        assert_eq!(one_owner_remains(1), Err(IdentityError::LastOwner));
    }
}

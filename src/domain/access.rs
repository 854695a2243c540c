//! What may be done: permissions, and the actors that need none.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::context::Actor;
use super::text::TextError;

/// An actor that may not do what it asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{actor} may not do this: the permission {permission} is missing")]
pub struct Denied {
    /// Who asked.
    pub actor: Actor,
    /// What would have been needed.
    pub permission: Permission,
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// One thing that a role allows. Its name is `area.act`; the act `read`, and no other,
        /// changes nothing.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        #[non_exhaustive]
        pub enum Permission {
            $($(#[$doc])* $name,)+
        }

        impl Permission {
            /// All permissions there are.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

permissions! {
    /// Reads the tenant itself.
    TenantRead = "tenant.read",
    /// Changes the tenant's profile.
    TenantUpdate = "tenant.update",
    /// Reads users and their roles.
    UsersRead = "users.read",
    /// Creates, changes, deactivates and erases users.
    UsersManage = "users.manage",
    /// Defines custom roles, grants and revokes roles other than owner.
    RolesManage = "roles.manage",
    /// Grants and revokes the role owner.
    OwnersManage = "owners.manage",
    /// Registers and changes the sources of executions.
    SourcesManage = "sources.manage",
    /// Reads workflows and their versions.
    WorkflowsRead = "workflows.read",
    /// Creates and changes workflows.
    WorkflowsWrite = "workflows.write",
    /// Deletes workflows.
    WorkflowsDelete = "workflows.delete",
    /// Reads executions, without their payloads.
    ExecutionsRead = "executions.read",
    /// Reads the payloads of executions, which may hold anything.
    PayloadsRead = "payloads.read",
    /// Reports executions.
    ExecutionsSync = "executions.sync",
    /// Reads usage.
    UsageRead = "usage.read",
    /// Records and corrects usage.
    UsageRecord = "usage.record",
    /// Reads analytics.
    AnalyticsRead = "analytics.read",
    /// Records analytics events.
    AnalyticsRecord = "analytics.record",
    /// Reads subscriptions.
    BillingRead = "billing.read",
    /// Subscribes, changes and ends subscriptions.
    BillingManage = "billing.manage",
    /// Says what was paid, and gives what costs nothing: coupons, credits, other trials than the
    /// plan's, versions of a plan that are not the newest.
    BillingOperate = "billing.operate",
    /// Reads the audit trail.
    AuditRead = "audit.read",
    /// Reads messages that were published.
    MessagesRead = "messages.read",
    /// Writes messages of the host's own.
    MessagesSend = "messages.send",
}

impl Permission {
    /// Whether it allows nothing but to read, and so may be used while a tenant is suspended.
    #[must_use]
    pub fn is_read(self) -> bool {
        self.as_str().ends_with(".read")
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Permission {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        Self::ALL
            .iter()
            .copied()
            .find(|permission| permission.as_str() == text)
            .ok_or_else(|| {
                TextError::form(
                    "permission",
                    text,
                    "one that this version knows, such as workflows.read",
                )
            })
    }
}

impl TryFrom<String> for Permission {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        text.parse()
    }
}

impl From<Permission> for String {
    fn from(permission: Permission) -> Self {
        permission.as_str().to_owned()
    }
}

/// What the actor of a unit of work may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Powers {
    actor: Actor,
    /// `None` for an actor that may do everything.
    bounds: Option<BTreeSet<Permission>>,
}

impl Powers {
    /// The powers of an actor that is trusted with everything: a service, the system.
    #[must_use]
    pub fn unbounded(actor: Actor) -> Self {
        Self {
            actor,
            bounds: None,
        }
    }

    /// The powers of a person with these permissions.
    #[must_use]
    pub fn bounded(actor: Actor, permissions: BTreeSet<Permission>) -> Self {
        Self {
            actor,
            bounds: Some(permissions),
        }
    }

    /// Checks that the actor has the permission.
    ///
    /// # Errors
    /// [`Denied`] with the permission.
    pub fn require(&self, permission: Permission) -> Result<(), Denied> {
        self.require_all([&permission])
    }

    /// Checks that the actor has all these permissions: what one needs to give them to somebody,
    /// or to take them away.
    ///
    /// # Errors
    /// [`Denied`] with the first one that is missing.
    pub fn require_all<'p>(
        &self,
        permissions: impl IntoIterator<Item = &'p Permission>,
    ) -> Result<(), Denied> {
        let Some(bounds) = &self.bounds else {
            return Ok(());
        };
        match permissions.into_iter().find(|p| !bounds.contains(*p)) {
            None => Ok(()),
            Some(missing) => Err(Denied {
                actor: self.actor.clone(),
                permission: *missing,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_is_read_back_by_its_name() {
        for permission in Permission::ALL {
            assert_eq!(permission.as_str().parse(), Ok(*permission));
        }
        assert!(Permission::AuditRead.is_read());
        assert!(!Permission::UsersManage.is_read());
        assert_eq!(
            "users.fly".parse::<Permission>().unwrap_err().to_string(),
            "permission `users.fly` is not one that this version knows, such as workflows.read"
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let actor = Actor::User(uuid::Uuid::nil().into());
        let powers = Powers::bounded(actor, BTreeSet::from([Permission::UsersRead]));
        assert_eq!(powers.require(Permission::UsersRead), Ok(()));
        let wanted = [Permission::UsersRead, Permission::UsersManage];
        assert_eq!(
            powers.require_all(&wanted).unwrap_err().permission,
            Permission::UsersManage
        );
        let all = Powers::unbounded(Actor::System);
        assert_eq!(all.require_all(Permission::ALL), Ok(()));
    }
}

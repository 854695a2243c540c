//! What may be done: permissions, and the actors that need none.

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
        /// One thing that a role allows. Its name is `area.act`.
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
    /// Reads the audit trail.
    AuditRead = "audit.read",
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

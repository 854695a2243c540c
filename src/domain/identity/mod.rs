//! Users, their roles, and who may do what.
//!
//! # Who may do what
//!
//! A user may do what their roles allow, all of them together. These are the roles that every
//! tenant has; a tenant defines others as sets of the same permissions.
//!
//! | permission | owner | admin | editor | viewer |
//! |---|---|---|---|---|
//! | `tenant.read` | yes | yes | yes | yes |
//! | `tenant.update` | yes | yes | | |
//! | `users.read` | yes | yes | yes | yes |
//! | `users.manage` | yes | yes | | |
//! | `roles.manage` | yes | yes | | |
//! | `owners.manage` | yes | | | |
//! | `sources.manage` | yes | yes | | |
//! | `workflows.read` | yes | yes | yes | yes |
//! | `workflows.write` | yes | yes | yes | |
//! | `workflows.delete` | yes | yes | | |
//! | `executions.read` | yes | yes | yes | yes |
//! | `payloads.read` | yes | yes | yes | |
//! | `executions.sync` | yes | yes | | |
//! | `usage.read` | yes | yes | yes | yes |
//! | `usage.record` | | | | |
//! | `analytics.read` | yes | yes | yes | yes |
//! | `analytics.record` | yes | yes | yes | |
//! | `billing.read` | yes | yes | yes | yes |
//! | `billing.manage` | yes | yes | | |
//! | `billing.operate` | | | | |
//! | `audit.read` | yes | yes | | |
//! | `messages.read` | yes | yes | yes | yes |
//! | `messages.send` | | | | |
//!
//! `usage.record` is in no built-in role, because it changes what the tenant is billed: the host's
//! services record usage, or a user to whom the operator gave a custom role for it. The same holds
//! for `billing.operate`, because nobody says of themselves that they have paid, and for
//! `messages.send`, because consumers believe what a message tells.
//!
//! # What goes beyond the table
//! - A service and the system may do everything; the trail names them.
//! - A user may read themselves, and change their own name and preferences, without a permission.
//! - Nobody gives or takes what they do not have: to grant or revoke a role, to define or delete
//!   one, and to change, deactivate or erase another user takes all the permissions of that role
//!   or that user. So only an owner makes or unmakes an owner.
//! - A deactivated or erased user may do nothing. While the tenant is suspended, its users may
//!   only read; when it is closed, nothing.
//! - Once a tenant has an active owner, it keeps one: the last can neither lose the role nor be
//!   deactivated nor erased.

mod role;
mod user;

pub use role::{Rights, Role, RoleDefinition, RoleGrant, RoleName, one_owner_remains};
pub use user::{NewUser, User, UserPatch, UserStatus};

/// A broken rule about users and roles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A change of state that the present state does not allow.
    #[error("user is {from}; it cannot become {to}")]
    Transition {
        /// The state the user is in.
        from: UserStatus,
        /// The state that was asked for.
        to: UserStatus,
    },
    /// A change of a user whose data are gone.
    #[error("user is erased; an erased user cannot be changed")]
    Erased,
    /// A login of a user that may not log in.
    #[error("user is {status}; only an active user can log in")]
    NotActive {
        /// The state the user is in.
        status: UserStatus,
    },
    /// The tenant would be left without an active owner.
    #[error("user is the last active owner of the tenant; make another user an owner first")]
    LastOwner,
    /// A custom role that somebody still has.
    #[error("role {role} is granted to users; revoke it from all of them first")]
    RoleInUse {
        /// The role.
        role: RoleName,
    },
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::access::Permission;

    #[test]
    fn the_table_says_what_the_code_does() {
        let rows: Vec<Vec<&str>> = include_str!("mod.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! | `"))
            .map(|row| row.split('|').map(str::trim).collect())
            .collect();
        assert_eq!(rows.len(), Permission::ALL.len());
        let roles = [Role::Owner, Role::Admin, Role::Editor, Role::Viewer];
        for (row, permission) in rows.iter().zip(Permission::ALL) {
            assert_eq!(row[0].trim_end_matches('`'), permission.as_str());
            for (role, cell) in roles.iter().zip(&row[1..]) {
                let allowed = role.built_in_permissions().unwrap().contains(permission);
                assert_eq!(*cell == "yes", allowed, "{role} {permission}");
            }
        }
    }

    #[test]
    fn an_owner_has_all_that_is_in_any_built_in_role() {
        let owner = Role::Owner.built_in_permissions().unwrap();
        for role in [Role::Admin, Role::Editor, Role::Viewer] {
            assert!(role.built_in_permissions().unwrap().is_subset(&owner));
        }
        let all: BTreeSet<_> = Permission::ALL.iter().copied().collect();
        let missing: Vec<_> = all.difference(&owner).collect();
        assert_eq!(
            missing,
            [
                &Permission::UsageRecord,
                &Permission::BillingOperate,
                &Permission::MessagesSend
            ]
        );
    }
}

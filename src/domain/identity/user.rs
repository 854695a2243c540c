//! A person in one tenant: from the first day to the erasure.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{IdentityError, Role};
use crate::domain::ids::UserId;
use crate::domain::json::Document;
use crate::domain::text::{Email, Name, Subject, TextError};

/// The states of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UserStatus {
    /// May do what their roles allow.
    Active,
    /// May do nothing for a while; data and roles stay.
    Deactivated,
    /// Gone for good: only the id is left, for what refers to it.
    Erased,
}

impl UserStatus {
    /// The name that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deactivated => "deactivated",
            Self::Erased => "erased",
        }
    }
}

impl fmt::Display for UserStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for UserStatus {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        [Self::Active, Self::Deactivated, Self::Erased]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| TextError::form("status", text, "active, deactivated or erased"))
    }
}

/// What is needed to create a user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewUser {
    /// The host's or the identity provider's own id; a new one is made when absent.
    #[serde(default)]
    pub id: Option<UserId>,
    /// The id at an identity provider whose ids are no UUIDs; unique in the tenant.
    #[serde(default)]
    pub subject: Option<Subject>,
    /// The address; unique in the tenant, without regard to case.
    pub email: Email,
    /// The name that people see.
    #[serde(default)]
    pub full_name: Option<Name>,
    /// The host's settings for this user.
    #[serde(default)]
    pub preferences: Document,
    /// Roles to grant at once.
    #[serde(default)]
    pub roles: Vec<Role>,
}

impl NewUser {
    /// A user with an address, and nothing else yet.
    #[must_use]
    pub fn new(email: Email) -> Self {
        Self {
            id: None,
            subject: None,
            email,
            full_name: None,
            preferences: Document::empty(),
            roles: Vec::new(),
        }
    }
}

/// What changes about a user; `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use]
pub struct UserPatch {
    /// The id at an identity provider; `Some(None)` removes it.
    pub subject: Option<Option<Subject>>,
    /// The address.
    pub email: Option<Email>,
    /// The name that people see; `Some(None)` removes it.
    pub full_name: Option<Option<Name>>,
    /// The host's settings for this user.
    pub preferences: Option<Document>,
}

impl UserPatch {
    /// Whether a user may make this change to themselves without a permission: it leaves alone by
    /// what they log in.
    #[must_use]
    pub fn is_personal(&self) -> bool {
        self.subject.is_none() && self.email.is_none()
    }
}

/// A user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// Their id, unique in the tenant: the same person may have it in several tenants.
    pub id: UserId,
    /// The id at an identity provider.
    pub subject: Option<Subject>,
    /// The address; a placeholder when the user is erased.
    pub email: Email,
    /// The name that people see.
    pub full_name: Option<Name>,
    /// The host's settings for this user.
    pub preferences: Document,
    /// Their state.
    pub status: UserStatus,
    /// When they last logged in. Changes with every login, apart from the revision and the trail.
    pub last_login_at: Option<DateTime<Utc>>,
    /// When they were created.
    pub created_at: DateTime<Utc>,
    /// When they were last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts their changes, from 1; a writer must name the one it has read.
    pub revision: i64,
}

impl User {
    /// A new, active user. The roles are granted apart.
    #[must_use]
    pub fn create(id: UserId, new: NewUser, now: DateTime<Utc>) -> Self {
        Self {
            id,
            subject: new.subject,
            email: new.email,
            full_name: new.full_name,
            preferences: new.preferences,
            status: UserStatus::Active,
            last_login_at: None,
            created_at: now,
            updated_at: now,
            revision: 1,
        }
    }

    /// Changes what the patch names.
    ///
    /// # Errors
    /// When the user is erased.
    pub fn patch(&mut self, patch: &UserPatch, now: DateTime<Utc>) -> Result<(), IdentityError> {
        self.must_not_be_erased()?;
        if let Some(subject) = &patch.subject {
            self.subject.clone_from(subject);
        }
        if let Some(email) = &patch.email {
            self.email.clone_from(email);
        }
        if let Some(full_name) = &patch.full_name {
            self.full_name.clone_from(full_name);
        }
        if let Some(preferences) = &patch.preferences {
            self.preferences.clone_from(preferences);
        }
        self.updated_at = now;
        Ok(())
    }

    /// Takes everything they may do from the user, for a while.
    ///
    /// # Errors
    /// Unless the user is active.
    pub fn deactivate(&mut self, now: DateTime<Utc>) -> Result<(), IdentityError> {
        self.go(UserStatus::Deactivated, &[UserStatus::Active], now)
    }

    /// Gives a deactivated user everything back.
    ///
    /// # Errors
    /// Unless the user is deactivated.
    pub fn reactivate(&mut self, now: DateTime<Utc>) -> Result<(), IdentityError> {
        self.go(UserStatus::Active, &[UserStatus::Deactivated], now)
    }

    /// Replaces everything that tells who the person was, for good. The id stays.
    ///
    /// # Errors
    /// When the user is erased already.
    pub fn erase(&mut self, now: DateTime<Utc>) -> Result<(), IdentityError> {
        self.go(
            UserStatus::Erased,
            &[UserStatus::Active, UserStatus::Deactivated],
            now,
        )?;
        self.subject = None;
        self.email = Email::erased(self.id);
        self.full_name = None;
        self.preferences = Document::empty();
        self.last_login_at = None;
        Ok(())
    }

    /// Checks that the user may log in.
    ///
    /// # Errors
    /// Unless the user is active.
    pub fn must_be_active(&self) -> Result<(), IdentityError> {
        match self.status {
            UserStatus::Active => Ok(()),
            status => Err(IdentityError::NotActive { status }),
        }
    }

    /// Checks that the user can still be changed.
    ///
    /// # Errors
    /// When the user is erased.
    pub fn must_not_be_erased(&self) -> Result<(), IdentityError> {
        match self.status {
            UserStatus::Erased => Err(IdentityError::Erased),
            UserStatus::Active | UserStatus::Deactivated => Ok(()),
        }
    }

    fn go(
        &mut self,
        to: UserStatus,
        from: &[UserStatus],
        now: DateTime<Utc>,
    ) -> Result<(), IdentityError> {
        if !from.contains(&self.status) {
            return Err(IdentityError::Transition {
                from: self.status,
                to,
            });
        }
        self.status = to;
        self.updated_at = now;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ana() -> User {
        let mut new = NewUser::new(Email::new("Ana@Acme.example").unwrap());
        new.full_name = Some(Name::new("Ana Ruiz").unwrap());
        new.subject = Some(Subject::new("auth0|1").unwrap());
        User::create(uuid::Uuid::nil().into(), new, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn states_follow_each_other_as_allowed() {
        let now = DateTime::UNIX_EPOCH;
        let mut user = ana();
        assert!(user.reactivate(now).is_err());
        user.deactivate(now).unwrap();
        assert_eq!(
            user.must_be_active().unwrap_err().to_string(),
            "user is deactivated; only an active user can log in"
        );
        assert_eq!(
            user.deactivate(now).unwrap_err().to_string(),
            "user is deactivated; it cannot become deactivated"
        );
        user.reactivate(now).unwrap();
        user.erase(now).unwrap();
        assert!(user.erase(now).is_err());
        assert!(user.reactivate(now).is_err());
        assert_eq!(
            user.patch(&UserPatch::default(), now),
            Err(IdentityError::Erased)
        );
    }

    #[test]
    fn nothing_of_an_erased_person_is_left_but_the_id() {
        let mut user = ana();
        user.last_login_at = Some(DateTime::UNIX_EPOCH);
        user.erase(DateTime::UNIX_EPOCH).unwrap();
        let left = User {
            status: UserStatus::Erased,
            ..User::create(
                user.id,
                NewUser::new(Email::erased(user.id)),
                DateTime::UNIX_EPOCH,
            )
        };
        assert_eq!(user, left);
    }

    #[test]
    fn a_patch_changes_what_it_names() {
        let mut user = ana();
        let patch = UserPatch {
            full_name: Some(None),
            ..UserPatch::default()
        };
        assert!(patch.is_personal());
        user.patch(&patch, DateTime::UNIX_EPOCH).unwrap();
        assert_eq!(user.full_name, None);
        assert_eq!(user.email.as_str(), "Ana@Acme.example");
        let takeover = UserPatch {
            subject: Some(Some(Subject::new("auth0|2").unwrap())),
            ..UserPatch::default()
        };
        assert!(!takeover.is_personal());
    }
}

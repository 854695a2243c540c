//! A tenant's users.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::StoreResult;
use crate::domain::identity::{User, UserStatus};
use crate::domain::ids::UserId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::{Email, Subject};

/// The unit's own tenant's users.
///
/// Deliberately absent: deletion. Everything that a user did refers to them; an erased user keeps
/// nothing but the id.
#[async_trait]
pub trait UserRepo: Send {
    /// Creates a user.
    ///
    /// # Errors
    /// `AlreadyExists` for an id, an address (without regard to case) or a subject that is taken
    /// in this tenant.
    async fn insert(&mut self, user: &User) -> StoreResult<()>;

    /// A user by their id.
    async fn get(&mut self, id: UserId) -> StoreResult<Option<User>>;

    /// The user with this address, without regard to case.
    async fn find_by_email(&mut self, email: &Email) -> StoreResult<Option<User>>;

    /// The user with this id at an identity provider.
    async fn find_by_subject(&mut self, subject: &Subject) -> StoreResult<Option<User>>;

    /// The users in the order of their ids, all or those in one state.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    async fn page(
        &mut self,
        status: Option<UserStatus>,
        page: &PageRequest,
    ) -> StoreResult<Page<User>>;

    /// Writes all of the user but the last login, which stays, or goes when the user is erased;
    /// answers the user with the next revision.
    ///
    /// # Errors
    /// `Conflict` unless the stored revision is the given one; `AlreadyExists` for an address or a
    /// subject that is taken in this tenant.
    async fn update(&mut self, user: &User) -> StoreResult<User>;

    /// Keeps that the user logged in, and answers when they last did: never an earlier instant
    /// than before.
    ///
    /// It changes neither the revision nor the trail: logins are many, and are events of the
    /// analytics.
    ///
    /// # Errors
    /// `NotFound` unless there is such a user and they are active.
    async fn record_login(&mut self, id: UserId, at: DateTime<Utc>) -> StoreResult<DateTime<Utc>>;
}

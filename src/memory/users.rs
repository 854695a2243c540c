//! Users in memory.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use imbl::OrdMap;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::audit::{Audited, Stamp};
use super::state::Shard;
use super::unit::MemoryTx;
use crate::domain::audit::audited_instant;
use crate::domain::identity::{User, UserStatus};
use crate::domain::ids::UserId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::{Email, Subject};
use crate::store::{StoreError, StoreErrorKind, StoreResult, UserRepo, page_key};

/// One tenant's users, and the keys that are unique among them.
#[derive(Debug, Clone, Default)]
pub(super) struct UserTable {
    rows: OrdMap<UserId, Arc<User>>,
    emails: OrdMap<String, UserId>,
    subjects: OrdMap<Subject, UserId>,
}

impl UserTable {
    pub(super) fn get(&self, id: UserId) -> Option<&Arc<User>> {
        self.rows.get(&id)
    }

    /// How many are active.
    pub(super) fn active(&self) -> u64 {
        let users = self.rows.values();
        let active = users.filter(|user| user.status == UserStatus::Active);
        active.count() as u64
    }

    /// Checks that no other user has the user's address or subject.
    fn must_be_free(&self, operation: &'static str, user: &User) -> StoreResult<()> {
        let taken = |holder: Option<&UserId>| holder.is_some_and(|holder| *holder != user.id);
        let taken_key = if taken(self.emails.get(user.email.key())) {
            "users_email_key"
        } else if taken(user.subject.as_ref().and_then(|s| self.subjects.get(s))) {
            "users_subject_key"
        } else {
            return Ok(());
        };
        Err(StoreError::new(StoreErrorKind::AlreadyExists, operation).with_detail(taken_key))
    }

    fn put(&mut self, user: User) {
        if let Some(former) = self.rows.get(&user.id) {
            self.emails.remove(former.email.key());
            if let Some(subject) = &former.subject {
                self.subjects.remove(subject);
            }
        }
        self.emails.insert(user.email.key().to_owned(), user.id);
        if let Some(subject) = &user.subject {
            self.subjects.insert(subject.clone(), user.id);
        }
        self.rows.insert(user.id, Arc::new(user));
    }
}

impl Audited for User {
    const RESOURCE: &'static str = "users";

    fn resource_id(&self) -> Uuid {
        self.id.as_uuid()
    }

    fn columns(&self) -> Map<String, Value> {
        [
            ("id", json!(self.id)),
            ("subject", json!(self.subject)),
            ("email", json!(self.email)),
            ("email_key", json!(self.email.key())),
            ("full_name", json!(self.full_name)),
            ("preferences", self.preferences.to_value()),
            ("status", json!(self.status)),
            (
                "last_login_at",
                self.last_login_at.map_or(Value::Null, audited_instant),
            ),
            ("created_at", audited_instant(self.created_at)),
        ]
        .into_iter()
        .map(|(column, value)| (column.to_owned(), value))
        .collect()
    }
}

#[async_trait]
impl UserRepo for MemoryTx {
    async fn insert(&mut self, user: &User) -> StoreResult<()> {
        const OPERATION: &str = "users.insert";
        let (user, stamp) = (user.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |shard| {
            if shard.users.rows.contains_key(&user.id) {
                return Err(StoreError::new(StoreErrorKind::AlreadyExists, OPERATION)
                    .with_detail("users_pkey"));
            }
            shard.users.must_be_free(OPERATION, &user)?;
            replace(shard, &stamp, user.clone());
            Ok(())
        })
    }

    async fn get(&mut self, id: UserId) -> StoreResult<Option<User>> {
        let shard = self.read("users.get")?;
        Ok(shard.users.get(id).map(|user| User::clone(user)))
    }

    async fn existing(&mut self, ids: &[UserId]) -> StoreResult<BTreeSet<UserId>> {
        let users = &self.read("users.existing")?.users;
        Ok(ids
            .iter()
            .copied()
            .filter(|id| users.get(*id).is_some())
            .collect())
    }

    async fn find_by_email(&mut self, email: &Email) -> StoreResult<Option<User>> {
        let users = &self.read("users.find_by_email")?.users;
        let found = users.emails.get(email.key()).and_then(|id| users.get(*id));
        Ok(found.map(|user| User::clone(user)))
    }

    async fn find_by_subject(&mut self, subject: &Subject) -> StoreResult<Option<User>> {
        let users = &self.read("users.find_by_subject")?.users;
        let found = users.subjects.get(subject).and_then(|id| users.get(*id));
        Ok(found.map(|user| User::clone(user)))
    }

    async fn page(
        &mut self,
        status: Option<UserStatus>,
        page: &PageRequest,
    ) -> StoreResult<Page<User>> {
        const OPERATION: &str = "users.page";
        let after = self.check(page_key::<UserId>(OPERATION, page))?;
        let rows = self
            .read(OPERATION)?
            .users
            .rows
            .range((
                after.map_or(Bound::Unbounded, Bound::Excluded),
                Bound::Unbounded,
            ))
            .map(|(_, user)| user)
            .filter(|user| status.is_none_or(|status| user.status == status))
            .take(page.limit() + 1)
            .map(|user| User::clone(user))
            .collect();
        Ok(Page::of(rows, page.limit(), |user: &User| user.id))
    }

    async fn update(&mut self, user: &User) -> StoreResult<User> {
        const OPERATION: &str = "users.update";
        let (given, stamp) = (user.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |shard| {
            let stored = shard
                .users
                .get(given.id)
                .filter(|stored| stored.revision == given.revision)
                .ok_or_else(|| StoreError::new(StoreErrorKind::Conflict, OPERATION))?;
            let next = User {
                last_login_at: stored
                    .last_login_at
                    .filter(|_| given.status != UserStatus::Erased),
                created_at: stored.created_at,
                revision: stored.revision + 1,
                ..given.clone()
            };
            shard.users.must_be_free(OPERATION, &next)?;
            replace(shard, &stamp, next.clone());
            Ok(next)
        })
    }

    async fn record_login(&mut self, id: UserId, at: DateTime<Utc>) -> StoreResult<DateTime<Utc>> {
        const OPERATION: &str = "users.record_login";
        // Answers nothing inside the journal: a later login of another unit is no conflict.
        self.write(OPERATION, move |shard| {
            let stored = shard.users.get(id);
            let stored = stored.filter(|user| user.status == UserStatus::Active);
            let stored = stored.ok_or_else(|| not_found(OPERATION))?;
            let user = User {
                last_login_at: stored.last_login_at.max(Some(at)),
                ..User::clone(stored)
            };
            shard.users.put(user);
            Ok(())
        })?;
        let user = self.read(OPERATION)?.users.get(id);
        let last = user.and_then(|user| user.last_login_at);
        self.check(last.ok_or_else(|| not_found(OPERATION)))
    }
}

fn not_found(operation: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::NotFound, operation).with_detail("users")
}

fn replace(shard: &mut Shard, stamp: &Stamp, next: User) {
    let former = shard.users.get(next.id).cloned();
    shard.audit.record(stamp, former.as_deref(), Some(&next));
    shard.users.put(next);
}

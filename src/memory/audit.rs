//! The audit trail in memory: written by the journal, as the trigger does on PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use imbl::OrdMap;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::platform::MemoryPlatform;
use super::unit::MemoryTx;
use crate::domain::audit::{AuditEntry, difference, without_person};
use crate::domain::context::PlatformContext;
use crate::domain::identity::UserStatus;
use crate::domain::ids::{AuditId, UserId, numbered};
use crate::domain::page::{Page, PageRequest};
use crate::store::{
    AuditFilter, AuditRepo, PlatformAuditRepo, StoreError, StoreErrorKind, StoreResult, page_key,
};

/// Who, from where, why and when: the same for every entry of one unit.
#[derive(Debug)]
pub(super) struct Stamp {
    context: PlatformContext,
    at: DateTime<Utc>,
}

impl Stamp {
    pub(super) fn new(context: &PlatformContext, at: DateTime<Utc>) -> Self {
        Self {
            context: context.clone(),
            at,
        }
    }
}

/// A row whose changes are recorded: its columns as the database names and prints them.
pub(super) trait Audited {
    /// The table's name.
    const RESOURCE: &'static str;
    /// The row's id.
    fn resource_id(&self) -> Uuid;
    /// The row's columns.
    fn columns(&self) -> Map<String, Value>;
}

/// One tenant's trail.
#[derive(Debug, Clone, Default)]
pub(super) struct AuditTable {
    entries: OrdMap<AuditId, Arc<AuditEntry>>,
    written: u64,
}

impl AuditTable {
    /// Records the change of one row, if anything that is audited changed.
    pub(super) fn record<R: Audited>(&mut self, stamp: &Stamp, old: Option<&R>, new: Option<&R>) {
        let Some(row) = new.or(old) else { return };
        let (before, after) = (old.map(R::columns), new.map(R::columns));
        let Some(change) = difference(before.as_ref(), after.as_ref()) else {
            return;
        };
        self.written += 1;
        let id: AuditId = numbered(stamp.at, self.written);
        let entry = AuditEntry {
            id,
            actor: stamp.context.actor().clone(),
            action: change.action,
            resource_type: R::RESOURCE.to_owned(),
            resource_id: Some(row.resource_id()),
            old_values: change.old_values,
            new_values: change.new_values,
            origin: stamp.context.origin().clone(),
            reason: stamp.context.reason().map(str::to_owned),
            database_user: None,
            created_at: stamp.at,
        };
        self.entries.insert(id, Arc::new(entry));
    }

    fn page(
        &self,
        filter: &AuditFilter,
        before: Option<AuditId>,
        limit: usize,
    ) -> Page<AuditEntry> {
        let rows = self
            .entries
            .iter()
            .rev()
            .filter(|(id, _)| before.is_none_or(|before| **id < before))
            .map(|(_, entry)| entry)
            .filter(|entry| matches(filter, entry))
            .take(limit + 1)
            .map(|entry| AuditEntry::clone(entry))
            .collect();
        Page::of(rows, limit, |entry| entry.id)
    }

    /// Takes what tells who a person was out of all entries; answers how many are by or about them.
    /// It looks at every entry: an erasure is rare.
    fn forget(&mut self, person: UserId) -> u64 {
        let found: Vec<_> = self
            .entries
            .values()
            .filter_map(|entry| without_person(entry, person))
            .collect();
        let count = found.len() as u64;
        for entry in found {
            self.entries.insert(entry.id, Arc::new(entry));
        }
        count
    }
}

#[async_trait]
impl AuditRepo for MemoryTx {
    async fn page(
        &mut self,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<AuditEntry>> {
        const OPERATION: &str = "audit.page";
        let before = self.check(page_key::<AuditId>(OPERATION, page))?;
        let table = &self.read(OPERATION)?.audit;
        Ok(table.page(filter, before, page.limit()))
    }

    async fn forget(&mut self, person: UserId) -> StoreResult<u64> {
        const OPERATION: &str = "audit.forget";
        let refused = || {
            StoreError::new(StoreErrorKind::Invalid, OPERATION)
                .with_detail("forget_in_audit_erased")
        };
        if self.read(OPERATION)?.tenant.is_none() {
            return self.check(Err(refused()));
        }
        self.write(OPERATION, move |shard| {
            let user = shard.users.get(person);
            if user.is_some_and(|user| user.status == UserStatus::Erased) {
                Ok(shard.audit.forget(person))
            } else {
                Err(refused())
            }
        })
    }
}

#[async_trait]
impl PlatformAuditRepo for MemoryPlatform {
    async fn page(
        &mut self,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<AuditEntry>> {
        const OPERATION: &str = "platform_audit.page";
        let before = self.check(page_key::<AuditId>(OPERATION, page))?;
        let table = &self.read(OPERATION)?.audit;
        Ok(table.page(filter, before, page.limit()))
    }
}

fn matches(filter: &AuditFilter, entry: &AuditEntry) -> bool {
    filter
        .resource_type
        .as_ref()
        .is_none_or(|kind| *kind == entry.resource_type)
        && filter
            .resource_id
            .is_none_or(|id| entry.resource_id == Some(id))
        && filter
            .user
            .is_none_or(|user| entry.actor.user() == Some(user))
        && filter
            .period
            .is_none_or(|period| period.contains(entry.created_at))
}

//! The audit trail, which is read here and written by the backend itself.

use async_trait::async_trait;
use uuid::Uuid;

use super::StoreResult;
use crate::domain::audit::AuditEntry;
use crate::domain::ids::UserId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::time::Period;

/// Which entries of the trail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only this kind of row: a table's name.
    pub resource_type: Option<String>,
    /// Only this row.
    pub resource_id: Option<Uuid>,
    /// Only what this user did.
    pub user: Option<UserId>,
    /// Only what happened in this period.
    pub period: Option<Period>,
}

/// The unit's own tenant's trail.
///
/// Deliberately absent: a method that writes entries. Every change of an audited row is recorded
/// by the backend in the same unit of work.
#[async_trait]
pub trait AuditRepo: Send {
    /// The entries, newest first.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    async fn page(
        &mut self,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<AuditEntry>>;

    /// Takes what tells who an erased person was out of all entries, those of this unit included,
    /// by the rule of [`without_person`](crate::domain::audit::without_person); answers how many
    /// entries are by or about the person.
    ///
    /// The one way to change the trail, and open for erased users only: nobody covers their tracks
    /// with it and stays.
    ///
    /// # Errors
    /// `Invalid` unless there is such a user and they are erased.
    async fn forget(&mut self, person: UserId) -> StoreResult<u64>;
}

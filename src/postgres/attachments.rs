//! Payloads and error logs of executions on PostgreSQL.

use uuid::Uuid;

use super::unit::PgTx;
use crate::domain::execution::{ErrorEntry, PayloadKind, error_log_id};
use crate::domain::ids::ExecutionId;
use crate::domain::payload::Payload;
use crate::store::{Attachments, StoreResult};

/// The most bytes of payload that one statement carries: PostgreSQL takes a message of 1 GB, and
/// both sides hold it in memory more than once.
const STATEMENT_BYTES: usize = 32 * 1024 * 1024;

pub(super) const OPERATION: &str = "executions.attach";

/// The columns of a batch of payloads, for UNNEST.
#[derive(Default)]
pub(super) struct Columns<'p> {
    ids: Vec<Uuid>,
    kinds: Vec<&'static str>,
    texts: Vec<&'p str>,
    bytes: Vec<i64>,
    masked: Vec<i32>,
    total: usize,
}

impl<'p> Columns<'p> {
    /// All payloads, in batches that a statement can carry.
    pub(super) fn batches(attachments: &'p [Attachments]) -> Vec<Self> {
        let mut batches: Vec<Self> = Vec::new();
        for attached in attachments {
            for (kind, payload) in &attached.payloads {
                let full = |batch: &&mut Self| batch.total + payload.bytes() <= STATEMENT_BYTES;
                match batches.last_mut().filter(full) {
                    Some(batch) => batch.push(attached.execution, *kind, payload),
                    None => {
                        let mut batch = Self::default();
                        batch.push(attached.execution, *kind, payload);
                        batches.push(batch);
                    }
                }
            }
        }
        batches
    }

    fn push(&mut self, execution: ExecutionId, kind: PayloadKind, payload: &'p Payload) {
        self.ids.push(execution.as_uuid());
        self.kinds.push(kind.as_str());
        self.texts.push(payload.as_str());
        self.bytes
            .push(i64::try_from(payload.bytes()).unwrap_or(i64::MAX));
        self.masked
            .push(i32::try_from(payload.masked()).unwrap_or(i32::MAX));
        self.total += payload.bytes();
    }
}

impl PgTx<'_> {
    /// Removes what earlier reports of the same executions brought.
    pub(super) async fn detach(&mut self, attachments: &[Attachments]) -> StoreResult<()> {
        let tenant = self.tenant();
        let replaced: Vec<Uuid> = attachments
            .iter()
            .filter(|attached| attached.replace)
            .map(|attached| attached.execution.as_uuid())
            .collect();
        if replaced.is_empty() {
            return Ok(());
        }
        let done = sqlx::query!(
            "WITH payloads AS (
                DELETE FROM tenantry.execution_data WHERE tenant_id = $1 AND id = ANY ($2))
            DELETE FROM tenantry.error_logs WHERE tenant_id = $1 AND execution_id = ANY ($2)",
            tenant,
            &replaced,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        self.session.check(OPERATION, done).map(drop)
    }

    pub(super) async fn insert_payloads(&mut self, columns: &Columns<'_>) -> StoreResult<()> {
        let tenant = self.tenant();
        let done = sqlx::query!(
            "INSERT INTO tenantry.execution_data (tenant_id, id, kind, payload, bytes, masked)
            SELECT $1, n.id, n.kind, n.payload::json, n.bytes, n.masked
            FROM unnest($2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::integer[])
                AS n (id, kind, payload, bytes, masked)",
            tenant,
            &columns.ids,
            &columns.kinds as &[&str],
            &columns.texts as &[&str],
            &columns.bytes,
            &columns.masked,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        self.session.check(OPERATION, done).map(drop)
    }

    pub(super) async fn insert_errors(&mut self, attachments: &[Attachments]) -> StoreResult<()> {
        let tenant = self.tenant();
        let entries: Vec<(ExecutionId, usize, &ErrorEntry)> = attachments
            .iter()
            .flat_map(|attached| {
                let entries = attached.errors.iter().enumerate();
                entries.map(|(number, entry)| (attached.execution, number, entry))
            })
            .collect();
        if entries.is_empty() {
            return Ok(());
        }
        let text = |of: fn(&ErrorEntry) -> Option<&String>| -> Vec<Option<&str>> {
            entries
                .iter()
                .map(|(_, _, entry)| of(entry).map(String::as_str))
                .collect()
        };
        let ids: Vec<Uuid> = entries
            .iter()
            .map(|(execution, number, _)| error_log_id(*execution, *number).as_uuid())
            .collect();
        let executions: Vec<Uuid> = entries.iter().map(|(id, _, _)| id.as_uuid()).collect();
        let numbers: Vec<i32> = entries
            .iter()
            .map(|(_, number, _)| i32::try_from(*number).unwrap_or(i32::MAX))
            .collect();
        let cleaned: Vec<bool> = entries.iter().map(|(_, _, entry)| entry.cleaned).collect();
        let occurred: Vec<_> = entries
            .iter()
            .map(|(_, _, entry)| entry.occurred_at)
            .collect();
        let done = sqlx::query!(
            "INSERT INTO tenantry.error_logs (tenant_id, id, execution_id, entry, node, error_type,
                message, description, stack, cleaned, occurred_at)
            SELECT $1, * FROM unnest($2::uuid[], $3::uuid[], $4::integer[], $5::text[], $6::text[],
                $7::text[], $8::text[], $9::text[], $10::boolean[], $11::timestamptz[])",
            tenant,
            &ids,
            &executions,
            &numbers,
            &text(|entry| entry.node.as_ref()) as &[Option<&str>],
            &text(|entry| entry.kind.as_ref()) as &[Option<&str>],
            &text(|entry| Some(&entry.message)) as &[Option<&str>],
            &text(|entry| entry.description.as_ref()) as &[Option<&str>],
            &text(|entry| entry.stack.as_ref()) as &[Option<&str>],
            &cleaned,
            &occurred,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        self.session.check(OPERATION, done).map(drop)
    }

    pub(super) async fn read_errors(&mut self, id: ExecutionId) -> StoreResult<Vec<ErrorEntry>> {
        const OPERATION: &str = "executions.errors";
        let tenant = self.tenant();
        let rows = sqlx::query!(
            "SELECT node, error_type, message, description, stack, cleaned, occurred_at
            FROM tenantry.error_logs WHERE tenant_id = $1 AND execution_id = $2 ORDER BY entry",
            tenant,
            id.as_uuid(),
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        Ok(rows
            .into_iter()
            .map(|row| ErrorEntry {
                node: row.node,
                kind: row.error_type,
                message: row.message,
                description: row.description,
                stack: row.stack,
                occurred_at: row.occurred_at,
                cleaned: row.cleaned,
            })
            .collect())
    }
}

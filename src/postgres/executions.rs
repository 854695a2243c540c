//! Executions on PostgreSQL: one statement a batch, whatever its size.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::attachments::{self, Columns};
use super::error::corrupt;
use super::unit::PgTx;
use crate::domain::execution::{
    Contradiction, End, ErrorEntry, Execution, ExecutionStatus, FAILURES, Label, PayloadKind,
    StatusError, WorkflowPerformance,
};
use crate::domain::ids::{ExecutionId, SourceId, WorkflowId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::payload::StoredPayload;
use crate::domain::text::{ExternalId, TextError};
use crate::domain::time::Period;
use crate::store::{
    Attachments, ExecutionFilter, ExecutionRepo, ExecutionUpdate, StoreError, StoreErrorKind,
    StoreResult, page_key,
};

struct ExecutionRow {
    id: Uuid,
    source_id: Uuid,
    n8n_execution_id: String,
    workflow_id: Uuid,
    triggered_by: Option<Uuid>,
    mode: String,
    status: String,
    status_text: Option<String>,
    started_at: DateTime<Utc>,
    wait_till: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    execution_time: Option<i64>,
    retry_of: Option<String>,
    retry_success: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl ExecutionRow {
    fn read(self, operation: &'static str) -> StoreResult<Execution> {
        let place = format!("executions {}", self.id);
        let text = |error: TextError| corrupt(operation, &place, error);
        let external = |id: Option<String>| id.as_deref().map(ExternalId::new).transpose();
        Ok(Execution {
            id: self.id.into(),
            source: self.source_id.into(),
            external_id: ExternalId::new(&self.n8n_execution_id).map_err(text)?,
            workflow: self.workflow_id.into(),
            triggered_by: self.triggered_by.map(Into::into),
            mode: self.mode.as_str().into(),
            status: status(operation, &place, &self.status)?,
            status_text: self.status_text.as_deref().map(Label::of),
            started_at: self.started_at,
            wait_till: self.wait_till,
            finished_at: self.finished_at,
            duration_ms: self.execution_time,
            retry_of: external(self.retry_of).map_err(text)?,
            retry_success: external(self.retry_success).map_err(text)?,
            created_at: self.created_at,
            updated_at: self.updated_at,
            revision: self.revision,
        })
    }
}

fn status(operation: &'static str, place: &str, text: &str) -> StoreResult<ExecutionStatus> {
    text.parse()
        .map_err(|error: StatusError| corrupt(operation, place, error))
}

/// The columns of a batch of executions, for UNNEST.
#[derive(Default)]
struct Rows {
    ids: Vec<Uuid>,
    sources: Vec<Uuid>,
    external: Vec<String>,
    workflows: Vec<Uuid>,
    triggered_by: Vec<Option<Uuid>>,
    modes: Vec<String>,
    statuses: Vec<&'static str>,
    status_texts: Vec<Option<String>>,
    started: Vec<DateTime<Utc>>,
    wait_till: Vec<Option<DateTime<Utc>>>,
    finished: Vec<Option<DateTime<Utc>>>,
    times: Vec<Option<i64>>,
    retry_of: Vec<Option<String>>,
    retry_success: Vec<Option<String>>,
    created: Vec<DateTime<Utc>>,
    updated: Vec<DateTime<Utc>>,
    revisions: Vec<i64>,
}

impl Rows {
    fn of<'e>(executions: impl Iterator<Item = &'e Execution>) -> Self {
        let mut rows = Self::default();
        let external = |id: &Option<ExternalId>| id.as_ref().map(|id| id.as_str().to_owned());
        for row in executions {
            rows.ids.push(row.id.as_uuid());
            rows.sources.push(row.source.as_uuid());
            rows.external.push(row.external_id.as_str().to_owned());
            rows.workflows.push(row.workflow.as_uuid());
            rows.triggered_by.push(row.triggered_by.map(Into::into));
            rows.modes.push(row.mode.as_str().to_owned());
            rows.statuses.push(row.status.as_str());
            rows.status_texts.push(
                row.status_text
                    .as_ref()
                    .map(|text| text.as_str().to_owned()),
            );
            rows.started.push(row.started_at);
            rows.wait_till.push(row.wait_till);
            rows.finished.push(row.finished_at);
            rows.times.push(row.duration_ms);
            rows.retry_of.push(external(&row.retry_of));
            rows.retry_success.push(external(&row.retry_success));
            rows.created.push(row.created_at);
            rows.updated.push(row.updated_at);
            rows.revisions.push(row.revision);
        }
        rows
    }
}

#[async_trait]
impl ExecutionRepo for PgTx<'_> {
    async fn get(&mut self, id: ExecutionId) -> StoreResult<Option<Execution>> {
        const OPERATION: &str = "executions.get";
        let tenant = self.tenant();
        let row = sqlx::query_as!(
            ExecutionRow,
            "SELECT id, source_id, n8n_execution_id, workflow_id, triggered_by, mode, status,
                status_text, started_at, wait_till, finished_at, execution_time, retry_of,
                retry_success, created_at, updated_at, revision
            FROM tenantry.executions WHERE tenant_id = $1 AND id = $2",
            tenant,
            id.as_uuid(),
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        let row = self.session.check(OPERATION, row)?;
        self.session
            .keep(row.map(|row| row.read(OPERATION)).transpose())
    }

    async fn find(
        &mut self,
        source: SourceId,
        external: &ExternalId,
    ) -> StoreResult<Option<Execution>> {
        const OPERATION: &str = "executions.find";
        let tenant = self.tenant();
        let row = sqlx::query_as!(
            ExecutionRow,
            "SELECT id, source_id, n8n_execution_id, workflow_id, triggered_by, mode, status,
                status_text, started_at, wait_till, finished_at, execution_time, retry_of,
                retry_success, created_at, updated_at, revision
            FROM tenantry.executions
            WHERE tenant_id = $1 AND source_id = $2 AND n8n_execution_id = $3",
            tenant,
            source.as_uuid(),
            external.as_str(),
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        let row = self.session.check(OPERATION, row)?;
        self.session
            .keep(row.map(|row| row.read(OPERATION)).transpose())
    }

    async fn lock(
        &mut self,
        source: SourceId,
        external: &[ExternalId],
    ) -> StoreResult<Vec<Execution>> {
        const OPERATION: &str = "executions.lock";
        let tenant = self.tenant();
        let keys: Vec<String> = external.iter().map(|id| id.as_str().to_owned()).collect();
        // In the order of the key, so that two batches cannot wait for each other in a circle.
        let rows = sqlx::query_as!(
            ExecutionRow,
            "SELECT id, source_id, n8n_execution_id, workflow_id, triggered_by, mode, status,
                status_text, started_at, wait_till, finished_at, execution_time, retry_of,
                retry_success, created_at, updated_at, revision
            FROM tenantry.executions
            WHERE tenant_id = $1 AND source_id = $2 AND n8n_execution_id = ANY ($3)
            ORDER BY n8n_execution_id FOR NO KEY UPDATE",
            tenant,
            source.as_uuid(),
            &keys,
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        self.session
            .keep(rows.into_iter().map(|row| row.read(OPERATION)).collect())
    }

    async fn insert(&mut self, executions: &[Execution]) -> StoreResult<()> {
        const OPERATION: &str = "executions.insert";
        let tenant = self.tenant();
        let mut sorted: Vec<&Execution> = executions.iter().collect();
        sorted.sort_by(|a, b| (a.source, &a.external_id).cmp(&(b.source, &b.external_id)));
        let rows = Rows::of(sorted.into_iter());
        let inserted = sqlx::query!(
            "INSERT INTO tenantry.executions (tenant_id, id, source_id, n8n_execution_id,
                workflow_id, triggered_by, mode, status, status_text, started_at, wait_till,
                finished_at, execution_time, retry_of, retry_success, created_at, updated_at,
                revision)
            SELECT $1, * FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::uuid[],
                $7::text[], $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[],
                $12::timestamptz[], $13::bigint[], $14::text[], $15::text[], $16::timestamptz[],
                $17::timestamptz[], $18::bigint[])
            ON CONFLICT DO NOTHING",
            tenant,
            &rows.ids,
            &rows.sources,
            &rows.external,
            &rows.workflows,
            &rows.triggered_by as &[Option<Uuid>],
            &rows.modes,
            &rows.statuses as &[&str],
            &rows.status_texts as &[Option<String>],
            &rows.started,
            &rows.wait_till as &[Option<DateTime<Utc>>],
            &rows.finished as &[Option<DateTime<Utc>>],
            &rows.times as &[Option<i64>],
            &rows.retry_of as &[Option<String>],
            &rows.retry_success as &[Option<String>],
            &rows.created,
            &rows.updated,
            &rows.revisions,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        let inserted = self.session.check(OPERATION, inserted)?.rows_affected();
        self.session
            .keep(all(OPERATION, inserted, executions.len()))
    }

    async fn update(&mut self, updates: &[ExecutionUpdate]) -> StoreResult<()> {
        const OPERATION: &str = "executions.update";
        let tenant = self.tenant();
        let rows = Rows::of(updates.iter().map(|update| &update.execution));
        let read: Vec<i64> = updates.iter().map(|update| update.read).collect();
        let updated = sqlx::query!(
            "UPDATE tenantry.executions e
            SET triggered_by = n.triggered_by, mode = n.mode, status = n.status,
                status_text = n.status_text, started_at = n.started_at, wait_till = n.wait_till,
                finished_at = n.finished_at, execution_time = n.execution_time,
                retry_of = n.retry_of, retry_success = n.retry_success,
                updated_at = n.updated_at, revision = n.revision
            FROM unnest($2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::text[],
                $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::bigint[],
                $12::text[], $13::text[], $14::timestamptz[], $15::bigint[])
                AS n (id, read, triggered_by, mode, status, status_text, started_at, wait_till,
                    finished_at, execution_time, retry_of, retry_success, updated_at, revision)
            WHERE e.tenant_id = $1 AND e.id = n.id AND e.revision = n.read",
            tenant,
            &rows.ids,
            &read,
            &rows.triggered_by as &[Option<Uuid>],
            &rows.modes,
            &rows.statuses as &[&str],
            &rows.status_texts as &[Option<String>],
            &rows.started,
            &rows.wait_till as &[Option<DateTime<Utc>>],
            &rows.finished as &[Option<DateTime<Utc>>],
            &rows.times as &[Option<i64>],
            &rows.retry_of as &[Option<String>],
            &rows.retry_success as &[Option<String>],
            &rows.updated,
            &rows.revisions,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        let updated = self.session.check(OPERATION, updated)?.rows_affected();
        self.session.keep(all(OPERATION, updated, updates.len()))
    }

    async fn attach(&mut self, attachments: &[Attachments]) -> StoreResult<()> {
        self.session.run(attachments::OPERATION)?;
        self.detach(attachments).await?;
        for columns in Columns::batches(attachments) {
            self.insert_payloads(&columns).await?;
        }
        self.insert_errors(attachments).await
    }

    async fn bare(&mut self, executions: &[ExecutionId]) -> StoreResult<Vec<ExecutionId>> {
        const OPERATION: &str = "executions.bare";
        let tenant = self.tenant();
        let asked: Vec<Uuid> = executions.iter().map(|id| id.as_uuid()).collect();
        let bare = sqlx::query_scalar!(
            r#"SELECT asked.id AS "id!" FROM unnest($2::uuid[]) AS asked (id)
            WHERE NOT EXISTS (SELECT FROM tenantry.execution_data d
                    WHERE d.tenant_id = $1 AND d.id = asked.id)
                AND NOT EXISTS (SELECT FROM tenantry.error_logs e
                    WHERE e.tenant_id = $1 AND e.execution_id = asked.id)"#,
            tenant,
            &asked,
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let bare = self.session.check(OPERATION, bare)?;
        Ok(bare.into_iter().map(ExecutionId::from).collect())
    }

    async fn contradict(&mut self, contradictions: &[Contradiction]) -> StoreResult<Vec<bool>> {
        const OPERATION: &str = "executions.contradict";
        let tenant = self.tenant();
        let column = |of: fn(&Contradiction) -> DateTime<Utc>| -> Vec<DateTime<Utc>> {
            contradictions.iter().map(of).collect()
        };
        let state = |of: fn(&Contradiction) -> ExecutionStatus| -> Vec<&'static str> {
            contradictions
                .iter()
                .map(|told| of(told).as_str())
                .collect()
        };
        let ids: Vec<Uuid> = contradictions
            .iter()
            .map(|told| told.execution.as_uuid())
            .collect();
        let kept = sqlx::query!(
            "INSERT INTO tenantry.execution_contradictions (tenant_id, execution_id, kept_status,
                kept_at, reported_status, reported_at, observed_at)
            SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::timestamptz[], $5::text[],
                $6::timestamptz[], $7::timestamptz[])
            ON CONFLICT DO NOTHING
            RETURNING execution_id, reported_status, reported_at",
            tenant,
            &ids,
            &state(|told| told.kept.status) as &[&str],
            &column(|told| told.kept.at),
            &state(|told| told.reported.status) as &[&str],
            &column(|told| told.reported.at),
            &column(|told| told.observed_at),
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let new = self.session.check(OPERATION, kept)?;
        let mut new: BTreeSet<(Uuid, DateTime<Utc>, String)> = new
            .into_iter()
            .map(|row| (row.execution_id, row.reported_at, row.reported_status))
            .collect();
        Ok(contradictions
            .iter()
            .map(|told| {
                let status = told.reported.status.as_str().to_owned();
                new.remove(&(told.execution.as_uuid(), told.reported.at, status))
            })
            .collect())
    }

    async fn page(
        &mut self,
        filter: &ExecutionFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<Execution>> {
        const OPERATION: &str = "executions.page";
        let key = page_key::<(DateTime<Utc>, ExecutionId)>(OPERATION, page);
        let before = self.session.keep(key)?;
        let (tenant, limit) = (self.tenant(), page.limit());
        let rows = sqlx::query_as!(
            ExecutionRow,
            "SELECT id, source_id, n8n_execution_id, workflow_id, triggered_by, mode, status,
                status_text, started_at, wait_till, finished_at, execution_time, retry_of,
                retry_success, created_at, updated_at, revision
            FROM tenantry.executions
            WHERE tenant_id = $1
                AND ($2::uuid IS NULL OR workflow_id = $2)
                AND ($3::text IS NULL OR status = $3)
                AND ($4::timestamptz IS NULL OR started_at >= $4)
                AND ($5::timestamptz IS NULL OR started_at < $5)
                AND ($6::timestamptz IS NULL OR (started_at, id) < ($6, $7::uuid))
            ORDER BY started_at DESC, id DESC LIMIT $8",
            tenant,
            filter.workflow.map(WorkflowId::as_uuid),
            filter.status.map(ExecutionStatus::as_str),
            filter.started.map(|period| period.start()),
            filter.started.map(|period| period.end()),
            before.map(|(at, _)| at),
            before.map(|(_, id)| id.as_uuid()),
            limit as i64 + 1,
        )
        .fetch_all(self.session.run_planned(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        let rows = rows.into_iter().map(|row| row.read(OPERATION)).collect();
        Ok(Page::of(
            self.session.keep(rows)?,
            limit,
            |row: &Execution| (row.started_at, row.id),
        ))
    }

    async fn performance(
        &mut self,
        workflow: Option<WorkflowId>,
        started: &Period,
    ) -> StoreResult<Vec<WorkflowPerformance>> {
        const OPERATION: &str = "executions.performance";
        let tenant = self.tenant();
        let rows = sqlx::query!(
            r#"SELECT workflow_id, count(*) AS "executions!",
                count(*) FILTER (WHERE status = ANY ($5)) AS "failures!",
                percentile_disc(0.5) WITHIN GROUP (ORDER BY execution_time) AS "p50!",
                percentile_disc(0.95) WITHIN GROUP (ORDER BY execution_time) AS "p95!"
            FROM tenantry.executions
            WHERE tenant_id = $1 AND ($2::uuid IS NULL OR workflow_id = $2)
                AND started_at >= $3 AND started_at < $4 AND execution_time IS NOT NULL
            GROUP BY workflow_id ORDER BY workflow_id"#,
            tenant,
            workflow.map(WorkflowId::as_uuid),
            started.start(),
            started.end(),
            &FAILURES.map(|status| status.as_str().to_owned()),
        )
        .fetch_all(self.session.run_planned(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        Ok(rows
            .into_iter()
            .map(|row| WorkflowPerformance {
                workflow: row.workflow_id.into(),
                executions: count(row.executions),
                failures: count(row.failures),
                p50_ms: row.p50,
                p95_ms: row.p95,
            })
            .collect())
    }

    async fn payload(
        &mut self,
        id: ExecutionId,
        kind: PayloadKind,
    ) -> StoreResult<Option<StoredPayload>> {
        const OPERATION: &str = "executions.payload";
        let tenant = self.tenant();
        let text = sqlx::query_scalar!(
            r#"SELECT payload::text AS "payload!" FROM tenantry.execution_data
            WHERE tenant_id = $1 AND id = $2 AND kind = $3"#,
            tenant,
            id.as_uuid(),
            kind.as_str(),
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        Ok(self.session.check(OPERATION, text)?.map(StoredPayload::new))
    }

    async fn errors(&mut self, id: ExecutionId) -> StoreResult<Vec<ErrorEntry>> {
        self.read_errors(id).await
    }

    async fn contradictions(&mut self, id: ExecutionId) -> StoreResult<Vec<Contradiction>> {
        const OPERATION: &str = "executions.contradictions";
        let tenant = self.tenant();
        let rows = sqlx::query!(
            "SELECT kept_status, kept_at, reported_status, reported_at, observed_at
            FROM tenantry.execution_contradictions
            WHERE tenant_id = $1 AND execution_id = $2",
            tenant,
            id.as_uuid(),
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        let place = format!("execution_contradictions {id}");
        let read = rows.into_iter().map(|row| {
            let end =
                |text: &str, at| status(OPERATION, &place, text).map(|status| End { status, at });
            Ok(Contradiction {
                execution: id,
                kept: end(&row.kept_status, row.kept_at)?,
                reported: end(&row.reported_status, row.reported_at)?,
                observed_at: row.observed_at,
            })
        });
        let mut told: Vec<Contradiction> = self.session.keep(read.collect())?;
        told.sort_by_key(|told| (told.reported.at, told.reported.status));
        Ok(told)
    }
}

/// A guarded write that met fewer rows than it was given lost a race.
fn all(operation: &'static str, written: u64, wanted: usize) -> StoreResult<()> {
    if u64::try_from(wanted) == Ok(written) {
        Ok(())
    } else {
        Err(StoreError::new(StoreErrorKind::Conflict, operation))
    }
}

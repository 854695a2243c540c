//! Workflows on PostgreSQL.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::error::corrupt;
use super::session::Session;
use super::unit::PgTx;
use crate::domain::ids::{SourceId, UserId, WorkflowId};
use crate::domain::json::Document;
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::{ExternalId, Name};
use crate::domain::workflow::{
    Dependents, Redefinition, Tags, VersionSummary, Workflow, WorkflowDefinition, WorkflowError,
    WorkflowVersion, search_key,
};
use crate::store::{
    StoreError, StoreErrorKind, StoreResult, WorkflowFilter, WorkflowRepo, page_key,
};

struct WorkflowRow {
    id: Uuid,
    source_id: Option<Uuid>,
    n8n_id: Option<String>,
    name: String,
    description: Option<String>,
    settings: Value,
    tags: Vec<String>,
    active: bool,
    version: i32,
    definition_sha256: String,
    created_by: Option<Uuid>,
    archived_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl WorkflowRow {
    fn read(self, operation: &'static str) -> StoreResult<Workflow> {
        let place = format!("workflows {}", self.id);
        let broken = |error: WorkflowError| corrupt(operation, &place, error);
        Ok(Workflow {
            id: self.id.into(),
            source: self.source_id.map(SourceId::from),
            external_id: self
                .n8n_id
                .as_deref()
                .map(ExternalId::new)
                .transpose()
                .map_err(|error| broken(error.into()))?,
            name: Name::new(&self.name).map_err(|error| broken(error.into()))?,
            description: self.description,
            settings: Document::new("settings", self.settings)
                .map_err(|error| broken(error.into()))?,
            tags: Tags::new(&self.tags).map_err(|error| broken(error.into()))?,
            active: self.active,
            created_by: self.created_by.map(UserId::from),
            version: self.version,
            definition_sha256: self.definition_sha256,
            archived_at: self.archived_at,
            created_at: self.created_at,
            updated_at: self.updated_at,
            revision: self.revision,
        })
    }
}

struct VersionRow {
    version: i32,
    definition: String,
    created_by: Option<Uuid>,
    created_at: DateTime<Utc>,
}

impl VersionRow {
    fn read(self, operation: &'static str, id: WorkflowId) -> StoreResult<WorkflowVersion> {
        let place = format!("workflow_versions {id} {}", self.version);
        Ok(WorkflowVersion {
            workflow: id,
            version: self.version,
            definition: WorkflowDefinition::new(&self.definition)
                .map_err(|error| corrupt(operation, &place, error))?,
            created_at: self.created_at,
            created_by: self.created_by.map(UserId::from),
        })
    }
}

/// Reads rows; one that cannot be read spends the unit.
fn read_all(
    session: &mut Session<'_>,
    operation: &'static str,
    rows: Result<Vec<WorkflowRow>, sqlx::Error>,
) -> StoreResult<Vec<Workflow>> {
    let rows = session.check(operation, rows)?;
    session.keep(rows.into_iter().map(|row| row.read(operation)).collect())
}

fn read(
    session: &mut Session<'_>,
    operation: &'static str,
    row: Result<Option<WorkflowRow>, sqlx::Error>,
) -> StoreResult<Option<Workflow>> {
    let row = session.check(operation, row)?;
    session.keep(row.map(|row| row.read(operation)).transpose())
}

fn lost(operation: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Conflict, operation)
}

#[async_trait]
impl WorkflowRepo for PgTx<'_> {
    async fn insert(&mut self, new: &Redefinition) -> StoreResult<()> {
        const OPERATION: &str = "workflows.insert";
        let (tenant, workflow, version) = (self.tenant(), &new.workflow, &new.version);
        let done = sqlx::query!(
            "WITH workflow AS (
                INSERT INTO tenantry.workflows (tenant_id, id, source_id, n8n_id, name, name_key,
                    description, settings, tags, active, version, definition_sha256, created_by,
                    archived_at, created_at, updated_at, revision)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
                RETURNING tenant_id, id)
            INSERT INTO tenantry.workflow_versions (tenant_id, workflow_id, version, definition,
                definition_sha256, created_by, created_at)
            SELECT tenant_id, id, $18, $19::text::json, $20, $21, $22 FROM workflow",
            tenant,
            workflow.id.as_uuid(),
            workflow.source.map(SourceId::as_uuid),
            workflow.external_id.as_ref().map(ExternalId::as_str),
            workflow.name.as_str(),
            workflow.name_key(),
            workflow.description,
            workflow.settings.to_value(),
            workflow.tags.as_slice(),
            workflow.active,
            workflow.version,
            workflow.definition_sha256,
            workflow.created_by.map(UserId::as_uuid),
            workflow.archived_at,
            workflow.created_at,
            workflow.updated_at,
            workflow.revision,
            version.version,
            version.definition.as_str(),
            version.definition.sha256(),
            version.created_by.map(UserId::as_uuid),
            version.created_at,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        self.session.check(OPERATION, done).map(drop)
    }

    async fn ensure_external(&mut self, new: &[Redefinition]) -> StoreResult<Vec<Workflow>> {
        const OPERATION: &str = "workflows.ensure_external";
        if new.is_empty() {
            self.session.run(OPERATION)?;
            return Ok(Vec::new());
        }
        let keys = self.session.keep(external_keys(OPERATION, new))?;
        self.insert_missing(OPERATION, &keys).await?;
        let (sources, external): (Vec<_>, Vec<_>) = keys.iter().map(|(key, _)| *key).unzip();
        let found = self.select_external(OPERATION, &sources, &external).await?;
        let by_key: HashMap<_, _> = found
            .iter()
            .filter_map(|workflow| Some((external_key(workflow)?, workflow)))
            .collect();
        let stored = keys.iter().map(|(key, _)| {
            // One that was there for the first statement may be gone for the second.
            let stored = by_key.get(key).ok_or_else(|| lost(OPERATION))?;
            Ok(Workflow::clone(stored))
        });
        let stored = stored.collect();
        self.session.keep(stored)
    }

    async fn find_by_external(
        &mut self,
        source: SourceId,
        external: &[ExternalId],
    ) -> StoreResult<Vec<Workflow>> {
        const OPERATION: &str = "workflows.find_by_external";
        if external.is_empty() {
            self.session.run(OPERATION)?;
            return Ok(Vec::new());
        }
        let external: Vec<_> = external.iter().map(ExternalId::as_str).collect();
        let sources = vec![source.as_uuid(); external.len()];
        self.select_external(OPERATION, &sources, &external).await
    }

    async fn get(&mut self, id: WorkflowId) -> StoreResult<Option<Workflow>> {
        const OPERATION: &str = "workflows.get";
        let tenant = self.tenant();
        let row = sqlx::query_as!(
            WorkflowRow,
            "SELECT id, source_id, n8n_id, name, description, settings, tags, active, version,
                definition_sha256, created_by, archived_at, created_at, updated_at, revision
            FROM tenantry.workflows WHERE tenant_id = $1 AND id = $2",
            tenant,
            id.as_uuid(),
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        read(&mut self.session, OPERATION, row)
    }

    async fn update(&mut self, workflow: &Workflow) -> StoreResult<Workflow> {
        const OPERATION: &str = "workflows.update";
        let tenant = self.tenant();
        let row = sqlx::query_as!(
            WorkflowRow,
            "UPDATE tenantry.workflows
            SET name = $4, name_key = $5, description = $6, settings = $7, tags = $8, active = $9,
                archived_at = $10, updated_at = $11, revision = revision + 1
            WHERE tenant_id = $1 AND id = $2 AND revision = $3
            RETURNING id, source_id, n8n_id, name, description, settings, tags, active, version,
                definition_sha256, created_by, archived_at, created_at, updated_at, revision",
            tenant,
            workflow.id.as_uuid(),
            workflow.revision,
            workflow.name.as_str(),
            workflow.name_key(),
            workflow.description,
            workflow.settings.to_value(),
            workflow.tags.as_slice(),
            workflow.active,
            workflow.archived_at,
            workflow.updated_at,
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        let stored = read(&mut self.session, OPERATION, row)?;
        self.session.keep(stored.ok_or_else(|| lost(OPERATION)))
    }

    async fn redefine(&mut self, redefinition: &Redefinition) -> StoreResult<Workflow> {
        const OPERATION: &str = "workflows.redefine";
        let tenant = self.tenant();
        let (workflow, version) = (&redefinition.workflow, &redefinition.version);
        let row = sqlx::query_as!(
            WorkflowRow,
            "WITH workflow AS (
                UPDATE tenantry.workflows
                SET name = $4, name_key = $5, description = $6, settings = $7, tags = $8,
                    active = $9, archived_at = $10, updated_at = $11, version = $12,
                    definition_sha256 = $13, revision = revision + 1
                WHERE tenant_id = $1 AND id = $2 AND revision = $3
                RETURNING tenant_id, id, source_id, n8n_id, name, description, settings, tags,
                    active, version, definition_sha256, created_by, archived_at, created_at,
                    updated_at, revision),
            version AS (
                INSERT INTO tenantry.workflow_versions (tenant_id, workflow_id, version,
                    definition, definition_sha256, created_by, created_at)
                SELECT tenant_id, id, $14, $15::text::json, $16, $17, $18 FROM workflow)
            SELECT id, source_id, n8n_id, name, description, settings, tags, active, version,
                definition_sha256, created_by, archived_at, created_at, updated_at, revision
            FROM workflow",
            tenant,
            workflow.id.as_uuid(),
            workflow.revision,
            workflow.name.as_str(),
            workflow.name_key(),
            workflow.description,
            workflow.settings.to_value(),
            workflow.tags.as_slice(),
            workflow.active,
            workflow.archived_at,
            workflow.updated_at,
            workflow.version,
            workflow.definition_sha256,
            version.version,
            version.definition.as_str(),
            version.definition.sha256(),
            version.created_by.map(UserId::as_uuid),
            version.created_at,
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        let stored = read(&mut self.session, OPERATION, row)?;
        self.session.keep(stored.ok_or_else(|| lost(OPERATION)))
    }

    async fn version(
        &mut self,
        id: WorkflowId,
        version: i32,
    ) -> StoreResult<Option<WorkflowVersion>> {
        const OPERATION: &str = "workflows.version";
        let tenant = self.tenant();
        let row = sqlx::query_as!(
            VersionRow,
            r#"SELECT version, definition::text AS "definition!", created_by, created_at
            FROM tenantry.workflow_versions
            WHERE tenant_id = $1 AND workflow_id = $2 AND version = $3"#,
            tenant,
            id.as_uuid(),
            version,
        )
        .fetch_optional(self.session.run(OPERATION)?)
        .await;
        let row = self.session.check(OPERATION, row)?;
        self.session
            .keep(row.map(|row| row.read(OPERATION, id)).transpose())
    }

    async fn versions(
        &mut self,
        id: WorkflowId,
        page: &PageRequest,
    ) -> StoreResult<Page<VersionSummary>> {
        const OPERATION: &str = "workflows.versions";
        let before = self.session.keep(page_key::<i32>(OPERATION, page))?;
        let (tenant, limit) = (self.tenant(), page.limit());
        let rows = sqlx::query!(
            "SELECT version, definition_sha256, created_by, created_at
            FROM tenantry.workflow_versions
            WHERE tenant_id = $1 AND workflow_id = $2 AND version < $3
            ORDER BY version DESC LIMIT $4",
            tenant,
            id.as_uuid(),
            before.unwrap_or(i32::MAX),
            limit as i64 + 1,
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        let summaries = rows.into_iter().map(|row| VersionSummary {
            version: row.version,
            definition_sha256: row.definition_sha256,
            created_at: row.created_at,
            created_by: row.created_by.map(UserId::from),
        });
        Ok(Page::of(summaries.collect(), limit, |row| row.version))
    }

    async fn page(
        &mut self,
        filter: &WorkflowFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<Workflow>> {
        const OPERATION: &str = "workflows.page";
        let after = self
            .session
            .keep(page_key::<(String, WorkflowId)>(OPERATION, page))?;
        // No name is empty, so the first page is what comes after the empty one.
        let (name, id) = after.unwrap_or_else(|| (String::new(), Uuid::nil().into()));
        let (tenant, limit) = (self.tenant(), page.limit());
        let rows = sqlx::query_as!(
            WorkflowRow,
            "SELECT id, source_id, n8n_id, name, description, settings, tags, active, version,
                definition_sha256, created_by, archived_at, created_at, updated_at, revision
            FROM tenantry.workflows
            WHERE tenant_id = $1 AND (name_key, id) > ($2, $3)
                AND ($4::text IS NULL OR strpos(name_key, $4) > 0)
                AND tags @> $5
                AND ($6::boolean IS NULL OR active = $6)
                AND ($7::uuid IS NULL OR source_id = $7)
                AND ($8::boolean IS NULL OR (archived_at IS NOT NULL) = $8)
            ORDER BY name_key, id LIMIT $9",
            tenant,
            name,
            id.as_uuid(),
            filter.name.as_deref().map(search_key),
            &filter.tags,
            filter.active,
            filter.source.map(SourceId::as_uuid),
            filter.archive.archived(),
            limit as i64 + 1,
        )
        .fetch_all(self.session.run_planned(OPERATION)?)
        .await;
        let workflows = read_all(&mut self.session, OPERATION, rows)?;
        Ok(Page::of(workflows, limit, |workflow| {
            (workflow.name_key(), workflow.id)
        }))
    }

    async fn dependents(&mut self, id: WorkflowId) -> StoreResult<Dependents> {
        const OPERATION: &str = "workflows.dependents";
        let tenant = self.tenant();
        let executions = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM tenantry.executions
            WHERE tenant_id = $1 AND workflow_id = $2"#,
            tenant,
            id.as_uuid(),
        )
        .fetch_one(self.session.run(OPERATION)?)
        .await;
        let executions = self.session.check(OPERATION, executions)?;
        Ok(Dependents::new(u64::try_from(executions).unwrap_or(0)))
    }

    async fn delete(&mut self, workflow: &Workflow) -> StoreResult<()> {
        const OPERATION: &str = "workflows.delete";
        let tenant = self.tenant();
        let gone = sqlx::query_scalar!(
            r#"WITH gone AS (
                DELETE FROM tenantry.workflows
                WHERE tenant_id = $1 AND id = $2 AND revision = $3 RETURNING tenant_id, id),
            versions AS (
                DELETE FROM tenantry.workflow_versions v USING gone
                WHERE v.tenant_id = gone.tenant_id AND v.workflow_id = gone.id)
            SELECT count(*) AS "count!" FROM gone"#,
            tenant,
            workflow.id.as_uuid(),
            workflow.revision,
        )
        .fetch_one(self.session.run(OPERATION)?)
        .await;
        match self.session.check(OPERATION, gone) {
            Ok(1) => Ok(()),
            Ok(_) => self.session.keep(Err(lost(OPERATION))),
            // A reference to the workflow: what the caller asked for before is no longer so.
            Err(error) if error.kind() == StoreErrorKind::NotFound => {
                Err(lost(OPERATION).with_source(error))
            }
            Err(error) => Err(error),
        }
    }
}

/// A source and its id of a workflow.
type ExternalKey<'w> = (Uuid, &'w str);

fn external_key(workflow: &Workflow) -> Option<ExternalKey<'_>> {
    let external = workflow.external_id.as_ref()?;
    Some((workflow.source?.as_uuid(), external.as_str()))
}

fn external_keys<'w>(
    operation: &'static str,
    new: &'w [Redefinition],
) -> StoreResult<Vec<(ExternalKey<'w>, &'w Redefinition)>> {
    new.iter()
        .map(
            |new| match (new.workflow.source, &new.workflow.external_id) {
                (Some(source), Some(external)) => Ok(((source.as_uuid(), external.as_str()), new)),
                _ => Err(StoreError::new(StoreErrorKind::Invalid, operation)
                    .with_detail("workflows_source_and_id")),
            },
        )
        .collect()
}

impl PgTx<'_> {
    async fn insert_missing(
        &mut self,
        operation: &'static str,
        new: &[(ExternalKey<'_>, &Redefinition)],
    ) -> StoreResult<()> {
        // In key order, so that two units which create the same workflows wait for each other and
        // never for ever. The sort is stable: of two with one key the first stays the first.
        let mut new = new.to_vec();
        new.sort_by_key(|(key, _)| *key);
        let tenant = self.tenant();
        let workflows = || new.iter().map(|(_, new)| &new.workflow);
        let tags: Vec<_> = workflows()
            .map(|workflow| serde_json::json!(workflow.tags))
            .collect();
        let done = sqlx::query!(
            "WITH given AS (
                SELECT * FROM UNNEST($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[],
                    $7::text[], $8::jsonb[], $9::jsonb[], $10::boolean[], $11::integer[],
                    $12::text[], $13::uuid[], $14::timestamptz[], $15::timestamptz[],
                    $16::timestamptz[], $17::bigint[], $18::text[])
                    WITH ORDINALITY AS g (id, source_id, n8n_id, name, name_key, description,
                        settings, tags, active, version, definition_sha256, created_by,
                        archived_at, created_at, updated_at, revision, definition, place)),
            workflow AS (
                INSERT INTO tenantry.workflows (tenant_id, id, source_id, n8n_id, name, name_key,
                    description, settings, tags, active, version, definition_sha256, created_by,
                    archived_at, created_at, updated_at, revision)
                SELECT $1, id, source_id, n8n_id, name, name_key, description, settings,
                    ARRAY(SELECT t.tag FROM jsonb_array_elements_text(tags)
                        WITH ORDINALITY AS t (tag, place) ORDER BY t.place),
                    active, version, definition_sha256, created_by, archived_at, created_at,
                    updated_at, revision
                FROM given ORDER BY place
                ON CONFLICT (tenant_id, source_id, n8n_id) DO NOTHING
                RETURNING tenant_id, id)
            INSERT INTO tenantry.workflow_versions (tenant_id, workflow_id, version, definition,
                definition_sha256, created_by, created_at)
            SELECT workflow.tenant_id, workflow.id, given.version, given.definition::json,
                given.definition_sha256, given.created_by, given.created_at
            FROM workflow JOIN given ON given.id = workflow.id",
            tenant,
            &workflows()
                .map(|workflow| workflow.id.as_uuid())
                .collect::<Vec<_>>(),
            &new.iter().map(|(key, _)| key.0).collect::<Vec<_>>(),
            &new.iter().map(|(key, _)| key.1).collect::<Vec<_>>() as &[&str],
            &workflows()
                .map(|workflow| workflow.name.as_str())
                .collect::<Vec<_>>() as &[&str],
            &workflows().map(Workflow::name_key).collect::<Vec<_>>(),
            &workflows()
                .map(|workflow| workflow.description.as_deref())
                .collect::<Vec<_>>() as &[Option<&str>],
            &workflows()
                .map(|workflow| workflow.settings.to_value())
                .collect::<Vec<_>>(),
            &tags,
            &workflows()
                .map(|workflow| workflow.active)
                .collect::<Vec<_>>(),
            &workflows()
                .map(|workflow| workflow.version)
                .collect::<Vec<_>>(),
            &workflows()
                .map(|workflow| workflow.definition_sha256.as_str())
                .collect::<Vec<_>>() as &[&str],
            &workflows()
                .map(|workflow| workflow.created_by.map(UserId::as_uuid))
                .collect::<Vec<_>>() as &[Option<Uuid>],
            &workflows()
                .map(|workflow| workflow.archived_at)
                .collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
            &workflows()
                .map(|workflow| workflow.created_at)
                .collect::<Vec<_>>(),
            &workflows()
                .map(|workflow| workflow.updated_at)
                .collect::<Vec<_>>(),
            &workflows()
                .map(|workflow| workflow.revision)
                .collect::<Vec<_>>(),
            &new.iter()
                .map(|(_, new)| new.version.definition.as_str())
                .collect::<Vec<_>>() as &[&str],
        )
        .execute(self.session.run(operation)?)
        .await;
        self.session.check(operation, done).map(drop)
    }

    async fn select_external(
        &mut self,
        operation: &'static str,
        sources: &[Uuid],
        external: &[&str],
    ) -> StoreResult<Vec<Workflow>> {
        let tenant = self.tenant();
        let rows = sqlx::query_as!(
            WorkflowRow,
            "SELECT w.id, w.source_id, w.n8n_id, w.name, w.description, w.settings, w.tags,
                w.active, w.version, w.definition_sha256, w.created_by, w.archived_at,
                w.created_at, w.updated_at, w.revision
            FROM (SELECT DISTINCT * FROM UNNEST($2::uuid[], $3::text[]) u (source_id, n8n_id)) k
            JOIN tenantry.workflows w
                ON w.tenant_id = $1 AND w.source_id = k.source_id AND w.n8n_id = k.n8n_id
            ORDER BY w.source_id, w.n8n_id",
            tenant,
            sources,
            external as &[&str],
        )
        .fetch_all(self.session.run(operation)?)
        .await;
        read_all(&mut self.session, operation, rows)
    }
}

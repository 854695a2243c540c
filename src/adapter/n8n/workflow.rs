//! Workflows: of the public API, and as they stand inside an execution.

use std::borrow::Cow;
use std::ops::Range;

use super::execution::page;
use super::value::{Cursor, flag, id, ignore, is_object, missing, null, string};
use super::{Item, N8nError, Page};
use crate::domain::payload::scan::{Kind, Scanner};
use crate::domain::payload::{Payload, decode, redact};
use crate::domain::redaction::Redaction;
use crate::domain::text::ExternalId;
use crate::domain::workflow::{WorkflowError, WorkflowSnapshot, is_language_model};

/// Parses one workflow of the public API, and checks all of it.
///
/// Nothing is masked: what a workflow is, is not what it was given. Its secrets are in n8n's
/// credentials, which it only names.
///
/// # Errors
/// When it cannot be read or made one of ours, with the field that is at fault.
pub fn parse_workflow(json: &str) -> Result<WorkflowSnapshot, N8nError> {
    let mut cursor = Scanner::new(json);
    let snapshot = read_checked(&mut cursor, json)?;
    cursor.end()?;
    Ok(snapshot)
}

/// Parses workflows that stand one a line. Blank lines are passed over.
pub fn parse_workflows(lines: &str) -> impl Iterator<Item = Item<WorkflowSnapshot>> {
    lines
        .lines()
        .filter(|line| !line.trim().is_empty())
        .enumerate()
        .map(|(index, line)| Item {
            index,
            result: parse_workflow(line),
        })
}

/// Parses a page of workflows: `{"data": […], "nextCursor": …}`.
///
/// # Errors
/// When the page itself is none. What is wrong with one workflow is the result of that item.
pub fn parse_workflow_page(json: &str) -> Result<Page<WorkflowSnapshot>, N8nError> {
    page(json, |cursor| read_checked(cursor, json))
}

fn read_checked<'t>(
    cursor: &mut Cursor<'t, '_>,
    json: &'t str,
) -> Result<WorkflowSnapshot, N8nError> {
    let data = WorkflowData::read(cursor, json, None)?.ok_or_else(|| missing("workflow"))?;
    let id = data.id.clone().ok_or_else(|| missing("id"))?;
    let snapshot = data.snapshot(id);
    snapshot.name().map_err(WorkflowError::from)?;
    snapshot.definition().map_err(WorkflowError::from)?;
    snapshot.settings().map_err(WorkflowError::from)?;
    snapshot.tags().map_err(WorkflowError::from)?;
    Ok(snapshot)
}

/// What was found of a workflow. Its definition is looked into only for its language models.
#[derive(Debug)]
pub(super) struct WorkflowData<'t> {
    /// n8n's id of it.
    pub(super) id: Option<ExternalId>,
    /// The names of the nodes that are language models.
    pub(super) language_models: Vec<Cow<'t, str>>,
    name: Cow<'t, str>,
    active: bool,
    tags: Vec<String>,
    definition: Payload,
    settings: Option<Payload>,
}

impl<'t> WorkflowData<'t> {
    /// Reads a workflow, or null.
    pub(super) fn read<'p>(
        cursor: &mut Cursor<'t, 'p>,
        json: &'t str,
        redaction: Option<&'p Redaction>,
    ) -> Result<Option<Self>, N8nError> {
        const FIELD: &str = "workflowData";
        if null(cursor)? {
            return Ok(None);
        }
        let start = cursor.start();
        let mut parts = Parts::default();
        cursor
            .apart(redaction, |cursor| parts.read(cursor))
            .map_err(|error| error.within(FIELD))?;
        let source = start..cursor.at();
        let definition = redact(json, source.clone(), cursor.masks());
        Ok(Some(Self {
            id: parts.id,
            language_models: parts.language_models,
            name: parts.name.map(decode).unwrap_or_default(),
            active: parts.active,
            tags: parts.tags,
            settings: parts
                .settings
                .map(|place| definition.part(&source, cursor.masks(), place)),
            definition,
        }))
    }

    /// The workflow under this id.
    pub(super) fn snapshot(self, id: ExternalId) -> WorkflowSnapshot {
        let snapshot = WorkflowSnapshot::new(id, &self.name, self.definition)
            .with_tags(self.tags)
            .with_active(self.active);
        match self.settings {
            Some(settings) => snapshot.with_settings(settings),
            None => snapshot,
        }
    }
}

#[derive(Debug, Default)]
struct Parts<'t> {
    id: Option<ExternalId>,
    name: Option<&'t str>,
    active: bool,
    tags: Vec<String>,
    settings: Option<Range<usize>>,
    language_models: Vec<Cow<'t, str>>,
}

impl<'t> Parts<'t> {
    fn read(&mut self, cursor: &mut Cursor<'t, '_>) -> Result<(), N8nError> {
        is_object(cursor, "workflowData")?;
        cursor.object(|cursor, key| {
            match &*key.name() {
                "id" => self.id = id(cursor, "workflowData.id")?,
                "name" => self.name = string(cursor)?,
                "active" => self.active = flag(cursor)?,
                "nodes" => self.nodes(cursor)?,
                // Its keys are names of nodes, and a node may be named `Token`.
                "connections" => cursor.apart(None, ignore)?,
                "settings" if !null(cursor)? => self.settings = Some(cursor.skip()?),
                "settings" => {}
                "tags" => self.tags(cursor)?,
                _ => ignore(cursor)?,
            }
            Ok(())
        })
    }

    fn nodes(&mut self, cursor: &mut Cursor<'t, '_>) -> Result<(), N8nError> {
        if cursor.kind()? != Kind::Array {
            return ignore(cursor);
        }
        cursor.array(|cursor, _| {
            if cursor.kind()? != Kind::Object {
                return ignore(cursor);
            }
            let (mut name, mut kind) = (None, None);
            cursor.object(|cursor, key| {
                match &*key.name() {
                    "name" => name = string(cursor)?,
                    "type" => kind = string(cursor)?,
                    _ => ignore(cursor)?,
                }
                Ok::<_, N8nError>(())
            })?;
            if let (Some(name), Some(kind)) = (name, kind)
                && is_language_model(&decode(kind))
            {
                self.language_models.push(decode(name));
            }
            Ok(())
        })
    }

    /// The public API gives tags as objects with a name; other places give the names.
    fn tags(&mut self, cursor: &mut Cursor<'t, '_>) -> Result<(), N8nError> {
        if cursor.kind()? != Kind::Array {
            return ignore(cursor);
        }
        cursor.array(|cursor, _| {
            let mut tag = None;
            if cursor.kind()? == Kind::Object {
                cursor.object(|cursor, key| {
                    match &*key.name() {
                        "name" => tag = string(cursor)?,
                        _ => ignore(cursor)?,
                    }
                    Ok::<_, N8nError>(())
                })?;
            } else {
                tag = string(cursor)?;
            }
            self.tags.extend(tag.map(|tag| decode(tag).into_owned()));
            Ok(())
        })
    }
}

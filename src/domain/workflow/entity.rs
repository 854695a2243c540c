//! A workflow of a tenant, and how it changes.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::change::{WorkflowChange, WorkflowPatch};
use super::definition::WorkflowDefinition;
use super::error::WorkflowError;
use super::snapshot::WorkflowSnapshot;
use super::tags::Tags;
use super::version::{Redefinition, WorkflowVersion};
use crate::domain::ids::{SourceId, UserId, WorkflowId};
use crate::domain::json::Document;
use crate::domain::text::{ExternalId, Name};
use crate::domain::time::micros;

/// A workflow of a tenant. Its definition is in its [`WorkflowVersion`]s.
///
/// What changes it answers the workflow as it is to be, under the revision that was read: the store
/// counts it up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workflow {
    /// Its id.
    pub id: WorkflowId,
    /// Where it runs, if it came from a source.
    pub source: Option<SourceId>,
    /// The source's id of it, unique within the source.
    pub external_id: Option<ExternalId>,
    /// Its name.
    pub name: Name,
    /// What it is for; at most [`Workflow::MAX_DESCRIPTION`] characters.
    pub description: Option<String>,
    /// Its settings.
    pub settings: Document,
    /// Its tags.
    pub tags: Tags,
    /// Whether it is in use.
    pub active: bool,
    /// Who made it. None for a workflow that came with a report of its execution: nobody here made
    /// it.
    pub created_by: Option<UserId>,
    /// The number of its newest version, from 1.
    pub version: i32,
    /// The SHA-256 of its newest definition, in lower-case hexadecimal digits.
    pub definition_sha256: String,
    /// When it was put into the archive, if it is there.
    pub archived_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts its changes, from 1; a writer must name the one it has read.
    pub revision: i64,
}

impl Workflow {
    /// The most characters of a description.
    pub const MAX_DESCRIPTION: usize = 10_000;

    /// A new workflow, not in use, with its first version.
    #[must_use]
    pub fn create(
        id: WorkflowId,
        name: Name,
        definition: WorkflowDefinition,
        created_by: Option<UserId>,
        now: DateTime<Utc>,
    ) -> Redefinition {
        let now = micros(now);
        Redefinition {
            workflow: Self {
                id,
                source: None,
                external_id: None,
                name,
                description: None,
                settings: Document::empty(),
                tags: Tags::default(),
                active: false,
                created_by,
                version: 1,
                definition_sha256: definition.sha256().to_owned(),
                archived_at: None,
                created_at: now,
                updated_at: now,
                revision: 1,
            },
            version: WorkflowVersion {
                workflow: id,
                version: 1,
                definition,
                created_at: now,
                created_by,
            },
        }
    }

    /// A new workflow from what a source shows of it, not in use whatever the source says.
    ///
    /// # Errors
    /// When a part of the snapshot is refused.
    pub fn import(
        id: WorkflowId,
        source: SourceId,
        snapshot: &WorkflowSnapshot,
        created_by: Option<UserId>,
        now: DateTime<Utc>,
    ) -> Result<Redefinition, WorkflowError> {
        let definition = snapshot.definition()?;
        let mut made = Self::create(id, snapshot.name()?, definition, created_by, now);
        made.workflow.source = Some(source);
        made.workflow.external_id = Some(snapshot.external_id().clone());
        made.workflow.settings = snapshot.settings()?;
        made.workflow.tags = snapshot.tags()?;
        Ok(made)
    }

    /// A new workflow that is as its source shows it: as [`import`](Self::import), and in use if it
    /// is in use there.
    ///
    /// # Errors
    /// When a part of the snapshot is refused.
    pub fn mirror(
        id: WorkflowId,
        source: SourceId,
        snapshot: &WorkflowSnapshot,
        created_by: Option<UserId>,
        now: DateTime<Utc>,
    ) -> Result<Redefinition, WorkflowError> {
        let mut made = Self::import(id, source, snapshot, created_by, now)?;
        made.workflow.active = snapshot.active();
        Ok(made)
    }

    /// What must be written so that the workflow is as its source shows it: name, definition,
    /// settings, tags, and whether it is in use. What the snapshot does not show counts as empty.
    /// The description is not the source's and stays.
    ///
    /// # Errors
    /// When a part of the snapshot is refused, or the workflow is in the archive.
    pub fn follow(
        &self,
        snapshot: &WorkflowSnapshot,
        by: Option<UserId>,
        now: DateTime<Utc>,
    ) -> Result<WorkflowChange, WorkflowError> {
        self.must_not_be_archived()?;
        let shown = WorkflowPatch::new()
            .name(snapshot.name()?)
            .settings(snapshot.settings()?)
            .tags(snapshot.tags()?)
            .active(snapshot.active());
        let detailed = self.patched(&shown, now);
        let newest = detailed.as_ref().unwrap_or(self);
        match newest.redefined(snapshot.definition()?, by, now)? {
            Some(redefined) => Ok(WorkflowChange::Definition(redefined)),
            None => Ok(detailed.into()),
        }
    }

    /// The workflow with the changes of a patch; `None` if they change nothing.
    #[must_use]
    pub fn patched(&self, patch: &WorkflowPatch, now: DateTime<Utc>) -> Option<Self> {
        let mut next = self.clone();
        patch.apply(&mut next);
        (next != *self).then(|| next.touched(now))
    }

    /// The workflow with a new version of its definition; `None` if the text is the newest
    /// version's. To restore an old version, give its definition.
    ///
    /// # Errors
    /// When the versions cannot be counted any further.
    pub fn redefined(
        &self,
        definition: WorkflowDefinition,
        by: Option<UserId>,
        now: DateTime<Utc>,
    ) -> Result<Option<Redefinition>, WorkflowError> {
        if definition.sha256() == self.definition_sha256 {
            return Ok(None);
        }
        let version = self
            .version
            .checked_add(1)
            .ok_or(WorkflowError::TooManyVersions)?;
        let mut workflow = self.clone().touched(now);
        workflow.version = version;
        definition
            .sha256()
            .clone_into(&mut workflow.definition_sha256);
        Ok(Some(Redefinition {
            version: WorkflowVersion {
                workflow: self.id,
                version,
                definition,
                created_at: workflow.updated_at,
                created_by: by,
            },
            workflow,
        }))
    }

    /// The workflow in the archive, out of use; `None` if it is there.
    #[must_use]
    pub fn archived(&self, now: DateTime<Utc>) -> Option<Self> {
        self.archived_at.is_none().then(|| Self {
            archived_at: Some(micros(now)),
            active: false,
            ..self.clone().touched(now)
        })
    }

    /// The workflow out of the archive, not in use; `None` if it is not in the archive.
    #[must_use]
    pub fn unarchived(&self, now: DateTime<Utc>) -> Option<Self> {
        self.archived_at.is_some().then(|| Self {
            archived_at: None,
            ..self.clone().touched(now)
        })
    }

    /// Checks that it can be changed.
    ///
    /// # Errors
    /// When it is in the archive.
    pub fn must_not_be_archived(&self) -> Result<(), WorkflowError> {
        match self.archived_at {
            None => Ok(()),
            Some(_) => Err(WorkflowError::Archived),
        }
    }

    /// The name as it is searched and sorted: see [`search_key`].
    #[must_use]
    pub fn name_key(&self) -> String {
        search_key(self.name.as_str())
    }

    fn touched(mut self, now: DateTime<Utc>) -> Self {
        self.updated_at = micros(now);
        self
    }
}

/// A text in lower case, character by character: the key of a part of a text is then a part of the
/// text's key, which `str::to_lowercase` does not give for a Greek sigma at the end of a word.
#[must_use]
pub fn search_key(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use chrono::Duration;
    use uuid::Uuid;

    use super::*;
    use crate::domain::payload::{Payload, PayloadPolicy};
    use crate::domain::workflow::Dependents;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + Duration::seconds(seconds)
    }

    fn definition(parameters: &str) -> WorkflowDefinition {
        WorkflowDefinition::new(&format!(
            r#"{{"nodes":[{{"name":"A","type":"t.a","typeVersion":1,"position":[0,0],
            "parameters":{parameters}}}],"connections":{{}}}}"#
        ))
        .unwrap()
    }

    fn made() -> Redefinition {
        let id = WorkflowId::from_uuid(Uuid::from_u128(1));
        let by = Some(UserId::from_uuid(Uuid::from_u128(2)));
        Workflow::create(
            id,
            Name::new("Orders").unwrap(),
            definition("{}"),
            by,
            at(1),
        )
    }

    #[test]
    fn a_new_workflow_is_not_in_use_and_has_one_version() {
        let made = made();
        assert!(!made.workflow.active);
        assert_eq!((made.workflow.version, made.version.version), (1, 1));
        assert_eq!(made.workflow.revision, 1);
        assert_eq!(made.workflow.created_by, made.version.created_by);
        assert_eq!(
            made.workflow.definition_sha256,
            made.version.definition.sha256()
        );
    }

    #[test]
    fn a_patch_changes_what_it_names() {
        let workflow = made().workflow;
        assert_eq!(workflow.patched(&WorkflowPatch::new(), at(2)), None);
        let same = WorkflowPatch::new()
            .active(false)
            .name(workflow.name.clone());
        assert_eq!(workflow.patched(&same, at(2)), None);
        let patch = WorkflowPatch::new()
            .active(true)
            .tags(Tags::new(["sales"]).unwrap())
            .description(Some("Takes\norders"))
            .unwrap();
        let next = workflow.patched(&patch, at(2)).unwrap();
        assert_eq!(next.description.as_deref(), Some("Takes\norders"));
        assert_eq!((next.revision, next.updated_at), (1, at(2)));
        assert_eq!((next.version, next.created_at), (1, at(1)));
        let patch = WorkflowPatch::new()
            .name(Name::new("Sales").unwrap())
            .settings(Document::new("settings", serde_json::json!({"a": 1})).unwrap())
            .description(None)
            .unwrap();
        let last = next.patched(&patch, at(3)).unwrap();
        assert_eq!((last.name.as_str(), last.description), ("Sales", None));
        assert!(last.active);
        assert!(WorkflowPatch::new().description(Some("\0")).is_err());
    }

    #[test]
    fn every_change_of_the_definition_is_a_version() {
        let first = made();
        let same = first.workflow.redefined(definition("{}"), None, at(2));
        assert_eq!(same, Ok(None));
        let changed = first
            .workflow
            .redefined(definition("{\"a\":1}"), None, at(2));
        let second = changed.unwrap().unwrap();
        assert_eq!((second.workflow.version, second.version.version), (2, 2));
        assert_eq!(
            (second.workflow.revision, second.version.created_at),
            (1, at(2))
        );
        assert_eq!(second.workflow.revision, 1, "the store counts it up");
        assert_eq!(second.version.created_at, at(2));
        let restored = second
            .workflow
            .redefined(first.version.definition, None, at(3));
        let third = restored.unwrap().unwrap();
        assert_eq!(third.workflow.version, 3);
        assert_eq!(
            third.workflow.definition_sha256,
            first.workflow.definition_sha256
        );
        let mut last = third.workflow;
        last.version = i32::MAX;
        assert_eq!(
            last.redefined(definition("{\"b\":2}"), None, at(4)),
            Err(WorkflowError::TooManyVersions)
        );
    }

    #[test]
    fn a_snapshot_says_what_of_it_cannot_be_taken() {
        let id = ExternalId::new("x").unwrap();
        let payload = |text: &str| Payload::new(text, &PayloadPolicy::default()).unwrap();
        let import = |snapshot: &WorkflowSnapshot| {
            let own = Uuid::from_u128(1);
            Workflow::import(own.into(), own.into(), snapshot, None, at(1))
        };
        let text = definition("{}").as_str().to_owned();
        let good = WorkflowSnapshot::new(id.clone(), "Orders", payload(&text))
            .with_settings(payload(r#"{"timezone":"UTC"}"#))
            .with_tags(vec!["a".to_owned()])
            .with_active(true);
        let made = import(&good).unwrap();
        assert_eq!(made.workflow.external_id, Some(id.clone()));
        assert_eq!(made.workflow.tags.as_slice(), ["a"]);
        assert_eq!(made.workflow.settings.to_text(), r#"{"timezone":"UTC"}"#);
        assert!(!made.workflow.active);
        for (bad, error) in [
            (
                WorkflowSnapshot::new(id.clone(), "Orders", payload("[]")),
                "definition: `definition` must be an object",
            ),
            (
                WorkflowSnapshot::new(id.clone(), "", payload(&text)),
                "name must not be empty",
            ),
            (
                good.clone().with_settings(payload(r#"{"a":"\u0000"}"#)),
                "settings has the character U+0000 at `/a`, which cannot be stored",
            ),
            (good.with_tags(vec![String::new()]), "tag must not be empty"),
        ] {
            assert_eq!(import(&bad).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn a_workflow_follows_its_source() {
        let payload = |text: &str| Payload::new(text, &PayloadPolicy::default()).unwrap();
        let text = definition("{}").as_str().to_owned();
        let shown = WorkflowSnapshot::new(ExternalId::new("x").unwrap(), "Orders", payload(&text))
            .with_active(true);
        let own = Uuid::from_u128(1);
        let made = Workflow::mirror(own.into(), own.into(), &shown, None, at(1)).unwrap();
        let workflow = made.workflow;
        assert!(workflow.active);
        let follow = |shown: &WorkflowSnapshot| workflow.follow(shown, None, at(2)).unwrap();
        assert_eq!(follow(&shown), WorkflowChange::Nothing);
        match follow(&shown.clone().with_tags(vec!["a".to_owned()])) {
            WorkflowChange::Details(next) => {
                assert_eq!(
                    (next.tags.as_slice(), next.version),
                    (&["a".to_owned()][..], 1)
                );
            }
            other => panic!("{other:?}"),
        }
        let changed = payload(&text.replace("{}}]", "{\"a\":1}}]"));
        let renamed = WorkflowSnapshot::new(ExternalId::new("x").unwrap(), "Sales", changed);
        match follow(&renamed) {
            WorkflowChange::Definition(next) => {
                assert_eq!(
                    (next.workflow.name.as_str(), next.workflow.version),
                    ("Sales", 2)
                );
                assert!(!next.workflow.active);
            }
            other => panic!("{other:?}"),
        }
        let archived = workflow.archived(at(3)).unwrap();
        let refused = archived.follow(&shown, None, at(4));
        assert_eq!(refused, Err(WorkflowError::Archived));
    }

    #[test]
    fn the_archive_holds_nothing_that_is_in_use() {
        let patch = WorkflowPatch::new().active(true);
        let workflow = made().workflow.patched(&patch, at(2)).unwrap();
        assert_eq!(workflow.must_not_be_archived(), Ok(()));
        assert_eq!(workflow.unarchived(at(3)), None);
        let archived = workflow.archived(at(3)).unwrap();
        assert_eq!(
            (archived.archived_at, archived.active),
            (Some(at(3)), false)
        );
        assert_eq!(archived.archived(at(4)), None);
        assert_eq!(
            archived.must_not_be_archived().unwrap_err().to_string(),
            "workflow is archived; take it out of the archive to change it"
        );
        let back = archived.unarchived(at(5)).unwrap();
        assert_eq!((back.archived_at, back.active), (None, false));
    }

    #[test]
    fn what_depends_on_a_workflow_is_said() {
        for (executions, text) in [(1, "it has 1 execution;"), (2, "it has 2 executions;")] {
            let dependents = Dependents::new(executions);
            let error = WorkflowError::InUse { dependents }.to_string();
            assert!(error.contains(text), "{error}");
        }
        assert!(Dependents::default().is_empty());
    }

    #[test]
    fn the_key_of_a_part_is_a_part_of_the_key() {
        for (whole, part) in [
            ("ΟΔΟΣ", "ΔΟΣ"),
            ("ΟΔΟΣ", "σ"),
            ("Straße", "STRA"),
            ("İzmir", "zM"),
        ] {
            assert!(
                search_key(whole).contains(&search_key(part)),
                "{whole} {part}"
            );
        }
    }
}

//! Workflows and the versions of their definitions, one by one.

use chrono::TimeDelta;
use futures_util::join;
use serde_json::json;

use super::executions::{ended, one, place, report};
use super::fixture::{Fixture, all, fails};
use super::sources::{registered, trail};
use crate::domain::context::Context;
use crate::domain::execution::ExecutionStatus;
use crate::domain::ids::SourceId;
use crate::domain::json::Document;
use crate::domain::text::{ExternalId, Name};
use crate::domain::workflow::{
    Dependents, Redefinition, Tags, Workflow, WorkflowDefinition, WorkflowPatch,
};
use crate::store::{StoreErrorKind, UnitOfWork, WorkflowFilter};

super::list_cases! { "workflows":
    a_workflow_is_read_back_as_it_was_written,
    a_definition_is_kept_to_the_byte,
    who_made_it_is_a_person_of_the_tenant,
    an_update_names_the_revision_it_has_read,
    an_update_leaves_the_origin_and_the_definition,
    a_new_version_keeps_the_former_ones,
    of_two_new_versions_at_once_one_wins,
    an_archived_workflow_is_not_active,
    a_workflow_on_which_nothing_depends_is_deleted_with_its_versions,
    a_deletion_names_the_revision_it_has_read,
    a_workflow_with_executions_is_not_deleted,
    of_a_deletion_and_a_new_execution_at_once_one_wins,
    every_change_is_in_the_trail,
    a_workflow_of_another_tenant_is_not_there,
    a_unit_that_failed_is_spent,
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn external(text: &str) -> ExternalId {
    ExternalId::new(text).unwrap()
}

pub(super) fn definition(node: &str) -> WorkflowDefinition {
    WorkflowDefinition::new(&format!(
        r#"{{"nodes":[{{"name":"{node}","type":"n8n-nodes-base.set","typeVersion":1,"position":[0,0],"parameters":{{}}}}],"connections":{{}}}}"#
    ))
    .unwrap()
}

pub(super) fn new(unit: &mut dyn UnitOfWork, text: &str) -> Redefinition {
    let id = unit.ids().fresh();
    Workflow::create(id, name(text), definition("A"), None, unit.now())
}

pub(super) fn new_of(unit: &mut dyn UnitOfWork, source: SourceId, id: &str) -> Redefinition {
    let mut made = new(unit, id);
    made.workflow.source = Some(source);
    made.workflow.external_id = Some(external(id));
    made
}

pub(super) fn patched(workflow: &Workflow, patch: &WorkflowPatch) -> Workflow {
    workflow.patched(patch, workflow.updated_at).unwrap()
}

pub(super) async fn created(f: &Fixture, ctx: &Context, text: &str) -> Workflow {
    let mut unit = f.unit(ctx).await;
    let made = new(&mut *unit, text);
    unit.workflows().insert(&made).await.unwrap();
    unit.commit().await.unwrap();
    made.workflow
}

pub(super) async fn names(unit: &mut dyn UnitOfWork, filter: &WorkflowFilter) -> Vec<String> {
    let page = unit.workflows().page(filter, &all()).await.unwrap();
    page.items
        .into_iter()
        .map(|workflow| workflow.name.to_string())
        .collect()
}

async fn a_workflow_is_read_back_as_it_was_written(f: Fixture) {
    let ctx = f.tenant("t").await;
    let source = registered(&f, &ctx, "main").await.id;
    let mut unit = f.unit(&ctx).await;
    let plain = new(&mut *unit, "plain");
    let mut full = new_of(&mut *unit, source, "nCMf 7ñ");
    let patch = WorkflowPatch::new()
        .name(name("Pedidos ÁÉ"))
        .description(Some("line\n\tline"))
        .unwrap()
        .settings(Document::new("settings", json!({"executionOrder": "v1", "n": [1.5]})).unwrap())
        .tags(Tags::new(["z", "a b", "é,{}\"\\", "NULL"]).unwrap())
        .active(true);
    full.workflow = patched(&full.workflow, &patch);
    unit.workflows().insert(&plain).await.unwrap();
    unit.workflows().insert(&full).await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = f.unit(&ctx).await;
    for made in [plain, full] {
        let id = made.workflow.id;
        let got = unit.workflows().get(id).await.unwrap();
        assert_eq!(got, Some(made.workflow));
        let version = unit.workflows().version(id, 1).await.unwrap();
        assert_eq!(version, Some(made.version));
        assert_eq!(unit.workflows().version(id, 2).await.unwrap(), None);
    }
    let ghost = unit.ids().fresh();
    assert_eq!(unit.workflows().get(ghost).await.unwrap(), None);
    assert_eq!(unit.workflows().version(ghost, 1).await.unwrap(), None);
}

async fn a_definition_is_kept_to_the_byte(f: Fixture) {
    let ctx = f.tenant("t").await;
    let text = r#" { "nodes" : [{"parameters":{"b":1,"a":"\u0000 \ud800","a":1e400},
        "name":"A","type":"x.y","typeVersion":3.40,"position":[0,-0.0]}],"connections":{ },
        "meta" : 9007199254740993 }"#;
    let odd = WorkflowDefinition::new(text).unwrap();
    let mut unit = f.unit(&ctx).await;
    let made = Workflow::create(unit.ids().fresh(), name("odd"), odd, None, unit.now());
    unit.workflows().insert(&made).await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = f.unit(&ctx).await;
    let version = unit.workflows().version(made.workflow.id, 1).await.unwrap();
    assert_eq!(version.unwrap().definition.as_str(), text);
}

async fn who_made_it_is_a_person_of_the_tenant(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let source = registered(&f, &one, "main").await.id;
    let ana = Some(f.user(&one, "ana@one.example").await.id);
    let mut unit = f.unit(&one).await;
    let by = |unit: &mut dyn UnitOfWork, person| {
        let mut made = new_of(unit, source, "w1");
        made.workflow.created_by = person;
        made.version.created_by = person;
        made
    };
    let made = by(&mut *unit, ana);
    unit.workflows().insert(&made).await.unwrap();
    let mut next = made
        .workflow
        .redefined(definition("B"), ana, unit.now())
        .unwrap()
        .unwrap();
    let stored = unit.workflows().redefine(&next).await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = f.unit(&one).await;
    let version = unit.workflows().version(stored.id, 2).await.unwrap();
    assert_eq!((stored.created_by, version.unwrap().created_by), (ana, ana));

    let theirs = Some(f.user(&two, "bea@two.example").await.id);
    let ghost = Some(unit.ids().fresh());
    for stranger in [theirs, ghost] {
        let mut unit = f.unit(&one).await;
        let mut made = by(&mut *unit, stranger);
        made.workflow.external_id = Some(external("w2"));
        fails(
            unit.workflows().insert(&made).await,
            StoreErrorKind::NotFound,
        );
        let mut unit = f.unit(&one).await;
        fails(
            unit.workflows().ensure_external(&[made]).await,
            StoreErrorKind::NotFound,
        );
        next.workflow.revision = stored.revision;
        next.workflow.version = 3;
        next.version.version = 3;
        next.version.created_by = stranger;
        let mut unit = f.unit(&one).await;
        fails(
            unit.workflows().redefine(&next).await,
            StoreErrorKind::NotFound,
        );
    }
}

async fn an_update_names_the_revision_it_has_read(f: Fixture) {
    let ctx = f.tenant("t").await;
    let workflow = created(&f, &ctx, "before").await;
    f.clock.advance(TimeDelta::hours(1));
    let mut unit = f.unit(&ctx).await;
    let patch = WorkflowPatch::new()
        .name(name("After"))
        .description(Some("why"))
        .unwrap()
        .settings(Document::new("settings", json!({"a": 1})).unwrap())
        .tags(Tags::new(["t"]).unwrap())
        .active(true);
    let wish = workflow.patched(&patch, unit.now()).unwrap();
    assert_eq!(wish.updated_at, unit.now());
    let stored = unit.workflows().update(&wish).await.unwrap();
    let expected = Workflow {
        revision: 2,
        ..wish.clone()
    };
    assert_eq!(stored, expected);
    assert_eq!(
        unit.workflows().get(workflow.id).await.unwrap(),
        Some(expected)
    );
    fails(
        unit.workflows().update(&wish).await,
        StoreErrorKind::Conflict,
    );
    let mut unit = f.unit(&ctx).await;
    let ghost = new(&mut *unit, "ghost").workflow;
    fails(
        unit.workflows().update(&ghost).await,
        StoreErrorKind::Conflict,
    );
}

async fn an_update_leaves_the_origin_and_the_definition(f: Fixture) {
    let ctx = f.tenant("t").await;
    let source = registered(&f, &ctx, "main").await.id;
    let workflow = created(&f, &ctx, "w").await;
    let mut unit = f.unit(&ctx).await;
    let wish = Workflow {
        source: Some(source),
        external_id: Some(external("w1")),
        version: 7,
        definition_sha256: definition("B").sha256().to_owned(),
        created_at: workflow.created_at - TimeDelta::days(1),
        ..workflow.clone()
    };
    let stored = unit.workflows().update(&wish).await.unwrap();
    assert_eq!(
        stored,
        Workflow {
            revision: 2,
            ..workflow
        }
    );
}

async fn a_new_version_keeps_the_former_ones(f: Fixture) {
    let ctx = f.tenant("t").await;
    let workflow = created(&f, &ctx, "w").await;
    f.clock.advance(TimeDelta::hours(1));
    let mut unit = f.unit(&ctx).await;
    let renamed = patched(&workflow, &WorkflowPatch::new().name(name("renamed")));
    let next = renamed
        .redefined(definition("B"), None, unit.now())
        .unwrap()
        .unwrap();
    let stored = unit.workflows().redefine(&next).await.unwrap();
    let expected = Workflow {
        revision: 2,
        ..next.workflow.clone()
    };
    assert_eq!(stored, expected);
    assert_eq!((stored.version, stored.name.as_str()), (2, "renamed"));
    unit.commit().await.unwrap();
    let mut unit = f.unit(&ctx).await;
    assert_eq!(
        unit.workflows().get(workflow.id).await.unwrap(),
        Some(expected)
    );
    for (number, expected) in [(1, definition("A")), (2, definition("B"))] {
        let version = unit.workflows().version(workflow.id, number).await.unwrap();
        let version = version.unwrap();
        assert_eq!((version.version, version.definition), (number, expected));
    }
    // A version is written once.
    let mut again = next;
    again.workflow = stored;
    fails(
        unit.workflows().redefine(&again).await,
        StoreErrorKind::AlreadyExists,
    );
}

async fn of_two_new_versions_at_once_one_wins(f: Fixture) {
    let ctx = f.tenant("t").await;
    let workflow = created(&f, &ctx, "w").await;
    let (mut a, mut b) = (f.unit(&ctx).await, f.unit(&ctx).await);
    let version = |node| {
        workflow
            .redefined(definition(node), None, workflow.updated_at)
            .unwrap()
            .unwrap()
    };
    a.workflows().redefine(&version("a")).await.unwrap();
    let second = async {
        b.workflows().redefine(&version("b")).await?;
        b.commit().await
    };
    let (first, second) = join!(a.commit(), second);
    first.unwrap();
    fails(second, StoreErrorKind::Conflict);
    let mut unit = f.unit(&ctx).await;
    let stored = unit.workflows().version(workflow.id, 2).await.unwrap();
    assert_eq!(stored, Some(version("a").version));
}

async fn an_archived_workflow_is_not_active(f: Fixture) {
    let ctx = f.tenant("t").await;
    let workflow = created(&f, &ctx, "w").await;
    let mut unit = f.unit(&ctx).await;
    let both = Workflow {
        archived_at: Some(unit.now()),
        active: true,
        ..workflow
    };
    fails(
        unit.workflows().update(&both).await,
        StoreErrorKind::Invalid,
    );
}

async fn a_workflow_on_which_nothing_depends_is_deleted_with_its_versions(f: Fixture) {
    let ctx = f.tenant("t").await;
    let source = registered(&f, &ctx, "main").await.id;
    let mut unit = f.unit(&ctx).await;
    let made = new_of(&mut *unit, source, "w1");
    unit.workflows().insert(&made).await.unwrap();
    let next = made
        .workflow
        .redefined(definition("B"), None, unit.now())
        .unwrap()
        .unwrap();
    let stored = unit.workflows().redefine(&next).await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = f.unit(&ctx).await;
    let dependents = unit.workflows().dependents(stored.id).await.unwrap();
    assert_eq!(dependents, Dependents::default());
    unit.workflows().delete(&stored).await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = f.unit(&ctx).await;
    assert_eq!(unit.workflows().get(stored.id).await.unwrap(), None);
    for number in [1, 2] {
        let version = unit.workflows().version(stored.id, number).await.unwrap();
        assert_eq!(version, None);
    }
    assert!(
        names(&mut *unit, &WorkflowFilter::default())
            .await
            .is_empty()
    );
    // Its external id is free again.
    let again = new_of(&mut *unit, source, "w1");
    unit.workflows().insert(&again).await.unwrap();
    unit.commit().await.unwrap();
}

async fn a_deletion_names_the_revision_it_has_read(f: Fixture) {
    let ctx = f.tenant("t").await;
    let workflow = created(&f, &ctx, "w").await;
    let mut unit = f.unit(&ctx).await;
    unit.workflows().update(&workflow).await.unwrap();
    fails(
        unit.workflows().delete(&workflow).await,
        StoreErrorKind::Conflict,
    );
    drop(unit);
    let mut unit = f.unit(&ctx).await;
    unit.workflows().delete(&workflow).await.unwrap();
    fails(
        unit.workflows().delete(&workflow).await,
        StoreErrorKind::Conflict,
    );
}

async fn a_workflow_with_executions_is_not_deleted(f: Fixture) {
    let ctx = f.tenant("t").await;
    let place = place(&f, &ctx, "p").await;
    for id in ["1", "2"] {
        one(&f, &ctx, &place, id).await;
    }
    let mut unit = f.unit(&ctx).await;
    let stored = unit.workflows().get(place.workflow).await.unwrap().unwrap();
    let dependents = unit.workflows().dependents(stored.id).await.unwrap();
    assert_eq!(dependents, Dependents::new(2));
    fails(
        unit.workflows().delete(&stored).await,
        StoreErrorKind::Conflict,
    );
    let mut unit = f.unit(&ctx).await;
    let version = unit.workflows().version(stored.id, 1).await.unwrap();
    assert!(version.is_some());
    assert_eq!(unit.workflows().get(stored.id).await.unwrap(), Some(stored));
}

async fn of_a_deletion_and_a_new_execution_at_once_one_wins(f: Fixture) {
    let ctx = f.tenant("t").await;
    for deletion_first in [true, false] {
        let place = place(&f, &ctx, &format!("p {deletion_first}")).await;
        let (mut a, mut b) = (f.unit(&ctx).await, f.unit(&ctx).await);
        let stored = a.workflows().get(place.workflow).await.unwrap().unwrap();
        let run = ended(
            &mut *b,
            &place,
            &report("1", ExecutionStatus::Success, 0, 5),
        );
        // The second may wait for the first, so both go on at the same time.
        let (deleted, run) = if deletion_first {
            a.workflows().delete(&stored).await.unwrap();
            let second = async {
                b.executions().insert(&[run]).await?;
                b.commit().await
            };
            let (first, second) = join!(a.commit(), second);
            first.unwrap();
            fails(second, StoreErrorKind::NotFound);
            (true, None)
        } else {
            b.executions()
                .insert(std::slice::from_ref(&run))
                .await
                .unwrap();
            let second = async {
                a.workflows().delete(&stored).await?;
                a.commit().await
            };
            let (first, second) = join!(b.commit(), second);
            first.unwrap();
            fails(second, StoreErrorKind::Conflict);
            (false, Some(run))
        };
        let mut unit = f.unit(&ctx).await;
        let left = unit.workflows().get(stored.id).await.unwrap();
        assert_eq!(left.is_none(), deleted);
        let executions = unit.workflows().dependents(stored.id).await.unwrap();
        assert_eq!(executions, Dependents::new(u64::from(run.is_some())));
    }
}

async fn every_change_is_in_the_trail(f: Fixture) {
    let ctx = f.tenant("t").await;
    let source = registered(&f, &ctx, "main").await.id;
    let mut unit = f.unit(&ctx).await;
    let mut made = new_of(&mut *unit, source, "W1");
    made.workflow.settings =
        Document::new("settings", json!({"token": "s3cret", "order": "v1"})).unwrap();
    made.workflow.tags = Tags::new(["a", "b"]).unwrap();
    let made = unit.workflows().ensure_external(&[made]).await.unwrap();
    unit.workflows().update(&made[0]).await.unwrap();
    unit.commit().await.unwrap();
    f.clock.advance(TimeDelta::microseconds(1_500));
    let mut unit = f.unit(&ctx).await;
    let stored = unit.workflows().get(made[0].id).await.unwrap().unwrap();
    let renamed = patched(&stored, &WorkflowPatch::new().name(name("Renamed")));
    let next = renamed
        .redefined(definition("B"), None, unit.now())
        .unwrap()
        .unwrap();
    let stored = unit.workflows().redefine(&next).await.unwrap();
    let archived = stored.archived(unit.now()).unwrap();
    let archived = unit.workflows().update(&archived).await.unwrap();
    unit.workflows().delete(&archived).await.unwrap();
    unit.commit().await.unwrap();

    let (first, second) = (definition("A"), definition("B"));
    let hash = crate::domain::audit::secret_hash(&json!("s3cret"));
    let row = json!({
        "id": stored.id, "source_id": source, "n8n_id": "W1", "name": "W1", "name_key": "w1",
        "description": null, "settings": {"token": hash, "order": "v1"}, "tags": ["a", "b"],
        "active": false, "version": 1, "definition_sha256": first.sha256(), "created_by": null,
        "archived_at": null, "created_at": "2026-11-15T12:00:00+00:00",
    });
    let at = "2026-11-15T12:00:00.0015+00:00";
    let mut last = row.clone();
    last["name"] = json!("Renamed");
    last["name_key"] = json!("renamed");
    last["version"] = json!(2);
    last["definition_sha256"] = json!(second.sha256());
    last["archived_at"] = json!(at);
    assert_eq!(
        trail(&f, &ctx, "workflows").await,
        [
            (json!({}), row),
            (
                json!({"name": "W1", "name_key": "w1", "version": 1, "definition_sha256": first.sha256()}),
                json!({"name": "Renamed", "name_key": "renamed", "version": 2, "definition_sha256": second.sha256()}),
            ),
            (json!({"archived_at": null}), json!({"archived_at": at})),
            (last, json!({})),
        ]
    );
}

async fn a_workflow_of_another_tenant_is_not_there(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let source = registered(&f, &two, "main").await.id;
    let mut unit = f.unit(&two).await;
    let theirs = new_of(&mut *unit, source, "w1");
    unit.workflows().insert(&theirs).await.unwrap();
    unit.commit().await.unwrap();
    let id = theirs.workflow.id;

    let mut unit = f.unit(&one).await;
    assert_eq!(unit.workflows().get(id).await.unwrap(), None);
    assert_eq!(unit.workflows().version(id, 1).await.unwrap(), None);
    let versions = unit.workflows().versions(id, &all()).await.unwrap();
    assert_eq!(versions.items, []);
    let found = unit
        .workflows()
        .find_by_external(source, &[external("w1")])
        .await;
    assert_eq!(found.unwrap(), []);
    assert!(
        names(&mut *unit, &WorkflowFilter::default())
            .await
            .is_empty()
    );
    assert!(unit.workflows().dependents(id).await.unwrap().is_empty());
    let next = theirs
        .workflow
        .redefined(definition("B"), None, unit.now())
        .unwrap()
        .unwrap();
    fails(
        unit.workflows().update(&theirs.workflow).await,
        StoreErrorKind::Conflict,
    );
    let mut unit = f.unit(&one).await;
    fails(
        unit.workflows().redefine(&next).await,
        StoreErrorKind::Conflict,
    );
    let mut unit = f.unit(&one).await;
    fails(
        unit.workflows().delete(&theirs.workflow).await,
        StoreErrorKind::Conflict,
    );
    // Its id is as free as any: nothing tells that it exists.
    let mut unit = f.unit(&one).await;
    let own = Workflow::create(id, name("own"), definition("B"), None, unit.now());
    unit.workflows().insert(&own).await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = f.unit(&two).await;
    let stored = unit.workflows().get(id).await.unwrap();
    assert_eq!(stored, Some(theirs.workflow));
    let version = unit.workflows().version(id, 1).await.unwrap();
    assert_eq!(version, Some(theirs.version));
}

async fn a_unit_that_failed_is_spent(f: Fixture) {
    let ctx = f.tenant("t").await;
    let mut unit = f.unit(&ctx).await;
    let made = new(&mut *unit, "w");
    unit.workflows().insert(&made).await.unwrap();
    fails(
        unit.workflows().insert(&made).await,
        StoreErrorKind::AlreadyExists,
    );
    let id = made.workflow.id;
    fails(unit.workflows().dependents(id).await, StoreErrorKind::Spent);
    fails(
        unit.workflows().ensure_external(&[]).await,
        StoreErrorKind::Spent,
    );
    fails(unit.commit().await, StoreErrorKind::Spent);
    assert_eq!(f.unit(&ctx).await.workflows().get(id).await.unwrap(), None);
}

//! Workflows by their sources' ids, many at a time.

use futures_util::join;
use serde_json::json;

use super::fixture::{Fixture, all, fails};
use super::sources::registered;
use super::workflows::{created, definition, external, name, names, new, new_of, patched};
use crate::domain::context::Context;
use crate::domain::json::Document;
use crate::domain::workflow::{Tags, Workflow, WorkflowPatch};
use crate::store::{AuditFilter, StoreErrorKind, StoreResult, WorkflowFilter, on_conflict};

super::list_cases! { "workflow_external":
    an_external_id_belongs_to_one_workflow_of_its_source,
    a_workflow_refers_to_sources_of_its_tenant_only,
    a_source_and_an_external_id_go_together,
    workflows_are_found_by_their_sources_ids,
    ensure_writes_what_is_missing_and_answers_all,
    ensured_workflows_are_recorded_in_the_order_of_their_keys,
    ensure_refuses_what_it_cannot_tell_apart,
    two_units_that_ensure_one_workflow_make_one,
    an_ensured_workflow_may_be_changed_by_others,
}

async fn an_external_id_belongs_to_one_workflow_of_its_source(f: Fixture) {
    let ctx = f.tenant("t").await;
    let main = registered(&f, &ctx, "main").await.id;
    let other = registered(&f, &ctx, "other").await.id;
    let mut unit = f.unit(&ctx).await;
    for source in [main, other] {
        let made = new_of(&mut *unit, source, "w1");
        unit.workflows().insert(&made).await.unwrap();
    }
    unit.commit().await.unwrap();
    let mut unit = f.unit(&ctx).await;
    let twin = new_of(&mut *unit, main, "w1");
    fails(
        unit.workflows().insert(&twin).await,
        StoreErrorKind::AlreadyExists,
    );
    let stored = created(&f, &ctx, "x").await;
    let mut unit = f.unit(&ctx).await;
    let again = Workflow::create(stored.id, name("y"), definition("A"), None, unit.now());
    fails(
        unit.workflows().insert(&again).await,
        StoreErrorKind::AlreadyExists,
    );
}

async fn a_workflow_refers_to_sources_of_its_tenant_only(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let theirs = registered(&f, &two, "main").await.id;
    let ghost = f.unit(&one).await.ids().fresh();
    for source in [theirs, ghost] {
        let mut unit = f.unit(&one).await;
        let made = new_of(&mut *unit, source, "w1");
        fails(
            unit.workflows().insert(&made).await,
            StoreErrorKind::NotFound,
        );
        let mut unit = f.unit(&one).await;
        fails(
            unit.workflows().ensure_external(&[made]).await,
            StoreErrorKind::NotFound,
        );
    }
    let nobody = Context::system(f.platform().await.ids().fresh());
    let mut unit = f.unit(&nobody).await;
    let made = new(&mut *unit, "w");
    fails(
        unit.workflows().insert(&made).await,
        StoreErrorKind::NotFound,
    );
}

async fn a_source_and_an_external_id_go_together(f: Fixture) {
    let ctx = f.tenant("t").await;
    let source = registered(&f, &ctx, "main").await.id;
    let mut unit = f.unit(&ctx).await;
    let mut made = new_of(&mut *unit, source, "w1");
    made.workflow.external_id = None;
    fails(
        unit.workflows().insert(&made).await,
        StoreErrorKind::Invalid,
    );
    let mut unit = f.unit(&ctx).await;
    let mut made = new_of(&mut *unit, source, "w1");
    made.workflow.source = None;
    fails(
        unit.workflows().insert(&made).await,
        StoreErrorKind::Invalid,
    );
}

async fn workflows_are_found_by_their_sources_ids(f: Fixture) {
    let ctx = f.tenant("t").await;
    let main = registered(&f, &ctx, "main").await.id;
    let other = registered(&f, &ctx, "other").await.id;
    let mut unit = f.unit(&ctx).await;
    let mut made = Vec::new();
    for (source, id) in [(main, "b"), (main, "B"), (main, "a"), (other, "c")] {
        let new = new_of(&mut *unit, source, id);
        unit.workflows().insert(&new).await.unwrap();
        made.push(new.workflow);
    }
    let wanted = ["b", "c", "a", "b", "B", "gone"].map(external);
    let found = unit.workflows().find_by_external(main, &wanted).await;
    let expected = [made[1].clone(), made[2].clone(), made[0].clone()];
    assert_eq!(found.unwrap(), expected, "each once, by code point");
    let none = unit.workflows().find_by_external(main, &[]).await.unwrap();
    assert_eq!(none, []);
    let ghost = unit.ids().fresh();
    let none = unit.workflows().find_by_external(ghost, &wanted).await;
    assert_eq!(none.unwrap(), []);
}

async fn ensure_writes_what_is_missing_and_answers_all(f: Fixture) {
    let ctx = f.tenant("t").await;
    let main = registered(&f, &ctx, "main").await.id;
    let other = registered(&f, &ctx, "other").await.id;
    let mut unit = f.unit(&ctx).await;
    let there = new_of(&mut *unit, main, "b");
    unit.workflows().insert(&there).await.unwrap();
    unit.commit().await.unwrap();

    let mut unit = f.unit(&ctx).await;
    let mut given = Vec::new();
    for (source, id) in [
        (main, "c"),
        (main, "b"),
        (other, "b"),
        (main, "a"),
        (main, "c"),
    ] {
        given.push(new_of(&mut *unit, source, id));
    }
    given[0].workflow = patched(
        &given[0].workflow,
        &WorkflowPatch::new()
            .description(Some("d"))
            .unwrap()
            .settings(Document::new("settings", json!({"k": null})).unwrap())
            .tags(Tags::new(["z", "a", "{\"},"]).unwrap()),
    );
    let answered = unit.workflows().ensure_external(&given).await.unwrap();
    let expected = [
        &given[0].workflow,
        &there.workflow,
        &given[2].workflow,
        &given[3].workflow,
        &given[0].workflow,
    ];
    assert_eq!(answered.iter().collect::<Vec<_>>(), expected);
    let again = unit.workflows().ensure_external(&given).await.unwrap();
    assert_eq!(again, answered, "a repetition changes nothing");
    let nothing = unit.workflows().ensure_external(&[]).await.unwrap();
    assert_eq!(nothing, []);
    unit.commit().await.unwrap();

    let mut unit = f.unit(&ctx).await;
    let whole = unit
        .workflows()
        .page(&WorkflowFilter::default(), &all())
        .await;
    assert_eq!(whole.unwrap().items.len(), 4);
    for made in [&given[0], &given[2], &given[3]] {
        let id = made.workflow.id;
        let version = unit.workflows().version(id, 1).await.unwrap();
        assert_eq!(version.as_ref(), Some(&made.version));
    }
    let unused = given[1].workflow.id;
    assert_eq!(unit.workflows().version(unused, 1).await.unwrap(), None);
}

async fn ensured_workflows_are_recorded_in_the_order_of_their_keys(f: Fixture) {
    let ctx = f.tenant("t").await;
    let source = registered(&f, &ctx, "main").await.id;
    let mut unit = f.unit(&ctx).await;
    let new = ["c", "a", "b"].map(|id| new_of(&mut *unit, source, id));
    unit.workflows().ensure_external(&new).await.unwrap();
    unit.commit().await.unwrap();
    let filter = AuditFilter {
        resource_type: Some("workflows".to_owned()),
        ..AuditFilter::default()
    };
    let mut unit = f.unit(&ctx).await;
    let newest_first = unit.audit().page(&filter, &all()).await.unwrap().items;
    let recorded = newest_first.iter().map(|entry| &entry.new_values["n8n_id"]);
    assert_eq!(recorded.collect::<Vec<_>>(), ["c", "b", "a"]);
}

async fn ensure_refuses_what_it_cannot_tell_apart(f: Fixture) {
    let ctx = f.tenant("t").await;
    let source = registered(&f, &ctx, "main").await.id;
    let mut unit = f.unit(&ctx).await;
    let given = [new_of(&mut *unit, source, "a"), new(&mut *unit, "no id")];
    fails(
        unit.workflows().ensure_external(&given).await,
        StoreErrorKind::Invalid,
    );
    let stored = created(&f, &ctx, "x").await;
    let mut unit = f.unit(&ctx).await;
    let mut given = new_of(&mut *unit, source, "a");
    given.workflow.id = stored.id;
    given.version.workflow = stored.id;
    fails(
        unit.workflows().ensure_external(&[given]).await,
        StoreErrorKind::AlreadyExists,
    );
}

async fn two_units_that_ensure_one_workflow_make_one(f: Fixture) {
    let ctx = f.tenant("t").await;
    let source = registered(&f, &ctx, "main").await.id;
    let (mut a, mut b) = (f.unit(&ctx).await, f.unit(&ctx).await);
    let given_a = [new_of(&mut *a, source, "w1"), new_of(&mut *a, source, "w2")];
    let given_b = [new_of(&mut *b, source, "w2"), new_of(&mut *b, source, "w1")];
    let in_a = a.workflows().ensure_external(&given_a).await.unwrap();
    // The second may wait for the first, so both go on at the same time.
    let second = async {
        let in_b = b.workflows().ensure_external(&given_b).await?;
        b.commit().await?;
        StoreResult::Ok(in_b)
    };
    let (first, second) = join!(a.commit(), second);
    first.unwrap();
    let in_b = match second {
        // What a caller does who retries the whole unit.
        Err(error) if error.kind() == StoreErrorKind::Conflict => {
            on_conflict(&*f.store, || async {
                let mut unit = f.store.begin(&ctx).await?;
                let answered = unit.workflows().ensure_external(&given_b).await?;
                unit.commit().await?;
                StoreResult::Ok(answered)
            })
            .await
            .unwrap()
        }
        answered => answered.unwrap(),
    };
    assert_eq!(in_b, [in_a[1].clone(), in_a[0].clone()]);
    assert_eq!(
        names(&mut *f.unit(&ctx).await, &WorkflowFilter::default()).await,
        ["w1", "w2"]
    );
}

async fn an_ensured_workflow_may_be_changed_by_others(f: Fixture) {
    let ctx = f.tenant("t").await;
    let source = registered(&f, &ctx, "main").await.id;
    let mut unit = f.unit(&ctx).await;
    let made = new_of(&mut *unit, source, "w1");
    unit.workflows().insert(&made).await.unwrap();
    unit.commit().await.unwrap();
    let (mut a, mut b) = (f.unit(&ctx).await, f.unit(&ctx).await);
    let given = [new_of(&mut *a, source, "w1"), new_of(&mut *a, source, "w2")];
    a.workflows().ensure_external(&given).await.unwrap();
    let renamed = patched(&made.workflow, &WorkflowPatch::new().name(name("renamed")));
    b.workflows().update(&renamed).await.unwrap();
    b.commit().await.unwrap();
    a.commit().await.unwrap();
    let mut unit = f.unit(&ctx).await;
    assert_eq!(
        names(&mut *unit, &WorkflowFilter::default()).await,
        ["renamed", "w2"]
    );
}

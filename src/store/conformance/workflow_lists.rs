//! Lists of workflows and of versions, and what is searched in them.

use chrono::TimeDelta;

use super::fixture::{Fixture, fails};
use super::sources::registered;
use super::workflows::{created, definition, names, new, new_of};
use crate::domain::page::{Cursor, PageRequest};
use crate::domain::workflow::{Tags, VersionSummary, Workflow};
use crate::store::{Archive, StoreErrorKind, WorkflowFilter};

super::list_cases! { "workflow_lists":
    versions_are_listed_newest_first_page_by_page,
    workflows_are_listed_by_name_page_by_page,
    workflows_are_searched_by_name,
    workflows_are_searched_by_tags_state_and_source,
    the_archive_is_hidden_unless_it_is_asked_for,
}

async fn versions_are_listed_newest_first_page_by_page(f: Fixture) {
    let ctx = f.tenant("t").await;
    created(&f, &ctx, "another").await;
    let mut workflow = created(&f, &ctx, "w").await;
    let mut expected = vec![VersionSummary {
        version: 1,
        definition_sha256: definition("A").sha256().to_owned(),
        created_at: workflow.created_at,
        created_by: None,
    }];
    for node in ["B", "C", "D", "E"] {
        f.clock.advance(TimeDelta::hours(1));
        let mut unit = f.unit(&ctx).await;
        let next = workflow
            .redefined(definition(node), None, unit.now())
            .unwrap()
            .unwrap();
        expected.insert(0, VersionSummary::from(&next.version));
        workflow = unit.workflows().redefine(&next).await.unwrap();
        unit.commit().await.unwrap();
    }
    let mut unit = f.unit(&ctx).await;
    let (mut rows, mut request) = (Vec::new(), PageRequest::first(2));
    loop {
        let page = unit.workflows().versions(workflow.id, &request).await;
        let page = page.unwrap();
        rows.extend(page.items);
        let Some(next) = page.next else { break };
        request = PageRequest::first(2).after(next);
    }
    assert_eq!(rows, expected);
    let foreign = PageRequest::first(1).after(Cursor::after(&"x"));
    fails(
        unit.workflows().versions(workflow.id, &foreign).await,
        StoreErrorKind::Invalid,
    );
}

async fn workflows_are_listed_by_name_page_by_page(f: Fixture) {
    let ctx = f.tenant("t").await;
    for text in ["b", "Zeta", "a_b", "A b", "éa", "same", "Same", "a"] {
        created(&f, &ctx, text).await;
    }
    let mut unit = f.unit(&ctx).await;
    let (mut rows, mut request) = (Vec::new(), PageRequest::first(3));
    loop {
        let page = unit
            .workflows()
            .page(&WorkflowFilter::default(), &request)
            .await
            .unwrap();
        rows.extend(page.items);
        let Some(next) = page.next else { break };
        request = PageRequest::first(3).after(next);
    }
    let keys: Vec<_> = rows.iter().map(Workflow::name_key).collect();
    assert_eq!(keys, ["a", "a b", "a_b", "b", "same", "same", "zeta", "éa"]);
    assert!(rows[4].id < rows[5].id);
    let foreign = PageRequest::first(1).after(Cursor::after(&"x"));
    fails(
        unit.workflows()
            .page(&WorkflowFilter::default(), &foreign)
            .await,
        StoreErrorKind::Invalid,
    );
}

async fn workflows_are_searched_by_name(f: Fixture) {
    let ctx = f.tenant("t").await;
    for text in [
        "Order intake",
        "reORDER 100%",
        "a_b",
        "axb",
        "ΟΔΟΣ",
        "back\\slash",
    ] {
        created(&f, &ctx, text).await;
    }
    let mut unit = f.unit(&ctx).await;
    for (text, expected) in [
        ("order", vec!["Order intake", "reORDER 100%"]),
        ("ORDER I", vec!["Order intake"]),
        ("%", vec!["reORDER 100%"]),
        ("a_b", vec!["a_b"]),
        ("\\", vec!["back\\slash"]),
        ("δοσ", vec!["ΟΔΟΣ"]),
        ("ΔΟΣ", vec!["ΟΔΟΣ"]),
        ("nothing", vec![]),
    ] {
        let filter = WorkflowFilter {
            name: Some(text.to_owned()),
            ..WorkflowFilter::default()
        };
        assert_eq!(names(&mut *unit, &filter).await, expected, "{text}");
    }
    let empty = WorkflowFilter {
        name: Some(String::new()),
        ..WorkflowFilter::default()
    };
    assert_eq!(names(&mut *unit, &empty).await.len(), 6);
}

async fn workflows_are_searched_by_tags_state_and_source(f: Fixture) {
    let ctx = f.tenant("t").await;
    let source = registered(&f, &ctx, "main").await.id;
    let mut unit = f.unit(&ctx).await;
    for (text, tags, active, from) in [
        ("1", &["billing", "prod"][..], true, true),
        ("2", &["prod"], false, false),
        ("3", &["Prod"], true, false),
        ("4", &[], false, true),
    ] {
        let mut made = if from {
            new_of(&mut *unit, source, text)
        } else {
            new(&mut *unit, text)
        };
        made.workflow.tags = Tags::new(tags).unwrap();
        made.workflow.active = active;
        unit.workflows().insert(&made).await.unwrap();
    }
    let by_tags = |tags: &[&str]| WorkflowFilter {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..WorkflowFilter::default()
    };
    let by_active = |active| WorkflowFilter {
        active: Some(active),
        ..WorkflowFilter::default()
    };
    let by_source = |source| WorkflowFilter {
        source: Some(source),
        ..WorkflowFilter::default()
    };
    let ghost = unit.ids().fresh();
    for (filter, expected) in [
        (by_tags(&["prod"]), vec!["1", "2"]),
        (by_tags(&["prod", "billing"]), vec!["1"]),
        (by_tags(&["prod", "prod"]), vec!["1", "2"]),
        (by_tags(&["pro"]), vec![]),
        (by_active(true), vec!["1", "3"]),
        (by_active(false), vec!["2", "4"]),
        (by_source(source), vec!["1", "4"]),
        (by_source(ghost), vec![]),
        (
            WorkflowFilter {
                active: Some(true),
                ..by_tags(&["prod"])
            },
            vec!["1"],
        ),
    ] {
        assert_eq!(names(&mut *unit, &filter).await, expected, "{filter:?}");
    }
}

async fn the_archive_is_hidden_unless_it_is_asked_for(f: Fixture) {
    let ctx = f.tenant("t").await;
    created(&f, &ctx, "live").await;
    let old = created(&f, &ctx, "old").await;
    let mut unit = f.unit(&ctx).await;
    let archived = old.archived(unit.now()).unwrap();
    let archived = unit.workflows().update(&archived).await.unwrap();
    assert_eq!(archived.archived_at, Some(unit.now()));
    for (archive, expected) in [
        (Archive::Hidden, vec!["live"]),
        (Archive::Only, vec!["old"]),
        (Archive::Included, vec!["live", "old"]),
    ] {
        let filter = WorkflowFilter {
            archive,
            ..WorkflowFilter::default()
        };
        assert_eq!(names(&mut *unit, &filter).await, expected);
    }
    let back = archived.unarchived(unit.now()).unwrap();
    unit.workflows().update(&back).await.unwrap();
    assert_eq!(
        names(&mut *unit, &WorkflowFilter::default()).await,
        ["live", "old"]
    );
}

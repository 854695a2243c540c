//! The registry of sources.

use serde_json::{Value, json};

use super::fixture::{Fixture, all, fails};
use crate::domain::audit::{AuditEntry, secret_hash};
use crate::domain::context::Context;
use crate::domain::page::{Cursor, PageRequest};
use crate::domain::source::{Source, SourceSecret};
use crate::domain::text::Name;
use crate::store::{AuditFilter, StoreErrorKind, UnitOfWork};

super::list_cases! { "sources":
    a_source_is_read_back_as_it_was_written,
    a_name_belongs_to_one_source_of_the_tenant,
    a_source_needs_its_tenant,
    sources_are_listed_by_name_page_by_page,
    an_update_names_the_revision_it_has_read,
    a_source_of_another_tenant_is_not_there,
    every_change_is_in_the_trail_and_no_secret,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Registers a source in a unit of the caller's.
pub(super) async fn register(unit: &mut dyn UnitOfWork, text: &str) -> Source {
    let source = Source::register(unit.ids().fresh(), name(text), unit.now());
    unit.sources().insert(&source).await.unwrap();
    source
}

/// Registers a source.
pub(super) async fn registered(f: &Fixture, ctx: &Context, text: &str) -> Source {
    let mut unit = f.unit(ctx).await;
    let source = register(&mut *unit, text).await;
    unit.commit().await.unwrap();
    source
}

async fn a_source_is_read_back_as_it_was_written(f: Fixture) {
    let ctx = f.tenant("t").await;
    let mut unit = f.unit(&ctx).await;
    let plain = register(&mut *unit, "plain").await;
    let secret = SourceSecret::from_random([9; 32]);
    let locked = Source::register(unit.ids().fresh(), name("Über"), unit.now())
        .with_secret(&secret, unit.now());
    unit.sources().insert(&locked).await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = f.unit(&ctx).await;
    for source in [&plain, &locked] {
        let got = unit.sources().get(source.id).await.unwrap();
        assert_eq!(got.as_ref(), Some(source));
        let found = unit.sources().find_by_name(&source.name).await.unwrap();
        assert_eq!(found.as_ref(), Some(source));
    }
    let other_case = unit.sources().find_by_name(&name("Plain")).await.unwrap();
    assert_eq!(other_case, None);
    let ghost = unit.ids().fresh();
    assert_eq!(unit.sources().get(ghost).await.unwrap(), None);
}

async fn a_name_belongs_to_one_source_of_the_tenant(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let main = registered(&f, &one, "main").await;
    registered(&f, &two, "main").await;
    let mut unit = f.unit(&one).await;
    let rival = Source::register(unit.ids().fresh(), name("main"), unit.now());
    fails(
        unit.sources().insert(&rival).await,
        StoreErrorKind::AlreadyExists,
    );
    let mut unit = f.unit(&one).await;
    let same_id = Source::register(main.id, name("other"), unit.now());
    fails(
        unit.sources().insert(&same_id).await,
        StoreErrorKind::AlreadyExists,
    );
    let spare = registered(&f, &one, "spare").await;
    let mut unit = f.unit(&one).await;
    let greedy = spare.renamed(&main.name, unit.now()).unwrap();
    fails(
        unit.sources().update(&greedy).await,
        StoreErrorKind::AlreadyExists,
    );
    // A name that was given up can be taken.
    let mut unit = f.unit(&one).await;
    let moved = main.renamed(&name("moved"), unit.now()).unwrap();
    unit.sources().update(&moved).await.unwrap();
    unit.sources().update(&greedy).await.unwrap();
    unit.commit().await.unwrap();
}

async fn a_source_needs_its_tenant(f: Fixture) {
    let ghost = Context::system(f.platform().await.ids().fresh());
    let mut unit = f.unit(&ghost).await;
    let source = Source::register(unit.ids().fresh(), name("main"), unit.now());
    fails(
        unit.sources().insert(&source).await,
        StoreErrorKind::NotFound,
    );
}

async fn sources_are_listed_by_name_page_by_page(f: Fixture) {
    let ctx = f.tenant("t").await;
    for text in ["b", "Z", "a b", "é", "a", "a_b"] {
        registered(&f, &ctx, text).await;
    }
    let mut unit = f.unit(&ctx).await;
    let (mut names, mut request) = (Vec::new(), PageRequest::first(2));
    loop {
        let page = unit.sources().page(&request).await.unwrap();
        names.extend(page.items.into_iter().map(|source| source.name.to_string()));
        let Some(next) = page.next else { break };
        request = PageRequest::first(2).after(next);
    }
    assert_eq!(names, ["Z", "a", "a b", "a_b", "b", "é"], "by code point");
    let foreign = PageRequest::first(1).after(Cursor::after(&7));
    fails(unit.sources().page(&foreign).await, StoreErrorKind::Invalid);
}

async fn an_update_names_the_revision_it_has_read(f: Fixture) {
    let ctx = f.tenant("t").await;
    let source = registered(&f, &ctx, "main").await;
    f.clock.advance(chrono::TimeDelta::hours(1));
    let mut unit = f.unit(&ctx).await;
    let wish = source
        .renamed(&name("other"), unit.now())
        .unwrap()
        .with_secret(&SourceSecret::from_random([1; 32]), unit.now());
    let stored = unit.sources().update(&wish).await.unwrap();
    let expected = Source {
        revision: 2,
        ..wish.clone()
    };
    assert_eq!(stored, expected);
    assert_eq!(unit.sources().get(source.id).await.unwrap(), Some(expected));
    assert_eq!(
        unit.sources().find_by_name(&source.name).await.unwrap(),
        None
    );
    fails(unit.sources().update(&wish).await, StoreErrorKind::Conflict);
    let mut unit = f.unit(&ctx).await;
    let ghost = Source::register(unit.ids().fresh(), name("ghost"), unit.now());
    fails(
        unit.sources().update(&ghost).await,
        StoreErrorKind::Conflict,
    );
}

async fn a_source_of_another_tenant_is_not_there(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let theirs = registered(&f, &two, "theirs").await;
    let mut unit = f.unit(&one).await;
    assert_eq!(unit.sources().get(theirs.id).await.unwrap(), None);
    assert_eq!(
        unit.sources().find_by_name(&theirs.name).await.unwrap(),
        None
    );
    assert!(unit.sources().page(&all()).await.unwrap().items.is_empty());
    let hijacked = theirs.renamed(&name("hijacked"), unit.now()).unwrap();
    fails(
        unit.sources().update(&hijacked).await,
        StoreErrorKind::Conflict,
    );
    // Its id and its name are as free as any: nothing tells that it exists.
    let mut unit = f.unit(&one).await;
    unit.sources().insert(&theirs).await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = f.unit(&two).await;
    assert_eq!(unit.sources().get(theirs.id).await.unwrap(), Some(theirs));
}

/// The trail of one kind of row, oldest first, as (old, new).
pub(super) async fn trail(f: &Fixture, ctx: &Context, table: &str) -> Vec<(Value, Value)> {
    let filter = AuditFilter {
        resource_type: Some(table.to_owned()),
        ..AuditFilter::default()
    };
    let mut unit = f.unit(ctx).await;
    let entries = unit.audit().page(&filter, &all()).await.unwrap().items;
    let values = |entry: AuditEntry| (entry.old_values.into(), entry.new_values.into());
    entries.into_iter().rev().map(values).collect()
}

async fn every_change_is_in_the_trail_and_no_secret(f: Fixture) {
    let ctx = f.tenant("t").await;
    let source = registered(&f, &ctx, "main").await;
    let secret = SourceSecret::from_random([5; 32]);
    let mut unit = f.unit(&ctx).await;
    let locked = source.with_secret(&secret, unit.now());
    unit.sources().update(&locked).await.unwrap();
    unit.commit().await.unwrap();
    let kept = secret_hash(&json!(secret.hash().as_str()));
    assert_eq!(
        trail(&f, &ctx, "n8n_sources").await,
        [
            (
                json!({}),
                json!({
                    "id": source.id, "name": "main", "secret_hash": null,
                    "created_at": "2026-11-15T12:00:00+00:00",
                })
            ),
            (json!({"secret_hash": null}), json!({"secret_hash": kept})),
        ]
    );
}

//! Tenants: the operator's directory, the tenant's own view, and its trail.

use serde_json::{Value, json};

use super::fixture::{Fixture, all, domain, fails};
use crate::domain::audit::AuditAction;
use crate::domain::context::{Actor, Context, Origin, PlatformContext, ServiceName};
use crate::domain::json::Document;
use crate::domain::money::Currency;
use crate::domain::page::{Cursor, PageRequest};
use crate::domain::tenancy::{Locale, NewTenant, Tenant, TenantStatus, time_zone};
use crate::domain::text::Name;
use crate::domain::time::Period;
use crate::store::{AuditFilter, StoreErrorKind};

super::list_cases! { "tenants":
    a_tenant_is_read_back_as_it_was_written,
    a_domain_belongs_to_one_tenant,
    a_freed_domain_can_be_taken_again,
    an_update_names_the_revision_it_has_read,
    a_tenant_changes_only_its_profile,
    tenants_are_listed_page_by_page,
    a_cursor_of_another_list_is_refused,
    a_tenant_sees_only_itself,
    every_change_is_in_the_trail,
    the_trail_keeps_no_secret,
    the_trail_belongs_to_its_tenant,
    the_trail_is_read_by_filter_and_page,
    a_rolled_back_change_is_not_in_the_trail,
}

fn full(name: &str) -> NewTenant {
    let mut new = NewTenant::named(name).unwrap();
    new.domain = Some(domain(&format!("{name}.example")));
    new.profile.settings = Document::new(
        "settings",
        json!({"theme": {"dark": true}, "n": [1, 2.5, null]}),
    )
    .unwrap();
    new.profile.time_zone = time_zone("Europe/Madrid").unwrap();
    new.profile.locale = Locale::new("es-ES").unwrap();
    new.profile.currency = Currency::EUR;
    new.limits.0.insert("workflows".to_owned(), Some(5));
    new.limits.0.insert("users".to_owned(), None);
    new
}

async fn a_tenant_is_read_back_as_it_was_written(f: Fixture) {
    let tenant = f.create(full("acme")).await.unwrap();
    let mut unit = f.platform().await;
    assert_eq!(
        unit.tenants().get(tenant.id).await.unwrap().as_ref(),
        Some(&tenant)
    );
    let found = unit
        .tenants()
        .find_by_domain(&domain("ACME.example."))
        .await
        .unwrap();
    assert_eq!(found.as_ref(), Some(&tenant));
    let mut unit = f.unit(&Context::system(tenant.id)).await;
    assert_eq!(unit.tenants().get().await.unwrap(), Some(tenant));
}

async fn a_domain_belongs_to_one_tenant(f: Fixture) {
    f.create(full("acme")).await.unwrap();
    let mut rival = full("rival");
    rival.domain = Some(domain("acme.example"));
    fails(f.create(rival).await, StoreErrorKind::AlreadyExists);
    let other = f.create(full("other")).await.unwrap();
    let mut unit = f.platform().await;
    let greedy = Tenant {
        domain: Some(domain("acme.example")),
        ..other.clone()
    };
    fails(
        unit.tenants().update(&greedy).await,
        StoreErrorKind::AlreadyExists,
    );
    let again = NewTenant {
        id: Some(other.id),
        domain: None,
        ..full("again")
    };
    fails(f.create(again).await, StoreErrorKind::AlreadyExists);
}

async fn a_freed_domain_can_be_taken_again(f: Fixture) {
    let first = f.create(full("acme")).await.unwrap();
    let mut unit = f.platform().await;
    let moved = Tenant {
        domain: Some(domain("moved.example")),
        ..first
    };
    let moved = unit.tenants().update(&moved).await.unwrap();
    unit.commit().await.unwrap();
    let second = f.create(full("acme")).await.unwrap();
    let mut unit = f.platform().await;
    let found = unit
        .tenants()
        .find_by_domain(&domain("acme.example"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.id, second.id);
    let none = unit
        .tenants()
        .update(&Tenant {
            domain: None,
            ..moved
        })
        .await
        .unwrap();
    assert_eq!(none.domain, None);
    assert_eq!(
        unit.tenants()
            .find_by_domain(&domain("moved.example"))
            .await
            .unwrap(),
        None
    );
}

async fn an_update_names_the_revision_it_has_read(f: Fixture) {
    let tenant = f.create(full("acme")).await.unwrap();
    assert_eq!(tenant.revision, 1);
    let mut unit = f.platform().await;
    let next = unit.tenants().update(&tenant).await.unwrap();
    assert_eq!(next.revision, 2);
    fails(
        unit.tenants().update(&tenant).await,
        StoreErrorKind::Conflict,
    );
    let ghost = Tenant {
        id: f.platform().await.ids().fresh(),
        ..tenant
    };
    fails(
        f.platform().await.tenants().update(&ghost).await,
        StoreErrorKind::Conflict,
    );
}

async fn a_tenant_changes_only_its_profile(f: Fixture) {
    let tenant = f.create(full("acme")).await.unwrap();
    let mut unit = f.unit(&Context::system(tenant.id)).await;
    let mut wish = tenant.clone();
    wish.profile.name = Name::new("Acme S.A.").unwrap();
    wish.status = TenantStatus::Closed;
    wish.limits.0.clear();
    wish.domain = None;
    let stored = unit.tenants().update_profile(&wish).await.unwrap();
    assert_eq!(
        stored,
        Tenant {
            profile: wish.profile,
            revision: 2,
            ..tenant
        }
    );
}

async fn tenants_are_listed_page_by_page(f: Fixture) {
    for number in 0..5 {
        f.tenant(&format!("tenant {number}")).await;
    }
    let mut unit = f.platform().await;
    let whole = unit.tenants().page(None, &all()).await.unwrap();
    assert_eq!((whole.items.len(), whole.next.clone()), (5, None));
    let mut stopped = whole.items[1].clone();
    stopped.suspend(unit.now()).unwrap();
    unit.tenants().update(&stopped).await.unwrap();
    let suspended = unit
        .tenants()
        .page(Some(TenantStatus::Suspended), &all())
        .await
        .unwrap();
    assert_eq!(suspended.items.len(), 1);
    let (mut ids, mut request) = (Vec::new(), PageRequest::first(2));
    loop {
        let page = unit.tenants().page(None, &request).await.unwrap();
        ids.extend(page.items.iter().map(|tenant| tenant.id));
        let Some(next) = page.next else { break };
        request = PageRequest::first(2).after(next);
    }
    assert_eq!(
        ids,
        whole
            .items
            .iter()
            .map(|tenant| tenant.id)
            .collect::<Vec<_>>()
    );
    assert!(ids.is_sorted());
}

async fn a_cursor_of_another_list_is_refused(f: Fixture) {
    let ctx = f.tenant("t").await;
    let foreign = PageRequest::first(1).after(Cursor::from_text("not a cursor"));
    fails(
        f.platform().await.tenants().page(None, &foreign).await,
        StoreErrorKind::Invalid,
    );
    let mut unit = f.unit(&ctx).await;
    fails(
        unit.audit().page(&AuditFilter::default(), &foreign).await,
        StoreErrorKind::Invalid,
    );
}

async fn a_tenant_sees_only_itself(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let mut unit = f.unit(&one).await;
    let own = unit.tenants().get().await.unwrap().unwrap();
    assert_eq!(own.id, one.tenant());
    // The unit's tenant counts, whatever the row says.
    let mut foreign = f.unit(&two).await.tenants().get().await.unwrap().unwrap();
    foreign.profile.name = Name::new("hijacked").unwrap();
    let written = unit.tenants().update_profile(&foreign).await.unwrap();
    assert_eq!(written.id, one.tenant());
    unit.commit().await.unwrap();
    let other = f.unit(&two).await.tenants().get().await.unwrap().unwrap();
    assert_eq!(other.profile.name.as_str(), "two");
}

async fn every_change_is_in_the_trail(f: Fixture) {
    let origin = Origin {
        ip: Some("2001:db8::1".parse().unwrap()),
        user_agent: Some("cli'; DROP TABLE x; --\u{7}".to_owned()),
        session: Some("s1".to_owned()),
        request: None,
    };
    let operator = PlatformContext::new(Actor::Service(ServiceName::new("admin ñ").unwrap()))
        .with_origin(&origin)
        .because("sign-up");
    let mut unit = f.store.begin_platform(&operator).await.unwrap();
    let tenant = Tenant::create(unit.ids().fresh(), full("acme"), unit.now());
    unit.tenants().insert(&tenant).await.unwrap();
    let mut changed = tenant.clone();
    changed.suspend(unit.now()).unwrap();
    unit.tenants().update(&changed).await.unwrap();
    unit.commit().await.unwrap();

    let mut unit = f.unit(&Context::system(tenant.id)).await;
    let trail = unit
        .audit()
        .page(&AuditFilter::default(), &all())
        .await
        .unwrap()
        .items;
    assert_eq!(trail.len(), 2);
    let (update, insert) = (&trail[0], &trail[1]);
    assert_eq!(
        (update.action, insert.action),
        (AuditAction::Update, AuditAction::Insert)
    );
    assert_eq!(
        Value::from(update.old_values.clone()),
        json!({"status": "active"})
    );
    assert_eq!(
        Value::from(update.new_values.clone()),
        json!({"status": "suspended"})
    );
    assert!(insert.old_values.is_empty());
    assert_eq!(
        Value::from(insert.new_values.clone()),
        json!({
            "id": tenant.id, "name": "acme", "domain": "acme.example", "plan_type": "starter",
            "status": "active", "settings": {"theme": {"dark": true}, "n": [1, 2.5, null]},
            "limits": {"workflows": 5, "users": null}, "time_zone": "Europe/Madrid",
            "locale": "es-ES", "currency": "EUR", "created_at": "2026-11-15T12:00:00+00:00",
        })
    );
    for entry in [update, insert] {
        assert_eq!(entry.actor, *operator.actor());
        assert_eq!(entry.resource_type, "tenants");
        assert_eq!(entry.resource_id, Some(tenant.id.as_uuid()));
        assert_eq!(entry.origin, origin.cleaned());
        assert_eq!(entry.reason.as_deref(), Some("sign-up"));
        assert_eq!(entry.created_at, Fixture::start());
    }
}

async fn the_trail_keeps_no_secret(f: Fixture) {
    let mut new = NewTenant::named("acme").unwrap();
    let settings = json!({
        "smtp": {"host": "h", "PassWord": "hunter2"},
        "keys": [{"api_key": {"v": [1e21, -2.5e-8, "x", true], "längst": {}}, "id": 1}],
        "token": null, "tokenUsage": 7
    });
    new.profile.settings = Document::new("settings", settings).unwrap();
    let tenant = f.create(new).await.unwrap();
    let mut unit = f.unit(&Context::system(tenant.id)).await;
    let trail = unit
        .audit()
        .page(&AuditFilter::default(), &all())
        .await
        .unwrap()
        .items;
    let kept = &trail[0].new_values["settings"];
    assert_eq!(
        kept,
        &crate::domain::audit::hide_secrets(&tenant.profile.settings.to_value())
    );
    assert_eq!(kept["smtp"]["host"], "h");
    assert_eq!(kept["tokenUsage"], 7);
    assert!(
        kept["keys"][0]["api_key"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    assert!(!kept.to_string().contains("hunter2"));
}

async fn the_trail_belongs_to_its_tenant(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let mut unit = f.unit(&one).await;
    let trail = unit
        .audit()
        .page(&AuditFilter::default(), &all())
        .await
        .unwrap()
        .items;
    assert_eq!(trail.len(), 1);
    assert_eq!(trail[0].resource_id, Some(one.tenant().as_uuid()));
    let foreign = AuditFilter {
        resource_id: Some(two.tenant().as_uuid()),
        ..AuditFilter::default()
    };
    assert!(
        unit.audit()
            .page(&foreign, &all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

async fn the_trail_is_read_by_filter_and_page(f: Fixture) {
    let ctx = f.tenant("0").await;
    let user = Context::user(ctx.tenant(), f.platform().await.ids().fresh());
    for number in 1..=4 {
        f.clock.advance(chrono::TimeDelta::hours(1));
        let mut unit = f.unit(if number % 2 == 0 { &user } else { &ctx }).await;
        let mut tenant = unit.tenants().get().await.unwrap().unwrap();
        tenant.profile.name = Name::new(&number.to_string()).unwrap();
        unit.tenants().update_profile(&tenant).await.unwrap();
        unit.commit().await.unwrap();
    }
    let mut unit = f.unit(&ctx).await;
    let names = |entries: &[crate::domain::audit::AuditEntry]| {
        entries
            .iter()
            .map(|e| e.new_values["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let whole = unit
        .audit()
        .page(&AuditFilter::default(), &all())
        .await
        .unwrap();
    assert_eq!(
        names(&whole.items),
        ["4", "3", "2", "1", "0"],
        "newest first"
    );
    let by_user = AuditFilter {
        user: user.actor().user(),
        ..AuditFilter::default()
    };
    assert_eq!(
        names(&unit.audit().page(&by_user, &all()).await.unwrap().items),
        ["4", "2"]
    );
    let hour = |n| Fixture::start() + chrono::TimeDelta::hours(n);
    let period = Some(Period::new(hour(1), hour(3)).unwrap());
    let in_period = AuditFilter {
        period,
        ..AuditFilter::default()
    };
    assert_eq!(
        names(&unit.audit().page(&in_period, &all()).await.unwrap().items),
        ["2", "1"]
    );
    let other = AuditFilter {
        resource_type: Some("users".into()),
        ..AuditFilter::default()
    };
    assert!(
        unit.audit()
            .page(&other, &all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let first = unit
        .audit()
        .page(&AuditFilter::default(), &PageRequest::first(3))
        .await
        .unwrap();
    let rest = PageRequest::first(3).after(first.next.unwrap());
    let rest = unit
        .audit()
        .page(&AuditFilter::default(), &rest)
        .await
        .unwrap();
    assert_eq!(
        (names(&first.items).len(), names(&rest.items)),
        (3, vec!["1".into(), "0".into()])
    );
}

async fn a_rolled_back_change_is_not_in_the_trail(f: Fixture) {
    let ctx = f.tenant("before").await;
    let mut unit = f.unit(&ctx).await;
    let mut tenant = unit.tenants().get().await.unwrap().unwrap();
    tenant.profile.name = Name::new("after").unwrap();
    unit.tenants().update_profile(&tenant).await.unwrap();
    assert_eq!(
        unit.audit()
            .page(&AuditFilter::default(), &all())
            .await
            .unwrap()
            .items
            .len(),
        2
    );
    drop(unit);
    let mut unit = f.unit(&ctx).await;
    assert_eq!(
        unit.audit()
            .page(&AuditFilter::default(), &all())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
}

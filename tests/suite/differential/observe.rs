//! Everything that a store lets anybody read, in words.

use serde::Serialize;
use serde_json::{Value, json};
use tenantry::domain::audit::AuditEntry;
use tenantry::domain::execution::PayloadKind;
use tenantry::domain::ids::TenantId;
use tenantry::domain::page::{Page, PageRequest};
use tenantry::domain::time::{Month, Period};
use tenantry::store::{
    Archive, AuditFilter, EventFilter, ExecutionFilter, UsageFilter, WorkflowFilter,
};
use tenantry::{Context, PlatformContext, Result};

use super::apply::told;
use super::side::{Known, Side};
use super::values;
use crate::backend::noon;

/// What is seen, line by line: the question and the answer.
pub(super) type Seen = Vec<(String, Value)>;

/// All pages of a list, cursors included.
async fn pages<T: Serialize>(list: impl AsyncFn(PageRequest) -> Result<Page<T>>) -> Value {
    let mut request = PageRequest::first(3);
    let mut pages = Vec::new();
    loop {
        let page = list(request).await;
        let next = page.as_ref().ok().and_then(|page| page.next.clone());
        pages.push(told(page));
        match next {
            Some(next) if pages.len() < 200 => request = PageRequest::first(3).after(next),
            _ => return json!(pages),
        }
    }
}

pub(super) async fn everything(side: &Side, known: &Known) -> Seen {
    let mut seen = platform(side).await;
    for tenant in known.tenants() {
        seen.extend(tenant_s(side, known, *tenant).await);
    }
    seen
}

async fn platform(side: &Side) -> Seen {
    let (app, ctx) = (&side.app, PlatformContext::system());
    let (tenants, outbox) = (app.tenants(), app.outbox());
    let mut seen: Seen = vec![
        (
            "tenants".into(),
            pages(async |page| tenants.list(&ctx, None, &page).await).await,
        ),
        (
            "parked".into(),
            pages(async |page| outbox.parked(&ctx, &page).await).await,
        ),
        ("lag".into(), told(outbox.lag(&ctx).await)),
    ];
    for pick in 0..2 {
        let found = tenants.find_by_domain(&ctx, &values::domain(pick)).await;
        seen.push((format!("domain {pick}"), told(found)));
    }
    seen
}

async fn tenant_s(side: &Side, known: &Known, tenant: TenantId) -> Seen {
    let ctx = Context::system(tenant);
    let known = &known.chosen_by(tenant);
    let mut seen = Vec::new();
    seen.extend(people(side, known, &ctx).await);
    seen.extend(workflows(side, known, &ctx).await);
    seen.extend(executions(side, known, &ctx).await);
    seen.extend(usage(side, known, &ctx).await);
    seen.extend(events(side, known, &ctx).await);
    for (question, _) in &mut seen {
        *question = format!("{tenant}: {question}");
    }
    seen
}

async fn people(side: &Side, known: &Known, ctx: &Context) -> Seen {
    let (users, roles, sources) = (side.app.users(), side.app.roles(), side.app.sources());
    let mut seen: Seen = vec![
        ("own".into(), told(side.app.tenants().own(ctx).await)),
        (
            "users".into(),
            pages(async |page| users.list(ctx, None, &page).await).await,
        ),
        (
            "roles".into(),
            pages(async |page| roles.list(ctx, &page).await).await,
        ),
        (
            "sources".into(),
            pages(async |page| sources.list(ctx, &page).await).await,
        ),
    ];
    for user in known.users() {
        let rights = told(roles.rights_of(ctx, *user).await);
        let grants = told(roles.grants_of(ctx, *user).await);
        seen.push((format!("rights of {user}"), json!([rights, grants])));
    }
    for pick in 0..6 {
        let role = values::role(pick);
        let holders = pages(async |page| roles.holders(ctx, &role, &page).await).await;
        seen.push((format!("holders of {role}"), holders));
    }
    for pick in 0..4 {
        let email = values::email(pick);
        let found = told(users.find_by_email(ctx, &email).await);
        seen.push((format!("user {email}"), found));
    }
    for pick in 0..3 {
        let found = users.find_by_subject(ctx, &values::subject(pick)).await;
        seen.push((format!("subject {pick}"), told(found)));
    }
    seen
}

async fn workflows(side: &Side, known: &Known, ctx: &Context) -> Seen {
    let workflows = side.app.workflows();
    let mut filters = vec![
        WorkflowFilter {
            archive: Archive::Included,
            ..Default::default()
        },
        WorkflowFilter {
            archive: Archive::Only,
            ..Default::default()
        },
        WorkflowFilter {
            active: Some(true),
            ..Default::default()
        },
        WorkflowFilter {
            tags: vec!["a".into(), "b".into()],
            ..Default::default()
        },
        WorkflowFilter {
            source: Some(known.source(0)),
            ..Default::default()
        },
    ];
    filters.extend(
        ["ÄRG", "order", "%", "i\u{307}o", "_"].map(|name| WorkflowFilter {
            name: Some(name.to_owned()),
            ..Default::default()
        }),
    );
    let mut seen = Seen::new();
    for filter in filters {
        let found = pages(async |page| workflows.search(ctx, &filter, &page).await).await;
        seen.push((format!("workflows {filter:?}"), found));
    }
    for id in known.workflows() {
        let versions = pages(async |page| workflows.versions(ctx, *id, &page).await).await;
        seen.push((format!("versions of {id}"), versions));
        for version in 1..4 {
            let found = workflows.version(ctx, *id, version).await;
            let found = told(found.map(|found| {
                let text = found.definition.as_str().to_owned();
                (text, found.created_at, found.created_by, found.version)
            }));
            seen.push((format!("version {version} of {id}"), found));
        }
        let dependents = told(workflows.dependents(ctx, *id).await);
        seen.push((format!("dependents of {id}"), dependents));
    }
    seen
}

async fn executions(side: &Side, known: &Known, ctx: &Context) -> Seen {
    let executions = side.app.executions();
    let filters = [
        ExecutionFilter::default(),
        ExecutionFilter {
            workflow: Some(known.workflow(0)),
            ..Default::default()
        },
        ExecutionFilter {
            status: Some("success".parse().unwrap()),
            ..Default::default()
        },
        ExecutionFilter {
            started: Some(month()),
            ..Default::default()
        },
    ];
    let mut seen = Seen::new();
    for filter in filters {
        let found = pages(async |page| executions.list(ctx, &filter, &page).await).await;
        seen.push((format!("executions {filter:?}"), found));
    }
    let performance = executions.performance(ctx, None, &month()).await;
    seen.push(("performance".into(), told(performance)));
    for id in known.executions() {
        for kind in [PayloadKind::Input, PayloadKind::Output, PayloadKind::Error] {
            let payload = executions.payload(ctx, *id, kind).await;
            let payload = told(payload.map(|payload| payload.map(|p| p.as_str().to_owned())));
            seen.push((format!("{kind:?} of {id}"), payload));
        }
        let errors = told(executions.errors(ctx, *id).await);
        let contradictions = told(executions.contradictions(ctx, *id).await);
        seen.push((format!("errors of {id}"), json!([errors, contradictions])));
    }
    seen
}

async fn usage(side: &Side, known: &Known, ctx: &Context) -> Seen {
    let metering = side.app.metering();
    let november = UsageFilter {
        period: Some(month()),
        meter: Some(values::meter(0)),
        ..Default::default()
    };
    let mut seen: Seen = vec![("meters".into(), told(metering.meters(ctx).await))];
    for filter in [UsageFilter::default(), november] {
        let found = pages(async |page| metering.list(ctx, &filter, &page).await).await;
        seen.push((format!("usage {filter:?}"), found));
    }
    let around = Period::new(values::instant(3), values::instant(0)).unwrap();
    for period in [month(), around] {
        let totals = metering.totals(ctx, &period, None).await;
        seen.push((format!("totals of {period:?}"), told(totals)));
    }
    for id in known.all_usage() {
        let corrections = told(metering.corrections(ctx, *id).await);
        seen.push((format!("corrections of {id}"), corrections));
    }
    seen
}

async fn events(side: &Side, known: &Known, ctx: &Context) -> Seen {
    let (analytics, outbox) = (side.app.analytics(), side.app.outbox());
    let of_user = EventFilter {
        user: Some(known.user(0)),
        period: Some(month()),
        ..Default::default()
    };
    let mut seen = Seen::new();
    for filter in [EventFilter::default(), of_user] {
        let found = pages(async |page| analytics.list(ctx, &filter, &page).await).await;
        seen.push((format!("events {filter:?}"), found));
    }
    for pick in 0..3 {
        let key = values::key(pick);
        let past = pages(async |page| outbox.history(ctx, &key, &page).await).await;
        seen.push((format!("history of {key}"), past));
    }
    seen.push(("audit".into(), audit(side, ctx).await));
    seen
}

/// The trail without the ids of its entries, which a backend makes as it likes.
async fn audit(side: &Side, ctx: &Context) -> Value {
    let mut unit = side.app.store().begin(ctx).await.unwrap();
    let all = PageRequest::first(PageRequest::MAX);
    let page = unit.audit().page(&AuditFilter::default(), &all).await;
    let without_id = |entry: AuditEntry| {
        let mut entry = json!(entry);
        entry.as_object_mut().unwrap().remove("id");
        entry.as_object_mut().unwrap().remove("database_user");
        entry
    };
    let page = page.map_err(tenantry::Error::from);
    told(page.map(|page| page.items.into_iter().map(without_id).collect::<Vec<_>>()))
}

fn month() -> Period {
    let month = Month::of(noon());
    Period::new(month.start(), month.end()).unwrap()
}

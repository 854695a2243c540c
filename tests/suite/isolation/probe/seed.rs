//! Rows of one tenant in every table that a tenant has, written as a host writes them.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use serde_json::json;
use tenantry::domain::access::Permission;
use tenantry::domain::analytics::{EventData, EventType, NewEvent};
use tenantry::domain::catalogue::{CatalogueDocument, LimitName};
use tenantry::domain::execution::{ErrorEntry, ExecutionMode, ExecutionReport, ExecutionStatus};
use tenantry::domain::identity::{NewUser, Role, RoleName};
use tenantry::domain::ids::SourceId;
use tenantry::domain::json::Document;
use tenantry::domain::metering::{Aggregation, Meter, MeterName, NewUsage};
use tenantry::domain::money::Currency;
use tenantry::domain::outbox::{MessageKey, MessageKind, MessagePayload, OutboxMessage};
use tenantry::domain::payload::{Payload, PayloadPolicy};
use tenantry::domain::subscription::{
    NewSubscription, StripeCustomerId, StripeSubscriptionId, SubscriptionAct,
};
use tenantry::domain::tenancy::{DomainName, NewTenant};
use tenantry::domain::text::{Email, ExternalId, Name, PlanCode, Subject, UsageKey};
use tenantry::domain::workflow::{NewWorkflow, WorkflowDefinition, WorkflowSnapshot};
use tenantry::service::{Delivery, PublishError, Publisher};
use tenantry::{Context, PlatformContext, Tenantry};

use crate::backend::noon;

const NODES: &str = r#"{"nodes": [], "connections": {}}"#;

/// Creates a tenant and fills its tables. Every name has the tenant's own in it, so that a row of
/// one tenant is never taken for a row of the other.
pub(super) async fn tenant(app: &Tenantry, name: &str) -> Context {
    let mut new = NewTenant::named(name).unwrap();
    new.domain = Some(DomainName::new(&format!("{name}.example")).unwrap());
    new.plan = PlanCode::new(&format!("plan of {name}")).unwrap();
    let tenant = app
        .tenants()
        .create(&PlatformContext::system(), new)
        .await
        .unwrap();
    let system = Context::system(tenant.id);
    let owner = people(app, &system, name).await;
    let source = workflows(app, &owner, name).await;
    executions(app, &owner, source, name).await;
    usage(app, &system, name).await;
    prices(app, &system, name).await;
    subscriptions(app, &system, name).await;
    messages(app, &system, name).await;
    limits(app, &system, name).await;
    system
}

/// A limit of the tenant's own plan: a threshold that was told, and something reserved.
async fn limits(app: &Tenantry, system: &Context, name: &str) {
    let limit = LimitName::new(&format!("exports-{name}")).unwrap();
    let limits = app.limits();
    limits.record(system, &limit, 900).await.unwrap();
    let minutes = TimeDelta::minutes(5);
    limits.reserve(system, &limit, 1, minutes).await.unwrap();
}

/// An owner, who gives somebody else a role of the tenant's own. Answers the owner.
async fn people(app: &Tenantry, system: &Context, name: &str) -> Context {
    let person = |who: &str| {
        let mut new = NewUser::new(Email::new(&format!("{who}@{name}.example")).unwrap());
        new.subject = Some(Subject::new(&format!("{name}|{who}")).unwrap());
        new
    };
    let mut first = person("owner");
    first.roles.push(Role::Owner);
    let owner = app.users().create(system, &first).await.unwrap();
    let owner = Context::user(system.tenant(), owner.id);
    let other = app.users().create(&owner, &person("other")).await.unwrap();
    let role = RoleName::new(&format!("readers-{name}")).unwrap();
    let allowed = BTreeSet::from([Permission::WorkflowsRead]);
    app.roles().define(&owner, &role, &allowed).await.unwrap();
    app.roles()
        .grant(&owner, other.id, &Role::Custom(role))
        .await
        .unwrap();
    owner
}

async fn workflows(app: &Tenantry, owner: &Context, name: &str) -> SourceId {
    let source = Name::new(&format!("n8n {name}")).unwrap();
    let source = app.sources().register(owner, source).await.unwrap();
    app.sources()
        .rotate_secret(owner, source.id, source.revision)
        .await
        .unwrap();
    let definition = WorkflowDefinition::new(NODES).unwrap();
    let mut new = NewWorkflow::new(Name::new(name).unwrap(), definition);
    new.origin = Some((source.id, external(name, "made")));
    app.workflows().create(owner, new).await.unwrap();
    source.id
}

async fn executions(app: &Tenantry, owner: &Context, source: SourceId, name: &str) {
    let user = owner.actor().user().unwrap();
    let payload = |text: &str| Payload::new(text, &PayloadPolicy::default()).unwrap();
    let shown = WorkflowSnapshot::new(external(name, "shown"), name, payload(NODES));
    let at = noon() - TimeDelta::hours(1);
    let report = |status| {
        let (id, of) = (external(name, "run"), external(name, "shown"));
        ExecutionReport::new(id, of, status, ExecutionMode::Manual, at)
            .with_stopped_at(at + TimeDelta::seconds(3))
            .with_triggered_by(user)
            .with_input(payload(r#"{"in": 1}"#))
            .with_output(payload(r#"{"out": 2}"#))
            .with_error(payload(r#"{"message": "no"}"#))
            .with_errors([ErrorEntry::new("no", at)])
            .with_snapshot(shown.clone())
    };
    let reports = [
        report(ExecutionStatus::Error),
        report(ExecutionStatus::Crashed),
    ];
    let done = app
        .executions()
        .sync(owner, source, &reports)
        .await
        .unwrap();
    assert_eq!(done.counts().stored, 2, "one end, and its contradiction");
}

async fn usage(app: &Tenantry, system: &Context, name: &str) {
    let meter = MeterName::new(&format!("calls_{name}")).unwrap();
    let defined = Meter::new(meter.clone(), Aggregation::Sum);
    app.metering().define_meter(system, &defined).await.unwrap();
    let key = UsageKey::new(&format!("usage of {name}")).unwrap();
    let item = NewUsage::new(key, meter, 5, noon());
    let receipts = app.metering().record(system, &[item]).await.unwrap();
    let recorded = receipts[0].as_ref().unwrap().id;
    app.metering()
        .void(system, recorded, "wrong")
        .await
        .unwrap();
    let data = Document::new("event data", json!({ "of": name })).unwrap();
    let kind = EventType::new("seen").unwrap();
    let event = NewEvent::new(kind, noon(), EventData::new(&data));
    app.analytics()
        .record(system, std::slice::from_ref(&event))
        .await
        .unwrap();
    app.analytics()
        .record_platform(&PlatformContext::system(), &[event])
        .await
        .unwrap();
}

/// A plan with a price in the book, and another price for this tenant.
async fn prices(app: &Tenantry, system: &Context, name: &str) {
    let document = format!(
        r#"{{"plans": [{{"code": "plan of {name}", "name": "Plan", "interval": "month",
            "limits": {{"exports-{name}": {{"hard": 1000}}}},
            "charges": [{{"code": "base", "name": "Base", "kind": "recurring",
                "prices": {{"EUR": {{"model": {{"type": "flat", "amount": "9"}}}}}}}}]}}]}}"#
    );
    let mut document = CatalogueDocument::from_json(&document).unwrap();
    let operator = PlatformContext::system();
    app.catalogue().import(&operator, &document).await.unwrap();
    let plan = document.plans.remove(0);
    let mut terms = plan.prices[0].terms.clone();
    terms.model = serde_json::from_value(json!({"type": "flat", "amount": "7"})).unwrap();
    app.catalogue()
        .set_override(&operator, system.tenant(), &plan.code, &terms, None)
        .await
        .unwrap();
}

/// A subscription that goes on, and one that left a credit behind.
async fn subscriptions(app: &Tenantry, system: &Context, name: &str) {
    let subscriptions = app.subscriptions();
    let mut new = NewSubscription::to(PlanCode::new(&format!("plan of {name}")).unwrap());
    new.currency = Some(Currency::EUR);
    let kept = subscriptions.start(system, &new).await.unwrap();
    let operator = PlatformContext::system();
    let stripe = StripeSubscriptionId::new(&format!("sub_{name}")).unwrap();
    let customer = StripeCustomerId::new(&format!("cus_{name}")).unwrap();
    let ids = (Some(&stripe), Some(&customer));
    let linked = subscriptions.link(&operator, system.tenant(), kept.id, ids.0, ids.1);
    linked.await.unwrap();
    let ended = subscriptions.start(system, &new).await.unwrap();
    let act = SubscriptionAct::Cancel { credit: true };
    let ended = subscriptions.apply(system, ended.id, None, &act).await;
    assert_eq!(ended.unwrap().lines.len(), 1);
}

/// One message that is published, and one that is not yet.
async fn messages(app: &Tenantry, system: &Context, name: &str) {
    let message = |key: &str| {
        OutboxMessage::new(
            MessageKey::new(&format!("{key} {name}")).unwrap(),
            MessageKind::new("told").unwrap(),
            MessagePayload::new("1").unwrap(),
            noon(),
        )
    };
    app.outbox()
        .send(system, &[message("published")])
        .await
        .unwrap();
    let report = app.relay(Arc::new(Anything)).run_once().await.unwrap();
    assert!(report.published > 0);
    app.outbox()
        .send(system, &[message("waiting")])
        .await
        .unwrap();
}

fn external(name: &str, what: &str) -> ExternalId {
    ExternalId::new(&format!("{what} {name}")).unwrap()
}

/// Takes whatever comes.
struct Anything;

#[async_trait]
impl Publisher for Anything {
    async fn publish(&self, _: &Delivery) -> Result<(), PublishError> {
        Ok(())
    }
}

//! The few values of which histories are made: some equal but for case, some at the edge of what a
//! backend can hold.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use tenantry::domain::access::Permission;
use tenantry::domain::analytics::{EventData, EventType, NewEvent};
use tenantry::domain::context::Origin;
use tenantry::domain::execution::{ErrorEntry, ExecutionMode, ExecutionReport, ExecutionStatus};
use tenantry::domain::identity::{Role, RoleName};
use tenantry::domain::ids::SubscriptionId;
use tenantry::domain::json::Document;
use tenantry::domain::metering::{Aggregation, MeterName, NewUsage};
use tenantry::domain::outbox::{MessageKey, MessageKind, MessagePayload, OutboxMessage};
use tenantry::domain::payload::{Payload, PayloadPolicy};
use tenantry::domain::tenancy::DomainName;
use tenantry::domain::text::{Email, ExternalId, Name, Subject, UniqueValue, UsageKey};
use tenantry::domain::workflow::{Tags, WorkflowDefinition, WorkflowSnapshot};
use uuid::Uuid;

use super::operation::{Event, Report, Snapshot, Usage};
use super::side::Known;
use crate::backend::noon;

fn of<T: Clone>(values: &[T], pick: u8) -> T {
    values[usize::from(pick) % values.len()].clone()
}

/// A name; the last one is refused.
const NAMES: [&str; 7] = ["Orders", "ORDERS", "Ärger", "ärger", "İo", "Sales ñ 😀", ""];

pub(super) fn name(pick: u8) -> Name {
    Name::new(NAMES[usize::from(pick) % 6]).unwrap()
}

pub(super) fn domain(pick: u8) -> DomainName {
    DomainName::new(of(&["acme.example", "globex.example"], pick)).unwrap()
}

pub(super) fn email(pick: u8) -> Email {
    let all = [
        "ana@a.example",
        "ANA@a.example",
        "bo@a.example",
        "Élan@a.example",
    ];
    Email::new(of(&all, pick)).unwrap()
}

pub(super) fn subject(pick: u8) -> Subject {
    Subject::new(of(&["idp|1", "idp|2", "IDP|2"], pick)).unwrap()
}

pub(super) fn role(pick: u8) -> Role {
    let names = ["owner", "admin", "editor", "viewer", "support", "auditor"];
    of(&names, pick).parse().unwrap()
}

pub(super) fn role_name(pick: u8) -> RoleName {
    RoleName::new(of(&["support", "auditor"], pick)).unwrap()
}

pub(super) fn permissions(pick: u8) -> BTreeSet<Permission> {
    let all = Permission::ALL.iter().copied();
    match pick % 6 {
        0 => BTreeSet::new(),
        1 => BTreeSet::from([Permission::UsersManage, Permission::RolesManage]),
        2 => BTreeSet::from([Permission::WorkflowsRead, Permission::WorkflowsWrite]),
        3 => BTreeSet::from([Permission::ExecutionsSync, Permission::UsageRecord]),
        4 => all.filter(|permission| permission.is_read()).collect(),
        _ => all.collect(),
    }
}

pub(super) fn permission(pick: u8) -> Permission {
    of(Permission::ALL, pick)
}

/// JSON in which a backend that parses and prints numbers or texts otherwise would show it.
pub(super) fn document(pick: u8) -> Document {
    let all: [Value; 12] = [
        json!({}),
        json!({"a": 1}),
        json!({"b": 1, "a": [null, true, "x"], "aa": {"z": 1, "y": 2}}),
        json!({"whole": 1.0, "small": 1e-7, "half": 0.5}),
        json!({"large": 1e16, "larger": 1e21}),
        json!({"largest": 1.7e308}),
        json!({"most": u64::MAX, "least": i64::MIN}),
        json!({"text": "ñ 😀 \u{7f} \u{2028} \\ \" /"}),
        json!({"api_key": "one", "nested": [{"token": {"a": 1}, "password": null}]}),
        json!({"API_KEY": "two", "nested": [{"token": "three"}]}),
        json!({"": "", " ": {"": []}}),
        json!({"zero": -0.0, "digits": 0.1_f64 + 0.2}),
    ];
    Document::new("document", of(&all, pick)).unwrap()
}

/// Around noon, in the next and the last month, at their very ends, and where nothing is kept.
pub(super) fn instant(pick: u8) -> DateTime<Utc> {
    noon()
        + of(
            &[
                TimeDelta::zero(),
                TimeDelta::seconds(-1),
                TimeDelta::nanoseconds(-999_999_001),
                TimeDelta::hours(-30),
                TimeDelta::days(-14) - TimeDelta::hours(12),
                TimeDelta::days(-14) - TimeDelta::hours(12) - TimeDelta::microseconds(1),
                TimeDelta::days(-400),
                TimeDelta::seconds(200),
            ],
            pick,
        )
}

pub(super) fn tags(pick: u8) -> Vec<String> {
    let all: [&[&str]; 4] = [&[], &["a"], &["b", "a", "b"], &["A", "ñ"]];
    of(&all, pick).iter().map(|tag| (*tag).to_owned()).collect()
}

pub(super) fn checked_tags(pick: u8) -> Tags {
    Tags::new(tags(pick)).unwrap()
}

/// The last one is no workflow.
const DEFINITIONS: [&str; 5] = [
    r#"{"nodes":[],"connections":{}}"#,
    r#"{"connections":{}, "nodes":[]}"#,
    r#"{"nodes":[{"name":"A","type":"t.a","typeVersion":1,"position":[0,0],"parameters":{"x":1.0}}],"connections":{}}"#,
    r#"{"nodes":[{"name":"A","type":"t.a","typeVersion":1,"position":[0,0],"parameters":{"x":"\u0000\ud800"}}],"connections":{}}"#,
    "[]",
];

pub(super) fn definition(pick: u8) -> WorkflowDefinition {
    WorkflowDefinition::new(DEFINITIONS[usize::from(pick) % 4]).unwrap()
}

pub(super) fn payload(text: &str) -> Payload {
    Payload::new(text, &PayloadPolicy::default()).unwrap()
}

pub(super) fn external(what: &str, pick: u8) -> ExternalId {
    ExternalId::new(&format!("{what}{pick}")).unwrap()
}

pub(super) fn snapshot(of: &Snapshot) -> WorkflowSnapshot {
    let definition = payload(DEFINITIONS[usize::from(of.definition) % 5]);
    let name = NAMES[usize::from(of.name) % 7];
    WorkflowSnapshot::new(external("w", of.workflow), name, definition)
        .with_settings(payload(&document(of.settings).to_text()))
        .with_tags(tags(of.tags))
        .with_active(of.active)
}

pub(super) fn report(of: &Report, known: &Known) -> ExecutionReport {
    let status = ExecutionStatus::ALL.get(usize::from(of.status));
    let modes = [
        ExecutionMode::Webhook,
        ExecutionMode::Manual,
        ExecutionMode::Retry,
        ExecutionMode::Chat,
    ];
    let started = instant(of.started);
    let mut report = ExecutionReport::new(
        external("e", of.execution),
        external("w", of.workflow),
        status.copied().unwrap_or(ExecutionStatus::Unknown),
        modes[usize::from(of.mode) % 4].clone(),
        started,
    )
    .with_ai_calls(of.ai_calls.into());
    if status.is_none() {
        report = report.with_status_text("paused ñ");
    }
    if let Some(took) = of.took {
        let took = [0, 1, 1_500, -20][usize::from(took) % 4];
        report = report.with_stopped_at(started + TimeDelta::milliseconds(took));
    }
    if of.waits {
        report = report.with_wait_till(started + TimeDelta::hours(1));
    }
    if of.payloads & 1 > 0 {
        report = report.with_input(payload(r#"{"in" : 1.0, "password": "x"}"#));
    }
    if of.payloads & 2 > 0 {
        report = report.with_output(payload("[\"\\u0000 \\ud800\",\n1e400]"));
    }
    if of.payloads & 4 > 0 {
        report = report.with_error(payload(r#"{"message":"no"}"#));
    }
    if of.errors > 0 {
        let entry = |n: u8| {
            ErrorEntry::new("it\u{0} failed", started)
                .with_node(&format!("node {n}"))
                .with_description("ñ")
        };
        report = report.with_errors((0..of.errors).map(entry).collect::<Vec<_>>());
    }
    if let Some(user) = of.by {
        report = report.with_triggered_by(known.user(user));
    }
    if of.retry {
        report = report
            .with_retry_of(external("e", 9))
            .with_retry_success(external("e", 8));
    }
    match &of.snapshot {
        Some(shown) => report.with_snapshot(snapshot(&Snapshot {
            workflow: of.workflow,
            ..shown.clone()
        })),
        None => report,
    }
}

/// Built-in meters, the tenant's own, and one that nobody defines.
pub(super) fn meter(pick: u8) -> MeterName {
    let names = ["calls", "seats", "Calls", "executions", "storage", "nobody"];
    MeterName::new(of(&names, pick)).unwrap()
}

pub(super) fn aggregation(pick: u8) -> Aggregation {
    let names = [
        "sum",
        "count",
        "max",
        "latest",
        "unique_count",
        "time_weighted_sum",
        "level",
    ];
    of(&names, pick).parse().unwrap()
}

pub(super) fn usage(of: &Usage) -> NewUsage {
    let quantities = [
        "1",
        "0",
        "2.50",
        "-3",
        "0.000000000001",
        "9999999999999999.999999999999",
        "0.0000000000001",
        "1e-3",
    ];
    let number = |text: &str| {
        let scientific = || Decimal::from_scientific(text);
        text.parse().or_else(|_| scientific()).unwrap()
    };
    let prices = ["0", "0.10", "-1", "1.123456789012"];
    let key = UsageKey::new(&format!("k{}", of.key)).unwrap();
    let quantity: Decimal = number(quantities[usize::from(of.quantity) % 8]);
    let mut usage = NewUsage::new(key, meter(of.meter), quantity, instant(of.at));
    usage.unit_price = of.price.map(|pick| number(prices[usize::from(pick) % 4]));
    usage.unique_value = of
        .unique
        .map(|pick| UniqueValue::new(["a", "A", "ñ"][usize::from(pick) % 3]).unwrap());
    usage.subscription = of
        .subscription
        .map(|pick| SubscriptionId::from_uuid(Uuid::from_u128(u128::from(pick) + 1)));
    usage.metadata = document(of.metadata);
    usage
}

pub(super) fn event(of: &Event, known: &Known) -> NewEvent {
    let kind = EventType::new(["seen", "bought"][usize::from(of.kind) % 2]).unwrap();
    let data = EventData::new(&document(of.data));
    NewEvent {
        user: of.user.map(|pick| known.user(pick)),
        origin: if of.origin {
            origin()
        } else {
            Origin::default()
        },
        key: of.key.map(|pick| external("event", pick)),
        ..NewEvent::new(kind, instant(of.at), data)
    }
}

pub(super) fn origin() -> Origin {
    Origin {
        ip: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))),
        user_agent: Some("Mozilla\u{1} 'ñ' 😀".to_owned()),
        session: Some("s".to_owned()),
        request: Some("r".to_owned()),
    }
}

pub(super) fn key(pick: u8) -> MessageKey {
    MessageKey::new(of(&["one", "two", "ñ"], pick)).unwrap()
}

pub(super) fn message((to, payload): (u8, u8)) -> OutboxMessage {
    let payloads = ["1", r#"{"b": 1, "a" : 1.0}"#, r#""\u0000""#];
    OutboxMessage::new(
        key(to),
        MessageKind::new("told").unwrap(),
        MessagePayload::new(of(&payloads, payload)).unwrap(),
        instant(2),
    )
}

//! The outbox as units of work write it.

use futures_util::join;
use serde_json::json;

use super::fixture::{Fixture, all, fails};
use crate::domain::context::Context;
use crate::domain::ids::LeaseId;
use crate::domain::outbox::{
    Claim, Delivery, LeaseHeld, MessageKey, MessageKind, MessagePayload, OutboxMessage, Settlement,
    StreamId, Then,
};
use crate::domain::page::{Cursor, PageRequest};
use crate::store::{StoreErrorKind, StoreResult, on_conflict};

super::list_cases! { "outbox":
    a_message_comes_out_as_it_was_written,
    a_dropped_unit_publishes_nothing,
    messages_are_published_in_the_order_of_their_unit,
    units_that_change_one_row_publish_one_after_the_other,
    units_that_write_messages_do_not_disturb_each_other,
    a_tenant_that_does_not_exist_writes_no_message,
    the_history_tells_what_was_published_or_skipped,
    the_history_goes_on_behind_the_last_number_seen,
    a_key_of_two_tenants_is_two_keys,
}

pub(super) fn key(text: &str) -> MessageKey {
    MessageKey::new(text).unwrap()
}

pub(super) fn stream(ctx: &Context, text: &str) -> StreamId {
    StreamId {
        tenant: ctx.tenant(),
        key: key(text),
    }
}

/// A message under a key that tells a number.
pub(super) fn message(under: &str, number: usize) -> OutboxMessage {
    OutboxMessage::new(
        key(under),
        MessageKind::new("counted").unwrap(),
        MessagePayload::of(&number).unwrap(),
        Fixture::start(),
    )
}

/// Messages under a key that tell the numbers from 1 on.
pub(super) fn messages(under: &str, count: usize) -> Vec<OutboxMessage> {
    (1..=count).map(|number| message(under, number)).collect()
}

pub(super) fn number(delivery: &Delivery) -> usize {
    delivery.payload.as_str().parse().unwrap()
}

/// What a claim has of each key, in the order of the claim: the key, and its numbers.
pub(super) fn by_key(claim: &Claim) -> Vec<(&str, Vec<i64>)> {
    claim
        .deliveries
        .chunk_by(|a, b| (a.tenant, &a.key) == (b.tenant, &b.key))
        .map(|of| {
            let sequences = of.iter().map(|delivery| delivery.sequence);
            (of[0].key.as_str(), sequences.collect())
        })
        .collect()
}

impl Fixture {
    pub(super) async fn write(&self, ctx: &Context, messages: &[OutboxMessage]) {
        let mut unit = self.unit(ctx).await;
        unit.outbox().enqueue(messages).await.unwrap();
        unit.commit().await.unwrap();
    }

    /// A claim for half a minute.
    pub(super) async fn claim(&self, limit: usize) -> Claim {
        loop {
            let mut unit = self.platform().await;
            let lease = std::time::Duration::from_secs(30);
            let claim = unit.relay().claim(lease, limit).await.unwrap();
            unit.commit().await.unwrap();
            if claim.is_idle() || !claim.deliveries.is_empty() {
                return claim;
            }
        }
    }

    pub(super) async fn settle(
        &self,
        lease: LeaseId,
        stream: StreamId,
        through: i64,
        then: Then,
    ) -> LeaseHeld {
        let settlement = Settlement {
            stream,
            through,
            then,
        };
        let mut unit = self.platform().await;
        let held = unit.relay().settle(lease, &[settlement]).await.unwrap();
        unit.commit().await.unwrap();
        assert_eq!(held.len(), 1);
        held[0]
    }

    /// Publishes everything that is due, and answers it in its order.
    pub(super) async fn publish(&self) -> Vec<Delivery> {
        let mut published = Vec::new();
        loop {
            let claim = self.claim(100).await;
            if claim.deliveries.is_empty() {
                return published;
            }
            for delivery in &claim.deliveries {
                let stream = StreamId {
                    tenant: delivery.tenant,
                    key: delivery.key.clone(),
                };
                let last = claim
                    .deliveries
                    .iter()
                    .rfind(|other| (other.tenant, &other.key) == (stream.tenant, &stream.key));
                if last == Some(delivery) {
                    let through = delivery.sequence;
                    let held = self.settle(claim.lease, stream, through, Then::GiveBack);
                    assert_eq!(held.await, LeaseHeld::Yes);
                }
            }
            published.extend(claim.deliveries);
        }
    }

    /// Publishes what is before the head of a key, and parks the key for an error.
    pub(super) async fn park(&self, ctx: &Context, under: &str, error: &str) {
        let claim = self.claim(1).await;
        assert_eq!(by_key(&claim).len(), 1);
        let head = &claim.deliveries[0];
        assert_eq!(head.key, key(under));
        let through = head.sequence - 1;
        let held = self.settle(claim.lease, stream(ctx, under), through, Then::park(error));
        assert_eq!(held.await, LeaseHeld::Yes);
    }
}

async fn a_message_comes_out_as_it_was_written(f: Fixture) {
    let ctx = f.tenant("t").await;
    let text = r#" {"nul": "\u0000", "lone": "\ud800", "big": 12345678901234567890.5e400} "#;
    let written = OutboxMessage::new(
        key("workflow:ñ 1"),
        MessageKind::new("execution_complete").unwrap(),
        MessagePayload::new(text).unwrap(),
        Fixture::start() - chrono::TimeDelta::days(400),
    );
    f.write(&ctx, std::slice::from_ref(&written)).await;
    let published = f.publish().await;
    assert_eq!(
        published,
        [Delivery {
            tenant: ctx.tenant(),
            key: written.key().clone(),
            sequence: 1,
            kind: written.kind().clone(),
            payload: written.payload().clone(),
            occurred_at: written.occurred_at(),
            attempt: 1,
        }]
    );
    assert_eq!(published[0].payload.as_str(), text);
}

async fn a_dropped_unit_publishes_nothing(f: Fixture) {
    let ctx = f.tenant("t").await;
    let mut unit = f.unit(&ctx).await;
    unit.outbox().enqueue(&messages("a", 1)).await.unwrap();
    assert!(
        f.claim(10).await.deliveries.is_empty(),
        "not before the commit"
    );
    drop(unit);
    assert!(f.claim(10).await.deliveries.is_empty());
    f.write(&ctx, &[]).await;
    assert!(f.claim(10).await.deliveries.is_empty());
}

async fn messages_are_published_in_the_order_of_their_unit(f: Fixture) {
    let ctx = f.tenant("t").await;
    let keys = ["b", "a", "c"];
    let all: Vec<_> = (0..60).map(|n| message(keys[n % 3], n)).collect();
    let mut unit = f.unit(&ctx).await;
    let (first, second) = all.split_at(31);
    unit.outbox().enqueue(first).await.unwrap();
    unit.outbox().enqueue(second).await.unwrap();
    unit.commit().await.unwrap();
    let published = f.publish().await;
    assert_eq!(published.len(), 60);
    for (place, under) in keys.iter().enumerate() {
        let of: Vec<_> = published.iter().filter(|d| d.key == key(under)).collect();
        let numbers: Vec<_> = of.iter().map(|delivery| number(delivery)).collect();
        let sequences: Vec<_> = of.iter().map(|delivery| delivery.sequence).collect();
        assert_eq!(numbers, (0..20).map(|n| n * 3 + place).collect::<Vec<_>>());
        assert_eq!(sequences, (1..=20).collect::<Vec<_>>());
    }
}

async fn units_that_change_one_row_publish_one_after_the_other(f: Fixture) {
    let ctx = f.tenant("0").await;
    let count_up = || async {
        on_conflict(&*f.store, || async {
            let mut unit = f.store.begin(&ctx).await?;
            let mut tenant = unit.tenants().lock().await?.unwrap();
            let count = tenant.profile.name.as_str().parse::<usize>().unwrap() + 1;
            tenant.profile.name = crate::domain::text::Name::new(&count.to_string()).unwrap();
            unit.tenants().update_profile(&tenant).await?;
            unit.outbox().enqueue(&[message("count", count)]).await?;
            unit.commit().await
        })
        .await
    };
    for round in 0..3 {
        let (a, b, c, published) = join!(count_up(), count_up(), count_up(), f.publish());
        for result in [a, b, c] {
            StoreResult::unwrap(result);
        }
        let rest = f.publish().await;
        let numbers: Vec<_> = published.iter().chain(&rest).map(number).collect();
        assert_eq!(numbers, [1, 2, 3].map(|n| round * 3 + n));
    }
}

async fn units_that_write_messages_do_not_disturb_each_other(f: Fixture) {
    let ctx = f.tenant("t").await;
    let (mut a, mut b) = (f.unit(&ctx).await, f.unit(&ctx).await);
    a.outbox().enqueue(&[message("a", 1)]).await.unwrap();
    b.outbox().enqueue(&[message("a", 2)]).await.unwrap();
    a.outbox().enqueue(&[message("a", 3)]).await.unwrap();
    b.commit().await.unwrap();
    let first = f.publish().await;
    assert_eq!(first.iter().map(number).collect::<Vec<_>>(), [2]);
    a.commit().await.unwrap();
    let second = f.publish().await;
    assert_eq!(second.iter().map(number).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(
        second.iter().map(|d| d.sequence).collect::<Vec<_>>(),
        [2, 3]
    );
}

async fn a_tenant_that_does_not_exist_writes_no_message(f: Fixture) {
    let ghost = Context::system(f.platform().await.ids().fresh());
    let mut unit = f.unit(&ghost).await;
    unit.outbox().enqueue(&[]).await.unwrap();
    fails(
        unit.outbox().enqueue(&messages("a", 1)).await,
        StoreErrorKind::NotFound,
    );
    fails(unit.outbox().enqueue(&[]).await, StoreErrorKind::Spent);
}

async fn the_history_tells_what_was_published_or_skipped(f: Fixture) {
    let ctx = f.tenant("t").await;
    f.write(&ctx, &messages("a", 3)).await;
    f.park(&ctx, "a", "no such socket").await;
    let history = async || {
        let mut unit = f.unit(&ctx).await;
        unit.outbox()
            .history(&key("a"), &all())
            .await
            .unwrap()
            .items
    };
    assert!(history().await.is_empty());
    f.clock.advance(chrono::TimeDelta::seconds(1));
    let mut unit = f.platform().await;
    assert!(unit.relay().skip(&stream(&ctx, "a")).await.unwrap());
    unit.commit().await.unwrap();
    let claim = f.claim(1).await;
    let held = f.settle(claim.lease, stream(&ctx, "a"), 2, Then::GiveBack);
    assert_eq!(held.await, LeaseHeld::Yes);
    let past = history().await;
    let told: Vec<_> = past
        .iter()
        .map(|past| {
            (
                past.sequence,
                past.payload.as_str(),
                past.skipped.as_deref(),
            )
        })
        .collect();
    assert_eq!(told, [(1, "1", Some("no such socket")), (2, "2", None)]);
    assert_eq!(past[1].kind.as_str(), "counted");
    assert_eq!(past[1].occurred_at, Fixture::start());
    assert_eq!(
        past[1].settled_at,
        Fixture::start() + chrono::TimeDelta::seconds(1)
    );
}

async fn the_history_goes_on_behind_the_last_number_seen(f: Fixture) {
    let ctx = f.tenant("t").await;
    f.write(&ctx, &messages("a", 5)).await;
    f.write(&ctx, &messages("b", 1)).await;
    f.publish().await;
    let mut unit = f.unit(&ctx).await;
    let under = key("a");
    let first = unit
        .outbox()
        .history(&under, &PageRequest::first(2))
        .await
        .unwrap();
    assert_eq!(
        first.items.iter().map(|p| p.sequence).collect::<Vec<_>>(),
        [1, 2]
    );
    let next = PageRequest::first(2).after(first.next.unwrap());
    let second = unit.outbox().history(&under, &next).await.unwrap();
    assert_eq!(
        second.items.iter().map(|p| p.sequence).collect::<Vec<_>>(),
        [3, 4]
    );
    let seen = PageRequest::first(9).after(Cursor::after(&4));
    let rest = unit.outbox().history(&under, &seen).await.unwrap();
    assert_eq!(
        rest.items.iter().map(|p| p.sequence).collect::<Vec<_>>(),
        [5]
    );
    assert_eq!(rest.next, None);
    let alien = PageRequest::first(2).after(Cursor::after(&json!({"a": 1})));
    fails(
        unit.outbox().history(&under, &alien).await,
        StoreErrorKind::Invalid,
    );
}

async fn a_key_of_two_tenants_is_two_keys(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    f.write(&one, &messages("a", 2)).await;
    f.write(&two, &messages("a", 1)).await;
    let published = f.publish().await;
    let of = |ctx: &Context| -> Vec<i64> {
        let own = published.iter().filter(|d| d.tenant == ctx.tenant());
        own.map(|delivery| delivery.sequence).collect()
    };
    assert_eq!((of(&one), of(&two)), (vec![1, 2], vec![1]));
    let mut unit = f.unit(&two).await;
    let history = unit.outbox().history(&key("a"), &all()).await.unwrap();
    assert_eq!(history.items.len(), 1, "its own and nothing else");
    let mut ghost = f
        .unit(&Context::system(f.platform().await.ids().fresh()))
        .await;
    let history = ghost.outbox().history(&key("a"), &all()).await.unwrap();
    assert!(history.items.is_empty());
}

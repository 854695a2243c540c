//! Analytics events: the tenant's own, and those of no tenant.

use chrono::TimeDelta;
use serde_json::json;

use super::fixture::{Fixture, all, fails};
use crate::domain::analytics::{AnalyticsEvent, EventData, EventType, NewEvent};
use crate::domain::context::{Context, Origin};
use crate::domain::ids::UserId;
use crate::domain::json::Document;
use crate::domain::page::{Cursor, PageRequest};
use crate::domain::text::ExternalId;
use crate::domain::time::Period;
use crate::store::{EventFilter, StoreErrorKind};

super::list_cases! { "analytics":
    an_event_is_read_back_as_it_was_written,
    an_event_is_appended_once,
    a_batch_may_repeat_itself,
    an_event_without_its_month_is_refused,
    events_need_their_tenant_and_its_user,
    events_are_read_by_filter_and_page,
    a_period_of_events_is_half_open,
    events_belong_to_their_tenant,
    events_of_no_tenant_stand_apart,
    a_person_is_erased_from_events,
    a_large_batch_is_appended,
    a_list_of_events_knows_its_cursors,
}

fn minute(minutes: i64) -> chrono::DateTime<chrono::Utc> {
    Fixture::start() + TimeDelta::minutes(minutes)
}

fn login(minutes: i64) -> NewEvent {
    let data = Document::new("data", json!({"method": "otp", "n": [1, 2.5, null]})).unwrap();
    NewEvent::new(
        EventType::USER_LOGIN,
        minute(minutes),
        EventData::new(&data),
    )
}

fn run(minutes: i64) -> AnalyticsEvent {
    AnalyticsEvent::derived(
        format!("run {minutes}").as_bytes(),
        EventType::WORKFLOW_EXECUTION,
        minute(minutes),
        EventData::default(),
    )
}

fn somewhere() -> Origin {
    Origin {
        ip: Some("2001:db8::1".parse().unwrap()),
        user_agent: Some("agent ñ".to_owned()),
        session: Some("s1".to_owned()),
        request: None,
    }
}

async fn append(f: &Fixture, ctx: &Context, events: &[AnalyticsEvent]) -> u64 {
    let mut unit = f.unit(ctx).await;
    let new = unit.events().append(events).await.unwrap();
    unit.commit().await.unwrap();
    new
}

async fn list(f: &Fixture, ctx: &Context, filter: &EventFilter) -> Vec<AnalyticsEvent> {
    let mut unit = f.unit(ctx).await;
    unit.events().page(filter, &all()).await.unwrap().items
}

async fn an_event_is_read_back_as_it_was_written(f: Fixture) {
    let ctx = f.tenant("t").await;
    let mut unit = f.unit(&ctx).await;
    let new = NewEvent {
        origin: somewhere(),
        occurred_at: minute(-1) + TimeDelta::nanoseconds(1_234_567),
        ..login(0)
    };
    let event = new.into_event(unit.ids());
    assert_eq!(
        event.occurred_at(),
        minute(-1) + TimeDelta::microseconds(1_234)
    );
    let plain = run(-2);
    let both = [event.clone(), plain.clone()];
    assert_eq!(unit.events().append(&both).await.unwrap(), 2);
    let read = |page: crate::domain::page::Page<AnalyticsEvent>| page.items;
    let filter = EventFilter::default();
    assert_eq!(
        read(unit.events().page(&filter, &all()).await.unwrap()),
        both
    );
    unit.commit().await.unwrap();
    assert_eq!(list(&f, &ctx, &filter).await, both);
}

async fn an_event_is_appended_once(f: Fixture) {
    let ctx = f.tenant("t").await;
    assert_eq!(append(&f, &ctx, &[run(-2), run(-1)]).await, 2);
    assert_eq!(append(&f, &ctx, &[run(-1), run(0), run(-2)]).await, 1);
    let mut unit = f.unit(&ctx).await;
    let keyed = NewEvent {
        key: Some(ExternalId::new("k1").unwrap()),
        ..login(-3)
    };
    let first = keyed.clone().into_event(unit.ids());
    let changed = NewEvent {
        data: EventData::default(),
        ..keyed
    };
    let second = changed.into_event(unit.ids());
    assert_eq!(
        unit.events()
            .append(std::slice::from_ref(&first))
            .await
            .unwrap(),
        1
    );
    assert_eq!(unit.events().append(&[second]).await.unwrap(), 0);
    unit.commit().await.unwrap();
    let filter = EventFilter {
        event_type: Some(EventType::USER_LOGIN),
        ..EventFilter::default()
    };
    assert_eq!(list(&f, &ctx, &filter).await, [first], "the first stays");
}

async fn a_batch_may_repeat_itself(f: Fixture) {
    let ctx = f.tenant("t").await;
    let batch = [run(-1), run(-2), run(-1)];
    assert_eq!(append(&f, &ctx, &batch).await, 2);
    assert_eq!(append(&f, &ctx, &[]).await, 0);
    assert_eq!(list(&f, &ctx, &EventFilter::default()).await.len(), 2);
}

async fn an_event_without_its_month_is_refused(f: Fixture) {
    let ctx = f.tenant("t").await;
    let old = AnalyticsEvent::derived(
        b"old",
        EventType::WORKFLOW_EXECUTION,
        Fixture::start() - TimeDelta::days(400),
        EventData::default(),
    );
    let mut unit = f.unit(&ctx).await;
    fails(
        unit.events().append(&[run(0), old.clone()]).await,
        StoreErrorKind::OutsideWindow,
    );
    let mut unit = f.platform().await;
    fails(
        unit.events().append(&[old]).await,
        StoreErrorKind::OutsideWindow,
    );
    assert!(list(&f, &ctx, &EventFilter::default()).await.is_empty());
}

async fn events_need_their_tenant_and_its_user(f: Fixture) {
    let ghost = Context::system(f.platform().await.ids().fresh());
    let mut unit = f.unit(&ghost).await;
    fails(
        unit.events().append(&[run(0)]).await,
        StoreErrorKind::NotFound,
    );
    let (one, two) = f.two_tenants().await;
    let user = f.user(&two, "ana@example.com").await;
    let event = run(0).by(user.id);
    let mut unit = f.unit(&one).await;
    let foreign = unit.events().append(std::slice::from_ref(&event)).await;
    fails(foreign, StoreErrorKind::NotFound);
    assert_eq!(append(&f, &two, &[event]).await, 1);
}

async fn events_are_read_by_filter_and_page(f: Fixture) {
    let ctx = f.tenant("t").await;
    let mut unit = f.unit(&ctx).await;
    let mut events: Vec<_> = (0..4).map(|n| run(-n)).collect();
    events.push(login(-9).into_event(unit.ids()));
    unit.events().append(&events).await.unwrap();
    let filter = EventFilter::default();
    let whole = unit.events().page(&filter, &all()).await.unwrap();
    assert_eq!(whole.items, events, "newest first");
    assert_eq!(whole.next, None);
    let by_type = EventFilter {
        event_type: Some(EventType::USER_LOGIN),
        ..EventFilter::default()
    };
    let logins = unit.events().page(&by_type, &all()).await.unwrap();
    assert_eq!(logins.items, events[4..]);
    let (mut read, mut request) = (Vec::new(), PageRequest::first(2));
    loop {
        let page = unit.events().page(&filter, &request).await.unwrap();
        read.extend(page.items);
        let Some(next) = page.next else { break };
        request = PageRequest::first(2).after(next);
    }
    assert_eq!(read, events);
}

async fn a_period_of_events_is_half_open(f: Fixture) {
    let ctx = f.tenant("t").await;
    let at = |micros| Fixture::start() + TimeDelta::microseconds(micros);
    let mut unit = f.unit(&ctx).await;
    let events: Vec<_> = [0, 250, 500, 750, 1_000]
        .into_iter()
        .map(|micros| {
            NewEvent {
                occurred_at: at(micros),
                ..login(0)
            }
            .into_event(unit.ids())
        })
        .collect();
    unit.events().append(&events).await.unwrap();
    for (from, until, expected) in [
        (0, 1_000, 4),
        (250, 750, 2),
        (250, 751, 3),
        (1_000, 2_000, 1),
        (0, 1_001, 5),
        (500, 500, 0),
    ] {
        let filter = EventFilter {
            period: Some(Period::new(at(from), at(until)).unwrap()),
            ..EventFilter::default()
        };
        let page = unit.events().page(&filter, &all()).await.unwrap();
        assert_eq!(page.items.len(), expected, "[{from}, {until})");
    }
}

async fn events_belong_to_their_tenant(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    // The same id in both tenants tells neither of the other.
    assert_eq!(append(&f, &one, &[run(-1)]).await, 1);
    assert_eq!(append(&f, &two, &[run(-1)]).await, 1);
    assert_eq!(append(&f, &one, &[run(-2)]).await, 1);
    assert_eq!(list(&f, &two, &EventFilter::default()).await, [run(-1)]);
}

async fn events_of_no_tenant_stand_apart(f: Fixture) {
    let ctx = f.tenant("t").await;
    let operator: UserId = f.platform().await.ids().fresh();
    let mut unit = f.platform().await;
    let seen = NewEvent {
        user: Some(operator),
        origin: somewhere(),
        ..login(-1)
    };
    let seen = seen.into_event(unit.ids());
    let events = [run(0), seen.clone()];
    assert_eq!(unit.events().append(&events).await.unwrap(), 2);
    assert_eq!(unit.events().append(&events).await.unwrap(), 0);
    unit.commit().await.unwrap();
    assert!(list(&f, &ctx, &EventFilter::default()).await.is_empty());
    let mut unit = f.platform().await;
    let whole = unit.events().page(&EventFilter::default(), &all()).await;
    assert_eq!(whole.unwrap().items, events);
    let by_user = EventFilter {
        user: Some(operator),
        period: Some(Period::new(minute(-1), minute(0)).unwrap()),
        ..EventFilter::default()
    };
    let page = unit.events().page(&by_user, &all()).await.unwrap();
    assert_eq!(page.items, events[1..]);
    assert_eq!(unit.events().erase_person(operator).await.unwrap(), 1);
    assert_eq!(unit.events().erase_person(operator).await.unwrap(), 0);
    let page = unit.events().page(&by_user, &all()).await.unwrap();
    assert_eq!(page.items, [seen.without_origin()]);
}

async fn a_person_is_erased_from_events(f: Fixture) {
    let (ctx, other) = f.two_tenants().await;
    let (ana, bob) = (
        f.user(&ctx, "ana@example.com").await.id,
        f.user(&ctx, "bob@example.com").await.id,
    );
    let mut unit = f.unit(&ctx).await;
    let mut seen = |minutes, user| {
        let event = login(minutes).into_event(unit.ids());
        event.from_origin(&somewhere()).by(user)
    };
    let (first, second, bobs) = (seen(-1, ana), seen(-2, ana), seen(-3, bob));
    let plain = run(-4).by(ana);
    let events = [first.clone(), second.clone(), bobs.clone(), plain.clone()];
    unit.events().append(&events).await.unwrap();
    unit.commit().await.unwrap();
    let mut stranger = f.unit(&other).await;
    assert_eq!(stranger.events().erase_person(ana).await.unwrap(), 0);
    stranger.commit().await.unwrap();
    let mut unit = f.unit(&ctx).await;
    assert_eq!(unit.events().erase_person(ana).await.unwrap(), 2);
    unit.commit().await.unwrap();
    let kept = [first.without_origin(), second.without_origin(), bobs, plain];
    assert_eq!(list(&f, &ctx, &EventFilter::default()).await, kept);
    let of_ana = EventFilter {
        user: Some(ana),
        ..EventFilter::default()
    };
    assert_eq!(
        list(&f, &ctx, &of_ana).await.len(),
        3,
        "the user's id stays"
    );
}

async fn a_large_batch_is_appended(f: Fixture) {
    let ctx = f.tenant("t").await;
    let batch: Vec<_> = (0..2_000).map(|n| run(-n)).collect();
    assert_eq!(append(&f, &ctx, &batch).await, 2_000);
    assert_eq!(append(&f, &ctx, &batch).await, 0);
}

async fn a_list_of_events_knows_its_cursors(f: Fixture) {
    let ctx = f.tenant("t").await;
    let foreign = PageRequest::first(1).after(Cursor::from_text("not a cursor"));
    let filter = EventFilter::default();
    let mut unit = f.unit(&ctx).await;
    fails(
        unit.events().page(&filter, &foreign).await,
        StoreErrorKind::Invalid,
    );
    let mut unit = f.platform().await;
    fails(
        unit.events().page(&filter, &foreign).await,
        StoreErrorKind::Invalid,
    );
}

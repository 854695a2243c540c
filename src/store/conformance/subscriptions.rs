//! Subscriptions, their periods and lines, and the operator's view of them.

use chrono::TimeDelta;
use serde_json::json;

use super::catalogue::inserted;
use super::fixture::{Fixture, all, fails};
use super::sources::trail;
use crate::domain::billing_cycle::Interval;
use crate::domain::catalogue::{ChargeCode, PlanVersion, PriceTerms};
use crate::domain::context::Context;
use crate::domain::discount::{Coupon, CouponDuration, Off};
use crate::domain::json::Document;
use crate::domain::money::{Currency, Money};
use crate::domain::page::{Cursor, PageRequest};
use crate::domain::pricing::{FlatPrice, PriceModel};
use crate::domain::subscription::{
    LineKind, PendingLine, PendingPlan, StartTerms, StripeCustomerId, StripeSubscriptionId,
    Subscription, SubscriptionChange, SubscriptionStatus,
};
use crate::store::{DueSubscription, StoreErrorKind, UnitOfWork};

super::list_cases! { "subscriptions":
    a_subscription_is_read_back_as_it_was_written,
    an_id_belongs_to_one_subscription_of_the_tenant,
    a_subscription_needs_its_tenant_and_its_plan,
    dates_that_do_not_fit_the_state_are_refused,
    an_update_of_a_subscription_names_the_revision_it_has_read,
    two_units_that_lock_one_subscription_come_one_after_the_other,
    subscriptions_are_listed_newest_first_page_by_page,
    those_that_are_not_over_are_live,
    periods_are_listed_latest_first_and_written_anew_at_the_same_start,
    the_same_change_gives_a_line_once,
    what_is_due_is_found_across_tenants,
    stripe_s_ids_are_unique_across_tenants,
    a_subscription_of_another_tenant_is_not_there,
    every_change_of_a_subscription_is_in_the_trail,
}

fn terms() -> StartTerms {
    StartTerms::new(Currency::EUR, chrono_tz::Europe::Madrid)
}

/// Writes a subscription in a unit of the caller's.
async fn subscribe(unit: &mut dyn UnitOfWork, version: &PlanVersion) -> Subscription {
    let change = Subscription::start(unit.ids().fresh(), version, terms(), unit.now()).unwrap();
    unit.subscriptions().insert(&change).await.unwrap();
    change.subscription
}

async fn subscribed(f: &Fixture, ctx: &Context, version: &PlanVersion) -> Subscription {
    let mut unit = f.unit(ctx).await;
    let subscription = subscribe(&mut *unit, version).await;
    unit.commit().await.unwrap();
    subscription
}

/// Writes what a change makes of a subscription.
async fn update(f: &Fixture, ctx: &Context, change: &SubscriptionChange) -> Subscription {
    let mut unit = f.unit(ctx).await;
    let stored = unit.subscriptions().update(change).await.unwrap();
    unit.commit().await.unwrap();
    stored
}

fn line(of: &Subscription, kind: LineKind) -> PendingLine {
    let charge = ChargeCode::new("base").unwrap();
    let model = PriceModel::Flat(FlatPrice::new("9.5".parse().unwrap()).unwrap());
    let minor = if kind == LineKind::Credit { -7 } else { 7 };
    PendingLine {
        change: of.revision,
        charge: charge.clone(),
        kind,
        amount: Money::new(minor, of.currency).unwrap(),
        period: of.current_period,
        plan_version: of.plan_version,
        price: PriceTerms::new(charge, of.currency, model),
        quantity: of.quantity,
        created_at: of.created_at,
    }
}

async fn a_subscription_is_read_back_as_it_was_written(f: Fixture) {
    let ctx = f.tenant("t").await;
    let (_, version) = inserted(&f, "pro").await;
    let (_, other) = inserted(&f, "other").await;
    let plain = subscribed(&f, &ctx, &version).await;
    let mut unit = f.unit(&ctx).await;
    let mut full = terms();
    full.trial_days = 10;
    full.quantity = Subscription::MAX_QUANTITY;
    full.metadata = Document::new("metadata", json!({"crm": {"id": 7}})).unwrap();
    let off = Off::AmountOff(Money::new(500, Currency::EUR).unwrap());
    let duration = CouponDuration::Repeating {
        duration_in_periods: 3,
    };
    full.coupons = vec![Coupon::new(off, duration).unwrap()];
    let (id, now) = (unit.ids().fresh(), unit.now());
    let mut change = Subscription::start(id, &version, full, now).unwrap();
    let s = &mut change.subscription;
    // A cycle whose day is not the anchor's.
    let anchor = "2027-02-28T11:00:00Z".parse().unwrap();
    s.cycle = crate::domain::billing_cycle::BillingCycle::new(
        anchor,
        Interval::MONTH,
        chrono_tz::Europe::Madrid,
    )
    .with_anchor_day(31)
    .unwrap();
    s.cancel_at = Some(now + TimeDelta::days(3));
    s.canceled_at = Some(now);
    s.pending.quantity = Some(3);
    s.pending.plan = Some(PendingPlan {
        version: other.id,
        interval: Interval::YEAR,
    });
    unit.subscriptions().insert(&change).await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = f.unit(&ctx).await;
    for written in [&plain, &change.subscription] {
        let got = unit.subscriptions().get(written.id).await.unwrap();
        assert_eq!(got.as_ref(), Some(written));
        let locked = unit.subscriptions().lock(written.id).await.unwrap();
        assert_eq!(locked.as_ref(), Some(written));
    }
    let periods = unit.subscriptions().periods(id, &all()).await.unwrap();
    assert_eq!(periods.items, [change.begun.unwrap()]);
    let ghost = unit.ids().fresh();
    assert_eq!(unit.subscriptions().get(ghost).await.unwrap(), None);
    assert_eq!(unit.subscriptions().lock(ghost).await.unwrap(), None);
}

async fn an_id_belongs_to_one_subscription_of_the_tenant(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let (_, version) = inserted(&f, "pro").await;
    let first = subscribed(&f, &one, &version).await;
    let again = Subscription::start(first.id, &version, terms(), first.created_at).unwrap();
    let mut unit = f.unit(&one).await;
    fails(
        unit.subscriptions().insert(&again).await,
        StoreErrorKind::AlreadyExists,
    );
    let mut unit = f.unit(&two).await;
    unit.subscriptions().insert(&again).await.unwrap();
    unit.commit().await.unwrap();
}

async fn a_subscription_needs_its_tenant_and_its_plan(f: Fixture) {
    let ctx = f.tenant("t").await;
    let (_, version) = inserted(&f, "pro").await;
    let ghost = Context::system(f.platform().await.ids().fresh());
    let mut unit = f.unit(&ghost).await;
    let new = Subscription::start(unit.ids().fresh(), &version, terms(), unit.now()).unwrap();
    fails(
        unit.subscriptions().insert(&new).await,
        StoreErrorKind::NotFound,
    );
    let mut unit = f.unit(&ctx).await;
    let mut lost = new.clone();
    lost.subscription.plan_version = unit.ids().fresh();
    lost.begun = None;
    fails(
        unit.subscriptions().insert(&lost).await,
        StoreErrorKind::NotFound,
    );
    let present = subscribed(&f, &ctx, &version).await;
    let mut unit = f.unit(&ctx).await;
    let now = unit.now();
    let mut change = present.cancel_at_period_end(now).unwrap().unwrap();
    change.subscription.pending.plan = Some(PendingPlan {
        version: unit.ids().fresh(),
        interval: Interval::MONTH,
    });
    fails(
        unit.subscriptions().update(&change).await,
        StoreErrorKind::NotFound,
    );
    let mut change = present.cancel_at_period_end(now).unwrap().unwrap();
    change.lines = vec![line(&present, LineKind::Charge)];
    change.lines[0].charge = ChargeCode::new("ghost").unwrap();
    let mut unit = f.unit(&ctx).await;
    fails(
        unit.subscriptions().update(&change).await,
        StoreErrorKind::NotFound,
    );
}

async fn dates_that_do_not_fit_the_state_are_refused(f: Fixture) {
    let ctx = f.tenant("t").await;
    let (_, version) = inserted(&f, "pro").await;
    let present = subscribed(&f, &ctx, &version).await;
    let now = present.created_at;
    let spoilt: [fn(&mut Subscription); 8] = [
        |s| s.status = SubscriptionStatus::Canceled,
        |s| s.ended_at = Some(s.created_at),
        |s| s.cancel_at_period_end = true,
        |s| s.status = SubscriptionStatus::Paused,
        |s| s.paused_at = Some(s.created_at),
        |s| {
            s.canceled_at = Some(s.created_at);
            s.cancel_at_period_end = true;
            s.cancel_at = Some(s.current_period.end());
        },
        |s| {
            s.status = SubscriptionStatus::Paused;
            s.paused_at = Some(s.created_at);
            s.resumes_at = s.paused_at;
        },
        |s| s.quantity = 0,
    ];
    for spoil in spoilt {
        let metadata = Document::new("metadata", json!({"a": 1})).unwrap();
        let mut change = present.described(metadata, now).unwrap();
        spoil(&mut change.subscription);
        let mut unit = f.unit(&ctx).await;
        fails(
            unit.subscriptions().update(&change).await,
            StoreErrorKind::Invalid,
        );
    }
}

async fn an_update_of_a_subscription_names_the_revision_it_has_read(f: Fixture) {
    let ctx = f.tenant("t").await;
    let (_, version) = inserted(&f, "pro").await;
    let present = subscribed(&f, &ctx, &version).await;
    f.clock.advance(TimeDelta::hours(1));
    let now = present.created_at + TimeDelta::hours(1);
    let paused = present.pause(None, now).unwrap().unwrap();
    let stored = update(&f, &ctx, &paused).await;
    let expected = Subscription {
        revision: 2,
        ..paused.subscription.clone()
    };
    assert_eq!(stored, expected);
    let mut unit = f.unit(&ctx).await;
    let got = unit.subscriptions().get(present.id).await.unwrap();
    assert_eq!(got, Some(expected));
    fails(
        unit.subscriptions().update(&paused).await,
        StoreErrorKind::Conflict,
    );
    let mut unit = f.unit(&ctx).await;
    let mut ghost = paused;
    ghost.subscription.id = unit.ids().fresh();
    fails(
        unit.subscriptions().update(&ghost).await,
        StoreErrorKind::Conflict,
    );
}

async fn two_units_that_lock_one_subscription_come_one_after_the_other(f: Fixture) {
    let ctx = f.tenant("t").await;
    let (_, version) = inserted(&f, "pro").await;
    let present = subscribed(&f, &ctx, &version).await;
    let mut one = f.unit(&ctx).await;
    one.subscriptions().lock(present.id).await.unwrap();
    let ended = present.cancel(one.now()).unwrap().unwrap();
    one.subscriptions().update(&ended).await.unwrap();
    let rival = async {
        let mut two = f.unit(&ctx).await;
        let seen = two.subscriptions().lock(present.id).await?;
        two.commit().await?;
        Ok::<_, crate::store::StoreError>(seen.unwrap().status)
    };
    match futures_util::join!(rival, one.commit()) {
        (Ok(seen), Ok(())) => assert_eq!(seen, SubscriptionStatus::Canceled, "it waited"),
        (Ok(seen), Err(error)) => {
            assert_eq!(seen, SubscriptionStatus::Active, "it was first");
            assert_eq!(error.kind(), StoreErrorKind::Conflict);
        }
        (Err(error), committed) => {
            committed.unwrap();
            assert_eq!(error.kind(), StoreErrorKind::Conflict);
        }
    }
}

async fn subscriptions_are_listed_newest_first_page_by_page(f: Fixture) {
    let ctx = f.tenant("t").await;
    let (_, version) = inserted(&f, "pro").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        f.clock.advance(TimeDelta::seconds(1));
        ids.insert(0, subscribed(&f, &ctx, &version).await.id);
    }
    let mut unit = f.unit(&ctx).await;
    let first = PageRequest::first(2);
    let page = unit.subscriptions().page(None, &first).await.unwrap();
    let rest = first.after(page.next.unwrap());
    let last = unit.subscriptions().page(None, &rest).await.unwrap();
    let listed = page.items.into_iter().chain(last.items).map(|s| s.id);
    assert_eq!(listed.collect::<Vec<_>>(), ids);
    let paused = Some(SubscriptionStatus::Paused);
    let none = unit.subscriptions().page(paused, &all()).await.unwrap();
    assert!(none.items.is_empty());
    let foreign = PageRequest::first(1).after(Cursor::after(&7));
    fails(
        unit.subscriptions().page(None, &foreign).await,
        StoreErrorKind::Invalid,
    );
}

async fn those_that_are_not_over_are_live(f: Fixture) {
    let ctx = f.tenant("t").await;
    let (_, version) = inserted(&f, "pro").await;
    let mut all = Vec::new();
    for _ in 0..3 {
        f.clock.advance(TimeDelta::seconds(1));
        all.push(subscribed(&f, &ctx, &version).await);
    }
    let mut unit = f.unit(&ctx).await;
    let now = unit.now();
    let ended = all[0].cancel(now).unwrap().unwrap();
    unit.subscriptions().update(&ended).await.unwrap();
    let paused = all[1].pause(None, now).unwrap().unwrap();
    let paused = unit.subscriptions().update(&paused).await.unwrap();
    let live = unit.subscriptions().live().await.unwrap();
    assert_eq!(live, [all[2].clone(), paused]);
}

async fn periods_are_listed_latest_first_and_written_anew_at_the_same_start(f: Fixture) {
    let ctx = f.tenant("t").await;
    let (_, version) = inserted(&f, "pro").await;
    let (_, other) = inserted(&f, "other").await;
    let mut present = subscribed(&f, &ctx, &version).await;
    let mut periods = Vec::new();
    for _ in 0..3 {
        let change = present.advance(present.current_period.end()).unwrap();
        let change = change.unwrap();
        periods.insert(0, change.begun.unwrap());
        present = update(&f, &ctx, &change).await;
    }
    let mut again = present
        .advance(present.current_period.end())
        .unwrap()
        .unwrap();
    let mut begun = periods[0];
    begun.plan_version = other.id;
    begun.quantity = 5;
    again.begun = Some(begun);
    update(&f, &ctx, &again).await;
    periods[0] = begun;
    let mut unit = f.unit(&ctx).await;
    let request = PageRequest::first(2);
    let page = unit
        .subscriptions()
        .periods(present.id, &request)
        .await
        .unwrap();
    assert_eq!(page.items, periods[..2]);
    let rest = request.after(page.next.unwrap());
    let rest = unit
        .subscriptions()
        .periods(present.id, &rest)
        .await
        .unwrap();
    assert_eq!(rest.items.len(), 2);
    assert_eq!(rest.items[0], periods[2]);
}

async fn the_same_change_gives_a_line_once(f: Fixture) {
    let ctx = f.tenant("t").await;
    let (_, version) = inserted(&f, "pro").await;
    let present = subscribed(&f, &ctx, &version).await;
    let changed = |s: &Subscription, lines: &[PendingLine]| {
        let metadata = Document::new("metadata", json!({"at": s.revision})).unwrap();
        let mut change = s.described(metadata, s.created_at).unwrap();
        change.lines = lines.to_vec();
        change
    };
    let lines = [
        line(&present, LineKind::Charge),
        line(&present, LineKind::Credit),
    ];
    let next = update(&f, &ctx, &changed(&present, &lines)).await;
    let mut unit = f.unit(&ctx).await;
    let stored = unit.subscriptions().lines(present.id).await.unwrap();
    assert_eq!(stored, lines, "by charge and kind");
    fails(
        unit.subscriptions()
            .update(&changed(&next, &lines[..1]))
            .await,
        StoreErrorKind::AlreadyExists,
    );
    let mut unit = f.unit(&ctx).await;
    let later = [line(&next, LineKind::Charge)];
    unit.subscriptions()
        .update(&changed(&next, &later))
        .await
        .unwrap();
    let stored = unit.subscriptions().lines(present.id).await.unwrap();
    assert_eq!(stored.len(), 3);
}

async fn what_is_due_is_found_across_tenants(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let (_, version) = inserted(&f, "pro").await;
    let mut all = Vec::new();
    for ctx in [&two, &one, &two] {
        let subscription = subscribed(&f, ctx, &version).await;
        all.push(DueSubscription {
            due_at: subscription.due_at().unwrap(),
            tenant: ctx.tenant(),
            id: subscription.id,
        });
        f.clock.advance(TimeDelta::seconds(1));
    }
    let forgotten = subscribed(&f, &one, &version).await;
    let ended = forgotten.cancel(forgotten.created_at).unwrap().unwrap();
    update(&f, &one, &ended).await;
    all.sort();
    let until = all[1].due_at;
    let mut unit = f.platform().await;
    let due = unit.subscriptions().due(until, None, 10).await.unwrap();
    assert_eq!(due, all[..2]);
    let late = until + TimeDelta::days(1);
    let first = unit.subscriptions().due(late, None, 1).await.unwrap();
    assert_eq!(first, all[..1]);
    let next = unit
        .subscriptions()
        .due(late, Some(all[0]), 10)
        .await
        .unwrap();
    assert_eq!(next, all[1..]);
    let early = until - TimeDelta::days(1);
    assert_eq!(unit.subscriptions().due(early, None, 9).await.unwrap(), []);
}

async fn stripe_s_ids_are_unique_across_tenants(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let (_, version) = inserted(&f, "pro").await;
    let mine = subscribed(&f, &one, &version).await;
    let sibling = subscribed(&f, &one, &version).await;
    let theirs = subscribed(&f, &two, &version).await;
    let sub = |text: &str| StripeSubscriptionId::new(text).unwrap();
    let customer = StripeCustomerId::new("cus_1").unwrap();
    let mut unit = f.platform().await;
    for _ in 0..2 {
        let linked = unit
            .subscriptions()
            .link(one.tenant(), mine.id, Some(&sub("sub_1")), Some(&customer))
            .await
            .unwrap();
        assert_eq!(linked.stripe_subscription, Some(sub("sub_1")));
        assert_eq!(linked.stripe_customer.as_ref(), Some(&customer));
    }
    unit.subscriptions()
        .link(one.tenant(), sibling.id, None, Some(&customer))
        .await
        .unwrap();
    unit.commit().await.unwrap();
    let mut unit = f.platform().await;
    let found = unit.subscriptions().find_by_stripe(&sub("sub_1")).await;
    assert_eq!(found.unwrap(), Some((one.tenant(), mine.id)));
    let owner = unit.subscriptions().find_customer(&customer).await.unwrap();
    assert_eq!(owner, Some(one.tenant()));
    let none = unit.subscriptions().find_by_stripe(&sub("sub_2")).await;
    assert_eq!(none.unwrap(), None);
    fails(
        unit.subscriptions()
            .link(two.tenant(), theirs.id, Some(&sub("sub_1")), None)
            .await,
        StoreErrorKind::AlreadyExists,
    );
    let mut unit = f.platform().await;
    fails(
        unit.subscriptions()
            .link(two.tenant(), theirs.id, None, Some(&customer))
            .await,
        StoreErrorKind::AlreadyExists,
    );
    let mut unit = f.platform().await;
    fails(
        unit.subscriptions()
            .link(two.tenant(), mine.id, Some(&sub("sub_9")), None)
            .await,
        StoreErrorKind::NotFound,
    );
    // An id that was given up can be taken; the tenant's own writes leave it as it is.
    let mut unit = f.platform().await;
    let moved = unit
        .subscriptions()
        .link(one.tenant(), mine.id, Some(&sub("sub_2")), Some(&customer))
        .await
        .unwrap();
    unit.subscriptions()
        .link(two.tenant(), theirs.id, Some(&sub("sub_1")), None)
        .await
        .unwrap();
    unit.commit().await.unwrap();
    let mut change = moved.pause(None, moved.created_at).unwrap().unwrap();
    change.subscription.stripe_subscription = None;
    let stored = update(&f, &one, &change).await;
    assert_eq!(stored.stripe_subscription, Some(sub("sub_2")));
}

async fn a_subscription_of_another_tenant_is_not_there(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let (_, version) = inserted(&f, "pro").await;
    let theirs = subscribed(&f, &two, &version).await;
    let mut unit = f.unit(&one).await;
    let subscriptions = unit.subscriptions();
    assert_eq!(subscriptions.get(theirs.id).await.unwrap(), None);
    assert_eq!(subscriptions.lock(theirs.id).await.unwrap(), None);
    assert_eq!(subscriptions.live().await.unwrap(), []);
    assert_eq!(subscriptions.lines(theirs.id).await.unwrap(), []);
    let page = subscriptions.page(None, &all()).await.unwrap();
    assert!(page.items.is_empty());
    let periods = subscriptions.periods(theirs.id, &all()).await.unwrap();
    assert!(periods.items.is_empty());
    let hijacked = theirs.cancel(theirs.created_at).unwrap().unwrap();
    fails(
        unit.subscriptions().update(&hijacked).await,
        StoreErrorKind::Conflict,
    );
}

async fn every_change_of_a_subscription_is_in_the_trail(f: Fixture) {
    let ctx = f.tenant("t").await;
    let (_, version) = inserted(&f, "pro").await;
    let mut unit = f.unit(&ctx).await;
    let mut given = terms();
    given.metadata = Document::new("metadata", json!({"n": 1})).unwrap();
    let off = Off::AmountOff(Money::new(5, Currency::EUR).unwrap());
    given.coupons = vec![Coupon::new(off, CouponDuration::Forever).unwrap()];
    let new = Subscription::start(unit.ids().fresh(), &version, given, unit.now()).unwrap();
    unit.subscriptions().insert(&new).await.unwrap();
    unit.commit().await.unwrap();
    let present = new.subscription;
    let change = present.cancel_at_period_end(present.created_at).unwrap();
    update(&f, &ctx, &change.unwrap()).await;
    let noon = "2026-11-15T12:00:00+00:00";
    assert_eq!(
        trail(&f, &ctx, "subscriptions").await,
        [
            (
                json!({}),
                json!({
                    "id": present.id, "plan_version_id": version.id, "currency": "EUR",
                    "status": "active", "quantity": 1, "anchor": noon, "anchor_day": null,
                    "time_zone": "Europe/Madrid", "billing_interval": "week",
                    "interval_count": 2, "started_at": noon, "current_period_start": noon,
                    "current_period_end": "2026-11-29T12:00:00+00:00", "priced_at": noon,
                    "trial_end": null, "cancel_at_period_end": false, "cancel_at": null,
                    "canceled_at": null, "ended_at": null, "paused_at": null,
                    "resumes_at": null, "pending_plan_version_id": null,
                    "pending_interval": null, "pending_interval_count": null,
                    "pending_quantity": null,
                    "coupons": [{"amount_off": {"minor": 5, "currency": "EUR"},
                        "duration": "forever", "from": "2026-11-15T12:00:00Z"}],
                    "stripe_subscription_id": null, "stripe_customer_id": null,
                    "metadata": {"n": 1}, "due_at": "2026-11-29T12:00:00+00:00",
                    "created_at": noon,
                })
            ),
            (
                json!({"cancel_at_period_end": false, "canceled_at": null}),
                json!({"cancel_at_period_end": true, "canceled_at": noon}),
            ),
        ]
    );
}

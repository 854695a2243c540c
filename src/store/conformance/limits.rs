//! Limits: counters, reservations, thresholds.

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use futures_util::join;

use super::fixture::{Fixture, fails};
use crate::domain::billing_cycle::{Interval, IntervalUnit};
use crate::domain::catalogue::{Entitlement, Limit, LimitName, LimitWindow, Plan, PlanDefinition};
use crate::domain::context::Context;
use crate::domain::identity::{NewUser, User};
use crate::domain::ids::ReservationId;
use crate::domain::limits::{
    Bounds, CountedRows, Crossing, LimitSpan, Reservation, ReservationState, Settlement, Threshold,
    window_at,
};
use crate::domain::metering::{MeterName, NewUsage, UsageRecord};
use crate::domain::tenancy::{NewTenant, Tenant};
use crate::domain::text::{Email, Name, PlanCode, UsageKey};
use crate::domain::workflow::{Workflow, WorkflowDefinition};
use crate::store::{
    Admission, Counter, LimitUse, StoreErrorKind, StoreResult, Swept, UnitOfWork, on_conflict,
};

super::list_cases! { "limits":
    terms_are_those_of_the_newest_version_and_the_overrides,
    a_plan_that_is_not_in_the_catalogue_has_no_terms,
    only_rows_that_count_are_counted,
    rows_are_admitted_up_to_the_bound,
    of_two_units_that_admit_rows_one_waits_or_loses,
    a_counter_begins_with_the_usage_of_its_window,
    as_many_are_reserved_as_fit,
    two_units_never_reserve_more_than_the_bound,
    a_dropped_unit_reserves_nothing,
    a_reservation_is_settled_once,
    use_is_recorded_whatever_the_bound,
    use_needs_an_open_counter,
    a_threshold_is_told_once_per_window_and_bound,
    a_commit_tells_thresholds_too,
    a_level_above_the_bound_is_refused_unless_it_falls,
    what_nobody_settled_in_time_is_given_back,
    a_sweep_gives_back_and_forgets,
    counters_are_reconciled_with_the_rows,
    limits_belong_to_their_tenant,
    a_tenant_that_does_not_exist_has_no_counters,
}

fn exports() -> LimitName {
    LimitName::new("exports").unwrap()
}

/// A window without an end.
fn span(limit: LimitName) -> LimitSpan {
    LimitSpan {
        limit,
        start: DateTime::UNIX_EPOCH,
        end: None,
    }
}

/// The month in which the clock stands.
fn month(limit: LimitName) -> LimitSpan {
    let zone = chrono_tz::Tz::UTC;
    let (start, end) = window_at(LimitWindow::Month, zone, None, Fixture::start());
    LimitSpan { limit, start, end }
}

fn bounds(limit: LimitName, hard: Option<u64>, soft: Option<u64>) -> Bounds {
    Bounds {
        hard,
        soft,
        ..Bounds::none(limit)
    }
}

fn ask(unit: &mut dyn UnitOfWork, span: &LimitSpan, amount: u64) -> Reservation {
    let (id, now) = (unit.ids().fresh(), unit.now());
    Reservation::hold(id, span, amount, now, TimeDelta::minutes(5)).unwrap()
}

fn counter(used: u64, reserved: u64) -> Counter {
    Counter { used, reserved }
}

impl Fixture {
    /// Asks for reservations of these amounts, in one unit.
    async fn hold(
        &self,
        ctx: &Context,
        span: &LimitSpan,
        hard: Option<u64>,
        amounts: &[u64],
    ) -> (Vec<Reservation>, Admission) {
        let mut unit = self.unit(ctx).await;
        let asked = amounts.iter().map(|amount| ask(&mut *unit, span, *amount));
        let asked: Vec<_> = asked.collect();
        let done = unit.limits().reserve(span, hard, &asked).await.unwrap();
        unit.commit().await.unwrap();
        (asked, done)
    }

    async fn settle_one(
        &self,
        ctx: &Context,
        id: ReservationId,
        into: Settlement,
    ) -> Vec<Reservation> {
        let mut unit = self.unit(ctx).await;
        let settled = unit.limits().settle(&[id], into, &[]).await.unwrap();
        unit.commit().await.unwrap();
        settled.reservations
    }

    /// Opens a counter and adds use.
    async fn add(
        &self,
        ctx: &Context,
        span: &LimitSpan,
        amount: i64,
        base: Option<u64>,
    ) -> Vec<Crossing> {
        let mut unit = self.unit(ctx).await;
        unit.limits()
            .open(std::slice::from_ref(span))
            .await
            .unwrap();
        let used = LimitUse {
            span: span.clone(),
            amount,
            base,
        };
        let told = unit.limits().record(&[used]).await.unwrap();
        unit.commit().await.unwrap();
        told
    }

    async fn says(&self, ctx: &Context, span: &LimitSpan) -> Counter {
        let mut unit = self.unit(ctx).await;
        let spans = std::slice::from_ref(span);
        unit.limits().counters(spans).await.unwrap()[0]
    }

    async fn use_up(&self, ctx: &Context, key: &str, quantity: i64, at: DateTime<Utc>) {
        let key = UsageKey::new(key).unwrap();
        let new = NewUsage::new(key, MeterName::EXECUTIONS, quantity, at);
        let mut unit = self.unit(ctx).await;
        let record = UsageRecord::supplied(&new, at).unwrap();
        unit.usage().record(&[record]).await.unwrap();
        unit.commit().await.unwrap();
    }
}

fn definition(limit: u64) -> PlanDefinition {
    let interval = Interval::new(IntervalUnit::Month, 1).unwrap();
    let mut definition = PlanDefinition::new(Name::new("Pro").unwrap(), interval);
    definition.limits.insert(exports(), Limit::hard(limit));
    definition
}

async fn terms_are_those_of_the_newest_version_and_the_overrides(f: Fixture) {
    let mut new = NewTenant::named("one").unwrap();
    new.plan = PlanCode::new("pro").unwrap();
    new.limits.0.insert("users".to_owned(), Some(3));
    new.limits.0.insert("no such".to_owned(), None);
    new.profile.time_zone = chrono_tz::Tz::Europe__Madrid;
    let tenant = f.create(new).await.unwrap();
    let ctx = Context::system(tenant.id);
    let mut unit = f.platform().await;
    let (code, now) = (tenant.plan.clone(), unit.now());
    let (plan, first) = (unit.ids().fresh(), unit.ids().fresh());
    let (plan, version) = Plan::create(plan, first, code, definition(5), now).unwrap();
    unit.catalogue().insert(&plan, &version).await.unwrap();
    let mut newest = definition(7);
    let sso = Entitlement::new("sso").unwrap();
    newest.entitlements.insert(sso.clone());
    let second = unit.ids().fresh();
    let (plan, version) = plan.publish(second, newest.clone(), now).unwrap();
    unit.catalogue().publish(&plan, &version).await.unwrap();
    unit.commit().await.unwrap();

    let terms = f.unit(&ctx).await.limits().terms().await.unwrap().unwrap();
    assert_eq!(terms.plan, newest.limits);
    assert!(terms.includes(&sso));
    assert_eq!(terms.overrides, tenant.limits);
    assert_eq!(terms.time_zone, chrono_tz::Tz::Europe__Madrid);
    assert_eq!(terms.billing_period, None);
}

async fn a_plan_that_is_not_in_the_catalogue_has_no_terms(f: Fixture) {
    let ctx = f.tenant("one").await;
    let terms = f.unit(&ctx).await.limits().terms().await.unwrap().unwrap();
    assert!(terms.plan.is_empty() && terms.entitlements.is_empty());
    assert!(terms.all().is_empty());
}

fn person(unit: &mut dyn UnitOfWork, name: &str) -> User {
    let address = Email::new(&format!("{name}@example.com")).unwrap();
    User::create(unit.ids().fresh(), NewUser::new(address), Fixture::start())
}

async fn only_rows_that_count_are_counted(f: Fixture) {
    let ctx = f.tenant("one").await;
    let mut unit = f.unit(&ctx).await;
    for name in ["kept", "archived"] {
        let definition = WorkflowDefinition::new(r#"{"nodes": [], "connections": {}}"#).unwrap();
        let (id, name) = (unit.ids().fresh(), Name::new(name).unwrap());
        let made = Workflow::create(id, name, definition, None, Fixture::start());
        unit.workflows().insert(&made).await.unwrap();
        if made.workflow.name.as_str() == "archived" {
            let archived = made.workflow.archived(Fixture::start()).unwrap();
            unit.workflows().update(&archived).await.unwrap();
        }
    }
    for name in ["a", "b", "c"] {
        let mut user = person(&mut *unit, name);
        unit.users().insert(&user).await.unwrap();
        if name == "c" {
            user.deactivate(Fixture::start()).unwrap();
            unit.users().update(&user).await.unwrap();
        }
    }
    let workflows = unit.limits().count_rows(CountedRows::Workflows);
    assert_eq!(workflows.await.unwrap(), 1);
    let users = unit.limits().count_rows(CountedRows::Users).await.unwrap();
    assert_eq!(users, 2);
}

async fn rows_are_admitted_up_to_the_bound(f: Fixture) {
    let ctx = f.tenant("one").await;
    f.user(&ctx, "first@example.com").await;
    let mut unit = f.unit(&ctx).await;
    let at_most = bounds(LimitName::USERS, Some(5), None);
    let admit = |asked| (CountedRows::Users, asked);
    for (asked, granted) in [(3, 3), (4, 4), (9, 4)] {
        let mut unit = f.unit(&ctx).await;
        let (rows, asked) = admit(asked);
        let done = unit.limits().admit_rows(rows, asked, &at_most).await;
        let done = done.unwrap();
        assert_eq!((done.granted, done.present), (granted, 1));
    }
    let free = bounds(LimitName::USERS, None, None);
    let done = unit.limits().admit_rows(CountedRows::Users, 9, &free).await;
    assert_eq!(done.unwrap().granted, 9);
    drop(unit);
    let mut unit = f.unit(&ctx).await;
    let soft = bounds(LimitName::USERS, None, Some(4));
    let told = unit.limits().admit_rows(CountedRows::Users, 3, &soft).await;
    let told: Vec<_> = told.unwrap().crossings;
    let told: Vec<_> = told.iter().map(|c| (c.threshold, c.used)).collect();
    assert_eq!(told, [(Threshold::Near, 4), (Threshold::Reached, 4)]);
}

async fn of_two_units_that_admit_rows_one_waits_or_loses(f: Fixture) {
    let ctx = f.tenant("one").await;
    let one = |name: &'static str| {
        let (f, ctx) = (&f, &ctx);
        on_conflict(&*f.store, move || async move {
            let mut unit = f.unit(ctx).await;
            let bound = bounds(LimitName::USERS, Some(1), None);
            let users = CountedRows::Users;
            let done = unit.limits().admit_rows(users, 1, &bound).await?;
            if done.granted == 1 {
                let user = person(&mut *unit, name);
                unit.users().insert(&user).await?;
            }
            unit.commit().await?;
            StoreResult::Ok(done.granted)
        })
    };
    let (a, b) = join!(one("a"), one("b"));
    assert_eq!(a.unwrap() + b.unwrap(), 1);
    let mut unit = f.unit(&ctx).await;
    let users = unit.limits().count_rows(CountedRows::Users).await;
    assert_eq!(users.unwrap(), 1);
}

async fn a_counter_begins_with_the_usage_of_its_window(f: Fixture) {
    let ctx = f.tenant("one").await;
    let month = month(LimitName::EXECUTIONS);
    let edge = month.start;
    f.use_up(&ctx, "before", 4, edge - TimeDelta::microseconds(1))
        .await;
    f.use_up(&ctx, "first", 2, edge).await;
    f.use_up(&ctx, "later", 3, Fixture::start()).await;
    f.add(&ctx, &month, 10, None).await;
    assert_eq!(f.says(&ctx, &month).await, counter(15, 0));
    f.use_up(&ctx, "not followed", 3, Fixture::start()).await;
    let mut unit = f.unit(&ctx).await;
    let all = [month.clone(), span(exports())];
    unit.limits().open(&all).await.unwrap();
    let says = unit.limits().counters(&all).await.unwrap();
    assert_eq!(says, [counter(15, 0), counter(0, 0)], "opened once");
    let ever = span(LimitName::EXECUTIONS);
    unit.limits()
        .open(std::slice::from_ref(&ever))
        .await
        .unwrap();
    let says = unit.limits().counters(&[ever]).await.unwrap();
    assert_eq!(says, [counter(12, 0)]);
}

async fn as_many_are_reserved_as_fit(f: Fixture) {
    let ctx = f.tenant("one").await;
    let span = span(exports());
    let (asked, done) = f.hold(&ctx, &span, Some(10), &[4, 3]).await;
    assert_eq!((done.granted, done.counter), (2, counter(0, 7)));
    let mut unit = f.unit(&ctx).await;
    let found = unit.limits().reservation(asked[1].id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&asked[1]));
    let again = unit.limits().reserve(&span, Some(10), &asked[..1]).await;
    // It does not fit any more, so the id is not looked at.
    assert_eq!(again.unwrap().granted, 0);
    drop(unit);
    let (late, done) = f.hold(&ctx, &span, Some(10), &[2, 2, 1]).await;
    assert_eq!((done.granted, done.counter), (1, counter(0, 9)));
    let mut unit = f.unit(&ctx).await;
    let found = unit.limits().reservation(late[1].id).await.unwrap();
    assert_eq!(found, None);
    drop(unit);
    let (_, done) = f.hold(&ctx, &span, Some(10), &[1]).await;
    assert_eq!((done.granted, done.counter), (1, counter(0, 10)));
    let (_, done) = f.hold(&ctx, &span, None, &[5]).await;
    assert_eq!((done.granted, done.counter), (1, counter(0, 15)));
    let (_, done) = f.hold(&ctx, &span, Some(10), &[1]).await;
    assert_eq!(done.granted, 0, "a bound that was lowered");
    let mut unit = f.unit(&ctx).await;
    let taken = unit.limits().reserve(&span, None, &asked[..1]).await;
    fails(taken, StoreErrorKind::AlreadyExists);
}

async fn two_units_never_reserve_more_than_the_bound(f: Fixture) {
    let ctx = f.tenant("one").await;
    let span = span(exports());
    let one = || {
        let (f, ctx, span) = (&f, &ctx, &span);
        on_conflict(&*f.store, move || async move {
            let mut unit = f.unit(ctx).await;
            let asked = ask(&mut *unit, span, 3);
            let done = unit.limits().reserve(span, Some(5), &[asked]).await?;
            unit.commit().await?;
            StoreResult::Ok(done.granted)
        })
    };
    let (a, b) = join!(one(), one());
    assert_eq!(a.unwrap() + b.unwrap(), 1);
    assert_eq!(f.says(&ctx, &span).await, counter(0, 3));
}

async fn a_dropped_unit_reserves_nothing(f: Fixture) {
    let ctx = f.tenant("one").await;
    let span = span(exports());
    let mut unit = f.unit(&ctx).await;
    let asked = ask(&mut *unit, &span, 3);
    let done = unit.limits().reserve(&span, Some(3), &[asked]).await;
    assert_eq!(done.unwrap().granted, 1);
    drop(unit);
    let (_, done) = f.hold(&ctx, &span, Some(3), &[3]).await;
    assert_eq!((done.granted, done.counter), (1, counter(0, 3)));
}

async fn a_reservation_is_settled_once(f: Fixture) {
    let ctx = f.tenant("one").await;
    let span = span(exports());
    let (asked, _) = f.hold(&ctx, &span, None, &[2, 3, 4]).await;
    let committed = f.settle_one(&ctx, asked[0].id, Settlement::Commit).await;
    assert_eq!(committed.len(), 1);
    assert_eq!(committed[0].state, ReservationState::Committed);
    assert_eq!(f.says(&ctx, &span).await, counter(2, 7));
    for into in [Settlement::Commit, Settlement::Release] {
        assert!(f.settle_one(&ctx, asked[0].id, into).await.is_empty());
    }
    assert_eq!(f.says(&ctx, &span).await, counter(2, 7));
    // Past its end, as long as nobody has given it back.
    f.clock.advance(TimeDelta::minutes(6));
    let released = f.settle_one(&ctx, asked[1].id, Settlement::Release).await;
    assert_eq!(released[0].state, ReservationState::Released);
    assert_eq!(f.says(&ctx, &span).await, counter(2, 4));
    let mut unit = f.unit(&ctx).await;
    let ids = [asked[2].id, asked[0].id, asked[2].id];
    let settled = unit.limits().settle(&ids, Settlement::Commit, &[]).await;
    let settled = settled.unwrap();
    assert_eq!(settled.reservations.len(), 1);
    assert!(settled.crossings.is_empty());
    unit.commit().await.unwrap();
    assert_eq!(f.says(&ctx, &span).await, counter(6, 0));
}

async fn use_is_recorded_whatever_the_bound(f: Fixture) {
    let ctx = f.tenant("one").await;
    let span = span(exports());
    f.hold(&ctx, &span, Some(5), &[5]).await;
    f.add(&ctx, &span, 100, Some(5)).await;
    assert_eq!(f.says(&ctx, &span).await, counter(100, 5));
    f.add(&ctx, &span, -30, Some(5)).await;
    assert_eq!(f.says(&ctx, &span).await, counter(70, 5));
    f.add(&ctx, &span, -500, Some(5)).await;
    assert_eq!(f.says(&ctx, &span).await, counter(0, 5), "never below zero");
    let mut unit = f.unit(&ctx).await;
    let one = LimitUse {
        span: span.clone(),
        amount: 2,
        base: None,
    };
    unit.limits().record(&[one.clone(), one]).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(f.says(&ctx, &span).await, counter(4, 5));
}

async fn use_needs_an_open_counter(f: Fixture) {
    let ctx = f.tenant("one").await;
    let mut unit = f.unit(&ctx).await;
    assert_eq!(unit.limits().record(&[]).await.unwrap(), []);
    let used = LimitUse {
        span: span(exports()),
        amount: 1,
        base: None,
    };
    let refused = unit.limits().record(&[used]).await;
    fails(refused, StoreErrorKind::NotFound);
}

async fn a_threshold_is_told_once_per_window_and_bound(f: Fixture) {
    let ctx = f.tenant("one").await;
    let ever = span(exports());
    let told = |crossings: Vec<Crossing>| -> Vec<(Threshold, u64, u64)> {
        let told = crossings.into_iter();
        told.map(|c| (c.threshold, c.bound, c.used)).collect()
    };
    assert_eq!(told(f.add(&ctx, &ever, 7, Some(10)).await), []);
    let near = told(f.add(&ctx, &ever, 1, Some(10)).await);
    assert_eq!(near, [(Threshold::Near, 10, 8)]);
    f.add(&ctx, &ever, -5, Some(10)).await;
    let both = told(f.add(&ctx, &ever, 20, Some(10)).await);
    assert_eq!(both, [(Threshold::Reached, 10, 23)], "80 % was told before");
    let raised = told(f.add(&ctx, &ever, 1, Some(30)).await);
    assert_eq!(raised, [(Threshold::Near, 30, 24)]);
    let month = month(exports());
    let anew = told(f.add(&ctx, &month, 10, Some(10)).await);
    assert_eq!(
        anew,
        [(Threshold::Near, 10, 10), (Threshold::Reached, 10, 10)]
    );
    assert_eq!(month.start.day(), 1);
}

async fn a_commit_tells_thresholds_too(f: Fixture) {
    let ctx = f.tenant("one").await;
    let span = span(exports());
    let (asked, _) = f.hold(&ctx, &span, Some(10), &[9, 1]).await;
    let at_most = [bounds(exports(), Some(10), None)];
    for (asked, threshold) in asked.iter().zip(Threshold::ALL) {
        let mut unit = f.unit(&ctx).await;
        let ids = [asked.id];
        let settled = unit
            .limits()
            .settle(&ids, Settlement::Commit, &at_most)
            .await;
        let crossings = settled.unwrap().crossings;
        assert_eq!(crossings.len(), 1);
        assert_eq!(crossings[0].threshold, threshold);
        assert_eq!(crossings[0].limit, exports());
        unit.commit().await.unwrap();
    }
}

async fn a_level_above_the_bound_is_refused_unless_it_falls(f: Fixture) {
    let ctx = f.tenant("one").await;
    let span = span(exports());
    let set = async |level, hard| {
        let mut unit = f.unit(&ctx).await;
        let at_most = bounds(exports(), Some(hard), None);
        let done = unit
            .limits()
            .set_level(&span, level, &at_most)
            .await
            .unwrap();
        unit.commit().await.unwrap();
        done.map(|told| told.len())
    };
    assert_eq!(set(9, 10).await, Some(1));
    assert_eq!(set(11, 10).await, None);
    assert_eq!(f.says(&ctx, &span).await, counter(9, 0));
    assert_eq!(set(10, 10).await, Some(1));
    assert_eq!(set(8, 5).await, Some(0), "less than before");
    assert_eq!(set(9, 5).await, None);
    assert_eq!(f.says(&ctx, &span).await, counter(8, 0));
}

async fn what_nobody_settled_in_time_is_given_back(f: Fixture) {
    let ctx = f.tenant("one").await;
    let span = span(exports());
    let (old, _) = f.hold(&ctx, &span, None, &[2, 3]).await;
    f.settle_one(&ctx, old[0].id, Settlement::Commit).await;
    f.clock.advance(TimeDelta::minutes(3));
    f.hold(&ctx, &span, None, &[4]).await;
    let expire = async || {
        let mut unit = f.unit(&ctx).await;
        let freed = unit.limits().expire(&span).await.unwrap();
        unit.commit().await.unwrap();
        freed
    };
    assert_eq!(expire().await, 0);
    f.clock.advance(TimeDelta::minutes(2));
    assert_eq!(expire().await, 3);
    assert_eq!(expire().await, 0);
    assert_eq!(f.says(&ctx, &span).await, counter(2, 4));
    assert!(
        f.settle_one(&ctx, old[1].id, Settlement::Commit)
            .await
            .is_empty()
    );
    let mut unit = f.unit(&ctx).await;
    let found = unit.limits().reservation(old[1].id).await.unwrap();
    assert_eq!(found.unwrap().state, ReservationState::Expired);
}

async fn a_sweep_gives_back_and_forgets(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let span = span(exports());
    let (held, _) = f.hold(&one, &span, None, &[2, 3]).await;
    f.hold(&two, &span, None, &[4]).await;
    f.settle_one(&one, held[0].id, Settlement::Commit).await;
    let sweep = async |limit| {
        let mut unit = f.platform().await;
        let swept = unit.reservations().sweep(limit).await.unwrap();
        unit.commit().await.unwrap();
        swept
    };
    assert_eq!(sweep(10).await, Swept::default());
    f.clock.advance(TimeDelta::minutes(5));
    let two_expired = Swept {
        expired: 2,
        forgotten: 0,
    };
    assert_eq!(sweep(10).await, two_expired);
    assert_eq!(f.says(&one, &span).await, counter(2, 0));
    assert_eq!(f.says(&two, &span).await, counter(0, 0));
    assert_eq!(sweep(10).await, Swept::default());
    f.clock.advance(TimeDelta::hours(Reservation::KEPT_HOURS));
    for forgotten in [2, 1, 0] {
        let swept = sweep(2).await;
        assert_eq!((swept.expired, swept.forgotten), (0, forgotten));
    }
    let mut unit = f.unit(&one).await;
    assert_eq!(unit.limits().reservation(held[0].id).await.unwrap(), None);
    drop(unit);
    assert_eq!(f.says(&one, &span).await, counter(2, 0));
}

async fn counters_are_reconciled_with_the_rows(f: Fixture) {
    let ctx = f.tenant("one").await;
    let (month, own) = (month(LimitName::EXECUTIONS), span(exports()));
    f.add(&ctx, &month, 5, None).await;
    f.use_up(&ctx, "a", 3, Fixture::start()).await;
    f.add(&ctx, &own, 6, None).await;
    f.hold(&ctx, &month, None, &[2]).await;
    let reconcile = async || {
        let mut unit = f.unit(&ctx).await;
        let spans = [month.clone(), own.clone(), span(LimitName::AI_CALLS)];
        let drifts = unit.limits().reconcile(&spans).await.unwrap();
        unit.commit().await.unwrap();
        drifts
    };
    let drifts = reconcile().await;
    assert_eq!(drifts.len(), 1);
    assert_eq!(drifts[0].span, month);
    assert_eq!(
        (drifts[0].before, drifts[0].after),
        (counter(5, 2), counter(3, 2))
    );
    assert_eq!(f.says(&ctx, &month).await, counter(3, 2));
    assert_eq!(f.says(&ctx, &own).await, counter(6, 0));
    assert!(reconcile().await.is_empty());
}

async fn limits_belong_to_their_tenant(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let span = span(exports());
    let (held, _) = f.hold(&one, &span, Some(5), &[5]).await;
    let (_, done) = f.hold(&two, &span, Some(5), &[1]).await;
    assert_eq!((done.granted, done.counter), (1, counter(0, 1)));
    let mut unit = f.unit(&two).await;
    let limits = unit.limits();
    assert_eq!(limits.reservation(held[0].id).await.unwrap(), None);
    let ids = [held[0].id];
    let settled = limits.settle(&ids, Settlement::Commit, &[]).await.unwrap();
    assert!(settled.reservations.is_empty());
    let own = Reservation {
        amount: 1,
        ..held[0].clone()
    };
    // The same id is another reservation here.
    assert_eq!(
        limits
            .reserve(&span, Some(5), &[own])
            .await
            .unwrap()
            .granted,
        1
    );
    unit.commit().await.unwrap();
    f.clock.advance(TimeDelta::hours(1));
    let mut unit = f.unit(&two).await;
    assert_eq!(unit.limits().expire(&span).await.unwrap(), 2);
    unit.commit().await.unwrap();
    assert_eq!(f.says(&one, &span).await, counter(0, 5));
    f.user(&one, "a@example.com").await;
    let mut unit = f.unit(&two).await;
    let users = unit.limits().count_rows(CountedRows::Users).await;
    assert_eq!(users.unwrap(), 0);
    let told = f.add(&one, &span, 5, Some(5)).await;
    assert_eq!(told.len(), 2);
    assert_eq!(f.add(&two, &span, 5, Some(5)).await.len(), 2);
}

async fn a_tenant_that_does_not_exist_has_no_counters(f: Fixture) {
    let mut unit = f.platform().await;
    let nobody = NewTenant::named("nobody").unwrap();
    let nobody = Tenant::create(unit.ids().fresh(), nobody, Fixture::start());
    let ctx = Context::system(nobody.id);
    let span = span(exports());
    assert_eq!(f.unit(&ctx).await.limits().terms().await.unwrap(), None);
    assert_eq!(f.says(&ctx, &span).await, Counter::default());
    let mut unit = f.unit(&ctx).await;
    let opened = unit.limits().open(std::slice::from_ref(&span)).await;
    fails(opened, StoreErrorKind::NotFound);
    let mut unit = f.unit(&ctx).await;
    let asked = ask(&mut *unit, &span, 1);
    let reserved = unit.limits().reserve(&span, None, &[asked]).await;
    fails(reserved, StoreErrorKind::NotFound);
    let mut unit = f.unit(&ctx).await;
    let free = bounds(LimitName::USERS, None, None);
    let admitted = unit.limits().admit_rows(CountedRows::Users, 1, &free).await;
    fails(admitted, StoreErrorKind::NotFound);
}

//! What every unit of work promises, whatever it writes.

use std::sync::Arc;

use chrono::TimeDelta;
use futures_util::join;

use super::fixture::{Fixture, fails};
use crate::domain::context::Context;
use crate::domain::tenancy::Tenant;
use crate::domain::text::Name;
use crate::domain::time::Month;
use crate::store::{StoreErrorKind, StoreResult, UnitOfWork, on_conflict};

super::list_cases! { "units":
    a_unit_reads_its_own_writes_and_nobody_else_does,
    a_dropped_unit_leaves_nothing,
    two_units_that_change_different_rows_both_survive,
    of_two_units_that_change_one_row_one_wins,
    a_unit_that_failed_is_spent,
    a_batch_of_nothing_does_nothing,
    two_units_that_lock_one_tenant_follow_each_other,
    a_unit_is_run_again_after_a_conflict,
    a_unit_reads_the_clock_once,
    ids_are_never_given_twice,
    a_tenant_that_does_not_exist_reads_nothing_and_writes_nothing,
    months_can_be_created_once,
    the_window_follows_the_months_and_the_clock,
    units_of_many_tenants_at_once_do_not_disturb_each_other,
}

fn renamed(tenant: &Tenant, name: &str) -> Tenant {
    let mut tenant = tenant.clone();
    tenant.profile.name = Name::new(name).unwrap();
    tenant
}

async fn own(unit: &mut dyn UnitOfWork) -> Tenant {
    unit.tenants().get().await.unwrap().unwrap()
}

async fn name_of(fixture: &Fixture, context: &Context) -> String {
    let mut unit = fixture.unit(context).await;
    own(&mut *unit).await.profile.name.to_string()
}

async fn a_unit_reads_its_own_writes_and_nobody_else_does(f: Fixture) {
    let ctx = f.tenant("before").await;
    let mut unit = f.unit(&ctx).await;
    let tenant = own(&mut *unit).await;
    unit.tenants()
        .update_profile(&renamed(&tenant, "after"))
        .await
        .unwrap();
    assert_eq!(own(&mut *unit).await.profile.name.as_str(), "after");
    assert_eq!(name_of(&f, &ctx).await, "before");
    unit.commit().await.unwrap();
    assert_eq!(name_of(&f, &ctx).await, "after");
}

async fn a_dropped_unit_leaves_nothing(f: Fixture) {
    let ctx = f.tenant("before").await;
    let mut unit = f.unit(&ctx).await;
    let tenant = own(&mut *unit).await;
    unit.tenants()
        .update_profile(&renamed(&tenant, "after"))
        .await
        .unwrap();
    drop(unit);
    assert_eq!(name_of(&f, &ctx).await, "before");
}

async fn two_units_that_change_different_rows_both_survive(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let (mut a, mut b) = (f.unit(&one).await, f.unit(&two).await);
    let (in_a, in_b) = (own(&mut *a).await, own(&mut *b).await);
    a.tenants()
        .update_profile(&renamed(&in_a, "a"))
        .await
        .unwrap();
    b.tenants()
        .update_profile(&renamed(&in_b, "b"))
        .await
        .unwrap();
    a.commit().await.unwrap();
    b.commit().await.unwrap();
    assert_eq!(
        (name_of(&f, &one).await, name_of(&f, &two).await),
        ("a".into(), "b".into())
    );
}

async fn of_two_units_that_change_one_row_one_wins(f: Fixture) {
    let ctx = f.tenant("before").await;
    let (mut a, mut b) = (f.unit(&ctx).await, f.unit(&ctx).await);
    let (in_a, in_b) = (own(&mut *a).await, own(&mut *b).await);
    a.tenants()
        .update_profile(&renamed(&in_a, "a"))
        .await
        .unwrap();
    // The second writer may wait for the first, so both go on at the same time.
    let second = async {
        b.tenants().update_profile(&renamed(&in_b, "b")).await?;
        b.commit().await
    };
    let (first, second) = join!(a.commit(), second);
    first.unwrap();
    fails(second, StoreErrorKind::Conflict);
    assert_eq!(name_of(&f, &ctx).await, "a");
}

async fn a_unit_that_failed_is_spent(f: Fixture) {
    let ctx = f.tenant("before").await;
    let mut unit = f.unit(&ctx).await;
    let tenant = own(&mut *unit).await;
    unit.tenants()
        .update_profile(&renamed(&tenant, "after"))
        .await
        .unwrap();
    let stale = renamed(&tenant, "again");
    fails(
        unit.tenants().update_profile(&stale).await,
        StoreErrorKind::Conflict,
    );
    fails(unit.tenants().get().await, StoreErrorKind::Spent);
    fails(unit.window().await, StoreErrorKind::Spent);
    fails(unit.commit().await, StoreErrorKind::Spent);
    assert_eq!(name_of(&f, &ctx).await, "before");
}

/// Writes nothing in each way that takes a batch, and answers the kinds of what failed.
async fn nothing(unit: &mut dyn UnitOfWork) -> Vec<StoreErrorKind> {
    let failed = [
        unit.workflows().ensure_external(&[]).await.map(drop),
        unit.executions().insert(&[]).await,
        unit.executions().update(&[]).await,
        unit.executions().attach(&[]).await,
        unit.executions().contradict(&[]).await.map(drop),
        unit.events().append(&[]).await.map(drop),
        unit.usage().record(&[]).await.map(drop),
        unit.outbox().enqueue(&[]).await,
    ];
    let failed = failed.into_iter().filter_map(Result::err);
    failed.map(|error| error.kind()).collect()
}

async fn a_batch_of_nothing_does_nothing(f: Fixture) {
    let ctx = f.tenant("t").await;
    let nobody = Context::system(f.platform().await.ids().fresh());
    for ctx in [&ctx, &nobody] {
        let mut unit = f.unit(ctx).await;
        assert_eq!(nothing(&mut *unit).await, []);
        unit.commit().await.unwrap();
    }
    let mut spent = f.unit(&ctx).await;
    let user = spent.ids().fresh();
    fails(spent.audit().forget(user).await, StoreErrorKind::Invalid);
    assert_eq!(nothing(&mut *spent).await, [StoreErrorKind::Spent; 8]);
}

async fn two_units_that_lock_one_tenant_follow_each_other(f: Fixture) {
    let ctx = f.tenant("0").await;
    let count_up = || async {
        on_conflict(&*f.store, || async {
            let mut unit = f.store.begin(&ctx).await?;
            let tenant = unit.tenants().lock().await?.unwrap();
            let count: u32 = tenant.profile.name.as_str().parse().unwrap();
            unit.tenants()
                .update_profile(&renamed(&tenant, &(count + 1).to_string()))
                .await?;
            unit.commit().await
        })
        .await
    };
    let (a, b, c, d) = join!(count_up(), count_up(), count_up(), count_up());
    for result in [a, b, c, d] {
        StoreResult::unwrap(result);
    }
    assert_eq!(name_of(&f, &ctx).await, "4");
}

async fn a_unit_is_run_again_after_a_conflict(f: Fixture) {
    let ctx = f.tenant("before").await;
    let mut other = Some(f.unit(&ctx).await);
    let tenant = own(&mut **other.as_mut().unwrap()).await;
    let rival = renamed(&tenant, "rival");
    other
        .as_mut()
        .unwrap()
        .tenants()
        .update_profile(&rival)
        .await
        .unwrap();
    let rival = std::sync::Mutex::new(other);
    let tries = std::sync::atomic::AtomicU32::new(0);
    let result: StoreResult<()> = on_conflict(&*f.store, || async {
        let mut unit = f.store.begin(&ctx).await?;
        let tenant = unit.tenants().get().await?.unwrap();
        tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let rival = rival.lock().unwrap().take();
        if let Some(rival) = rival {
            rival.commit().await?;
        }
        unit.tenants()
            .update_profile(&renamed(&tenant, "mine"))
            .await?;
        unit.commit().await
    })
    .await;
    result.unwrap();
    assert_eq!(tries.into_inner(), 2);
    assert_eq!(name_of(&f, &ctx).await, "mine");
}

async fn a_unit_reads_the_clock_once(f: Fixture) {
    let ctx = f.tenant("t").await;
    let mut unit = f.unit(&ctx).await;
    assert_eq!(unit.now(), Fixture::start());
    f.clock.advance(TimeDelta::seconds(1));
    own(&mut *unit).await;
    assert_eq!(unit.now(), Fixture::start());
    assert_eq!(
        f.unit(&ctx).await.now(),
        Fixture::start() + TimeDelta::seconds(1)
    );
}

async fn ids_are_never_given_twice(f: Fixture) {
    let ctx = f.tenant("t").await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..4 {
        let mut unit = f.unit(&ctx).await;
        for _ in 0..100 {
            assert!(seen.insert(unit.ids().fresh::<uuid::Uuid>()));
        }
    }
}

async fn a_tenant_that_does_not_exist_reads_nothing_and_writes_nothing(f: Fixture) {
    let ghost = f.platform().await.ids().fresh();
    let ctx = Context::system(ghost);
    let mut unit = f.unit(&ctx).await;
    assert_eq!(unit.tenants().get().await.unwrap(), None);
    assert_eq!(unit.tenants().lock().await.unwrap(), None);
    unit.commit().await.unwrap();
}

async fn months_can_be_created_once(f: Fixture) {
    let month = Month::of(Fixture::start());
    let mut unit = f.platform().await;
    let before = unit.months().months().await.unwrap();
    assert!(before.contains(&month));
    let first = month.minus(6);
    let created = unit.months().ensure(first, month).await.unwrap();
    let missing = first
        .through(month)
        .filter(|month| !before.contains(month))
        .count();
    assert_eq!(created, missing);
    assert_eq!(unit.months().ensure(first, month).await.unwrap(), 0);
    assert_eq!(
        unit.months().ensure(month, first).await.unwrap(),
        0,
        "an empty range"
    );
    unit.commit().await.unwrap();
    let after = f.platform().await.months().months().await.unwrap();
    assert!(first.through(month).all(|month| after.contains(&month)));
    assert!(after.is_sorted());
}

async fn the_window_follows_the_months_and_the_clock(f: Fixture) {
    let ctx = f.tenant("t").await;
    let window = f.unit(&ctx).await.window().await.unwrap();
    let now = Fixture::start();
    assert!(window.holds(now));
    assert!(window.holds(now + TimeDelta::minutes(5)));
    assert!(!window.holds(now + TimeDelta::minutes(6)));
    assert!(!window.holds(now - TimeDelta::days(400)));
    let mut unit = f.platform().await;
    let old = Month::of(now - TimeDelta::days(400));
    unit.months().ensure(old, old).await.unwrap();
    unit.commit().await.unwrap();
    let window = f.unit(&ctx).await.window().await.unwrap();
    assert!(window.holds(now - TimeDelta::days(400)));
    assert!(
        window
            .describe()
            .starts_with(&format!("from {old} to 2026-11-15T12:05:00Z"))
    );
}

async fn units_of_many_tenants_at_once_do_not_disturb_each_other(f: Fixture) {
    let f = Arc::new(f);
    let work = |number: usize| {
        let f = Arc::clone(&f);
        async move {
            let ctx = f.tenant(&format!("tenant {number}")).await;
            let mut unit = f.unit(&ctx).await;
            let tenant = own(&mut *unit).await;
            let name = format!("renamed {number}");
            unit.tenants()
                .update_profile(&renamed(&tenant, &name))
                .await
                .unwrap();
            unit.commit().await.unwrap();
            assert_eq!(name_of(&f, &ctx).await, name);
        }
    };
    futures_util::future::join_all((0..8).map(work)).await;
}

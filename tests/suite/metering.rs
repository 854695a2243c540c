//! Usage and analytics through the services, on both backends.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use rust_decimal::Decimal;
use tenantry::domain::access::Permission;
use tenantry::domain::analytics::{EventData, EventType, NewEvent};
use tenantry::domain::identity::{NewUser, Role};
use tenantry::domain::metering::{
    Aggregation, Meter, MeterName, MeteringError, NewUsage, Receipt, UsageRecord,
};
use tenantry::domain::page::PageRequest;
use tenantry::domain::tenancy::NewTenant;
use tenantry::domain::text::{Email, ExternalId, Name, UsageKey};
use tenantry::domain::time::Period;
use tenantry::store::{EventFilter, Store, UsageFilter};
use tenantry::{Context, Error, ErrorKind, PlatformContext, Tenantry};

use crate::backend::{each_backend, noon};

/// A tenant, and one of its users who may read only.
struct Scene {
    app: Tenantry,
    ctx: Context,
    viewer: Context,
}

impl Scene {
    async fn of(store: &Arc<dyn Store>) -> Self {
        let app = Tenantry::new(Arc::clone(store));
        let new = NewTenant::named("t").unwrap();
        let operator = PlatformContext::system();
        let tenant = app.tenants().create(&operator, new).await.unwrap();
        let ctx = Context::system(tenant.id);
        let mut viewer = NewUser::new(Email::new("viewer@example.com").unwrap());
        viewer.roles.push(Role::Viewer);
        let viewer = app.users().create(&ctx, &viewer).await.unwrap();
        let viewer = Context::user(tenant.id, viewer.id);
        Self { app, ctx, viewer }
    }

    async fn records(&self) -> Vec<UsageRecord> {
        let all = PageRequest::first(PageRequest::MAX);
        let filter = UsageFilter::default();
        let page = self.app.metering().list(&self.viewer, &filter, &all).await;
        page.unwrap().items
    }

    /// The sum and the count of the executions of the last ten days.
    async fn executions(&self) -> (Decimal, i64) {
        let days = Period::new(noon() - TimeDelta::days(10), noon()).unwrap();
        let metering = self.app.metering();
        let total = metering.total(&self.viewer, &MeterName::EXECUTIONS, &days, None);
        let total = total.await.unwrap();
        (total.value, total.count)
    }
}

fn key(text: &str) -> UsageKey {
    UsageKey::new(text).unwrap()
}

fn name(text: &str) -> MeterName {
    MeterName::new(text).unwrap()
}

fn run(text: &str, quantity: i64) -> NewUsage {
    let at = noon() - TimeDelta::hours(1);
    NewUsage::new(key(text), MeterName::EXECUTIONS, quantity, at)
}

#[track_caller]
fn missing<T: std::fmt::Debug>(result: Result<T, Error>, permission: Permission) {
    match result {
        Err(Error::Denied(denied)) => assert_eq!(denied.permission, permission),
        other => panic!("expected {permission} to be missing, got {other:?}"),
    }
}

#[track_caller]
fn broken<T: std::fmt::Debug>(result: Result<T, Error>, rule: &MeteringError) {
    match result {
        Err(Error::Metering(error)) => assert_eq!(error, *rule),
        other => panic!("expected {rule:?}, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_is_refused_does_not_stop_the_others() {
    for backed in each_backend().await {
        let scene = Scene::of(&backed.store).await;
        let metering = scene.app.metering();
        let old = NewUsage {
            occurred_at: noon() - TimeDelta::days(400),
            ..run("old", 1)
        };
        let early = NewUsage {
            occurred_at: noon() + TimeDelta::minutes(6),
            ..run("early", 1)
        };
        let unknown = NewUsage {
            meter: name("unknown"),
            ..run("unknown", 1)
        };
        let batch = [
            run("a", 1),
            old,
            unknown,
            run("negative", -1),
            early,
            run("b", 2),
            run("a", 3),
        ];
        let results = metering.record(&scene.ctx, &batch).await.unwrap();
        let told: Vec<_> = results
            .iter()
            .map(|result| match result {
                Ok(receipt) => format!("new: {}", receipt.new),
                Err(error) => error.to_string(),
            })
            .collect();
        assert_eq!(
            told,
            [
                "new: true",
                "usage of 2025-10-11 12:00:00 UTC is outside the months that are kept: \
                 from 2026-10 to 2026-11-15T12:05:00Z",
                "meter `unknown` is not defined; define it first",
                "quantity -1 must not be negative: only meters of levels take negative quantities",
                "usage of 2026-11-15 12:06:00 UTC is outside the months that are kept: \
                 from 2026-10 to 2026-11-15T12:05:00Z",
                "new: true",
                "usage key `a` is taken by a record with another quantity",
            ],
            "{}",
            backed.name
        );
        assert_eq!(scene.executions().await, (Decimal::from(3), 2));
        let again = metering.record(&scene.ctx, &batch[..1]).await.unwrap();
        let id = results[0].as_ref().unwrap().id;
        assert_eq!(again, [Ok(Receipt { id, new: false })]);
        assert_eq!(metering.get(&scene.viewer, id).await.unwrap().id, id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_recorded_by_services_and_read_by_users() {
    for backed in each_backend().await {
        let scene = Scene::of(&backed.store).await;
        let (app, viewer) = (&scene.app, &scene.viewer);
        let metering = app.metering();
        let denied = metering.record(viewer, &[run("a", 1)]).await;
        missing(denied, Permission::UsageRecord);
        let [receipt] = metering
            .record(&scene.ctx, &[run("a", 1)])
            .await
            .unwrap()
            .try_into()
            .unwrap();
        let id = receipt.unwrap().id;
        let denied = metering.void(viewer, id, "no").await;
        missing(denied, Permission::UsageRecord);
        let denied = metering.replace(viewer, id, &run("b", 1), "no").await;
        missing(denied, Permission::UsageRecord);
        let seats = Meter::new(name("seats"), Aggregation::Level);
        missing(
            metering.define_meter(viewer, &seats).await,
            Permission::UsageRecord,
        );
        let stranger = Context::user(scene.ctx.tenant(), id.as_uuid().into());
        let period = Period::at(noon());
        missing(
            metering.totals(&stranger, &period, None).await,
            Permission::UsageRead,
        );
        missing(metering.get(&stranger, id).await, Permission::UsageRead);
        let login = NewEvent::new(EventType::USER_LOGIN, noon(), EventData::default());
        missing(
            app.analytics().record(viewer, &[login]).await,
            Permission::AnalyticsRecord,
        );
        let page = PageRequest::default();
        let filter = EventFilter::default();
        missing(
            app.analytics().list(&stranger, &filter, &page).await,
            Permission::AnalyticsRead,
        );
        assert_eq!(scene.records().await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_corrected_once() {
    for backed in each_backend().await {
        let scene = Scene::of(&backed.store).await;
        let metering = scene.app.metering();
        let ctx = &scene.ctx;
        let items = [run("a", 5), run("b", 7), run("c", 9)];
        let receipts = metering.record(ctx, &items).await.unwrap();
        let ids: Vec<_> = receipts.iter().map(|r| r.as_ref().unwrap().id).collect();

        let void = metering.void(ctx, ids[0], "typo").await.unwrap();
        assert!(void.new);
        let again = metering.void(ctx, ids[0], "typo, again").await.unwrap();
        assert_eq!((again.id, again.new), (void.id, false));
        broken(
            metering.void(ctx, void.id, "no").await,
            &MeteringError::IsVoid { id: void.id },
        );
        assert_eq!(scene.executions().await, (Decimal::from(16), 2));

        let better = run("b, put right", 70);
        let placed = metering
            .replace(ctx, ids[1], &better, "typo")
            .await
            .unwrap();
        assert!(placed.new);
        let again = metering
            .replace(ctx, ids[1], &better, "typo")
            .await
            .unwrap();
        assert_eq!((again.id, again.new), (placed.id, false));
        let rival = metering.replace(ctx, ids[1], &run("rival", 1), "no").await;
        broken(rival, &MeteringError::AlreadyCorrected { id: ids[1] });
        let taken = metering.replace(ctx, ids[2], &run("a", 1), "no").await;
        match taken {
            Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists),
            Ok(receipt) => panic!("the key is taken, but got {receipt:?}"),
        }
        assert_eq!(scene.executions().await, (Decimal::from(79), 2));
        let corrections = metering.corrections(&scene.viewer, ids[1]).await.unwrap();
        assert_eq!(corrections.len(), 2);
        let nothing = metering
            .void(ctx, ctx.tenant().as_uuid().into(), "no")
            .await;
        assert_eq!(nothing.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_defines_its_own_meters() {
    for backed in each_backend().await {
        let scene = Scene::of(&backed.store).await;
        let (metering, ctx) = (scene.app.metering(), &scene.ctx);
        let seats = Meter::new(name("seats"), Aggregation::Level);
        let defined = metering.define_meter(ctx, &seats).await.unwrap();
        assert_eq!(
            metering.define_meter(ctx, &seats).await.unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
        let built_in = Meter::new(MeterName::STORAGE, Aggregation::Sum);
        broken(
            metering.define_meter(ctx, &built_in).await,
            &MeteringError::BuiltIn {
                meter: MeterName::STORAGE,
            },
        );
        let unit = Name::new("people").unwrap();
        let changed = metering.change_unit(ctx, &seats.name, 1, Some(&unit)).await;
        assert_eq!(changed.unwrap().revision, 2);
        let stale = metering.change_unit(ctx, &seats.name, 1, None).await;
        assert_eq!(stale.unwrap_err().kind(), ErrorKind::Stale);
        let custom = metering.custom_meters(&scene.viewer).await.unwrap();
        assert_eq!((custom.len(), custom[0].id), (1, defined.id));
        let names: Vec<_> = metering.meters(&scene.viewer).await.unwrap();
        let names: Vec<_> = names.iter().map(|meter| meter.name.as_str()).collect();
        assert_eq!(
            names,
            ["ai_calls", "execution_ms", "executions", "seats", "storage"]
        );

        let seat = |text: &str, quantity: i64, days: i64| {
            let at = noon() - TimeDelta::days(days);
            NewUsage::new(key(text), name("seats"), quantity, at)
        };
        let items = [seat("hired", 3, 9), seat("left", -1, 4)];
        let receipts = metering.record(ctx, &items).await.unwrap();
        assert!(receipts.iter().all(Result::is_ok));
        let days = |from, until| {
            let ago = |days| noon() - TimeDelta::days(days);
            Period::new(ago(from), ago(until)).unwrap()
        };
        for (period, expected) in [(days(10, 5), 3), (days(5, 0), 2), (days(2, 1), 2)] {
            let totals = metering.totals(&scene.viewer, &period, None).await.unwrap();
            let values: BTreeMap<_, _> = totals
                .iter()
                .map(|total| (total.meter.as_str(), total.value))
                .collect();
            assert_eq!(values["seats"], Decimal::from(expected));
            assert_eq!(values["executions"], Decimal::ZERO);
        }
    }
}

/// Sixteen units at once, each with its own overlapping part of the same keys in its own order.
#[tokio::test(flavor = "multi_thread")]
async fn every_key_is_recorded_once_by_parallel_units() {
    const KEYS: usize = 200;
    const UNITS: usize = 16;
    for backed in each_backend().await {
        let scene = Scene::of(&backed.store).await;
        let item = |n: usize| run(&format!("key {n}"), i64::try_from(n).unwrap());
        let units = (0..UNITS).map(|unit| {
            // A stride that has no divisor in common with the number of keys visits all of them.
            let stride = [1, 3, 7, 9, 11, 13, 17, 19][unit % 8];
            let mut batch: Vec<_> = (0..KEYS / 2)
                .map(|n| item((unit * 37 + n * stride) % KEYS))
                .collect();
            if unit % 2 == 0 {
                batch.reverse();
            }
            let (metering, ctx) = (scene.app.metering(), scene.ctx.clone());
            tokio::spawn(async move {
                let mut new = 0;
                for part in batch.chunks(25) {
                    let receipts = metering.record(&ctx, part).await.unwrap();
                    new += receipts.iter().filter(|r| r.as_ref().unwrap().new).count();
                }
                new
            })
        });
        let units: Vec<_> = units.collect();
        let mut new = 0;
        for unit in units {
            new += unit.await.unwrap();
        }
        let records = scene.records().await;
        let keys: BTreeMap<_, _> = records
            .iter()
            .map(|record| (record.key.clone(), record.quantity))
            .collect();
        assert_eq!(
            (records.len(), keys.len(), new),
            (KEYS, KEYS, KEYS),
            "{}",
            backed.name
        );
        let sum: usize = (0..KEYS).sum();
        let expected = (Decimal::from(sum), i64::try_from(KEYS).unwrap());
        assert_eq!(scene.executions().await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rival_corrections_of_one_record_count_once() {
    for backed in each_backend().await {
        let scene = Scene::of(&backed.store).await;
        let metering = scene.app.metering();
        let [receipt] = metering
            .record(&scene.ctx, &[run("a", 5)])
            .await
            .unwrap()
            .try_into()
            .unwrap();
        let id = receipt.unwrap().id;
        let rivals: Vec<_> = (0..8)
            .map(|n| {
                let (metering, ctx) = (metering.clone(), scene.ctx.clone());
                let by = run(&format!("rival {n}"), 100);
                tokio::spawn(async move { metering.replace(&ctx, id, &by, "rival").await })
            })
            .collect();
        let mut placed = 0;
        for rival in rivals {
            match rival.await.unwrap() {
                Ok(receipt) => placed += usize::from(receipt.new),
                refused => broken(refused, &MeteringError::AlreadyCorrected { id }),
            }
        }
        assert_eq!(placed, 1, "{}", backed.name);
        assert_eq!(scene.executions().await, (Decimal::ONE_HUNDRED, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_recorded_by_key_within_the_window() {
    for backed in each_backend().await {
        let scene = Scene::of(&backed.store).await;
        let analytics = scene.app.analytics();
        let event = NewEvent {
            key: Some(ExternalId::new("k").unwrap()),
            ..NewEvent::new(EventType::USER_LOGIN, noon(), EventData::default())
        };
        let batch = [event.clone(), event.clone()];
        assert_eq!(analytics.record(&scene.ctx, &batch).await.unwrap(), 1);
        assert_eq!(analytics.record(&scene.ctx, &batch).await.unwrap(), 0);
        let page = PageRequest::default();
        let filter = EventFilter::default();
        let listed = analytics.list(&scene.viewer, &filter, &page).await.unwrap();
        assert_eq!(listed.items.len(), 1);
        let old = NewEvent {
            occurred_at: noon() - TimeDelta::days(400),
            ..event.clone()
        };
        let refused = analytics
            .record(&scene.ctx, &[old.clone()])
            .await
            .unwrap_err();
        assert_eq!(
            refused.to_string(),
            "event of 2025-10-11 12:00:00 UTC is outside the months that are kept: \
             from 2026-10 to 2026-11-15T12:05:00Z",
            "{}",
            backed.name
        );
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        let operator = PlatformContext::system();
        assert_eq!(
            analytics.record_platform(&operator, &batch).await.unwrap(),
            1
        );
        let refused = analytics.record_platform(&operator, &[old]).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
        let listed = analytics
            .list_platform(&operator, &filter, &page)
            .await
            .unwrap();
        assert_eq!(listed.items.len(), 1);
    }
}

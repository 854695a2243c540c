//! Limits through the services, on both backends: exact under any number of callers.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{TimeDelta, TimeZone, Utc};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tenantry::domain::billing_cycle::{Interval, IntervalUnit};
use tenantry::domain::catalogue::{Entitlement, Limit, LimitName, LimitWindow, PlanDefinition};
use tenantry::domain::execution::{ExecutionMode, ExecutionReport, ExecutionStatus};
use tenantry::domain::identity::{NewUser, Role};
use tenantry::domain::ids::{ReservationId, SourceId};
use tenantry::domain::limits::ReservationState;
use tenantry::domain::metering::{MeterName, NewUsage};
use tenantry::domain::outbox::MessageKey;
use tenantry::domain::page::PageRequest;
use tenantry::domain::payload::{Payload, PayloadPolicy};
use tenantry::domain::subscription::NewSubscription;
use tenantry::domain::tenancy::NewTenant;
use tenantry::domain::text::{Email, ExternalId, Name, PlanCode, UsageKey};
use tenantry::domain::workflow::{NewWorkflow, WorkflowDefinition, WorkflowSnapshot};
use tenantry::memory::MemoryStore;
use tenantry::service::{Delivery, LimitStatus, PublishError, Publisher, WorkflowOutcome};
use tenantry::store::{FixedEntropy, ManualClock, Store, UnitOfWork};
use tenantry::{Context, ErrorKind, PlatformContext, Tenantry};

use crate::backend::{Login, each_backend, fresh, noon};

const NODES: &str = r#"{"nodes": [], "connections": {}}"#;

fn exports() -> LimitName {
    LimitName::new("exports").unwrap()
}

fn minutes(minutes: i64) -> TimeDelta {
    TimeDelta::minutes(minutes)
}

/// Takes whatever comes.
struct Anything;

#[async_trait]
impl Publisher for Anything {
    async fn publish(&self, _: &Delivery) -> Result<(), PublishError> {
        Ok(())
    }
}

/// A tenant on a plan with these limits.
struct Scene {
    app: Tenantry,
    ctx: Context,
}

impl Scene {
    async fn of(store: &Arc<dyn Store>, limits: &[(LimitName, Limit)]) -> Self {
        let app = Tenantry::new(Arc::clone(store));
        let interval = Interval::new(IntervalUnit::Month, 1).unwrap();
        let mut definition = PlanDefinition::new(Name::new("Pro").unwrap(), interval);
        definition.limits = limits.iter().cloned().collect();
        let sso = Entitlement::new("sso").unwrap();
        definition.entitlements.insert(sso);
        let operator = PlatformContext::system();
        let code = PlanCode::new("pro").unwrap();
        let published = app.catalogue().publish(&operator, &code, &definition).await;
        published.unwrap();
        let mut new = NewTenant::named("acme").unwrap();
        new.plan = code;
        let tenant = app.tenants().create(&operator, new).await.unwrap();
        let ctx = Context::system(tenant.id);
        Self { app, ctx }
    }

    async fn usage(&self, limit: &LimitName) -> LimitStatus {
        let all = self.app.limits().usage(&self.ctx).await.unwrap();
        let found = all.into_iter().find(|one| one.bounds.limit == *limit);
        found.unwrap()
    }

    async fn taken(&self, limit: &LimitName) -> (u64, u64) {
        let status = self.usage(limit).await;
        (status.used, status.reserved)
    }

    async fn create_workflow(
        &self,
        name: &str,
    ) -> tenantry::Result<tenantry::domain::workflow::Workflow> {
        let definition = WorkflowDefinition::new(NODES).unwrap();
        let new = NewWorkflow::new(Name::new(name).unwrap(), definition);
        self.app.workflows().create(&self.ctx, new).await
    }

    async fn source(&self) -> SourceId {
        let name = Name::new("n8n").unwrap();
        let source = self.app.sources().register(&self.ctx, name).await;
        source.unwrap().id
    }

    /// The kinds and payloads of what was told of a limit, in order.
    async fn told(&self, limit: &LimitName) -> Vec<serde_json::Value> {
        let relay = self.app.relay(Arc::new(Anything));
        while relay.run_once().await.unwrap().published > 0 {}
        let (key, all) = (
            MessageKey::limit(limit),
            PageRequest::first(PageRequest::MAX),
        );
        let history = self.app.outbox().history(&self.ctx, &key, &all).await;
        let messages = history.unwrap().items.into_iter();
        messages
            .map(|message| {
                assert_eq!(message.kind.as_str(), "limit_threshold");
                serde_json::from_str(message.payload.as_str()).unwrap()
            })
            .collect()
    }
}

fn external(text: &str) -> ExternalId {
    ExternalId::new(text).unwrap()
}

fn snapshot(name: &str) -> WorkflowSnapshot {
    let payload = Payload::new(NODES, &PayloadPolicy::default()).unwrap();
    WorkflowSnapshot::new(external(name), name, payload)
}

fn run(id: &str, status: ExecutionStatus) -> ExecutionReport {
    let (id, of, at) = (external(id), external("flow"), noon() - minutes(10));
    ExecutionReport::new(id, of, status, ExecutionMode::Webhook, at)
        .with_stopped_at(at + TimeDelta::seconds(2))
        .with_snapshot(Arc::new(snapshot("flow")))
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: tenantry::Result<T>, kind: ErrorKind) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    error.to_string()
}

fn per_month(hard: u64) -> Limit {
    Limit::hard(hard).per(LimitWindow::Month)
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_at_once_get_exactly_what_there_is() {
    for backed in each_backend().await {
        let scene = Arc::new(Scene::of(&backed.store, &[(exports(), per_month(50))]).await);
        // In memory every unit that loses a race runs again at once: fewer callers at a time.
        let callers = if backed.name == "memory" { 8 } else { 64 };
        let each = 128 / callers;
        let mut tasks = Vec::new();
        for _ in 0..callers {
            let scene = Arc::clone(&scene);
            tasks.push(tokio::spawn(async move {
                let mut admitted = 0;
                for _ in 0..each {
                    let limits = scene.app.limits();
                    match limits.reserve(&scene.ctx, &exports(), 1, minutes(5)).await {
                        Ok(_) => admitted += 1,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}"),
                    }
                }
                admitted
            }));
        }
        let mut admitted = 0;
        for task in tasks {
            admitted += task.await.unwrap();
        }
        assert_eq!(admitted, 50, "{}", backed.name);
        assert_eq!(scene.taken(&exports()).await, (0, 50));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_that_still_fit_are_admitted_beside_those_that_do_not() {
    for backed in each_backend().await {
        let scene = Scene::of(&backed.store, &[(exports(), Limit::hard(10))]).await;
        let limits = scene.app.limits();
        let reserve = async |amount| {
            let limit = exports();
            limits.reserve(&scene.ctx, &limit, amount, minutes(5)).await
        };
        reserve(7).await.unwrap();
        let message = refused(reserve(4).await, ErrorKind::LimitExceeded);
        assert_eq!(
            message,
            "limit `exports`: 7 of 10 are in use, so 4 more cannot be had"
        );
        reserve(3).await.unwrap();
        refused(reserve(1).await, ErrorKind::LimitExceeded);
        refused(reserve(0).await, ErrorKind::Invalid);
        let check = limits.check(&scene.ctx, &exports(), 1).await;
        refused(check, ErrorKind::LimitExceeded);
        assert!(
            limits
                .check(&scene.ctx, &exports(), 0)
                .await
                .unwrap()
                .is_some()
        );
        let free = LimitName::new("not_limited").unwrap();
        assert_eq!(limits.check(&scene.ctx, &free, 1).await.unwrap(), None);
        let held = limits.reserve(&scene.ctx, &free, 5, minutes(5)).await;
        limits.commit(&scene.ctx, held.unwrap().id).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_may_be_repeated_and_not_turned_round() {
    for backed in each_backend().await {
        let scene = Scene::of(&backed.store, &[(exports(), Limit::hard(10))]).await;
        let (limits, ctx) = (scene.app.limits(), &scene.ctx);
        let one = limits
            .reserve(ctx, &exports(), 4, minutes(5))
            .await
            .unwrap();
        let two = limits
            .reserve(ctx, &exports(), 5, minutes(5))
            .await
            .unwrap();
        for _ in 0..2 {
            let committed = limits.commit(ctx, one.id).await.unwrap();
            assert_eq!(committed.state, ReservationState::Committed);
            let released = limits.release(ctx, two.id).await.unwrap();
            assert_eq!(released.state, ReservationState::Released);
        }
        assert_eq!(scene.taken(&exports()).await, (4, 0));
        refused(limits.release(ctx, one.id).await, ErrorKind::Invalid);
        let message = refused(limits.commit(ctx, two.id).await, ErrorKind::Invalid);
        assert!(message.ends_with("is released; only one that is held can be committed"));
        let nobodys = ReservationId::from_uuid(uuid::Uuid::from_u128(9));
        refused(limits.commit(ctx, nobodys).await, ErrorKind::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_created_at_once_stay_within_the_limit() {
    for backed in each_backend().await {
        let limit = LimitName::WORKFLOWS;
        let scene = Arc::new(Scene::of(&backed.store, &[(limit.clone(), Limit::hard(5))]).await);
        let callers = if backed.name == "memory" { 8 } else { 24 };
        let tasks = (0..callers).map(|number| {
            let scene = Arc::clone(&scene);
            tokio::spawn(async move { scene.create_workflow(&format!("w{number}")).await })
        });
        let (mut made, mut over) = (Vec::new(), 0);
        for task in tasks.collect::<Vec<_>>() {
            match task.await.unwrap() {
                Ok(workflow) => made.push(workflow),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
                    over += 1;
                }
            }
        }
        assert_eq!((made.len(), over), (5, callers - 5), "{}", backed.name);
        assert_eq!(scene.taken(&limit).await, (5, 0));

        let workflows = scene.app.workflows();
        workflows.archive(&scene.ctx, made[0].id).await.unwrap();
        scene.create_workflow("in its place").await.unwrap();
        let back = workflows.unarchive(&scene.ctx, made[0].id).await;
        refused(back, ErrorKind::LimitExceeded);
        workflows
            .delete(&scene.ctx, made[1].id, made[1].revision)
            .await
            .unwrap();
        workflows.unarchive(&scene.ctx, made[0].id).await.unwrap();
        refused(
            scene.create_workflow("one more").await,
            ErrorKind::LimitExceeded,
        );
        let told: Vec<_> = scene
            .told(&limit)
            .await
            .iter()
            .map(|told| (told["percent"].as_u64(), told["used"].as_u64()))
            .collect();
        assert_eq!(told, [(Some(80), Some(4)), (Some(100), Some(5))]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_created_at_once_stay_within_the_limit() {
    for backed in each_backend().await {
        let limit = LimitName::USERS;
        let scene = Arc::new(Scene::of(&backed.store, &[(limit.clone(), Limit::hard(4))]).await);
        let callers = if backed.name == "memory" { 8 } else { 16 };
        let tasks = (0..callers).map(|number| {
            let scene = Arc::clone(&scene);
            tokio::spawn(async move {
                let mut new = NewUser::new(Email::new(&format!("u{number}@acme.example")).unwrap());
                if number % 2 == 0 {
                    new.roles.push(Role::Owner);
                }
                scene.app.users().create(&scene.ctx, &new).await
            })
        });
        let (mut made, mut over) = (Vec::new(), 0);
        for task in tasks.collect::<Vec<_>>() {
            match task.await.unwrap() {
                Ok(user) => made.push(user),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
                    over += 1;
                }
            }
        }
        assert_eq!((made.len(), over), (4, callers - 4), "{}", backed.name);
        let (users, ctx) = (scene.app.users(), &scene.ctx);
        // The last owner stays, so somebody else goes.
        let owner = NewUser::new(Email::new("spare@acme.example").unwrap());
        let mut gone = None;
        for user in &made {
            if users.deactivate(ctx, user.id).await.is_ok() {
                gone = Some(user.id);
                break;
            }
        }
        users.create(ctx, &owner).await.unwrap();
        let back = users.reactivate(ctx, gone.unwrap()).await;
        refused(back, ErrorKind::LimitExceeded);
        assert_eq!(scene.taken(&limit).await, (4, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_takes_what_fits_and_says_what_does_not() {
    for backed in each_backend().await {
        let limit = LimitName::WORKFLOWS;
        let scene = Scene::of(&backed.store, &[(limit.clone(), Limit::hard(2))]).await;
        let source = scene.source().await;
        let shown: Vec<_> = ["a", "b", "c", "a"].map(snapshot).into();
        for first in [true, false] {
            let imported = scene
                .app
                .workflows()
                .import(&scene.ctx, source, &shown)
                .await
                .unwrap();
            let told: Vec<_> = imported
                .iter()
                .map(|one| match one {
                    Ok(WorkflowOutcome::Created(_)) => "created",
                    Ok(_) => "there",
                    Err(_) => "refused",
                })
                .collect();
            let new = if first { "created" } else { "there" };
            assert_eq!(told, [new, new, "refused", "there"], "{}", backed.name);
            let reason = imported[2].as_ref().unwrap_err().to_string();
            assert!(reason.contains("2 of 2 are in use"), "{reason}");
        }
        assert_eq!(scene.taken(&limit).await, (2, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_run_is_never_refused_and_told_once() {
    for backed in each_backend().await {
        let (runs, flows) = (LimitName::EXECUTIONS, LimitName::WORKFLOWS);
        let limits = [
            (runs.clone(), per_month(5)),
            (flows.clone(), Limit::hard(0)),
        ];
        let scene = Scene::of(&backed.store, &limits).await;
        let source = scene.source().await;
        let sync = async |from: usize, to: usize| {
            let reports: Vec<_> = (from..to)
                .map(|id| run(&id.to_string(), ExecutionStatus::Success))
                .collect();
            let executions = scene.app.executions();
            let done = executions.sync(&scene.ctx, source, &reports).await;
            done.unwrap().counts().stored
        };
        assert_eq!(sync(0, 3).await, 3);
        assert_eq!(scene.told(&runs).await.len(), 0);
        for _ in 0..2 {
            sync(0, 8).await;
            assert_eq!(scene.taken(&runs).await, (8, 0), "{}", backed.name);
        }
        assert_eq!(scene.taken(&flows).await, (1, 0), "created all the same");
        let told = scene.told(&runs).await;
        let percents: Vec<_> = told.iter().map(|told| told["percent"].as_u64()).collect();
        assert_eq!(percents, [Some(80), Some(100)]);
        assert_eq!(told[1]["limit"], "executions");
        assert_eq!(told[1]["bound"], 5);
        assert_eq!(told[1]["resets_at"], "2026-12-01T00:00:00Z");
        sync(8, 9).await;
        assert_eq!(scene.told(&runs).await.len(), 2);
        let more = scene.app.limits();
        let more = more.reserve(&scene.ctx, &runs, 1, minutes(1)).await;
        refused(more, ErrorKind::LimitExceeded);
        let drifts = scene.app.limits().reconcile(&scene.ctx).await.unwrap();
        assert!(drifts.is_empty(), "{drifts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_puts_the_run_in_the_place_of_its_reservation() {
    for backed in each_backend().await {
        let runs = LimitName::EXECUTIONS;
        let scene = Scene::of(&backed.store, &[(runs.clone(), per_month(3))]).await;
        let source = scene.source().await;
        let (limits, ctx) = (scene.app.limits(), &scene.ctx);
        let mut reports = Vec::new();
        for (id, status) in [
            ("good", ExecutionStatus::Success),
            ("not billed", ExecutionStatus::Canceled),
        ] {
            let held = limits.reserve(ctx, &runs, 1, minutes(5)).await.unwrap();
            reports.push(run(id, status).with_reservation(held.id));
        }
        assert_eq!(scene.taken(&runs).await, (0, 2));
        for _ in 0..2 {
            let executions = scene.app.executions();
            executions.sync(ctx, source, &reports).await.unwrap();
            assert_eq!(scene.taken(&runs).await, (1, 0), "{}", backed.name);
        }
        let held = limits.reserve(ctx, &runs, 2, minutes(5)).await;
        assert!(held.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_that_is_recorded_or_taken_back_moves_the_counter() {
    for backed in each_backend().await {
        let storage = LimitName::STORAGE;
        let scene = Scene::of(&backed.store, &[(storage.clone(), Limit::hard(100))]).await;
        let (metering, ctx) = (scene.app.metering(), &scene.ctx);
        let new = |key: &str, quantity: i64| {
            let key = UsageKey::new(key).unwrap();
            NewUsage::new(key, MeterName::STORAGE, quantity, noon())
        };
        let batch = [new("a", 60), new("b", 50), new("c", -30)];
        let done = metering.record(ctx, &batch).await.unwrap();
        metering.record(ctx, &batch).await.unwrap();
        assert_eq!(scene.taken(&storage).await, (80, 0), "{}", backed.name);
        let id = done[0].as_ref().unwrap().id;
        metering.void(ctx, id, "wrong").await.unwrap();
        metering.void(ctx, id, "wrong").await.unwrap();
        assert_eq!(scene.taken(&storage).await, (20, 0));
        let limits = scene.app.limits();
        refused(limits.record(ctx, &storage, 1).await, ErrorKind::Invalid);
        refused(limits.set_level(ctx, &storage, 1).await, ErrorKind::Invalid);
        let users = LimitName::USERS;
        refused(
            limits.reserve(ctx, &users, 1, minutes(1)).await,
            ErrorKind::Invalid,
        );
        assert!(limits.reconcile(ctx).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_and_entitlements() {
    for backed in each_backend().await {
        let scene = Scene::of(&backed.store, &[(exports(), Limit::hard(10))]).await;
        let (limits, ctx) = (scene.app.limits(), &scene.ctx);
        limits.set_level(ctx, &exports(), 10).await.unwrap();
        let message = refused(
            limits.set_level(ctx, &exports(), 11).await,
            ErrorKind::LimitExceeded,
        );
        assert_eq!(
            message,
            "limit `exports`: a level of 11 is above the bound of 10"
        );
        limits.set_level(ctx, &exports(), 3).await.unwrap();
        limits.record(ctx, &exports(), 9).await.unwrap();
        assert_eq!(scene.taken(&exports()).await, (12, 0));
        assert_eq!(scene.usage(&exports()).await.remaining(), Some(0));
        assert_eq!(scene.told(&exports()).await.len(), 2);
        let sso = Entitlement::new("sso").unwrap();
        assert!(limits.has(ctx, &sso).await.unwrap());
        let other = Entitlement::new("audit").unwrap();
        assert!(!limits.has(ctx, &other).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_decides_on_the_version_and_the_period() {
    for backed in each_backend().await {
        let per_period = |hard| Limit::hard(hard).per(LimitWindow::BillingPeriod);
        let scene = Scene::of(&backed.store, &[(exports(), per_period(3))]).await;
        let month = Utc.with_ymd_and_hms(2026, 11, 1, 0, 0, 0).unwrap();
        assert_eq!(scene.usage(&exports()).await.window_start, month);
        let code = PlanCode::new("pro").unwrap();
        let new = NewSubscription::to(code.clone());
        let subscriptions = scene.app.subscriptions();
        let subscription = subscriptions.start(&scene.ctx, &new).await.unwrap();
        let interval = Interval::new(IntervalUnit::Month, 1).unwrap();
        let mut next = PlanDefinition::new(Name::new("Pro").unwrap(), interval);
        next.limits.insert(exports(), per_period(9));
        let operator = PlatformContext::system();
        let catalogue = scene.app.catalogue();
        catalogue.publish(&operator, &code, &next).await.unwrap();
        let status = scene.usage(&exports()).await;
        assert_eq!(status.bounds.hard, Some(3), "{}", backed.name);
        assert_eq!(status.window_start, subscription.current_period.start());
        assert_eq!(status.resets_at, Some(subscription.current_period.end()));
    }
}

/// Reservations that expire while they are committed: each amount is used or given back, never
/// both and never neither.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_races_with_the_expiry_counts_once() {
    let clock = Arc::new(ManualClock::at(noon()));
    let database = fresh(Login::Plain, Arc::clone(&clock)).await;
    let store: Arc<dyn Store> = Arc::new(database.store.clone());
    let scene = Arc::new(Scene::of(&store, &[(exports(), Limit::hard(20))]).await);
    for round in 0..5 {
        let limits = scene.app.limits();
        let free = 20 - scene.taken(&exports()).await.0;
        let mut held = Vec::new();
        for _ in 0..free {
            let one = limits.reserve(&scene.ctx, &exports(), 1, minutes(1)).await;
            held.push(one.unwrap().id);
        }
        clock.advance(minutes(2));
        let mut commits = Vec::new();
        for id in held.iter().take(3).copied() {
            let scene = Arc::clone(&scene);
            commits.push(tokio::spawn(async move {
                let done = scene.app.limits().commit(&scene.ctx, id).await;
                done.is_ok()
            }));
        }
        let sweeper = Arc::clone(&scene);
        let sweep = tokio::spawn(async move {
            let operator = PlatformContext::system();
            sweeper.app.limits().expire(&operator).await.unwrap()
        });
        let asker = Arc::clone(&scene);
        let ask = tokio::spawn(async move {
            let limits = asker.app.limits();
            limits.reserve(&asker.ctx, &exports(), 1, minutes(60)).await
        });
        let mut committed = 0;
        for commit in commits {
            committed += u64::from(commit.await.unwrap());
        }
        sweep.await.unwrap();
        let asked = ask.await.unwrap().unwrap();
        limits.release(&scene.ctx, asked.id).await.unwrap();
        let operator = PlatformContext::system();
        limits.expire(&operator).await.unwrap();
        let expected = 20 - free + committed;
        assert_eq!(
            scene.taken(&exports()).await,
            (expected, 0),
            "round {round}"
        );
    }
    let drifts = scene.app.limits().reconcile(&scene.ctx).await.unwrap();
    assert!(drifts.is_empty());
}

/// Units of several actors in memory, whose steps a random number chooses: at every step what is
/// committed stays within the bound, and at the end exactly the bound can be had.
#[tokio::test]
async fn no_order_of_steps_admits_too_much_in_memory() {
    const BOUND: u64 = 12;
    for seed in 0..60_u64 {
        let memory = MemoryStore::with(
            Arc::new(ManualClock::at(noon())),
            Arc::new(FixedEntropy::new(seed)),
        );
        let store: Arc<dyn Store> = Arc::new(memory);
        let scene = Scene::of(&store, &[(exports(), Limit::hard(BOUND))]).await;
        let limits = scene.app.limits();
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut random = ChaCha8Rng::from_seed(bytes);
        let mut open: BTreeMap<u32, (Box<dyn UnitOfWork>, ReservationId)> = BTreeMap::new();
        let mut held = Vec::new();
        for _ in 0..120 {
            let actor = random.next_u32() % 6;
            match (open.remove(&actor), random.next_u32() % 4) {
                (Some((unit, id)), choice) if choice > 0 => {
                    if unit.commit().await.is_ok() {
                        held.push(id);
                    }
                }
                (Some(dropped), _) => drop(dropped),
                (None, 0) if !held.is_empty() => {
                    let place = random.next_u32() as usize % held.len();
                    let id = held.swap_remove(place);
                    limits.release(&scene.ctx, id).await.unwrap();
                }
                (None, _) => {
                    let mut unit = store.begin(&scene.ctx).await.unwrap();
                    let amount = 1 + u64::from(random.next_u32() % 4);
                    let asked = limits
                        .reserve_in(&mut *unit, &exports(), amount, minutes(5))
                        .await;
                    if let Ok(reservation) = asked {
                        open.insert(actor, (unit, reservation.id));
                    }
                }
            }
            let (used, reserved) = scene.taken(&exports()).await;
            assert!(
                used + reserved <= BOUND,
                "seed {seed}: {used} and {reserved}"
            );
        }
        drop(open);
        let (_, reserved) = scene.taken(&exports()).await;
        for _ in reserved..BOUND {
            let one = limits.reserve(&scene.ctx, &exports(), 1, minutes(5)).await;
            assert!(one.is_ok(), "seed {seed}: refused below the bound");
        }
        let over = limits.reserve(&scene.ctx, &exports(), 1, minutes(5)).await;
        refused(over, ErrorKind::LimitExceeded);
        assert!(limits.reconcile(&scene.ctx).await.unwrap().is_empty());
    }
}

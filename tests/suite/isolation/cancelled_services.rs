//! A caller who goes away in the midst of a service's call leaves all of it or nothing, and the
//! next borrower of the connection sees none of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::TimeDelta;
use sqlx::{AssertSqlSafe, PgPool, Row};
use tenantry::domain::execution::{ErrorEntry, ExecutionMode, ExecutionReport, ExecutionStatus};
use tenantry::domain::identity::{NewUser, Role, User};
use tenantry::domain::ids::{SourceId, UsageId};
use tenantry::domain::metering::{Aggregation, Meter, MeterName, NewUsage};
use tenantry::domain::outbox::{MessageKey, MessageKind, MessagePayload, OutboxMessage};
use tenantry::domain::page::PageRequest;
use tenantry::domain::payload::{Payload, PayloadPolicy};
use tenantry::domain::text::{Email, ExternalId, Name, UsageKey};
use tenantry::domain::workflow::{NewWorkflow, Workflow, WorkflowDefinition, WorkflowSnapshot};
use tenantry::service::{Delivery, PublishError, Publisher};
use tenantry::store::Store;
use tenantry::{Context, PlatformContext, Tenantry};

use super::cancellation::{Narrow, interrupted};
use crate::backend::noon;

/// How many rows each table has, and how often they were changed.
type Counts = BTreeMap<String, i64>;

/// The number of the round that shows what the whole work does.
const UNINTERRUPTED: usize = 1_000_000;

/// Two tenants, of which one works and is interrupted, and a view on the tables from outside.
struct Scene {
    narrow: Narrow,
    app: Tenantry,
    outside: PgPool,
    count: String,
}

impl Scene {
    async fn new() -> Self {
        let narrow = Narrow::new().await;
        let outside = narrow.database.pool().await;
        let tables = sqlx::query(
            "SELECT string_agg(format('SELECT %L AS name, count(*)%s AS n FROM tenantry.%I',
                c.relname,
                (SELECT ' + coalesce(sum(revision), 0)::bigint' FROM pg_attribute a
                    WHERE a.attrelid = c.oid AND a.attname = 'revision'),
                c.relname), ' UNION ALL ') AS count
            FROM pg_class c
            WHERE c.relnamespace = 'tenantry'::regnamespace
                AND c.relkind IN ('r', 'p') AND NOT c.relispartition",
        );
        let tables = tables.fetch_one(&outside).await.unwrap();
        Self {
            app: Tenantry::new(Arc::new(narrow.store.clone())),
            count: tables.get("count"),
            outside,
            narrow,
        }
    }

    async fn counts(&self) -> Counts {
        let query = sqlx::query(AssertSqlSafe(self.count.clone()));
        let rows = query.fetch_all(&self.outside).await.unwrap();
        rows.iter()
            .map(|row| (row.get("name"), row.get("n")))
            .collect()
    }

    /// What was added since.
    async fn added(&self, before: &Counts) -> Counts {
        let mut added = self.counts().await;
        for (table, count) in &mut added {
            *count -= before[table];
        }
        added.retain(|_, count| *count != 0);
        added
    }

    /// The other tenant, on the same connection, has what it had: itself.
    async fn other_sees_nothing(&self) {
        let two = &self.narrow.two;
        let page = PageRequest::first(1);
        let mut unit = self.narrow.store.begin(two).await.unwrap();
        let users = unit.users().page(None, &page).await.unwrap();
        assert_eq!(users.items, []);
        let all = Default::default();
        assert_eq!(unit.workflows().page(&all, &page).await.unwrap().items, []);
        let all = Default::default();
        assert_eq!(unit.executions().page(&all, &page).await.unwrap().items, []);
        let all = Default::default();
        assert_eq!(unit.usage().page(&all, &page).await.unwrap().items, []);
        let all = Default::default();
        assert_eq!(unit.events().page(&all, &page).await.unwrap().items, []);
        let all = Default::default();
        let trail = unit.audit().page(&all, &PageRequest::first(9)).await;
        let trail = trail.unwrap().items;
        assert!(trail.iter().all(|entry| entry.resource_type == "tenants"));
        assert_eq!(trail.len(), 1);
    }

    /// Interrupts the work after 0, 1, 2 … polls, until it comes to its end; each time with what
    /// was prepared for that round. Answers how often nothing was left of it.
    async fn all_or_nothing<I, T>(
        &self,
        prepare: impl AsyncFn(usize) -> I,
        work: impl AsyncFn(&I) -> T,
    ) -> usize {
        let whole = prepare(UNINTERRUPTED).await;
        let before = self.counts().await;
        work(&whole).await;
        let all = self.added(&before).await;
        assert!(!all.is_empty());
        let mut nothing = 0;
        for polls in 0..10_000 {
            let input = prepare(polls).await;
            let before = self.counts().await;
            let done = interrupted(polls, work(&input)).await.is_some();
            self.narrow.is_clean(polls).await;
            self.other_sees_nothing().await;
            let added = self.added(&before).await;
            if added.is_empty() {
                nothing += 1;
            } else {
                assert_eq!(added, all, "after {polls} polls");
            }
            if done {
                assert_eq!(added, all);
                assert!(nothing > 1, "before the work and in its midst");
                return nothing;
            }
        }
        panic!("the work never ends");
    }

    async fn source(&self) -> SourceId {
        let name = Name::new("n8n").unwrap();
        let source = self.app.sources().register(&self.narrow.one, name).await;
        source.unwrap().id
    }

    async fn owner(&self) -> Context {
        let mut new = NewUser::new(Email::new("owner@one.example").unwrap());
        new.roles.push(Role::Owner);
        let owner = self.app.users().create(&self.narrow.one, &new).await;
        Context::user(self.narrow.one.tenant(), owner.unwrap().id)
    }
}

fn external(what: &str, round: usize) -> ExternalId {
    ExternalId::new(&format!("{what} {round}")).unwrap()
}

fn nodes(round: usize) -> String {
    format!(
        r#"{{"nodes":[{{"name":"A","type":"t.a","typeVersion":1,"position":[0,0],
        "parameters":{{"x":{round}}}}}],"connections":{{}}}}"#
    )
}

fn payload(text: &str) -> Payload {
    Payload::new(text, &PayloadPolicy::default()).unwrap()
}

fn snapshot(id: ExternalId, round: usize) -> WorkflowSnapshot {
    WorkflowSnapshot::new(id, "shown", payload(&nodes(round)))
}

fn report(round: usize, status: ExecutionStatus) -> ExecutionReport {
    let (id, of) = (external("run", round), external("workflow", round));
    let at = noon() - TimeDelta::minutes(5);
    ExecutionReport::new(id, of.clone(), status, ExecutionMode::Webhook, at)
        .with_stopped_at(at + TimeDelta::seconds(1))
        .with_output(payload("[1]"))
        .with_errors([ErrorEntry::new("no", at)])
        .with_snapshot(snapshot(of, round))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_of_new_executions() {
    let scene = Scene::new().await;
    let (source, owner) = (scene.source().await, scene.owner().await);
    let user = owner.actor().user().unwrap();
    let prepare = async |round| {
        // An execution that ends, with a contradiction and a workflow that is new.
        [ExecutionStatus::Error, ExecutionStatus::Crashed]
            .map(|status| report(round, status).with_triggered_by(user))
    };
    let work = async |reports: &[ExecutionReport; 2]| {
        let done = scene.app.executions().sync(&owner, source, reports).await;
        assert_eq!(done.unwrap().counts().stored, 2);
    };
    let interrupted = scene.all_or_nothing(prepare, work).await;
    assert!(interrupted > 5, "only {interrupted} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_of_known_executions() {
    let scene = Scene::new().await;
    let (source, one) = (scene.source().await, &scene.narrow.one);
    let executions = scene.app.executions();
    let prepare = async |round| {
        let begun = report(round, ExecutionStatus::Running);
        executions.sync(one, source, &[begun]).await.unwrap();
        [report(round, ExecutionStatus::Success)]
    };
    let work = async |reports: &[ExecutionReport; 1]| {
        let done = executions.sync(one, source, reports).await.unwrap();
        assert_eq!(done.counts().completed, 1);
    };
    let interrupted = scene.all_or_nothing(prepare, work).await;
    assert!(interrupted > 5, "only {interrupted} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_created_imported_and_defined_anew() {
    let scene = Scene::new().await;
    let (source, one) = (scene.source().await, &scene.narrow.one);
    let workflows = scene.app.workflows();
    let new = async |round: usize| {
        let definition = WorkflowDefinition::new(&nodes(round)).unwrap();
        let mut new = NewWorkflow::new(Name::new("made").unwrap(), definition);
        new.origin = Some((source, external("made", round)));
        new
    };
    let create = async |new: &NewWorkflow| workflows.create(one, new.clone()).await.unwrap();
    scene.all_or_nothing(new, create).await;

    let known = external("known", 0);
    let shown = async |round: usize| {
        let former = [snapshot(known.clone(), 2 * round)];
        workflows.import(one, source, &former).await.unwrap();
        [
            snapshot(external("new", round), 0),
            snapshot(known.clone(), 2 * round + 1),
            snapshot(external("also new", round), 0),
        ]
    };
    let import = async |shown: &[WorkflowSnapshot; 3]| {
        let done = workflows.import(one, source, shown).await.unwrap();
        assert!(done.iter().all(Result::is_ok));
    };
    scene.all_or_nothing(shown, import).await;

    let made = async |round: usize| create(&new(round + 2 * UNINTERRUPTED).await).await;
    let redefine = async |made: &Workflow| {
        let definition = WorkflowDefinition::new(&nodes(0)).unwrap();
        let done = workflows.redefine(one, made.id, made.revision, &definition);
        done.await.unwrap();
    };
    scene.all_or_nothing(made, redefine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_created_given_a_role_and_erased() {
    let scene = Scene::new().await;
    let owner = scene.owner().await;
    let (users, roles) = (scene.app.users(), scene.app.roles());
    let person = |what: &str, round: usize| {
        let mut new = NewUser::new(Email::new(&format!("{what}{round}@one.example")).unwrap());
        new.roles = vec![Role::Viewer, Role::Editor];
        new
    };
    let new = async |round| person("new", round);
    let create = async |new: &NewUser| users.create(&owner, new).await.unwrap();
    scene.all_or_nothing(new, create).await;

    let there = async |round| users.create(&owner, &person("there", round)).await.unwrap();
    let grant = async |user: &User| roles.grant(&owner, user.id, &Role::Admin).await.unwrap();
    scene.all_or_nothing(there, grant).await;

    let leaving = async |round| {
        users
            .create(&owner, &person("leaving", round))
            .await
            .unwrap()
    };
    let erase = async |user: &User| users.erase(&owner, user.id).await.unwrap();
    scene.all_or_nothing(leaving, erase).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_recorded_and_corrected() {
    let scene = Scene::new().await;
    let (metering, one) = (scene.app.metering(), &scene.narrow.one);
    let item = |what: &str, round: usize, quantity: u32| {
        let key = UsageKey::new(&format!("{what} {round}")).unwrap();
        NewUsage::new(key, MeterName::AI_CALLS, quantity, noon())
    };
    let items = async |round| {
        let meter = Meter::new(
            MeterName::new(&format!("meter {round}").replace(' ', "_")).unwrap(),
            Aggregation::Sum,
        );
        (meter, [item("a", round, 1), item("b", round, 2)])
    };
    // Two services' writes that hold together.
    let record = async |(meter, items): &(Meter, [NewUsage; 2])| {
        let mut unit = scene.app.store().begin(one).await.unwrap();
        metering.define_meter_in(&mut *unit, meter).await.unwrap();
        let done = metering.record_in(&mut *unit, items).await.unwrap();
        assert!(done.iter().all(Result::is_ok));
        unit.commit().await.unwrap();
    };
    scene.all_or_nothing(items, record).await;

    let wrong = async |round| {
        let wrong = [item("wrong", round, 1)];
        let done = metering.record(one, &wrong).await.unwrap();
        let id = done[0].as_ref().unwrap().id;
        (id, item("right", round, 2))
    };
    let correct = async |(id, right): &(UsageId, NewUsage)| {
        let done = metering.replace(one, *id, right, "wrong").await;
        assert!(done.unwrap().new);
    };
    scene.all_or_nothing(wrong, correct).await;
}

/// Takes whatever comes, and keeps the numbers.
#[derive(Default)]
struct Book(Mutex<BTreeMap<String, Vec<i64>>>);

#[async_trait]
impl Publisher for Book {
    async fn publish(&self, delivery: &Delivery) -> Result<(), PublishError> {
        tokio::task::yield_now().await;
        let mut book = self.0.lock().unwrap();
        let numbers = book.entry(delivery.key.to_string()).or_default();
        numbers.push(delivery.sequence);
        Ok(())
    }
}

/// A relay works in several units, so an interrupted one may leave keys claimed: nothing of them
/// is lost, their messages come again when the lease is over, in their order.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_s_run() {
    let scene = Scene::new().await;
    let book = Arc::new(Book::default());
    let relay = scene.app.relay(Arc::clone(&book) as Arc<dyn Publisher>);
    let message = |key: &str| {
        OutboxMessage::new(
            MessageKey::new(key).unwrap(),
            MessageKind::new("told").unwrap(),
            MessagePayload::new("1").unwrap(),
            noon(),
        )
    };
    let mut rounds = 0;
    for polls in 0..10_000 {
        let keys = ["a", "b"].map(|key| format!("{key} {polls}"));
        let messages = [&keys[0], &keys[1], &keys[0]].map(|key| message(key));
        let outbox = scene.app.outbox();
        outbox.send(&scene.narrow.one, &messages).await.unwrap();
        let done = interrupted(polls, relay.run_once()).await;
        scene.narrow.is_clean(polls).await;
        scene.other_sees_nothing().await;
        scene.narrow.clock.advance(TimeDelta::minutes(2));
        let rest = relay.run_once().await.unwrap();
        assert_eq!((rest.failed, rest.parked, rest.lost), (0, 0, 0));
        let lag = outbox.lag(&PlatformContext::system()).await.unwrap();
        assert_eq!(lag, Default::default(), "after {polls} polls");
        {
            let book = book.0.lock().unwrap();
            assert_eq!(once(&book[&keys[0]]), [1, 2], "after {polls} polls");
            assert_eq!(once(&book[&keys[1]]), [1], "after {polls} polls");
        }
        if done.is_some() {
            break;
        }
        rounds += 1;
    }
    assert!(rounds > 3, "interrupted only {rounds} times");
}

/// The numbers as a consumer takes them, who leaves out what is not above the last one.
fn once(numbers: &[i64]) -> Vec<i64> {
    let mut taken = Vec::new();
    for number in numbers {
        if taken.last().is_none_or(|last| number > last) {
            taken.push(*number);
        }
    }
    taken
}

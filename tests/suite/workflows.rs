//! Sources and workflows through the services, on both backends.

use std::sync::Arc;

use tenantry::adapter::n8n::parse_workflows;
use tenantry::domain::access::Permission;
use tenantry::domain::execution::{
    Execution, ExecutionMode, ExecutionReport, ExecutionStatus, MeterPolicy,
};
use tenantry::domain::identity::{NewUser, Role};
use tenantry::domain::ids::{SourceId, WorkflowId};
use tenantry::domain::page::{Cursor, PageRequest};
use tenantry::domain::payload::{Payload, PayloadPolicy};
use tenantry::domain::source::SourceError;
use tenantry::domain::tenancy::NewTenant;
use tenantry::domain::text::{Email, ExternalId, Name};
use tenantry::domain::workflow::{
    Dependents, NewWorkflow, Tags, Workflow, WorkflowDefinition, WorkflowError, WorkflowPatch,
    WorkflowSnapshot,
};
use tenantry::service::{Imported, WorkflowOutcome, Workflows};
use tenantry::store::{Archive, WorkflowFilter};
use tenantry::{Context, Error, ErrorKind, PlatformContext, Tenantry};
use tokio::sync::Barrier;

use crate::backend::{Backed, each_backend, noon};

const REAL: &str = include_str!("../fixtures/n8n/workflows.ndjson");

/// How many callers do the same at once.
const CALLERS: usize = 8;

fn real() -> Vec<WorkflowSnapshot> {
    parse_workflows(REAL)
        .map(|item| item.result.unwrap())
        .collect()
}

/// A tenant with a source.
#[derive(Clone)]
struct Shop {
    tenantry: Tenantry,
    ctx: Context,
    source: SourceId,
}

impl Shop {
    async fn open(backed: &Backed, name: &str) -> Self {
        let tenantry = Tenantry::new(Arc::clone(&backed.store));
        let new = NewTenant::named(name).unwrap();
        let operator = PlatformContext::system();
        let tenant = tenantry.tenants().create(&operator, new).await.unwrap();
        let ctx = Context::system(tenant.id);
        let named = Name::new("main").unwrap();
        let source = tenantry.sources().register(&ctx, named).await.unwrap().id;
        Self {
            tenantry,
            ctx,
            source,
        }
    }

    fn workflows(&self) -> Workflows {
        self.tenantry.workflows()
    }

    async fn person(&self, role: Role) -> Context {
        let email = format!("{}@shop.example", role.as_str());
        let mut new = NewUser::new(Email::new(&email).unwrap());
        new.roles = vec![role];
        let user = self.tenantry.users().create(&self.ctx, &new).await.unwrap();
        Context::user(self.ctx.tenant(), user.id)
    }

    async fn create(&self, name: &str) -> Workflow {
        let created = self.workflows().create(&self.ctx, new(name)).await;
        created.unwrap()
    }

    async fn import(&self, snapshots: &[WorkflowSnapshot]) -> Vec<Imported> {
        let workflows = self.workflows();
        let imported = workflows.import(&self.ctx, self.source, snapshots).await;
        imported.unwrap()
    }

    /// One execution of the workflow, as a sync writes it.
    async fn run(&self, workflow: WorkflowId) -> Result<(), Error> {
        let mut unit = self.tenantry.store().begin(&self.ctx).await?;
        let id = unit.ids().fresh();
        let report = ExecutionReport::new(
            ExternalId::new(&format!("{id}")).unwrap(),
            ExternalId::new("w").unwrap(),
            ExecutionStatus::Success,
            ExecutionMode::Webhook,
            noon(),
        )
        .with_stopped_at(noon());
        let policy = MeterPolicy::default();
        let seen = Execution::first(id, self.source, workflow, &report, &policy, unit.now());
        unit.executions().insert(&[seen.execution]).await?;
        Ok(unit.commit().await?)
    }

    async fn names(&self, filter: &WorkflowFilter) -> Vec<String> {
        let page = PageRequest::first(PageRequest::MAX);
        let page = self.workflows().search(&self.ctx, filter, &page).await;
        let items = page.unwrap().items;
        items
            .into_iter()
            .map(|workflow| workflow.name.to_string())
            .collect()
    }
}

fn definition(node: &str) -> WorkflowDefinition {
    WorkflowDefinition::new(&format!(
        r#"{{"nodes":[{{"name":"{node}","type":"t.set","typeVersion":1,"position":[0,0],
        "parameters":{{}}}}],"connections":{{}}}}"#
    ))
    .unwrap()
}

fn new(name: &str) -> NewWorkflow {
    NewWorkflow::new(Name::new(name).unwrap(), definition("A"))
}

fn snapshot(id: &str, name: &str, definition: &str) -> WorkflowSnapshot {
    let payload = Payload::new(definition, &PayloadPolicy::default()).unwrap();
    WorkflowSnapshot::new(ExternalId::new(id).unwrap(), name, payload)
}

#[track_caller]
fn kind<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

fn all_of(imported: &[Imported], fits: impl Fn(&WorkflowOutcome) -> bool) -> bool {
    imported.iter().all(|item| item.as_ref().is_ok_and(&fits))
}

#[tokio::test(flavor = "multi_thread")]
async fn real_workflows_are_imported_once() {
    for backed in each_backend().await {
        let shop = Shop::open(&backed, "one").await;
        let neighbour = Shop::open(&backed, "two").await;
        let snapshots = real();
        let first = shop.import(&snapshots).await;
        assert_eq!(first.len(), 13);
        assert!(all_of(&first, |item| matches!(
            item,
            WorkflowOutcome::Created(_)
        )));
        let again = shop.import(&snapshots).await;
        assert!(all_of(&again, |item| matches!(
            item,
            WorkflowOutcome::Unchanged(_)
        )));
        for ((snapshot, first), again) in snapshots.iter().zip(&first).zip(&again) {
            let workflow = first.as_ref().unwrap().workflow();
            assert_eq!(workflow, again.as_ref().unwrap().workflow());
            assert_eq!(workflow.active, snapshot.active());
            let found = shop
                .workflows()
                .find_by_external(&shop.ctx, shop.source, snapshot.external_id())
                .await;
            assert_eq!(found.unwrap(), *workflow);
            let version = shop
                .workflows()
                .newest_version(&shop.ctx, workflow.id)
                .await
                .unwrap();
            assert_eq!(version.definition, snapshot.definition().unwrap());
        }
        assert_eq!(shop.names(&WorkflowFilter::default()).await.len(), 13);
        assert!(neighbour.names(&WorkflowFilter::default()).await.is_empty());
        let foreign = neighbour
            .workflows()
            .import(&neighbour.ctx, shop.source, &snapshots)
            .await;
        assert_eq!(kind(foreign), ErrorKind::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_takes_what_it_can() {
    for backed in each_backend().await {
        let shop = Shop::open(&backed, "shop").await;
        let text = definition("A").as_str().to_owned();
        let archived = shop.import(&[snapshot("old", "Old", &text)]).await;
        let archived = archived[0].as_ref().unwrap().workflow().id;
        let workflows = shop.workflows();
        workflows.archive(&shop.ctx, archived).await.unwrap();

        let broken = text.replace("\"name\":\"A\"", "\"name\":\"\"");
        let imported = shop
            .import(&[
                snapshot("a", "A", &broken),
                snapshot("a", "A", &text),
                snapshot("b", "", &text),
                snapshot("old", "New", &text),
                snapshot("a", "A2", &text).with_tags(vec!["t".to_owned()]),
                snapshot("a", "A2", definition("B").as_str()),
            ])
            .await;
        let said: Vec<_> = imported
            .iter()
            .map(|item| match item {
                Ok(WorkflowOutcome::Created(w)) => format!("created {} {}", w.name, w.version),
                Ok(WorkflowOutcome::Updated(w)) => {
                    format!("updated {} {} {:?}", w.name, w.version, w.tags.as_slice())
                }
                Ok(other) => format!("{other:?}"),
                Err(error) => error.to_string(),
            })
            .collect();
        assert_eq!(
            said,
            [
                "definition: `nodes[0].name` must be a text that is not empty",
                "created A 1",
                "name must not be empty",
                "workflow is archived; take it out of the archive to change it",
                "updated A2 1 [\"t\"]",
                "updated A2 2 []",
            ],
            "{}",
            backed.name
        );
        assert_eq!(shop.names(&WorkflowFilter::default()).await, ["A2"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_who_import_the_same_at_once_make_it_once() {
    for backed in each_backend().await {
        let shop = Shop::open(&backed, "shop").await;
        let barrier = Arc::new(Barrier::new(CALLERS));
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (shop, barrier) = (shop.clone(), Arc::clone(&barrier));
                let mut snapshots = real();
                // Each in an order of its own, so that careless locking would be a deadlock.
                snapshots.rotate_left(caller);
                if caller % 2 == 1 {
                    snapshots.reverse();
                }
                tokio::spawn(async move {
                    barrier.wait().await;
                    shop.import(&snapshots).await
                })
            })
            .collect();
        let mut created = 0;
        for caller in callers {
            for item in caller.await.unwrap() {
                match item.unwrap() {
                    WorkflowOutcome::Created(_) => created += 1,
                    WorkflowOutcome::Unchanged(workflow) => assert_eq!(workflow.version, 1),
                    other => panic!("{}: {other:?}", backed.name),
                }
            }
        }
        assert_eq!(created, 13, "{}", backed.name);
        assert_eq!(shop.names(&WorkflowFilter::default()).await.len(), 13);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_keeps_its_history() {
    for backed in each_backend().await {
        let shop = Shop::open(&backed, "shop").await;
        let editor = shop.person(Role::Editor).await;
        let workflows = shop.workflows();
        let first = shop.create("w").await;
        let same = workflows
            .redefine(&editor, first.id, 1, &definition("A"))
            .await
            .unwrap();
        assert_eq!(same, WorkflowOutcome::Unchanged(first.clone()));
        let second: Workflow = workflows
            .redefine(&editor, first.id, 1, &definition("B"))
            .await
            .unwrap()
            .into();
        assert_eq!((second.version, second.revision), (2, 2));
        let third: Workflow = workflows
            .restore(&editor, first.id, 2, 1)
            .await
            .unwrap()
            .into();
        assert_eq!(third.version, 3);
        assert_eq!(third.definition_sha256, first.definition_sha256);
        let newest = workflows.newest_version(&shop.ctx, first.id).await.unwrap();
        assert_eq!((newest.version, newest.definition), (3, definition("A")));
        assert_eq!(newest.created_by, editor.actor().user());
        let middle = workflows.version(&shop.ctx, first.id, 2).await.unwrap();
        assert_eq!(middle.definition, definition("B"));
        let none = workflows.restore(&editor, first.id, 3, 3).await.unwrap();
        assert_eq!(none, WorkflowOutcome::Unchanged(third));
        let page = PageRequest::default();
        let versions = workflows
            .versions(&shop.ctx, first.id, &page)
            .await
            .unwrap();
        let numbers: Vec<_> = versions
            .items
            .iter()
            .map(|version| version.version)
            .collect();
        assert_eq!(numbers, [3, 2, 1]);

        let missing = workflows.restore(&editor, first.id, 3, 9).await;
        assert_eq!(kind(missing), ErrorKind::NotFound);
        let stale = workflows
            .redefine(&editor, first.id, 1, &definition("C"))
            .await;
        assert_eq!(kind(stale), ErrorKind::Stale);
        let missing = workflows.version(&shop.ctx, first.id, 4).await;
        assert_eq!(kind(missing), ErrorKind::NotFound);
        let odd = PageRequest::first(1).after(Cursor::after(&"x"));
        let odd = workflows.versions(&shop.ctx, first.id, &odd).await;
        assert_eq!(kind(odd), ErrorKind::Invalid);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_callers_who_redefine_one_revision_one_wins() {
    for backed in each_backend().await {
        let shop = Shop::open(&backed, "shop").await;
        let workflow = shop.create("w").await;
        let barrier = Arc::new(Barrier::new(CALLERS));
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (shop, barrier) = (shop.clone(), Arc::clone(&barrier));
                let text = definition(&format!("node {caller}"));
                tokio::spawn(async move {
                    barrier.wait().await;
                    let workflows = shop.workflows();
                    workflows.redefine(&shop.ctx, workflow.id, 1, &text).await
                })
            })
            .collect();
        let mut won = Vec::new();
        for caller in callers {
            match caller.await.unwrap() {
                Ok(outcome) => won.push(Workflow::from(outcome)),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Stale, "{error}"),
            }
        }
        assert_eq!(won.len(), 1, "{}", backed.name);
        let stored = shop.workflows().get(&shop.ctx, workflow.id).await.unwrap();
        assert_eq!(stored, won[0]);
        assert_eq!(stored.version, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_names_what_it_changes() {
    for backed in each_backend().await {
        let shop = Shop::open(&backed, "shop").await;
        let (workflows, ctx) = (shop.workflows(), &shop.ctx);
        let mut wish = new("w");
        wish.details = WorkflowPatch::new()
            .description(Some("what for"))
            .unwrap()
            .tags(Tags::new(["a"]).unwrap());
        wish.origin = Some((shop.source, ExternalId::new("w1").unwrap()));
        let made = workflows.create(ctx, wish.clone()).await.unwrap();
        assert_eq!(made.description.as_deref(), Some("what for"));
        assert_eq!((made.source, made.revision), (Some(shop.source), 1));
        let twin = workflows.create(ctx, wish).await;
        assert_eq!(kind(twin), ErrorKind::AlreadyExists);

        let patch = WorkflowPatch::new().name(Name::new("Renamed").unwrap());
        let renamed = workflows.update(ctx, made.id, 1, &patch).await.unwrap();
        assert!(matches!(renamed, WorkflowOutcome::Updated(_)));
        let same = workflows.update(ctx, made.id, 2, &patch).await.unwrap();
        assert!(matches!(same, WorkflowOutcome::Unchanged(_)));
        let stale = workflows.update(ctx, made.id, 1, &patch).await;
        assert_eq!(kind(stale), ErrorKind::Stale);
        let active = workflows.activate(ctx, made.id).await.unwrap();
        assert!(active.workflow().active);
        let active = workflows.activate(ctx, made.id).await.unwrap();
        assert!(matches!(active, WorkflowOutcome::Unchanged(_)));
        let inactive = workflows.deactivate(ctx, made.id).await.unwrap();
        let stored = workflows.get(ctx, made.id).await.unwrap();
        assert_eq!(inactive, WorkflowOutcome::Updated(stored.clone()));
        assert_eq!((stored.version, stored.revision), (1, 4));
        assert_eq!(stored.description, made.description);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_with_executions_is_archived_in_place_of_being_deleted() {
    for backed in each_backend().await {
        let shop = Shop::open(&backed, "shop").await;
        let (workflows, ctx) = (shop.workflows(), &shop.ctx);
        let (used, unused) = (shop.create("used").await, shop.create("unused").await);
        workflows.activate(ctx, used.id).await.unwrap();
        shop.run(used.id).await.unwrap();
        shop.run(used.id).await.unwrap();
        let dependents = workflows.dependents(ctx, used.id).await.unwrap();
        assert_eq!(dependents, Dependents::new(2));
        match workflows.delete(ctx, used.id, 2).await {
            Err(Error::Workflow(error)) => {
                assert_eq!(error, WorkflowError::InUse { dependents });
            }
            other => panic!("{}: {other:?}", backed.name),
        }
        assert_eq!(
            kind(workflows.delete(ctx, unused.id, 7).await),
            ErrorKind::Stale
        );
        workflows.delete(ctx, unused.id, 1).await.unwrap();
        for gone in [
            kind(workflows.get(ctx, unused.id).await),
            kind(workflows.delete(ctx, unused.id, 1).await),
            kind(workflows.dependents(ctx, unused.id).await),
            kind(workflows.newest_version(ctx, unused.id).await),
            kind(shop.run(unused.id).await),
        ] {
            assert_eq!(gone, ErrorKind::NotFound);
        }

        let archived: Workflow = workflows.archive(ctx, used.id).await.unwrap().into();
        assert_eq!(
            (archived.archived_at, archived.active),
            (Some(noon()), false)
        );
        let again = workflows.archive(ctx, used.id).await.unwrap();
        assert_eq!(again, WorkflowOutcome::Unchanged(archived));
        assert!(shop.names(&WorkflowFilter::default()).await.is_empty());
        let shown = WorkflowFilter {
            archive: Archive::Only,
            ..WorkflowFilter::default()
        };
        assert_eq!(shop.names(&shown).await, ["used"]);
        for refused in [
            workflows.activate(ctx, used.id).await,
            workflows.redefine(ctx, used.id, 3, &definition("B")).await,
            workflows.restore(ctx, used.id, 3, 1).await,
        ] {
            match refused {
                Err(Error::Workflow(WorkflowError::Archived)) => {}
                other => panic!("{}: {other:?}", backed.name),
            }
        }
        // It goes on running where it runs.
        shop.run(used.id).await.unwrap();
        workflows.unarchive(ctx, used.id).await.unwrap();
        workflows.activate(ctx, used.id).await.unwrap();
        assert_eq!(shop.names(&WorkflowFilter::default()).await, ["used"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_and_executions_at_once_leave_no_orphan() {
    for backed in each_backend().await {
        let shop = Shop::open(&backed, "shop").await;
        for round in 0..6 {
            let workflow = shop.create(&format!("w {round}")).await.id;
            let barrier = Arc::new(Barrier::new(CALLERS + 1));
            let runs: Vec<_> = (0..CALLERS)
                .map(|_| {
                    let (shop, barrier) = (shop.clone(), Arc::clone(&barrier));
                    tokio::spawn(async move {
                        barrier.wait().await;
                        shop.run(workflow).await
                    })
                })
                .collect();
            barrier.wait().await;
            let deleted = shop.workflows().delete(&shop.ctx, workflow, 1).await;
            let mut stored = 0;
            for run in runs {
                match run.await.unwrap() {
                    Ok(()) => stored += 1,
                    // In memory two units that change one tenant may also have to try again.
                    Err(error) => assert!(
                        matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict),
                        "{error}"
                    ),
                }
            }
            let left = shop.workflows().get(&shop.ctx, workflow).await;
            match deleted {
                Ok(()) => {
                    assert_eq!(kind(left), ErrorKind::NotFound);
                    assert_eq!(stored, 0, "{}: round {round}", backed.name);
                }
                Err(error) => {
                    assert!(
                        matches!(error, Error::Workflow(WorkflowError::InUse { .. })),
                        "{error}"
                    );
                    left.unwrap();
                    assert!(stored > 0, "{}: round {round}", backed.name);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_are_searched_page_by_page() {
    for backed in each_backend().await {
        let shop = Shop::open(&backed, "shop").await;
        for number in 0..25 {
            shop.create(&format!("Flow {number:02}")).await;
        }
        shop.create("Other").await;
        let filter = WorkflowFilter {
            name: Some("FLOW".to_owned()),
            ..WorkflowFilter::default()
        };
        let (mut names, mut request) = (Vec::new(), PageRequest::first(10));
        loop {
            let page = shop.workflows().search(&shop.ctx, &filter, &request).await;
            let page = page.unwrap();
            names.extend(page.items.into_iter().map(|item| item.name.to_string()));
            let Some(next) = page.next else { break };
            request = PageRequest::first(10).after(next);
        }
        let expected: Vec<_> = (0..25).map(|number| format!("Flow {number:02}")).collect();
        assert_eq!(names, expected);
        let odd = PageRequest::first(1).after(Cursor::after(&7));
        let odd = shop.workflows().search(&shop.ctx, &filter, &odd).await;
        assert_eq!(kind(odd), ErrorKind::Invalid);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_do_what_their_role_says() {
    for backed in each_backend().await {
        let shop = Shop::open(&backed, "shop").await;
        let viewer = shop.person(Role::Viewer).await;
        let editor = shop.person(Role::Editor).await;
        let admin = shop.person(Role::Admin).await;
        let (workflows, sources) = (shop.workflows(), shop.tenantry.sources());
        let missing = |result: Result<(), Error>| match result {
            Err(Error::Denied(denied)) => denied.permission,
            other => panic!("{}: {other:?}", backed.name),
        };
        let name = || Name::new("second").unwrap();
        let snapshots = real();

        let made = workflows.create(&editor, new("w")).await.unwrap();
        assert_eq!(made.created_by, editor.actor().user());
        workflows.get(&viewer, made.id).await.unwrap();
        sources.get(&viewer, shop.source).await.unwrap();
        let imported = workflows.import(&editor, shop.source, &snapshots).await;
        let first = imported.unwrap().remove(0).unwrap();
        assert_eq!(first.workflow().created_by, editor.actor().user());

        let created = workflows.create(&viewer, new("w")).await.map(drop);
        assert_eq!(missing(created), Permission::WorkflowsWrite);
        let activated = workflows.activate(&viewer, made.id).await.map(drop);
        assert_eq!(missing(activated), Permission::WorkflowsWrite);
        let imported = workflows.import(&viewer, shop.source, &snapshots).await;
        assert_eq!(missing(imported.map(drop)), Permission::WorkflowsWrite);
        let deleted = workflows.delete(&viewer, made.id, 1).await;
        assert_eq!(missing(deleted), Permission::WorkflowsDelete);
        let registered = sources.register(&viewer, name()).await.map(drop);
        assert_eq!(missing(registered), Permission::SourcesManage);
        let rotated = sources.rotate_secret(&viewer, shop.source, 1).await;
        assert_eq!(missing(rotated.map(drop)), Permission::SourcesManage);

        workflows.delete(&admin, made.id, 1).await.unwrap();
        sources.register(&admin, name()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_known_by_its_secret() {
    for backed in each_backend().await {
        let shop = Shop::open(&backed, "shop").await;
        let neighbour = Shop::open(&backed, "next door").await;
        let (sources, ctx) = (shop.tenantry.sources(), &shop.ctx);
        let main = Name::new("main").unwrap();
        let refused = |result: Result<_, Error>| match result {
            Err(Error::Source(SourceError::NotAuthentic)) => {}
            other => panic!("{}: {other:?}", backed.name),
        };
        refused(sources.authenticate(ctx, &main, "").await);
        let first = sources.rotate_secret(ctx, shop.source, 1).await.unwrap();
        let second = sources.rotate_secret(ctx, shop.source, 2).await.unwrap();
        assert_ne!(first.secret, second.secret);
        let known = sources
            .authenticate(ctx, &main, second.secret.reveal())
            .await
            .unwrap();
        assert_eq!(known, second.source);
        refused(
            sources
                .authenticate(ctx, &main, first.secret.reveal())
                .await,
        );
        let hash = second.secret.hash();
        refused(sources.authenticate(ctx, &main, hash.as_str()).await);
        let secret = second.secret.reveal();
        refused(sources.authenticate(&neighbour.ctx, &main, secret).await);
        let other = Name::new("Main").unwrap();
        refused(sources.authenticate(ctx, &other, secret).await);
        assert_eq!(
            kind(sources.authenticate(ctx, &other, secret).await),
            ErrorKind::Forbidden
        );

        let stale = sources.rotate_secret(ctx, shop.source, 1).await;
        assert_eq!(kind(stale), ErrorKind::Stale);
        let renamed = sources.rename(ctx, shop.source, 3, &other).await.unwrap();
        assert_eq!((renamed.name.as_str(), renamed.revision), ("Main", 4));
        let same = sources.rename(ctx, shop.source, 4, &other).await.unwrap();
        assert_eq!(same, renamed);
        sources.authenticate(ctx, &other, secret).await.unwrap();
        assert_eq!(sources.find_by_name(ctx, &other).await.unwrap(), renamed);
        assert_eq!(
            kind(sources.find_by_name(ctx, &main).await),
            ErrorKind::NotFound
        );
        let foreign = sources.rename(&neighbour.ctx, shop.source, 4, &main).await;
        assert_eq!(kind(foreign), ErrorKind::NotFound);
        let taken = sources.register(ctx, other).await;
        assert_eq!(kind(taken), ErrorKind::AlreadyExists);
        let list = sources.list(ctx, &PageRequest::default()).await.unwrap();
        assert_eq!(list.items, [renamed]);
    }
}

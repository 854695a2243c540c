//! Carries a step out on one store, and tells in words what came of it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::TimeDelta;
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;
use tenantry::domain::context::{Actor, ServiceName};
use tenantry::domain::execution::SyncReport;
use tenantry::domain::identity::{NewUser, UserPatch};
use tenantry::domain::metering::{Meter, MeteringError, Receipt};
use tenantry::domain::outbox::{Delivery, RetryPolicy, StreamId};
use tenantry::domain::tenancy::{NewTenant, TenantProfile};
use tenantry::domain::text::PlanCode;
use tenantry::domain::workflow::{NewWorkflow, WorkflowPatch};
use tenantry::service::{
    Imported, PublishError, Publisher, SyncPolicy, TenantChange, UnknownWorkflow,
};
use tenantry::store::Tx;
use tenantry::{Context, Error, PlatformContext, Result};

use super::operation::{
    Operation, OutboxOp, Read, RoleOp, SourceOp, Step, TenantOp, UsageOp, UserOp, Who, WorkflowOp,
    Write,
};
use super::side::{Known, Side};
use super::values;

/// What came of a step.
pub(super) async fn apply(side: &Side, known: &Known, step: &Step) -> Value {
    let known = &known.chosen_by(known.tenant(step.tenant));
    let ctx = context(known, step);
    match &step.operation {
        Operation::Advance(by) => {
            let by = [1, 59, 3_600, 86_400, 20 * 86_400][usize::from(*by) % 5];
            side.advance(TimeDelta::seconds(by));
            Value::Null
        }
        Operation::Tenant(op) => tenant(side, known, &ctx, op).await,
        Operation::User(op) => user(side, known, &ctx, op).await,
        Operation::Role(op) => role(side, known, &ctx, op).await,
        Operation::Source(op) => source(side, known, &ctx, op).await,
        Operation::Workflow(op) => workflow(side, known, &ctx, op).await,
        Operation::Usage(op) => usage(side, known, &ctx, op).await,
        Operation::Outbox(op) => outbox(side, &ctx, op).await,
        Operation::Unit(writes, commit) => match (writes.as_slice(), commit) {
            ([write], true) => alone(side, known, &ctx, write).await,
            _ => together(side, known, &ctx, writes, *commit).await,
        },
    }
}

fn context(known: &Known, step: &Step) -> Context {
    let tenant = known.tenant(step.tenant);
    match step.who {
        Who::System => Context::system(tenant),
        Who::Service => {
            let service = Actor::Service(ServiceName::new("worker 'ñ'").unwrap());
            let origin = values::origin();
            Context::new(tenant, service)
                .with_origin(&origin)
                .because("asked\u{0} 'for' it")
        }
        Who::User(pick) => Context::user(tenant, known.user(pick)).with_origin(&values::origin()),
    }
}

/// An answer, or the kind and the words of the error. Of an error of the store itself, the kind
/// and the operation: the detail is what the backend calls its constraint.
pub(super) fn told<T: Serialize>(result: Result<T>) -> Value {
    match result {
        Ok(answer) => json!({ "ok": answer }),
        Err(Error::Store(error)) => json!({
            "store": format!("{:?}: {}", error.kind(), error.operation())
        }),
        Err(error) => json!({ "error": format!("{:?}: {error}", error.kind()) }),
    }
}

/// For answers that have no stable form of their own.
fn shown<T: std::fmt::Debug>(result: Result<T>) -> Value {
    told(result.map(|answer| format!("{answer:?}")))
}

fn receipts(all: Vec<Result<Receipt, MeteringError>>) -> Vec<Value> {
    let one = |receipt: Result<Receipt, MeteringError>| match receipt {
        Ok(receipt) => json!(receipt),
        Err(error) => json!(error.to_string()),
    };
    all.into_iter().map(one).collect()
}

fn imported(all: Vec<Imported>) -> Vec<Value> {
    let one = |imported: Imported| match imported {
        Ok(outcome) => json!(outcome),
        Err(error) => json!(error.to_string()),
    };
    all.into_iter().map(one).collect()
}

fn outcomes(report: SyncReport) -> String {
    format!("{:?}", report.outcomes())
}

fn revision(read: Read, present: Option<i64>) -> i64 {
    let present = present.unwrap_or(1);
    match read {
        Read::Present => present,
        Read::Old => present - 1,
        Read::Future => present + 1,
    }
}

async fn tenant(side: &Side, known: &Known, ctx: &Context, op: &TenantOp) -> Value {
    let (tenants, platform, id) = (side.app.tenants(), PlatformContext::system(), ctx.tenant());
    match op {
        TenantOp::Create { domain, id } => {
            let mut new = NewTenant::named("Another").unwrap();
            new.domain = domain.map(values::domain);
            new.id = id.map(|pick| known.tenant(pick));
            if known.tenants().len() > 3 {
                return Value::Null;
            }
            told(tenants.create(&platform, new).await)
        }
        TenantOp::Change { read, domain, plan } => {
            let present = tenants.get(&platform, id).await.ok().map(|t| t.revision);
            let change = TenantChange {
                domain: domain.map(|domain| domain.map(values::domain)),
                plan: plan.then(|| PlanCode::new("enterprise").unwrap()),
                ..TenantChange::default()
            };
            let revision = revision(*read, present);
            told(tenants.change(&platform, id, revision, &change).await)
        }
        TenantOp::Suspend => told(tenants.suspend(&platform, id).await),
        TenantOp::Reactivate => told(tenants.reactivate(&platform, id).await),
        TenantOp::Close => told(tenants.close(&platform, id).await),
        TenantOp::Profile {
            read,
            name,
            settings,
        } => {
            let own = tenants.get(&platform, id).await.ok().map(|t| t.revision);
            let profile = TenantProfile {
                name: values::name(*name),
                settings: values::document(*settings),
                ..TenantProfile::new("-").unwrap()
            };
            told(
                tenants
                    .change_profile(ctx, revision(*read, own), &profile)
                    .await,
            )
        }
        TenantOp::FindByDomain(domain) => told(
            tenants
                .find_by_domain(&platform, &values::domain(*domain))
                .await,
        ),
    }
}

async fn user(side: &Side, known: &Known, ctx: &Context, op: &UserOp) -> Value {
    let users = side.app.users();
    match op {
        UserOp::Change {
            user,
            read,
            email,
            subject,
            name,
            preferences,
        } => {
            let id = known.user(*user);
            let present = users.get(&Context::system(ctx.tenant()), id).await;
            let patch = UserPatch {
                subject: subject.map(|subject| subject.map(values::subject)),
                email: email.map(values::email),
                full_name: name.map(|name| name.map(values::name)),
                preferences: preferences.map(values::document),
            };
            let revision = revision(*read, present.ok().map(|user| user.revision));
            told(users.change(ctx, id, revision, &patch).await)
        }
        UserOp::Deactivate(pick) => told(users.deactivate(ctx, known.user(*pick)).await),
        UserOp::Reactivate(pick) => told(users.reactivate(ctx, known.user(*pick)).await),
        UserOp::Erase(pick) => told(users.erase(ctx, known.user(*pick)).await),
        UserOp::Login(pick) => told(users.record_login(ctx, known.user(*pick)).await),
    }
}

async fn role(side: &Side, known: &Known, ctx: &Context, op: &RoleOp) -> Value {
    let roles = side.app.roles();
    match op {
        RoleOp::Define { name, permissions } => {
            let permissions = values::permissions(*permissions);
            told(
                roles
                    .define(ctx, &values::role_name(*name), &permissions)
                    .await,
            )
        }
        RoleOp::Redefine {
            name,
            read,
            permissions,
        } => {
            let (name, permissions) = (values::role_name(*name), values::permissions(*permissions));
            let present = roles.get(&Context::system(ctx.tenant()), &name).await;
            let revision = revision(*read, present.ok().map(|role| role.revision));
            told(roles.redefine(ctx, &name, revision, &permissions).await)
        }
        RoleOp::Delete(name) => told(roles.delete(ctx, &values::role_name(*name)).await),
        RoleOp::Revoke { user, role } => told(
            roles
                .revoke(ctx, known.user(*user), &values::role(*role))
                .await,
        ),
        RoleOp::Check(permission) => told(roles.check(ctx, values::permission(*permission)).await),
    }
}

async fn source(side: &Side, known: &Known, ctx: &Context, op: &SourceOp) -> Value {
    let sources = side.app.sources();
    let system = Context::system(ctx.tenant());
    let present = async |id| sources.get(&system, id).await.ok().map(|s| s.revision);
    match op {
        SourceOp::Rename { source, read, name } => {
            let id = known.source(*source);
            let revision = revision(*read, present(id).await);
            let name = values::name(*name);
            told(sources.rename(ctx, id, revision, &name).await)
        }
        SourceOp::RotateSecret { source, read } => {
            let id = known.source(*source);
            let revision = revision(*read, present(id).await);
            let issued = sources.rotate_secret(ctx, id, revision).await;
            if let Ok(issued) = &issued {
                side.remember_secret(issued.secret.reveal());
            }
            told(issued.map(|issued| (issued.source, issued.secret.reveal().to_owned())))
        }
        SourceOp::Authenticate { name, right } => {
            let secret = side.last_secret();
            let secret = if *right { secret.as_str() } else { "wrong" };
            let name = values::name(*name);
            told(sources.authenticate(ctx, &name, secret).await)
        }
    }
}

async fn workflow(side: &Side, known: &Known, ctx: &Context, op: &WorkflowOp) -> Value {
    let workflows = side.app.workflows();
    let system = Context::system(ctx.tenant());
    let given = async |read: Read, id| {
        let present = workflows.get(&system, id).await.ok();
        revision(read, present.map(|workflow| workflow.revision))
    };
    match op {
        WorkflowOp::Update {
            workflow,
            read,
            name,
            settings,
            tags,
            active,
        } => {
            let id = known.workflow(*workflow);
            let mut patch = WorkflowPatch::new();
            if let Some(name) = name {
                patch = patch.name(values::name(*name));
                patch = patch.description(Some("what it\nis for")).unwrap();
            }
            if let Some(settings) = settings {
                patch = patch.settings(values::document(*settings));
            }
            if let Some(tags) = tags {
                patch = patch.tags(values::checked_tags(*tags));
            }
            if let Some(active) = active {
                patch = patch.active(*active);
            }
            let revision = given(*read, id).await;
            told(workflows.update(ctx, id, revision, &patch).await)
        }
        WorkflowOp::Redefine {
            workflow,
            read,
            definition,
        } => {
            let id = known.workflow(*workflow);
            let definition = values::definition(*definition);
            let revision = given(*read, id).await;
            told(workflows.redefine(ctx, id, revision, &definition).await)
        }
        WorkflowOp::Restore {
            workflow,
            read,
            version,
        } => {
            let id = known.workflow(*workflow);
            let revision = given(*read, id).await;
            told(
                workflows
                    .restore(ctx, id, revision, i32::from(*version))
                    .await,
            )
        }
        WorkflowOp::Archive(pick) => told(workflows.archive(ctx, known.workflow(*pick)).await),
        WorkflowOp::Unarchive(pick) => told(workflows.unarchive(ctx, known.workflow(*pick)).await),
        WorkflowOp::Activate(pick, true) => {
            told(workflows.activate(ctx, known.workflow(*pick)).await)
        }
        WorkflowOp::Activate(pick, false) => {
            told(workflows.deactivate(ctx, known.workflow(*pick)).await)
        }
        WorkflowOp::Delete { workflow, read } => {
            let id = known.workflow(*workflow);
            let revision = given(*read, id).await;
            told(workflows.delete(ctx, id, revision).await)
        }
    }
}

async fn usage(side: &Side, known: &Known, ctx: &Context, op: &UsageOp) -> Value {
    let metering = side.app.metering();
    match op {
        UsageOp::Void { usage } => told(metering.void(ctx, known.usage(*usage), "wrong 'ñ'").await),
        UsageOp::Replace { usage, by } => {
            let (id, by) = (known.usage(*usage), values::usage(by));
            told(metering.replace(ctx, id, &by, "wrong").await)
        }
        UsageOp::ChangeUnit { meter, read, unit } => {
            let meter = values::meter(*meter);
            let all = metering.custom_meters(&Context::system(ctx.tenant())).await;
            let present = all.unwrap_or_default();
            let present = present.iter().find(|custom| custom.meter.name == meter);
            let revision = revision(*read, present.map(|custom| custom.revision));
            let unit = unit.map(values::name);
            told(
                metering
                    .change_unit(ctx, &meter, revision, unit.as_ref())
                    .await,
            )
        }
    }
}

async fn outbox(side: &Side, ctx: &Context, op: &OutboxOp) -> Value {
    let (outbox, platform) = (side.app.outbox(), PlatformContext::system());
    let stream = |key: u8| StreamId {
        tenant: ctx.tenant(),
        key: values::key(key),
    };
    match op {
        OutboxOp::Relay {
            publisher,
            batch,
            attempts,
        } => {
            let publisher = Arc::new(Post {
                refuses: *publisher,
                seen: Mutex::default(),
            });
            let retry = RetryPolicy {
                attempts: u32::from(*attempts),
                first: Duration::from_secs(1),
                ..RetryPolicy::default()
            };
            let relay = side.app.relay(Arc::clone(&publisher) as Arc<dyn Publisher>);
            let report = relay
                .batch(usize::from(*batch))
                .retry(retry)
                .run_once()
                .await;
            let mut seen = publisher.seen.lock().unwrap().clone();
            // Nothing is promised about the order of different keys.
            seen.sort_by_key(|delivery| (delivery.tenant, delivery.key.clone()));
            json!([told(report), seen])
        }
        OutboxOp::Release(key) => told(outbox.release(&platform, &stream(*key)).await),
        OutboxOp::Skip(key) => told(outbox.skip(&platform, &stream(*key)).await),
        OutboxOp::Prune(at) => told(outbox.prune(&platform, values::instant(*at)).await),
    }
}

/// Takes messages, or refuses some.
struct Post {
    refuses: u8,
    seen: Mutex<Vec<Delivery>>,
}

#[async_trait]
impl Publisher for Post {
    async fn publish(&self, delivery: &Delivery) -> Result<(), PublishError> {
        self.seen.lock().unwrap().push(delivery.clone());
        match self.refuses {
            1 => Err(PublishError::new("not 'now'")),
            2 if delivery.sequence % 2 == 0 => Err(PublishError::permanent("never ñ")),
            3 if delivery.key == values::key(0) => Err(PublishError::new("not here")),
            _ => Ok(()),
        }
    }
}

/// One write by the service that begins and commits.
async fn alone(side: &Side, known: &Known, ctx: &Context, write: &Write) -> Value {
    let app = &side.app;
    match write {
        Write::CreateUser { .. } => told(app.users().create(ctx, &new_user(write)).await),
        Write::Grant { user, role } => {
            let (user, role) = (known.user(*user), values::role(*role));
            told(app.roles().grant(ctx, user, &role).await)
        }
        Write::Register(name) => told(app.sources().register(ctx, values::name(*name)).await),
        Write::CreateWorkflow { .. } => told(
            app.workflows()
                .create(ctx, new_workflow(write, known))
                .await,
        ),
        Write::Import { source, snapshots } => {
            let shown: Vec<_> = snapshots.iter().map(values::snapshot).collect();
            let source = known.source(*source);
            told(
                app.workflows()
                    .import(ctx, source, &shown)
                    .await
                    .map(imported),
            )
        }
        Write::Sync {
            source,
            reports,
            strict,
        } => {
            let reports: Vec<_> = reports.iter().map(|r| values::report(r, known)).collect();
            let executions = app.executions().with_policy(policy(*strict));
            let done = executions.sync(ctx, known.source(*source), &reports).await;
            told(done.map(outcomes))
        }
        Write::DefineMeter { name, aggregation } => {
            let meter = Meter::new(values::meter(*name), values::aggregation(*aggregation));
            told(app.metering().define_meter(ctx, &meter).await)
        }
        Write::Record(items) => {
            let items: Vec<_> = items.iter().map(values::usage).collect();
            told(app.metering().record(ctx, &items).await.map(receipts))
        }
        Write::Events(events) => {
            let events: Vec<_> = events.iter().map(|e| values::event(e, known)).collect();
            told(app.analytics().record(ctx, &events).await)
        }
        Write::Send(messages) => {
            let messages: Vec<_> = messages.iter().copied().map(values::message).collect();
            told(app.outbox().send(ctx, &messages).await)
        }
    }
}

/// Writes in one unit. After an error the unit may be spent: both stores must agree on that too.
async fn together(
    side: &Side,
    known: &Known,
    ctx: &Context,
    writes: &[Write],
    commit: bool,
) -> Value {
    let mut unit = side.app.store().begin(ctx).await.unwrap();
    let mut answers = Vec::new();
    for write in writes {
        answers.push(within(side, known, &mut *unit, write).await);
    }
    if commit {
        answers.push(shown(unit.commit().await.map_err(Into::into)));
    }
    json!(answers)
}

async fn within(side: &Side, known: &Known, tx: &mut dyn Tx, write: &Write) -> Value {
    let app = &side.app;
    match write {
        Write::CreateUser { .. } => told(app.users().create_in(tx, &new_user(write)).await),
        Write::Grant { user, role } => {
            let (user, role) = (known.user(*user), values::role(*role));
            told(app.roles().grant_in(tx, user, &role).await)
        }
        Write::Register(name) => told(app.sources().register_in(tx, values::name(*name)).await),
        Write::CreateWorkflow { .. } => {
            let new = new_workflow(write, known);
            told(app.workflows().create_in(tx, new).await)
        }
        Write::Import { source, snapshots } => {
            let shown: Vec<_> = snapshots.iter().map(values::snapshot).collect();
            let source = known.source(*source);
            let done = app.workflows().import_in(tx, source, &shown).await;
            told(done.map(imported))
        }
        Write::Sync {
            source,
            reports,
            strict,
        } => {
            let reports: Vec<_> = reports.iter().map(|r| values::report(r, known)).collect();
            let executions = app.executions().with_policy(policy(*strict));
            let source = known.source(*source);
            told(executions.sync_in(tx, source, &reports).await.map(outcomes))
        }
        Write::DefineMeter { name, aggregation } => {
            let meter = Meter::new(values::meter(*name), values::aggregation(*aggregation));
            told(app.metering().define_meter_in(tx, &meter).await)
        }
        Write::Record(items) => {
            let items: Vec<_> = items.iter().map(values::usage).collect();
            told(app.metering().record_in(tx, &items).await.map(receipts))
        }
        Write::Events(events) => {
            let events: Vec<_> = events.iter().map(|e| values::event(e, known)).collect();
            told(app.analytics().record_in(tx, &events).await)
        }
        Write::Send(messages) => {
            let messages: Vec<_> = messages.iter().copied().map(values::message).collect();
            told(app.outbox().send_in(tx, &messages).await)
        }
    }
}

fn policy(strict: bool) -> SyncPolicy {
    let unknown_workflow = if strict {
        UnknownWorkflow::Reject
    } else {
        UnknownWorkflow::Create
    };
    SyncPolicy {
        unknown_workflow,
        ..SyncPolicy::default()
    }
}

fn new_user(write: &Write) -> NewUser {
    let Write::CreateUser {
        id,
        email,
        subject,
        roles,
    } = write
    else {
        unreachable!("only called for new users")
    };
    let mut new = NewUser::new(values::email(*email));
    new.id = id.map(Known::new_user);
    new.subject = subject.map(values::subject);
    new.roles = roles.iter().map(|role| values::role(*role)).collect();
    new
}

fn new_workflow(write: &Write, known: &Known) -> NewWorkflow {
    let Write::CreateWorkflow {
        name,
        definition,
        origin,
        settings,
    } = write
    else {
        unreachable!("only called for new workflows")
    };
    let mut new = NewWorkflow::new(values::name(*name), values::definition(*definition));
    new.details = WorkflowPatch::new().settings(values::document(*settings));
    new.origin =
        origin.map(|(source, external)| (known.source(source), values::external("w", external)));
    new
}

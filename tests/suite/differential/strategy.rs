//! Random histories.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::operation::{
    Event, Operation, OutboxOp, Read, Report, RoleOp, Snapshot, SourceOp, Step, TenantOp, Usage,
    UsageOp, UserOp, Who, WorkflowOp, Write,
};

/// Random histories. One in two is about everything; the others keep to one area, where they come
/// to states that need many steps.
pub(super) fn histories() -> impl Strategy<Value = Vec<Step>> {
    prop_oneof![
        3 => history(anything()),
        1 => history(people()),
        1 => history(definitions()),
        1 => history(flow()),
    ]
}

fn history(operation: impl Strategy<Value = Operation>) -> impl Strategy<Value = Vec<Step>> {
    let who = prop_oneof![
        4 => Just(Who::System),
        3 => Just(Who::Service),
        3 => id().prop_map(Who::User),
    ];
    let step = (tenant_of(), who, operation).prop_map(|(tenant, who, operation)| Step {
        tenant,
        who,
        operation,
    });
    vec(step, 1..60)
}

/// Mostly one of the first two tenants.
fn tenant_of() -> impl Strategy<Value = u8> {
    prop_oneof![6 => Just(0_u8), 5 => Just(1), 1 => Just(2), 1 => Just(7)]
}

/// Something of the tenant's own, or now and then another tenant's, or nothing that ever was.
fn id() -> impl Strategy<Value = u8> {
    prop_oneof![10 => 0..6_u8, 1 => Just(6), 1 => Just(7)]
}

fn read() -> impl Strategy<Value = Read> {
    prop_oneof![
        6 => Just(Read::Present),
        1 => Just(Read::Old),
        1 => Just(Read::Future),
    ]
}

fn anything() -> impl Strategy<Value = Operation> {
    let write = || prop_oneof![person(), made(), told()];
    prop_oneof![
        2 => (0..5_u8).prop_map(Operation::Advance),
        2 => tenant().prop_map(Operation::Tenant),
        4 => user().prop_map(Operation::User),
        3 => role().prop_map(Operation::Role),
        2 => source().prop_map(Operation::Source),
        5 => workflow().prop_map(Operation::Workflow),
        3 => usage_op().prop_map(Operation::Usage),
        4 => outbox().prop_map(Operation::Outbox),
        1 => vec(event(), 0..3).prop_map(Operation::PlatformEvents),
        20 => alone(write()),
        4 => together(write()),
    ]
}

fn people() -> impl Strategy<Value = Operation> {
    prop_oneof![
        1 => tenant().prop_map(Operation::Tenant),
        6 => user().prop_map(Operation::User),
        4 => role().prop_map(Operation::Role),
        5 => alone(person()),
        2 => together(person()),
    ]
}

fn definitions() -> impl Strategy<Value = Operation> {
    prop_oneof![
        1 => source().prop_map(Operation::Source),
        6 => workflow().prop_map(Operation::Workflow),
        5 => alone(made()),
        2 => together(made()),
    ]
}

fn flow() -> impl Strategy<Value = Operation> {
    prop_oneof![
        2 => (0..5_u8).prop_map(Operation::Advance),
        3 => usage_op().prop_map(Operation::Usage),
        4 => outbox().prop_map(Operation::Outbox),
        10 => alone(told()),
        2 => together(told()),
    ]
}

fn alone(write: impl Strategy<Value = Write>) -> impl Strategy<Value = Operation> {
    write.prop_map(|write| Operation::Unit(vec![write], true))
}

fn together(write: impl Strategy<Value = Write>) -> impl Strategy<Value = Operation> {
    (vec(write, 1..5), any::<bool>()).prop_map(|(writes, commit)| Operation::Unit(writes, commit))
}

fn tenant() -> impl Strategy<Value = TenantOp> {
    let settings = (read(), 0..6_u8, 0..12_u8);
    prop_oneof![
        1 => (option::of(0..2_u8), option::of(0..3_u8))
            .prop_map(|(domain, id)| TenantOp::Create { domain, id }),
        2 => (read(), option::of(option::of(0..2_u8)), any::<bool>())
            .prop_map(|(read, domain, plan)| TenantOp::Change { read, domain, plan }),
        1 => Just(TenantOp::Suspend),
        2 => Just(TenantOp::Reactivate),
        1 => Just(TenantOp::Close),
        3 => settings.prop_map(|(read, name, settings)| TenantOp::Profile { read, name, settings }),
        1 => (0..2_u8).prop_map(TenantOp::FindByDomain),
    ]
}

fn user() -> impl Strategy<Value = UserOp> {
    let patch = (
        id(),
        read(),
        option::of(0..4_u8),
        option::of(option::of(0..3_u8)),
        option::of(option::of(0..6_u8)),
        option::of(0..12_u8),
    );
    prop_oneof![
        4 => patch.prop_map(|(user, read, email, subject, name, preferences)| UserOp::Change {
            user, read, email, subject, name, preferences,
        }),
        2 => id().prop_map(UserOp::Deactivate),
        1 => id().prop_map(UserOp::Reactivate),
        1 => id().prop_map(UserOp::Erase),
        2 => id().prop_map(UserOp::Login),
    ]
}

fn role() -> impl Strategy<Value = RoleOp> {
    prop_oneof![
        3 => (0..2_u8, 0..6_u8).prop_map(|(name, permissions)| RoleOp::Define { name, permissions }),
        2 => (0..2_u8, read(), 0..6_u8)
            .prop_map(|(name, read, permissions)| RoleOp::Redefine { name, read, permissions }),
        1 => (0..2_u8).prop_map(RoleOp::Delete),
        2 => (id(), 0..6_u8).prop_map(|(user, role)| RoleOp::Revoke { user, role }),
        1 => any::<u8>().prop_map(RoleOp::Check),
    ]
}

fn source() -> impl Strategy<Value = SourceOp> {
    prop_oneof![
        (id(), read(), 0..6_u8).prop_map(|(source, read, name)| SourceOp::Rename {
            source,
            read,
            name
        }),
        (id(), read()).prop_map(|(source, read)| SourceOp::RotateSecret { source, read }),
        (0..3_u8, any::<bool>()).prop_map(|(name, right)| SourceOp::Authenticate { name, right }),
    ]
}

fn workflow() -> impl Strategy<Value = WorkflowOp> {
    let patch = (
        id(),
        read(),
        option::of(0..6_u8),
        option::of(0..12_u8),
        option::of(0..4_u8),
        option::of(any::<bool>()),
    );
    prop_oneof![
        4 => patch.prop_map(|(workflow, read, name, settings, tags, active)| WorkflowOp::Update {
            workflow, read, name, settings, tags, active,
        }),
        3 => (id(), read(), 0..4_u8)
            .prop_map(|(workflow, read, definition)| WorkflowOp::Redefine { workflow, read, definition }),
        2 => (id(), read(), 0..4_u8)
            .prop_map(|(workflow, read, version)| WorkflowOp::Restore { workflow, read, version }),
        1 => id().prop_map(WorkflowOp::Archive),
        1 => id().prop_map(WorkflowOp::Unarchive),
        1 => (id(), any::<bool>()).prop_map(|(w, on)| WorkflowOp::Activate(w, on)),
        2 => (id(), read()).prop_map(|(workflow, read)| WorkflowOp::Delete { workflow, read }),
    ]
}

fn usage_op() -> impl Strategy<Value = UsageOp> {
    prop_oneof![
        id().prop_map(|usage| UsageOp::Void { usage }),
        (id(), usage()).prop_map(|(usage, by)| UsageOp::Replace { usage, by }),
        (0..4_u8, read(), option::of(0..6_u8))
            .prop_map(|(meter, read, unit)| UsageOp::ChangeUnit { meter, read, unit }),
    ]
}

fn outbox() -> impl Strategy<Value = OutboxOp> {
    prop_oneof![
        6 => (0..4_u8, 1..4_u8, 1..4_u8)
            .prop_map(|(publisher, batch, attempts)| OutboxOp::Relay { publisher, batch, attempts }),
        1 => (0..3_u8).prop_map(OutboxOp::Release),
        1 => (0..3_u8).prop_map(OutboxOp::Skip),
        1 => (0..5_u8).prop_map(OutboxOp::Prune),
    ]
}

/// Writes about people.
fn person() -> impl Strategy<Value = Write> {
    let user = (
        option::of(0..3_u8),
        0..4_u8,
        option::of(0..3_u8),
        vec(0..6_u8, 0..3),
    );
    let user = user.prop_map(|(id, email, subject, roles)| Write::CreateUser {
        id,
        email,
        subject,
        roles,
    });
    prop_oneof![
        2 => user,
        1 => (id(), 0..6_u8).prop_map(|(user, role)| Write::Grant { user, role }),
    ]
}

/// Writes about workflows and where they come from.
fn made() -> impl Strategy<Value = Write> {
    let workflow = (0..6_u8, 0..4_u8, option::of((id(), 0..3_u8)), 0..12_u8);
    let workflow =
        workflow.prop_map(
            |(name, definition, origin, settings)| Write::CreateWorkflow {
                name,
                definition,
                origin,
                settings,
            },
        );
    prop_oneof![
        1 => (0..3_u8).prop_map(Write::Register),
        2 => workflow,
        2 => (id(), vec(snapshot(), 0..4))
            .prop_map(|(source, snapshots)| Write::Import { source, snapshots }),
        1 => sync(),
    ]
}

/// Writes about what happened.
fn told() -> impl Strategy<Value = Write> {
    prop_oneof![
        5 => sync(),
        1 => (0..4_u8, 0..7_u8)
            .prop_map(|(name, aggregation)| Write::DefineMeter { name, aggregation }),
        3 => vec(usage(), 0..5).prop_map(Write::Record),
        2 => vec(event(), 0..4).prop_map(Write::Events),
        2 => vec((0..3_u8, 0..3_u8), 0..4).prop_map(Write::Send),
    ]
}

fn sync() -> impl Strategy<Value = Write> {
    let strict = proptest::bool::weighted(0.1);
    (id(), vec(report(), 0..7), strict).prop_map(|(source, reports, strict)| Write::Sync {
        source,
        reports,
        strict,
    })
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    (0..3_u8, 0..7_u8, 0..5_u8, 0..12_u8, 0..4_u8, any::<bool>()).prop_map(
        |(workflow, name, definition, settings, tags, active)| Snapshot {
            workflow,
            name,
            definition,
            settings,
            tags,
            active,
        },
    )
}

fn report() -> impl Strategy<Value = Report> {
    let what = (0..4_u8, 0..3_u8, 0..9_u8, 0..4_u8);
    let when = (0..8_u8, option::of(0..4_u8), any::<bool>());
    let brings = (0..8_u8, 0..3_u8, option::weighted(0.2, id()));
    let more = (any::<bool>(), 0..3_u8, option::weighted(0.8, snapshot()));
    (what, when, brings, more).prop_map(|(what, when, brings, more)| Report {
        execution: what.0,
        workflow: what.1,
        status: what.2,
        mode: what.3,
        started: when.0,
        took: when.1,
        waits: when.2,
        payloads: brings.0,
        errors: brings.1,
        by: brings.2,
        retry: more.0,
        ai_calls: more.1,
        snapshot: more.2,
    })
}

fn usage() -> impl Strategy<Value = Usage> {
    let what = (0..4_u8, 0..6_u8, 0..8_u8, 0..8_u8);
    let more = (
        option::weighted(0.3, 0..4_u8),
        option::weighted(0.4, 0..3_u8),
        option::weighted(0.2, 0..2_u8),
        0..12_u8,
    );
    (what, more).prop_map(|(what, more)| Usage {
        key: what.0,
        meter: what.1,
        quantity: what.2,
        at: what.3,
        price: more.0,
        unique: more.1,
        subscription: more.2,
        metadata: more.3,
    })
}

fn event() -> impl Strategy<Value = Event> {
    let what = (0..2_u8, 0..8_u8, option::of(0..2_u8));
    let more = (option::weighted(0.4, id()), 0..12_u8, any::<bool>());
    (what, more).prop_map(|(what, more)| Event {
        kind: what.0,
        at: what.1,
        key: what.2,
        user: more.0,
        data: more.1,
        origin: more.2,
    })
}

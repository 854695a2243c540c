//! What a random history is made of. Every choice is a small number, so that histories shrink well
//! and meet the same few things again and again.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// One call, by somebody for a tenant.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) tenant: u8,
    pub(super) who: Who,
    pub(super) operation: Operation,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Who {
    System,
    /// With an origin and a reason.
    Service,
    User(u8),
}

/// Which revision the caller says it has read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Read {
    Present,
    Old,
    Future,
}

#[derive(Debug, Clone)]
pub(super) enum Operation {
    Advance(u8),
    Tenant(TenantOp),
    User(UserOp),
    Role(RoleOp),
    Source(SourceOp),
    Workflow(WorkflowOp),
    Usage(UsageOp),
    Outbox(OutboxOp),
    /// Writes in one unit, which is committed or dropped.
    Unit(Vec<Write>, bool),
}

#[derive(Debug, Clone)]
pub(super) enum TenantOp {
    Create {
        domain: Option<u8>,
        id: Option<u8>,
    },
    Change {
        read: Read,
        domain: Option<Option<u8>>,
        plan: bool,
    },
    Suspend,
    Reactivate,
    Close,
    Profile {
        read: Read,
        name: u8,
        settings: u8,
    },
    FindByDomain(u8),
}

#[derive(Debug, Clone)]
pub(super) enum UserOp {
    Change {
        user: u8,
        read: Read,
        email: Option<u8>,
        subject: Option<Option<u8>>,
        name: Option<Option<u8>>,
        preferences: Option<u8>,
    },
    Deactivate(u8),
    Reactivate(u8),
    Erase(u8),
    Login(u8),
}

#[derive(Debug, Clone)]
pub(super) enum RoleOp {
    Define {
        name: u8,
        permissions: u8,
    },
    Redefine {
        name: u8,
        read: Read,
        permissions: u8,
    },
    Delete(u8),
    Revoke {
        user: u8,
        role: u8,
    },
    Check(u8),
}

#[derive(Debug, Clone)]
pub(super) enum SourceOp {
    Rename { source: u8, read: Read, name: u8 },
    RotateSecret { source: u8, read: Read },
    Authenticate { name: u8, right: bool },
}

#[derive(Debug, Clone)]
pub(super) enum WorkflowOp {
    Update {
        workflow: u8,
        read: Read,
        name: Option<u8>,
        settings: Option<u8>,
        tags: Option<u8>,
        active: Option<bool>,
    },
    Redefine {
        workflow: u8,
        read: Read,
        definition: u8,
    },
    Restore {
        workflow: u8,
        read: Read,
        version: u8,
    },
    Archive(u8),
    Unarchive(u8),
    Activate(u8, bool),
    Delete {
        workflow: u8,
        read: Read,
    },
}

#[derive(Debug, Clone)]
pub(super) enum UsageOp {
    Void {
        usage: u8,
    },
    Replace {
        usage: u8,
        by: Usage,
    },
    ChangeUnit {
        meter: u8,
        read: Read,
        unit: Option<u8>,
    },
}

#[derive(Debug, Clone)]
pub(super) enum OutboxOp {
    Relay {
        publisher: u8,
        batch: u8,
        attempts: u8,
    },
    Release(u8),
    Skip(u8),
    Prune(u8),
}

/// What can be done in a unit with others.
#[derive(Debug, Clone)]
pub(super) enum Write {
    CreateUser {
        id: Option<u8>,
        email: u8,
        subject: Option<u8>,
        roles: Vec<u8>,
    },
    Grant {
        user: u8,
        role: u8,
    },
    Register(u8),
    CreateWorkflow {
        name: u8,
        definition: u8,
        origin: Option<(u8, u8)>,
        settings: u8,
    },
    Import {
        source: u8,
        snapshots: Vec<Snapshot>,
    },
    Sync {
        source: u8,
        reports: Vec<Report>,
        strict: bool,
    },
    DefineMeter {
        name: u8,
        aggregation: u8,
    },
    Record(Vec<Usage>),
    Events(Vec<Event>),
    Send(Vec<(u8, u8)>),
}

#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) workflow: u8,
    pub(super) name: u8,
    pub(super) definition: u8,
    pub(super) settings: u8,
    pub(super) tags: u8,
    pub(super) active: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) execution: u8,
    pub(super) workflow: u8,
    pub(super) status: u8,
    pub(super) mode: u8,
    pub(super) started: u8,
    pub(super) took: Option<u8>,
    pub(super) waits: bool,
    /// Bits: input, output, error.
    pub(super) payloads: u8,
    pub(super) errors: u8,
    pub(super) by: Option<u8>,
    pub(super) retry: bool,
    pub(super) ai_calls: u8,
    pub(super) snapshot: Option<Snapshot>,
}

#[derive(Debug, Clone)]
pub(super) struct Usage {
    pub(super) key: u8,
    pub(super) meter: u8,
    pub(super) quantity: u8,
    pub(super) at: u8,
    pub(super) price: Option<u8>,
    pub(super) unique: Option<u8>,
    pub(super) subscription: Option<u8>,
    pub(super) metadata: u8,
}

#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) kind: u8,
    pub(super) at: u8,
    pub(super) key: Option<u8>,
    pub(super) user: Option<u8>,
    pub(super) data: u8,
    pub(super) origin: bool,
}

/// Random histories.
pub(super) fn histories() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..40)
}

fn step() -> impl Strategy<Value = Step> {
    let who = prop_oneof![
        4 => Just(Who::System),
        3 => Just(Who::Service),
        3 => id().prop_map(Who::User),
    ];
    (tenant_of(), who, operation()).prop_map(|(tenant, who, operation)| Step {
        tenant,
        who,
        operation,
    })
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

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        2 => (0..5_u8).prop_map(Operation::Advance),
        2 => tenant().prop_map(Operation::Tenant),
        4 => user().prop_map(Operation::User),
        3 => role().prop_map(Operation::Role),
        2 => source().prop_map(Operation::Source),
        5 => workflow().prop_map(Operation::Workflow),
        3 => usage_op().prop_map(Operation::Usage),
        4 => outbox().prop_map(Operation::Outbox),
        20 => (vec(write(), 1..2), Just(true)).prop_map(|(w, c)| Operation::Unit(w, c)),
        4 => (vec(write(), 1..5), any::<bool>()).prop_map(|(w, c)| Operation::Unit(w, c)),
    ]
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

fn write() -> impl Strategy<Value = Write> {
    let user = (
        option::of(0..3_u8),
        0..4_u8,
        option::of(0..3_u8),
        vec(0..6_u8, 0..3),
    );
    let new_workflow = (0..6_u8, 0..4_u8, option::of((id(), 0..3_u8)), 0..12_u8);
    prop_oneof![
        4 => user.prop_map(|(id, email, subject, roles)| Write::CreateUser {
            id, email, subject, roles,
        }),
        2 => (id(), 0..6_u8).prop_map(|(user, role)| Write::Grant { user, role }),
        3 => (0..3_u8).prop_map(Write::Register),
        3 => new_workflow.prop_map(|(name, definition, origin, settings)| Write::CreateWorkflow {
            name, definition, origin, settings,
        }),
        2 => (id(), vec(snapshot(), 0..4))
            .prop_map(|(source, snapshots)| Write::Import { source, snapshots }),
        9 => (id(), vec(report(), 0..7), proptest::bool::weighted(0.1))
            .prop_map(|(source, reports, strict)| Write::Sync { source, reports, strict }),
        2 => (0..4_u8, 0..7_u8)
            .prop_map(|(name, aggregation)| Write::DefineMeter { name, aggregation }),
        5 => vec(usage(), 0..5).prop_map(Write::Record),
        3 => vec(event(), 0..4).prop_map(Write::Events),
        3 => vec((0..3_u8, 0..3_u8), 0..4).prop_map(Write::Send),
    ]
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

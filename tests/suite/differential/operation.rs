//! What a random history is made of. Every choice is a small number, so that histories shrink well
//! and meet the same few things again and again.

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
    /// Events that belong to no tenant.
    PlatformEvents(Vec<Event>),
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

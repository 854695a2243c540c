//! One of the two stores under comparison, and what a history has made so far.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use tenantry::domain::ids::{ExecutionId, SourceId, TenantId, UsageId, UserId, WorkflowId};
use tenantry::domain::page::PageRequest;
use tenantry::store::{Archive, Entropy, ManualClock, Store, StoreResult, WorkflowFilter};
use tenantry::{Context, PlatformContext, Tenantry};
use uuid::Uuid;

use crate::backend::noon;

/// Random numbers that depend on the step of a history and on nothing else, so that both stores
/// make the same ids even after one of them has asked for more.
#[derive(Debug, Default)]
pub(super) struct StepEntropy {
    step: AtomicU64,
    drawn: AtomicU64,
}

impl StepEntropy {
    fn begin(&self, step: u64) {
        self.step.store(step, Ordering::Relaxed);
        self.drawn.store(0, Ordering::Relaxed);
    }
}

impl Entropy for StepEntropy {
    fn seed(&self) -> StoreResult<[u8; 32]> {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.step.load(Ordering::Relaxed).to_le_bytes());
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        seed[8..16].copy_from_slice(&drawn.to_le_bytes());
        Ok(seed)
    }
}

/// What a store takes from its surroundings.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    pub(super) clock: Arc<ManualClock>,
    pub(super) entropy: Arc<StepEntropy>,
}

impl Surroundings {
    pub(super) fn new() -> Self {
        Self {
            clock: Arc::new(ManualClock::at(noon())),
            entropy: Arc::default(),
        }
    }
}

/// A store with its surroundings.
pub(super) struct Side {
    pub(super) app: Tenantry,
    around: Surroundings,
    /// The secret that was issued last.
    secret: Mutex<String>,
}

impl Side {
    pub(super) fn new(store: Arc<dyn Store>, around: Surroundings) -> Self {
        around.clock.set(noon());
        Self {
            app: Tenantry::new(store),
            around,
            secret: Mutex::default(),
        }
    }

    pub(super) fn remember_secret(&self, secret: &str) {
        secret.clone_into(&mut self.secret.lock().unwrap());
    }

    pub(super) fn last_secret(&self) -> String {
        self.secret.lock().unwrap().clone()
    }

    pub(super) fn begin_step(&self, number: usize) {
        self.around.entropy.begin(number as u64);
    }

    pub(super) fn advance(&self, by: TimeDelta) {
        self.around.clock.advance(by);
    }
}

/// Everything that a history has made, in the order in which it appeared, deleted things too.
#[derive(Debug, Default, Clone)]
pub(super) struct Known {
    tenants: Vec<TenantId>,
    /// What the tenant has that chooses, and what any tenant has.
    own: Things,
    all: Things,
    of: BTreeMap<TenantId, Things>,
}

#[derive(Debug, Default, Clone)]
struct Things {
    users: Vec<UserId>,
    sources: Vec<SourceId>,
    workflows: Vec<WorkflowId>,
    executions: Vec<ExecutionId>,
    usage: Vec<UsageId>,
}

fn ghost() -> Uuid {
    Uuid::from_u128(0x019a_0000_0000_7eee_8eee_eeee_eeee_eeee)
}

/// Of eight choices, six are the chooser's own, one is anybody's and one never was.
fn pick<T: Copy + From<Uuid>>(own: &[T], all: &[T], choice: u8) -> T {
    let choice = usize::from(choice) % 8;
    let found = match choice {
        6 => all.get(all.len() / 2),
        7 => None,
        _ => own.get(choice % own.len().max(1)),
    };
    found.copied().unwrap_or_else(|| ghost().into())
}

impl Known {
    pub(super) fn tenant(&self, choice: u8) -> TenantId {
        let tenant = self.tenants.get(usize::from(choice));
        tenant.copied().unwrap_or_else(|| ghost().into())
    }

    /// The same, with this tenant to choose.
    pub(super) fn chosen_by(&self, tenant: TenantId) -> Self {
        let mut known = self.clone();
        known.own = self.of.get(&tenant).cloned().unwrap_or_default();
        known
    }

    pub(super) fn user(&self, choice: u8) -> UserId {
        pick(&self.own.users, &self.all.users, choice)
    }

    pub(super) fn source(&self, choice: u8) -> SourceId {
        pick(&self.own.sources, &self.all.sources, choice)
    }

    pub(super) fn workflow(&self, choice: u8) -> WorkflowId {
        pick(&self.own.workflows, &self.all.workflows, choice)
    }

    pub(super) fn usage(&self, choice: u8) -> UsageId {
        pick(&self.own.usage, &self.all.usage, choice)
    }

    pub(super) fn tenants(&self) -> &[TenantId] {
        &self.tenants
    }

    pub(super) fn users(&self) -> &[UserId] {
        &self.all.users
    }

    pub(super) fn workflows(&self) -> &[WorkflowId] {
        &self.all.workflows
    }

    pub(super) fn executions(&self) -> &[ExecutionId] {
        &self.all.executions
    }

    pub(super) fn all_usage(&self) -> &[UsageId] {
        &self.all.usage
    }

    /// An id for a new user: few, so that two tenants have users with one id.
    pub(super) fn new_user(choice: u8) -> UserId {
        Uuid::from_u128(0x019a_0000_0000_7eee_8eee_0000_0000_0000 + u128::from(choice)).into()
    }

    /// Looks at a store for what is new.
    pub(super) async fn learn(&mut self, side: &Side) {
        let all = PageRequest::first(PageRequest::MAX);
        let app = &side.app;
        let tenants = app.tenants();
        let tenants = tenants.list(&PlatformContext::system(), None, &all).await;
        let tenants = tenants.unwrap().items;
        add(&mut self.tenants, tenants.iter().map(|tenant| tenant.id));
        for ctx in tenants.iter().map(|tenant| Context::system(tenant.id)) {
            let users = app.users().list(&ctx, None, &all).await.unwrap();
            let sources = app.sources().list(&ctx, &all).await.unwrap();
            let archived = WorkflowFilter {
                archive: Archive::Included,
                ..Default::default()
            };
            let workflows = app.workflows().search(&ctx, &archived, &all).await.unwrap();
            let filter = Default::default();
            let executions = app.executions().list(&ctx, &filter, &all).await.unwrap();
            let usage = app.metering().list(&ctx, &Default::default(), &all).await;
            let usage = usage.unwrap();
            let own = self.of.entry(ctx.tenant()).or_default();
            for things in [own, &mut self.all] {
                add(&mut things.users, users.items.iter().map(|user| user.id));
                add(&mut things.sources, sources.items.iter().map(|s| s.id));
                add(&mut things.workflows, workflows.items.iter().map(|w| w.id));
                add(
                    &mut things.executions,
                    executions.items.iter().map(|e| e.id),
                );
                add(&mut things.usage, usage.items.iter().map(|u| u.id));
            }
        }
    }
}

fn add<T: Copy + Ord>(known: &mut Vec<T>, all: impl Iterator<Item = T>) {
    let mut new: Vec<T> = all.filter(|id| !known.contains(id)).collect();
    new.sort_unstable();
    known.extend(new);
}

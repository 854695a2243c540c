//! Builders for the tests of a service that embeds tenantry.
//!
//! A test says what it needs, and leaves the rest to values that are the same in every run:
//!
//! ```
//! use std::time::Duration;
//! use tenantry::domain::identity::Role;
//! use tenantry::fixtures::World;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> tenantry::Result<()> {
//! let world = World::in_memory();
//! let acme = world.tenant("Acme").await?;
//! let ada = acme.user("ada@acme.example", &[Role::Editor]).await?;
//! let intake = acme.workflow("Order intake").await?;
//! acme.run_of(&intake).by(&ada).took(Duration::from_secs(2)).report().await?;
//! acme.run_of(&intake).failed("no such order").report().await?;
//!
//! let summary = world.app().executions();
//! let page = summary.list(acme.ctx(), &Default::default(), &Default::default()).await?;
//! assert_eq!(page.items.len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! Deliberately absent: anything that writes past the services. What a fixture makes, a host could
//! have made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use rust_decimal::Decimal;

use crate::domain::billing_cycle::Interval;
use crate::domain::catalogue::{
    CatalogueError, Charge, ChargeCode, ChargeKind, DocumentPrice, PlanDefinition, PriceTerms,
};
use crate::domain::context::{Context, PlatformContext};
use crate::domain::execution::{ErrorEntry, Execution, ExecutionMode};
use crate::domain::execution::{ExecutionReport, ExecutionStatus};
use crate::domain::identity::{NewUser, Role, User};
use crate::domain::ids::SourceId;
use crate::domain::metering::{MeterName, NewUsage, Receipt};
use crate::domain::money::Currency;
use crate::domain::payload::Payload;
use crate::domain::pricing::{FlatPrice, PriceModel};
use crate::domain::source::Source;
use crate::domain::subscription::{NewSubscription, Subscription};
use crate::domain::tenancy::{NewTenant, Tenant};
use crate::domain::text::{Email, ExternalId, Name, PlanCode, UsageKey};
use crate::domain::workflow::{NewWorkflow, Workflow, WorkflowDefinition, WorkflowError};
use crate::error::{Error, Result};
use crate::memory::MemoryStore;
use crate::service::Tenantry;
use crate::store::{Clock, FixedEntropy, ManualClock, Store};

/// A workflow of two nodes, as n8n would write it.
const DEFINITION: &str = r#"{
    "nodes": [
        {"id": "1", "name": "Webhook", "type": "n8n-nodes-base.webhook", "typeVersion": 2,
            "position": [0, 0], "parameters": {"path": "intake"}},
        {"id": "2", "name": "Set", "type": "n8n-nodes-base.set", "typeVersion": 3,
            "position": [200, 0], "parameters": {}}
    ],
    "connections": {"Webhook": {"main": [[{"node": "Set", "type": "main", "index": 0}]]}}
}"#;

/// A store with a clock that the test moves.
#[derive(Debug, Clone)]
pub struct World {
    app: Tenantry,
    clock: Arc<ManualClock>,
}

impl World {
    /// An empty store in memory. It is noon of 15 November 2026, UTC.
    #[must_use]
    pub fn in_memory() -> Self {
        let noon = Utc.with_ymd_and_hms(2026, 11, 15, 12, 0, 0).single();
        let clock = Arc::new(ManualClock::at(noon.unwrap_or_default()));
        let entropy = Arc::new(FixedEntropy::new(1));
        Self::on(
            Arc::new(MemoryStore::with(clock.clone(), entropy)),
            Arc::clone(&clock),
        )
    }

    /// On a store that was made with this clock, such as one on PostgreSQL.
    #[must_use]
    pub fn on(store: Arc<dyn Store>, clock: Arc<ManualClock>) -> Self {
        let app = Tenantry::new(store);
        Self { app, clock }
    }

    /// What the service under test works with.
    #[must_use]
    pub fn app(&self) -> &Tenantry {
        &self.app
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Lets time pass.
    pub fn advance(&self, by: TimeDelta) {
        self.clock.advance(by);
    }

    /// A tenant with a source of executions.
    ///
    /// # Errors
    /// `Invalid` for a name that is none.
    pub async fn tenant(&self, name: &str) -> Result<TenantFixture> {
        self.tenant_of(NewTenant::named(name)?).await
    }

    /// The same, for a tenant that is not like the others.
    ///
    /// # Errors
    /// `AlreadyExists` when its id or its domain is taken.
    pub async fn tenant_of(&self, new: NewTenant) -> Result<TenantFixture> {
        let system = PlatformContext::system();
        let tenant = self.app.tenants().create(&system, new).await?;
        let ctx = Context::system(tenant.id);
        let name = Name::new("n8n")?;
        let source = self.app.sources().register(&ctx, name).await?;
        Ok(TenantFixture {
            world: self.clone(),
            tenant,
            source,
            ctx,
            made: Arc::default(),
        })
    }
}

/// A tenant, and what a test makes for it.
#[derive(Debug, Clone)]
pub struct TenantFixture {
    world: World,
    tenant: Tenant,
    source: Source,
    ctx: Context,
    made: Arc<AtomicU64>,
}

impl TenantFixture {
    /// The tenant as it was created.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Where its executions come from.
    #[must_use]
    pub fn source(&self) -> SourceId {
        self.source.id
    }

    /// The tenant, acted for by the system.
    #[must_use]
    pub fn ctx(&self) -> &Context {
        &self.ctx
    }

    /// The tenant, acted for by one of its users.
    #[must_use]
    pub fn as_user(&self, user: &User) -> Context {
        Context::user(self.tenant.id, user.id)
    }

    /// A user with these roles.
    ///
    /// # Errors
    /// `Invalid` for an address that is none, `AlreadyExists` for one that is taken.
    pub async fn user(&self, email: &str, roles: &[Role]) -> Result<User> {
        let mut new = NewUser::new(Email::new(email)?);
        new.roles = roles.to_vec();
        self.world.app.users().create(&self.ctx, &new).await
    }

    /// A workflow of two nodes, known to the source.
    ///
    /// # Errors
    /// `Invalid` for a name that is none.
    pub async fn workflow(&self, name: &str) -> Result<Workflow> {
        let definition = WorkflowDefinition::new(DEFINITION);
        let definition = definition.map_err(WorkflowError::from)?;
        let mut new = NewWorkflow::new(Name::new(name)?, definition);
        new.origin = Some((self.source.id, ExternalId::new(&self.next("workflow"))?));
        self.world.app.workflows().create(&self.ctx, new).await
    }

    /// A run of a workflow of the source: successful, started by a webhook, over in a second, now.
    pub fn run_of<'f>(&'f self, workflow: &'f Workflow) -> RunFixture<'f> {
        RunFixture {
            of: self,
            workflow,
            status: ExecutionStatus::Success,
            mode: ExecutionMode::Webhook,
            took: Duration::from_secs(1),
            by: None,
            output: None,
            errors: Vec::new(),
        }
    }

    /// Usage, consumed now.
    ///
    /// # Errors
    /// `Invalid` for a meter that is not defined or a quantity that it does not take.
    pub async fn usage(&self, meter: MeterName, quantity: impl Into<Decimal>) -> Result<Receipt> {
        let key = UsageKey::new(&self.next("usage"))?;
        let new = NewUsage::new(key, meter, quantity, self.world.now());
        let metering = self.world.app.metering();
        let receipts = metering.record(&self.ctx, &[new]).await?;
        let receipt = receipts.into_iter().next();
        Ok(receipt.ok_or_else(|| Error::not_found("usage", "of the fixture"))??)
    }

    /// A subscription to a plan that costs so many euros a month, one seat, from now on.
    ///
    /// # Errors
    /// `Invalid` for a name that is none, and for more than two decimal places.
    pub async fn subscribe(&self, plan: &str, euros: impl Into<Decimal>) -> Result<Subscription> {
        let code = PlanCode::new(plan)?;
        let base = ChargeCode::new("base")?;
        let mut definition = PlanDefinition::new(Name::new(plan)?, Interval::MONTH);
        definition.charges.push(Charge {
            code: base.clone(),
            name: Name::new("Base fee")?,
            kind: ChargeKind::Recurring { per_seat: false },
        });
        let price = FlatPrice::new(euros.into()).map_err(CatalogueError::from)?;
        let price = DocumentPrice {
            terms: PriceTerms::new(base, Currency::EUR, PriceModel::Flat(price)),
            stripe_price: None,
        };
        let (app, system) = (&self.world.app, PlatformContext::system());
        let catalogue = app.catalogue();
        catalogue.publish(&system, &code, &definition).await?;
        catalogue.set_price(&system, &code, &price, None).await?;
        let mut new = NewSubscription::to(code);
        new.currency = Some(Currency::EUR);
        app.subscriptions().start(&self.ctx, &new).await
    }

    /// Names that differ, and are the same in every run.
    fn next(&self, what: &str) -> String {
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        format!("{what}-{number}")
    }
}

/// A run that is to be reported.
#[derive(Debug, Clone)]
#[must_use = "nothing is stored before `report` is called"]
pub struct RunFixture<'f> {
    of: &'f TenantFixture,
    workflow: &'f Workflow,
    status: ExecutionStatus,
    mode: ExecutionMode,
    took: Duration,
    by: Option<&'f User>,
    output: Option<Payload>,
    errors: Vec<ErrorEntry>,
}

impl<'f> RunFixture<'f> {
    /// With this status.
    pub fn status(mut self, status: ExecutionStatus) -> Self {
        self.status = status;
        self
    }

    /// Failed, with this in its error log.
    pub fn failed(mut self, message: &str) -> Self {
        self.status = ExecutionStatus::Error;
        let now = self.of.world.now();
        self.errors.push(ErrorEntry::new(message, now));
        self
    }

    /// Started in this way.
    pub fn mode(mut self, mode: ExecutionMode) -> Self {
        self.mode = mode;
        self
    }

    /// Over after this time.
    pub fn took(mut self, time: Duration) -> Self {
        self.took = time;
        self
    }

    /// Started by this user.
    pub fn by(mut self, user: &'f User) -> Self {
        self.by = Some(user);
        self
    }

    /// With this output.
    pub fn output(mut self, payload: Payload) -> Self {
        self.output = Some(payload);
        self
    }

    /// Reports the run, and answers what is stored of it. It ended now and began earlier.
    ///
    /// # Errors
    /// `NotFound` for a workflow that the source does not know.
    pub async fn report(self) -> Result<Execution> {
        let (tenant, app) = (self.of, self.of.world.app());
        let unknown = || Error::not_found("workflow", self.workflow.id);
        let workflow = self.workflow.external_id.clone().ok_or_else(unknown)?;
        let id = ExternalId::new(&tenant.next("run"))?;
        let now = tenant.world.now();
        let took = TimeDelta::from_std(self.took).unwrap_or_default();
        let mut report =
            ExecutionReport::new(id.clone(), workflow, self.status, self.mode, now - took)
                .with_errors(self.errors);
        if self.status.is_terminal() {
            report = report.with_stopped_at(now);
        }
        if let Some(user) = self.by {
            report = report.with_triggered_by(user.id);
        }
        if let Some(output) = self.output {
            report = report.with_output(output);
        }
        let executions = app.executions();
        let (ctx, source) = (&tenant.ctx, tenant.source.id);
        executions.sync(ctx, source, &[report]).await?;
        executions.find(ctx, source, &id).await
    }
}

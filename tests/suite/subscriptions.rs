//! Subscriptions through the service, on both backends.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tenantry::domain::catalogue::CatalogueDocument;
use tenantry::domain::discount::{Coupon, CouponDuration, Off};
use tenantry::domain::identity::{NewUser, Role};
use tenantry::domain::money::{Currency, Money};
use tenantry::domain::page::PageRequest;
use tenantry::domain::subscription::{
    AfterDunning, DunningPolicy, LineKind, NewSubscription, PendingLine, StripeCustomerId,
    StripeSubscriptionId, Subscription, SubscriptionAct as Act, SubscriptionEvent as Event,
    SubscriptionStatus as Status, When,
};
use tenantry::domain::tenancy::NewTenant;
use tenantry::domain::text::{Email, PlanCode};
use tenantry::memory::MemoryStore;
use tenantry::service::{SubscriptionOutcome, Subscriptions};
use tenantry::store::{Clock, FixedEntropy, ManualClock, Store};
use tenantry::{Context, Error, ErrorKind, PlatformContext, Tenantry};
use tokio::sync::Barrier;

use crate::backend::{Fresh, Login, fresh, noon};

/// How many callers do the same at once.
const CALLERS: usize = 8;

const PLANS: &str = r#"{"plans": [
    {"code": "pro", "name": "Pro", "interval": "month", "charges": [
        {"code": "base", "name": "Base fee", "kind": "recurring", "prices": {
            "EUR": {"model": {"type": "flat", "amount": "30"}}}},
        {"code": "seats", "name": "Seats", "kind": "recurring", "per_seat": true, "prices": {
            "EUR": {"model": {"type": "per_unit", "unit_amount": "3"}}}}]},
    {"code": "team", "name": "Team", "interval": "month", "trial_days": 14, "charges": [
        {"code": "base", "name": "Base fee", "kind": "recurring", "prices": {
            "EUR": {"model": {"type": "flat", "amount": "90"}}}}]},
    {"code": "old", "name": "Old", "interval": "month"},
    {"code": "dollars", "name": "Dollars", "interval": "month", "charges": [
        {"code": "base", "name": "Base fee", "kind": "recurring", "prices": {
            "USD": {"model": {"type": "flat", "amount": "1"}}}}]}
]}"#;

#[derive(Clone)]
struct Shop {
    name: &'static str,
    app: Tenantry,
    clock: Arc<ManualClock>,
    operator: PlatformContext,
    ctx: Context,
    _database: Arc<Option<Fresh>>,
}

impl Shop {
    async fn on(
        name: &'static str,
        store: Arc<dyn Store>,
        clock: Arc<ManualClock>,
        database: Option<Fresh>,
    ) -> Self {
        let app = Tenantry::new(store);
        let operator = PlatformContext::system();
        let plans = CatalogueDocument::from_json(PLANS).unwrap();
        app.catalogue().import(&operator, &plans).await.unwrap();
        let mut shop = Self {
            name,
            app,
            clock,
            ctx: Context::system(uuid::Uuid::nil().into()),
            operator,
            _database: Arc::new(database),
        };
        shop.ctx = shop.tenant("acme").await;
        shop
    }

    async fn tenant(&self, name: &str) -> Context {
        let mut new = NewTenant::named(name).unwrap();
        new.profile.currency = Currency::EUR;
        let tenant = self.app.tenants().create(&self.operator, new).await;
        Context::system(tenant.unwrap().id)
    }

    fn subscriptions(&self) -> Subscriptions {
        self.app.subscriptions()
    }

    async fn start(&self, plan: &str) -> Subscription {
        self.start_with(plan, |_| {}).await
    }

    async fn start_with(&self, plan: &str, with: fn(&mut NewSubscription)) -> Subscription {
        let mut new = to(plan);
        with(&mut new);
        self.subscriptions().start(&self.ctx, &new).await.unwrap()
    }

    async fn try_apply(&self, to: &Subscription, act: Act) -> Result<SubscriptionOutcome, Error> {
        self.subscriptions()
            .apply(&self.ctx, to.id, None, &act)
            .await
    }

    async fn apply(&self, to: &Subscription, act: Act) -> SubscriptionOutcome {
        self.try_apply(to, act).await.unwrap()
    }

    async fn lines(&self, of: &Subscription) -> Vec<PendingLine> {
        self.subscriptions()
            .pending_lines(&self.ctx, of.id)
            .await
            .unwrap()
    }

    async fn renew_due(&self, limit: usize) -> (u64, u64) {
        let run = self.subscriptions();
        let report = run.renew_due(&self.operator, self.clock.now(), limit).await;
        let report = report.unwrap();
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        (report.subscriptions, report.events)
    }

    /// The same, so many times at once.
    async fn at_once<T: Send + 'static, F>(&self, act: impl Fn(Self) -> F) -> Vec<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let barrier = Arc::new(Barrier::new(CALLERS));
        let tasks: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (barrier, act) = (Arc::clone(&barrier), act(self.clone()));
                tokio::spawn(async move {
                    barrier.wait().await;
                    act.await
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.push(task.await.unwrap());
        }
        all
    }
}

async fn shops() -> [Shop; 2] {
    let clock = || Arc::new(ManualClock::at(noon()));
    let (one, two) = (clock(), clock());
    let memory = MemoryStore::with(one.clone(), Arc::new(FixedEntropy::new(1)));
    let database = fresh(Login::Plain, two.clone()).await;
    let store = Arc::new(database.store.clone());
    [
        Shop::on("memory", Arc::new(memory), one, None).await,
        Shop::on("postgres", store, two, Some(database)).await,
    ]
}

fn to(plan: &str) -> NewSubscription {
    NewSubscription::to(PlanCode::new(plan).unwrap())
}

fn change_plan(plan: &str, when: When) -> Act {
    Act::ChangePlan {
        plan: PlanCode::new(plan).unwrap(),
        version: None,
        when,
    }
}

fn seats(quantity: u32, when: When) -> Act {
    Act::ChangeQuantity { quantity, when }
}

fn t(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn amounts(lines: &[PendingLine]) -> Vec<(&str, LineKind, i64)> {
    let amounts = lines.iter();
    amounts
        .map(|line| (line.charge.as_str(), line.kind, line.amount.minor()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_goes_through_its_life() {
    for shop in shops().await {
        let name = shop.name;
        let trial = shop.start("team").await;
        assert_eq!(trial.status, Status::Trialing, "{name}");
        assert_eq!(trial.trial_end, Some(noon() + TimeDelta::days(14)));
        let current = shop.subscriptions().current(&shop.ctx).await.unwrap();
        assert_eq!(current.unwrap().id, trial.id);
        // The trial ends on November 29 and a month on December 29, whoever looks and however late.
        shop.clock.advance(TimeDelta::days(50));
        assert_eq!(shop.renew_due(10).await, (1, 2), "{name}");
        assert_eq!(
            shop.renew_due(10).await,
            (0, 0),
            "{name}: nothing is due any more"
        );
        let now = shop.subscriptions().get(&shop.ctx, trial.id).await.unwrap();
        assert_eq!(now.status, Status::Active);
        assert_eq!(now.current_period.start(), t("2026-12-29T12:00:00Z"));
        let all = PageRequest::first(10);
        let periods = shop
            .subscriptions()
            .periods(&shop.ctx, trial.id, &all)
            .await;
        let periods = periods.unwrap().items;
        assert_eq!(
            periods.iter().map(|p| p.trial).collect::<Vec<_>>(),
            [false, false, true]
        );
        let ended = shop.apply(&now, Act::Cancel { credit: false }).await;
        assert_eq!(ended.events, [Event::Canceled]);
        assert!(
            shop.apply(&now, Act::Cancel { credit: true })
                .await
                .events
                .is_empty()
        );
        let refused = shop.try_apply(&now, Act::Resume).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert_eq!(
            refused.to_string(),
            "subscription is canceled; it cannot become active by `resume`"
        );
        assert_eq!(shop.subscriptions().current(&shop.ctx).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_plan_and_of_seats_waits_for_the_next_invoice() {
    for shop in shops().await {
        let pro = shop.start_with("pro", |new| new.quantity = 2).await;
        shop.clock.advance(TimeDelta::days(15));
        // Half of the month from November 15 to December 15 is left.
        let more = shop.apply(&pro, seats(4, When::Now)).await;
        let charged = [
            ("seats", LineKind::Credit, -300),
            ("seats", LineKind::Charge, 600),
        ];
        assert_eq!(amounts(&more.lines), charged, "{}", shop.name);
        let team = shop.apply(&pro, change_plan("team", When::Now)).await;
        let charged = [
            ("base", LineKind::Credit, -1_500),
            ("seats", LineKind::Credit, -600),
            ("base", LineKind::Charge, 4_500),
        ];
        assert_eq!(amounts(&team.lines), charged);
        assert_eq!(shop.lines(&pro).await.len(), 5);
        let nothing = shop.apply(&pro, change_plan("team", When::Now)).await;
        assert!(nothing.events.is_empty() && nothing.lines.is_empty());
        let later = shop.apply(&pro, change_plan("pro", When::PeriodEnd)).await;
        assert!(later.lines.is_empty());
        shop.apply(&pro, seats(9, When::PeriodEnd)).await;
        let until = noon() + TimeDelta::days(70);
        let upcoming = shop
            .subscriptions()
            .upcoming(&shop.ctx, until)
            .await
            .unwrap();
        let told: Vec<_> = upcoming
            .iter()
            .map(|u| (u.at, u.event, u.changes))
            .collect();
        assert_eq!(
            told,
            [
                (t("2026-12-15T12:00:00Z"), Event::Renewed, true),
                (t("2027-01-15T12:00:00Z"), Event::Renewed, false),
            ]
        );
        shop.clock.advance(TimeDelta::days(20));
        let renewed = shop.subscriptions().renew(&shop.ctx, pro.id).await.unwrap();
        assert_eq!(renewed.events, [Event::Renewed]);
        assert_eq!(renewed.subscription.plan_version, pro.plan_version);
        assert_eq!(renewed.subscription.quantity, 9);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sold_is_refused() {
    for shop in shops().await {
        let subscriptions = shop.subscriptions();
        let start = async |new: NewSubscription| {
            let refused = subscriptions.start(&shop.ctx, &new).await.unwrap_err();
            (refused.kind(), refused.to_string())
        };
        let (kind, text) = start(to("ghost")).await;
        assert_eq!(
            (kind, text.as_str()),
            (ErrorKind::NotFound, "plan ghost not found")
        );
        let mut new = to("pro");
        new.version = Some(7);
        assert_eq!(start(new).await.0, ErrorKind::NotFound);
        let (kind, text) = start(to("dollars")).await;
        assert_eq!(kind, ErrorKind::Invalid);
        assert!(text.ends_with("there are prices in USD"), "{text}");
        let old = PlanCode::new("old").unwrap();
        let catalogue = shop.app.catalogue();
        catalogue
            .set_active(&shop.operator, &old, false)
            .await
            .unwrap();
        let (kind, text) = start(to("old")).await;
        assert_eq!(kind, ErrorKind::Invalid);
        assert_eq!(text, "plan `old` is not active; choose another plan");
        let mut new = to("pro");
        new.quantity = 0;
        assert_eq!(start(new).await.1, "quantity 0 must be from 1 to 1000000");
        let pro = shop.start("pro").await;
        let stale = subscriptions
            .apply(&shop.ctx, pro.id, Some(9), &Act::Keep)
            .await;
        assert_eq!(stale.unwrap_err().kind(), ErrorKind::Stale);
        let other = shop.tenant("other").await;
        let foreign = subscriptions.apply(&other, pro.id, None, &Act::Keep).await;
        assert_eq!(foreign.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_and_their_failures_are_followed() {
    for shop in shops().await {
        use tenantry::domain::subscription::FirstPayment;
        let waits = |new: &mut NewSubscription| new.first_payment = FirstPayment::Required;
        let first = shop.start_with("pro", waits).await;
        assert_eq!(first.status, Status::Incomplete, "{}", shop.name);
        let paid = shop.apply(&first, Act::Paid).await;
        assert_eq!(paid.subscription.status, Status::Active);
        let failed = shop.apply(&first, Act::PaymentFailed { attempt: 1 }).await;
        assert_eq!(failed.subscription.status, Status::PastDue);
        assert_eq!(failed.next_try, Some(noon() + TimeDelta::days(3)));
        let policy = DunningPolicy {
            retry_after_seconds: Vec::new(),
            then: AfterDunning::Unpaid,
        };
        let strict = shop.subscriptions().dunning(policy);
        let act = Act::PaymentFailed { attempt: 2 };
        let unpaid = strict.apply(&shop.ctx, first.id, None, &act).await.unwrap();
        assert_eq!(unpaid.subscription.status, Status::Unpaid);
        assert_eq!(unpaid.next_try, None);
        let late = shop.start_with("pro", waits).await;
        shop.clock.advance(TimeDelta::hours(23));
        let refused = shop.try_apply(&late, Act::Paid).await.unwrap_err();
        assert!(
            refused.to_string().contains("incomplete_expired"),
            "{refused}"
        );
        assert_eq!(shop.renew_due(10).await, (1, 1));
        let late = shop.subscriptions().get(&shop.ctx, late.id).await.unwrap();
        assert_eq!(late.status, Status::IncompleteExpired);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_may_do_what_costs_them_something() {
    for shop in shops().await {
        let person = async |role: Role| {
            let email = format!("{}@acme.example", role.as_str());
            let mut new = NewUser::new(Email::new(&email).unwrap());
            new.roles = vec![role];
            let user = shop.app.users().create(&shop.ctx, &new).await.unwrap();
            Context::user(shop.ctx.tenant(), user.id)
        };
        let owner = person(Role::Owner).await;
        let viewer = person(Role::Viewer).await;
        let subscriptions = shop.subscriptions();
        let pro = subscriptions.start(&owner, &to("pro")).await.unwrap();
        let denied = |error: Error| error.kind() == ErrorKind::Forbidden;
        let refused = subscriptions.start(&viewer, &to("pro")).await;
        assert!(denied(refused.unwrap_err()), "{}", shop.name);
        assert_eq!(subscriptions.get(&viewer, pro.id).await.unwrap().id, pro.id);
        let off = Off::AmountOff(Money::new(1, Currency::EUR).unwrap());
        let coupon = Coupon::new(off, CouponDuration::Once).unwrap();
        let mut free = to("pro");
        free.trial_days = Some(700);
        let refused = subscriptions.start(&owner, &free).await;
        assert!(denied(refused.unwrap_err()));
        for act in [
            Act::Paid,
            Act::PaymentFailed { attempt: 1 },
            Act::ApplyCoupon { coupon },
            Act::Cancel { credit: true },
        ] {
            let refused = subscriptions.apply(&owner, pro.id, None, &act).await;
            assert!(denied(refused.unwrap_err()), "{act:?}");
            let refused = subscriptions.apply(&viewer, pro.id, None, &Act::Keep).await;
            assert!(denied(refused.unwrap_err()));
        }
        let ending = subscriptions
            .apply(&owner, pro.id, None, &Act::CancelAtPeriodEnd)
            .await
            .unwrap();
        assert!(ending.subscription.cancel_at_period_end);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_once_and_in_order() {
    for shop in shops().await {
        let pro = shop.start("pro").await;
        shop.apply(&pro, Act::Pause { resumes_at: None }).await;
        shop.apply(&pro, Act::Pause { resumes_at: None }).await;
        shop.apply(&pro, Act::Resume).await;
        shop.clock.advance(TimeDelta::days(31));
        shop.apply(&pro, Act::Cancel { credit: false }).await;
        let mut told = Vec::new();
        let published = Arc::new(std::sync::Mutex::new(Vec::new()));
        let relay = shop.app.relay(Arc::new(Heard(Arc::clone(&published))));
        let report = relay.run_once().await.unwrap();
        assert!(report.published >= 5, "{}", shop.name);
        let key = format!("subscription:{}", pro.id);
        told.extend(
            published
                .lock()
                .unwrap()
                .iter()
                .filter(|(k, _)| *k == key)
                .map(|(_, kind)| kind.clone()),
        );
        assert_eq!(
            told,
            [
                "subscription_created",
                "subscription_paused",
                "subscription_resumed",
                "subscription_renewed",
                "subscription_canceled"
            ],
            "{}",
            shop.name
        );
    }
}

struct Heard(Arc<std::sync::Mutex<Vec<(String, String)>>>);

#[async_trait::async_trait]
impl tenantry::service::Publisher for Heard {
    async fn publish(
        &self,
        delivery: &tenantry::service::Delivery,
    ) -> Result<(), tenantry::service::PublishError> {
        let heard = (delivery.key.to_string(), delivery.kind.to_string());
        self.0.lock().unwrap().push(heard);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_change_by_many_callers_happens_once() {
    for shop in shops().await {
        let pro = shop.start("pro").await;
        shop.clock.advance(TimeDelta::days(10));
        let (team, more) = (change_plan("team", When::Now), seats(3, When::Now));
        let id = pro.clone();
        let outcomes = shop
            .at_once(|shop| {
                let (id, team) = (id.clone(), team.clone());
                async move { shop.try_apply(&id, team).await }
            })
            .await;
        let changed = outcomes
            .iter()
            .flatten()
            .filter(|o| !o.events.is_empty())
            .count();
        assert_eq!(changed, 1, "{}: {outcomes:?}", shop.name);
        assert!(
            outcomes
                .iter()
                .all(|o| o.as_ref().err().is_none_or(Error::is_retryable))
        );
        let bases = [
            ("base", LineKind::Charge),
            ("base", LineKind::Credit),
            ("seats", LineKind::Credit),
        ];
        let lines = shop.lines(&pro).await;
        let kinds: Vec<_> = lines.iter().map(|l| (l.charge.as_str(), l.kind)).collect();
        assert_eq!(kinds, bases, "one change, one set of lines");
        // Two different changes at once: each is computed from what the other has left.
        let two = shop.start("pro").await;
        shop.clock.advance(TimeDelta::days(1));
        let (a, b) = tokio::join!(shop.try_apply(&two, team), shop.try_apply(&two, more));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!((a.events.len(), b.events.len()), (1, 1));
        let now = shop.subscriptions().get(&shop.ctx, two.id).await.unwrap();
        assert_eq!((now.quantity, now.revision), (3, 3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn renewals_by_many_runs_and_an_end_in_between_happen_once() {
    for shop in shops().await {
        for _ in 0..12 {
            shop.start("pro").await;
        }
        shop.clock.advance(TimeDelta::days(32));
        let done = shop
            .at_once(|shop| async move {
                let run = shop.subscriptions();
                let report = run.renew_due(&shop.operator, shop.clock.now(), 100).await;
                let report = report.unwrap();
                let lost = report.failed.iter().all(|(_, error)| error.is_retryable());
                assert!(lost, "{:?}", report.failed);
                report.events
            })
            .await;
        let (_, rest) = shop.renew_due(100).await;
        assert_eq!(done.iter().sum::<u64>() + rest, 12, "{}", shop.name);
        let one = shop.start("pro").await;
        shop.apply(&one, Act::CancelAtPeriodEnd).await;
        shop.clock.advance(TimeDelta::days(32));
        let id = one.clone();
        let renewing = shop.subscriptions();
        let (renewed, ended) = tokio::join!(
            renewing.renew(&shop.ctx, id.id),
            shop.try_apply(&one, Act::Cancel { credit: true })
        );
        let all = renewed.unwrap().events.len() + ended.unwrap().events.len();
        assert_eq!(all, 1, "it ended with its period, once");
        let now = shop.subscriptions().get(&shop.ctx, one.id).await.unwrap();
        assert_eq!(now.ended_at, Some(one.current_period.end()));
        assert!(shop.lines(&one).await.is_empty());
        // In bounded batches.
        assert_eq!(shop.renew_due(5).await.0, 5);
        assert_eq!(shop.renew_due(100).await.0, 7);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_finds_a_subscription_by_stripe_s_ids() {
    for shop in shops().await {
        let pro = shop.start("pro").await;
        let stripe = StripeSubscriptionId::new("sub_1").unwrap();
        let customer = StripeCustomerId::new("cus_1").unwrap();
        let subscriptions = shop.subscriptions();
        let tenant = shop.ctx.tenant();
        let (operator, ids) = (&shop.operator, (Some(&stripe), Some(&customer)));
        let linked = subscriptions
            .link(operator, tenant, pro.id, ids.0, ids.1)
            .await;
        assert_eq!(linked.unwrap().stripe_subscription, Some(stripe.clone()));
        let found = subscriptions
            .find_by_stripe(operator, &stripe)
            .await
            .unwrap();
        assert_eq!(found, (tenant, pro.id));
        assert_eq!(
            subscriptions
                .find_customer(operator, &customer)
                .await
                .unwrap(),
            tenant
        );
        let other = StripeCustomerId::new("cus_2").unwrap();
        let none = subscriptions
            .find_customer(operator, &other)
            .await
            .unwrap_err();
        assert_eq!(none.kind(), ErrorKind::NotFound, "{}", shop.name);
    }
}

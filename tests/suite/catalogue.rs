//! Plans and prices through the service, on both backends.

use std::sync::Arc;

use chrono::TimeDelta;
use tenantry::domain::catalogue::{
    CatalogueDocument, ChargeCode, DocumentPrice, PriceTerms, StripePriceId,
};
use tenantry::domain::money::Currency;
use tenantry::domain::page::PageRequest;
use tenantry::domain::pricing::{FlatPrice, PriceModel};
use tenantry::domain::tenancy::NewTenant;
use tenantry::domain::text::PlanCode;
use tenantry::store::{AuditFilter, Store};
use tenantry::{Context, ErrorKind, PlatformContext, Tenantry};

use crate::backend::{each_backend, noon};

const DOCUMENT: &str = r#"{"plans": [
    {"code": "pro", "name": "Pro", "interval": "month", "trial_days": 14,
     "charges": [
        {"code": "base", "name": "Base fee", "kind": "recurring", "prices": {
            "EUR": {"model": {"type": "flat", "amount": "29"}, "stripe_price": "price_1"},
            "USD": {"model": {"type": "flat", "amount": "31"}}}},
        {"code": "executions", "name": "Executions", "kind": "usage", "meter": "executions",
         "included": "10000", "prices": {
            "EUR": {"model": {"type": "per_unit", "unit_amount": "0.002"}, "maximum": "500"}}}],
     "limits": {"workflows": {"hard": 50}}},
    {"code": "free", "name": "Free", "interval": "month",
     "limits": {"workflows": {"hard": 5}, "executions": {"hard": 1000, "window": "month"}}}
]}"#;

struct Scene {
    app: Tenantry,
    operator: PlatformContext,
    ctx: Context,
}

impl Scene {
    async fn of(store: &Arc<dyn Store>) -> Self {
        let app = Tenantry::new(Arc::clone(store));
        let operator = PlatformContext::system();
        let new = NewTenant::named("acme").unwrap();
        let tenant = app.tenants().create(&operator, new).await.unwrap();
        Self {
            app,
            operator,
            ctx: Context::system(tenant.id),
        }
    }

    /// Answers (plan, version, is it new, prices set, prices kept).
    async fn import(&self, text: &str) -> Vec<(String, u32, bool, usize, usize)> {
        let document = CatalogueDocument::from_json(text).unwrap();
        let catalogue = self.app.catalogue();
        let imported = catalogue.import(&self.operator, &document).await.unwrap();
        imported
            .into_iter()
            .map(|plan| {
                let (code, number) = (plan.version.code.to_string(), plan.version.version);
                let (set, kept) = (plan.prices_set, plan.prices_kept);
                (code, number, plan.new_version, set, kept)
            })
            .collect()
    }
}

async fn on_both(test: impl AsyncFn(Scene)) {
    for backed in each_backend().await {
        test(Scene::of(&backed.store).await).await;
    }
}

fn pro() -> PlanCode {
    PlanCode::new("pro").unwrap()
}

fn base(amount: i64) -> DocumentPrice {
    let model = PriceModel::Flat(FlatPrice::new(amount.into()).unwrap());
    let charge = ChargeCode::new("base").unwrap();
    DocumentPrice {
        terms: PriceTerms::new(charge, Currency::EUR, model),
        stripe_price: None,
    }
}

fn plan(
    name: &str,
    version: u32,
    new: bool,
    set: usize,
    kept: usize,
) -> (String, u32, bool, usize, usize) {
    (name.to_owned(), version, new, set, kept)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_brings_the_catalogue_to_the_document_and_says_what_it_did() {
    on_both(async |scene| {
        let first = scene.import(DOCUMENT).await;
        assert_eq!(
            first,
            [plan("free", 1, true, 0, 0), plan("pro", 1, true, 3, 0)]
        );
        let again = scene.import(DOCUMENT).await;
        assert_eq!(
            again,
            [plan("free", 1, false, 0, 0), plan("pro", 1, false, 0, 3)]
        );
        let longer = DOCUMENT.replace(r#""trial_days": 14"#, r#""trial_days": 30"#);
        let changed = scene.import(&longer).await;
        assert_eq!(
            changed,
            [plan("free", 1, false, 0, 0), plan("pro", 2, true, 3, 0)]
        );

        let catalogue = scene.app.catalogue();
        let book = catalogue.book(&scene.ctx, &pro()).await.unwrap();
        assert_eq!(
            (book.version().version, book.version().definition.trial_days),
            (2, 30)
        );
        let price = book.price(&base(0).terms.charge, Currency::USD, noon());
        assert_eq!(price.unwrap().terms().currency, Currency::USD);
        let dear = book.must_sell_in(Currency::USD, noon()).unwrap_err();
        assert_eq!(
            dear.to_string(),
            "charge `executions` of plan `pro` has no price in USD at 2026-11-15 12:00:00 UTC; \
             there are prices in EUR"
        );
        assert_eq!(book.must_sell_in(Currency::EUR, noon()), Ok(()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_import_leaves_nothing() {
    on_both(async |scene| {
        let mut document = CatalogueDocument::from_json(DOCUMENT).unwrap();
        document.plans[0].prices[0].terms.charge = ChargeCode::new("ghost").unwrap();
        let catalogue = scene.app.catalogue();
        let error = catalogue
            .import(&scene.operator, &document)
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (
                ErrorKind::Invalid,
                "plan `pro` has no charge `ghost`; it has base, executions"
            )
        );
        let page = PageRequest::default();
        let plans = catalogue.plans(&scene.operator, &page).await.unwrap();
        assert_eq!(plans.items, []);
        let filter = AuditFilter::default();
        let trail = catalogue.trail(&scene.operator, &filter, &page).await;
        assert_eq!(trail.unwrap().items, []);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_changes_from_an_instant_on_and_history_stays() {
    on_both(async |scene| {
        scene.import(DOCUMENT).await;
        let catalogue = scene.app.catalogue();
        let from = noon() + TimeDelta::days(10);
        let set = catalogue
            .set_price(&scene.operator, &pro(), &base(35), Some(from))
            .await
            .unwrap();
        assert!(set.new);
        let again = catalogue
            .set_price(&scene.operator, &pro(), &base(35), Some(from))
            .await
            .unwrap();
        assert_eq!((again.new, again.price), (false, set.price));
        let book = catalogue.plan(&scene.operator, &pro()).await.unwrap();
        let at = |days| {
            let instant = noon() + TimeDelta::days(days);
            book.price(&base(0).terms.charge, Currency::EUR, instant)
                .unwrap()
                .terms()
                .clone()
        };
        assert_eq!((at(9), at(10)), (base(29).terms, base(35).terms));
        let past = noon() - TimeDelta::days(1);
        let error = catalogue
            .set_price(&scene.operator, &pro(), &base(1), Some(past))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let taken = DocumentPrice {
            stripe_price: Some(StripePriceId::new("price_1").unwrap()),
            ..base(36)
        };
        let later = Some(noon() + TimeDelta::days(20));
        let error = catalogue
            .set_price(&scene.operator, &pro(), &taken, later)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenant_s_own_price_is_nobody_else_s() {
    on_both(async |scene| {
        scene.import(DOCUMENT).await;
        let catalogue = scene.app.catalogue();
        let new = NewTenant::named("globex").unwrap();
        let other = scene
            .app
            .tenants()
            .create(&scene.operator, new)
            .await
            .unwrap();
        let tenant = scene.ctx.tenant();
        let terms = base(19).terms;
        let set = catalogue
            .set_override(&scene.operator, tenant, &pro(), &terms, None)
            .await
            .unwrap();
        assert!(set.new);
        let again = catalogue
            .set_override(&scene.operator, tenant, &pro(), &terms, None)
            .await
            .unwrap();
        assert!(!again.new);
        for (ctx, amount) in [(&scene.ctx, 19), (&Context::system(other.id), 29)] {
            let book = catalogue.book(ctx, &pro()).await.unwrap();
            let price = book.price(&terms.charge, Currency::EUR, noon()).unwrap();
            assert_eq!(price.terms(), &base(amount).terms);
        }
        let ghost = scene
            .app
            .store()
            .begin(&scene.ctx)
            .await
            .unwrap()
            .ids()
            .fresh();
        let error = catalogue
            .set_override(&scene.operator, ghost, &pro(), &terms, None)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_plan_is_not_offered_and_stays_readable() {
    on_both(async |scene| {
        scene.import(DOCUMENT).await;
        let catalogue = scene.app.catalogue();
        let retired = catalogue
            .set_active(&scene.operator, &pro(), false)
            .await
            .unwrap();
        let again = catalogue
            .set_active(&scene.operator, &pro(), false)
            .await
            .unwrap();
        assert_eq!((retired.revision, again.revision), (2, 2));
        let offers = catalogue
            .offers(&scene.ctx, &PageRequest::default())
            .await
            .unwrap();
        let offered: Vec<_> = offers.items.iter().map(|plan| plan.code.as_str()).collect();
        assert_eq!(offered, ["free"]);
        let book = catalogue.book(&scene.ctx, &pro()).await.unwrap();
        let same = catalogue
            .book_of(&scene.ctx, book.version().id)
            .await
            .unwrap();
        assert_eq!(same, book);
        let ghost = PlanCode::new("ghost").unwrap();
        let error = catalogue
            .set_active(&scene.operator, &ghost, true)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "plan ghost not found");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_who_change_one_plan_at_the_same_instant_lose_nothing() {
    on_both(async |scene| {
        scene.import(DOCUMENT).await;
        let mut tasks = Vec::new();
        for number in 1..=8 {
            let (catalogue, operator) = (scene.app.catalogue(), scene.operator.clone());
            tasks.push(tokio::spawn(async move {
                let from = noon() + TimeDelta::days(number);
                let (plan, price) = (pro(), base(100 + number));
                let set = catalogue.set_price(&operator, &plan, &price, Some(from));
                set.await.map(|set| assert!(set.new))
            }));
            let (catalogue, operator) = (scene.app.catalogue(), scene.operator.clone());
            tasks.push(tokio::spawn(async move {
                let document = CatalogueDocument::from_json(DOCUMENT).unwrap();
                let mut definition = document.plans[0].definition.clone();
                definition.trial_days = number as u32;
                let other = PlanCode::new("other").unwrap();
                let published = catalogue.publish(&operator, &other, &definition).await;
                published.map(|published| assert!(published.new))
            }));
        }
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let catalogue = scene.app.catalogue();
        let book = catalogue.plan(&scene.operator, &pro()).await.unwrap();
        for number in 1..=8 {
            let at = noon() + TimeDelta::days(number);
            let price = book
                .price(&base(0).terms.charge, Currency::EUR, at)
                .unwrap();
            assert_eq!(price.terms(), &base(100 + number).terms);
        }
        let other = catalogue
            .plan(&scene.operator, &PlanCode::new("other").unwrap())
            .await;
        assert_eq!(other.unwrap().version().version, 8);
    })
    .await;
}

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::domain::billing_cycle::Interval;
use crate::domain::pricing::{FlatPrice, PriceModel, UnitPrice};
use crate::domain::text::Name;

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 15, 12, 0, 0).unwrap()
}

fn day(number: i64) -> DateTime<Utc> {
    noon() + TimeDelta::days(number)
}

fn code(text: &str) -> ChargeCode {
    ChargeCode::new(text).unwrap()
}

fn flat(amount: i64) -> PriceModel {
    PriceModel::Flat(FlatPrice::new(amount.into()).unwrap())
}

fn terms(currency: Currency, amount: i64) -> PriceTerms {
    PriceTerms::new(code("base"), currency, flat(amount))
}

fn version() -> PlanVersion {
    let mut definition = PlanDefinition::new(Name::new("Pro").unwrap(), Interval::MONTH);
    definition.charges.push(Charge {
        code: code("base"),
        name: Name::new("Base fee").unwrap(),
        kind: ChargeKind::Recurring { per_seat: false },
    });
    let plan = PlanCode::new("pro").unwrap();
    let (plan, version) = (Plan::create(
        Uuid::from_u128(1).into(),
        Uuid::from_u128(2).into(),
        plan,
        definition,
        noon(),
    ))
    .unwrap();
    assert_eq!((plan.version, version.version), (1, 1));
    version
}

fn price(number: u128, currency: Currency, amount: i64, from: i64) -> Price {
    let id = Uuid::from_u128(number).into();
    Price::new(id, version().id, terms(currency, amount), day(from), noon())
}

/// Writes a change as a store does.
fn apply(book: &mut Vec<Price>, change: PriceChange<Price>) {
    if let PriceChange::Supersede { ended, begun } = change {
        if let Some(ended) = ended {
            let place = book.iter().position(|price| price.id == ended.id);
            book[place.unwrap()] = ended;
        }
        book.push(begun);
    }
}

#[test]
fn a_price_supersedes_the_one_before_and_ends_where_the_next_begins() {
    let mut book = Vec::new();
    for (number, amount, from) in [(1, 10, 0), (2, 30, 20), (3, 20, 10)] {
        let new = price(number, Currency::EUR, amount, from);
        let change = new.supersede(&book, noon()).unwrap();
        apply(&mut book, change);
    }
    let valid: Vec<_> = book
        .iter()
        .map(|price| (price.valid_from, price.valid_to))
        .collect();
    assert_eq!(
        valid,
        [
            (day(0), Some(day(10))),
            (day(20), None),
            (day(10), Some(day(20)))
        ]
    );
}

#[test]
fn a_price_that_is_so_already_changes_nothing() {
    let book = [price(1, Currency::EUR, 10, 0)];
    let again = price(2, Currency::EUR, 10, 5);
    let change = again.supersede(&book, noon()).unwrap();
    assert_eq!(change, PriceChange::Nothing(book[0].clone()));
    let dollars = price(3, Currency::USD, 10, 5);
    assert!(matches!(
        dollars.supersede(&book, noon()).unwrap(),
        PriceChange::Supersede { ended: None, .. }
    ));
}

#[test]
fn no_price_begins_in_the_past_or_with_another_one() {
    let book = [price(1, Currency::EUR, 10, 0)];
    let late = price(2, Currency::EUR, 11, -1).supersede(&book, noon());
    assert_eq!(
        late.unwrap_err().to_string(),
        "valid_from 2026-11-14 12:00:00 UTC is in the past; a price can begin now \
         (2026-11-15 12:00:00 UTC) or later"
    );
    let together = price(2, Currency::EUR, 11, 0).supersede(&book, noon());
    assert_eq!(
        together.unwrap_err().to_string(),
        "charge `base` has a price in EUR that begins at 2026-11-15 12:00:00 UTC already; choose \
         another instant"
    );
}

#[test]
fn a_missing_currency_is_an_error_that_lists_those_there_are() {
    let book = vec![
        price(1, Currency::USD, 10, 0),
        price(2, Currency::EUR, 9, 0),
        price(3, Currency::JPY, 900, 40),
    ];
    let book = PriceBook::new(version(), book, Vec::new());
    let found = book.price(&code("base"), Currency::EUR, day(1)).unwrap();
    assert_eq!(found.terms(), &terms(Currency::EUR, 9));
    assert_eq!(
        book.price(&code("base"), Currency::JPY, day(1))
            .unwrap_err()
            .to_string(),
        "charge `base` of plan `pro` has no price in JPY at 2026-11-16 12:00:00 UTC; there are \
         prices in EUR, USD"
    );
    assert_eq!(
        book.price(&code("seats"), Currency::EUR, day(1))
            .unwrap_err()
            .to_string(),
        "plan `pro` has no charge `seats`; it has base"
    );
}

#[test]
fn a_tenant_s_own_price_goes_before_the_book_s() {
    let own = PriceOverride::new(
        Uuid::from_u128(9).into(),
        PlanCode::new("pro").unwrap(),
        terms(Currency::EUR, 5),
        day(3),
        noon(),
    );
    let of_another_plan = PriceOverride {
        plan: PlanCode::new("free").unwrap(),
        valid_from: day(0),
        ..own.clone()
    };
    let prices = vec![price(1, Currency::EUR, 9, 0)];
    let book = PriceBook::new(version(), prices, vec![of_another_plan, own.clone()]);
    let at = |day| book.price(&code("base"), Currency::EUR, day).unwrap();
    assert_eq!(at(day(2)).own(), None);
    assert_eq!((at(day(3)).own(), at(day(3)).book()), (Some(own.id), None));
}

#[test]
fn an_inactive_price_is_not_sold_and_still_counts() {
    let mut euros = price(1, Currency::EUR, 9, 0);
    euros.active = false;
    let book = PriceBook::new(
        version(),
        vec![euros, price(2, Currency::USD, 10, 0)],
        Vec::new(),
    );
    assert!(book.price(&code("base"), Currency::EUR, day(1)).is_ok());
    assert_eq!(book.must_sell_in(Currency::USD, day(1)), Ok(()));
    assert_eq!(
        book.must_sell_in(Currency::EUR, day(1))
            .unwrap_err()
            .to_string(),
        "charge `base` of plan `pro` has no price in EUR at 2026-11-16 12:00:00 UTC; there are \
         prices in USD"
    );
}

#[test]
fn terms_fit_their_charge() {
    let by_unit = PriceModel::PerUnit(UnitPrice::new(2.into()).unwrap());
    let per_unit = PriceTerms::new(code("base"), Currency::EUR, by_unit);
    let version = version();
    let charge = version.must_have(&code("base")).unwrap();
    assert_eq!(
        per_unit.check(charge).unwrap_err().to_string(),
        "charge `base` is billed by itself, so its price must be flat, not by quantity"
    );
    let mut seats = charge.clone();
    seats.kind = ChargeKind::Recurring { per_seat: true };
    assert_eq!(per_unit.check(&seats), Ok(()));
    let mut bounded = terms(Currency::EUR, 9);
    let dollars = crate::domain::money::Money::new(5, Currency::USD).unwrap();
    bounded.commitment = crate::domain::commitment::Commitment::new(Some(dollars), None).unwrap();
    assert_eq!(
        bounded.check(charge).unwrap_err().to_string(),
        "charge `base`: the commitment is in USD; the price is in EUR"
    );
}

/// A document of one plan, with something put in place of something else.
fn document(from: &str, to: &str) -> String {
    let right = r#"{"plans": [{
        "code": "pro", "name": "Pro", "interval": "month", "trial_days": 14,
        "charges": [
            {"code": "base", "name": "Base fee", "kind": "recurring",
             "prices": {"EUR": {"model": {"type": "flat", "amount": "29"}}}},
            {"code": "executions", "name": "Executions", "kind": "usage", "meter": "executions",
             "included": "10000",
             "prices": {"EUR": {"model": {"type": "graduated", "tiers": [
                {"up_to": "1000", "unit_amount": "0.02"}, {"unit_amount": "0.01"}]},
                "minimum": "10.00", "maximum": "900", "stripe_price": "price_1"}}}
        ],
        "limits": {"workflows": {"hard": 50}},
        "entitlements": ["sso"],
        "retention_days": 30
    }]}"#;
    assert!(right.contains(from), "{from}");
    right.replace(from, to)
}

#[test]
fn a_document_is_read() {
    let read = CatalogueDocument::from_json(&document("sso", "sso")).unwrap();
    let plan = &read.plans[0];
    assert_eq!(plan.definition.charges.len(), 2);
    assert_eq!(plan.prices.len(), 2);
    let commitment = plan.prices[1].terms.commitment;
    assert_eq!(commitment.minimum().unwrap().to_string(), "EUR 10.00");
    assert_eq!(commitment.maximum().unwrap().to_string(), "EUR 900.00");
}

#[cfg(feature = "toml")]
#[test]
fn a_document_in_toml_says_the_same() {
    let toml = r#"
        [[plans]]
        code = "pro"
        name = "Pro"
        interval = "month"
        trial_days = 14
        entitlements = ["sso"]
        retention_days = 30
        limits.workflows.hard = 50

        [[plans.charges]]
        code = "base"
        name = "Base fee"
        kind = "recurring"
        prices.EUR.model = { type = "flat", amount = "29" }

        [[plans.charges]]
        code = "executions"
        name = "Executions"
        kind = "usage"
        meter = "executions"
        included = "10000"

        [plans.charges.prices.EUR]
        minimum = "10.00"
        maximum = "900"
        stripe_price = "price_1"
        model.type = "graduated"
        model.tiers = [{ up_to = "1000", unit_amount = "0.02" }, { unit_amount = "0.01" }]
    "#;
    let json = CatalogueDocument::from_json(&document("sso", "sso"));
    assert_eq!(CatalogueDocument::from_toml(toml), json);
    let error = CatalogueDocument::from_toml(&toml.replace("hard = 50", "hard = -1"));
    let error = error.unwrap_err().to_string();
    assert!(
        error.starts_with("plans[0].limits.workflows.hard: "),
        "{error}"
    );
}

#[test]
fn what_is_wrong_in_a_document_is_named_with_its_path() {
    let mut wrong = Vec::new();
    for (from, to, message) in [
        (
            r#""interval": "month""#,
            r#""interval": "moon""#,
            "plans[0].interval: unknown variant `moon`, expected one of `day`, `week`, `month`, `year`",
        ),
        (
            r#""interval": "month""#,
            r#""interval": "month", "interval_count": 0"#,
            "plans[0]: interval_count 0 must be from 1 to 1000",
        ),
        (
            r#""trial_days": 14"#,
            r#""trial_days": 731"#,
            "plans[0]: trial_days 731 must be at most 730",
        ),
        (
            r#""trial_days": 14"#,
            r#""trial_days": -1"#,
            "plans[0].trial_days: invalid value: integer `-1`, expected u32",
        ),
        (
            r#""trial_days": 14"#,
            r#""trail_days": 14"#,
            "plans[0].trail_days: unknown field `trail_days`, expected one of `code`, `name`, \
             `interval`, `interval_count`, `trial_days`, `charges`, `limits`, `entitlements`, \
             `retention_days`",
        ),
        (
            r#""retention_days": 30"#,
            r#""retention_days": 0"#,
            "plans[0]: retention_days 0 must be from 1 to 36500; leave it out to keep executions \
             for ever",
        ),
        (
            r#""name": "Pro""#,
            r#""name": """#,
            "plans[0].name: name must not be empty",
        ),
        (
            r#""code": "base""#,
            r#""code": "base fee""#,
            "plans[0].charges[0].code: charge `base fee` is not 1 to 64 letters, digits, `.`, `_` \
             or `-`",
        ),
        (
            r#""code": "base""#,
            r#""code": "executions""#,
            "plans[0]: charges: the code `executions` is given twice; each charge needs its own",
        ),
        (
            r#""kind": "recurring""#,
            r#""kind": "usage""#,
            "plans[0].charges[0].meter: must be given: a charge of the kind `usage` counts a meter",
        ),
        (
            r#""kind": "usage""#,
            r#""kind": "one_time""#,
            "plans[0].charges[1].meter: belongs to charges of the kind `usage`",
        ),
        (
            r#""kind": "usage""#,
            r#""kind": "usage", "per_seat": true"#,
            "plans[0].charges[1].per_seat: belongs to charges of the kind `recurring`",
        ),
        (
            r#""included": "10000""#,
            r#""included": "-1""#,
            "plans[0]: charge `executions`: included -1 must be from 0 to 10^16 - 1, with at most \
             12 decimal places",
        ),
        (
            r#""included": "10000""#,
            r#""included": "NaN""#,
            "plans[0].charges[1].included: `NaN` must be a decimal number as text, such as \
             \"10000\"",
        ),
        (
            r#""included": "10000""#,
            r#""included": "1e5""#,
            "plans[0].charges[1].included: `1e5` must be a decimal number as text, such as \
             \"10000\"",
        ),
        (
            r#""included": "10000""#,
            r#""included": "0.0000000000001""#,
            "plans[0]: charge `executions`: included 0.0000000000001 must be from 0 to 10^16 - 1, \
             with at most 12 decimal places",
        ),
        (
            r#""workflows": {"hard": 50}"#,
            r#""workflows": {}"#,
            "plans[0]: limit `workflows` has neither `soft` nor `hard`; leave it out where there \
             is no bound",
        ),
        (
            r#"{"hard": 50}"#,
            r#"{"hard": 50, "soft": 51}"#,
            "plans[0]: limit `workflows`: soft 51 must not be above hard 50",
        ),
        (
            r#"{"hard": 50}"#,
            r#"{"hard": 50, "window": "year"}"#,
            "plans[0].limits.workflows.window: unknown variant `year`, expected one of \
             `lifetime`, `day`, `month`, `billing_period`",
        ),
        (
            r#""EUR": {"model": {"type": "flat""#,
            r#""EURO": {"model": {"type": "flat""#,
            "plans[0].charges[0].prices.EURO: currency `EURO` is not an ISO 4217 code such as USD, EUR \
             or JPY",
        ),
        (
            r#""EUR": {"model": {"type": "flat""#,
            r#""XAU": {"model": {"type": "flat""#,
            "plans[0].charges[0].prices.XAU: catalogue: ",
        ),
        (
            r#""minimum": "10.00""#,
            r#""minimum": "10.001""#,
            "plans[0].charges[1].prices.EUR.minimum: ",
        ),
        (
            r#""minimum": "10.00""#,
            r#""minimum": "901""#,
            "plans[0].charges[1].prices.EUR: ",
        ),
        (
            r#""up_to": "1000", "#,
            "",
            "plans[0].charges[1].prices.EUR.model: ",
        ),
        ("]}]}", "]}]", "the document: EOF while parsing"),
    ] {
        let text = if from == "]}]}" {
            let text = document("sso", "sso");
            text[..text.len() - 1].to_owned()
        } else {
            document(from, to)
        };
        let error = CatalogueDocument::from_json(&text).unwrap_err().to_string();
        if !error.starts_with(message) {
            wrong.push(format!("{to}:\n  {error}\n  {message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let twice = r#"{"plans": [{"code": "a", "name": "A", "interval": "month"},
        {"code": "a", "name": "B", "interval": "year"}]}"#;
    assert_eq!(
        CatalogueDocument::from_json(twice).unwrap_err().to_string(),
        "plans[1].code: the plan `a` is given twice"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Whatever prices are set, in whatever order: of a charge in a currency at most one is valid
    /// at any instant, and once there is one there is one for ever.
    #[test]
    fn prices_never_overlap_and_leave_no_hole(
        changes in prop::collection::vec((0_i64..30, 1_i64..4, any::<bool>()), 1..12),
    ) {
        let mut book: Vec<Price> = Vec::new();
        for (number, (from, amount, euros)) in changes.into_iter().enumerate() {
            let currency = if euros { Currency::EUR } else { Currency::USD };
            let new = price(number as u128, currency, amount, from);
            if let Ok(change) = new.supersede(&book, noon()) {
                apply(&mut book, change);
            }
        }
        for currency in [Currency::EUR, Currency::USD] {
            let mine: Vec<_> = book.iter().filter(|price| price.terms.currency == currency).collect();
            let first = mine.iter().map(|price| price.valid_from).min();
            for at in (0..31).map(day) {
                let valid = mine.iter().filter(|price| price.is_valid(at)).count();
                prop_assert_eq!(valid, usize::from(first.is_some_and(|first| first <= at)));
            }
        }
    }
}

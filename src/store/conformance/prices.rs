//! The price book, and tenants' own prices.

use chrono::TimeDelta;
use serde_json::json;

use super::catalogue::{code, inserted, operator_trail};
use super::fixture::{Fixture, fails};
use super::sources::trail;
use crate::domain::catalogue::{
    ChargeCode, Plan, PlanVersion, Price, PriceOverride, PriceTerms, StripePriceId,
};
use crate::domain::commitment::Commitment;
use crate::domain::context::Context;
use crate::domain::money::{Currency, Money};
use crate::domain::pricing::{FlatPrice, PriceModel, Tier, Tiers};
use crate::store::{PlatformUnit, StoreErrorKind};

super::list_cases! { "prices":
    a_price_is_read_back_as_it_was_written,
    a_price_needs_its_charge,
    one_price_is_valid_at_a_time,
    a_stripe_price_is_one_price_of_a_version,
    what_a_price_is_is_never_changed,
    changes_of_prices_are_in_the_operator_s_trail,
    a_tenant_s_own_price_is_read_back_as_it_was_written,
    a_tenant_s_own_price_needs_tenant_and_plan,
    one_price_of_a_tenant_s_own_is_valid_at_a_time,
    own_prices_of_another_tenant_are_not_there,
    changes_of_own_prices_are_in_the_tenant_s_trail,
}

fn flat(amount: i64) -> PriceModel {
    PriceModel::Flat(FlatPrice::new(amount.into()).unwrap())
}

fn terms(charge: &str, currency: Currency, model: PriceModel) -> PriceTerms {
    PriceTerms::new(ChargeCode::new(charge).unwrap(), currency, model)
}

/// A flat price of the charge `base` from so many days on.
fn base(unit: &mut dyn PlatformUnit, version: &PlanVersion, amount: i64, days: i64) -> Price {
    let (id, now) = (unit.ids().fresh(), unit.now());
    let from = now + TimeDelta::days(days);
    Price::new(
        id,
        version.id,
        terms("base", Currency::EUR, flat(amount)),
        from,
        now,
    )
}

/// The same for one tenant.
fn own(unit: &mut dyn PlatformUnit, plan: &Plan, amount: i64, days: i64) -> PriceOverride {
    let (id, now) = (unit.ids().fresh(), unit.now());
    let from = now + TimeDelta::days(days);
    PriceOverride::new(
        id,
        plan.code.clone(),
        terms("base", Currency::EUR, flat(amount)),
        from,
        now,
    )
}

async fn a_price_is_read_back_as_it_was_written(f: Fixture) {
    let (_, version) = inserted(&f, "pro").await;
    let mut unit = f.platform().await;
    let tiers = Tiers::new(vec![
        Tier::up_to(1_000.into(), "0.02".parse().unwrap()),
        Tier::open("0.015".parse().unwrap()).with_flat(3.into()),
    ]);
    let graduated = PriceModel::Graduated(tiers.unwrap());
    let mut tiered = base(&mut *unit, &version, 1, 2);
    tiered.terms = terms("executions", Currency::USD, graduated);
    let money = |minor| Some(Money::new(minor, Currency::USD).unwrap());
    tiered.terms.commitment = Commitment::new(money(1_000), money(90_000)).unwrap();
    tiered.stripe_price = Some(StripePriceId::new("price_1").unwrap());
    tiered.active = false;
    tiered.valid_to = Some(tiered.valid_from + TimeDelta::days(30));
    let later = base(&mut *unit, &version, 29, 0);
    for price in [&tiered, &later] {
        unit.catalogue().insert_price(price).await.unwrap();
    }
    unit.commit().await.unwrap();
    let mut unit = f.platform().await;
    let prices = unit.catalogue().prices(version.id).await.unwrap();
    assert_eq!(prices, [later, tiered], "by charge, currency and start");
}

async fn a_price_needs_its_charge(f: Fixture) {
    let (_, version) = inserted(&f, "pro").await;
    let mut unit = f.platform().await;
    let mut price = base(&mut *unit, &version, 29, 0);
    price.terms.charge = ChargeCode::new("ghost").unwrap();
    fails(
        unit.catalogue().insert_price(&price).await,
        StoreErrorKind::NotFound,
    );
    let mut unit = f.platform().await;
    let mut price = base(&mut *unit, &version, 29, 0);
    price.plan_version = unit.ids().fresh();
    fails(
        unit.catalogue().insert_price(&price).await,
        StoreErrorKind::NotFound,
    );
}

async fn one_price_is_valid_at_a_time(f: Fixture) {
    let (_, version) = inserted(&f, "pro").await;
    let mut unit = f.platform().await;
    let first = base(&mut *unit, &version, 29, 0);
    unit.catalogue().insert_price(&first).await.unwrap();
    let mut dollars = base(&mut *unit, &version, 31, 0);
    dollars.terms.currency = Currency::USD;
    unit.catalogue().insert_price(&dollars).await.unwrap();
    unit.commit().await.unwrap();

    let mut unit = f.platform().await;
    let together = base(&mut *unit, &version, 35, 10);
    fails(
        unit.catalogue().insert_price(&together).await,
        StoreErrorKind::AlreadyExists,
    );
    let mut unit = f.platform().await;
    let ended = Price {
        valid_to: Some(together.valid_from),
        ..first.clone()
    };
    unit.catalogue().update_price(&ended).await.unwrap();
    unit.catalogue().insert_price(&together).await.unwrap();
    unit.commit().await.unwrap();

    let mut unit = f.platform().await;
    fails(
        unit.catalogue().update_price(&first).await,
        StoreErrorKind::AlreadyExists,
    );
    let mut unit = f.platform().await;
    let mut again = base(&mut *unit, &version, 29, 90);
    again.id = first.id;
    fails(
        unit.catalogue().insert_price(&again).await,
        StoreErrorKind::AlreadyExists,
    );
}

async fn a_stripe_price_is_one_price_of_a_version(f: Fixture) {
    let (_, version) = inserted(&f, "pro").await;
    let (_, other) = inserted(&f, "other").await;
    let stripe = Some(StripePriceId::new("price_1").unwrap());
    let mut unit = f.platform().await;
    for version in [&version, &other] {
        let mut price = base(&mut *unit, version, 29, 0);
        price.stripe_price.clone_from(&stripe);
        unit.catalogue().insert_price(&price).await.unwrap();
    }
    unit.commit().await.unwrap();
    let mut unit = f.platform().await;
    let mut second = base(&mut *unit, &version, 29, 0);
    second.terms.currency = Currency::USD;
    unit.catalogue().insert_price(&second).await.unwrap();
    second.stripe_price = stripe;
    fails(
        unit.catalogue().update_price(&second).await,
        StoreErrorKind::AlreadyExists,
    );
}

async fn what_a_price_is_is_never_changed(f: Fixture) {
    let (_, version) = inserted(&f, "pro").await;
    let mut unit = f.platform().await;
    let price = base(&mut *unit, &version, 29, 0);
    unit.catalogue().insert_price(&price).await.unwrap();
    let told = Price {
        terms: terms("base", Currency::EUR, flat(1)),
        valid_from: price.valid_from - TimeDelta::days(9),
        active: false,
        ..price.clone()
    };
    unit.catalogue().update_price(&told).await.unwrap();
    let stored = unit.catalogue().prices(version.id).await.unwrap();
    let expected = Price {
        active: false,
        ..price
    };
    assert_eq!(stored, [expected]);
    let ghost = base(&mut *unit, &version, 29, 0);
    fails(
        unit.catalogue().update_price(&ghost).await,
        StoreErrorKind::Conflict,
    );
}

async fn changes_of_prices_are_in_the_operator_s_trail(f: Fixture) {
    let (_, version) = inserted(&f, "pro").await;
    let before = operator_trail(&f).await.len();
    let mut unit = f.platform().await;
    let price = base(&mut *unit, &version, 29, 0);
    unit.catalogue().insert_price(&price).await.unwrap();
    let ended = Price {
        valid_to: Some(price.valid_from + TimeDelta::milliseconds(1_500)),
        ..price.clone()
    };
    unit.catalogue().update_price(&ended).await.unwrap();
    unit.catalogue().update_price(&ended).await.unwrap();
    unit.commit().await.unwrap();
    let at = "2026-11-15T12:00:00+00:00";
    let expected = [
        (
            json!({}),
            json!({
                "id": price.id, "plan_version_id": version.id, "charge": "base",
                "currency": "EUR", "model": {"type": "flat", "amount": "29"},
                "minimum": null, "maximum": null, "stripe_price_id": null, "active": true,
                "valid_from": at, "valid_to": null, "created_at": at,
            }),
        ),
        (
            json!({"valid_to": null}),
            json!({"valid_to": "2026-11-15T12:00:01.5+00:00"}),
        ),
    ];
    let expected = expected.map(|(old, new)| ("price_book".to_owned(), old, new));
    assert_eq!(operator_trail(&f).await[before..], expected);
}

async fn a_tenant_s_own_price_is_read_back_as_it_was_written(f: Fixture) {
    let (plan, _) = inserted(&f, "pro").await;
    let ctx = f.tenant("t").await;
    let mut unit = f.platform().await;
    let mut bounded = own(&mut *unit, &plan, 7, 0);
    bounded.valid_to = Some(bounded.valid_from + TimeDelta::days(3));
    let maximum = Money::new(500, Currency::EUR).unwrap();
    bounded.terms.commitment = Commitment::new(None, Some(maximum)).unwrap();
    let open = own(&mut *unit, &plan, 8, 3);
    for price in [&open, &bounded] {
        let insert = unit.catalogue().insert_override(ctx.tenant(), price);
        insert.await.unwrap();
    }
    unit.commit().await.unwrap();
    let expected = [bounded, open];
    let mut unit = f.platform().await;
    let seen = unit.catalogue().overrides(ctx.tenant()).await.unwrap();
    assert_eq!(seen, expected);
    let mut unit = f.unit(&ctx).await;
    assert_eq!(unit.price_overrides().all().await.unwrap(), expected);
}

async fn a_tenant_s_own_price_needs_tenant_and_plan(f: Fixture) {
    let (plan, _) = inserted(&f, "pro").await;
    let ctx = f.tenant("t").await;
    let mut unit = f.platform().await;
    let (price, ghost) = (own(&mut *unit, &plan, 7, 0), unit.ids().fresh());
    fails(
        unit.catalogue().insert_override(ghost, &price).await,
        StoreErrorKind::NotFound,
    );
    let mut unit = f.platform().await;
    let price = PriceOverride {
        plan: code("ghost"),
        ..price
    };
    let insert = unit.catalogue().insert_override(ctx.tenant(), &price);
    fails(insert.await, StoreErrorKind::NotFound);
}

async fn one_price_of_a_tenant_s_own_is_valid_at_a_time(f: Fixture) {
    let (plan, _) = inserted(&f, "pro").await;
    let (one, two) = f.two_tenants().await;
    let mut unit = f.platform().await;
    let first = own(&mut *unit, &plan, 7, 0);
    for ctx in [&one, &two] {
        let insert = unit.catalogue().insert_override(ctx.tenant(), &first);
        insert.await.unwrap();
    }
    unit.commit().await.unwrap();
    let mut unit = f.platform().await;
    let second = own(&mut *unit, &plan, 8, 5);
    let insert = unit.catalogue().insert_override(one.tenant(), &second);
    fails(insert.await, StoreErrorKind::AlreadyExists);
    let mut unit = f.platform().await;
    let ended = PriceOverride {
        valid_to: Some(second.valid_from),
        terms: terms("base", Currency::EUR, flat(1)),
        ..first.clone()
    };
    let catalogue = unit.catalogue();
    catalogue
        .update_override(one.tenant(), &ended)
        .await
        .unwrap();
    catalogue
        .insert_override(one.tenant(), &second)
        .await
        .unwrap();
    let stored = catalogue.overrides(one.tenant()).await.unwrap();
    let ended = PriceOverride {
        valid_to: ended.valid_to,
        ..first.clone()
    };
    assert_eq!(stored, [ended, second]);
    assert_eq!(catalogue.overrides(two.tenant()).await.unwrap(), [first]);
}

async fn own_prices_of_another_tenant_are_not_there(f: Fixture) {
    let (plan, _) = inserted(&f, "pro").await;
    let (one, two) = f.two_tenants().await;
    let mut unit = f.platform().await;
    let price = own(&mut *unit, &plan, 7, 0);
    let insert = unit.catalogue().insert_override(one.tenant(), &price);
    insert.await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = f.unit(&two).await;
    assert_eq!(unit.price_overrides().all().await.unwrap(), []);
    let mut unit = f.platform().await;
    let update = unit.catalogue().update_override(two.tenant(), &price);
    fails(update.await, StoreErrorKind::Conflict);
}

async fn changes_of_own_prices_are_in_the_tenant_s_trail(f: Fixture) {
    let (plan, _) = inserted(&f, "pro").await;
    let ctx: Context = f.tenant("t").await;
    let mut unit = f.platform().await;
    let price = own(&mut *unit, &plan, 7, 0);
    let ended = PriceOverride {
        valid_to: Some(price.valid_from + TimeDelta::days(1)),
        ..price.clone()
    };
    let (catalogue, tenant) = (unit.catalogue(), ctx.tenant());
    catalogue.insert_override(tenant, &price).await.unwrap();
    catalogue.update_override(tenant, &ended).await.unwrap();
    unit.commit().await.unwrap();
    let at = "2026-11-15T12:00:00+00:00";
    assert_eq!(
        trail(&f, &ctx, "price_overrides").await,
        [
            (
                json!({}),
                json!({
                    "id": price.id, "plan_code": "pro", "charge": "base", "currency": "EUR",
                    "model": {"type": "flat", "amount": "7"}, "minimum": null, "maximum": null,
                    "valid_from": at, "valid_to": null, "created_at": at,
                })
            ),
            (
                json!({"valid_to": null}),
                json!({"valid_to": "2026-11-16T12:00:00+00:00"})
            ),
        ]
    );
}

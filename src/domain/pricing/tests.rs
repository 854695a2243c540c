//! Prices against worked examples, and what is refused with its message.

use rust_decimal::Decimal;
use serde_json::json;

use super::*;
use crate::domain::money::{Currency, Rounding};

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn model(json: serde_json::Value) -> PriceModel {
    serde_json::from_value(json).unwrap()
}

fn amount(model: &PriceModel, quantity: &str) -> String {
    model.charge(d(quantity)).unwrap().amount.to_string()
}

#[test]
fn every_model_reads_and_writes() {
    for json in [
        json!({"type": "flat", "amount": "9.90"}),
        json!({"type": "per_unit", "unit_amount": "0.000000000001"}),
        json!({"type": "graduated", "tiers": [
            {"up_to": "5", "unit_amount": "7", "flat_amount": "0"},
            {"up_to": null, "unit_amount": "6", "flat_amount": "1"}]}),
        json!({"type": "volume", "tiers": [
            {"up_to": null, "unit_amount": "6", "flat_amount": "1"}]}),
        json!({"type": "package", "package_size": "10", "package_amount": "100",
            "free_units": "0", "round": "down"}),
        json!({"type": "graduated_blocks", "tiers": [
            {"block_size": "100", "max_blocks": "10", "block_amount": "1"},
            {"block_size": "1000", "max_blocks": null, "block_amount": "1"}]}),
        json!({"type": "volume_blocks", "tiers": [
            {"block_size": "100", "max_blocks": null, "block_amount": "1"}]}),
        json!({"type": "percentage", "rate_percent": "1.3", "fixed_amount": "2",
            "free_transactions": 3, "free_amount": "250", "minimum_amount": null,
            "maximum_amount": "12"}),
        json!({"type": "graduated_percentage", "tiers": [
            {"up_to": null, "rate_percent": "1.5", "flat_amount": "0"}]}),
        json!({"type": "overage", "included": "500", "unit_amount": "0.02"}),
    ] {
        assert_eq!(serde_json::to_value(model(json.clone())).unwrap(), json);
    }
}

#[test]
fn a_bound_belongs_to_its_tier_in_every_model() {
    let tiers = json!([{"up_to": 100, "unit_amount": 1}, {"unit_amount": "0.5"}]);
    let graduated = model(json!({"type": "graduated", "tiers": tiers}));
    let volume = model(json!({"type": "volume", "tiers": tiers}));
    assert_eq!(
        (amount(&graduated, "100"), amount(&volume, "100")),
        ("100".into(), "100".into())
    );
    assert_eq!(amount(&graduated, "100.000000000001"), "100.0000000000005");
    assert_eq!(amount(&volume, "101"), "50.5");
    assert!(volume.reprices() && !graduated.reprices());
    assert_eq!(
        (volume.tier_of(d("100")), volume.tier_of(d("100.1"))),
        (Some(1), Some(2))
    );
}

#[test]
fn packages_are_begun_or_full() {
    let up = PackagePrice::new(d("10"), d("15")).unwrap();
    let down = up.clone().with_round(PackageRounding::Down);
    let (up, down) = (PriceModel::Package(up), PriceModel::Package(down));
    for (quantity, begun, full) in [
        ("0", "0", "0"),
        ("0.1", "15", "0"),
        ("10", "15", "15"),
        ("19.9", "30", "15"),
    ] {
        assert_eq!(amount(&up, quantity), begun);
        assert_eq!(amount(&down, quantity), full);
    }
}

#[test]
fn items_are_reconciled_to_their_line() {
    let thirds = model(json!({"type": "graduated", "tiers": [
        {"up_to": 1, "unit_amount": "0.005"},
        {"up_to": 2, "unit_amount": "0.005"},
        {"unit_amount": "0.005"},
    ]}));
    let charge = thirds.charge(d("3")).unwrap();
    let round = |rounding| charge.round(Currency::EUR, rounding).unwrap().minor();
    assert_eq!((round(Rounding::HalfUp), round(Rounding::Down)), (2, 1));
    let items = charge.round_items(Currency::EUR, Rounding::HalfUp).unwrap();
    assert_eq!(
        items.iter().map(|item| item.minor()).collect::<Vec<_>>(),
        [1, 1, 0]
    );
}

#[test]
fn a_percentage_is_of_each_transaction() {
    let price = model(
        json!({"type": "percentage", "rate_percent": "2.99", "fixed_amount": "2",
        "minimum_amount": "1.75", "maximum_amount": "12"}),
    );
    let charge = price
        .charge_transactions(&[d("10"), d("80"), d("10000")])
        .unwrap();
    assert_eq!(
        (charge.amount.to_string(), charge.quantity),
        ("18.691".into(), d("10090"))
    );
    assert_eq!(amount(&price, "0"), "0", "no transaction");
    assert_eq!(amount(&price, "10"), "2.299");
    let units = model(json!({"type": "per_unit", "unit_amount": "0.1"}));
    let charge = units.charge_transactions(&[d("10"), d("80")]).unwrap();
    assert_eq!(charge.amount.to_string(), "9");
}

#[test]
fn a_price_without_an_exact_amount_is_an_error_and_not_a_wrap() {
    let units = model(json!({"type": "per_unit", "unit_amount": "9999999999999999"}));
    assert_eq!(
        units.charge(d("9999999999999999")).unwrap_err().to_string(),
        "the price of quantity 9999999999999999 is too large to be told exactly; at most \
         170141183460469 major units can be"
    );
    let fine = model(json!({"type": "per_unit", "unit_amount": "1234567.123456789012"}));
    assert_eq!(
        amount(&fine, "1234567.123456789012"),
        "1524155982320.370521934361153483936144"
    );
    let prepared = units.prepare(Currency::EUR, Rounding::HalfUp).unwrap();
    assert_eq!(
        prepared.price(d("9999999999999999")),
        units.price(d("9999999999999999"), Currency::EUR, Rounding::HalfUp)
    );
}

#[test]
fn units_are_converted_and_rounded_once() {
    for (raw, divide_by, rounding, decimals, expected) in [
        ("1247", "1000", Rounding::Ceiling, 0, "2"),
        ("-2500", "1000", Rounding::HalfUp, 0, "-3"),
        ("244", "100", Rounding::HalfUp, 1, "2.4"),
        ("123.456", "1", Rounding::HalfUp, -2, "100"),
        (
            "0.000000000001",
            "9999999999999999",
            Rounding::Up,
            -12,
            "1000000000000",
        ),
        ("1", "3", Rounding::HalfUp, 12, "0.333333333333"),
    ] {
        let conversion = UnitConversion::new(d(divide_by), rounding, decimals).unwrap();
        assert_eq!(conversion.convert(d(raw)), Ok(d(expected)), "{raw}");
    }
    let giga = UnitConversion::new(d("0.000000000001"), Rounding::HalfUp, 12).unwrap();
    assert_eq!(
        giga.convert(Decimal::MAX).unwrap_err().to_string(),
        "quantity 79228162514264337593543950335 has too many digits to be converted to units"
    );
}

/// What a malformed price says.
#[test]
fn what_is_refused_names_its_tier_and_field() {
    for (price, message) in [
        (
            json!({"type": "graduated", "tiers": []}),
            "tiers must not be empty: give at least one, and no up_to in the last",
        ),
        (
            json!({"type": "volume", "tiers": [{"up_to": 10, "unit_amount": 1}]}),
            "tier 1: up_to 10 must be left out: the last tier has none, so that every quantity has a price",
        ),
        (
            json!({"type": "graduated", "tiers": [{"unit_amount": 1}, {"unit_amount": 1}]}),
            "tier 1: up_to must be given: only the last tier has none",
        ),
        (
            json!({"type": "graduated", "tiers": [
                {"up_to": 10, "unit_amount": 1}, {"up_to": "10.0", "unit_amount": 1}, {"unit_amount": 1}]}),
            "tier 2: up_to 10.0 must be greater than 10, where tier 1 ends",
        ),
        (
            json!({"type": "graduated", "tiers": [
                {"from": 0, "up_to": 10, "unit_amount": 1}, {"from": 11, "unit_amount": 1}]}),
            "tier 2: from 11 leaves a hole above 10; it must be 10",
        ),
        (
            json!({"type": "graduated", "tiers": [
                {"from": 0, "up_to": 10, "unit_amount": 1}, {"from": 9, "unit_amount": 1}]}),
            "tier 2: from 9 overlaps what is below 10; it must be 10",
        ),
        (
            json!({"type": "graduated", "tiers": [{"up_to": 0, "unit_amount": 1}, {"unit_amount": 1}]}),
            "tier 1: up_to 0 must be greater than 0",
        ),
        (
            json!({"type": "graduated", "tiers": [{"up_to": 5, "unit_amount": 1}, {"unit_amount": "-1"}]}),
            "tier 2: unit_amount -1 must not be negative",
        ),
        (
            json!({"type": "graduated", "tiers": [{"unit_amount": "0.0000000000001"}]}),
            "tier 1: unit_amount 0.0000000000001 must have at most 16 digits before and 12 after the decimal point",
        ),
        (
            json!({"type": "graduated", "tiers": [{"flat_amount": "a lot"}]}),
            "tier 1: flat_amount `a lot` is not a decimal number of at most 28 digits, written as text such as \"0.02\"",
        ),
        (
            json!({"type": "per_unit", "unit_amount": 0.1}),
            "unit_amount `0.1` is not a decimal number of at most 28 digits, written as text such as \"0.02\"",
        ),
        (
            json!({"type": "graduated", "tiers": [{"up_to": null}]}),
            "tier 1: unit_amount or flat_amount must be given",
        ),
        (json!({"type": "flat"}), "amount must be given"),
        (
            json!({"type": "package", "package_size": "0", "package_amount": 1}),
            "package_size 0 must be greater than 0",
        ),
        (
            json!({"type": "volume_blocks", "tiers": [
                {"block_size": 1, "max_blocks": "1.5", "block_amount": 1},
                {"block_size": 1, "block_amount": 1}]}),
            "tier 1: max_blocks 1.5 must be a whole number",
        ),
        (
            json!({"type": "volume_blocks", "tiers": [
                {"block_size": 10, "max_blocks": "1000000000000000", "block_amount": 1},
                {"block_size": 1, "block_amount": 1}]}),
            "tier 1: max_blocks 1000000000000000 ends above 9999999999999999, the most that can be counted",
        ),
        (
            json!({"type": "percentage", "rate_percent": "0.00000000001"}),
            "rate_percent 0.00000000001 must have at most 16 digits before and 10 after the decimal point",
        ),
        (
            json!({"type": "percentage", "rate_percent": 1, "minimum_amount": 5, "maximum_amount": 3}),
            "minimum_amount 5 must not be greater than maximum_amount 3",
        ),
        (
            json!({"type": "graduated_percentage", "tiers": [{"flat_amount": 1}]}),
            "tier 1: rate_percent must be given",
        ),
        (
            json!({"type": "overage", "included": -1, "unit_amount": 1}),
            "included -1 must not be negative",
        ),
    ] {
        let error = serde_json::from_value::<PriceModel>(price).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let price = model(json!({"type": "per_unit", "unit_amount": 1}));
    assert_eq!(
        price.charge(d("-1")).unwrap_err().to_string(),
        "quantity -1 must not be negative"
    );
    assert_eq!(
        price
            .charge_transactions(&[d("1"), d("-1")])
            .unwrap_err()
            .to_string(),
        "transaction 2: amount -1 must not be negative"
    );
}

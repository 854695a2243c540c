//! Prices, rounding, currencies and allocation.

use rust_decimal::Decimal;
use serde_json::{Value, json};
use tenantry::domain::money::{Money, Rounding};
use tenantry::domain::pricing::{Charge, PriceModel, UnitConversion};

use super::reader::{Case, Got, Is, Node, Outcome, say};

pub(super) fn run(kind: &str, case: &Case<'_>) -> Option<Outcome> {
    Some(match kind {
        "price.per_unit" => priced(case, || {
            let unit = case.input("unit").text()?;
            Ok(json!({"type": "per_unit", "unit_amount": unit}))
        }),
        "price.graduated" | "price.volume" => priced(case, || {
            let tiers = tiers(case.input("tiers"))?;
            Ok(json!({"type": kind.trim_start_matches("price."), "tiers": tiers}))
        }),
        "price.graduated_percentage" => priced(case, || {
            let mut tiers = Vec::new();
            for tier in case.input("tiers").items()? {
                tiers.push(json!({
                    "up_to": bound(&tier, "up_to")?,
                    "rate_percent": tier.field("rate_percent").text()?,
                    "flat_amount": tier.field("flat").text()?,
                }));
            }
            Ok(json!({"type": "graduated_percentage", "tiers": open(tiers, "up_to")}))
        }),
        "price.graduated_blocks" | "price.volume_blocks" => priced(case, || {
            let mut tiers = Vec::new();
            for tier in case.input("tiers").items()? {
                tiers.push(json!({
                    "block_size": tier.field("block_size").text()?,
                    "max_blocks": bound(&tier, "max_blocks")?,
                    "block_amount": tier.field("block_price").text()?,
                }));
            }
            let tiers = open(tiers, "max_blocks");
            Ok(json!({"type": kind.trim_start_matches("price."), "tiers": tiers}))
        }),
        "price.package" => priced(case, || {
            Ok(json!({
                "type": "package",
                "package_size": case.input("package_size").text()?,
                "package_amount": case.input("package_price").text()?,
                "free_units": case.input("included").text()?,
                "round": case.input("round").text()?,
            }))
        }),
        "price.overage" => priced(case, || {
            Ok(json!({
                "type": "overage",
                "included": case.input("included").text()?,
                "unit_amount": case.input("overage_unit").text()?,
            }))
        }),
        "price.percentage" => percentage(case),
        "rounding.currency" => currency(case),
        "rounding.unit_conversion" => conversion(case),
        "currency.to_minor" => to_minor(case),
        "currency.psp_step" => step(case),
        "allocation.largest_remainder" => allocation(case),
        _ => return None,
    })
}

/// A price model in the crate's own document form.
pub(super) fn model(document: Value) -> Got<PriceModel> {
    serde_json::from_value(document).map_err(say)
}

/// Tiers of `up_to`, `unit` and `flat`.
pub(super) fn tiers(list: Node<'_>) -> Got<Value> {
    let mut tiers = Vec::new();
    for tier in list.items()? {
        tiers.push(json!({
            "up_to": bound(&tier, "up_to")?,
            "unit_amount": tier.field("unit").text()?,
            "flat_amount": tier.field("flat").text()?,
        }));
    }
    Ok(open(tiers, "up_to"))
}

fn bound(tier: &Node<'_>, name: &str) -> Got<Option<String>> {
    tier.field(name).opt().map(|bound| bound.text()).transpose()
}

/// Some sources end their last tier; "above the last bound stays on the last tier".
fn open(mut tiers: Vec<Value>, bound: &str) -> Value {
    if let Some(last) = tiers.last_mut() {
        last[bound] = Value::Null;
    }
    tiers.into()
}

fn exact(charge: &Charge) -> Got<Decimal> {
    let amount = charge.amount.to_decimal();
    amount.ok_or_else(|| format!("{} is no decimal", charge.amount))
}

/// The quantity by a model: the exact amount, or the rounded one where that is what is expected,
/// in the plain and in the prepared form.
fn priced(case: &Case<'_>, document: impl FnOnce() -> Got<Value>) -> Outcome {
    let model = model(document()?)?;
    let currency = case.currency()?;
    let quantity = case.input("quantity").decimal()?;
    let charge = model.charge(quantity).map_err(say)?;
    let rounded = charge.round(currency, Rounding::HalfUp).map_err(say)?;
    let prepared = model.prepare(currency, Rounding::HalfUp).map_err(say)?;
    if prepared.price(quantity) != Ok(rounded) {
        return Err("the prepared form tells another amount".to_owned());
    }
    if case.expect("amount", exact(&charge)?).is_err() {
        case.expect("amount", rounded)?;
    }
    let mut items = Vec::new();
    for item in &charge.items {
        let amount = item.amount.to_decimal();
        items.push(amount.ok_or("an item is no decimal")?);
    }
    case.compare("per_tier", items)?;
    let units: Vec<_> = charge.items.iter().map(|item| item.units).collect();
    if let [packages] = units[..] {
        case.compare("packages", packages)?;
    }
    Ok(())
}

fn percentage(case: &Case<'_>) -> Outcome {
    let currency = case.currency()?;
    let optional = |name| {
        let node = case.input(name).opt();
        node.map(|node| node.text()).transpose()
    };
    let free = case.input("free_events").opt();
    let model = model(json!({
        "type": "percentage",
        "rate_percent": case.input("rate_percent").text()?,
        "fixed_amount": case.input("fixed_per_event").text()?,
        "free_transactions": free.map(|free| free.parse::<u64>()).transpose()?,
        "free_amount": optional("free_amount")?,
        "minimum_amount": optional("min_per_event")?,
        "maximum_amount": optional("max_per_event")?,
    }))?;
    let events = case.input("events").items()?;
    let events = events.iter().map(Node::decimal).collect::<Got<Vec<_>>>()?;
    let charge = model.charge_transactions(&events).map_err(say)?;
    let rounded = charge.round(currency, Rounding::HalfUp).map_err(say)?;
    let unrounded = case.compare("amount_unrounded", exact(&charge)?)?;
    if !(case.compare("amount", rounded)? || unrounded) {
        return Err("expected.amount_unrounded is missing".to_owned());
    }
    Ok(())
}

/// Rounding to the places of a currency, which may be one that only the source knows.
fn currency(case: &Case<'_>) -> Outcome {
    let places: i32 = case.input("exponent").parse()?;
    let rounding = mode(case)?;
    let amount = case.input("amount").decimal()?;
    let code = case.input("currency").text()?;
    let rounded = rounding.round(amount, places).ok_or("too many digits")?;
    if let Ok(currency) = tenantry::domain::money::Currency::new(&code) {
        case.currency()?;
        let money = Money::from_major_rounded(amount, currency, rounding).map_err(say)?;
        if money.to_major() != rounded {
            return Err(format!("{money} is not {rounded}"));
        }
    }
    case.expect("amount", rounded)
}

fn mode(case: &Case<'_>) -> Got<Rounding> {
    serde_json::from_value(case.input("mode").text()?.into()).map_err(say)
}

fn conversion(case: &Case<'_>) -> Outcome {
    let divide_by = case.input("divide_by").decimal()?;
    let decimals = case.input("decimals").parse()?;
    let conversion = UnitConversion::new(divide_by, mode(case)?, decimals).map_err(say)?;
    let units = conversion.convert(case.input("raw").decimal()?);
    case.expect("units", units.map_err(say)?)
}

fn to_minor(case: &Case<'_>) -> Outcome {
    let money = case.input("major").major(case.currency()?)?;
    case.expect("minor", money.minor())
}

fn step(case: &Case<'_>) -> Outcome {
    let money = case.input("major").major(case.currency()?)?;
    let step = case.input("step_minor").parse()?;
    let mut allowed = Vec::new();
    for rounding in [Rounding::Floor, Rounding::Ceiling] {
        let money = money.to_step(step, rounding).map_err(say)?;
        allowed.push(money.minor());
    }
    allowed.dedup();
    case.expect("allowed_minor", allowed)
}

fn allocation(case: &Case<'_>) -> Outcome {
    let amount = case.input("amount").major(case.currency()?)?;
    let weights = case.input("weights").items()?;
    let weights = weights.iter().map(Node::decimal).collect::<Got<Vec<_>>>()?;
    let shares = amount.allocate(&weights).map_err(say)?;
    case.expect("shares", Is::from(shares))
}

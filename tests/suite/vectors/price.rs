//! Prices, rounding, currencies and allocation.

use rust_decimal::Decimal;
use serde_json::{Value, json};
use tenantry::domain::money::{Money, Rounding};
use tenantry::domain::pricing::{Charge, PriceModel, UnitConversion};

use super::reader::{Case, Got, Is, Node, Outcome, say};

pub(super) fn run(kind: &str, case: &Case<'_>) -> Option<Outcome> {
    Some(match kind {
        "price.percentage" => percentage(case),
        "rounding.currency" => currency(case),
        "rounding.unit_conversion" => conversion(case),
        "currency.to_minor" => to_minor(case),
        "currency.psp_step" => step(case),
        "allocation.largest_remainder" => allocation(case),
        _ => {
            let model = model(kind.strip_prefix("price.")?, &|name| case.input(name))?;
            model.and_then(|model| priced(case, &model))
        }
    })
}

/// The price model of a kind from its fields; `None` for a kind that is not known.
pub(super) fn model<'c>(kind: &str, field: &dyn Fn(&str) -> Node<'c>) -> Option<Got<PriceModel>> {
    let text = |name: &str| field(name).text();
    let or = |name: &str, default: &str| match field(name).opt() {
        Some(node) => node.text(),
        None => Ok(default.to_owned()),
    };
    let document = || {
        Ok(Some(match kind {
            "flat" => json!({"type": kind, "amount": text("amount")?}),
            "per_unit" => json!({"type": kind, "unit_amount": text("unit")?}),
            "overage" => json!({
                "type": kind,
                "included": text("included")?,
                "unit_amount": text("overage_unit")?,
            }),
            "package" => json!({
                "type": kind,
                "package_size": text("package_size")?,
                "package_amount": text("package_price")?,
                "free_units": or("included", "0")?,
                "round": or("round", "up")?,
            }),
            "graduated" | "volume" => {
                let unit = [("unit", "unit_amount"), ("flat", "flat_amount")];
                json!({"type": kind, "tiers": tiers(&field("tiers"), "up_to", &unit)?})
            }
            "graduated_percentage" => {
                let rate = [("rate_percent", "rate_percent"), ("flat", "flat_amount")];
                json!({"type": kind, "tiers": tiers(&field("tiers"), "up_to", &rate)?})
            }
            "graduated_blocks" | "volume_blocks" => {
                let block = [
                    ("block_size", "block_size"),
                    ("block_price", "block_amount"),
                ];
                json!({"type": kind, "tiers": tiers(&field("tiers"), "max_blocks", &block)?})
            }
            _ => return Ok(None),
        }))
    };
    match document() {
        Ok(Some(document)) => Some(serde_json::from_value(document).map_err(say)),
        Ok(None) => None,
        Err(why) => Some(Err(why)),
    }
}

/// Tiers with a bound and fields under the crate's names. Some sources end their last tier, and
/// say "above the last bound stays on the last tier".
fn tiers(list: &Node<'_>, bound: &str, names: &[(&str, &str)]) -> Got<Value> {
    let mut tiers = Vec::new();
    for node in list.items()? {
        let mut tier = json!({});
        for (theirs, ours) in names.iter().chain(&[(bound, bound)]) {
            if let Some(node) = node.field(theirs).opt() {
                tier[ours] = node.text()?.into();
            }
        }
        tiers.push(tier);
    }
    if let Some(last) = tiers.last_mut() {
        last[bound] = Value::Null;
    }
    Ok(tiers.into())
}

fn exact(charge: &Charge) -> Got<Decimal> {
    let amount = charge.amount.to_decimal();
    amount.ok_or_else(|| format!("{} is no decimal", charge.amount))
}

/// The quantity by a model: the exact amount, or the rounded one where that is what is expected,
/// in the plain and in the prepared form.
fn priced(case: &Case<'_>, model: &PriceModel) -> Outcome {
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
    let document = json!({
        "type": "percentage",
        "rate_percent": case.input("rate_percent").text()?,
        "fixed_amount": optional("fixed_per_event")?,
        "free_transactions": free.map(|free| free.parse::<u64>()).transpose()?,
        "free_amount": optional("free_amount")?,
        "minimum_amount": optional("min_per_event")?,
        "maximum_amount": optional("max_per_event")?,
    });
    let model: PriceModel = serde_json::from_value(document).map_err(say)?;
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

//! Discounts, taxes, commitments and credit notes.

use tenantry::domain::commitment::Commitment;
use tenantry::domain::discount::{Coupon, CouponDuration, Off, discounts};
use tenantry::domain::money::{Currency, Money, Rounding};
use tenantry::domain::percent::Percent;
use tenantry::domain::proration::Fraction;
use tenantry::domain::rerate::unused_credit;
use tenantry::domain::tax::{TaxRate, TaxRounding, TaxableLine, tax_of, taxes};
use tenantry::domain::totals::{InvoiceLine, InvoicePolicy, Totals, invoice_amounts};

use super::reader::{Case, Got, Is, Node, Outcome, minors, say};

pub(super) fn run(kind: &str, case: &Case<'_>) -> Option<Outcome> {
    Some(match kind {
        "discount.stack" => stack(case),
        "invoice.tax_after_discount" => tax_after_discount(case),
        "invoice.tax_rounding_level" => tax_rounding_level(case),
        "commitment.minimum" => minimum(case),
        "commitment.minimum_prorated" => minimum_prorated(case),
        "commitment.maximum" => maximum(case),
        "credit_note.unused_time" => unused_time(case),
        _ => return None,
    })
}

fn sum(currency: Currency, amounts: &[Money]) -> Got<Money> {
    Money::sum(currency, amounts.iter().copied()).map_err(say)
}

fn coupon(off: Off) -> Got<Coupon> {
    Coupon::new(off, CouponDuration::Once).map_err(say)
}

fn rate(node: Node<'_>) -> Got<TaxRate> {
    let percent = Percent::new(node.decimal()?).map_err(say)?;
    Ok(TaxRate::exclusive(percent))
}

fn stack(case: &Case<'_>) -> Outcome {
    let order = case.input("order").text()?;
    if order != "percent_then_fixed" {
        return Err(format!("the order `{order}` is not known"));
    }
    let subtotal = case.input("subtotal_minor").minor(Currency::EUR)?;
    let mut coupons = Vec::new();
    for node in case.input("coupons").items()? {
        coupons.push(coupon(match node.field("percent").opt() {
            Some(percent) => Off::PercentOff(Percent::new(percent.decimal()?).map_err(say)?),
            None => Off::AmountOff(node.field("fixed_minor").minor(Currency::EUR)?),
        })?);
    }
    let off = discounts(subtotal, &coupons, Rounding::HalfUp).map_err(say)?;
    case.expect("discount_minor", sum(Currency::EUR, &off)?.minor())
}

fn tax_after_discount(case: &Case<'_>) -> Outcome {
    let currency = case.currency()?;
    let mut lines = Vec::new();
    for node in case.input("lines").items()? {
        lines.push(InvoiceLine {
            amount: node.field("net_minor").minor(currency)?,
            rate: Some(rate(node.field("tax_percent"))?),
        });
    }
    let discount = case.input("fixed_discount_minor").minor(currency)?;
    let coupons = match discount.is_zero() {
        true => Vec::new(),
        false => vec![coupon(Off::AmountOff(discount))?],
    };
    let policy = InvoicePolicy::default();
    let invoice = invoice_amounts(currency, &lines, &coupons, policy).map_err(say)?;
    let of = |amount: fn(&Totals) -> Money| {
        let amounts: Vec<_> = invoice.lines.iter().map(amount).collect();
        minors(&amounts)
    };
    let totals = invoice.totals;
    let net = totals.subtotal().checked_sub(totals.discount());
    case.expect("line_discounts_minor", of(Totals::discount))?;
    case.expect("line_taxes_minor", of(Totals::tax))?;
    case.expect("tax_minor", totals.tax().minor())?;
    case.expect("net_minor", net.map_err(say)?.minor())?;
    case.expect("total_minor", totals.total().minor())
}

fn tax_rounding_level(case: &Case<'_>) -> Outcome {
    let currency = case.currency()?;
    let rate = Some(rate(case.input("tax_percent"))?);
    let mut lines = Vec::new();
    for node in case.input("lines_minor").items()? {
        let amount = node.minor(currency)?;
        lines.push(TaxableLine { amount, rate });
    }
    let tax = |policy| {
        let taxes = taxes(currency, &lines, policy, Rounding::HalfUp);
        let total = taxes.and_then(|taxes| taxes.total(currency));
        Ok::<_, String>(total.map_err(say)?.minor())
    };
    case.expect("per_line_tax_minor", tax(TaxRounding::PerLine)?)?;
    case.expect("per_invoice_tax_minor", tax(TaxRounding::PerRate)?)
}

fn minimum(case: &Case<'_>) -> Outcome {
    let currency = case.currency()?;
    let major = |name| case.input(name).major(currency);
    let minimum = Commitment::new(Some(major("minimum")?), None).map_err(say)?;
    let billed = sum(currency, &[major("previously_billed")?, major("rated")?])?;
    let final_run = case.input("final_run").parse()?;
    let true_up = minimum.true_up(billed, final_run).map_err(say)?;
    case.expect("true_up", true_up)?;
    case.expect("total", sum(currency, &[billed, true_up])?)
}

fn minimum_prorated(case: &Case<'_>) -> Outcome {
    let currency = case.currency()?;
    let minimum = case.input("minimum_minor").minor(currency)?;
    let days = (
        case.input("days").parse()?,
        case.input("period_days").parse()?,
    );
    let part = Fraction::new(days.0, days.1).map_err(say)?;
    let commitment = Commitment::new(Some(minimum), None);
    let commitment = commitment.and_then(|all| all.prorated(part, Rounding::HalfUp));
    let used = case.input("used_minor").minor(currency)?;
    let true_up = commitment.and_then(|part| part.true_up(used, true));
    case.expect("true_up_minor", true_up.map_err(say)?.minor())
}

fn maximum(case: &Case<'_>) -> Outcome {
    let currency = case.currency()?;
    let maximum = case.input("maximum").major(currency)?;
    let billed = case.input("previously_billed").major(currency)?;
    let mut lines = Vec::new();
    for node in case.input("lines").items()? {
        lines.push(node.major(currency)?);
    }
    let commitment = Commitment::new(None, Some(maximum)).map_err(say)?;
    let reductions = commitment.reductions(billed, &lines).map_err(say)?;
    let left = sum(currency, &lines)?.checked_sub(sum(currency, &reductions)?);
    case.expect("discounts", Is::from(reductions))?;
    case.expect("total", left.map_err(say)?)
}

fn unused_time(case: &Case<'_>) -> Outcome {
    let minor = |name| case.input(name).minor(Currency::EUR);
    let unused = Fraction::new(
        case.input("unused_days").parse()?,
        case.input("period_days").parse()?,
    );
    let nothing = Money::zero(Currency::EUR).map_err(say)?;
    let (plan, billed) = (minor("plan_minor")?, minor("billed_minor")?);
    let net = unused_credit(
        plan,
        unused.map_err(say)?,
        billed,
        nothing,
        Rounding::HalfUp,
    );
    let net = net.map_err(say)?;
    let rate = rate(case.input("tax_percent"))?;
    let tax = tax_of(net, rate, Rounding::HalfUp).map_err(say)?;
    case.compare("net_minor", net.minor())?;
    case.compare("tax_minor", tax.minor())?;
    case.expect("total_minor", sum(Currency::EUR, &[net, tax])?.minor())
}

//! The amounts of an invoice, and that they add up.

use serde::{Deserialize, Serialize};

use super::discount::{Coupon, DiscountError, discounts, spread};
use super::money::{Currency, Money, MoneyError, Rounding};
use super::tax::{TaxError, TaxRate, TaxRounding, TaxableLine, Taxes, taxes};

/// A broken rule about the amounts of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TotalsError {
    /// Amounts that do not add up.
    #[error(
        "total {total} must be {expected}: subtotal {subtotal} less discount {discount} plus tax {tax}"
    )]
    Unequal {
        /// The sum of the lines.
        subtotal: Money,
        /// What is taken off.
        discount: Money,
        /// The tax.
        tax: Money,
        /// What was given.
        total: Money,
        /// What it is.
        expected: Money,
    },
    /// A discount that breaks a rule.
    #[error("totals: {0}")]
    Discount(#[from] DiscountError),
    /// A tax that breaks a rule.
    #[error("totals: {0}")]
    Tax(#[from] TaxError),
    /// An amount that breaks a rule of money.
    #[error("totals: {0}")]
    Money(#[from] MoneyError),
}

/// The amounts of an invoice: subtotal - discount + tax = total, to the minor unit, always.
///
/// Subtotal and discount are without the tax. Where prices contain it, it is taken out of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "TotalsFields")]
pub struct Totals {
    subtotal: Money,
    discount: Money,
    tax: Money,
    total: Money,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TotalsFields {
    subtotal: Money,
    discount: Money,
    tax: Money,
    total: Money,
}

impl TryFrom<TotalsFields> for Totals {
    type Error = TotalsError;

    fn try_from(fields: TotalsFields) -> Result<Self, TotalsError> {
        let totals = Self::new(fields.subtotal, fields.discount, fields.tax)?;
        if totals.total == fields.total {
            return Ok(totals);
        }
        Err(TotalsError::Unequal {
            subtotal: fields.subtotal,
            discount: fields.discount,
            tax: fields.tax,
            total: fields.total,
            expected: totals.total,
        })
    }
}

impl Totals {
    /// Adds up the amounts.
    ///
    /// # Errors
    /// `Money` for two currencies, and for a total that is too large.
    pub fn new(subtotal: Money, discount: Money, tax: Money) -> Result<Self, TotalsError> {
        Ok(Self {
            subtotal,
            discount,
            tax,
            total: subtotal.checked_sub(discount)?.checked_add(tax)?,
        })
    }

    /// The sum of the lines.
    #[must_use]
    pub fn subtotal(&self) -> Money {
        self.subtotal
    }

    /// What is taken off.
    #[must_use]
    pub fn discount(&self) -> Money {
        self.discount
    }

    /// The tax.
    #[must_use]
    pub fn tax(&self) -> Money {
        self.tax
    }

    /// What is due.
    #[must_use]
    pub fn total(&self) -> Money {
        self.total
    }
}

/// A line of an invoice before discounts and taxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvoiceLine {
    /// What it costs; negative for a credit.
    pub amount: Money,
    /// Its rate of tax; `None` for a line that is not taxed.
    pub rate: Option<TaxRate>,
}

/// An invoice computed from its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InvoiceAmounts {
    /// The amounts of the invoice.
    pub totals: Totals,
    /// The amounts of each line, in order: they sum to those of the invoice.
    pub lines: Vec<Totals>,
    /// What each coupon takes off, in order, as prices are given: with the tax where they contain it.
    pub coupons: Vec<Money>,
    /// The tax per rate and per line.
    pub taxes: Taxes,
}

/// How an invoice is rounded. Kept with it, so that it can be computed again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InvoicePolicy {
    /// How an amount becomes a whole number of minor units.
    #[serde(default)]
    pub rounding: Rounding,
    /// Where tax is rounded.
    #[serde(default)]
    pub tax: TaxRounding,
}

/// Computes an invoice: coupons on the subtotal, spread over the lines, then tax on what is left
/// of each.
///
/// # Errors
/// For a line or coupon in another currency, for percentages that are too fine together, and for
/// sums that are too large.
pub fn invoice_amounts(
    currency: Currency,
    lines: &[InvoiceLine],
    coupons: &[Coupon],
    policy: InvoicePolicy,
) -> Result<InvoiceAmounts, TotalsError> {
    let amounts: Vec<_> = lines.iter().map(|line| line.amount).collect();
    let sum = Money::sum(currency, amounts.iter().copied())?;
    let coupons = discounts(sum, coupons, policy.rounding)?;
    let discount = Money::sum(currency, coupons.iter().copied())?;
    let parts = if discount.is_zero() {
        vec![discount; lines.len()]
    } else {
        spread(discount, &amounts)?
    };
    let mut taxable = Vec::with_capacity(lines.len());
    for (line, part) in lines.iter().zip(&parts) {
        taxable.push(TaxableLine {
            amount: line.amount.checked_sub(*part)?,
            rate: line.rate,
        });
    }
    let taxes = taxes(currency, &taxable, policy.tax, policy.rounding)?;
    let mut totals = Vec::with_capacity(lines.len());
    for ((line, part), (after, tax)) in lines
        .iter()
        .zip(parts)
        .zip(taxable.iter().zip(&taxes.lines))
    {
        totals.push(line_totals(
            line,
            part,
            after.amount,
            *tax,
            policy.rounding,
        )?);
    }
    let of = |amount: fn(&Totals) -> Money| Money::sum(currency, totals.iter().map(amount));
    Ok(InvoiceAmounts {
        totals: Totals::new(
            of(Totals::subtotal)?,
            of(Totals::discount)?,
            of(Totals::tax)?,
        )?,
        lines: totals,
        coupons,
        taxes,
    })
}

/// The amounts of a line. One that contains its tax loses that of its price to the subtotal and
/// that of its discount to the discount, so that its total is what it costs.
fn line_totals(
    line: &InvoiceLine,
    discount: Money,
    after: Money,
    tax: Money,
    rounding: Rounding,
) -> Result<Totals, TotalsError> {
    match line.rate.filter(|rate| rate.inclusive) {
        Some(rate) => {
            let contained = super::tax::tax_of(discount, rate, rounding)?;
            let discount = discount.checked_sub(contained)?;
            let subtotal = after.checked_sub(tax)?.checked_add(discount)?;
            Totals::new(subtotal, discount, tax)
        }
        None => Totals::new(line.amount, discount, tax),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    use super::*;
    use crate::domain::discount::{CouponDuration, Off};
    use crate::domain::percent::Percent;

    fn eur(minor: i64) -> Money {
        Money::new(minor, Currency::EUR).unwrap()
    }

    fn percent(tenths: i64) -> Percent {
        Percent::new(Decimal::new(tenths, 1)).unwrap()
    }

    fn coupon(off: Off) -> Coupon {
        Coupon::new(off, CouponDuration::Once).unwrap()
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        let totals = Totals::new(eur(1_000), eur(100), eur(180)).unwrap();
        let mut json = serde_json::to_value(totals).unwrap();
        assert_eq!(
            serde_json::from_value::<Totals>(json.clone()).unwrap(),
            totals
        );
        json["total"]["minor"] = 1_081.into();
        assert_eq!(
            serde_json::from_value::<Totals>(json)
                .unwrap_err()
                .to_string(),
            "total EUR 10.81 must be EUR 10.80: subtotal EUR 10.00 less discount EUR 1.00 plus tax EUR 1.80"
        );
    }

    #[test]
    fn tax_is_due_on_what_the_discount_leaves() {
        let rate = |tenths| Some(TaxRate::exclusive(percent(tenths)));
        let line = |minor, rate| InvoiceLine {
            amount: eur(minor),
            rate,
        };
        let lines = [
            line(10_000, rate(100)),
            line(5_000, rate(0)),
            line(3_000, rate(200)),
            line(2_000, rate(200)),
        ];
        let off = coupon(Off::AmountOff(eur(1_000)));
        let invoice =
            invoice_amounts(Currency::EUR, &lines, &[off], InvoicePolicy::default()).unwrap();
        assert_eq!(
            invoice.totals,
            Totals::new(eur(20_000), eur(1_000), eur(1_900)).unwrap()
        );
        assert_eq!(invoice.totals.total(), eur(20_900));
        let discounts: Vec<_> = invoice
            .lines
            .iter()
            .map(|line| line.discount().minor())
            .collect();
        assert_eq!(discounts, [500, 250, 150, 100]);
    }

    #[test]
    fn what_contains_its_tax_costs_what_it_says() {
        let rate = Some(TaxRate::inclusive(percent(200)));
        let lines = [InvoiceLine {
            amount: eur(1_200),
            rate,
        }];
        let off = coupon(Off::PercentOff(percent(500)));
        let invoice =
            invoice_amounts(Currency::EUR, &lines, &[off], InvoicePolicy::default()).unwrap();
        assert_eq!(
            invoice.totals,
            Totals::new(eur(1_000), eur(500), eur(100)).unwrap()
        );
        assert_eq!(invoice.totals.total(), eur(600));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_invoice_adds_up_in_every_direction(
            list in prop::collection::vec((-100_000_i64..1_000_000, 0_usize..4), 0..8),
            percents in prop::collection::vec(1_i64..=1_000, 0..3),
            amounts in prop::collection::vec(1_i64..=500_000, 0..3),
            per_line in any::<bool>(),
        ) {
            let rates = [
                None,
                Some(TaxRate::exclusive(percent(200))),
                Some(TaxRate::exclusive(percent(77))),
                Some(TaxRate::inclusive(percent(190))),
            ];
            let lines: Vec<_> = list
                .iter()
                .map(|(minor, rate)| InvoiceLine { amount: eur(*minor), rate: rates[*rate] })
                .collect();
            let coupons: Vec<_> = percents
                .iter()
                .map(|tenths| coupon(Off::PercentOff(percent(*tenths))))
                .chain(amounts.iter().map(|minor| coupon(Off::AmountOff(eur(*minor)))))
                .collect();
            let policy = InvoicePolicy {
                tax: if per_line { TaxRounding::PerLine } else { TaxRounding::PerRate },
                ..InvoicePolicy::default()
            };
            let invoice = invoice_amounts(Currency::EUR, &lines, &coupons, policy).unwrap();
            let sum = |of: fn(&Totals) -> Money| {
                Money::sum(Currency::EUR, invoice.lines.iter().map(of)).unwrap()
            };
            prop_assert_eq!(sum(Totals::total), invoice.totals.total());
            prop_assert_eq!(sum(Totals::tax), invoice.taxes.total(Currency::EUR).unwrap());
            let totals = invoice.totals;
            prop_assert_eq!(
                totals.subtotal().minor() - totals.discount().minor() + totals.tax().minor(),
                totals.total().minor()
            );
            // What is due is what the lines cost, less the coupons, plus the tax that is added.
            let prices: i64 = list.iter().map(|(minor, _)| minor).sum();
            let off: i64 = invoice.coupons.iter().map(|off| off.minor()).sum();
            let contained = invoice.taxes.contained(Currency::EUR).unwrap();
            prop_assert_eq!(
                totals.total().minor(),
                prices - off + totals.tax().minor() - contained.minor()
            );
        }
    }
}

//! Taxes on the lines of an invoice.

use serde::{Deserialize, Serialize};

use super::money::{Currency, Money, MoneyError, Rounding, reconcile};
use super::percent::Percent;

/// A broken rule about taxes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaxError {
    /// An amount that breaks a rule of money.
    #[error("tax: {0}")]
    Money(#[from] MoneyError),
}

/// A rate of tax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaxRate {
    /// The percentage.
    pub percent: Percent,
    /// Whether amounts contain the tax already.
    #[serde(default)]
    pub inclusive: bool,
}

impl TaxRate {
    /// A tax that is added to amounts.
    #[must_use]
    pub fn exclusive(percent: Percent) -> Self {
        Self {
            percent,
            inclusive: false,
        }
    }

    /// A tax that amounts contain.
    #[must_use]
    pub fn inclusive(percent: Percent) -> Self {
        Self {
            percent,
            inclusive: true,
        }
    }

    /// The tax of an amount of 1 as numerator and denominator.
    fn ratio(self) -> (i128, i128) {
        let parts = self.percent.parts();
        let contained = if self.inclusive { parts } else { 0 };
        (parts, Percent::WHOLE + contained)
    }
}

/// Where tax is rounded. The same invoice can owe a cent more or less, so it is a policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TaxRounding {
    /// Once per rate, on the sum of its lines, and spread over them by largest remainder. The
    /// default.
    #[default]
    PerRate,
    /// Once per line.
    PerLine,
}

/// A line to be taxed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaxableLine {
    /// What it costs after discounts; negative for a credit.
    pub amount: Money,
    /// Its rate; `None` for a line that is not taxed.
    pub rate: Option<TaxRate>,
}

/// The tax of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Taxes {
    /// The tax of each line, in their order.
    pub lines: Vec<Money>,
    /// The tax per rate, in the order in which rates first occur.
    pub rates: Vec<RateTax>,
}

/// What is due at one rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RateTax {
    /// The rate.
    pub rate: TaxRate,
    /// The sum of its lines, without the tax.
    pub taxable: Money,
    /// The tax.
    pub tax: Money,
}

/// The tax of lines in one currency.
///
/// The taxes of the lines sum to those of the rates, and these to the tax of the invoice.
///
/// ```
/// use tenantry::domain::money::{Currency, Money, Rounding};
/// use tenantry::domain::percent::Percent;
/// use tenantry::domain::tax::{TaxRate, TaxRounding, TaxableLine, taxes};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rate = Some(TaxRate::exclusive(Percent::new("20".parse()?)?));
/// let line = TaxableLine { amount: Money::new(83, Currency::USD)?, rate };
/// let tax = |rounding| taxes(Currency::USD, &[line; 3], rounding, Rounding::HalfUp)?.total(Currency::USD);
/// assert_eq!(tax(TaxRounding::PerRate)?.minor(), 50); // 20 % of 2.49
/// assert_eq!(tax(TaxRounding::PerLine)?.minor(), 51); // 3 x 17
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `Money` for a line in another currency, and for a sum that is too large.
pub fn taxes(
    currency: Currency,
    lines: &[TaxableLine],
    policy: TaxRounding,
    rounding: Rounding,
) -> Result<Taxes, TaxError> {
    let zero = Money::zero(currency)?;
    let mut taxes = Taxes {
        lines: vec![zero; lines.len()],
        rates: Vec::new(),
    };
    let mut rates: Vec<TaxRate> = Vec::new();
    for line in lines {
        zero.alike(line.amount)?;
        if let Some(rate) = line.rate.filter(|rate| !rates.contains(rate)) {
            rates.push(rate);
        }
    }
    for rate in rates {
        let of_rate = || {
            let lines = lines.iter().enumerate();
            lines.filter(move |(_, line)| line.rate == Some(rate))
        };
        let (above, below) = rate.ratio();
        let amounts: Vec<_> = of_rate().map(|(_, line)| line.amount).collect();
        let sum = Money::sum(currency, amounts.iter().copied())?;
        let parts = match policy {
            TaxRounding::PerLine => amounts
                .iter()
                .map(|amount| amount.scaled(above, below, rounding))
                .collect::<Result<Vec<_>, _>>()?,
            TaxRounding::PerRate => {
                let total = sum.scaled(above, below, rounding)?;
                let part = |amount: &Money| i128::from(amount.minor()) * above;
                reconcile(total, &amounts.iter().map(part).collect::<Vec<_>>(), below)?
            }
        };
        let tax = Money::sum(currency, parts.iter().copied())?;
        for ((index, _), part) in of_rate().zip(parts) {
            if let Some(line) = taxes.lines.get_mut(index) {
                *line = part;
            }
        }
        let taxable = if rate.inclusive {
            sum.checked_sub(tax)?
        } else {
            sum
        };
        taxes.rates.push(RateTax { rate, taxable, tax });
    }
    Ok(taxes)
}

impl Taxes {
    /// The tax of the invoice: the sum of its rates.
    ///
    /// # Errors
    /// `Money` for a sum that is too large.
    pub fn total(&self, currency: Currency) -> Result<Money, TaxError> {
        Ok(Money::sum(
            currency,
            self.rates.iter().map(|rate| rate.tax),
        )?)
    }

    /// The part of the tax that amounts contain already: it's not added to them.
    ///
    /// # Errors
    /// `Money` for a sum that is too large.
    pub fn contained(&self, currency: Currency) -> Result<Money, TaxError> {
        let contained = self.rates.iter().filter(|rate| rate.rate.inclusive);
        Ok(Money::sum(currency, contained.map(|rate| rate.tax))?)
    }
}

/// The tax of one amount, rounded once.
///
/// # Errors
/// `Money` for a tax that is too large.
pub fn tax_of(amount: Money, rate: TaxRate, rounding: Rounding) -> Result<Money, TaxError> {
    let (above, below) = rate.ratio();
    Ok(amount.scaled(above, below, rounding)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    use super::*;

    fn eur(minor: i64) -> Money {
        Money::new(minor, Currency::EUR).unwrap()
    }

    fn rate(percent: i64, inclusive: bool) -> TaxRate {
        let percent = Percent::new(Decimal::new(percent, 1)).unwrap();
        TaxRate { percent, inclusive }
    }

    fn lines(lines: &[(i64, Option<TaxRate>)]) -> Vec<TaxableLine> {
        let line = |(minor, rate): &(i64, Option<TaxRate>)| TaxableLine {
            amount: eur(*minor),
            rate: *rate,
        };
        lines.iter().map(line).collect()
    }

    fn of(list: &[(i64, Option<TaxRate>)], policy: TaxRounding) -> (Vec<i64>, Vec<(i64, i64)>) {
        let taxes = taxes(Currency::EUR, &lines(list), policy, Rounding::HalfUp).unwrap();
        let rates = taxes.rates.iter();
        (
            taxes.lines.iter().map(|tax| tax.minor()).collect(),
            rates
                .map(|rate| (rate.taxable.minor(), rate.tax.minor()))
                .collect(),
        )
    }

    #[test]
    fn tax_is_of_the_sum_per_rate_and_spread_over_its_lines() {
        let (ten, twenty) = (Some(rate(100, false)), Some(rate(200, false)));
        let list = [
            (9_500, ten),
            (4_750, None),
            (2_850, twenty),
            (1_900, twenty),
        ];
        assert_eq!(
            of(&list, TaxRounding::PerRate),
            (vec![950, 0, 570, 380], vec![(9_500, 950), (4_750, 950)])
        );
        let thirds = [(83, twenty); 3];
        assert_eq!(
            of(&thirds, TaxRounding::PerRate),
            (vec![17, 17, 16], vec![(249, 50)])
        );
        assert_eq!(
            of(&thirds, TaxRounding::PerLine),
            (vec![17, 17, 17], vec![(249, 51)])
        );
        let credit = [(83, twenty), (-83, twenty), (-83, twenty)];
        assert_eq!(
            of(&credit, TaxRounding::PerRate),
            (vec![17, -17, -17], vec![(-83, -17)])
        );
    }

    #[test]
    fn an_inclusive_tax_is_taken_out_of_the_amount() {
        let (contained, added) = (Some(rate(200, true)), Some(rate(200, false)));
        let list = [(1_200, contained), (100, contained), (100, added)];
        assert_eq!(
            of(&list, TaxRounding::PerRate),
            (vec![200, 17, 20], vec![(1_083, 217), (100, 20)])
        );
        let taxes = taxes(
            Currency::EUR,
            &lines(&list),
            TaxRounding::PerRate,
            Rounding::HalfUp,
        )
        .unwrap();
        assert_eq!(taxes.total(Currency::EUR), Ok(eur(237)));
        assert_eq!(taxes.contained(Currency::EUR), Ok(eur(217)));
    }

    #[test]
    fn a_line_in_another_currency_is_refused() {
        let error = taxes(
            Currency::USD,
            &lines(&[(1, None)]),
            TaxRounding::PerRate,
            Rounding::HalfUp,
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "tax: amounts in USD and EUR cannot be combined; convert one of them first"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn taxes_of_lines_sum_to_the_tax_of_the_invoice(
            list in prop::collection::vec((-1_000_000_i64..1_000_000, 0_usize..4), 0..8),
            per_line in any::<bool>(),
        ) {
            let rates = [None, Some(rate(200, false)), Some(rate(77, false)), Some(rate(200, true))];
            let list: Vec<_> = list.into_iter().map(|(minor, rate)| (minor, rates[rate])).collect();
            let policy = if per_line { TaxRounding::PerLine } else { TaxRounding::PerRate };
            let taxes = taxes(Currency::EUR, &lines(&list), policy, Rounding::HalfUp).unwrap();
            let sum = Money::sum(Currency::EUR, taxes.lines.iter().copied()).unwrap();
            prop_assert_eq!(taxes.total(Currency::EUR), Ok(sum));
            for ((minor, rate), tax) in list.iter().zip(&taxes.lines) {
                let exact = rate.map_or(eur(0), |rate| tax_of(eur(*minor), rate, Rounding::HalfUp).unwrap());
                prop_assert!((exact.minor() - tax.minor()).abs() <= 1);
            }
        }
    }
}

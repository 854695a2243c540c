//! Corrections of what was billed already: the cumulative amount minus what was billed.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::money::{Currency, Money, MoneyError, Rounding};
use super::pricing::{PriceModel, PricingError};
use super::proration::{Fraction, ProrationError};

/// A broken rule about corrections.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RerateError {
    /// More was billed than there are periods.
    #[error(
        "{billed} periods are billed and {known} are known; give the cumulative amount of each"
    )]
    Periods {
        /// How many amounts were billed.
        billed: usize,
        /// How many cumulative amounts were given.
        known: usize,
    },
    /// More was credited than was billed.
    #[error("credited {credited} must not be more than billed {billed}")]
    Credited {
        /// What was billed.
        billed: Money,
        /// What was credited.
        credited: Money,
    },
    /// A quantity without a price.
    #[error("correction: {0}")]
    Pricing(#[from] PricingError),
    /// A part of a period that is none.
    #[error("correction: {0}")]
    Proration(#[from] ProrationError),
    /// An amount that breaks a rule of money.
    #[error("correction: {0}")]
    Money(#[from] MoneyError),
}

/// What a period was billed for so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Billed {
    /// The quantity of the last run.
    pub quantity: Decimal,
    /// The sum of all runs.
    pub amount: Money,
}

/// What corrects a bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RerateLines {
    /// Nothing changed.
    None,
    /// One line for the difference.
    Delta {
        /// The difference; negative for a credit.
        amount: Money,
    },
    /// Two lines, since another tier prices what was billed already.
    Rebooking {
        /// What was billed, negated.
        reversal: Money,
        /// The cumulative amount.
        rebooking: Money,
    },
}

impl RerateLines {
    /// The sum of the lines.
    ///
    /// # Errors
    /// `Money` for a sum that is too large.
    pub fn net(self, currency: Currency) -> Result<Money, RerateError> {
        Ok(match self {
            Self::None => Money::zero(currency)?,
            Self::Delta { amount } => amount,
            Self::Rebooking {
                reversal,
                rebooking,
            } => reversal.checked_add(rebooking)?,
        })
    }
}

/// The price of a period's usage while it is still coming in.
///
/// Every run computes the cumulative amount, rounded, and bills what it is more than was billed. So
/// the runs of a period sum to its rounded amount, however many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rerating<'m> {
    model: &'m PriceModel,
    currency: Currency,
    rounding: Rounding,
    maximum: Option<Money>,
}

impl<'m> Rerating<'m> {
    /// By a model, in a currency.
    #[must_use]
    pub fn new(model: &'m PriceModel, currency: Currency, rounding: Rounding) -> Self {
        Self {
            model,
            currency,
            rounding,
            maximum: None,
        }
    }

    /// The same with a most that the period costs.
    #[must_use]
    pub fn with_maximum(mut self, maximum: Money) -> Self {
        self.maximum = Some(maximum);
        self
    }

    /// The cumulative amount of a quantity.
    ///
    /// # Errors
    /// For a quantity without a price, and a maximum in another currency.
    pub fn cumulative(&self, quantity: Decimal) -> Result<Money, RerateError> {
        let amount = self.model.price(quantity, self.currency, self.rounding)?;
        Ok(match self.maximum {
            Some(maximum) => amount.min(maximum)?,
            None => amount,
        })
    }

    /// What is due now that the quantity is known, given what was billed.
    ///
    /// # Errors
    /// As [`Self::cumulative`], and for an amount billed in another currency.
    pub fn delta(&self, quantity: Decimal, billed: Money) -> Result<Money, RerateError> {
        Ok(self.cumulative(quantity)?.checked_sub(billed)?)
    }

    /// As [`Self::delta`], never below nothing: for runs that bill late usage and leave credits to
    /// credit notes.
    ///
    /// # Errors
    /// As [`Self::delta`].
    pub fn late_charge(&self, quantity: Decimal, billed: Money) -> Result<Money, RerateError> {
        let delta = self.delta(quantity, billed)?;
        Ok(delta.max(billed.with_minor(0))?)
    }

    /// The lines that correct a bill. Where the quantity moved to another tier of a model that
    /// then prices all units anew, what was billed is reversed and the whole booked again.
    ///
    /// # Errors
    /// As [`Self::delta`].
    pub fn lines(&self, quantity: Decimal, billed: Billed) -> Result<RerateLines, RerateError> {
        let delta = self.delta(quantity, billed.amount)?;
        let moved = self.model.reprices()
            && self.model.tier_of(quantity) != self.model.tier_of(billed.quantity);
        Ok(if delta.is_zero() {
            RerateLines::None
        } else if moved && !billed.amount.is_zero() {
            RerateLines::Rebooking {
                reversal: billed.amount.checked_neg()?,
                rebooking: billed.amount.checked_add(delta)?,
            }
        } else {
            RerateLines::Delta { amount: delta }
        })
    }
}

/// A line of a run, with the period that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PeriodLine {
    /// The number of the period, from 1.
    pub period: usize,
    /// What is due; negative for a credit.
    pub amount: Money,
    /// The number of the run that billed the period first, from 1; `None` for a period that is
    /// billed for the first time.
    pub corrects: Option<usize>,
}

/// The lines of a run over consecutive periods that share their tiers: late usage is billed in the
/// period in which it happened, as a correction of the run that billed it.
///
/// `cumulative` has the amount of all usage up to the end of each period, as it is known now;
/// `billed` what was billed for each period before this run, whose first run has its number.
///
/// # Errors
/// `Periods` when more periods are billed than known; `Money` for two currencies.
pub fn period_lines(
    cumulative: &[Money],
    billed: &[Money],
) -> Result<Vec<PeriodLine>, RerateError> {
    if billed.len() > cumulative.len() {
        return Err(RerateError::Periods {
            billed: billed.len(),
            known: cumulative.len(),
        });
    }
    let mut lines = Vec::new();
    let mut before: Option<Money> = None;
    for (index, amount) in cumulative.iter().enumerate() {
        let mut due = *amount;
        if let Some(before) = before {
            due = due.checked_sub(before)?;
        }
        before = Some(*amount);
        let first = billed.get(index);
        if let Some(billed) = first {
            due = due.checked_sub(*billed)?;
        }
        if !due.is_zero() {
            lines.push(PeriodLine {
                period: index + 1,
                amount: due,
                corrects: first.map(|_| index + 1),
            });
        }
    }
    Ok(lines)
}

/// What is credited for the rest of a period that was paid and is not used: the part of the price,
/// but never more than was billed for the period and is not credited yet.
///
/// Without tax: that is computed from the credit, as it is from a line.
///
/// # Errors
/// `Credited` where more is credited than was billed; for two currencies.
pub fn unused_credit(
    price: Money,
    unused: Fraction,
    billed: Money,
    credited: Money,
    rounding: Rounding,
) -> Result<Money, RerateError> {
    let left = billed.checked_sub(credited)?;
    if left.is_negative() {
        return Err(RerateError::Credited { billed, credited });
    }
    Ok(unused.of(price, rounding)?.min(left)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::pricing::{Tier, Tiers};

    fn eur(minor: i64) -> Money {
        Money::new(minor, Currency::EUR).unwrap()
    }

    fn volume() -> PriceModel {
        let tiers = vec![Tier::up_to(15.into(), 10.into()), Tier::open(5.into())];
        PriceModel::Volume(Tiers::new(tiers).unwrap())
    }

    #[test]
    fn a_tier_that_prices_all_units_anew_is_rebooked() {
        let model = volume();
        let rerating = Rerating::new(&model, Currency::EUR, Rounding::HalfUp);
        let billed = Billed {
            quantity: 15.into(),
            amount: eur(15_000),
        };
        let crossed = rerating.lines(16.into(), billed).unwrap();
        assert_eq!(
            crossed,
            RerateLines::Rebooking {
                reversal: eur(-15_000),
                rebooking: eur(8_000),
            }
        );
        assert_eq!(crossed.net(Currency::EUR), Ok(eur(-7_000)));
        assert_eq!(
            rerating.lines(14.into(), billed),
            Ok(RerateLines::Delta {
                amount: eur(-1_000)
            })
        );
        assert_eq!(rerating.lines(15.into(), billed), Ok(RerateLines::None));
        assert_eq!(rerating.late_charge(14.into(), eur(15_000)), Ok(eur(0)));
    }

    #[test]
    fn late_usage_stays_in_its_period() {
        let cumulative = [eur(40), eur(60), eur(90)];
        let lines = period_lines(&cumulative, &[eur(30), eur(20)]).unwrap();
        let told: Vec<_> = lines
            .iter()
            .map(|line| (line.period, line.amount.minor(), line.corrects))
            .collect();
        assert_eq!(told, [(1, 10, Some(1)), (3, 30, None)]);
        assert_eq!(
            period_lines(&[], &[eur(1)]).unwrap_err().to_string(),
            "1 periods are billed and 0 are known; give the cumulative amount of each"
        );
    }

    #[test]
    fn no_more_is_credited_than_was_billed() {
        let unused = "24/31".parse().unwrap();
        let credit = |billed, credited| {
            unused_credit(
                eur(1_500),
                unused,
                eur(billed),
                eur(credited),
                Rounding::HalfUp,
            )
        };
        assert_eq!(credit(1_500, 0), Ok(eur(1_161)));
        assert_eq!(credit(1_161, 1_000), Ok(eur(161)));
        assert_eq!(
            credit(100, 200).unwrap_err().to_string(),
            "credited EUR 2.00 must not be more than billed EUR 1.00"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn runs_sum_to_the_rounded_amount(
            unit in 0_i64..100_000,
            snapshots in prop::collection::vec(0_i64..1_000_000, 1..8),
            by_volume in any::<bool>(),
        ) {
            let unit = Decimal::new(unit, 5);
            let model = if by_volume {
                let tiers = vec![Tier::up_to(500.into(), unit), Tier::open(unit / Decimal::TWO)];
                PriceModel::Volume(Tiers::new(tiers).unwrap())
            } else {
                PriceModel::PerUnit(crate::domain::pricing::UnitPrice::new(unit).unwrap())
            };
            let rerating = Rerating::new(&model, Currency::EUR, Rounding::HalfUp);
            let mut billed = Billed { quantity: Decimal::ZERO, amount: eur(0) };
            for snapshot in &snapshots {
                let quantity = Decimal::new(*snapshot, 3);
                let delta = rerating.delta(quantity, billed.amount).unwrap();
                let lines = rerating.lines(quantity, billed).unwrap();
                prop_assert_eq!(lines.net(Currency::EUR), Ok(delta));
                billed = Billed { quantity, amount: billed.amount.checked_add(delta).unwrap() };
            }
            let whole = model.price(billed.quantity, Currency::EUR, Rounding::HalfUp).unwrap();
            prop_assert_eq!(billed.amount, whole);
        }

        #[test]
        fn credits_never_exceed_what_was_billed(
            price in 0_i64..1_000_000,
            billed in 0_i64..1_000_000,
            parts in prop::collection::vec(0_i64..=31, 0..6),
        ) {
            let mut credited = eur(0);
            for part in parts {
                let unused = Fraction::new(part, 31).unwrap();
                let credit = unused_credit(eur(price), unused, eur(billed), credited, Rounding::HalfUp).unwrap();
                prop_assert!(!credit.is_negative());
                credited = credited.checked_add(credit).unwrap();
            }
            prop_assert!(credited.minor() <= billed);
        }
    }
}

//! Commitments: the least and the most that a billing period costs.

use serde::{Deserialize, Serialize};

use super::money::{Money, MoneyError, Rounding};
use super::proration::{Fraction, ProrationError};

/// A broken rule about commitments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitmentError {
    /// A bound below nothing.
    #[error("{field} {amount} must not be negative")]
    Negative {
        /// The field.
        field: &'static str,
        /// What was given.
        amount: Money,
    },
    /// A least amount above the greatest.
    #[error("minimum {minimum} must not be greater than maximum {maximum}")]
    MinimumAboveMaximum {
        /// The least amount.
        minimum: Money,
        /// The greatest amount.
        maximum: Money,
    },
    /// A part of a period that is none.
    #[error("commitment: {0}")]
    Proration(#[from] ProrationError),
    /// An amount that breaks a rule of money.
    #[error("commitment: {0}")]
    Money(#[from] MoneyError),
}

/// The least and the most that a billing period costs, before discounts and taxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "CommitmentFields")]
pub struct Commitment {
    minimum: Option<Money>,
    maximum: Option<Money>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommitmentFields {
    #[serde(default)]
    minimum: Option<Money>,
    #[serde(default)]
    maximum: Option<Money>,
}

impl TryFrom<CommitmentFields> for Commitment {
    type Error = CommitmentError;

    fn try_from(fields: CommitmentFields) -> Result<Self, CommitmentError> {
        Self::new(fields.minimum, fields.maximum)
    }
}

impl Commitment {
    /// Checks the bounds.
    ///
    /// # Errors
    /// For a negative bound, a minimum above the maximum, and bounds in two currencies.
    pub fn new(minimum: Option<Money>, maximum: Option<Money>) -> Result<Self, CommitmentError> {
        for (field, bound) in [("minimum", minimum), ("maximum", maximum)] {
            if let Some(amount) = bound.filter(|bound| bound.is_negative()) {
                return Err(CommitmentError::Negative { field, amount });
            }
        }
        if let (Some(minimum), Some(maximum)) = (minimum, maximum)
            && minimum.max(maximum)? != maximum
        {
            return Err(CommitmentError::MinimumAboveMaximum { minimum, maximum });
        }
        Ok(Self { minimum, maximum })
    }

    /// The least amount.
    #[must_use]
    pub fn minimum(&self) -> Option<Money> {
        self.minimum
    }

    /// The most.
    #[must_use]
    pub fn maximum(&self) -> Option<Money> {
        self.maximum
    }

    /// The commitment for a part of a period: the minimum is prorated, the maximum is not.
    ///
    /// # Errors
    /// `Proration` for an amount that is too large.
    pub fn prorated(self, part: Fraction, rounding: Rounding) -> Result<Self, CommitmentError> {
        let minimum = self.minimum.map(|minimum| part.of(minimum, rounding));
        Ok(Self {
            minimum: minimum.transpose()?,
            ..self
        })
    }

    /// What is due beside the billed amount to reach the minimum: nothing before the last run of
    /// the period, since more may come.
    ///
    /// # Errors
    /// `Money` for an amount in another currency.
    pub fn true_up(self, billed: Money, final_run: bool) -> Result<Money, CommitmentError> {
        let nothing = billed.with_minor(0);
        match self.minimum {
            Some(minimum) if final_run => Ok(minimum.checked_sub(billed)?.max(nothing)?),
            _ => Ok(nothing),
        }
    }

    /// What each line is reduced by so that the period does not cost more than the maximum, given
    /// what earlier runs of the period billed.
    ///
    /// Lines fill what is left of the maximum in their order; a line below 0 makes room for those
    /// after it.
    ///
    /// # Errors
    /// `Money` for an amount in another currency, and for a sum that is too large.
    pub fn reductions(
        self,
        previously_billed: Money,
        lines: &[Money],
    ) -> Result<Vec<Money>, CommitmentError> {
        let nothing = previously_billed.with_minor(0);
        let Some(maximum) = self.maximum else {
            return Ok(vec![nothing; lines.len()]);
        };
        let mut room = maximum.checked_sub(previously_billed)?;
        let mut reductions = Vec::with_capacity(lines.len());
        for line in lines {
            let over = line.checked_sub(room.max(nothing)?)?;
            let reduction = over.max(nothing)?.min(line.max(nothing)?)?;
            room = room.checked_sub(line.checked_sub(reduction)?)?;
            reductions.push(reduction);
        }
        Ok(reductions)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::money::Currency;

    fn eur(minor: i64) -> Money {
        Money::new(minor, Currency::EUR).unwrap()
    }

    fn most(minor: i64) -> Commitment {
        Commitment::new(None, Some(eur(minor))).unwrap()
    }

    #[test]
    fn the_minimum_is_reached_in_the_last_run_and_prorated() {
        let least = Commitment::new(Some(eur(1_000)), None).unwrap();
        assert_eq!(least.true_up(eur(700), true), Ok(eur(300)));
        assert_eq!(least.true_up(eur(700), false), Ok(eur(0)));
        assert_eq!(least.true_up(eur(1_700), true), Ok(eur(0)));
        let part = least
            .prorated("24/31".parse().unwrap(), Rounding::HalfUp)
            .unwrap();
        assert_eq!(part.true_up(eur(700), true), Ok(eur(74)));
    }

    #[test]
    fn lines_fill_the_maximum_in_order() {
        let reductions = |billed, lines: &[i64]| {
            let lines: Vec<_> = lines.iter().copied().map(eur).collect();
            let reductions = most(170).reductions(eur(billed), &lines).unwrap();
            reductions.into_iter().map(Money::minor).collect::<Vec<_>>()
        };
        assert_eq!(reductions(160, &[15, 7]), [5, 7]);
        assert_eq!(reductions(170, &[-5, 7]), [0, 2]);
        assert_eq!(reductions(200, &[10, -50, 30]), [10, 0, 10]);
    }

    #[test]
    fn bounds_that_make_no_sense_are_refused() {
        for (minimum, maximum, message) in [
            (Some(-1), None, "minimum EUR -0.01 must not be negative"),
            (
                Some(2),
                Some(1),
                "minimum EUR 0.02 must not be greater than maximum EUR 0.01",
            ),
        ] {
            let error = Commitment::new(minimum.map(eur), maximum.map(eur)).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
        let dollars = Money::new(5, Currency::USD).unwrap();
        assert!(most(1).reductions(dollars, &[]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_period_never_costs_more_than_its_maximum(
            maximum in 0_i64..10_000,
            billed in 0_i64..10_000,
            lines in prop::collection::vec(0_i64..5_000, 0..6),
        ) {
            let lines: Vec<_> = lines.into_iter().map(eur).collect();
            let reductions = most(maximum).reductions(eur(billed), &lines).unwrap();
            let mut sum = billed;
            for (line, reduction) in lines.iter().zip(&reductions) {
                prop_assert!((0..=line.minor()).contains(&reduction.minor()));
                sum += line.minor() - reduction.minor();
            }
            prop_assert!(sum <= maximum.max(billed));
            let due: i64 = lines.iter().map(|line| line.minor()).sum();
            prop_assert_eq!(sum, (billed + due).min(maximum.max(billed)), "and no less than it could");
        }
    }
}

//! Splitting an amount so that the parts sum to it.

use rust_decimal::Decimal;

use super::wide::mul_div_rem;
use super::{ExactAmount, Money, MoneyError, shift};

impl Money {
    /// The amount split by weights, by the method of the largest remainder: every share gets the
    /// whole minor units that are its own, and those left go one each to the largest remainders,
    /// ties to the earlier one.
    ///
    /// The shares sum to the amount. A weight of 0 gets nothing, and the shares of a negative
    /// amount are those of the positive one, negated. No weights, or only zeros, can share
    /// nothing: an amount of 0.
    ///
    /// ```
    /// use rust_decimal::Decimal;
    /// use tenantry::domain::money::{Currency, Money};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let shares = Money::new(5, Currency::USD)?.allocate(&[Decimal::ONE; 3])?;
    /// assert_eq!(shares.iter().map(|share| share.minor()).collect::<Vec<_>>(), [2, 2, 1]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NegativeWeight`, `NoWeight`, and `WeightsTooFine` where the weights on one scale need more
    /// than 38 digits.
    pub fn allocate(self, weights: &[Decimal]) -> Result<Vec<Self>, MoneyError> {
        let scale = weights.iter().map(Decimal::scale).max().unwrap_or_default();
        let mut whole = Vec::with_capacity(weights.len());
        let mut total = 0_u128;
        for (index, weight) in weights.iter().enumerate() {
            if weight.is_sign_negative() && !weight.is_zero() {
                return Err(MoneyError::NegativeWeight {
                    number: index + 1,
                    value: *weight,
                });
            }
            let weight = shift(weight.mantissa(), scale - weight.scale())
                .ok_or(MoneyError::WeightsTooFine)?
                .unsigned_abs();
            total = total
                .checked_add(weight)
                .ok_or(MoneyError::WeightsTooFine)?;
            whole.push(weight);
        }
        if total == 0 {
            return if self.is_zero() {
                Ok(vec![self; weights.len()])
            } else {
                Err(MoneyError::NoWeight { amount: self })
            };
        }
        let amount = u128::from(self.minor().unsigned_abs());
        let parts: Option<Vec<_>> = whole
            .into_iter()
            .map(|weight| {
                let (floor, rest) = mul_div_rem(amount, weight, total)?;
                Some((i128::try_from(floor).ok()?, rest))
            })
            .collect();
        let shares = distribute(
            i128::from(self.minor()).abs(),
            parts.ok_or(MoneyError::WeightsTooFine)?,
        );
        let sign = if self.is_negative() { -1 } else { 1 };
        shares
            .into_iter()
            .map(|share| self.with_wide(sign * share))
            .collect()
    }
}

/// Whole parts that sum to the total: each is its floor, or one more for those of the largest
/// remainders.
fn distribute(total: i128, parts: Vec<(i128, u128)>) -> Vec<i128> {
    let floors: i128 = parts.iter().map(|(floor, _)| floor).sum();
    let left = usize::try_from(total - floors).unwrap_or_default();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    let remainder = |index: usize| parts.get(index).map_or(0, |(_, rest)| *rest);
    order.sort_by_key(|index| std::cmp::Reverse(remainder(*index)));
    let mut shares: Vec<i128> = parts.iter().map(|(floor, _)| *floor).collect();
    for index in order.into_iter().take(left) {
        if let Some(share) = shares.get_mut(index) {
            *share += 1;
        }
    }
    shares
}

/// The parts `numerators / denominator` of a total as whole minor units that sum to it.
///
/// The total is the sum of the parts, rounded in any way; the parts may have both signs. The
/// parts of a total below zero are those of its opposite, negated.
pub(crate) fn reconcile(
    total: Money,
    numerators: &[i128],
    denominator: i128,
) -> Result<Vec<Money>, MoneyError> {
    let sign = if total.is_negative() { -1 } else { 1 };
    let parts = numerators
        .iter()
        .map(|numerator| {
            let numerator = sign * numerator;
            let rest = numerator.rem_euclid(denominator);
            (numerator.div_euclid(denominator), rest.unsigned_abs())
        })
        .collect();
    distribute(sign * i128::from(total.minor()), parts)
        .into_iter()
        .map(|part| total.with_wide(sign * part))
        .collect()
}

/// As [`reconcile`], for parts that are exact amounts.
pub(crate) fn reconcile_exact(
    total: Money,
    parts: &[ExactAmount],
) -> Result<Vec<Money>, MoneyError> {
    let minor = Money::with_minor(total, 1).to_major();
    let minor = ExactAmount::try_from(minor)?;
    let numerators: Vec<_> = parts.iter().map(|part| part.septillionths()).collect();
    reconcile(total, &numerators, minor.septillionths())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::money::{Currency, Rounding};

    fn shares(minor: i64, weights: &[&str]) -> Result<Vec<i64>, MoneyError> {
        let weights: Vec<Decimal> = weights.iter().map(|w| w.parse().unwrap()).collect();
        let amount = Money::new(minor, Currency::EUR).unwrap();
        Ok(amount
            .allocate(&weights)?
            .into_iter()
            .map(Money::minor)
            .collect())
    }

    #[test]
    fn remainders_go_to_the_largest_and_ties_to_the_first() {
        assert_eq!(shares(5, &["1", "1", "1"]), Ok(vec![2, 2, 1]));
        assert_eq!(shares(-5, &["1", "1", "1"]), Ok(vec![-2, -2, -1]));
        assert_eq!(shares(100, &["0.001", "0.002"]), Ok(vec![33, 67]));
        assert_eq!(shares(7, &["0", "1", "0", "1"]), Ok(vec![0, 4, 0, 3]));
        assert_eq!(
            shares(i64::MIN, &["79228162514264337593543950335", "1e-9"]),
            Ok(vec![i64::MIN, 0])
        );
    }

    #[test]
    fn what_cannot_be_split_says_why() {
        assert_eq!(shares(0, &["0", "0"]), Ok(vec![0, 0]));
        assert_eq!(shares(0, &[]), Ok(vec![]));
        for (weights, message) in [
            (
                &["0"][..],
                "EUR 0.01 cannot be split: at least one weight must be greater than 0",
            ),
            (&["1", "-2"][..], "weight 2 is -2; it must not be negative"),
            (
                &["79228162514264337593543950335", "0.0000000000000000001"][..],
                "the weights have too many digits together to be compared exactly; round them first",
            ),
        ] {
            assert_eq!(shares(1, weights).unwrap_err().to_string(), message);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn shares_sum_to_the_amount_and_are_fair(
            minor in any::<i64>(),
            weights in prop::collection::vec((0_i64..=i64::MAX, 0_u32..=12), 1..8),
        ) {
            let weights: Vec<_> = weights.into_iter().map(|(m, s)| Decimal::new(m, s)).collect();
            prop_assume!(weights.iter().any(|weight| !weight.is_zero()));
            let amount = Money::new(minor, Currency::EUR).unwrap();
            let shares = amount.allocate(&weights).unwrap();
            prop_assert_eq!(Money::sum(Currency::EUR, shares.iter().copied()), Ok(amount));
            for ((share, weight), (other, less)) in shares.iter().zip(&weights)
                .flat_map(|one| shares.iter().zip(&weights).map(move |two| (one, two)))
            {
                prop_assert!(i128::from(share.minor()) * i128::from(minor) >= 0, "a share has the amount's sign");
                prop_assert!(!weight.is_zero() || share.is_zero());
                prop_assert!(weight <= less || share.minor().unsigned_abs() + 1 >= other.minor().unsigned_abs());
            }
        }

        #[test]
        fn parts_of_both_signs_sum_to_their_rounded_sum(
            numerators in prop::collection::vec(-1_000_000_i128..=1_000_000, 0..8),
            denominator in 1_i128..=1_000,
        ) {
            let rounded = Rounding::HalfUp.div(numerators.iter().sum(), denominator);
            let total = Money::zero(Currency::EUR).unwrap().with_wide(rounded).unwrap();
            let parts = reconcile(total, &numerators, denominator).unwrap();
            prop_assert_eq!(Money::sum(Currency::EUR, parts.iter().copied()), Ok(total));
            for (part, numerator) in parts.iter().zip(&numerators) {
                let off = i128::from(part.minor()) * denominator - numerator;
                prop_assert!(off.abs() < denominator, "no part is off by a whole unit");
            }
            let opposite: Vec<_> = numerators.iter().map(|numerator| -numerator).collect();
            if !total.is_zero() {
                let mirrored = reconcile(total.checked_neg().unwrap(), &opposite, denominator).unwrap();
                for (part, mirrored) in parts.iter().zip(mirrored) {
                    prop_assert_eq!(part.checked_neg(), Ok(mirrored));
                }
            }
        }
    }
}

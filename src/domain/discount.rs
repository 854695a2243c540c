//! Discounts: coupons on the subtotal of an invoice.

use serde::{Deserialize, Serialize};

use super::money::{Money, MoneyError, Rounding, mul_div};
use super::percent::Percent;

/// A broken rule about discounts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiscountError {
    /// A fixed discount of nothing, or one that would raise the price.
    #[error("amount_off {amount} must be greater than 0")]
    NotPositive {
        /// What was given.
        amount: Money,
    },
    /// A percentage of nothing.
    #[error("percent_off must be greater than 0")]
    NoPercent,
    /// A repeating discount that never applies.
    #[error("duration_in_periods must be at least 1; use once for a single period")]
    NoPeriods,
    /// Percentages that together have too many digits.
    #[error(
        "{coupons} percentages have too many digits together to be exact; use fewer of them, or rounder ones"
    )]
    TooFine {
        /// How many there are.
        coupons: usize,
    },
    /// An amount that breaks a rule of money.
    #[error("discount: {0}")]
    Money(#[from] MoneyError),
}

/// What a coupon takes off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Off {
    /// A percentage of what percentages before it have left.
    PercentOff(Percent),
    /// An amount, in the currency of the invoice.
    AmountOff(Money),
}

/// For how many billing periods a coupon applies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "duration", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CouponDuration {
    /// The first only. The default.
    #[default]
    Once,
    /// So many from the first on.
    Repeating {
        /// How many.
        duration_in_periods: u32,
    },
    /// All of them.
    Forever,
}

/// A coupon: what it takes off, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "CouponFields")]
pub struct Coupon {
    #[serde(flatten)]
    off: Off,
    #[serde(flatten)]
    duration: CouponDuration,
}

#[derive(Deserialize)]
struct CouponFields {
    #[serde(flatten)]
    off: Off,
    #[serde(flatten)]
    duration: CouponDuration,
}

impl TryFrom<CouponFields> for Coupon {
    type Error = DiscountError;

    fn try_from(fields: CouponFields) -> Result<Self, DiscountError> {
        Self::new(fields.off, fields.duration)
    }
}

impl Coupon {
    /// Checks the coupon.
    ///
    /// # Errors
    /// For nothing off, and for no periods.
    pub fn new(off: Off, duration: CouponDuration) -> Result<Self, DiscountError> {
        match off {
            Off::AmountOff(amount) if amount.minor() <= 0 => {
                return Err(DiscountError::NotPositive { amount });
            }
            Off::PercentOff(percent) if percent.parts() == 0 => {
                return Err(DiscountError::NoPercent);
            }
            _ => {}
        }
        if duration
            == (CouponDuration::Repeating {
                duration_in_periods: 0,
            })
        {
            return Err(DiscountError::NoPeriods);
        }
        Ok(Self { off, duration })
    }

    /// What it takes off.
    #[must_use]
    pub fn off(&self) -> Off {
        self.off
    }

    /// For how long.
    #[must_use]
    pub fn duration(&self) -> CouponDuration {
        self.duration
    }

    /// Whether it applies to a billing period, counted from 0 for the first that it could.
    #[must_use]
    pub fn applies_to(&self, period: u32) -> bool {
        match self.duration {
            CouponDuration::Once => period == 0,
            CouponDuration::Repeating {
                duration_in_periods,
            } => period < duration_in_periods,
            CouponDuration::Forever => true,
        }
    }
}

/// What coupons take off a subtotal, one amount per coupon in their order.
///
/// Percentages come first, each of what those before it have left, and fixed amounts after them, as
/// far as anything is left: the sum is never more than the subtotal. Their sum is rounded as one,
/// so that it does not depend on the order of the coupons; what each takes is the difference that
/// it makes. Nothing is taken off a subtotal of 0 or below.
///
/// ```
/// use tenantry::domain::discount::{Coupon, CouponDuration, Off, discounts};
/// use tenantry::domain::money::{Currency, Money, Rounding};
/// use tenantry::domain::percent::Percent;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let percent = |n: i64| Coupon::new(Off::PercentOff(Percent::new(n.into())?), CouponDuration::Once)
///     .map_err(Box::<dyn std::error::Error>::from);
/// let subtotal = Money::new(10_000, Currency::EUR)?;
/// let off = discounts(subtotal, &[percent(10)?, percent(25)?], Rounding::HalfUp)?;
/// assert_eq!(off.iter().map(|off| off.minor()).collect::<Vec<_>>(), [1_000, 2_250]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `Money` for a fixed amount in another currency; `TooFine` for more percentages with many
/// decimal places than can be multiplied exactly (four with six places, or more rounder ones).
pub fn discounts(
    subtotal: Money,
    coupons: &[Coupon],
    rounding: Rounding,
) -> Result<Vec<Money>, DiscountError> {
    let mut off = vec![subtotal.with_minor(0); coupons.len()];
    for coupon in coupons {
        if let Off::AmountOff(amount) = coupon.off {
            subtotal.alike(amount)?;
        }
    }
    if subtotal.minor() <= 0 {
        return Ok(off);
    }
    let mut left = Left::all(coupons.len());
    let mut taken = 0_i64;
    for (coupon, off) in coupons.iter().zip(&mut off) {
        if let Off::PercentOff(percent) = coupon.off {
            left = left.less(percent)?;
            let so_far = left.taken(subtotal, rounding)?.minor();
            *off = subtotal.with_minor(so_far - taken);
            taken = so_far;
        }
    }
    for (coupon, off) in coupons.iter().zip(&mut off) {
        if let Off::AmountOff(amount) = coupon.off {
            let amount = amount.minor().min(subtotal.minor() - taken);
            *off = subtotal.with_minor(amount);
            taken += amount;
        }
    }
    Ok(off)
}

/// The fraction that percentages have left, in lowest terms.
#[derive(Clone, Copy)]
struct Left {
    numerator: i128,
    denominator: i128,
    coupons: usize,
}

impl Left {
    fn all(coupons: usize) -> Self {
        Self {
            numerator: 1,
            denominator: 1,
            coupons,
        }
    }

    fn less(self, percent: Percent) -> Result<Self, DiscountError> {
        let (mut above, mut below) = (Percent::WHOLE - percent.parts(), Percent::WHOLE);
        let (mut numerator, mut denominator) = (self.numerator, self.denominator);
        for (above, below) in [(&mut above, &mut denominator), (&mut numerator, &mut below)] {
            let divisor = gcd(*above, *below);
            (*above, *below) = (*above / divisor, *below / divisor);
        }
        let divisor = gcd(above, below);
        let (above, below) = (above / divisor, below / divisor);
        numerator
            .checked_mul(above)
            .zip(denominator.checked_mul(below))
            .map(|(numerator, denominator)| Self {
                numerator,
                denominator,
                ..self
            })
            .ok_or(DiscountError::TooFine {
                coupons: self.coupons,
            })
    }

    fn taken(self, subtotal: Money, rounding: Rounding) -> Result<Money, DiscountError> {
        let taken = self.denominator - self.numerator;
        let minor = mul_div(subtotal.minor().into(), taken, self.denominator, rounding);
        Ok(subtotal.with_wide(minor.ok_or(DiscountError::TooFine {
            coupons: self.coupons,
        })?)?)
    }
}

/// The greatest common divisor; one of both is not 0.
fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// A discount spread over the lines it was given for, by largest remainder: lines of 0 or below get
/// none of it, and no line gets more than it has.
///
/// # Errors
/// `Money` for an amount in another currency, and for a discount on no line above 0.
pub fn spread(discount: Money, lines: &[Money]) -> Result<Vec<Money>, DiscountError> {
    let mut weights = Vec::with_capacity(lines.len());
    for line in lines {
        discount.alike(*line)?;
        weights.push(line.minor().max(0).into());
    }
    Ok(discount.allocate(&weights)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    use super::*;
    use crate::domain::money::Currency;

    fn eur(minor: i64) -> Money {
        Money::new(minor, Currency::EUR).unwrap()
    }

    fn percent(text: &str) -> Coupon {
        let percent = Percent::new(text.parse().unwrap()).unwrap();
        Coupon::new(Off::PercentOff(percent), CouponDuration::Forever).unwrap()
    }

    fn fixed(minor: i64) -> Coupon {
        Coupon::new(Off::AmountOff(eur(minor)), CouponDuration::Forever).unwrap()
    }

    fn off(subtotal: i64, coupons: &[Coupon]) -> Vec<i64> {
        let off = discounts(eur(subtotal), coupons, Rounding::HalfUp).unwrap();
        off.into_iter().map(Money::minor).collect()
    }

    #[test]
    fn percentages_come_first_and_nothing_goes_below_zero() {
        assert_eq!(off(10_000, &[fixed(8_000), percent("50")]), [5_000, 5_000]);
        assert_eq!(off(10_000, &[fixed(8_000), fixed(5_000)]), [8_000, 2_000]);
        assert_eq!(
            off(10_000, &[percent("100"), percent("10"), fixed(1)]),
            [10_000, 0, 0]
        );
        assert_eq!(off(0, &[percent("10"), fixed(1)]), [0, 0]);
        assert_eq!(off(-100, &[percent("10"), fixed(1)]), [0, 0]);
    }

    #[test]
    fn a_coupon_lasts_as_long_as_it_says() {
        let applies = |duration| {
            let coupon = Coupon::new(Off::AmountOff(eur(1)), duration).unwrap();
            (0..4).filter(|period| coupon.applies_to(*period)).count()
        };
        assert_eq!(applies(CouponDuration::Once), 1);
        let three = CouponDuration::Repeating {
            duration_in_periods: 3,
        };
        assert_eq!((applies(three), applies(CouponDuration::Forever)), (3, 4));
    }

    #[test]
    fn a_coupon_reads_writes_and_says_what_is_wrong() {
        for json in [
            serde_json::json!({"percent_off": "12.5", "duration": "forever"}),
            serde_json::json!({"amount_off": {"minor": 500, "currency": "EUR"},
                "duration": "repeating", "duration_in_periods": 3}),
        ] {
            let coupon: Coupon = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(serde_json::to_value(coupon).unwrap(), json);
        }
        for (json, message) in [
            (
                r#"{"percent_off": "0", "duration": "once"}"#,
                "percent_off must be greater than 0",
            ),
            (
                r#"{"amount_off": {"minor": 0, "currency": "EUR"}, "duration": "once"}"#,
                "amount_off EUR 0.00 must be greater than 0",
            ),
            (
                r#"{"percent_off": "1", "duration": "repeating", "duration_in_periods": 0}"#,
                "duration_in_periods must be at least 1; use once for a single period",
            ),
        ] {
            let error = serde_json::from_str::<Coupon>(json)
                .unwrap_err()
                .to_string();
            assert!(error.starts_with(message), "{error}");
        }
        let dollars = Money::new(100, Currency::USD).unwrap();
        assert_eq!(
            discounts(dollars, &[fixed(1)], Rounding::HalfUp)
                .unwrap_err()
                .to_string(),
            "discount: amounts in USD and EUR cannot be combined; convert one of them first"
        );
        let fine = [percent("33.333331"); 9];
        assert_eq!(
            discounts(eur(100), &fine, Rounding::HalfUp)
                .unwrap_err()
                .to_string(),
            "9 percentages have too many digits together to be exact; use fewer of them, or rounder ones"
        );
    }

    #[test]
    fn a_discount_is_spread_over_lines_that_cost_something() {
        let lines = [eur(10_000), eur(-500), eur(5_000), eur(0)];
        let parts = spread(eur(1_000), &lines).unwrap();
        assert_eq!(parts, [eur(667), eur(0), eur(333), eur(0)]);
        assert!(spread(eur(1), &[eur(0)]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn coupons_commute(
            subtotal in 0_i64..=1_000_000_000_000,
            percents in prop::collection::vec(1_i64..=10_000, 0..5),
            amounts in prop::collection::vec(1_i64..=1_000_000_000, 0..4),
            seed in any::<u64>(),
        ) {
            let mut coupons: Vec<_> = percents
                .iter()
                .map(|percent| {
                    let percent = Percent::new(Decimal::new(*percent, 2)).unwrap();
                    Coupon::new(Off::PercentOff(percent), CouponDuration::Once).unwrap()
                })
                .chain(amounts.iter().map(|amount| fixed(*amount)))
                .collect();
            let sum = |coupons: &[Coupon]| off(subtotal, coupons).iter().sum::<i64>();
            let first = sum(&coupons);
            prop_assert!((0..=subtotal).contains(&first));
            prop_assert!(off(subtotal, &coupons).iter().all(|off| *off >= 0));
            let turn = usize::try_from(seed % 7).unwrap() % coupons.len().max(1);
            coupons.rotate_left(turn);
            prop_assert_eq!(sum(&coupons), first);
            coupons.reverse();
            prop_assert_eq!(sum(&coupons), first);
        }

        #[test]
        fn no_line_gets_more_off_than_it_costs(
            lines in prop::collection::vec(-1_000_i64..1_000_000, 1..8),
            share in 0_i64..=100,
        ) {
            let lines: Vec<_> = lines.into_iter().map(eur).collect();
            let most: i64 = lines.iter().map(|line| line.minor().max(0)).sum();
            let discount = eur(most * share / 100);
            let parts = spread(discount, &lines).unwrap();
            prop_assert_eq!(Money::sum(Currency::EUR, parts.iter().copied()), Ok(discount));
            for (part, line) in parts.iter().zip(&lines) {
                prop_assert!((0..=line.minor().max(0)).contains(&part.minor()));
            }
        }
    }
}

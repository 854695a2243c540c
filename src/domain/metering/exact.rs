//! Sums of quantities without rounding: whole numbers inside, decimals at the edges.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::domain::time::Period;

/// Decimal places of quantities and unit prices.
const SCALE: u32 = 12;
const ONE: i128 = 10_i128.pow(SCALE);
/// One more than the largest quantity: 16 digits before the decimal point.
const BOUND: i128 = ONE * 10_i128.pow(16);

/// A number as whole trillionths. `Decimal`'s own sums round once their digits run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Exact(i128);

impl Exact {
    /// The quantity; `None` outside of 16 digits before and 12 after the decimal point.
    pub(crate) fn of(quantity: Decimal) -> Option<Self> {
        let quantity = if quantity.scale() > SCALE {
            quantity.normalize()
        } else {
            quantity
        };
        let factor = 10_i128.pow(SCALE.checked_sub(quantity.scale())?);
        let trillionths = quantity.mantissa().checked_mul(factor)?;
        Some(Self(trillionths)).filter(|number| number.is_quantity())
    }

    /// Whether it has at most 16 digits before the decimal point.
    pub(crate) fn is_quantity(self) -> bool {
        self.0.abs() < BOUND
    }

    pub(crate) fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    pub(crate) fn trillionths(self) -> i128 {
        self.0
    }

    /// The number; `None` where a decimal cannot hold it.
    pub(crate) fn decimal(self) -> Option<Decimal> {
        let (mut mantissa, mut scale) = (self.0, SCALE);
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        Decimal::try_from_i128_with_scale(mantissa, scale).ok()
    }
}

/// So many trillionths.
impl From<i128> for Exact {
    fn from(trillionths: i128) -> Self {
        Self(trillionths)
    }
}

/// A sum of quantities, each times the microseconds it counts for.
///
/// Whole units and trillionths are summed apart, since a product of both does not fit: a petabyte
/// over a month is 10^39 trillionths of a byte times microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Weighted {
    whole: i128,
    trillionths: i128,
}

impl Weighted {
    pub(crate) fn plus(self, quantity: Exact, micros: i64) -> Option<Self> {
        let add = |sum: i128, part: i128| sum.checked_add(part.checked_mul(i128::from(micros))?);
        Some(Self {
            whole: add(self.whole, quantity.0 / ONE)?,
            trillionths: add(self.trillionths, quantity.0 % ONE)?,
        })
    }

    /// The mean over `micros`, which are positive; half a trillionth is rounded away from zero.
    pub(crate) fn mean(self, micros: i64) -> Option<Exact> {
        let micros = i128::from(micros);
        let rest = self.whole.rem_euclid(micros) * ONE;
        let rest = rest.checked_add(self.trillionths)?;
        let floor = self.whole.div_euclid(micros).checked_mul(ONE)?;
        let floor = floor.checked_add(rest.div_euclid(micros))?;
        let twice = rest.rem_euclid(micros) * 2;
        let up = twice > micros || (twice == micros && floor >= 0);
        Some(Exact(floor + i128::from(up)))
    }
}

/// The sums of whole units and of trillionths.
impl From<(i128, i128)> for Weighted {
    fn from((whole, trillionths): (i128, i128)) -> Self {
        Self { whole, trillionths }
    }
}

/// The microseconds of the period that are left at the instant: all of them before its start.
pub(crate) fn micros_left(period: Period, instant: DateTime<Utc>) -> i64 {
    let from = instant.max(period.start());
    (period.end() - from).num_microseconds().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn the_bounds_are_sixteen_and_twelve_digits() {
        let largest = d("9999999999999999.999999999999");
        assert_eq!(Exact::of(largest).unwrap().decimal(), Some(largest));
        assert_eq!(Exact::of(d("10000000000000000")), None);
        assert_eq!(Exact::of(d("0.0000000000001")), None);
        assert_eq!(
            Exact::of(d("1.50000000000000")).unwrap().decimal(),
            Some(d("1.5")),
            "zeros do not count"
        );
    }

    #[test]
    fn sums_do_not_round() {
        let large = Exact::of(d("9999999999999999")).unwrap();
        let tiny = Exact::of(d("0.000000000001")).unwrap();
        let mut sum = tiny;
        for _ in 0..1_000 {
            sum = sum.plus(large).unwrap();
        }
        for _ in 0..1_000 {
            sum = sum.plus(Exact(-large.0)).unwrap();
        }
        assert_eq!(sum, tiny);
    }

    #[test]
    fn a_mean_is_rounded_once_and_half_away_from_zero() {
        let mean = |quantity: &str, weight: i64, micros: i64| {
            let sum = Weighted::default().plus(Exact::of(d(quantity)).unwrap(), weight);
            sum.unwrap().mean(micros).unwrap().decimal().unwrap()
        };
        assert_eq!(mean("2500", 27, 31), d("2177.419354838710"));
        assert_eq!(mean("-2500", 27, 31), d("-2177.419354838710"));
        assert_eq!(mean("0.000000000005", 1, 2), d("0.000000000003"));
        assert_eq!(mean("-0.000000000005", 1, 2), d("-0.000000000003"));
        assert_eq!(mean("-0.000000000004", 1, 3), d("-0.000000000001"));
        assert_eq!(mean("1.000000000001", 1, 1), d("1.000000000001"));
    }

    #[test]
    fn a_mean_of_petabytes_over_years_fits() {
        let years = 10 * 366 * 86_400 * 1_000_000_i64;
        let mut sum = Weighted::default();
        for _ in 0..1_000 {
            sum = sum
                .plus(Exact::of(d("9999999999999999.5")).unwrap(), years)
                .unwrap();
        }
        assert_eq!(
            sum.mean(years).unwrap().decimal(),
            Some(d("9999999999999999500"))
        );
    }
}

//! How a number becomes a whole one.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// What happens to the part of a number that does not fit.
///
/// The names are those of `java.math.RoundingMode`, which billing systems share.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rounding {
    /// To the nearest; a half away from zero: 0.5 is 1, -0.5 is -1. The default.
    #[default]
    HalfUp,
    /// To the nearest; a half to the even one: 0.5 is 0, 1.5 is 2.
    HalfEven,
    /// To the nearest; a half towards zero: 0.5 is 0, -0.5 is 0.
    HalfDown,
    /// Away from zero: 0.1 is 1, -0.1 is -1.
    Up,
    /// Towards zero: 0.9 is 0, -0.9 is 0.
    Down,
    /// Towards positive infinity: 0.1 is 1, -0.9 is 0.
    Ceiling,
    /// Towards negative infinity: 0.9 is 0, -0.1 is -1.
    Floor,
}

impl Rounding {
    /// The number rounded to so many decimal places; a negative number of places rounds to tens,
    /// hundreds and so on.
    ///
    /// `None` where the result has more digits than a [`Decimal`] holds.
    ///
    /// ```
    /// use rust_decimal::Decimal;
    /// use tenantry::domain::money::Rounding;
    ///
    /// let (half, number) = (Decimal::new(-25, 1), Decimal::new(123_456, 3));
    /// assert_eq!(Rounding::HalfUp.round(half, 0), Some(Decimal::from(-3)));
    /// assert_eq!(Rounding::Ceiling.round(number, -2), Some(Decimal::from(200)));
    /// ```
    #[must_use]
    pub fn round(self, value: Decimal, places: i32) -> Option<Decimal> {
        let dropped = i32::try_from(value.scale()).ok()?.checked_sub(places)?;
        if dropped <= 0 {
            return Some(value);
        }
        // A mantissa has at most 29 digits: by 10^38 or more, it's less than a half.
        let divisor = power(dropped.unsigned_abs().min(38))?;
        let whole = self.div(value.mantissa(), divisor);
        match u32::try_from(places) {
            Ok(places) => Decimal::try_from_i128_with_scale(whole, places).ok(),
            Err(_) => shift(whole, places.unsigned_abs())
                .and_then(|whole| Decimal::try_from_i128_with_scale(whole, 0).ok()),
        }
    }

    /// `numerator / denominator` as a whole number. The denominator is positive.
    pub(crate) fn div(self, numerator: i128, denominator: i128) -> i128 {
        let floor = numerator.div_euclid(denominator);
        let rest = numerator.rem_euclid(denominator);
        if rest == 0 {
            return floor;
        }
        floor + i128::from(self.goes_up(numerator >= 0, floor & 1 == 0, rest, denominator - rest))
    }

    /// As [`Self::div`], for numbers of one machine word: the division costs a third.
    #[inline]
    pub(crate) fn div_word(self, numerator: u64, denominator: u64) -> u64 {
        let floor = numerator / denominator;
        let rest = numerator % denominator;
        let up = rest != 0 && self.goes_up(true, floor & 1 == 0, rest, denominator - rest);
        floor + u64::from(up)
    }

    /// Whether a number goes up to the next whole one, given how far it is above the one below
    /// and under the one above.
    pub(crate) fn goes_up<N: Ord>(self, positive: bool, even: bool, above: N, under: N) -> bool {
        let half = above.cmp(&under);
        match self {
            Self::HalfUp => half.is_gt() || (half.is_eq() && positive),
            Self::HalfEven => half.is_gt() || (half.is_eq() && !even),
            Self::HalfDown => half.is_gt() || (half.is_eq() && !positive),
            Self::Up => positive,
            Self::Down => !positive,
            Self::Ceiling => true,
            Self::Floor => false,
        }
    }
}

impl fmt::Display for Rounding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HalfUp => "half_up",
            Self::HalfEven => "half_even",
            Self::HalfDown => "half_down",
            Self::Up => "up",
            Self::Down => "down",
            Self::Ceiling => "ceiling",
            Self::Floor => "floor",
        })
    }
}

/// 10 to the power of `digits`; `None` above 38.
pub(crate) fn power(digits: u32) -> Option<i128> {
    10_i128.checked_pow(digits)
}

/// The number with so many zeros appended; `None` where it doesn't fit.
pub(crate) fn shift(number: i128, digits: u32) -> Option<i128> {
    number.checked_mul(power(digits)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODES: [Rounding; 7] = [
        Rounding::HalfUp,
        Rounding::HalfEven,
        Rounding::HalfDown,
        Rounding::Up,
        Rounding::Down,
        Rounding::Ceiling,
        Rounding::Floor,
    ];

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    /// The table of `java.math.RoundingMode`.
    #[test]
    fn every_mode_follows_its_table() {
        for (value, expected) in [
            ("5.5", [6, 6, 5, 6, 5, 6, 5]),
            ("2.5", [3, 2, 2, 3, 2, 3, 2]),
            ("1.6", [2, 2, 2, 2, 1, 2, 1]),
            ("1.1", [1, 1, 1, 2, 1, 2, 1]),
            ("1.0", [1, 1, 1, 1, 1, 1, 1]),
            ("-1.0", [-1, -1, -1, -1, -1, -1, -1]),
            ("-1.1", [-1, -1, -1, -2, -1, -1, -2]),
            ("-1.6", [-2, -2, -2, -2, -1, -1, -2]),
            ("-2.5", [-3, -2, -2, -3, -2, -2, -3]),
            ("-5.5", [-6, -6, -5, -6, -5, -5, -6]),
        ] {
            for (mode, expected) in MODES.into_iter().zip(expected) {
                assert_eq!(
                    mode.round(d(value), 0),
                    Some(Decimal::from(expected)),
                    "{value} {mode}"
                );
            }
        }
    }

    #[test]
    fn words_round_as_wide_numbers_do() {
        for mode in MODES {
            for numerator in 0..=45 {
                assert_eq!(
                    i128::from(mode.div_word(numerator, 10)),
                    mode.div(i128::from(numerator), 10),
                    "{numerator} {mode}"
                );
            }
        }
    }

    #[test]
    fn places_may_be_many_or_negative() {
        let up = Rounding::HalfUp;
        assert_eq!(up.round(d("123.456"), -2), Some(d("100")));
        assert_eq!(up.round(d("150"), -2), Some(d("200")));
        assert_eq!(up.round(d("1.5"), 20), Some(d("1.5")));
        assert_eq!(up.round(Decimal::MAX, -30), Some(Decimal::ZERO));
        assert_eq!(up.round(Decimal::MAX, -29), None, "10^29 does not fit");
        assert_eq!(
            Rounding::Ceiling.round(d("0.0000000000000000000000000001"), -20),
            Some(d("100000000000000000000"))
        );
    }

    #[test]
    fn names_are_stable() {
        for mode in MODES {
            let text = serde_json::to_value(mode).unwrap();
            assert_eq!(text, mode.to_string());
            assert_eq!(serde_json::from_value::<Rounding>(text).unwrap(), mode);
        }
    }
}

//! An amount before it is rounded.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Currency, Money, MoneyError, Rounding, power, shift};
use crate::domain::text::TextError;

/// Decimal places: those of a unit price and those of a quantity.
const SCALE: u32 = 24;
const ONE: i128 = 10_i128.pow(SCALE);

/// An amount in major units with 24 decimal places, before it is rounded to money.
///
/// A unit price has up to 12 places and so has a quantity: their product is exact here, where a
/// [`Decimal`] would round it without a word once its 28 digits run out. Amounts up to
/// 170,141,183,460,469 major units (2^127 / 10^24) can be held; more is an error where they are made.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct ExactAmount(i128);

impl ExactAmount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many septillionths (10^-24) of a major unit.
    pub(crate) const fn from_septillionths(number: i128) -> Self {
        Self(number)
    }

    /// The amount as a number with 24 decimal places.
    pub(crate) const fn septillionths(self) -> i128 {
        self.0
    }

    /// The sum; `None` where it is too large.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The amount as a decimal; `None` where it has more digits than a [`Decimal`] holds.
    #[must_use]
    pub fn to_decimal(self) -> Option<Decimal> {
        let (mut mantissa, mut scale) = (self.0, SCALE);
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        Decimal::try_from_i128_with_scale(mantissa, scale).ok()
    }

    /// The amount as money, rounded once.
    ///
    /// # Errors
    /// `NoMinorUnit` for a currency without one.
    pub fn round(self, currency: Currency, rounding: Rounding) -> Result<Money, MoneyError> {
        let money = Money::zero(currency)?;
        let places = currency.exponent().unwrap_or_default();
        let divisor = power(SCALE - places.min(SCALE)).unwrap_or(ONE);
        money.with_wide(rounding.div(self.0, divisor))
    }
}

/// `None` for more than 24 decimal places or too large an amount.
impl TryFrom<Decimal> for ExactAmount {
    type Error = TextError;

    fn try_from(amount: Decimal) -> Result<Self, TextError> {
        let normal = amount.normalize();
        SCALE
            .checked_sub(normal.scale())
            .and_then(|zeros| shift(normal.mantissa(), zeros))
            .map(Self)
            .ok_or_else(|| refused(&amount.to_string()))
    }
}

fn refused(text: &str) -> TextError {
    TextError::form(
        "amount",
        text,
        "a decimal number with at most 14 digits before and 24 after the decimal point",
    )
}

impl FromStr for ExactAmount {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let number = (plain(whole) && plain(fraction))
            .then(|| {
                let zeros = SCALE.checked_sub(u32::try_from(fraction.len()).ok()?)?;
                let whole = shift(whole.parse().ok()?, SCALE)?;
                whole.checked_add(shift(fraction.parse().ok()?, zeros)?)
            })
            .flatten();
        let number = number.ok_or_else(|| refused(text))?;
        Ok(Self(if negative { -number } else { number }))
    }
}

impl TryFrom<String> for ExactAmount {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        text.parse()
    }
}

impl From<ExactAmount> for String {
    fn from(amount: ExactAmount) -> Self {
        amount.to_string()
    }
}

/// All digits that it has, without zeros at the end.
impl fmt::Display for ExactAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let one = ONE.unsigned_abs();
        let (whole, rest) = (self.0.unsigned_abs() / one, self.0.unsigned_abs() % one);
        let fraction = format!("{rest:024}");
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{sign}{whole}"),
            fraction => write!(f, "{sign}{whole}.{fraction}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_digit_is_lost_on_the_way_to_text_and_back() {
        for text in [
            "0",
            "-0.5",
            "12.3",
            "170141183460469.231731687303715884105727",
            "0.000000000000000000000001",
        ] {
            let amount: ExactAmount = text.parse().unwrap();
            assert_eq!(amount.to_string(), text);
            let json = serde_json::to_string(&amount).unwrap();
            assert_eq!(serde_json::from_str::<ExactAmount>(&json).unwrap(), amount);
        }
        for text in ["", "-", "1.", ".5", "+1", "1e3", "1_0", "170141183460470"] {
            let error = text.parse::<ExactAmount>().unwrap_err().to_string();
            assert!(error.ends_with("24 after the decimal point"), "{error}");
        }
        assert!(
            "0.0000000000000000000000001"
                .parse::<ExactAmount>()
                .is_err()
        );
    }

    #[test]
    fn decimals_come_and_go() {
        let tiny: Decimal = "0.000000000000000000000001".parse().unwrap();
        let amount = ExactAmount::try_from(tiny).unwrap();
        assert_eq!((amount.0, amount.to_decimal()), (1, Some(tiny)));
        assert_eq!(ExactAmount(i128::MAX).to_decimal(), None);
        assert!(ExactAmount::try_from(Decimal::MAX).is_err());
    }

    #[test]
    fn rounding_happens_once() {
        let amount: ExactAmount = "2.4449999999999999".parse().unwrap();
        let round = |currency| amount.round(currency, Rounding::HalfUp).unwrap().minor();
        assert_eq!(
            (
                round(Currency::EUR),
                round(Currency::JPY),
                round(Currency::KWD)
            ),
            (244, 2, 2445)
        );
    }
}

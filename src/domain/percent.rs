//! Percentages of discounts and taxes.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::decimal::Given;

/// Why a percentage was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PercentError {
    /// A number that is no percentage.
    #[error(
        "percent {value} must be from 0 to 100, with at most {} decimal places",
        Percent::PLACES
    )]
    Bounds {
        /// What was given.
        value: Decimal,
    },
    /// A text that is no decimal number.
    #[error("percent `{text}` is not a decimal number, written as text such as \"7.5\"")]
    NotADecimal {
        /// What was given, cut at 64 characters.
        text: String,
    },
}

/// A percentage from 0 to 100: 7.5 is 7.5 %.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Given", into = "Decimal")]
pub struct Percent(Decimal);

impl Percent {
    /// The most decimal places.
    pub const PLACES: u32 = 6;
    /// Parts of 100 %, for numbers of parts.
    pub(crate) const WHOLE: i128 = 100_000_000;

    /// Checks the number.
    ///
    /// # Errors
    /// When it is below 0, above 100 or has more than 6 decimal places.
    pub fn new(value: Decimal) -> Result<Self, PercentError> {
        let percent = value.normalize();
        if percent.is_sign_negative() && !percent.is_zero()
            || percent > Decimal::ONE_HUNDRED
            || percent.scale() > Self::PLACES
        {
            return Err(PercentError::Bounds { value });
        }
        Ok(Self(percent))
    }

    /// The number.
    #[must_use]
    pub fn value(self) -> Decimal {
        self.0
    }

    /// The percentage in parts of [`Self::WHOLE`].
    pub(crate) fn parts(self) -> i128 {
        let zeros = Self::PLACES.saturating_sub(self.0.scale());
        self.0.mantissa() * 10_i128.pow(zeros)
    }
}

impl TryFrom<Given> for Percent {
    type Error = PercentError;

    fn try_from(given: Given) -> Result<Self, PercentError> {
        let value = given.decimal();
        Self::new(value.map_err(|text| PercentError::NotADecimal { text })?)
    }
}

impl From<Percent> for Decimal {
    fn from(percent: Percent) -> Self {
        percent.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

impl fmt::Debug for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_bounded_and_fine_enough_for_taxes() {
        let read = serde_json::from_str::<Percent>;
        let percent = read("\"8.875\"").unwrap();
        assert_eq!(
            (percent.parts(), percent.to_string()),
            (8_875_000, "8.875 %".to_owned())
        );
        assert_eq!(serde_json::to_string(&percent).unwrap(), "\"8.875\"");
        assert_eq!(read("\"100.00\"").unwrap().parts(), Percent::WHOLE);
        for (text, message) in [
            (
                "\"-1\"",
                "percent -1 must be from 0 to 100, with at most 6 decimal places",
            ),
            (
                "\"100.1\"",
                "percent 100.1 must be from 0 to 100, with at most 6 decimal places",
            ),
            (
                "\"0.0000001\"",
                "percent 0.0000001 must be from 0 to 100, with at most 6 decimal places",
            ),
            (
                "\"ten\"",
                "percent `ten` is not a decimal number, written as text such as \"7.5\"",
            ),
            (
                "7.5",
                "percent `7.5` is not a decimal number, written as text such as \"7.5\"",
            ),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), message);
        }
    }
}

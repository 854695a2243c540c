//! Currencies of ISO 4217.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::text::TextError;

/// A currency of ISO 4217, by its three-letter code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// The US dollar.
    pub const USD: Self = Self(iso_currency::Currency::USD);
    /// The euro.
    pub const EUR: Self = Self(iso_currency::Currency::EUR);
    /// The Japanese yen, which has no decimal places.
    pub const JPY: Self = Self(iso_currency::Currency::JPY);
    /// The Kuwaiti dinar, which has three.
    pub const KWD: Self = Self(iso_currency::Currency::KWD);

    /// The currency of a code such as `EUR`, without regard to case.
    ///
    /// # Errors
    /// When ISO 4217 has no such code.
    pub fn new(code: &str) -> Result<Self, TextError> {
        iso_currency::Currency::from_code(&code.trim().to_ascii_uppercase())
            .map(Self)
            .ok_or_else(|| {
                TextError::form("currency", code, "an ISO 4217 code such as USD, EUR or JPY")
            })
    }

    /// Its three-letter code.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// The decimal places of its minor unit: 0 for JPY, 2 for USD, 3 for KWD.
    ///
    /// `None` where ISO 4217 gives no minor unit (gold, the test code XTS).
    #[must_use]
    pub fn exponent(self) -> Option<u32> {
        self.0.exponent().map(u32::from)
    }
}

impl FromStr for Currency {
    type Err = TextError;

    fn from_str(code: &str) -> Result<Self, TextError> {
        Self::new(code)
    }
}

impl TryFrom<String> for Currency {
    type Error = TextError;

    fn try_from(code: String) -> Result<Self, TextError> {
        Self::new(&code)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_follow_iso_4217() {
        let exponent = |code| Currency::new(code).unwrap().exponent();
        assert_eq!(
            (exponent("jpy"), exponent("USD"), exponent("KWD")),
            (Some(0), Some(2), Some(3))
        );
        assert_eq!(
            Currency::new("EURO").unwrap_err().to_string(),
            "currency `EURO` is not an ISO 4217 code such as USD, EUR or JPY"
        );
    }
}

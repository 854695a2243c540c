//! Decimal numbers as they arrive in documents, without losing a digit on the way.

use std::fmt;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// A number in a document, kept as it was written until the reader knows the field's name.
///
/// `Decimal`'s own reading rounds what has more than 28 digits, and a JSON number with a fraction
/// has passed through binary floating point already: both are refused here.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    text: String,
    float: bool,
}

impl Given {
    /// The number; otherwise what was given, cut at 64 characters.
    pub(crate) fn decimal(&self) -> Result<Decimal, String> {
        let digits = self.text.strip_prefix('-').unwrap_or(&self.text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if self.float || !plain(whole) || !plain(fraction) {
            return Err(self.text.chars().take(64).collect());
        }
        Decimal::from_str_exact(&self.text).map_err(|_| self.text.chars().take(64).collect())
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a decimal number as text, such as \"0.02\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Given, E> {
        Ok(Given {
            text: text.to_owned(),
            float: false,
        })
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Given, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Given, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Given, E> {
        Ok(Given {
            text: number.to_string(),
            float: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Decimal, String> {
        serde_json::from_str::<Given>(json).unwrap().decimal()
    }

    #[test]
    fn only_plain_decimals_that_fit_are_read() {
        assert_eq!(read("\"-0.020\""), Ok(Decimal::new(-20, 3)));
        assert_eq!(read("7"), Ok(Decimal::from(7)));
        for refused in [
            "0.1",
            "\"\"",
            "\"1e3\"",
            "\"1_000\"",
            "\".5\"",
            "\"5.\"",
            "\"+5\"",
            "\"1,5\"",
            "\" 1\"",
            "\"0.00000000000000000000000000001\"",
            "\"99999999999999999999999999999\"",
        ] {
            assert_eq!(read(refused), Err(refused.trim_matches('"').to_owned()));
        }
    }
}

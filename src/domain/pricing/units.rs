//! From what is measured to what is priced.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::field::{positive, required};
use super::{PriceField, PricingError};
use crate::domain::decimal::Given;
use crate::domain::money::{Rounding, mul_div, power, shift};

/// Turns a measured quantity into units of a price: bytes into gigabytes, milliseconds into minutes
/// that were begun.
///
/// ```
/// use tenantry::domain::{money::Rounding, pricing::UnitConversion};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let thousands = UnitConversion::new(1_000.into(), Rounding::Ceiling, 0)?;
/// assert_eq!(thousands.convert(1_247.into())?, 2.into());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "UnitConversionFields")]
pub struct UnitConversion {
    divide_by: Decimal,
    rounding: Rounding,
    decimals: i32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnitConversionFields {
    #[serde(default)]
    divide_by: Option<Given>,
    #[serde(default)]
    rounding: Rounding,
    #[serde(default)]
    decimals: i32,
}

impl TryFrom<UnitConversionFields> for UnitConversion {
    type Error = PricingError;

    fn try_from(fields: UnitConversionFields) -> Result<Self, PricingError> {
        let divide_by = PriceField::Plain("divide_by");
        let divide_by = required(divide_by, fields.divide_by.as_ref())?;
        Self::new(divide_by, fields.rounding, fields.decimals)
    }
}

impl UnitConversion {
    /// The most decimal places of units, and the most zeros they are rounded to.
    pub const PLACES: i32 = 12;

    /// Divides by a number and rounds once, to so many decimal places; a negative number of places
    /// rounds to tens, hundreds and so on.
    ///
    /// # Errors
    /// For a divisor that is not positive or has more than 12 decimal places, and for more than 12
    /// places or zeros.
    pub fn new(
        divide_by: Decimal,
        rounding: Rounding,
        decimals: i32,
    ) -> Result<Self, PricingError> {
        positive(PriceField::Plain("divide_by"), divide_by)?;
        if !(-Self::PLACES..=Self::PLACES).contains(&decimals) {
            return Err(PricingError::Decimals { decimals });
        }
        Ok(Self {
            divide_by,
            rounding,
            decimals,
        })
    }

    /// The units of a measured quantity, which may be negative: a correction is.
    ///
    /// # Errors
    /// `UnitsTooLarge` for units that a decimal cannot hold.
    pub fn convert(&self, quantity: Decimal) -> Result<Decimal, PricingError> {
        self.units(quantity)
            .ok_or(PricingError::UnitsTooLarge { quantity })
    }

    fn units(&self, quantity: Decimal) -> Option<Decimal> {
        let scale = |number: Decimal| i32::try_from(number.scale()).ok();
        let zeros = scale(self.divide_by)? + self.decimals - scale(quantity)?;
        let (number, divisor) = (quantity.mantissa(), self.divide_by.mantissa());
        let whole = if zeros >= 0 {
            mul_div(number, power(zeros.unsigned_abs())?, divisor, self.rounding)?
        } else {
            // Where the divisor does not fit, the number is far less than a half of it.
            let divisor = shift(divisor, zeros.unsigned_abs()).unwrap_or(i128::MAX);
            self.rounding.div(number, divisor)
        };
        match u32::try_from(self.decimals) {
            Ok(places) => Decimal::try_from_i128_with_scale(whole, places).ok(),
            Err(_) => {
                let whole = shift(whole, self.decimals.unsigned_abs())?;
                Decimal::try_from_i128_with_scale(whole, 0).ok()
            }
        }
    }
}

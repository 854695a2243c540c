//! The numbers of a price: checked with the field's name in hand, computed as whole trillionths.

use rust_decimal::Decimal;

use super::{PriceField, PricingError};
use crate::domain::decimal::Given;
use crate::domain::metering::Exact;
use crate::domain::money::{ExactAmount, times};

/// Decimal places of prices and quantities.
pub(super) const PLACES: u32 = 12;
/// Decimal places of percentages, so that their fraction has [`PLACES`].
pub(super) const PERCENT_PLACES: u32 = 10;
/// One, in trillionths.
pub(super) const ONE: i128 = 10_i128.pow(PLACES);

impl PriceField {
    pub(super) fn tier(tier: usize, name: &'static str) -> Self {
        Self::Tier { tier, name }
    }
}

/// Reads a number that must be given.
pub(super) fn required(field: PriceField, given: Option<&Given>) -> Result<Decimal, PricingError> {
    optional(field, given)?.ok_or(PricingError::Missing { field })
}

/// Reads a number that may be left out.
pub(super) fn optional(
    field: PriceField,
    given: Option<&Given>,
) -> Result<Option<Decimal>, PricingError> {
    let read = |given: &Given| {
        given
            .decimal()
            .map_err(|value| PricingError::NotADecimal { field, value })
    };
    given.map(read).transpose()
}

/// Checks a number that is not negative, and tells it in trillionths.
pub(super) fn trillionths(field: PriceField, value: Decimal) -> Result<i128, PricingError> {
    let bounds = PricingError::Bounds {
        field,
        value,
        places: PLACES,
    };
    let exact = Exact::of(value).ok_or(bounds)?.trillionths();
    if exact < 0 {
        return Err(PricingError::Negative { field, value });
    }
    Ok(exact)
}

/// Checks a number that is greater than zero, and tells it in trillionths.
pub(super) fn positive(field: PriceField, value: Decimal) -> Result<i128, PricingError> {
    match trillionths(field, value)? {
        0 => Err(PricingError::NotPositive { field, value }),
        exact => Ok(exact),
    }
}

/// Checks a percentage that is not negative, and tells its hundredth in trillionths.
pub(super) fn percent(field: PriceField, value: Decimal) -> Result<i128, PricingError> {
    let exact = trillionths(field, value)?;
    if exact % 100 != 0 {
        return Err(PricingError::Bounds {
            field,
            value,
            places: PERCENT_PLACES,
        });
    }
    Ok(exact / 100)
}

/// The number of so many trillionths.
pub(super) fn decimal(trillionths: i128) -> Option<Decimal> {
    Exact::from(trillionths).decimal()
}

/// `units x unit_amount + flat_amount`, all in trillionths.
pub(super) fn line(units: i128, unit_amount: i128, flat_amount: i128) -> Option<ExactAmount> {
    let product = times(units, unit_amount)?;
    let flat = times(flat_amount, ONE)?;
    product
        .checked_add(flat)
        .map(ExactAmount::from_septillionths)
}

//! A price made ready for the hot path: decimals at the edges, whole numbers inside.

use rust_decimal::Decimal;

use super::{PriceModel, PricingError, Tiers};
use crate::domain::metering::Exact;
use crate::domain::money::{Currency, Money, Rounding, power, shift};

/// Decimal places of a quantity that the fast path takes at least.
const QUANTITY_PLACES: u32 = 6;

/// What a quantity is multiplied by to have so many more decimal places.
const POWERS: [i64; 13] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
    100_000_000_000,
    1_000_000_000_000,
];

/// A price model in one currency, made ready to price many quantities.
///
/// Gives what [`PriceModel::price`] gives, for every quantity. Each tier is kept as a line, an
/// offset and a slope in whole numbers, so that a quantity costs one comparison per tier entered,
/// one multiplication and one division. Models without such lines (packages, blocks, transactions),
/// and quantities with unusually many digits, take the general path.
#[derive(Debug, Clone)]
pub struct PreparedPrice {
    model: PriceModel,
    zero: Money,
    rounding: Rounding,
    lines: Option<Lines>,
}

#[derive(Debug, Clone)]
struct Lines {
    /// Decimal places of quantities and bounds.
    places: u32,
    /// What a minor unit is on the scale of the amounts.
    minor: u64,
    lines: Vec<Line>,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    up_to: i64,
    slope: i64,
    offset: i128,
}

/// A tier in trillionths.
struct ExactTier {
    up_to: Option<i128>,
    unit: i128,
    flat: i128,
}

impl PreparedPrice {
    pub(super) fn new(
        model: PriceModel,
        currency: Currency,
        rounding: Rounding,
    ) -> Result<Self, PricingError> {
        let zero = Money::zero(currency)?;
        let lines = currency
            .exponent()
            .and_then(|places| Lines::of(&model, places));
        Ok(Self {
            model,
            zero,
            rounding,
            lines,
        })
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &PriceModel {
        &self.model
    }

    /// What the quantity costs, rounded once.
    ///
    /// # Errors
    /// As [`PriceModel::price`].
    #[inline]
    pub fn price(&self, quantity: Decimal) -> Result<Money, PricingError> {
        let minor = self
            .lines
            .as_ref()
            .and_then(|lines| lines.price(quantity, self.rounding));
        match minor {
            Some(minor) => Ok(self.zero.with_minor(minor)),
            None => self.general(quantity),
        }
    }

    #[cold]
    fn general(&self, quantity: Decimal) -> Result<Money, PricingError> {
        self.model
            .price(quantity, self.zero.currency(), self.rounding)
    }
}

impl Lines {
    /// The lines of a model, if it has them and they fit.
    fn of(model: &PriceModel, minor_places: u32) -> Option<Self> {
        let exact = |value| Exact::of(value).map(Exact::trillionths);
        let tiers = |tiers: &Tiers| {
            let exact = |tier: &super::Tier| {
                let up_to = match tier.up_to {
                    Some(up_to) => Some(exact(up_to)?),
                    None => None,
                };
                Some(ExactTier {
                    up_to,
                    unit: exact(tier.unit_amount)?,
                    flat: exact(tier.flat_amount)?,
                })
            };
            tiers
                .as_slice()
                .iter()
                .map(exact)
                .collect::<Option<Vec<_>>>()
        };
        let one = |up_to, unit, flat| ExactTier { up_to, unit, flat };
        let (tiers, cumulative) = match model {
            PriceModel::Flat(price) => (vec![one(None, 0, exact(price.amount())?)], true),
            PriceModel::PerUnit(price) => (vec![one(None, exact(price.unit_amount())?, 0)], true),
            PriceModel::Graduated(list) => (tiers(list)?, true),
            PriceModel::Volume(list) => (tiers(list)?, false),
            PriceModel::GraduatedPercentage(list) => (tiers(list.by_unit())?, true),
            PriceModel::Overage(price) => {
                let included = one(Some(exact(price.included())?), 0, 0);
                (
                    vec![included, one(None, exact(price.unit_amount())?, 0)],
                    true,
                )
            }
            _ => return None,
        };
        Self::build(&tiers, cumulative, minor_places)
    }

    fn build(tiers: &[ExactTier], cumulative: bool, minor_places: u32) -> Option<Self> {
        let bounds = tiers.iter().filter_map(|tier| tier.up_to);
        let places = bounds.map(places_of).max().unwrap_or_default();
        let places = places.max(QUANTITY_PLACES);
        let amounts = tiers.iter().flat_map(|tier| [tier.unit, tier.flat]);
        let amount_places = amounts.map(places_of).max()?.max(minor_places);
        let scaled = |trillionths: i128, places: u32| Some(trillionths / power(12 - places)?);
        let mut lines = Vec::with_capacity(tiers.len());
        let (mut below, mut entered) = (0_i128, 0_i128);
        for tier in tiers {
            let slope = scaled(tier.unit, amount_places)?;
            let flat = shift(scaled(tier.flat, amount_places)?, places)?;
            let offset = if cumulative {
                let offset = entered.checked_add(flat)?;
                offset.checked_sub(below.checked_mul(slope)?)?
            } else {
                flat
            };
            let up_to = match tier.up_to {
                Some(up_to) => scaled(up_to, places)?,
                None => i64::MAX.into(),
            };
            lines.push(Line {
                up_to: i64::try_from(up_to).ok()?,
                slope: i64::try_from(slope).ok()?,
                // Half of the range is left for the product, which is less than 2^126.
                offset: Some(offset).filter(|offset| offset.abs() < 1 << 126)?,
            });
            entered = offset.checked_add(up_to.checked_mul(slope)?)?;
            below = up_to;
        }
        Some(Self {
            places,
            minor: 10_u64.checked_pow(amount_places + places - minor_places)?,
            lines,
        })
    }

    #[inline]
    fn price(&self, quantity: Decimal, rounding: Rounding) -> Option<i64> {
        let zeros = self.places.checked_sub(quantity.scale())?;
        let factor = POWERS.get(usize::try_from(zeros).ok()?)?;
        let quantity = i64::try_from(quantity.mantissa())
            .ok()?
            .checked_mul(*factor)?;
        if quantity < 0 {
            return None;
        }
        let line = self.lines.iter().find(|line| quantity <= line.up_to)?;
        let amount = line.offset + i128::from(quantity) * i128::from(line.slope);
        match u64::try_from(amount) {
            Ok(amount) => i64::try_from(rounding.div_word(amount, self.minor)).ok(),
            Err(_) => i64::try_from(rounding.div(amount, self.minor.into())).ok(),
        }
    }
}

/// The decimal places of so many trillionths, without zeros at the end.
fn places_of(trillionths: i128) -> u32 {
    let mut places = 12;
    let mut rest = trillionths;
    while places > 0 && rest % 10 == 0 {
        rest /= 10;
        places -= 1;
    }
    places
}

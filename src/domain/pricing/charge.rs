//! What a quantity costs, and how it came about.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::field::{decimal, line};
use super::{PricingError, Tier};
use crate::domain::money::{Currency, ExactAmount, Money, Rounding, reconcile_exact};

/// What a quantity costs before rounding, with the parts that it is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Charge {
    /// What was priced: a quantity, or the sum of transactions.
    pub quantity: Decimal,
    /// The sum of the items, in major units.
    pub amount: ExactAmount,
    /// One item per tier entered, or per transaction; one for a price without tiers.
    pub items: Vec<ChargeItem>,
}

/// A part of a charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChargeItem {
    /// The number of the tier or transaction, from 1.
    pub number: usize,
    /// What the unit amount was multiplied by: units, packages, blocks or an amount of money.
    pub units: Decimal,
    /// The price of one, in major units; of a percentage, its hundredth.
    pub unit_amount: Decimal,
    /// What is due beside it, in major units.
    pub flat_amount: Decimal,
    /// What the item costs, in major units.
    pub amount: ExactAmount,
}

impl ChargeItem {
    /// So many units of a price; all in trillionths.
    pub(super) fn new(number: usize, units: i128, unit: i128, flat: i128) -> Option<Self> {
        Some(Self {
            number,
            units: decimal(units)?,
            unit_amount: decimal(unit)?,
            flat_amount: decimal(flat)?,
            amount: line(units, unit, flat)?,
        })
    }

    /// So many units, in trillionths, of a tier that was checked.
    pub(super) fn of_tier(number: usize, units: i128, tier: &Tier) -> Option<Self> {
        let of = |value| crate::domain::metering::Exact::of(value);
        let (unit, flat) = (of(tier.unit_amount)?, of(tier.flat_amount)?);
        Self::new(number, units, unit.trillionths(), flat.trillionths())
    }
}

impl Charge {
    /// The sum of the items, if there are any to make and they can be summed.
    pub(super) fn of(
        quantity: Decimal,
        items: Option<Vec<ChargeItem>>,
    ) -> Result<Self, PricingError> {
        let too_large = PricingError::TooLarge { quantity };
        let items = items.ok_or_else(|| too_large.clone())?;
        let amount = items
            .iter()
            .try_fold(ExactAmount::ZERO, |sum, item| sum.checked_add(item.amount))
            .ok_or(too_large)?;
        Ok(Self {
            quantity,
            amount,
            items,
        })
    }

    /// The charge as money, rounded once.
    ///
    /// # Errors
    /// `Money` for a currency without a minor unit.
    pub fn round(&self, currency: Currency, rounding: Rounding) -> Result<Money, PricingError> {
        Ok(self.amount.round(currency, rounding)?)
    }

    /// The items as money that sums to [`Self::round`]: what rounding leaves goes to the largest
    /// remainders, ties to the earlier item.
    ///
    /// # Errors
    /// `Money`, as [`Self::round`].
    pub fn round_items(
        &self,
        currency: Currency,
        rounding: Rounding,
    ) -> Result<Vec<Money>, PricingError> {
        let amounts: Vec<_> = self.items.iter().map(|item| item.amount).collect();
        Ok(reconcile_exact(self.round(currency, rounding)?, &amounts)?)
    }
}

//! The models of a price.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::field::{decimal, trillionths};
use super::{
    BlockTiers, Charge, FlatPrice, OveragePrice, PackagePrice, PercentTiers, PercentagePrice,
    PreparedPrice, PriceField, PricingError, Tiers, UnitPrice,
};
use crate::domain::money::{Currency, Money, Rounding};

/// How a quantity becomes an amount.
///
/// ```
/// use tenantry::domain::money::{Currency, Rounding};
/// use tenantry::domain::pricing::PriceModel;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model: PriceModel = serde_json::from_str(
///     r#"{"type": "graduated", "tiers": [
///         {"up_to": "1000", "unit_amount": "0.01"},
///         {"up_to": "10000", "unit_amount": "0.008"},
///         {"unit_amount": "0.005"}
///     ]}"#,
/// )?;
/// let price = model.price("15000".parse()?, Currency::USD, Rounding::HalfUp)?;
/// assert_eq!(price.to_string(), "USD 107.00");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PriceModel {
    /// The same amount whatever the quantity, 0 included.
    Flat(FlatPrice),
    /// The same price for every unit.
    PerUnit(UnitPrice),
    /// Each tier that is entered prices the units in it.
    Graduated(Tiers),
    /// The tier that the whole quantity is in prices all units. More can cost less.
    Volume(Tiers),
    /// Units in packages.
    Package(PackagePrice),
    /// Each tier that is entered sells the blocks in it.
    GraduatedBlocks(BlockTiers),
    /// The tier that the whole quantity is in prices all blocks. More can cost less.
    VolumeBlocks(BlockTiers),
    /// A percentage of each transaction.
    Percentage(PercentagePrice),
    /// Each tier that is entered takes a percentage of the amount in it.
    GraduatedPercentage(PercentTiers),
    /// Units above an included quantity.
    Overage(OveragePrice),
}

impl PriceModel {
    /// What the quantity costs, before rounding. A percentage takes it as the amount of one
    /// transaction, or of none when it is 0.
    ///
    /// # Errors
    /// For a negative quantity, one of more than 16 digits before or 12 after the decimal point,
    /// and `TooLarge` for an amount that cannot be told exactly.
    pub fn charge(&self, quantity: Decimal) -> Result<Charge, PricingError> {
        match self {
            Self::Flat(price) => price.charge(quantity),
            Self::PerUnit(price) => price.charge(quantity),
            Self::Graduated(tiers) => tiers.graduated(quantity),
            Self::Volume(tiers) => tiers.volume(quantity),
            Self::Package(price) => price.charge(quantity),
            Self::GraduatedBlocks(tiers) => tiers.graduated(quantity),
            Self::VolumeBlocks(tiers) => tiers.volume(quantity),
            Self::Percentage(price) => {
                trillionths(PriceField::Plain("quantity"), quantity)?;
                let one = [quantity];
                price.charge(if quantity.is_zero() { &[] } else { &one })
            }
            Self::GraduatedPercentage(tiers) => tiers.by_unit().graduated(quantity),
            Self::Overage(price) => price.charge(quantity),
        }
    }

    /// What the transactions cost, before rounding: each by itself for a percentage, their sum for
    /// any other model.
    ///
    /// # Errors
    /// As [`Self::charge`], for each transaction and for the sum.
    pub fn charge_transactions(&self, transactions: &[Decimal]) -> Result<Charge, PricingError> {
        if let Self::Percentage(price) = self {
            return price.charge(transactions);
        }
        let mut sum = 0_i128;
        for (index, amount) in transactions.iter().enumerate() {
            let amount = trillionths(PriceField::Transaction { number: index + 1 }, *amount)?;
            sum = sum.saturating_add(amount);
        }
        self.charge(decimal(sum).unwrap_or(Decimal::MAX))
    }

    /// What the quantity costs, rounded once.
    ///
    /// # Errors
    /// As [`Self::charge`], and `Money` for a currency without a minor unit.
    pub fn price(
        &self,
        quantity: Decimal,
        currency: Currency,
        rounding: Rounding,
    ) -> Result<Money, PricingError> {
        self.charge(quantity)?.round(currency, rounding)
    }

    /// The model made ready to price many quantities in one currency.
    ///
    /// # Errors
    /// `Money` for a currency without a minor unit.
    pub fn prepare(
        &self,
        currency: Currency,
        rounding: Rounding,
    ) -> Result<PreparedPrice, PricingError> {
        PreparedPrice::new(self.clone(), currency, rounding)
    }

    /// Whether a further unit can change the price of those before it.
    #[must_use]
    pub fn reprices(&self) -> bool {
        matches!(self, Self::Volume(_) | Self::VolumeBlocks(_))
    }

    /// The number of the tier that the quantity is in, from 1; `None` for a model without tiers.
    #[must_use]
    pub fn tier_of(&self, quantity: Decimal) -> Option<usize> {
        match self {
            Self::Graduated(tiers) | Self::Volume(tiers) => Some(tiers.tier_of(quantity)),
            Self::GraduatedPercentage(tiers) => Some(tiers.by_unit().tier_of(quantity)),
            Self::GraduatedBlocks(tiers) | Self::VolumeBlocks(tiers) => tiers.tier_of(quantity),
            _ => None,
        }
    }
}

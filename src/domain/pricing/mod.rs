//! Pricing: what a quantity costs.
//!
//! A [`PriceModel`] gives every quantity from 0 on one exact amount, in major units and before
//! rounding. The amount is rounded once, for the whole line, when it becomes
//! [`Money`](super::money::Money). The words are Stripe's where it has them.
//!
//! Prices and quantities are decimals with at most 16 digits before and 12 after the decimal point,
//! and never negative. Inside they are whole trillionths, and their products whole septillionths in
//! an `i128`: a result is exact, or it is [`PricingError::TooLarge`].

mod blocks;
mod charge;
mod error;
mod field;
mod model;
mod percentage;
mod prepared;
#[cfg(test)]
mod properties;
mod simple;
#[cfg(test)]
mod tests;
mod tiers;
mod units;

pub use self::blocks::{BlockTier, BlockTiers};
pub use self::charge::{Charge, ChargeItem};
pub use self::error::{PriceField, PricingError};
pub use self::model::PriceModel;
pub use self::percentage::{PercentTier, PercentTiers, PercentagePrice};
pub use self::prepared::PreparedPrice;
pub use self::simple::{FlatPrice, OveragePrice, PackagePrice, PackageRounding, UnitPrice};
pub use self::tiers::{Tier, Tiers};
pub use self::units::UnitConversion;

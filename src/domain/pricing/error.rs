//! What can be wrong with a price.

use std::fmt;

use rust_decimal::Decimal;

use crate::domain::money::MoneyError;

/// A field of a price, with the tier that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PriceField {
    /// A field of the price itself.
    Plain(&'static str),
    /// A field of a tier.
    Tier {
        /// The tier's number, from 1.
        tier: usize,
        /// The field.
        name: &'static str,
    },
    /// The amount of a transaction.
    Transaction {
        /// The transaction's number, from 1.
        number: usize,
    },
}

impl fmt::Display for PriceField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(name) => f.write_str(name),
            Self::Tier { tier, name } => write!(f, "tier {tier}: {name}"),
            Self::Transaction { number } => write!(f, "transaction {number}: amount"),
        }
    }
}

/// A broken rule about prices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PricingError {
    /// A field that must be given and was not.
    #[error("{field} must be given")]
    Missing {
        /// The field.
        field: PriceField,
    },
    /// A text that is no decimal number.
    #[error(
        "{field} `{value}` is not a decimal number of at most 28 digits, written as text such as \
         \"0.02\""
    )]
    NotADecimal {
        /// The field.
        field: PriceField,
        /// What was given, cut at 64 characters.
        value: String,
    },
    /// A number below zero.
    #[error("{field} {value} must not be negative")]
    Negative {
        /// The field.
        field: PriceField,
        /// What was given.
        value: Decimal,
    },
    /// Zero where something must be.
    #[error("{field} {value} must be greater than 0")]
    NotPositive {
        /// The field.
        field: PriceField,
        /// What was given.
        value: Decimal,
    },
    /// A fraction where none can be.
    #[error("{field} {value} must be a whole number")]
    NotWhole {
        /// The field.
        field: PriceField,
        /// What was given.
        value: Decimal,
    },
    /// A number that cannot be kept exactly.
    #[error(
        "{field} {value} must have at most 16 digits before and {places} after the decimal point"
    )]
    Bounds {
        /// The field.
        field: PriceField,
        /// What was given.
        value: Decimal,
        /// The most decimal places allowed.
        places: u32,
    },
    /// A list of tiers without one.
    #[error("tiers must not be empty: give at least one, and no {bound} in the last")]
    NoTiers {
        /// The field that bounds a tier.
        bound: &'static str,
    },
    /// A tier that ends where the one before it ends, or earlier.
    #[error("tier {tier}: up_to {up_to} must be greater than {previous}, where tier {} ends", tier - 1)]
    NotIncreasing {
        /// The tier's number, from 1.
        tier: usize,
        /// Its bound.
        up_to: Decimal,
        /// The bound of the tier before it.
        previous: Decimal,
    },
    /// A tier that starts above the end of the one before it.
    #[error("tier {tier}: from {from} leaves a hole above {expected}; it must be {expected}")]
    Hole {
        /// The tier's number, from 1.
        tier: usize,
        /// Its start.
        from: Decimal,
        /// The end of the tier before it, or 0.
        expected: Decimal,
    },
    /// A tier that starts below the end of the one before it.
    #[error("tier {tier}: from {from} overlaps what is below {expected}; it must be {expected}")]
    Overlap {
        /// The tier's number, from 1.
        tier: usize,
        /// Its start.
        from: Decimal,
        /// The end of the tier before it, or 0.
        expected: Decimal,
    },
    /// A tier without an end that others follow.
    #[error("tier {tier}: {bound} must be given: only the last tier has none")]
    OpenTier {
        /// The tier's number, from 1.
        tier: usize,
        /// The field that bounds a tier.
        bound: &'static str,
    },
    /// A last tier with an end.
    #[error(
        "tier {tier}: {bound} {value} must be left out: the last tier has none, so that every \
         quantity has a price"
    )]
    ClosedTier {
        /// The tier's number, from 1.
        tier: usize,
        /// The field that bounds a tier.
        bound: &'static str,
        /// What was given.
        value: Decimal,
    },
    /// Bounds of blocks that add up to more than a quantity can be.
    #[error(
        "tier {tier}: max_blocks {max_blocks} ends above 9999999999999999, the most that can be counted"
    )]
    BlocksTooMany {
        /// The tier's number, from 1.
        tier: usize,
        /// What was given.
        max_blocks: Decimal,
    },
    /// A least amount above the greatest.
    #[error("minimum_amount {minimum} must not be greater than maximum_amount {maximum}")]
    MinimumAboveMaximum {
        /// The least amount.
        minimum: Decimal,
        /// The greatest amount.
        maximum: Decimal,
    },
    /// An amount that cannot be told exactly.
    #[error(
        "the price of quantity {quantity} is too large to be told exactly; at most \
         170141183460469 major units can be"
    )]
    TooLarge {
        /// The quantity.
        quantity: Decimal,
    },
    /// More decimal places than units can have.
    #[error("decimals {decimals} must be from -12 to 12")]
    Decimals {
        /// What was given.
        decimals: i32,
    },
    /// Units that cannot be told exactly.
    #[error("quantity {quantity} has too many digits to be converted to units")]
    UnitsTooLarge {
        /// The quantity.
        quantity: Decimal,
    },
    /// An amount that breaks a rule of money.
    #[error("price: {0}")]
    Money(#[from] MoneyError),
}

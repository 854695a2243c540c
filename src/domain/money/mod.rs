//! Money: whole numbers of a currency's minor unit, and the only ways to round and split them.
//!
//! An amount is an `i64` of minor units. Sums and products are made in `i128` and checked: what
//! does not fit is an error, never a wrap. Amounts in different currencies never mix.

mod allocate;
mod amount;
mod currency;
mod exact;
mod rounding;
mod wide;

pub use self::amount::Money;
pub use self::currency::Currency;
pub use self::exact::ExactAmount;
pub use self::rounding::Rounding;

pub(crate) use self::allocate::{reconcile, reconcile_exact};
pub(crate) use self::rounding::{power, shift};
pub(crate) use self::wide::{mul_div, times};

use rust_decimal::Decimal;

use super::text::TextError;

/// A broken rule about amounts of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MoneyError {
    /// A code that is no currency.
    #[error("money: {0}")]
    Currency(#[from] TextError),
    /// A currency in which nothing can be paid.
    #[error("currency {currency} has no minor unit; use one that has, such as USD, EUR or JPY")]
    NoMinorUnit {
        /// The currency.
        currency: Currency,
    },
    /// Amounts in two currencies.
    #[error("amounts in {left} and {right} cannot be combined; convert one of them first")]
    Mixed {
        /// The currency of the amount, or that of the sum so far.
        left: Currency,
        /// The currency of the other.
        right: Currency,
    },
    /// An amount that 64 bits do not hold.
    #[error(
        "the amount in {currency} is too large; from {} to {} minor units can be kept",
        i64::MIN,
        i64::MAX
    )]
    Overflow {
        /// The currency.
        currency: Currency,
    },
    /// An amount that is finer than the currency.
    #[error("amount {value} {currency} must have at most {places} decimal places; round it first")]
    Places {
        /// What was given.
        value: Decimal,
        /// The currency.
        currency: Currency,
        /// The decimal places of its minor unit.
        places: u32,
    },
    /// A weight below zero.
    #[error("weight {number} is {value}; it must not be negative")]
    NegativeWeight {
        /// Its number in the list, from 1.
        number: usize,
        /// What was given.
        value: Decimal,
    },
    /// An amount to be split, and nothing to split it by.
    #[error("{amount} cannot be split: at least one weight must be greater than 0")]
    NoWeight {
        /// The amount.
        amount: Money,
    },
    /// Weights that differ by too many digits.
    #[error("the weights have too many digits together to be compared exactly; round them first")]
    WeightsTooFine,
    /// A step of a payment provider that is none.
    #[error("step {step} must be greater than 0")]
    Step {
        /// What was given, in minor units.
        step: i64,
    },
}

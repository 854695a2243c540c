//! What is sold: plans in immutable versions, and the book of their prices.
//!
//! A [`PlanVersion`] says what a plan consists of: charges, included quantities, limits,
//! entitlements and how long executions are kept. It is never changed; a change of the plan is a
//! new version, and whoever has subscribed keeps theirs. What the charges cost is apart from it:
//! a [`Price`] is for one charge of one version in one currency, and is valid over a stretch of
//! time. A price in force is never edited either: another one supersedes it.
//!
//! - Of a charge in a currency at most one price is valid at any instant.
//! - A charge without a price in the subscription's currency cannot be billed: that is an error
//!   which lists the currencies there are, never a price of zero.
//! - A tenant can have prices of its own ([`PriceOverride`]), which go before those of the book and
//!   hold for all versions of the plan.

mod book;
mod document;
mod limit;
mod plan;
mod price;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};

pub use book::{EffectivePrice, PriceBook};
pub use document::{CatalogueDocument, DocumentPrice, PlanDocument};
pub use limit::{Entitlement, Limit, LimitName, LimitWindow};
pub use plan::{Charge, ChargeCode, ChargeKind, Plan, PlanDefinition, PlanVersion};
pub use price::{Price, PriceChange, PriceOverride, PriceTerms, StripePriceId};

use super::billing_cycle::BillingCycleError;
use super::commitment::CommitmentError;
use super::metering::MeteringError;
use super::money::{Currency, MoneyError};
use super::pricing::PricingError;
use super::text::{PlanCode, TextError};

/// A broken rule about plans and prices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// A text that does not fit its field.
    #[error("catalogue: {0}")]
    Text(#[from] TextError),
    /// An interval that is none.
    #[error("catalogue: {0}")]
    Interval(#[from] BillingCycleError),
    /// A price that breaks a rule.
    #[error("catalogue: {0}")]
    Pricing(#[from] PricingError),
    /// A commitment that breaks a rule.
    #[error("catalogue: {0}")]
    Commitment(#[from] CommitmentError),
    /// A meter's name that is none.
    #[error("catalogue: {0}")]
    Metering(#[from] MeteringError),
    /// An amount that breaks a rule of money.
    #[error("catalogue: {0}")]
    Money(#[from] MoneyError),
    /// A document that cannot be read.
    #[error("{path}: {reason}")]
    Document {
        /// Where, such as `plans[0].charges[2].prices.EUR`.
        path: String,
        /// What is wrong there, and what would be right.
        reason: String,
    },
    /// More charges than a plan may have.
    #[error(
        "charges: {count} are given; at most {} are allowed",
        PlanDefinition::MAX_CHARGES
    )]
    TooManyCharges {
        /// How many were given.
        count: usize,
    },
    /// Two charges of one code.
    #[error("charges: the code `{code}` is given twice; each charge needs its own")]
    ChargeTwice {
        /// The code.
        code: ChargeCode,
    },
    /// An included quantity that is none.
    #[error(
        "charge `{charge}`: included {included} must be from 0 to 10^16 - 1, with at most 12 \
         decimal places"
    )]
    Included {
        /// The charge.
        charge: ChargeCode,
        /// What was given.
        included: rust_decimal::Decimal,
    },
    /// A trial that is too long.
    #[error("trial_days {days} must be at most {}", PlanDefinition::MAX_TRIAL_DAYS)]
    Trial {
        /// What was given.
        days: u32,
    },
    /// A retention of nothing.
    #[error(
        "retention_days {days} must be from 1 to {}; leave it out to keep executions for ever",
        PlanDefinition::MAX_RETENTION_DAYS
    )]
    Retention {
        /// What was given.
        days: u32,
    },
    /// A soft bound above the hard one.
    #[error("limit `{limit}`: soft {soft} must not be above hard {hard}")]
    SoftAboveHard {
        /// The limit.
        limit: LimitName,
        /// The soft bound.
        soft: u64,
        /// The hard bound.
        hard: u64,
    },
    /// A limit without a bound.
    #[error("limit `{limit}` has neither `soft` nor `hard`; leave it out where there is no bound")]
    NoBound {
        /// The limit.
        limit: LimitName,
    },
    /// A price for a charge that the plan has not.
    #[error("plan `{plan}` has no charge `{charge}`; it has {}", list(there_are))]
    UnknownCharge {
        /// The plan.
        plan: PlanCode,
        /// The charge.
        charge: ChargeCode,
        /// The charges it has.
        there_are: Vec<ChargeCode>,
    },
    /// A price model that does not fit the charge.
    #[error("charge `{charge}` is billed by itself, so its price must be flat, not by quantity")]
    NotFlat {
        /// The charge.
        charge: ChargeCode,
    },
    /// A commitment in another currency than the price's.
    #[error("charge `{charge}`: the commitment is in {given}; the price is in {currency}")]
    CommitmentCurrency {
        /// The charge.
        charge: ChargeCode,
        /// The commitment's currency.
        given: Currency,
        /// The price's currency.
        currency: Currency,
    },
    /// A charge without a price in a currency.
    #[error(
        "charge `{charge}` of plan `{plan}` has no price in {currency} at {at}; there are prices \
         in {}",
        list(there_are)
    )]
    NoPrice {
        /// The plan.
        plan: PlanCode,
        /// The charge.
        charge: ChargeCode,
        /// The currency that was asked for.
        currency: Currency,
        /// The instant.
        at: DateTime<Utc>,
        /// The currencies with a price at that instant.
        there_are: Vec<Currency>,
    },
    /// A price that would have been valid in the past.
    #[error("valid_from {from} is in the past; a price can begin now ({now}) or later")]
    InThePast {
        /// What was given.
        from: DateTime<Utc>,
        /// The present instant.
        now: DateTime<Utc>,
    },
    /// A price that begins when another one does.
    #[error(
        "charge `{charge}` has a price in {currency} that begins at {from} already; choose another \
         instant"
    )]
    BeginsTogether {
        /// The charge.
        charge: ChargeCode,
        /// The currency.
        currency: Currency,
        /// The instant.
        from: DateTime<Utc>,
    },
}

fn list<T: ToString>(names: &[T]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.join(", ")
}

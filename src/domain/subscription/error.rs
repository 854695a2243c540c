//! Broken rules about subscriptions.

use chrono::{DateTime, Utc};

use super::{Subscription, SubscriptionStatus};
use crate::domain::billing_cycle::BillingCycleError;
use crate::domain::catalogue::{CatalogueError, PlanDefinition};
use crate::domain::discount::DiscountError;
use crate::domain::money::{Currency, MoneyError};
use crate::domain::pricing::PricingError;
use crate::domain::proration::ProrationError;
use crate::domain::text::{PlanCode, TextError};

/// Why a subscription was refused, or a change of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriptionError {
    /// A transition that there is not.
    #[error("subscription is {from}; it cannot become {to} by `{by}`")]
    Transition {
        /// What was called.
        by: &'static str,
        /// The state it is in.
        from: SubscriptionStatus,
        /// The state it would have been in.
        to: SubscriptionStatus,
    },
    /// A change that the state does not allow.
    #[error("subscription is {status}; `{act}` needs one that is {needed}")]
    NotNow {
        /// What was called.
        act: &'static str,
        /// The state it is in.
        status: SubscriptionStatus,
        /// The states that allow it.
        needed: &'static str,
    },
    /// A change of a subscription that is not up to date.
    #[error("subscription is not up to date: something was due at {due}; `advance` it first")]
    Overdue {
        /// What was due first.
        due: DateTime<Utc>,
    },
    /// Seats that are none.
    #[error("quantity {quantity} must be from 1 to {}", Subscription::MAX_QUANTITY)]
    Quantity {
        /// What was given.
        quantity: u32,
    },
    /// A trial that is too long.
    #[error("trial_days {days} must be at most {}", PlanDefinition::MAX_TRIAL_DAYS)]
    Trial {
        /// What was given.
        days: u32,
    },
    /// More coupons than a subscription may have.
    #[error(
        "coupons: {count} are given; at most {} are allowed",
        Subscription::MAX_COUPONS
    )]
    TooManyCoupons {
        /// How many there would be.
        count: usize,
    },
    /// A fixed coupon in another currency.
    #[error("coupon is in {given}; the subscription is in {currency}")]
    CouponCurrency {
        /// The coupon's.
        given: Currency,
        /// The subscription's.
        currency: Currency,
    },
    /// An instant that has passed.
    #[error("{field} {given} must be after {now}")]
    NotAhead {
        /// The field.
        field: &'static str,
        /// What was given.
        given: DateTime<Utc>,
        /// The present instant.
        now: DateTime<Utc>,
    },
    /// A plan that nobody can subscribe to any more.
    #[error("plan `{plan}` is not active; choose another plan")]
    PlanNotActive {
        /// The plan.
        plan: PlanCode,
    },
    /// A try that is none.
    #[error("attempt must be at least 1")]
    Attempt,
    /// A text that does not fit its field.
    #[error("subscription: {0}")]
    Text(#[from] TextError),
    /// A boundary that cannot be told.
    #[error("subscription: {0}")]
    Cycle(#[from] BillingCycleError),
    /// A charge that has no price.
    #[error("subscription: {0}")]
    Catalogue(#[from] CatalogueError),
    /// A quantity that cannot be priced.
    #[error("subscription: {0}")]
    Pricing(#[from] PricingError),
    /// A part that cannot be told.
    #[error("subscription: {0}")]
    Proration(#[from] ProrationError),
    /// An amount that breaks a rule of money.
    #[error("subscription: {0}")]
    Money(#[from] MoneyError),
    /// A coupon that breaks a rule.
    #[error("subscription: {0}")]
    Discount(#[from] DiscountError),
}

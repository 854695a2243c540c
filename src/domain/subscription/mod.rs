//! Subscriptions: what a tenant has subscribed to, and how that changes.
//!
//! # States
//!
//! The states are Stripe's. A subscription begins as `incomplete`, `trialing` or `active`;
//! `incomplete_expired` and `canceled` are for good. Each transition is a method of
//! [`Subscription`], and there are no others:
//!
//! | from | to | by |
//! |---|---|---|
//! | `incomplete` | `active` | `paid` |
//! | `incomplete` | `incomplete_expired` | `advance`, `cancel` |
//! | `trialing` | `active` | `advance`, `end_trial` |
//! | `trialing` | `paused` | `pause` |
//! | `trialing` | `canceled` | `advance`, `cancel` |
//! | `active` | `past_due` | `payment_failed` |
//! | `active` | `unpaid` | `payment_failed` |
//! | `active` | `paused` | `pause` |
//! | `active` | `canceled` | `advance`, `cancel`, `payment_failed` |
//! | `past_due` | `active` | `paid` |
//! | `past_due` | `unpaid` | `payment_failed` |
//! | `past_due` | `canceled` | `advance`, `cancel`, `payment_failed` |
//! | `unpaid` | `active` | `paid` |
//! | `unpaid` | `canceled` | `advance`, `cancel` |
//! | `paused` | `trialing` | `resume` |
//! | `paused` | `active` | `advance`, `resume` |
//! | `paused` | `canceled` | `advance`, `cancel` |
//!
//! # Time
//!
//! What happens by itself has an instant ([`Subscription::due_at`]), and happens at that instant
//! however late [`Subscription::advance`] is called: a renewal that is a week late begins its
//! period where the former one ended. Every boundary is counted from the cycle's anchor, never from
//! another boundary. Whatever else is done to a subscription is done to one that is up to date.
//!
//! - A trial is the first period. The cycle is anchored at its end.
//! - A change of plan or seats in the middle of a period credits what is left of the old and charges
//!   what is left of the new. At the very start of a period it gives no lines: the period counts as
//!   begun with it. In a trial neither does.
//! - A plan with another interval begins a new period at once, with a new anchor.
//! - While it is paused no period begins. What is left of the present one is not credited. When it
//!   is resumed later, a period begins that lasts until the next boundary.
//! - An end that falls on a boundary goes before the renewal.

mod act;
mod change;
mod entity;
mod error;
mod line;
mod payment;
#[cfg(test)]
mod properties;
mod status;
#[cfg(test)]
mod tests;
mod transition;
mod upcoming;

pub use act::{NewSubscription, SubscriptionAct};
pub use change::When;
pub use entity::{
    AppliedCoupon, FirstPayment, PendingChange, PendingPlan, StartTerms, StripeCustomerId,
    StripeSubscriptionId, Subscription,
};
pub use error::SubscriptionError;
pub use line::{LineKind, PendingLine, Recurring};
pub use payment::{AfterDunning, DunningPolicy};
pub use status::SubscriptionStatus;
pub use transition::{SubscriptionChange, SubscriptionEvent, SubscriptionPeriod};
pub use upcoming::Upcoming;

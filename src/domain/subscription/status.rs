//! The states of a subscription.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::text::TextError;

/// The states of a subscription: Stripe's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SubscriptionStatus {
    /// It waits for its first payment, for 23 hours.
    Incomplete,
    /// The first payment did not come. For good.
    IncompleteExpired,
    /// In use, and nothing is due yet.
    Trialing,
    /// In use.
    Active,
    /// In use; a payment failed and is tried again.
    PastDue,
    /// All tries failed. Periods go on, and whether it is in use is the host's to say.
    Unpaid,
    /// Not in use; no period begins.
    Paused,
    /// Ended. For good.
    Canceled,
}

impl SubscriptionStatus {
    /// All states.
    pub const ALL: [Self; 8] = [
        Self::Incomplete,
        Self::IncompleteExpired,
        Self::Trialing,
        Self::Active,
        Self::PastDue,
        Self::Unpaid,
        Self::Paused,
        Self::Canceled,
    ];

    /// The name that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::IncompleteExpired => "incomplete_expired",
            Self::Trialing => "trialing",
            Self::Active => "active",
            Self::PastDue => "past_due",
            Self::Unpaid => "unpaid",
            Self::Paused => "paused",
            Self::Canceled => "canceled",
        }
    }

    /// Whether nothing can change it any more.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::IncompleteExpired | Self::Canceled)
    }

    /// Whether the tenant may use what it has subscribed to: `trialing`, `active`, `past_due`.
    #[must_use]
    pub fn is_in_use(self) -> bool {
        matches!(self, Self::Trialing | Self::Active | Self::PastDue)
    }

    /// Whether it decides on the tenant's limits: it is neither over nor waits for its first
    /// payment. Of several, the newest decides.
    #[must_use]
    pub fn sets_limits(self) -> bool {
        !self.is_over() && self != Self::Incomplete
    }

    /// Whether there is a transition to the other state: the table of the module's docs.
    #[must_use]
    pub fn may_become(self, to: Self) -> bool {
        use SubscriptionStatus as S;
        matches!(
            (self, to),
            (S::Incomplete, S::Active | S::IncompleteExpired)
                | (S::Trialing, S::Active | S::Paused | S::Canceled)
                | (S::Active, S::PastDue | S::Unpaid | S::Paused | S::Canceled)
                | (S::PastDue, S::Active | S::Unpaid | S::Canceled)
                | (S::Unpaid, S::Active | S::Canceled)
                | (S::Paused, S::Trialing | S::Active | S::Canceled)
        )
    }
}

impl fmt::Display for SubscriptionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SubscriptionStatus {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| {
                TextError::form(
                    "subscription status",
                    text,
                    "one of Stripe's, such as active or past_due",
                )
            })
    }
}

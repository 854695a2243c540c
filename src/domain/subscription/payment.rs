//! What the payment provider says, and what becomes of a subscription that is not paid.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::transition::{SubscriptionChange, SubscriptionEvent};
use super::{Subscription, SubscriptionError, SubscriptionStatus};
use crate::domain::time::micros;

/// What becomes of a subscription when no further try is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AfterDunning {
    /// It ends. The default.
    #[default]
    Cancel,
    /// It stays, unpaid.
    Unpaid,
}

/// When a payment that failed is tried again: the host does it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DunningPolicy {
    /// How many seconds after each failure the next try is made.
    pub retry_after_seconds: Vec<u32>,
    /// What happens when the last try has failed.
    pub then: AfterDunning,
}

impl DunningPolicy {
    /// When the payment is tried again after the try of this number has failed at an instant;
    /// `None` if it was the last.
    #[must_use]
    pub fn next_try(&self, attempt: u32, failed_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let index = usize::try_from(attempt.checked_sub(1)?).ok()?;
        let seconds = self.retry_after_seconds.get(index)?;
        micros(failed_at).checked_add_signed(TimeDelta::seconds(i64::from(*seconds)))
    }
}

/// Tries again after 3, 5 and 7 days, and then ends the subscription.
impl Default for DunningPolicy {
    fn default() -> Self {
        const DAY: u32 = 24 * 3600;
        Self {
            retry_after_seconds: vec![3 * DAY, 5 * DAY, 7 * DAY],
            then: AfterDunning::Cancel,
        }
    }
}

impl Subscription {
    /// An invoice was paid; `None` if it is active already, in a trial or paused.
    ///
    /// # Errors
    /// `Transition` when it is over; `Overdue`.
    pub fn paid(
        &self,
        now: DateTime<Utc>,
    ) -> Result<Option<SubscriptionChange>, SubscriptionError> {
        use SubscriptionStatus as S;
        if self.status.is_over() {
            return Err(self.refused("paid", S::Active));
        }
        self.must_be_up_to_date(now)?;
        if !matches!(self.status, S::Incomplete | S::PastDue | S::Unpaid) {
            return Ok(None);
        }
        let mut next = self.touched(now);
        next.status = S::Active;
        Ok(Some(SubscriptionChange::of(
            next,
            SubscriptionEvent::Updated,
        )))
    }

    /// The try of this number, from 1, to pay an invoice has failed. `None` if that changes nothing:
    /// it waits for its first payment, or is past due and a further try is made.
    ///
    /// # Errors
    /// `Transition` unless it is active, past due, unpaid or incomplete; `Attempt`; `Overdue`.
    pub fn payment_failed(
        &self,
        attempt: u32,
        policy: &DunningPolicy,
        now: DateTime<Utc>,
    ) -> Result<Option<SubscriptionChange>, SubscriptionError> {
        use SubscriptionStatus as S;
        if attempt == 0 {
            return Err(SubscriptionError::Attempt);
        }
        if !matches!(
            self.status,
            S::Incomplete | S::Active | S::PastDue | S::Unpaid
        ) {
            return Err(self.refused("payment_failed", S::PastDue));
        }
        self.must_be_up_to_date(now)?;
        let to = match (policy.next_try(attempt, now), policy.then) {
            (Some(_), _) => S::PastDue,
            (None, AfterDunning::Cancel) => S::Canceled,
            (None, AfterDunning::Unpaid) => S::Unpaid,
        };
        // Its other invoices have been given up already, so this one makes it no better.
        let stays = matches!(self.status, S::Incomplete | S::Unpaid) || self.status == to;
        if stays {
            return Ok(None);
        }
        if to == S::Canceled {
            return Ok(Some(self.ended(to, micros(now), now)));
        }
        let mut next = self.touched(now);
        next.status = to;
        Ok(Some(SubscriptionChange::of(
            next,
            SubscriptionEvent::Updated,
        )))
    }
}

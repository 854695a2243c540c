//! What is going to happen to a subscription by itself.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Subscription, SubscriptionError, SubscriptionEvent};
use crate::domain::ids::SubscriptionId;

/// Something that is going to happen, if nobody changes anything before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upcoming {
    /// When.
    pub at: DateTime<Utc>,
    /// To which subscription.
    pub subscription: SubscriptionId,
    /// What.
    pub event: SubscriptionEvent,
    /// Whether the plan or the seats change with it.
    pub changes: bool,
}

impl Subscription {
    /// The most that [`upcoming`](Self::upcoming) tells.
    pub const MAX_UPCOMING: usize = 100;

    /// What is going to happen until an instant, that one included, in its order: the first 100.
    ///
    /// # Errors
    /// `Cycle` for a boundary beyond the years that can be told.
    pub fn upcoming(&self, until: DateTime<Utc>) -> Result<Vec<Upcoming>, SubscriptionError> {
        let mut all = Vec::new();
        let mut present = self.clone();
        while all.len() < Self::MAX_UPCOMING {
            let Some(change) = present.advance(until)? else {
                break;
            };
            let next = change.subscription;
            let plan_and_seats = |s: &Self| (s.plan_version, s.quantity);
            all.push(Upcoming {
                at: change.at,
                subscription: self.id,
                event: change.event,
                changes: plan_and_seats(&next) != plan_and_seats(&present),
            });
            present = next;
        }
        Ok(all)
    }
}

//! A subscription, and how it begins.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::transition::{SubscriptionChange, SubscriptionEvent, SubscriptionPeriod};
use super::{SubscriptionError, SubscriptionStatus};
use crate::domain::billing_cycle::{BillingCycle, BillingCycleError, Interval, IntervalUnit};
use crate::domain::catalogue::{PlanDefinition, PlanVersion};
use crate::domain::discount::{Coupon, Off};
use crate::domain::ids::{PlanVersionId, SubscriptionId};
use crate::domain::json::Document;
use crate::domain::money::Currency;
use crate::domain::text::code_type;
use crate::domain::time::{Period, micros};

code_type! {
    /// The id of a subscription at Stripe, such as `sub_1MowQVLkdIwHu7ixeRlqHVzs`: at most 255
    /// letters, digits, `.`, `_` or `-`.
    StripeSubscriptionId, "stripe subscription id", 255;
}

code_type! {
    /// The id of a customer at Stripe, such as `cus_Na6dX7aXxi11N4`: at most 255 letters, digits,
    /// `.`, `_` or `-`.
    StripeCustomerId, "stripe customer id", 255;
}

/// A subscription of a tenant to one version of a plan.
///
/// What changes it answers the subscription as it is to be, under the revision that was read: the
/// store counts it up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// The version of the plan, which stays until the subscription changes it.
    pub plan_version: PlanVersionId,
    /// The currency of every amount.
    pub currency: Currency,
    /// Its state.
    pub status: SubscriptionStatus,
    /// The seats, from 1 to 1,000,000.
    pub quantity: u32,
    /// When periods begin and end, in the zone that the tenant had at the start.
    pub cycle: BillingCycle,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// The present period, or the last one; in a trial, the trial.
    pub current_period: Period,
    /// The instant whose prices the present period has.
    pub priced_at: DateTime<Utc>,
    /// When its trial ends, or ended.
    pub trial_end: Option<DateTime<Utc>>,
    /// Whether it ends with the present period.
    pub cancel_at_period_end: bool,
    /// When it is to end, if that is not with a period.
    pub cancel_at: Option<DateTime<Utc>>,
    /// When its end was decided.
    pub canceled_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Since when it is paused.
    pub paused_at: Option<DateTime<Utc>>,
    /// When it goes on by itself.
    pub resumes_at: Option<DateTime<Utc>>,
    /// What changes with the next period.
    pub pending: PendingChange,
    /// Its coupons, in the order in which they came; at most 20.
    pub coupons: Vec<AppliedCoupon>,
    /// The same subscription at Stripe.
    pub stripe_subscription: Option<StripeSubscriptionId>,
    /// Who pays it at Stripe.
    pub stripe_customer: Option<StripeCustomerId>,
    /// What the host keeps with it.
    pub metadata: Document,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts its changes, from 1; a writer must name the one it has read.
    pub revision: i64,
}

/// What changes when the next period begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingChange {
    /// The version of a plan that is taken.
    pub plan: Option<PendingPlan>,
    /// The seats that it has from then on.
    pub quantity: Option<u32>,
}

impl PendingChange {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.plan.is_none() && self.quantity.is_none()
    }
}

/// A version of a plan that is taken when the next period begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingPlan {
    /// The version.
    pub version: PlanVersionId,
    /// The version's interval.
    #[serde(flatten)]
    pub interval: Interval,
}

/// A coupon of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedCoupon {
    /// What it takes off, and for how long.
    #[serde(flatten)]
    pub coupon: Coupon,
    /// The start of the first period that it applies to.
    pub from: DateTime<Utc>,
}

/// Whether a subscription waits for its first payment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FirstPayment {
    /// It is in use at once, and paid when its invoice is. The default.
    #[default]
    Later,
    /// It is incomplete until its first payment. A trial needs none.
    Required,
}

/// How a subscription begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartTerms {
    /// The currency of every amount.
    pub currency: Currency,
    /// The zone in which periods begin.
    pub zone: Tz,
    /// The seats.
    pub quantity: u32,
    /// How many days of the calendar are free.
    pub trial_days: u32,
    /// On which day of the month periods begin; at the start, or at the end of the trial, if it is
    /// not said. Until the first such day there is a short period.
    pub anchor_day: Option<u32>,
    /// Whether it waits for its first payment.
    pub first_payment: FirstPayment,
    /// What is taken off, from the first period that is not free.
    pub coupons: Vec<Coupon>,
    /// What the host keeps with it.
    pub metadata: Document,
}

impl StartTerms {
    /// One seat, no trial, in use at once.
    #[must_use]
    pub fn new(currency: Currency, zone: Tz) -> Self {
        Self {
            currency,
            zone,
            quantity: 1,
            trial_days: 0,
            anchor_day: None,
            first_payment: FirstPayment::Later,
            coupons: Vec::new(),
            metadata: Document::empty(),
        }
    }
}

impl Subscription {
    /// The most seats.
    pub const MAX_QUANTITY: u32 = 1_000_000;
    /// The most coupons.
    pub const MAX_COUPONS: usize = 20;
    /// How long the first payment is waited for: as long as Stripe does.
    /// <https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses>
    pub const INCOMPLETE_FOR: TimeDelta = TimeDelta::hours(23);

    /// Begins a subscription now.
    ///
    /// # Errors
    /// `Quantity`, `Trial`, `TooManyCoupons`, `CouponCurrency`, and `Cycle` for a day that no month
    /// has.
    pub fn start(
        id: SubscriptionId,
        version: &PlanVersion,
        terms: StartTerms,
        now: DateTime<Utc>,
    ) -> Result<SubscriptionChange, SubscriptionError> {
        let now = micros(now);
        let trial_end = trial_end(now, terms.trial_days, terms.zone)?;
        let paid_from = trial_end.unwrap_or(now);
        let interval = version.definition.interval;
        let cycle = match terms.anchor_day {
            Some(day) => BillingCycle::on_day_of_month(paid_from, day, None, interval, terms.zone)?,
            None => BillingCycle::new(paid_from, interval, terms.zone),
        };
        let period = match trial_end {
            Some(end) => {
                Period::new(now, end).map_err(|_| BillingCycleError::Range { number: 0 })?
            }
            None => billed_from(&cycle, now)?,
        };
        let status = match (trial_end, terms.first_payment) {
            (Some(_), _) => SubscriptionStatus::Trialing,
            (None, FirstPayment::Required) => SubscriptionStatus::Incomplete,
            (None, FirstPayment::Later) => SubscriptionStatus::Active,
        };
        let mut next = Self {
            id,
            plan_version: version.id,
            currency: terms.currency,
            status,
            quantity: seats(terms.quantity)?,
            cycle,
            started_at: now,
            current_period: period,
            priced_at: now,
            trial_end,
            cancel_at_period_end: false,
            cancel_at: None,
            canceled_at: None,
            ended_at: None,
            paused_at: None,
            resumes_at: None,
            pending: PendingChange::default(),
            coupons: Vec::new(),
            stripe_subscription: None,
            stripe_customer: None,
            metadata: terms.metadata,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        for coupon in terms.coupons {
            next.add_coupon(coupon, paid_from)?;
        }
        let begun = SubscriptionPeriod::of(&next)?;
        let change = SubscriptionChange::of(next, SubscriptionEvent::Created);
        Ok(change.beginning(begun))
    }

    /// The subscription with a coupon more, from the next period that it is billed for: in the
    /// middle of a period the one after it, since that one is billed at its start.
    ///
    /// # Errors
    /// `NotNow` when it is over, `TooManyCoupons`, `CouponCurrency`.
    pub fn apply_coupon(
        &self,
        coupon: Coupon,
        now: DateTime<Utc>,
    ) -> Result<Option<SubscriptionChange>, SubscriptionError> {
        self.must_not_be_over("apply_coupon", now)?;
        let mut next = self.touched(now);
        let start = self.current_period.start();
        let billed = self.status != SubscriptionStatus::Trialing && micros(now) == start;
        let from = if billed {
            start
        } else {
            self.current_period.end()
        };
        next.add_coupon(coupon, from)?;
        Ok(Some(SubscriptionChange::of(
            next,
            SubscriptionEvent::Updated,
        )))
    }

    /// The subscription with other metadata; `None` if it has these.
    #[must_use]
    pub fn described(&self, metadata: Document, now: DateTime<Utc>) -> Option<SubscriptionChange> {
        (metadata != self.metadata).then(|| {
            let next = Self {
                metadata,
                ..self.touched(now)
            };
            SubscriptionChange::of(next, SubscriptionEvent::Updated)
        })
    }

    fn add_coupon(&mut self, coupon: Coupon, from: DateTime<Utc>) -> Result<(), SubscriptionError> {
        let count = self.coupons.len() + 1;
        if count > Self::MAX_COUPONS {
            return Err(SubscriptionError::TooManyCoupons { count });
        }
        match coupon.off() {
            Off::AmountOff(amount) if amount.currency() != self.currency => {
                Err(SubscriptionError::CouponCurrency {
                    given: amount.currency(),
                    currency: self.currency,
                })
            }
            _ => {
                self.coupons.push(AppliedCoupon { coupon, from });
                Ok(())
            }
        }
    }

    /// When it ends, as far as that is decided.
    #[must_use]
    pub fn ends_at(&self) -> Option<DateTime<Utc>> {
        if self.status.is_over() {
            return self.ended_at;
        }
        if self.cancel_at_period_end {
            return Some(self.current_period.end());
        }
        self.cancel_at
    }

    /// When something happens by itself: a renewal, the end of a trial or of the wait for the first
    /// payment, its going on after a pause, its end. `None` when nothing ever does.
    #[must_use]
    pub fn due_at(&self) -> Option<DateTime<Utc>> {
        use SubscriptionStatus as S;
        let by_itself = match self.status {
            S::Canceled | S::IncompleteExpired => return None,
            S::Incomplete => self.created_at.checked_add_signed(Self::INCOMPLETE_FOR),
            S::Trialing | S::Active | S::PastDue | S::Unpaid => Some(self.current_period.end()),
            S::Paused => self.resumes_at,
        };
        by_itself.into_iter().chain(self.ends_at()).min()
    }

    /// The period from boundary to boundary, of which the present one may be a part: what
    /// proration divides by. A trial is whole by itself.
    ///
    /// # Errors
    /// `Cycle` for a boundary beyond the years that can be told.
    pub fn whole_period(&self) -> Result<Period, SubscriptionError> {
        if self.is_in_trial_period() {
            return Ok(self.current_period);
        }
        Ok(self.cycle.period_at(self.current_period.start())?)
    }

    /// Whether the present period is the trial.
    #[must_use]
    pub fn is_in_trial_period(&self) -> bool {
        self.trial_end
            .is_some_and(|end| self.current_period.start() < end)
    }

    pub(super) fn must_not_be_over(
        &self,
        act: &'static str,
        now: DateTime<Utc>,
    ) -> Result<(), SubscriptionError> {
        if self.status.is_over() {
            return Err(SubscriptionError::NotNow {
                act,
                status: self.status,
                needed: "not over",
            });
        }
        self.must_be_up_to_date(now)
    }

    pub(super) fn must_be_up_to_date(&self, now: DateTime<Utc>) -> Result<(), SubscriptionError> {
        match self.due_at().filter(|due| *due <= micros(now)) {
            Some(due) => Err(SubscriptionError::Overdue { due }),
            None => Ok(()),
        }
    }

    pub(super) fn touched(&self, now: DateTime<Utc>) -> Self {
        Self {
            updated_at: micros(now),
            ..self.clone()
        }
    }
}

/// Checks the number of seats.
pub(super) fn seats(quantity: u32) -> Result<u32, SubscriptionError> {
    if (1..=Subscription::MAX_QUANTITY).contains(&quantity) {
        Ok(quantity)
    } else {
        Err(SubscriptionError::Quantity { quantity })
    }
}

/// What is left of the period that holds the instant.
pub(super) fn billed_from(
    cycle: &BillingCycle,
    at: DateTime<Utc>,
) -> Result<Period, SubscriptionError> {
    let end = cycle.period_at(at)?.end();
    let period = Period::new(at, end);
    Ok(period.map_err(|_| BillingCycleError::Range { number: 0 })?)
}

/// So many days of the calendar later, at the same local time; `None` for no days.
fn trial_end(
    start: DateTime<Utc>,
    days: u32,
    zone: Tz,
) -> Result<Option<DateTime<Utc>>, SubscriptionError> {
    if days == 0 {
        return Ok(None);
    }
    if days > PlanDefinition::MAX_TRIAL_DAYS {
        return Err(SubscriptionError::Trial { days });
    }
    let trial = BillingCycle::new(start, Interval::new(IntervalUnit::Day, days)?, zone);
    Ok(Some(trial.boundary(1)?))
}

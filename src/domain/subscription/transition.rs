//! What happens to a subscription: by itself, and by decision.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::entity::billed_from;
use super::{PendingLine, Subscription, SubscriptionError, SubscriptionStatus};
use crate::domain::ids::PlanVersionId;
use crate::domain::time::{Period, micros};

/// What happened to a subscription: what messages of it are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SubscriptionEvent {
    /// It began.
    Created,
    /// Something about it changed.
    Updated,
    /// A new period began.
    Renewed,
    /// Its trial ended and its first period began.
    TrialEnded,
    /// It was paused.
    Paused,
    /// It went on after a pause.
    Resumed,
    /// Its first payment did not come in time.
    Expired,
    /// It ended.
    Canceled,
}

impl SubscriptionEvent {
    /// The kind of its message: `subscription_created`, and so on.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "subscription_created",
            Self::Updated => "subscription_updated",
            Self::Renewed => "subscription_renewed",
            Self::TrialEnded => "subscription_trial_ended",
            Self::Paused => "subscription_paused",
            Self::Resumed => "subscription_resumed",
            Self::Expired => "subscription_expired",
            Self::Canceled => "subscription_canceled",
        }
    }
}

/// A period of a subscription, with what it began with: what its recurring charges are billed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionPeriod {
    /// From where to where it is billed.
    pub period: Period,
    /// From boundary to boundary: what a part of it is a part of.
    pub whole: Period,
    /// The version of the plan at its start.
    pub plan_version: PlanVersionId,
    /// The seats at its start.
    pub quantity: u32,
    /// Whether it is free.
    pub trial: bool,
}

impl SubscriptionPeriod {
    /// The present period, as if it began with what the subscription is now.
    pub(super) fn of(subscription: &Subscription) -> Result<Self, SubscriptionError> {
        Ok(Self {
            period: subscription.current_period,
            whole: subscription.whole_period()?,
            plan_version: subscription.plan_version,
            quantity: subscription.quantity,
            trial: subscription.is_in_trial_period(),
        })
    }
}

/// What has to be written together, and told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use]
pub struct SubscriptionChange {
    /// The subscription as it is to be.
    pub subscription: Subscription,
    /// What happened.
    pub event: SubscriptionEvent,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// The period that began, or that began with something else than was written.
    pub begun: Option<SubscriptionPeriod>,
    /// What the next invoice credits and charges for the rest of a period.
    pub lines: Vec<PendingLine>,
}

impl SubscriptionChange {
    pub(super) fn of(subscription: Subscription, event: SubscriptionEvent) -> Self {
        Self {
            at: subscription.updated_at,
            subscription,
            event,
            begun: None,
            lines: Vec::new(),
        }
    }

    pub(super) fn beginning(mut self, period: SubscriptionPeriod) -> Self {
        self.begun = Some(period);
        self
    }

    pub(super) fn at(mut self, instant: DateTime<Utc>) -> Self {
        self.at = instant;
        self
    }

    pub(super) fn with_lines(mut self, lines: Vec<PendingLine>) -> Self {
        self.lines = lines;
        self
    }
}

type Changed = Result<Option<SubscriptionChange>, SubscriptionError>;

impl Subscription {
    /// Does the first thing that was due by now, as of its own instant; `None` if nothing was. To
    /// bring a subscription up to date, repeat it.
    ///
    /// # Errors
    /// `Cycle` for a boundary beyond the years that can be told.
    pub fn advance(&self, now: DateTime<Utc>) -> Changed {
        use SubscriptionStatus as S;
        let Some(at) = self.due_at().filter(|at| *at <= micros(now)) else {
            return Ok(None);
        };
        if self.ends_at().is_some_and(|end| end <= at) {
            return Ok(Some(self.ended(S::Canceled, at, now)));
        }
        let change = match self.status {
            S::Incomplete => self.ended(S::IncompleteExpired, at, now),
            S::Trialing => self.begin(at, now, SubscriptionEvent::TrialEnded)?,
            S::Paused => self.gone_on(at, now)?,
            _ => self.begin(at, now, SubscriptionEvent::Renewed)?,
        };
        Ok(Some(change))
    }

    /// Ends the trial now, before its time: the first period begins, and the cycle is anchored
    /// here.
    ///
    /// # Errors
    /// `Transition` unless it is in a trial; `Overdue`.
    pub fn end_trial(&self, now: DateTime<Utc>) -> Result<SubscriptionChange, SubscriptionError> {
        if self.status != SubscriptionStatus::Trialing {
            return Err(self.refused("end_trial", SubscriptionStatus::Active));
        }
        self.must_be_up_to_date(now)?;
        let at = micros(now);
        let mut shortened = self.clone();
        shortened.cycle = self.cycle.continued(at, self.cycle.interval());
        shortened.trial_end = Some(at);
        for coupon in &mut shortened.coupons {
            coupon.from = coupon.from.min(at);
        }
        shortened.begin(at, now, SubscriptionEvent::TrialEnded)
    }

    /// Ends it now. What is left of the period is not credited: see
    /// [`cancel_with_credit`](Self::cancel_with_credit). One that waits for its first payment
    /// expires; `None` if it is over.
    ///
    /// # Errors
    /// `Overdue`.
    pub fn cancel(&self, now: DateTime<Utc>) -> Changed {
        use SubscriptionStatus as S;
        if self.status.is_over() {
            return Ok(None);
        }
        self.must_be_up_to_date(now)?;
        let to = match self.status {
            S::Incomplete => S::IncompleteExpired,
            _ => S::Canceled,
        };
        Ok(Some(self.ended(to, micros(now), now)))
    }

    /// Lets it end with the present period; `None` if it does already.
    ///
    /// # Errors
    /// `NotNow` when it is over or waits for its first payment; `Overdue`.
    pub fn cancel_at_period_end(&self, now: DateTime<Utc>) -> Changed {
        self.must_have_begun("cancel_at_period_end", now)?;
        if self.cancel_at_period_end {
            return Ok(None);
        }
        if self.current_period.end() <= micros(now) {
            // It is paused, and its period is over already.
            return self.cancel(now);
        }
        let mut next = self.touched(now);
        next.cancel_at_period_end = true;
        next.cancel_at = None;
        next.canceled_at = Some(micros(now));
        Ok(Some(SubscriptionChange::of(
            next,
            SubscriptionEvent::Updated,
        )))
    }

    /// Lets it end at an instant; `None` if it does already.
    ///
    /// # Errors
    /// `NotAhead` for an instant that has come; otherwise as
    /// [`cancel_at_period_end`](Self::cancel_at_period_end).
    pub fn cancel_at(&self, at: DateTime<Utc>, now: DateTime<Utc>) -> Changed {
        self.must_have_begun("cancel_at", now)?;
        let at = ahead("cancel_at", at, now)?;
        if self.cancel_at == Some(at) {
            return Ok(None);
        }
        let mut next = self.touched(now);
        next.cancel_at_period_end = false;
        next.cancel_at = Some(at);
        next.canceled_at = Some(micros(now));
        Ok(Some(SubscriptionChange::of(
            next,
            SubscriptionEvent::Updated,
        )))
    }

    /// Takes a decision to end it back; `None` if there is none.
    ///
    /// # Errors
    /// `NotNow` when it is over; `Overdue`.
    pub fn keep(&self, now: DateTime<Utc>) -> Changed {
        self.must_not_be_over("keep", now)?;
        if self.ends_at().is_none() {
            return Ok(None);
        }
        let mut next = self.touched(now);
        next.cancel_at_period_end = false;
        next.cancel_at = None;
        next.canceled_at = None;
        Ok(Some(SubscriptionChange::of(
            next,
            SubscriptionEvent::Updated,
        )))
    }

    /// Pauses it, until an instant or until it is resumed; `None` if it is paused so already.
    ///
    /// # Errors
    /// `Transition` unless it is trialing, active or paused; `NotAhead` for an instant that has
    /// come; `Overdue`.
    pub fn pause(&self, resumes_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Changed {
        use SubscriptionStatus as S;
        if !matches!(self.status, S::Trialing | S::Active | S::Paused) {
            return Err(self.refused("pause", S::Paused));
        }
        self.must_be_up_to_date(now)?;
        let resumes_at = resumes_at
            .map(|at| ahead("resumes_at", at, now))
            .transpose()?;
        if self.status == S::Paused && self.resumes_at == resumes_at {
            return Ok(None);
        }
        let mut next = self.touched(now);
        next.resumes_at = resumes_at;
        if self.status == S::Paused {
            return Ok(Some(SubscriptionChange::of(
                next,
                SubscriptionEvent::Updated,
            )));
        }
        next.status = S::Paused;
        next.paused_at = Some(micros(now));
        Ok(Some(SubscriptionChange::of(
            next,
            SubscriptionEvent::Paused,
        )))
    }

    /// Lets it go on after a pause: with its trial or its period, if that is not over; otherwise a
    /// new period begins and lasts until the next boundary.
    ///
    /// # Errors
    /// `Transition` unless it is paused; `Overdue`; `Cycle`.
    pub fn resume(&self, now: DateTime<Utc>) -> Result<SubscriptionChange, SubscriptionError> {
        if self.status != SubscriptionStatus::Paused {
            return Err(self.refused("resume", SubscriptionStatus::Active));
        }
        self.must_be_up_to_date(now)?;
        self.gone_on(micros(now), now)
    }

    fn gone_on(
        &self,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<SubscriptionChange, SubscriptionError> {
        if at >= self.current_period.end() {
            return self.begin(at, now, SubscriptionEvent::Resumed);
        }
        let mut next = self.touched(now);
        next.status = if self.is_in_trial_period() {
            SubscriptionStatus::Trialing
        } else {
            SubscriptionStatus::Active
        };
        next.paused_at = None;
        next.resumes_at = None;
        Ok(SubscriptionChange::of(next, SubscriptionEvent::Resumed).at(at))
    }

    /// Begins the period that holds the instant, there, with what was to change with it.
    pub(super) fn begin(
        &self,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
        event: SubscriptionEvent,
    ) -> Result<SubscriptionChange, SubscriptionError> {
        use SubscriptionStatus as S;
        let mut next = self.touched(now);
        let pending = std::mem::take(&mut next.pending);
        if let Some(plan) = pending.plan {
            next.plan_version = plan.version;
            if plan.interval != next.cycle.interval() {
                next.cycle = next.cycle.continued(at, plan.interval);
            }
        }
        next.quantity = pending.quantity.unwrap_or(next.quantity);
        next.current_period = billed_from(&next.cycle, at)?;
        next.priced_at = at;
        if matches!(next.status, S::Trialing | S::Paused) {
            next.status = S::Active;
        }
        next.paused_at = None;
        next.resumes_at = None;
        let begun = SubscriptionPeriod::of(&next)?;
        Ok(SubscriptionChange::of(next, event).at(at).beginning(begun))
    }

    /// Ends it for good.
    pub(super) fn ended(
        &self,
        to: SubscriptionStatus,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> SubscriptionChange {
        let mut next = self.touched(now);
        next.status = to;
        next.ended_at = Some(at);
        next.canceled_at = self.canceled_at.or(Some(at));
        next.pending = super::PendingChange::default();
        next.paused_at = None;
        next.resumes_at = None;
        let event = match to {
            SubscriptionStatus::IncompleteExpired => SubscriptionEvent::Expired,
            _ => SubscriptionEvent::Canceled,
        };
        SubscriptionChange::of(next, event).at(at)
    }

    pub(super) fn refused(&self, by: &'static str, to: SubscriptionStatus) -> SubscriptionError {
        SubscriptionError::Transition {
            by,
            from: self.status,
            to,
        }
    }

    fn must_have_begun(
        &self,
        act: &'static str,
        now: DateTime<Utc>,
    ) -> Result<(), SubscriptionError> {
        if self.status == SubscriptionStatus::Incomplete {
            return Err(SubscriptionError::NotNow {
                act,
                status: self.status,
                needed: "paid for the first time",
            });
        }
        self.must_not_be_over(act, now)
    }
}

fn ahead(
    field: &'static str,
    given: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, SubscriptionError> {
    let (given, now) = (micros(given), micros(now));
    if given <= now {
        return Err(SubscriptionError::NotAhead { field, given, now });
    }
    Ok(given)
}

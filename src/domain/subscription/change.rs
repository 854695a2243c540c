//! Changes of plan and seats, now or with the next period.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::entity::{PendingChange, PendingPlan, billed_from, seats};
use super::line::Recurring;
use super::transition::{SubscriptionChange, SubscriptionEvent, SubscriptionPeriod};
use super::{Subscription, SubscriptionError, SubscriptionStatus};
use crate::domain::catalogue::{PlanVersion, PriceBook};
use crate::domain::proration::ProrationPolicy;
use crate::domain::time::micros;

/// When a change counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum When {
    /// At once: the rest of the period is credited and charged. The default.
    #[default]
    Now,
    /// When the next period begins.
    PeriodEnd,
}

type Changed = Result<Option<SubscriptionChange>, SubscriptionError>;

impl Subscription {
    /// Changes to another version of a plan, or of the plan it has, now. `old` is the book of the
    /// version it has. What was to change the plan with the next period no longer does. `None` if
    /// it has this version and is to keep it.
    ///
    /// # Errors
    /// `NotNow` unless it is in use; `Catalogue` for a charge without a price in the subscription's
    /// currency; `Overdue`.
    pub fn change_plan(
        &self,
        old: &PriceBook,
        new: &PriceBook,
        policy: ProrationPolicy,
        now: DateTime<Utc>,
    ) -> Changed {
        self.must_be_in_use("change_plan", now)?;
        let (at, version) = (micros(now), new.version());
        if version.id == self.plan_version {
            return Ok(self.with_pending(
                PendingChange {
                    plan: None,
                    ..self.pending
                },
                now,
            ));
        }
        new.must_sell_in(self.currency, at)?;
        let price = |book: &PriceBook, at| Recurring::all(book, self.currency, self.quantity, at);
        let interval = version.definition.interval;
        let other_interval = interval != self.cycle.interval();
        let mut next = self.touched(now);
        next.plan_version = version.id;
        next.pending.plan = None;
        if self.status == SubscriptionStatus::Trialing {
            if other_interval {
                next.cycle = self.cycle.continued(self.current_period.end(), interval);
            }
            return self.rebegun(next, Vec::new());
        }
        let whole = at == self.current_period.start();
        if other_interval {
            // The new period is billed as a whole, like any other; only the old one's rest is left.
            let credits = if whole {
                Vec::new()
            } else {
                self.prorated(&price(old, self.priced_at)?, &[], policy, at)?
            };
            next.cycle = self.cycle.continued(at, interval);
            next.current_period = billed_from(&next.cycle, at)?;
            next.priced_at = at;
            return self.rebegun(next, credits);
        }
        if whole {
            return self.rebegun(next, Vec::new());
        }
        let (old, new) = (price(old, self.priced_at)?, price(new, at)?);
        next.priced_at = at;
        let lines = self.prorated(&old, &new, policy, at)?;
        let change = SubscriptionChange::of(next, SubscriptionEvent::Updated);
        Ok(Some(change.with_lines(lines)))
    }

    /// Changes to another version of a plan when the next period begins; `None` if it does already.
    ///
    /// # Errors
    /// `NotNow` when it is over or waits for its first payment; `Catalogue` for a charge without a
    /// price in the subscription's currency; `Overdue`.
    pub fn change_plan_at_period_end(&self, new: &PriceBook, now: DateTime<Utc>) -> Changed {
        self.must_be_in_use("change_plan_at_period_end", now)?;
        let version: &PlanVersion = new.version();
        let plan = PendingPlan {
            version: version.id,
            interval: version.definition.interval,
        };
        let plan = (version.id != self.plan_version).then_some(plan);
        if plan.is_some() {
            new.must_sell_in(self.currency, micros(now))?;
        }
        Ok(self.with_pending(
            PendingChange {
                plan,
                ..self.pending
            },
            now,
        ))
    }

    /// Changes the number of seats now, at the prices that the period has. What was to change it
    /// with the next period no longer does. `None` if it has as many and is to keep them.
    ///
    /// # Errors
    /// `Quantity`; otherwise as [`change_plan`](Self::change_plan).
    pub fn change_quantity(
        &self,
        book: &PriceBook,
        quantity: u32,
        policy: ProrationPolicy,
        now: DateTime<Utc>,
    ) -> Changed {
        self.must_be_in_use("change_quantity", now)?;
        let (at, quantity) = (micros(now), seats(quantity)?);
        if quantity == self.quantity {
            return Ok(self.with_pending(
                PendingChange {
                    quantity: None,
                    ..self.pending
                },
                now,
            ));
        }
        let mut next = self.touched(now);
        next.quantity = quantity;
        next.pending.quantity = None;
        if self.status == SubscriptionStatus::Trialing || at == self.current_period.start() {
            return self.rebegun(next, Vec::new());
        }
        let price = |seats| Recurring::all(book, self.currency, seats, self.priced_at);
        let lines = self.prorated(&price(self.quantity)?, &price(quantity)?, policy, at)?;
        let change = SubscriptionChange::of(next, SubscriptionEvent::Updated);
        Ok(Some(change.with_lines(lines)))
    }

    /// Changes the number of seats when the next period begins; `None` if it does already.
    ///
    /// # Errors
    /// `NotNow` when it is over or waits for its first payment; `Quantity`; `Overdue`.
    pub fn change_quantity_at_period_end(&self, quantity: u32, now: DateTime<Utc>) -> Changed {
        self.must_be_in_use("change_quantity_at_period_end", now)?;
        let quantity = seats(quantity)?;
        let quantity = (quantity != self.quantity).then_some(quantity);
        Ok(self.with_pending(
            PendingChange {
                quantity,
                ..self.pending
            },
            now,
        ))
    }

    /// Lets nothing change with the next period; `None` if nothing was to.
    ///
    /// # Errors
    /// `NotNow` when it is over; `Overdue`.
    pub fn keep_plan(&self, now: DateTime<Utc>) -> Changed {
        self.must_not_be_over("keep_plan", now)?;
        Ok(self.with_pending(PendingChange::default(), now))
    }

    /// Ends it now and credits what is left of the period; `None` if it is over. `book` is that of
    /// the version it has.
    ///
    /// # Errors
    /// `Catalogue` for a charge without a price in the subscription's currency; `Overdue`.
    pub fn cancel_with_credit(
        &self,
        book: &PriceBook,
        policy: ProrationPolicy,
        now: DateTime<Utc>,
    ) -> Changed {
        use SubscriptionStatus as S;
        let Some(change) = self.cancel(now)? else {
            return Ok(None);
        };
        let paid_for =
            matches!(self.status, S::Active | S::PastDue | S::Paused) && !self.is_in_trial_period();
        if !paid_for {
            return Ok(Some(change));
        }
        let old = Recurring::all(book, self.currency, self.quantity, self.priced_at)?;
        let credits = self.prorated(&old, &[], policy, micros(now))?;
        Ok(Some(change.with_lines(credits)))
    }

    /// The change of a period that counts as begun with what it is now.
    fn rebegun(&self, next: Self, lines: Vec<super::PendingLine>) -> Changed {
        let begun = SubscriptionPeriod::of(&next)?;
        let change = SubscriptionChange::of(next, SubscriptionEvent::Updated);
        Ok(Some(change.beginning(begun).with_lines(lines)))
    }

    fn with_pending(
        &self,
        pending: PendingChange,
        now: DateTime<Utc>,
    ) -> Option<SubscriptionChange> {
        (pending != self.pending).then(|| {
            let mut next = self.touched(now);
            next.pending = pending;
            SubscriptionChange::of(next, SubscriptionEvent::Updated)
        })
    }

    fn must_be_in_use(
        &self,
        act: &'static str,
        now: DateTime<Utc>,
    ) -> Result<(), SubscriptionError> {
        if !self.status.is_in_use() {
            return Err(SubscriptionError::NotNow {
                act,
                status: self.status,
                needed: "trialing, active or past_due",
            });
        }
        self.must_be_up_to_date(now)
    }
}

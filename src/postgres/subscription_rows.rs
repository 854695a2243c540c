//! Rows of subscriptions, their periods and their pending lines.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::error::corrupt;
use crate::domain::billing_cycle::{BillingCycle, Interval, IntervalUnit};
use crate::domain::catalogue::ChargeCode;
use crate::domain::json::Document;
use crate::domain::money::{Currency, Money};
use crate::domain::subscription::{
    LineKind, PendingChange, PendingLine, PendingPlan, StripeCustomerId, StripeSubscriptionId,
    Subscription, SubscriptionError, SubscriptionPeriod,
};
use crate::domain::tenancy::time_zone;
use crate::domain::text::TextError;
use crate::domain::time::Period;
use crate::store::{StoreError, StoreResult};

pub(super) struct SubscriptionRow {
    pub(super) id: Uuid,
    pub(super) plan_version_id: Uuid,
    pub(super) currency: String,
    pub(super) status: String,
    pub(super) quantity: i32,
    pub(super) anchor: DateTime<Utc>,
    pub(super) anchor_day: Option<i32>,
    pub(super) time_zone: String,
    pub(super) billing_interval: String,
    pub(super) interval_count: i32,
    pub(super) started_at: DateTime<Utc>,
    pub(super) current_period_start: DateTime<Utc>,
    pub(super) current_period_end: DateTime<Utc>,
    pub(super) priced_at: DateTime<Utc>,
    pub(super) trial_end: Option<DateTime<Utc>>,
    pub(super) cancel_at_period_end: bool,
    pub(super) cancel_at: Option<DateTime<Utc>>,
    pub(super) canceled_at: Option<DateTime<Utc>>,
    pub(super) ended_at: Option<DateTime<Utc>>,
    pub(super) paused_at: Option<DateTime<Utc>>,
    pub(super) resumes_at: Option<DateTime<Utc>>,
    pub(super) pending_plan_version_id: Option<Uuid>,
    pub(super) pending_interval: Option<String>,
    pub(super) pending_interval_count: Option<i32>,
    pub(super) pending_quantity: Option<i32>,
    pub(super) coupons: Value,
    pub(super) stripe_subscription_id: Option<String>,
    pub(super) stripe_customer_id: Option<String>,
    pub(super) metadata: Value,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) revision: i64,
}

impl SubscriptionRow {
    pub(super) fn read(self, operation: &'static str) -> StoreResult<Subscription> {
        let place = Place(operation, format!("subscriptions {}", self.id));
        let interval = place.interval(&self.billing_interval, self.interval_count)?;
        let zone = time_zone(&self.time_zone).map_err(|error| place.text(error))?;
        let mut cycle = BillingCycle::new(self.anchor, interval, zone);
        if let Some(day) = self.anchor_day {
            let with_day = cycle.with_anchor_day(day.unsigned_abs());
            cycle = with_day.map_err(|error| place.broken(error.into()))?;
        }
        let plan = match (self.pending_plan_version_id, self.pending_interval) {
            (Some(version), Some(unit)) => Some(PendingPlan {
                version: version.into(),
                interval: place.interval(&unit, self.pending_interval_count.unwrap_or_default())?,
            }),
            _ => None,
        };
        let stripe = self.stripe_subscription_id.as_deref();
        let stripe = stripe.map(StripeSubscriptionId::new).transpose();
        let customer = self.stripe_customer_id.as_deref();
        let customer = customer.map(StripeCustomerId::new).transpose();
        let Place(_, named) = &place;
        Ok(Subscription {
            id: self.id.into(),
            plan_version: self.plan_version_id.into(),
            currency: place.currency(&self.currency)?,
            status: self.status.parse().map_err(|error| place.text(error))?,
            quantity: self.quantity.unsigned_abs(),
            cycle,
            started_at: self.started_at,
            current_period: place.period(self.current_period_start, self.current_period_end)?,
            priced_at: self.priced_at,
            trial_end: self.trial_end,
            cancel_at_period_end: self.cancel_at_period_end,
            cancel_at: self.cancel_at,
            canceled_at: self.canceled_at,
            ended_at: self.ended_at,
            paused_at: self.paused_at,
            resumes_at: self.resumes_at,
            pending: PendingChange {
                plan,
                quantity: self.pending_quantity.map(i32::unsigned_abs),
            },
            coupons: serde_json::from_value(self.coupons)
                .map_err(|error| corrupt(operation, named, error))?,
            stripe_subscription: stripe.map_err(|error| place.text(error))?,
            stripe_customer: customer.map_err(|error| place.text(error))?,
            metadata: Document::new("metadata", self.metadata)
                .map_err(|error| corrupt(operation, named, error))?,
            created_at: self.created_at,
            updated_at: self.updated_at,
            revision: self.revision,
        })
    }
}

pub(super) struct PeriodRow {
    pub(super) subscription_id: Uuid,
    pub(super) period_start: DateTime<Utc>,
    pub(super) period_end: DateTime<Utc>,
    pub(super) whole_start: DateTime<Utc>,
    pub(super) whole_end: DateTime<Utc>,
    pub(super) plan_version_id: Uuid,
    pub(super) quantity: i32,
    pub(super) trial: bool,
}

impl PeriodRow {
    pub(super) fn read(self, operation: &'static str) -> StoreResult<SubscriptionPeriod> {
        let named = format!("subscription_periods {}", self.subscription_id);
        let place = Place(operation, named);
        Ok(SubscriptionPeriod {
            period: place.period(self.period_start, self.period_end)?,
            whole: place.period(self.whole_start, self.whole_end)?,
            plan_version: self.plan_version_id.into(),
            quantity: self.quantity.unsigned_abs(),
            trial: self.trial,
        })
    }
}

pub(super) struct LineRow {
    pub(super) subscription_id: Uuid,
    pub(super) change: i64,
    pub(super) charge: String,
    pub(super) kind: String,
    pub(super) amount: i64,
    pub(super) currency: String,
    pub(super) period_start: DateTime<Utc>,
    pub(super) period_end: DateTime<Utc>,
    pub(super) plan_version_id: Uuid,
    pub(super) price: Value,
    pub(super) quantity: i32,
    pub(super) created_at: DateTime<Utc>,
}

impl LineRow {
    pub(super) fn read(self, operation: &'static str) -> StoreResult<PendingLine> {
        let named = format!("pending_lines {} {}", self.subscription_id, self.change);
        let place = Place(operation, named);
        let Place(_, named) = &place;
        let amount = Money::new(self.amount, place.currency(&self.currency)?);
        Ok(PendingLine {
            change: self.change,
            charge: ChargeCode::new(&self.charge).map_err(|error| place.text(error))?,
            kind: if self.kind == LineKind::Credit.as_str() {
                LineKind::Credit
            } else {
                LineKind::Charge
            },
            amount: amount.map_err(|error| place.broken(error.into()))?,
            period: place.period(self.period_start, self.period_end)?,
            plan_version: self.plan_version_id.into(),
            price: serde_json::from_value(self.price)
                .map_err(|error| corrupt(operation, named, error))?,
            quantity: self.quantity.unsigned_abs(),
            created_at: self.created_at,
        })
    }
}

/// The operation, and the table and the key of a row that is read.
struct Place(&'static str, String);

impl Place {
    fn broken(&self, error: SubscriptionError) -> StoreError {
        corrupt(self.0, &self.1, error)
    }

    fn text(&self, error: TextError) -> StoreError {
        self.broken(error.into())
    }

    fn currency(&self, code: &str) -> StoreResult<Currency> {
        Currency::new(code).map_err(|error| self.text(error))
    }

    fn period(&self, start: DateTime<Utc>, end: DateTime<Utc>) -> StoreResult<Period> {
        Period::new(start, end).map_err(|error| corrupt(self.0, &self.1, error))
    }

    fn interval(&self, unit: &str, count: i32) -> StoreResult<Interval> {
        let unit: IntervalUnit = serde_json::from_value(Value::String(unit.to_owned()))
            .map_err(|error| corrupt(self.0, &self.1, error))?;
        let interval = Interval::new(unit, count.unsigned_abs());
        interval.map_err(|error| self.broken(error.into()))
    }
}

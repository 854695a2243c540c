//! What the rest of a period is credited and charged when a subscription changes in its middle.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Subscription, SubscriptionError};
use crate::domain::catalogue::{ChargeCode, ChargeKind, PriceBook, PriceTerms};
use crate::domain::ids::PlanVersionId;
use crate::domain::money::{Currency, Money, Rounding};
use crate::domain::proration::{Proration, ProrationPolicy};
use crate::domain::time::Period;

/// Whether a line takes or gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LineKind {
    /// What is left of the old.
    Credit,
    /// What is left of the new.
    Charge,
}

impl LineKind {
    /// The name that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credit => "credit",
            Self::Charge => "charge",
        }
    }
}

/// A line that waits for the subscription's next invoice.
///
/// Of one change there is at most one line of a kind for a charge: the subscription's revision that
/// was changed, the charge and the kind are its key, so that the same change twice bills once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingLine {
    /// The revision of the subscription that was changed.
    pub change: i64,
    /// The charge.
    pub charge: ChargeCode,
    /// Whether it takes or gives.
    pub kind: LineKind,
    /// How much: below nothing for a credit, above for a charge.
    pub amount: Money,
    /// The rest of the period.
    pub period: Period,
    /// The version of the plan that has the charge.
    pub plan_version: PlanVersionId,
    /// The price it was computed from, as it was then.
    pub price: PriceTerms,
    /// The price's quantity: seats, or 1.
    pub quantity: u32,
    /// When the change was made.
    pub created_at: DateTime<Utc>,
}

/// What one recurring charge costs for a whole period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recurring {
    /// The version of the plan that has the charge.
    pub plan_version: PlanVersionId,
    /// Whether the price's quantity is the seats.
    pub per_seat: bool,
    /// The price's quantity: seats, or 1.
    pub quantity: u32,
    /// What one costs.
    pub price: PriceTerms,
    /// What all of it costs.
    pub amount: Money,
}

impl Recurring {
    /// What the recurring charges of a version of a plan cost for a whole period at the prices of
    /// an instant, in the plan's order.
    ///
    /// # Errors
    /// `Catalogue` for a charge without a price in the currency; `Pricing`, `Money`.
    pub fn all(
        book: &PriceBook,
        currency: Currency,
        seats: u32,
        at: DateTime<Utc>,
    ) -> Result<Vec<Self>, SubscriptionError> {
        let version = book.version();
        let mut all = Vec::new();
        for charge in &version.definition.charges {
            let ChargeKind::Recurring { per_seat } = charge.kind else {
                continue;
            };
            let price = book.price(&charge.code, currency, at)?.terms().clone();
            let quantity = if per_seat { seats } else { 1 };
            let mut amount =
                price
                    .model
                    .price(Decimal::from(quantity), currency, Rounding::HalfUp)?;
            if let Some(minimum) = price.commitment.minimum() {
                amount = amount.max(minimum)?;
            }
            if let Some(maximum) = price.commitment.maximum() {
                amount = amount.min(maximum)?;
            }
            all.push(Self {
                plan_version: version.id,
                per_seat,
                quantity,
                price,
                amount,
            });
        }
        Ok(all)
    }
}

impl Subscription {
    /// The lines for the rest of the present period: the old charges credited, the new ones
    /// charged. What costs the same before and after gives no line, nor does nothing.
    pub(super) fn prorated(
        &self,
        old: &[Recurring],
        new: &[Recurring],
        policy: ProrationPolicy,
        now: DateTime<Utc>,
    ) -> Result<Vec<PendingLine>, SubscriptionError> {
        let same = |one: &Recurring, other: &Recurring| {
            (&one.price.charge, one.amount) == (&other.price.charge, other.amount)
        };
        let without = |list: &[Recurring], others: &[Recurring]| -> Vec<Recurring> {
            let kept = list
                .iter()
                .filter(|item| !others.iter().any(|other| same(item, other)));
            kept.cloned().collect()
        };
        let (old, new) = (without(old, new), without(new, old));
        let amounts =
            |list: &[Recurring]| -> Vec<Money> { list.iter().map(|item| item.amount).collect() };
        let proration = Proration::new(self.whole_period()?, policy, self.cycle.zone());
        let change = proration.change(&amounts(&old), &amounts(&new), now)?;
        let Ok(rest) = Period::new(now, self.current_period.end()) else {
            return Ok(Vec::new());
        };
        let credits = old.iter().zip(change.credits);
        let charges = new.iter().zip(change.charges);
        let all = credits
            .map(|(item, amount)| (LineKind::Credit, item, amount))
            .chain(charges.map(|(item, amount)| (LineKind::Charge, item, amount)));
        let lines = all.filter(|(_, _, amount)| !amount.is_zero());
        Ok(lines
            .map(|(kind, item, amount)| PendingLine {
                change: self.revision,
                charge: item.price.charge.clone(),
                kind,
                amount,
                period: rest,
                plan_version: item.plan_version,
                price: item.price.clone(),
                quantity: item.quantity,
                created_at: rest.start(),
            })
            .collect())
    }
}

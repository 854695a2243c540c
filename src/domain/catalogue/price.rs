//! Prices: what a charge costs in a currency, from when until when.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{CatalogueError, Charge, ChargeCode, ChargeKind};
use crate::domain::commitment::Commitment;
use crate::domain::ids::{OverrideId, PlanVersionId, PriceId};
use crate::domain::money::{Currency, Money};
use crate::domain::pricing::PriceModel;
use crate::domain::text::{PlanCode, code_type};
use crate::domain::time::micros;

code_type! {
    /// The id of a price at Stripe, such as `price_1PgafmB7WZ01zgkW6dKueIc5`: at most 255 letters,
    /// digits, `.`, `_` or `-`.
    StripePriceId, "stripe price id", 255;
}

/// What one charge costs in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PriceTerms {
    /// The charge.
    pub charge: ChargeCode,
    /// The currency of every amount.
    pub currency: Currency,
    /// How quantities become amounts.
    pub model: PriceModel,
    /// The least and the most that a period costs.
    #[serde(default = "no_commitment")]
    pub commitment: Commitment,
}

fn no_commitment() -> Commitment {
    Commitment::NONE
}

impl PriceTerms {
    /// Terms without a commitment.
    #[must_use]
    pub fn new(charge: ChargeCode, currency: Currency, model: PriceModel) -> Self {
        Self {
            charge,
            currency,
            model,
            commitment: Commitment::NONE,
        }
    }

    /// Checks that the terms fit the charge they are for.
    ///
    /// # Errors
    /// `NotFlat` for a price by quantity of a charge that has none, `CommitmentCurrency`, and
    /// `Money` for a currency without a minor unit.
    pub fn check(&self, charge: &Charge) -> Result<(), CatalogueError> {
        Money::zero(self.currency)?;
        let by_itself = match charge.kind {
            ChargeKind::Recurring { per_seat } => !per_seat,
            ChargeKind::OneTime => true,
            ChargeKind::Usage { .. } => false,
        };
        if by_itself && !matches!(self.model, PriceModel::Flat(_)) {
            let charge = charge.code.clone();
            return Err(CatalogueError::NotFlat { charge });
        }
        let bounds = [self.commitment.minimum(), self.commitment.maximum()];
        let given = bounds.into_iter().flatten().map(Money::currency);
        match given.into_iter().find(|given| *given != self.currency) {
            Some(given) => Err(CatalogueError::CommitmentCurrency {
                charge: charge.code.clone(),
                given,
                currency: self.currency,
            }),
            None => Ok(()),
        }
    }
}

/// Something that is valid over a stretch of time, one after the other under one key.
trait Valid: Clone {
    fn valid_from(&self) -> DateTime<Utc>;
    fn valid_to(&self) -> Option<DateTime<Utc>>;
    fn terms(&self) -> &PriceTerms;
    fn until(self, end: DateTime<Utc>) -> Self;

    fn is_valid(&self, at: DateTime<Utc>) -> bool {
        self.valid_from() <= at && self.valid_to().is_none_or(|end| at < end)
    }
}

macro_rules! valid {
    ($($price:ident),+) => {$(
        impl Valid for $price {
            fn valid_from(&self) -> DateTime<Utc> {
                self.valid_from
            }

            fn valid_to(&self) -> Option<DateTime<Utc>> {
                self.valid_to
            }

            fn terms(&self) -> &PriceTerms {
                &self.terms
            }

            fn until(self, end: DateTime<Utc>) -> Self {
                Self {
                    valid_to: Some(end),
                    ..self
                }
            }
        }
    )+};
}
valid!(Price, PriceOverride);

/// What has to be written for a new price.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum PriceChange<P> {
    /// Nothing: from that instant on this is the price already.
    Nothing(P),
    /// The new one, and the one before it with its end.
    Supersede {
        /// The one that ends, if one was valid.
        ended: Option<P>,
        /// The one that begins.
        begun: P,
    },
}

/// Puts `new` after those there are of the same charge and currency.
fn supersede<P: Valid>(
    there_are: &[P],
    new: P,
    now: DateTime<Utc>,
) -> Result<PriceChange<P>, CatalogueError> {
    let from = new.valid_from();
    if from < micros(now) {
        return Err(CatalogueError::InThePast { from, now });
    }
    let same = |price: &&P| {
        let (own, other) = (new.terms(), price.terms());
        (&own.charge, own.currency) == (&other.charge, other.currency)
    };
    let valid = there_are.iter().filter(same).find(|p| p.is_valid(from));
    if let Some(valid) = valid {
        if valid.terms() == new.terms() {
            return Ok(PriceChange::Nothing(valid.clone()));
        }
        if valid.valid_from() == from {
            return Err(CatalogueError::BeginsTogether {
                charge: new.terms().charge.clone(),
                currency: new.terms().currency,
                from,
            });
        }
    }
    let next = there_are.iter().filter(same).map(Valid::valid_from);
    let begun = match next.filter(|next| *next > from).min() {
        Some(next) => new.clone().until(next),
        None => new.clone(),
    };
    Ok(PriceChange::Supersede {
        ended: valid.map(|valid| valid.clone().until(from)),
        begun,
    })
}

/// A price in the book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Its id.
    pub id: PriceId,
    /// The version of the plan that it is for.
    pub plan_version: PlanVersionId,
    /// What the charge costs.
    #[serde(flatten)]
    pub terms: PriceTerms,
    /// The same price at Stripe.
    #[serde(default)]
    pub stripe_price: Option<StripePriceId>,
    /// Whether new subscriptions can be made at it. Those there are keep it.
    pub active: bool,
    /// From when it is valid.
    pub valid_from: DateTime<Utc>,
    /// Until when, not included; `None` until another one supersedes it.
    pub valid_to: Option<DateTime<Utc>>,
    /// When it was written.
    pub created_at: DateTime<Utc>,
}

impl Price {
    /// A price from an instant on, without an end.
    #[must_use]
    pub fn new(
        id: PriceId,
        plan_version: PlanVersionId,
        terms: PriceTerms,
        valid_from: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            plan_version,
            terms,
            stripe_price: None,
            active: true,
            valid_from: micros(valid_from),
            valid_to: None,
            created_at: micros(now),
        }
    }

    /// Whether it is valid at an instant.
    #[must_use]
    pub fn is_valid(&self, at: DateTime<Utc>) -> bool {
        Valid::is_valid(self, at)
    }

    /// Puts the price after those of the same charge and currency. One that begins later bounds it.
    ///
    /// # Errors
    /// `InThePast`, and `BeginsTogether` with another price of other terms.
    pub fn supersede(
        self,
        there_are: &[Self],
        now: DateTime<Utc>,
    ) -> Result<PriceChange<Self>, CatalogueError> {
        supersede(there_are, self, now)
    }
}

/// A price that one tenant has, in place of the book's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceOverride {
    /// Its id.
    pub id: OverrideId,
    /// The plan that it is for, in all of its versions.
    pub plan: PlanCode,
    /// What the charge costs this tenant.
    #[serde(flatten)]
    pub terms: PriceTerms,
    /// From when it is valid.
    pub valid_from: DateTime<Utc>,
    /// Until when, not included; `None` for as long as the tenant has the plan.
    pub valid_to: Option<DateTime<Utc>>,
    /// When it was written.
    pub created_at: DateTime<Utc>,
}

impl PriceOverride {
    /// A price of the tenant's own, from an instant on, without an end.
    #[must_use]
    pub fn new(
        id: OverrideId,
        plan: PlanCode,
        terms: PriceTerms,
        valid_from: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            plan,
            terms,
            valid_from: micros(valid_from),
            valid_to: None,
            created_at: micros(now),
        }
    }

    /// Whether it is valid at an instant.
    #[must_use]
    pub fn is_valid(&self, at: DateTime<Utc>) -> bool {
        Valid::is_valid(self, at)
    }

    /// Puts the price after the tenant's others of the same plan, charge and currency.
    ///
    /// # Errors
    /// `InThePast`, and `BeginsTogether` with another price of other terms.
    pub fn supersede(
        self,
        there_are: &[Self],
        now: DateTime<Utc>,
    ) -> Result<PriceChange<Self>, CatalogueError> {
        let of_plan: Vec<Self> = there_are
            .iter()
            .filter(|other| other.plan == self.plan)
            .cloned()
            .collect();
        supersede(&of_plan, self, now)
    }
}

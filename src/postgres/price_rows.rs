//! Rows with prices.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::error::corrupt;
use crate::domain::catalogue::{
    CatalogueError, ChargeCode, Price, PriceOverride, PriceTerms, StripePriceId,
};
use crate::domain::commitment::Commitment;
use crate::domain::money::{Currency, Money};
use crate::domain::text::PlanCode;
use crate::store::StoreResult;

/// A commitment in minor units.
pub(super) struct Bounds {
    pub(super) minimum: Option<i64>,
    pub(super) maximum: Option<i64>,
}

impl Bounds {
    pub(super) fn of(terms: &PriceTerms) -> Self {
        Self {
            minimum: terms.commitment.minimum().map(Money::minor),
            maximum: terms.commitment.maximum().map(Money::minor),
        }
    }
}

fn terms(
    operation: &'static str,
    place: &str,
    (charge, currency): (&str, &str),
    model: Value,
    bounds: &Bounds,
) -> StoreResult<PriceTerms> {
    let broken = |error: CatalogueError| corrupt(operation, place, error);
    let currency = Currency::new(currency).map_err(|error| broken(error.into()))?;
    let money = |minor: Option<i64>| {
        let money = minor.map(|minor| Money::new(minor, currency));
        money.transpose().map_err(|error| broken(error.into()))
    };
    let commitment = Commitment::new(money(bounds.minimum)?, money(bounds.maximum)?);
    Ok(PriceTerms {
        charge: ChargeCode::new(charge).map_err(|error| broken(error.into()))?,
        currency,
        model: serde_json::from_value(model).map_err(|error| corrupt(operation, place, error))?,
        commitment: commitment.map_err(|error| broken(error.into()))?,
    })
}

pub(super) struct PriceRow {
    pub(super) id: Uuid,
    pub(super) plan_version_id: Uuid,
    pub(super) charge: String,
    pub(super) currency: String,
    pub(super) model: Value,
    pub(super) minimum: Option<i64>,
    pub(super) maximum: Option<i64>,
    pub(super) stripe_price_id: Option<String>,
    pub(super) active: bool,
    pub(super) valid_from: DateTime<Utc>,
    pub(super) valid_to: Option<DateTime<Utc>>,
    pub(super) created_at: DateTime<Utc>,
}

impl PriceRow {
    pub(super) fn read(self, operation: &'static str) -> StoreResult<Price> {
        let place = format!("price_book {}", self.id);
        let bounds = Bounds {
            minimum: self.minimum,
            maximum: self.maximum,
        };
        let key = (self.charge.as_str(), self.currency.as_str());
        let stripe = self.stripe_price_id.as_deref().map(StripePriceId::new);
        Ok(Price {
            id: self.id.into(),
            plan_version: self.plan_version_id.into(),
            terms: terms(operation, &place, key, self.model, &bounds)?,
            stripe_price: stripe
                .transpose()
                .map_err(|error| corrupt(operation, &place, error))?,
            active: self.active,
            valid_from: self.valid_from,
            valid_to: self.valid_to,
            created_at: self.created_at,
        })
    }
}

pub(super) struct OverrideRow {
    pub(super) id: Uuid,
    pub(super) plan_code: String,
    pub(super) charge: String,
    pub(super) currency: String,
    pub(super) model: Value,
    pub(super) minimum: Option<i64>,
    pub(super) maximum: Option<i64>,
    pub(super) valid_from: DateTime<Utc>,
    pub(super) valid_to: Option<DateTime<Utc>>,
    pub(super) created_at: DateTime<Utc>,
}

impl OverrideRow {
    pub(super) fn read(self, operation: &'static str) -> StoreResult<PriceOverride> {
        let place = format!("price_overrides {}", self.id);
        let bounds = Bounds {
            minimum: self.minimum,
            maximum: self.maximum,
        };
        let key = (self.charge.as_str(), self.currency.as_str());
        let plan = PlanCode::new(&self.plan_code);
        Ok(PriceOverride {
            id: self.id.into(),
            plan: plan.map_err(|error| corrupt(operation, &place, error))?,
            terms: terms(operation, &place, key, self.model, &bounds)?,
            valid_from: self.valid_from,
            valid_to: self.valid_to,
            created_at: self.created_at,
        })
    }
}

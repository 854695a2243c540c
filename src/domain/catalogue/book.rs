//! The prices of one version of a plan as one tenant sees them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{CatalogueError, ChargeCode, PlanVersion, Price, PriceOverride, PriceTerms};
use crate::domain::ids::{OverrideId, PriceId};
use crate::domain::money::Currency;

/// Looks up what the charges of a plan cost a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceBook {
    version: PlanVersion,
    prices: Vec<Price>,
    overrides: Vec<PriceOverride>,
}

/// The price that counts for a tenant at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EffectivePrice<'b> {
    /// The book's.
    Book(&'b Price),
    /// The tenant's own.
    Override(&'b PriceOverride),
}

impl<'b> EffectivePrice<'b> {
    /// What the charge costs.
    #[must_use]
    pub fn terms(self) -> &'b PriceTerms {
        match self {
            Self::Book(price) => &price.terms,
            Self::Override(price) => &price.terms,
        }
    }

    /// The book's price that it is, if it is one.
    #[must_use]
    pub fn book(self) -> Option<PriceId> {
        match self {
            Self::Book(price) => Some(price.id),
            Self::Override(_) => None,
        }
    }

    /// The tenant's own price that it is, if it is one.
    #[must_use]
    pub fn own(self) -> Option<OverrideId> {
        match self {
            Self::Book(_) => None,
            Self::Override(price) => Some(price.id),
        }
    }
}

impl PriceBook {
    /// The version's prices, and the tenant's own. Those of other plans don't matter.
    #[must_use]
    pub fn new(version: PlanVersion, prices: Vec<Price>, overrides: Vec<PriceOverride>) -> Self {
        Self {
            version,
            prices,
            overrides,
        }
    }

    /// The version of the plan.
    #[must_use]
    pub fn version(&self) -> &PlanVersion {
        &self.version
    }

    /// What a charge costs in a currency at an instant: the tenant's own price if there is one,
    /// the book's otherwise.
    ///
    /// # Errors
    /// `UnknownCharge`, and `NoPrice` with the currencies in which the charge has one.
    pub fn price(
        &self,
        charge: &ChargeCode,
        currency: Currency,
        at: DateTime<Utc>,
    ) -> Result<EffectivePrice<'_>, CatalogueError> {
        self.version.must_have(charge)?;
        let valid: Vec<EffectivePrice<'_>> = self.valid(charge, at).collect();
        valid
            .iter()
            .copied()
            .find(|price| price.terms().currency == currency)
            .ok_or_else(|| {
                let there_are: BTreeSet<Currency> =
                    valid.iter().map(|price| price.terms().currency).collect();
                CatalogueError::NoPrice {
                    plan: self.version.code.clone(),
                    charge: charge.clone(),
                    currency,
                    at,
                    there_are: there_are.into_iter().collect(),
                }
            })
    }

    /// Checks that every charge has a price in the currency, at which new subscriptions can be
    /// made.
    ///
    /// # Errors
    /// As [`PriceBook::price`], for the first charge that has none.
    pub fn must_sell_in(
        &self,
        currency: Currency,
        at: DateTime<Utc>,
    ) -> Result<(), CatalogueError> {
        for charge in &self.version.definition.charges {
            let price = self.price(&charge.code, currency, at)?;
            if matches!(price, EffectivePrice::Book(price) if !price.active) {
                let valid = self.valid(&charge.code, at);
                let open = valid
                    .filter(|price| !matches!(price, EffectivePrice::Book(price) if !price.active));
                let there_are: BTreeSet<Currency> =
                    open.map(|price| price.terms().currency).collect();
                return Err(CatalogueError::NoPrice {
                    plan: self.version.code.clone(),
                    charge: charge.code.clone(),
                    currency,
                    at,
                    there_are: there_are.into_iter().collect(),
                });
            }
        }
        Ok(())
    }

    /// The charge's prices at an instant, the tenant's own first.
    fn valid<'b, 'c>(
        &'b self,
        charge: &'c ChargeCode,
        at: DateTime<Utc>,
    ) -> impl Iterator<Item = EffectivePrice<'b>> + use<'b, 'c> {
        let version = &self.version;
        let own = self
            .overrides
            .iter()
            .filter(move |price| price.plan == version.code && price.terms.charge == *charge)
            .filter(move |price| price.is_valid(at))
            .map(EffectivePrice::Override);
        let book = self
            .prices
            .iter()
            .filter(move |price| price.plan_version == version.id && price.terms.charge == *charge)
            .filter(move |price| price.is_valid(at))
            .map(EffectivePrice::Book);
        own.chain(book)
    }
}

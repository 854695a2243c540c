//! A whole catalogue in one document.
//!
//! ```json
//! {"plans": [{
//!     "code": "pro", "name": "Pro", "interval": "month", "trial_days": 14,
//!     "charges": [
//!         {"code": "base", "name": "Base fee", "kind": "recurring",
//!          "prices": {"EUR": {"model": {"type": "flat", "amount": "29"}}}},
//!         {"code": "executions", "name": "Executions", "kind": "usage", "meter": "executions",
//!          "included": "10000",
//!          "prices": {"EUR": {"model": {"type": "per_unit", "unit_amount": "0.002"},
//!                             "minimum": "10.00"}}}
//!     ],
//!     "limits": {"workflows": {"hard": 50}},
//!     "retention_days": 30
//! }]}
//! ```

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde::Deserialize;

use super::{
    CatalogueError, Charge, ChargeCode, ChargeKind, Entitlement, Limit, LimitName, PlanDefinition,
    PriceTerms, StripePriceId,
};
use crate::domain::billing_cycle::{Interval, IntervalUnit};
use crate::domain::commitment::Commitment;
use crate::domain::decimal::Given;
use crate::domain::metering::MeterName;
use crate::domain::money::{Currency, Money};
use crate::domain::pricing::PriceModel;
use crate::domain::text::{Name, PlanCode};

/// Plans with their prices, as an operator keeps them in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueDocument {
    /// The plans, each of another name.
    pub plans: Vec<PlanDocument>,
}

/// One plan of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanDocument {
    /// Its name.
    pub code: PlanCode,
    /// What it consists of.
    pub definition: PlanDefinition,
    /// What its charges cost.
    pub prices: Vec<DocumentPrice>,
}

/// One price of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentPrice {
    /// What the charge costs.
    pub terms: PriceTerms,
    /// The same price at Stripe.
    pub stripe_price: Option<StripePriceId>,
}

impl CatalogueDocument {
    /// Reads a document in JSON.
    ///
    /// # Errors
    /// `Document` with the path of the first thing that is wrong: what cannot be read, a field that
    /// is not known, a rule that is broken.
    pub fn from_json(text: &str) -> Result<Self, CatalogueError> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let fields = read(&mut reader)?;
        let at_the_end = reader.end();
        at_the_end.map_err(|error| refused("the document", &error))?;
        Self::of(fields)
    }

    /// Reads a document in TOML.
    ///
    /// # Errors
    /// As [`CatalogueDocument::from_json`].
    #[cfg(feature = "toml")]
    pub fn from_toml(text: &str) -> Result<Self, CatalogueError> {
        let reader = toml::Deserializer::parse(text);
        let fields = read(reader.map_err(|error| refused("the document", &error))?)?;
        Self::of(fields)
    }

    fn of(fields: CatalogueFields) -> Result<Self, CatalogueError> {
        let mut codes = BTreeSet::new();
        let mut plans = Vec::new();
        for (number, fields) in fields.plans.into_iter().enumerate() {
            let path = format!("plans[{number}]");
            if !codes.insert(fields.code.clone()) {
                let reason = format!("the plan `{}` is given twice", fields.code);
                let path = format!("{path}.code");
                return Err(CatalogueError::Document { path, reason });
            }
            plans.push(fields.plan(&path)?);
        }
        Ok(Self { plans })
    }
}

fn read<'de, D>(reader: D) -> Result<CatalogueFields, CatalogueError>
where
    D: serde::Deserializer<'de>,
    D::Error: std::fmt::Display,
{
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let path = error.path().to_string();
        // What is wrong with the whole has no path.
        let path = match path.as_str() {
            "." | "?" => "the document",
            path => path,
        };
        refused(path, error.inner())
    })
}

fn refused(path: &str, reason: &impl ToString) -> CatalogueError {
    CatalogueError::Document {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueFields {
    plans: Vec<PlanFields>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanFields {
    code: PlanCode,
    name: Name,
    interval: IntervalUnit,
    #[serde(default = "one")]
    interval_count: u32,
    #[serde(default)]
    trial_days: u32,
    #[serde(default)]
    charges: Vec<ChargeFields>,
    #[serde(default)]
    limits: BTreeMap<LimitName, Limit>,
    #[serde(default)]
    entitlements: BTreeSet<Entitlement>,
    #[serde(default)]
    retention_days: Option<u32>,
}

fn one() -> u32 {
    1
}

impl PlanFields {
    fn plan(self, path: &str) -> Result<PlanDocument, CatalogueError> {
        let mut charges = Vec::new();
        let mut prices = Vec::new();
        for (number, fields) in self.charges.into_iter().enumerate() {
            let path = format!("{path}.charges[{number}]");
            let (charge, of_charge) = fields.charge(&path)?;
            charges.push(charge);
            prices.extend(of_charge);
        }
        let interval = Interval::new(self.interval, self.interval_count);
        let definition = PlanDefinition {
            name: self.name,
            interval: interval.map_err(|error| refused(path, &error))?,
            trial_days: self.trial_days,
            charges,
            limits: self.limits,
            entitlements: self.entitlements,
            retention_days: self.retention_days,
        };
        definition.check().map_err(|error| refused(path, &error))?;
        Ok(PlanDocument {
            code: self.code,
            definition,
            prices,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindField {
    Recurring,
    Usage,
    OneTime,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChargeFields {
    code: ChargeCode,
    name: Name,
    kind: KindField,
    per_seat: Option<bool>,
    meter: Option<MeterName>,
    included: Option<Given>,
    #[serde(default)]
    prices: BTreeMap<Currency, PriceFields>,
}

impl ChargeFields {
    fn charge(self, path: &str) -> Result<(Charge, Vec<DocumentPrice>), CatalogueError> {
        let misplaced = |field: &str, kind: &str| {
            let path = format!("{path}.{field}");
            Err(refused(
                &path,
                &format!("belongs to charges of the kind `{kind}`"),
            ))
        };
        let kind = match self.kind {
            KindField::Usage => {
                let missing = "must be given: a charge of the kind `usage` counts a meter";
                let meter = self.meter;
                ChargeKind::Usage {
                    meter: meter.ok_or_else(|| refused(&format!("{path}.meter"), &missing))?,
                    included: decimal(&format!("{path}.included"), self.included)?
                        .unwrap_or(Decimal::ZERO),
                }
            }
            _ if self.meter.is_some() => return misplaced("meter", "usage"),
            _ if self.included.is_some() => return misplaced("included", "usage"),
            KindField::Recurring => ChargeKind::Recurring {
                per_seat: self.per_seat.unwrap_or_default(),
            },
            KindField::OneTime => ChargeKind::OneTime,
        };
        if self.per_seat.is_some() && !matches!(kind, ChargeKind::Recurring { .. }) {
            return misplaced("per_seat", "recurring");
        }
        let (code, name) = (self.code, self.name);
        let charge = Charge { code, name, kind };
        let prices = self.prices.into_iter().map(|(currency, fields)| {
            let path = format!("{path}.prices.{currency}");
            fields.price(&path, &charge, currency)
        });
        let prices = prices.collect::<Result<_, _>>()?;
        Ok((charge, prices))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceFields {
    model: PriceModel,
    minimum: Option<Given>,
    maximum: Option<Given>,
    stripe_price: Option<StripePriceId>,
}

impl PriceFields {
    fn price(
        self,
        path: &str,
        charge: &Charge,
        currency: Currency,
    ) -> Result<DocumentPrice, CatalogueError> {
        let bound = |field: &str, given: Option<Given>| {
            let path = format!("{path}.{field}");
            let major = decimal(&path, given)?;
            let money = major.map(|major| Money::from_major(major, currency));
            money.transpose().map_err(|error| refused(&path, &error))
        };
        let minimum = bound("minimum", self.minimum)?;
        let maximum = bound("maximum", self.maximum)?;
        let commitment = Commitment::new(minimum, maximum);
        let terms = PriceTerms {
            charge: charge.code.clone(),
            currency,
            model: self.model,
            commitment: commitment.map_err(|error| refused(path, &error))?,
        };
        terms.check(charge).map_err(|error| refused(path, &error))?;
        Ok(DocumentPrice {
            terms,
            stripe_price: self.stripe_price,
        })
    }
}

fn decimal(path: &str, given: Option<Given>) -> Result<Option<Decimal>, CatalogueError> {
    let read = given.map(|given| given.decimal()).transpose();
    read.map_err(|given| {
        let reason = format!("`{given}` must be a decimal number as text, such as \"10000\"");
        refused(path, &reason)
    })
}

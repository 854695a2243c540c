//! Prices that are a percentage of amounts of money.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::charge::{Charge, ChargeItem};
use super::field::{decimal, line, optional, percent, required, trillionths};
use super::{PriceField, PricingError, Tier, Tiers};
use crate::domain::decimal::Given;
use crate::domain::metering::Exact;
use crate::domain::money::ExactAmount;

/// A percentage of each transaction, with a fixed fee, allowances and bounds per transaction.
///
/// Amounts are in major units. The allowance covers transactions in their order and ends at
/// whichever of its limits is reached first, the number or the amount. A transaction that the
/// amount covers in part pays the percentage of the rest, and the fixed fee. A transaction that is
/// covered whole costs nothing, and the bounds do not apply to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "PercentageFields")]
pub struct PercentagePrice {
    rate_percent: Decimal,
    fixed_amount: Decimal,
    free_transactions: Option<u64>,
    free_amount: Option<Decimal>,
    minimum_amount: Option<Decimal>,
    maximum_amount: Option<Decimal>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PercentageFields {
    #[serde(default)]
    rate_percent: Option<Given>,
    #[serde(default)]
    fixed_amount: Option<Given>,
    #[serde(default)]
    free_transactions: Option<u64>,
    #[serde(default)]
    free_amount: Option<Given>,
    #[serde(default)]
    minimum_amount: Option<Given>,
    #[serde(default)]
    maximum_amount: Option<Given>,
}

impl TryFrom<PercentageFields> for PercentagePrice {
    type Error = PricingError;

    fn try_from(fields: PercentageFields) -> Result<Self, PricingError> {
        let read = |name, given: &Option<Given>| optional(PriceField::Plain(name), given.as_ref());
        let rate = PriceField::Plain("rate_percent");
        let mut price = Self::new(required(rate, fields.rate_percent.as_ref())?)?
            .with_fixed_amount(read("fixed_amount", &fields.fixed_amount)?.unwrap_or_default())?;
        price.free_transactions = fields.free_transactions;
        if let Some(amount) = read("free_amount", &fields.free_amount)? {
            price = price.with_free_amount(amount)?;
        }
        let minimum = read("minimum_amount", &fields.minimum_amount)?;
        price.with_bounds(minimum, read("maximum_amount", &fields.maximum_amount)?)
    }
}

fn checked(name: &'static str, value: Decimal) -> Result<Decimal, PricingError> {
    trillionths(PriceField::Plain(name), value).map(|_| value)
}

impl PercentagePrice {
    /// The most decimal places of a percentage.
    pub const PLACES: u32 = super::field::PERCENT_PLACES;

    /// Checks the percentage: 1.5 is 1.5 %.
    ///
    /// # Errors
    /// For a negative one, and one of more than 10 decimal places.
    pub fn new(rate_percent: Decimal) -> Result<Self, PricingError> {
        percent(PriceField::Plain("rate_percent"), rate_percent)?;
        Ok(Self {
            rate_percent,
            fixed_amount: Decimal::ZERO,
            free_transactions: None,
            free_amount: None,
            minimum_amount: None,
            maximum_amount: None,
        })
    }

    /// The price with a fee for each transaction that is not covered whole.
    ///
    /// # Errors
    /// For a negative amount, and one of more than 12 decimal places.
    pub fn with_fixed_amount(mut self, amount: Decimal) -> Result<Self, PricingError> {
        self.fixed_amount = checked("fixed_amount", amount)?;
        Ok(self)
    }

    /// The price with an allowance of at most so many transactions.
    #[must_use]
    pub fn with_free_transactions(mut self, transactions: u64) -> Self {
        self.free_transactions = Some(transactions);
        self
    }

    /// The price with an allowance of at most this amount.
    ///
    /// # Errors
    /// For a negative amount, and one of more than 12 decimal places.
    pub fn with_free_amount(mut self, amount: Decimal) -> Result<Self, PricingError> {
        self.free_amount = Some(checked("free_amount", amount)?);
        Ok(self)
    }

    /// The price with bounds of what one transaction costs, the fixed fee included.
    ///
    /// # Errors
    /// For a negative amount, one of more than 12 decimal places, and a minimum above the maximum.
    pub fn with_bounds(
        mut self,
        minimum: Option<Decimal>,
        maximum: Option<Decimal>,
    ) -> Result<Self, PricingError> {
        let check = |name, bound: Option<Decimal>| bound.map(|b| checked(name, b)).transpose();
        self.minimum_amount = check("minimum_amount", minimum)?;
        self.maximum_amount = check("maximum_amount", maximum)?;
        match (minimum, maximum) {
            (Some(minimum), Some(maximum)) if minimum > maximum => {
                Err(PricingError::MinimumAboveMaximum { minimum, maximum })
            }
            _ => Ok(self),
        }
    }

    /// What the transactions cost, in their order.
    ///
    /// # Errors
    /// For a negative amount, and a sum that is too large.
    pub fn charge(&self, transactions: &[Decimal]) -> Result<Charge, PricingError> {
        let rate = percent(PriceField::Plain("rate_percent"), self.rate_percent)?;
        let mut amounts = Vec::with_capacity(transactions.len());
        for (index, amount) in transactions.iter().enumerate() {
            let field = PriceField::Transaction { number: index + 1 };
            amounts.push(trillionths(field, *amount)?);
        }
        let total = amounts
            .iter()
            .try_fold(0_i128, |sum, amount| sum.checked_add(*amount))
            .and_then(decimal)
            .ok_or(PricingError::TooLarge {
                quantity: Decimal::MAX,
            })?;
        Charge::of(total, self.items(rate, &amounts))
    }

    fn items(&self, rate: i128, amounts: &[i128]) -> Option<Vec<ChargeItem>> {
        let exact = |amount: Decimal| Exact::of(amount).map(Exact::trillionths);
        let bound = |bound: Option<Decimal>| match bound {
            Some(bound) => Some(Some(line(0, 0, exact(bound)?)?)),
            None => Some(None),
        };
        let (minimum, maximum) = (bound(self.minimum_amount)?, bound(self.maximum_amount)?);
        let fixed = exact(self.fixed_amount)?;
        let allowed = self.free_transactions.is_some() || self.free_amount.is_some();
        let mut left = match self.free_amount {
            Some(amount) => Some(exact(amount)?),
            None => None,
        };
        let item = |(index, &amount): (usize, &i128)| {
            let counted = u64::try_from(index).ok()?;
            let open = allowed
                && self.free_transactions.is_none_or(|most| counted < most)
                && left.is_none_or(|left| left > 0);
            let free = match (open, left) {
                (false, _) => 0,
                (true, left) => left.map_or(amount, |left| left.min(amount)),
            };
            left = left.map(|left| left - free);
            let covered = open && free == amount;
            let mut item = ChargeItem::new(index + 1, amount - free, rate, fixed)?;
            if covered {
                item.flat_amount = Decimal::ZERO;
                item.amount = ExactAmount::ZERO;
            } else {
                item.amount = minimum.map_or(item.amount, |least| item.amount.max(least));
                item.amount = maximum.map_or(item.amount, |most| item.amount.min(most));
            }
            Some(item)
        };
        amounts.iter().enumerate().map(item).collect()
    }
}

/// One tier of a percentage by tiers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct PercentTier {
    /// The last amount of the tier, included, in major units; `None` for the last tier.
    pub up_to: Option<Decimal>,
    /// The percentage: 1.5 is 1.5 %.
    pub rate_percent: Decimal,
    /// What is due once the tier is entered, in major units.
    pub flat_amount: Decimal,
}

/// A checked list of tiers, each with a percentage of the part of the amount that is in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "PercentTiersFields")]
pub struct PercentTiers {
    tiers: Vec<PercentTier>,
    #[serde(skip)]
    by_unit: Tiers,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PercentTiersFields {
    tiers: Vec<PercentTierFields>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PercentTierFields {
    #[serde(default)]
    up_to: Option<Given>,
    #[serde(default)]
    rate_percent: Option<Given>,
    #[serde(default)]
    flat_amount: Option<Given>,
}

impl TryFrom<PercentTiersFields> for PercentTiers {
    type Error = PricingError;

    fn try_from(fields: PercentTiersFields) -> Result<Self, PricingError> {
        let read = |(index, tier): (usize, PercentTierFields)| {
            let field = |name| PriceField::tier(index + 1, name);
            let flat = optional(field("flat_amount"), tier.flat_amount.as_ref())?;
            Ok(PercentTier {
                up_to: optional(field("up_to"), tier.up_to.as_ref())?,
                rate_percent: required(field("rate_percent"), tier.rate_percent.as_ref())?,
                flat_amount: flat.unwrap_or_default(),
            })
        };
        let tiers = fields.tiers.into_iter().enumerate().map(read);
        Self::new(tiers.collect::<Result<_, PricingError>>()?)
    }
}

impl PercentTiers {
    /// Checks the list, as [`Tiers::new`] does; a percentage has at most 10 decimal places.
    ///
    /// # Errors
    /// As [`Tiers::new`]; the error names the tier, counted from 1, and the field.
    pub fn new(tiers: Vec<PercentTier>) -> Result<Self, PricingError> {
        let unit = |(index, tier): (usize, &PercentTier)| {
            let field = PriceField::tier(index + 1, "rate_percent");
            let hundredth = percent(field, tier.rate_percent)?;
            Ok(Tier {
                up_to: tier.up_to,
                unit_amount: decimal(hundredth).unwrap_or_default(),
                flat_amount: tier.flat_amount,
            })
        };
        let by_unit: Result<_, PricingError> = tiers.iter().enumerate().map(unit).collect();
        Ok(Self {
            by_unit: Tiers::new(by_unit?)?,
            tiers,
        })
    }

    /// The tiers, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[PercentTier] {
        &self.tiers
    }

    /// The same tiers with the hundredth of the percentage as the price of a unit.
    pub(super) fn by_unit(&self) -> &Tiers {
        &self.by_unit
    }
}

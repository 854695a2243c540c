//! Tiers: what a unit costs depends on how many there are.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::charge::{Charge, ChargeItem};
use super::field::{optional, positive, trillionths};
use super::{PriceField, PricingError};
use crate::domain::decimal::Given;
use crate::domain::metering::Exact;

/// One tier of a price.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Tier {
    /// The last quantity of the tier, included; `None` for the last tier, which has no end.
    pub up_to: Option<Decimal>,
    /// The price of a unit, in major units.
    pub unit_amount: Decimal,
    /// What is due once the tier is entered, in major units.
    pub flat_amount: Decimal,
}

impl Tier {
    /// A tier up to a quantity, which is part of it.
    #[must_use]
    pub fn up_to(up_to: Decimal, unit_amount: Decimal) -> Self {
        Self {
            up_to: Some(up_to),
            unit_amount,
            flat_amount: Decimal::ZERO,
        }
    }

    /// The last tier.
    #[must_use]
    pub fn open(unit_amount: Decimal) -> Self {
        Self {
            up_to: None,
            unit_amount,
            flat_amount: Decimal::ZERO,
        }
    }

    /// The tier with a flat amount.
    #[must_use]
    pub fn with_flat(mut self, flat_amount: Decimal) -> Self {
        self.flat_amount = flat_amount;
        self
    }
}

/// A checked list of tiers: every quantity from 0 on is in exactly one.
///
/// A tier begins above the end of the one before it, and its own end is part of it, whatever the
/// model that uses it. The first begins at 0, with 0 part of it: its flat amount is due for a
/// quantity of 0 too.
///
/// In a document a tier may also say where it starts (`from`, which is not part of it), as systems
/// with two bounds per tier do: a hole or an overlap is then refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "TiersFields")]
pub struct Tiers {
    tiers: Vec<Tier>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TiersFields {
    tiers: Vec<TierFields>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TierFields {
    #[serde(default)]
    from: Option<Given>,
    #[serde(default)]
    up_to: Option<Given>,
    #[serde(default)]
    unit_amount: Option<Given>,
    #[serde(default)]
    flat_amount: Option<Given>,
}

impl TryFrom<TiersFields> for Tiers {
    type Error = PricingError;

    fn try_from(fields: TiersFields) -> Result<Self, PricingError> {
        let mut starts = Vec::with_capacity(fields.tiers.len());
        let mut tiers = Vec::with_capacity(fields.tiers.len());
        for (index, tier) in fields.tiers.iter().enumerate() {
            let field = |name| PriceField::tier(index + 1, name);
            let read = |name, given: &Option<Given>| optional(field(name), given.as_ref());
            starts.push(read("from", &tier.from)?);
            let up_to = read("up_to", &tier.up_to)?;
            let unit_amount = read("unit_amount", &tier.unit_amount)?;
            let flat_amount = read("flat_amount", &tier.flat_amount)?;
            if unit_amount.is_none() && flat_amount.is_none() {
                return Err(PricingError::Missing {
                    field: field("unit_amount or flat_amount"),
                });
            }
            tiers.push(Tier {
                up_to,
                unit_amount: unit_amount.unwrap_or_default(),
                flat_amount: flat_amount.unwrap_or_default(),
            });
        }
        Self::checked(starts, tiers)
    }
}

impl Tiers {
    /// The most decimal places of a bound or an amount.
    pub const PLACES: u32 = super::field::PLACES;

    /// Checks the list.
    ///
    /// # Errors
    /// For no tier; a bound that does not increase; a tier without a bound that is not the last,
    /// and a last one with a bound; a number that is negative or has more than 12 decimal places.
    /// The error names the tier, counted from 1, and the field.
    pub fn new(tiers: Vec<Tier>) -> Result<Self, PricingError> {
        Self::checked(Vec::new(), tiers)
    }

    /// Checks a list in which each tier says above which quantity it starts, too.
    ///
    /// # Errors
    /// As [`Self::new`], and `Hole` or `Overlap` where a tier does not start at the end of the one
    /// before it, or the first at 0.
    pub fn from_ranges(ranges: Vec<(Decimal, Tier)>) -> Result<Self, PricingError> {
        let (starts, tiers) = ranges
            .into_iter()
            .map(|(from, tier)| (Some(from), tier))
            .unzip();
        Self::checked(starts, tiers)
    }

    fn checked(starts: Vec<Option<Decimal>>, tiers: Vec<Tier>) -> Result<Self, PricingError> {
        let last = tiers.len();
        if last == 0 {
            return Err(PricingError::NoTiers { bound: "up_to" });
        }
        let starts = starts.into_iter().chain(std::iter::repeat(None));
        let mut previous = Decimal::ZERO;
        for (index, (tier, start)) in tiers.iter().zip(starts).enumerate() {
            let number = index + 1;
            let field = |name| PriceField::tier(number, name);
            if let Some(from) = start {
                trillionths(field("from"), from)?;
                start_at(number, from, previous)?;
            }
            trillionths(field("unit_amount"), tier.unit_amount)?;
            trillionths(field("flat_amount"), tier.flat_amount)?;
            if let Some(up_to) = tier.up_to {
                positive(field("up_to"), up_to)?;
            }
            match tier.up_to {
                Some(up_to) if up_to <= previous => {
                    return Err(PricingError::NotIncreasing {
                        tier: number,
                        up_to,
                        previous,
                    });
                }
                Some(value) if number == last => {
                    return Err(PricingError::ClosedTier {
                        tier: number,
                        bound: "up_to",
                        value,
                    });
                }
                None if number < last => {
                    return Err(PricingError::OpenTier {
                        tier: number,
                        bound: "up_to",
                    });
                }
                bound => previous = bound.unwrap_or(previous),
            }
        }
        Ok(Self { tiers })
    }

    /// The tiers, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Tier] {
        &self.tiers
    }

    /// The number of the tier that holds the quantity, from 1.
    #[must_use]
    pub fn tier_of(&self, quantity: Decimal) -> usize {
        let below = |tier: &&Tier| tier.up_to.is_some_and(|up_to| quantity > up_to);
        self.tiers.iter().take_while(below).count() + 1
    }

    /// Each tier entered prices the units that are in it.
    pub(super) fn graduated(&self, quantity: Decimal) -> Result<Charge, PricingError> {
        let whole = trillionths(PriceField::Plain("quantity"), quantity)?;
        let entered = self.tiers.iter().take(self.tier_of(quantity)).enumerate();
        let mut below = 0;
        let items = entered.map(|(index, tier)| {
            let top = match tier.up_to {
                Some(up_to) => Exact::of(up_to)?.trillionths().min(whole),
                None => whole,
            };
            let units = top - below;
            below = top;
            ChargeItem::of_tier(index + 1, units, tier)
        });
        Charge::of(quantity, items.collect())
    }

    /// The tier of the whole quantity prices all units.
    pub(super) fn volume(&self, quantity: Decimal) -> Result<Charge, PricingError> {
        let whole = trillionths(PriceField::Plain("quantity"), quantity)?;
        let number = self.tier_of(quantity);
        let tier = self.tiers.get(number - 1);
        let item = tier.and_then(|tier| ChargeItem::of_tier(number, whole, tier));
        Charge::of(quantity, item.map(|item| vec![item]))
    }
}

fn start_at(tier: usize, from: Decimal, expected: Decimal) -> Result<(), PricingError> {
    match from.cmp(&expected) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(PricingError::Hole {
            tier,
            from,
            expected,
        }),
        std::cmp::Ordering::Less => Err(PricingError::Overlap {
            tier,
            from,
            expected,
        }),
    }
}

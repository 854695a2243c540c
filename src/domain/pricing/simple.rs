//! Prices without tiers.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::charge::{Charge, ChargeItem};
use super::field::{ONE, optional, positive, required, trillionths};
use super::{PriceField, PricingError};
use crate::domain::decimal::Given;
use crate::domain::metering::Exact;

fn quantity(quantity: Decimal) -> Result<i128, PricingError> {
    trillionths(PriceField::Plain("quantity"), quantity)
}

fn checked(name: &'static str, value: Decimal) -> Result<Decimal, PricingError> {
    trillionths(PriceField::Plain(name), value).map(|_| value)
}

/// One item; all in trillionths.
fn single(
    quantity: Decimal,
    units: Option<i128>,
    unit_amount: Decimal,
    flat_amount: Decimal,
) -> Result<Charge, PricingError> {
    let item = units.and_then(|units| {
        let (unit, flat) = (Exact::of(unit_amount)?, Exact::of(flat_amount)?);
        ChargeItem::new(1, units, unit.trillionths(), flat.trillionths())
    });
    Charge::of(quantity, item.map(|item| vec![item]))
}

/// The same amount whatever the quantity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "FlatFields")]
pub struct FlatPrice {
    amount: Decimal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlatFields {
    #[serde(default)]
    amount: Option<Given>,
}

impl TryFrom<FlatFields> for FlatPrice {
    type Error = PricingError;

    fn try_from(fields: FlatFields) -> Result<Self, PricingError> {
        let amount = PriceField::Plain("amount");
        Self::new(required(amount, fields.amount.as_ref())?)
    }
}

impl FlatPrice {
    /// Checks the amount, in major units.
    ///
    /// # Errors
    /// For a negative amount, and one of more than 12 decimal places.
    pub fn new(amount: Decimal) -> Result<Self, PricingError> {
        let amount = checked("amount", amount)?;
        Ok(Self { amount })
    }

    /// The amount, in major units.
    #[must_use]
    pub fn amount(&self) -> Decimal {
        self.amount
    }

    pub(super) fn charge(&self, of: Decimal) -> Result<Charge, PricingError> {
        quantity(of)?;
        single(of, Some(0), Decimal::ZERO, self.amount)
    }
}

/// The same price for every unit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "UnitFields")]
pub struct UnitPrice {
    unit_amount: Decimal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnitFields {
    #[serde(default)]
    unit_amount: Option<Given>,
}

impl TryFrom<UnitFields> for UnitPrice {
    type Error = PricingError;

    fn try_from(fields: UnitFields) -> Result<Self, PricingError> {
        let unit_amount = PriceField::Plain("unit_amount");
        Self::new(required(unit_amount, fields.unit_amount.as_ref())?)
    }
}

impl UnitPrice {
    /// Checks the price of a unit, in major units.
    ///
    /// # Errors
    /// For a negative price, and one of more than 12 decimal places.
    pub fn new(unit_amount: Decimal) -> Result<Self, PricingError> {
        let unit_amount = checked("unit_amount", unit_amount)?;
        Ok(Self { unit_amount })
    }

    /// The price of a unit, in major units.
    #[must_use]
    pub fn unit_amount(&self) -> Decimal {
        self.unit_amount
    }

    pub(super) fn charge(&self, of: Decimal) -> Result<Charge, PricingError> {
        let units = quantity(of)?;
        single(of, Some(units), self.unit_amount, Decimal::ZERO)
    }
}

/// Nothing for what is included, and the same price for every unit above.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "OverageFields")]
pub struct OveragePrice {
    included: Decimal,
    unit_amount: Decimal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OverageFields {
    #[serde(default)]
    included: Option<Given>,
    #[serde(default)]
    unit_amount: Option<Given>,
}

impl TryFrom<OverageFields> for OveragePrice {
    type Error = PricingError;

    fn try_from(fields: OverageFields) -> Result<Self, PricingError> {
        let (included, unit_amount) = ("included", "unit_amount");
        Self::new(
            required(PriceField::Plain(included), fields.included.as_ref())?,
            required(PriceField::Plain(unit_amount), fields.unit_amount.as_ref())?,
        )
    }
}

impl OveragePrice {
    /// Checks the included quantity and the price of a unit above it, in major units.
    ///
    /// # Errors
    /// For a negative number, and one of more than 12 decimal places.
    pub fn new(included: Decimal, unit_amount: Decimal) -> Result<Self, PricingError> {
        Ok(Self {
            included: checked("included", included)?,
            unit_amount: checked("unit_amount", unit_amount)?,
        })
    }

    /// The quantity that costs nothing.
    #[must_use]
    pub fn included(&self) -> Decimal {
        self.included
    }

    /// The price of a unit above it, in major units.
    #[must_use]
    pub fn unit_amount(&self) -> Decimal {
        self.unit_amount
    }

    pub(super) fn charge(&self, of: Decimal) -> Result<Charge, PricingError> {
        let units = quantity(of)?;
        let over = Exact::of(self.included).map(|free| (units - free.trillionths()).max(0));
        single(of, over, self.unit_amount, Decimal::ZERO)
    }
}

/// What a package that was begun counts for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PackageRounding {
    /// A whole one. The default.
    #[default]
    Up,
    /// Nothing.
    Down,
}

/// Units sold in packages of a size.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "PackageFields")]
pub struct PackagePrice {
    package_size: Decimal,
    package_amount: Decimal,
    free_units: Decimal,
    round: PackageRounding,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PackageFields {
    #[serde(default)]
    package_size: Option<Given>,
    #[serde(default)]
    package_amount: Option<Given>,
    #[serde(default)]
    free_units: Option<Given>,
    #[serde(default)]
    round: PackageRounding,
}

impl TryFrom<PackageFields> for PackagePrice {
    type Error = PricingError;

    fn try_from(fields: PackageFields) -> Result<Self, PricingError> {
        let (size, amount) = ("package_size", "package_amount");
        let price = Self::new(
            required(PriceField::Plain(size), fields.package_size.as_ref())?,
            required(PriceField::Plain(amount), fields.package_amount.as_ref())?,
        )?;
        let free = optional(PriceField::Plain("free_units"), fields.free_units.as_ref())?;
        price
            .with_round(fields.round)
            .with_free_units(free.unwrap_or_default())
    }
}

impl PackagePrice {
    /// Checks the size of a package and its price, in major units.
    ///
    /// # Errors
    /// For a size that is not positive, a negative price, and more than 12 decimal places.
    pub fn new(package_size: Decimal, package_amount: Decimal) -> Result<Self, PricingError> {
        positive(PriceField::Plain("package_size"), package_size)?;
        Ok(Self {
            package_size,
            package_amount: checked("package_amount", package_amount)?,
            free_units: Decimal::ZERO,
            round: PackageRounding::Up,
        })
    }

    /// The price with units that cost nothing; packages are counted above them.
    ///
    /// # Errors
    /// For a negative number, and one of more than 12 decimal places.
    pub fn with_free_units(mut self, free_units: Decimal) -> Result<Self, PricingError> {
        self.free_units = checked("free_units", free_units)?;
        Ok(self)
    }

    /// The price with another rule for packages that were begun.
    #[must_use]
    pub fn with_round(mut self, round: PackageRounding) -> Self {
        self.round = round;
        self
    }

    /// How many units a package has.
    #[must_use]
    pub fn package_size(&self) -> Decimal {
        self.package_size
    }

    /// The price of a package, in major units.
    #[must_use]
    pub fn package_amount(&self) -> Decimal {
        self.package_amount
    }

    /// The units that cost nothing.
    #[must_use]
    pub fn free_units(&self) -> Decimal {
        self.free_units
    }

    /// What a package that was begun counts for.
    #[must_use]
    pub fn round(&self) -> PackageRounding {
        self.round
    }

    pub(super) fn charge(&self, of: Decimal) -> Result<Charge, PricingError> {
        let units = quantity(of)?;
        let packages = || {
            let free = Exact::of(self.free_units)?.trillionths();
            let size = Exact::of(self.package_size)?.trillionths();
            let over = (units - free).max(0);
            let begun = over % size != 0 && self.round == PackageRounding::Up;
            (over / size + i128::from(begun)).checked_mul(ONE)
        };
        single(of, packages(), self.package_amount, Decimal::ZERO)
    }
}

//! Proration: what a part of a billing period costs.

use std::num::NonZeroU32;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::billing_cycle::month_of;
use super::money::{Currency, Money, MoneyError, Rounding, mul_div, power};
use super::time::Period;

/// A broken rule about proration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProrationError {
    /// A fraction that is none.
    #[error(
        "fraction {numerator}/{denominator} must have a numerator from 0 and a denominator from 1"
    )]
    Fraction {
        /// What was given above the line.
        numerator: i64,
        /// What was given below it.
        denominator: i64,
    },
    /// A text that is no fraction.
    #[error("fraction `{text}` is not two whole numbers such as 17/31")]
    FractionText {
        /// What was given, cut at 64 characters.
        text: String,
    },
    /// An amount that breaks a rule of money.
    #[error("proration: {0}")]
    Money(#[from] MoneyError),
}

/// What a period is measured in when a part of it is priced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProrationPolicy {
    /// Seconds of actual time. The default.
    #[default]
    Second,
    /// Days of the local calendar: the day of a change belongs to what follows it.
    Day,
    /// Days of the local calendar, where every month counts for so many: a part of February costs
    /// what the same part of March does.
    FixedDays(NonZeroU32),
    /// Not at all: the full price is due at the period's start, and a change or a start after it
    /// costs and returns nothing.
    None,
}

/// A part of a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fraction {
    numerator: i64,
    denominator: i64,
}

impl Fraction {
    /// Everything.
    pub const ONE: Self = Self {
        numerator: 1,
        denominator: 1,
    };

    /// So many parts of so many.
    ///
    /// # Errors
    /// `Fraction` for a negative numerator, and for a denominator below 1.
    pub fn new(numerator: i64, denominator: i64) -> Result<Self, ProrationError> {
        if numerator < 0 || denominator < 1 {
            return Err(ProrationError::Fraction {
                numerator,
                denominator,
            });
        }
        Ok(Self {
            numerator,
            denominator,
        })
    }

    /// The number above the line.
    #[must_use]
    pub fn numerator(self) -> i64 {
        self.numerator
    }

    /// The number below it.
    #[must_use]
    pub fn denominator(self) -> i64 {
        self.denominator
    }

    /// The same fraction in its lowest terms.
    #[must_use]
    pub fn reduced(self) -> Self {
        let (mut a, mut b) = (self.denominator, self.numerator);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        Self {
            numerator: self.numerator / a,
            denominator: self.denominator / a,
        }
    }

    /// The fraction of an amount, rounded once.
    ///
    /// # Errors
    /// `Money` for an amount that is too large.
    pub fn of(self, amount: Money, rounding: Rounding) -> Result<Money, ProrationError> {
        let (numerator, denominator) = (self.numerator.into(), self.denominator.into());
        Ok(amount.scaled(numerator, denominator, rounding)?)
    }

    /// The fraction as a decimal number of so many places; `None` where that has too many digits.
    #[must_use]
    pub fn to_decimal(self, places: u32, rounding: Rounding) -> Option<Decimal> {
        let (numerator, denominator) = (self.numerator.into(), self.denominator.into());
        let parts = mul_div(numerator, power(places)?, denominator, rounding)?;
        Decimal::try_from_i128_with_scale(parts, places).ok()
    }

    /// What a plan costs less and another costs more for this part of a period.
    ///
    /// # Errors
    /// `Money` for an amount that is too large.
    pub fn change(
        self,
        old: &[Money],
        new: &[Money],
        rounding: Rounding,
    ) -> Result<PlanChange, ProrationError> {
        let part = |amount: &Money| self.of(*amount, rounding);
        let credit = |amount: &Money| Ok(part(amount)?.checked_neg()?);
        Ok(PlanChange {
            credits: old
                .iter()
                .map(credit)
                .collect::<Result<_, ProrationError>>()?,
            charges: new.iter().map(part).collect::<Result<_, _>>()?,
        })
    }
}

impl FromStr for Fraction {
    type Err = ProrationError;

    fn from_str(text: &str) -> Result<Self, ProrationError> {
        let parse = |part: &str| part.trim().parse().ok();
        let parts = text
            .split_once('/')
            .and_then(|(above, below)| Some((parse(above)?, parse(below)?)));
        let (numerator, denominator) = parts.ok_or_else(|| ProrationError::FractionText {
            text: text.chars().take(64).collect(),
        })?;
        Self::new(numerator, denominator)
    }
}

impl TryFrom<String> for Fraction {
    type Error = ProrationError;

    fn try_from(text: String) -> Result<Self, ProrationError> {
        text.parse()
    }
}

impl From<Fraction> for String {
    fn from(fraction: Fraction) -> Self {
        fraction.to_string()
    }
}

impl std::fmt::Display for Fraction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

/// What a change of plan credits and charges, one amount per price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanChange {
    /// What was paid for the rest of the period at the old prices, negated.
    pub credits: Vec<Money>,
    /// What the rest of the period costs at the new prices.
    pub charges: Vec<Money>,
}

impl PlanChange {
    /// The amounts that are not nothing: the lines of an invoice.
    pub fn lines(&self) -> impl Iterator<Item = Money> {
        let all = self.credits.iter().chain(&self.charges);
        all.copied().filter(|amount| !amount.is_zero())
    }

    /// The sum of credits and charges.
    ///
    /// # Errors
    /// `Money` for an amount in another currency, and for a sum that is too large.
    pub fn net(&self, currency: Currency) -> Result<Money, ProrationError> {
        let all = self.credits.iter().chain(&self.charges);
        Ok(Money::sum(currency, all.copied())?)
    }
}

/// The parts of one whole billing period.
///
/// A part is priced from the period's end: with `R(t)` the price times what remains of the period
/// at `t`, rounded, the part from `t1` to `t2` costs `R(t1) - R(t2)`. So the parts of any division
/// of the period sum to its price, none is negative, and a change of plan costs exactly what the
/// opposite change returns.
///
/// ```
/// use tenantry::domain::money::{Currency, Money};
/// use tenantry::domain::proration::{Proration, ProrationPolicy};
/// use tenantry::domain::time::Period;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let february = Period::new("2025-02-01T00:00:00Z".parse()?, "2025-03-01T00:00:00Z".parse()?)?;
/// let price = Money::new(322, Currency::EUR)?;
/// let rest = Proration::new(february, ProrationPolicy::Day, chrono_tz::UTC)
///     .remaining_amount(price, "2025-02-12T00:00:00Z".parse()?)?;
/// assert_eq!(rest.minor(), 196); // 322 x 17/28 = 195.5
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proration {
    whole: Period,
    policy: ProrationPolicy,
    zone: Tz,
    rounding: Rounding,
}

impl Proration {
    /// Parts of a whole period, from boundary to boundary of its cycle: a short first period is a
    /// part already, and not the whole.
    #[must_use]
    pub fn new(whole: Period, policy: ProrationPolicy, zone: Tz) -> Self {
        Self {
            whole,
            policy,
            zone,
            rounding: Rounding::HalfUp,
        }
    }

    /// The same with another way to round.
    #[must_use]
    pub fn with_rounding(mut self, rounding: Rounding) -> Self {
        self.rounding = rounding;
        self
    }

    fn date(&self, at: DateTime<Utc>) -> NaiveDate {
        at.with_timezone(&self.zone).date_naive()
    }

    /// What the policy counts from one instant to the other, without regard to the period.
    fn count(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
        match self.policy {
            ProrationPolicy::Second => to.timestamp() - from.timestamp(),
            ProrationPolicy::Day => (self.date(to) - self.date(from)).num_days(),
            ProrationPolicy::FixedDays(days) => {
                let days = i64::from(days.get());
                let (from, to) = (self.date(from), self.date(to));
                let day = |date: NaiveDate| i64::from(date.day()).min(days);
                (month_of(to) - month_of(from)) * days + day(to) - day(from)
            }
            ProrationPolicy::None => i64::from(from <= self.whole.start()),
        }
    }

    /// How many units the whole period has: seconds or days.
    #[must_use]
    pub fn whole_units(&self) -> i64 {
        let (start, end) = (self.whole.start(), self.whole.end());
        let units = match self.policy {
            // A period of whole months has so many times the fixed days, however it is clamped.
            ProrationPolicy::FixedDays(days) => {
                let months = month_of(self.date(end)) - month_of(self.date(start));
                if months > 0 {
                    months * i64::from(days.get())
                } else {
                    self.count(start, end)
                }
            }
            _ => self.count(start, end),
        };
        units.max(0)
    }

    /// How many units remain at the instant: all of them before the period, none after it.
    #[must_use]
    pub fn remaining_units(&self, at: DateTime<Utc>) -> i64 {
        let whole = self.whole_units();
        if at <= self.whole.start() {
            whole
        } else if at >= self.whole.end() {
            0
        } else {
            self.count(at, self.whole.end()).clamp(0, whole)
        }
    }

    /// The fraction of the whole period that remains at the instant.
    #[must_use]
    pub fn remaining(&self, at: DateTime<Utc>) -> Fraction {
        Fraction {
            numerator: self.remaining_units(at),
            denominator: self.whole_units().max(1),
        }
    }

    /// The fraction of the whole period that a part of it is.
    #[must_use]
    pub fn fraction(&self, part: Period) -> Fraction {
        Fraction {
            numerator: self.remaining_units(part.start()) - self.remaining_units(part.end()),
            denominator: self.whole_units().max(1),
        }
    }

    /// What is left of the price at the instant.
    ///
    /// # Errors
    /// None for a price that is money, since a part is not more than the whole.
    pub fn remaining_amount(
        &self,
        price: Money,
        at: DateTime<Utc>,
    ) -> Result<Money, ProrationError> {
        self.remaining(at).of(price, self.rounding)
    }

    /// What a part of the period costs, where the whole costs the price.
    ///
    /// # Errors
    /// As [`Self::remaining_amount`].
    pub fn part_amount(&self, price: Money, part: Period) -> Result<Money, ProrationError> {
        let start = self.remaining_amount(price, part.start())?;
        Ok(start.checked_sub(self.remaining_amount(price, part.end())?)?)
    }

    /// What a change of prices at the instant credits and charges for the rest of the period.
    /// Usage is never prorated: only prices for the period itself belong here.
    ///
    /// # Errors
    /// `Money` for an amount whose opposite cannot be kept.
    pub fn change(
        &self,
        old: &[Money],
        new: &[Money],
        at: DateTime<Utc>,
    ) -> Result<PlanChange, ProrationError> {
        self.remaining(at).change(old, new, self.rounding)
    }
}

#[cfg(test)]
mod tests;

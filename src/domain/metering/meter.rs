//! Meters: what is measured, and how the records of a period become one number.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{MeteringError, UsageRecord};
use crate::domain::ids::MeterId;
use crate::domain::text::{Name, TextError, code_type};
use crate::domain::time::micros;

code_type! {
    /// The name of a meter: letters, digits, `.`, `_` and `-`, at most 50 characters.
    MeterName, "meter", 50;
    /// Billable executions.
    EXECUTIONS = "executions";
    /// Calls to language models.
    AI_CALLS = "ai_calls";
    /// Execution time in milliseconds.
    EXECUTION_MS = "execution_ms";
    /// Payload kept, in bytes: a level.
    STORAGE = "storage";
}

/// How the records of a period become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Aggregation {
    /// The sum of the quantities.
    Sum,
    /// The number of records, whatever their quantities.
    Count,
    /// The largest quantity; zero without a record.
    Max,
    /// The quantity of the latest record; zero without one.
    Latest,
    /// The number of different unique values.
    UniqueCount,
    /// The mean of a level over the period, weighted by time. The quantities are changes of the
    /// level, from the first record on, before the period too.
    TimeWeightedSum,
    /// The level at the period's end: the sum of all changes before it, from the first record on.
    ///
    /// So its totals do not add up: the level at the end of a quarter is that of its last month,
    /// not the sum of three.
    Level,
}

impl Aggregation {
    const ALL: [Self; 7] = [
        Self::Sum,
        Self::Count,
        Self::Max,
        Self::Latest,
        Self::UniqueCount,
        Self::TimeWeightedSum,
        Self::Level,
    ];

    /// The name that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Count => "count",
            Self::Max => "max",
            Self::Latest => "latest",
            Self::UniqueCount => "unique_count",
            Self::TimeWeightedSum => "time_weighted_sum",
            Self::Level => "level",
        }
    }

    /// Whether the quantities are changes of a level, which may be negative and whose sum is
    /// carried from period to period.
    #[must_use]
    pub fn is_of_level(self) -> bool {
        matches!(self, Self::TimeWeightedSum | Self::Level)
    }
}

impl fmt::Display for Aggregation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Aggregation {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        Self::ALL
            .into_iter()
            .find(|aggregation| aggregation.as_str() == text)
            .ok_or_else(|| {
                TextError::form(
                    "aggregation",
                    text,
                    "sum, count, max, latest, unique_count, time_weighted_sum or level",
                )
            })
    }
}

/// What is measured, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// Its name, unique in the tenant.
    pub name: MeterName,
    /// How the records of a period become one number.
    pub aggregation: Aggregation,
    /// What the quantities count, such as `bytes`.
    pub unit: Option<Name>,
}

impl Meter {
    /// A meter without a unit.
    #[must_use]
    pub fn new(name: MeterName, aggregation: Aggregation) -> Self {
        Self {
            name,
            aggregation,
            unit: None,
        }
    }

    /// The meters that every tenant has, in the order of their names.
    #[must_use]
    pub fn built_in() -> [Self; 4] {
        [
            (MeterName::AI_CALLS, Aggregation::Sum, "calls"),
            (MeterName::EXECUTION_MS, Aggregation::Sum, "ms"),
            (MeterName::EXECUTIONS, Aggregation::Sum, "executions"),
            (MeterName::STORAGE, Aggregation::Level, "bytes"),
        ]
        .map(|(name, aggregation, unit)| Self {
            name,
            aggregation,
            unit: Name::new(unit).ok(),
        })
    }

    /// Checks that a record makes sense to the meter.
    ///
    /// # Errors
    /// `Negative` for a negative quantity, unless it is a change of a level or voids another
    /// record; `NoUniqueValue` for a record without what a meter of unique values counts.
    pub fn check(&self, record: &UsageRecord) -> Result<(), MeteringError> {
        if record.quantity < Decimal::ZERO && !self.aggregation.is_of_level() && !record.is_void() {
            return Err(MeteringError::Negative {
                field: "quantity",
                value: record.quantity,
            });
        }
        if self.aggregation == Aggregation::UniqueCount && record.unique_value.is_none() {
            return Err(MeteringError::NoUniqueValue {
                meter: self.name.clone(),
            });
        }
        Ok(())
    }
}

/// A meter that a tenant defined. How it aggregates stays as it was defined: what has been billed
/// by one rule is not to be told by another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CustomMeter {
    /// Its id.
    pub id: MeterId,
    /// What it measures, and how.
    #[serde(flatten)]
    pub meter: Meter,
    /// When it was defined.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts its changes, from 1; a writer must name the one it has read.
    pub revision: i64,
}

impl CustomMeter {
    /// A new meter.
    ///
    /// # Errors
    /// `BuiltIn` for the name of a meter that every tenant has.
    pub fn define(id: MeterId, meter: Meter, now: DateTime<Utc>) -> Result<Self, MeteringError> {
        if Meter::built_in()
            .iter()
            .any(|known| known.name == meter.name)
        {
            return Err(MeteringError::BuiltIn { meter: meter.name });
        }
        let now = micros(now);
        Ok(Self {
            id,
            meter,
            created_at: now,
            updated_at: now,
            revision: 1,
        })
    }

    /// The meter with another unit; `None` if that is its unit.
    #[must_use]
    pub fn in_unit(&self, unit: Option<Name>, now: DateTime<Utc>) -> Option<Self> {
        (unit != self.meter.unit).then(|| Self {
            meter: Meter {
                unit,
                ..self.meter.clone()
            },
            updated_at: micros(now),
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_aggregation_has_a_name() {
        for aggregation in Aggregation::ALL {
            assert_eq!(aggregation.as_str().parse(), Ok(aggregation));
            assert_eq!(
                serde_json::to_value(aggregation).unwrap(),
                aggregation.as_str()
            );
        }
        assert!("average".parse::<Aggregation>().is_err());
    }

    #[test]
    fn a_built_in_meter_cannot_be_defined() {
        let id = uuid::Uuid::nil().into();
        let now = DateTime::UNIX_EPOCH;
        for meter in Meter::built_in() {
            assert!(meter.unit.is_some());
            let refused = CustomMeter::define(id, meter.clone(), now).unwrap_err();
            assert_eq!(
                refused.to_string(),
                format!("meter `{}` is built in and cannot be defined", meter.name)
            );
        }
        let seats = Meter::new(MeterName::new("seats").unwrap(), Aggregation::Level);
        let seats = CustomMeter::define(id, seats, now).unwrap();
        assert_eq!(seats.in_unit(None, now), None);
        let unit = Name::new("seats").ok();
        let changed = seats.in_unit(unit.clone(), now).unwrap();
        assert_eq!((changed.meter.unit, changed.revision), (unit, 1));
    }
}

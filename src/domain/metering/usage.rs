//! Records of usage: what a host supplies, what follows from an execution, what voids another.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Exact, MeterName, MeteringError};
use crate::domain::execution::{Execution, MeterReading};
use crate::domain::ids::{SubscriptionId, UsageId, derived};
use crate::domain::json::Document;
use crate::domain::text::{UniqueValue, UsageKey};
use crate::domain::time::{Period, micros};

/// What a host records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewUsage {
    /// The host's key: the same key is recorded once.
    pub key: UsageKey,
    /// The meter.
    pub meter: MeterName,
    /// How much: at most 16 digits before and 12 after the decimal point. Negative only where the
    /// meter is of a level.
    pub quantity: Decimal,
    /// When; it alone decides to which period the record belongs. A retry repeats it.
    pub occurred_at: DateTime<Utc>,
    /// Over which stretch it was consumed; the one instant when absent.
    #[serde(default)]
    pub period: Option<Period>,
    /// On which subscription's account.
    #[serde(default)]
    pub subscription: Option<SubscriptionId>,
    /// What one unit costs, where the host knows; not used for billing.
    #[serde(default)]
    pub unit_price: Option<Decimal>,
    /// What a meter of unique values counts.
    #[serde(default)]
    pub unique_value: Option<UniqueValue>,
    /// Whatever else the host wants to keep.
    #[serde(default)]
    pub metadata: Document,
}

impl NewUsage {
    /// A quantity at an instant.
    #[must_use]
    pub fn new(
        key: UsageKey,
        meter: MeterName,
        quantity: impl Into<Decimal>,
        occurred_at: DateTime<Utc>,
    ) -> Self {
        Self {
            key,
            meter,
            quantity: quantity.into(),
            occurred_at,
            period: None,
            subscription: None,
            unit_price: None,
            unique_value: None,
            metadata: Document::empty(),
        }
    }
}

/// How a record corrects another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Correction {
    /// It takes the other one back: its quantity is the other's, negated, at the other's instant.
    Void(UsageId),
    /// It stands in place of the other one, which a third record voids.
    Replacement(UsageId),
}

impl Correction {
    /// The record that is corrected.
    #[must_use]
    pub fn of(self) -> UsageId {
        match self {
            Self::Void(id) | Self::Replacement(id) => id,
        }
    }
}

/// One record of usage. It is never changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UsageRecord {
    /// Its id, which carries `occurred_at`.
    pub id: UsageId,
    /// The meter.
    pub meter: MeterName,
    /// How much.
    pub quantity: Decimal,
    /// When; it alone decides to which period the record belongs.
    pub occurred_at: DateTime<Utc>,
    /// Over which stretch it was consumed.
    pub period: Period,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// On which subscription's account.
    pub subscription: Option<SubscriptionId>,
    /// What one unit costs, where the host knew.
    pub unit_price: Option<Decimal>,
    /// What a meter of unique values counts.
    pub unique_value: Option<UniqueValue>,
    /// Whatever else the host keeps.
    pub metadata: Document,
    /// The host's key; none where the record follows from something else.
    pub key: Option<UsageKey>,
    /// How it corrects another record, if it does.
    pub correction: Option<Correction>,
}

impl UsageRecord {
    /// The record of what a host supplied, with an id made of its instant and its key.
    ///
    /// # Errors
    /// `Bounds` for a number that cannot be kept exactly, `Negative` for a negative price. Whether
    /// it makes sense to its meter is for [`Meter::check`](super::Meter::check) to tell.
    pub fn supplied(new: &NewUsage, now: DateTime<Utc>) -> Result<Self, MeteringError> {
        let occurred_at = micros(new.occurred_at);
        let record = Self {
            id: derived(occurred_at, &[b"key", new.key.as_str().as_bytes()]),
            meter: new.meter.clone(),
            quantity: new.quantity.normalize(),
            occurred_at,
            period: new.period.unwrap_or_else(|| Period::at(occurred_at)),
            recorded_at: micros(now),
            subscription: new.subscription,
            unit_price: new.unit_price.map(|price| price.normalize()),
            unique_value: new.unique_value.clone(),
            metadata: new.metadata.clone(),
            key: Some(new.key.clone()),
            correction: None,
        };
        record.must_be_storable()?;
        Ok(record)
    }

    /// What an execution that has ended adds to a meter, with an id made of both.
    #[must_use]
    pub fn of_execution(execution: &Execution, reading: &MeterReading, now: DateTime<Utc>) -> Self {
        let end = execution.finished_at.unwrap_or(execution.started_at);
        Self {
            id: derived(
                end,
                &[
                    execution.id.as_uuid().as_bytes(),
                    reading.meter.as_str().as_bytes(),
                ],
            ),
            meter: reading.meter.clone(),
            quantity: reading.quantity,
            occurred_at: end,
            period: Period::new(execution.started_at, end).unwrap_or_else(|_| Period::at(end)),
            recorded_at: now,
            subscription: None,
            unit_price: None,
            unique_value: None,
            metadata: Document::empty(),
            key: None,
            correction: None,
        }
    }

    /// The record that takes this one back. There is one only: its id is made of this one's.
    ///
    /// # Errors
    /// `IsVoid` for a record that voids another.
    pub fn void(&self, metadata: Document, now: DateTime<Utc>) -> Result<Self, MeteringError> {
        if self.is_void() {
            return Err(MeteringError::IsVoid { id: self.id });
        }
        Ok(Self {
            id: derived(self.occurred_at, &[b"void", self.id.as_uuid().as_bytes()]),
            // Zero has no sign in the database.
            quantity: (-self.quantity).normalize(),
            recorded_at: micros(now),
            metadata,
            key: None,
            correction: Some(Correction::Void(self.id)),
            ..self.clone()
        })
    }

    /// The same record, in place of another one.
    #[must_use]
    pub fn in_place_of(mut self, id: UsageId) -> Self {
        self.correction = Some(Correction::Replacement(id));
        self
    }

    /// Whether it takes another record back.
    #[must_use]
    pub fn is_void(&self) -> bool {
        matches!(self.correction, Some(Correction::Void(_)))
    }

    /// The fields in which two records of one key or one id differ. When each was recorded does
    /// not count.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        [
            ("key", self.key != other.key),
            ("meter", self.meter != other.meter),
            ("quantity", self.quantity != other.quantity),
            ("occurred_at", self.occurred_at != other.occurred_at),
            ("period", self.period != other.period),
            ("subscription", self.subscription != other.subscription),
            ("unit_price", self.unit_price != other.unit_price),
            ("unique_value", self.unique_value != other.unique_value),
            ("metadata", self.metadata != other.metadata),
            ("correction", self.correction != other.correction),
        ]
        .into_iter()
        .filter_map(|(field, differs)| differs.then_some(field))
        .collect()
    }

    /// Checks what every store demands of the numbers.
    ///
    /// # Errors
    /// `Bounds` for a number that cannot be kept exactly, `Negative` for a negative price.
    pub fn must_be_storable(&self) -> Result<(), MeteringError> {
        let bounds = |field, value| match Exact::of(value) {
            Some(_) => Ok(()),
            None => Err(MeteringError::Bounds { field, value }),
        };
        bounds("quantity", self.quantity)?;
        match self.unit_price {
            Some(price) if price < Decimal::ZERO => Err(MeteringError::Negative {
                field: "unit price",
                value: price,
            }),
            Some(price) => bounds("unit price", price),
            None => Ok(()),
        }
    }
}

/// What became of one record of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Recorded {
    /// It was recorded now.
    Now,
    /// It had been recorded before, with the same content.
    Before,
    /// Its key or its id is taken by a record with another content; these fields differ.
    Differs(Vec<&'static str>),
}

/// What a host gets for a record: its id, and whether this call recorded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The record.
    pub id: UsageId,
    /// Whether it was recorded now; otherwise it had been before, with the same content.
    pub new: bool,
}

impl Recorded {
    /// What a host gets for its record.
    ///
    /// # Errors
    /// `KeyTaken` when the key is taken by another content.
    pub fn receipt(self, record: &UsageRecord, key: &UsageKey) -> Result<Receipt, MeteringError> {
        let id = record.id;
        match self {
            Self::Now => Ok(Receipt { id, new: true }),
            Self::Before => Ok(Receipt { id, new: false }),
            Self::Differs(fields) => Err(MeteringError::KeyTaken {
                key: key.clone(),
                fields,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(1_795_406_099_742_000 + micros).unwrap()
    }

    fn usage(quantity: &str) -> NewUsage {
        NewUsage::new(
            UsageKey::new("k").unwrap(),
            MeterName::EXECUTIONS,
            quantity.parse::<Decimal>().unwrap(),
            at(0),
        )
    }

    #[test]
    fn a_repeated_record_differs_in_nothing() {
        let first = UsageRecord::supplied(&usage("1.50"), at(5)).unwrap();
        let again = UsageRecord::supplied(&usage("1.5"), at(9)).unwrap();
        assert_eq!(first.id, again.id);
        assert!(first.differences(&again).is_empty());
        let mut changed = usage("2");
        changed.occurred_at = at(1);
        let changed = UsageRecord::supplied(&changed, at(5)).unwrap();
        assert_eq!(
            first.differences(&changed),
            ["quantity", "occurred_at", "period"]
        );
        let error = MeteringError::KeyTaken {
            key: UsageKey::new("k").unwrap(),
            fields: first.differences(&changed),
        };
        assert_eq!(
            error.to_string(),
            "usage key `k` is taken by a record with another quantity, occurred_at, period"
        );
    }

    #[test]
    fn numbers_that_cannot_be_kept_exactly_are_refused() {
        let error = UsageRecord::supplied(&usage("0.0000000000001"), at(0)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "quantity 0.0000000000001 must have at most 16 digits before and 12 after the \
             decimal point"
        );
        let mut priced = usage("1");
        priced.unit_price = "10000000000000000".parse().ok();
        let refused = UsageRecord::supplied(&priced, at(0));
        assert!(matches!(
            refused,
            Err(MeteringError::Bounds {
                field: "unit price",
                ..
            })
        ));
        priced.unit_price = Some(Decimal::NEGATIVE_ONE);
        let refused = UsageRecord::supplied(&priced, at(0));
        assert!(matches!(refused, Err(MeteringError::Negative { .. })));
    }

    #[test]
    fn only_levels_fall() {
        use crate::domain::metering::{Aggregation, Meter};
        let record = UsageRecord::supplied(&usage("-1"), at(0)).unwrap();
        let sum = Meter::new(MeterName::EXECUTIONS, Aggregation::Sum);
        assert!(matches!(
            sum.check(&record),
            Err(MeteringError::Negative { .. })
        ));
        let level = Meter::new(MeterName::EXECUTIONS, Aggregation::Level);
        assert_eq!(level.check(&record), Ok(()));
        let unique = Meter::new(MeterName::EXECUTIONS, Aggregation::UniqueCount);
        let one = UsageRecord::supplied(&usage("1"), at(0)).unwrap();
        assert!(matches!(
            unique.check(&one),
            Err(MeteringError::NoUniqueValue { .. })
        ));
        let void = one.void(Document::empty(), at(1)).unwrap();
        assert_eq!(sum.check(&void), Ok(()));
        assert_eq!(void.occurred_at, one.occurred_at);
        let nothing = UsageRecord::supplied(&usage("0"), at(0)).unwrap();
        let void = nothing.void(Document::empty(), at(1)).unwrap();
        assert_eq!(void.quantity.to_string(), "0");
    }
}

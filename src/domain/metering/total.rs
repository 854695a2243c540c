//! What the records of a period add up to.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::exact::micros_left;
use super::{
    Aggregation, Correction, Exact, Meter, MeterName, MeteringError, UsageRecord, Weighted,
};
use crate::domain::ids::UsageId;
use crate::domain::time::Period;

/// What the records of a meter add up to in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageTotal {
    /// The meter.
    pub meter: MeterName,
    /// How its records became one number.
    pub aggregation: Aggregation,
    /// The number; a mean is rounded to 12 places, half away from zero.
    pub value: Decimal,
    /// How many records of the period count. One that is voided does not.
    pub count: i64,
}

/// What a store has summed for one meter, before it becomes a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sum {
    /// A quantity.
    Plain(Exact),
    /// Quantities, each times the microseconds it counts for in the period.
    Weighted(Weighted),
}

impl UsageTotal {
    /// The total of a meter over a period from what was summed; `None` where a sum was too large.
    ///
    /// # Errors
    /// `TooLarge` for a value that cannot be told exactly.
    pub(crate) fn of(
        meter: &Meter,
        period: Period,
        sum: Option<Sum>,
        count: i64,
    ) -> Result<Self, MeteringError> {
        let value = sum.and_then(|sum| match sum {
            Sum::Plain(sum) => sum.decimal(),
            Sum::Weighted(sum) => match micros_left(period, period.start()) {
                0 => Some(Decimal::ZERO),
                micros => sum.mean(micros)?.decimal(),
            },
        });
        Ok(Self {
            meter: meter.name.clone(),
            aggregation: meter.aggregation,
            value: value.ok_or_else(|| MeteringError::TooLarge {
                meter: meter.name.clone(),
            })?,
            count,
        })
    }
}

/// Adds up the records of one meter over a period, in any order.
#[derive(Debug, Clone)]
pub struct Tally<'r> {
    meter: &'r Meter,
    period: Period,
    sum: Option<Sum>,
    count: i64,
    records: BTreeMap<UsageId, &'r UsageRecord>,
    voided: BTreeSet<UsageId>,
}

impl<'r> Tally<'r> {
    /// Nothing yet.
    #[must_use]
    pub fn new(meter: &'r Meter, period: Period) -> Self {
        let sum = match meter.aggregation {
            Aggregation::TimeWeightedSum => Sum::Weighted(Weighted::default()),
            _ => Sum::Plain(Exact::default()),
        };
        Self {
            meter,
            period,
            sum: Some(sum),
            count: 0,
            records: BTreeMap::new(),
            voided: BTreeSet::new(),
        }
    }

    /// Takes a record into account. Those of other meters, and those that do not matter to the
    /// period, change nothing; a meter of a level wants all records from the first on.
    pub fn add(&mut self, record: &'r UsageRecord) {
        let at = record.occurred_at;
        let aggregation = self.meter.aggregation;
        let present = self.period.contains(at);
        let carried = aggregation.is_of_level() && at < self.period.start();
        if record.meter != self.meter.name || !(present || carried) {
            return;
        }
        if present {
            self.count += if record.is_void() { -1 } else { 1 };
        }
        match aggregation {
            Aggregation::Sum | Aggregation::Level | Aggregation::TimeWeightedSum => {
                self.sum = self.sum.and_then(|sum| {
                    let quantity = Exact::of(record.quantity)?;
                    Some(match sum {
                        Sum::Plain(sum) => Sum::Plain(sum.plus(quantity)?),
                        Sum::Weighted(sum) => {
                            Sum::Weighted(sum.plus(quantity, micros_left(self.period, at))?)
                        }
                    })
                });
            }
            Aggregation::Count => {}
            Aggregation::Max | Aggregation::Latest | Aggregation::UniqueCount => {
                match record.correction {
                    Some(Correction::Void(id)) => {
                        self.voided.insert(id);
                    }
                    _ => {
                        self.records.insert(record.id, record);
                    }
                }
            }
        }
    }

    /// The total.
    ///
    /// # Errors
    /// `TooLarge` for a sum that cannot be told exactly.
    pub fn total(&self) -> Result<UsageTotal, MeteringError> {
        let standing = || {
            let records = self.records.values().copied();
            records.filter(|record| !self.voided.contains(&record.id))
        };
        let quantity = |record: Option<&UsageRecord>| {
            let quantity = record.map_or(Some(Exact::default()), |r| Exact::of(r.quantity));
            quantity.map(Sum::Plain)
        };
        let number = |number: i64| Exact::of(number.into()).map(Sum::Plain);
        let sum = match self.meter.aggregation {
            Aggregation::Sum | Aggregation::Level | Aggregation::TimeWeightedSum => self.sum,
            Aggregation::Count => number(self.count),
            Aggregation::Max => quantity(standing().max_by_key(|record| record.quantity)),
            Aggregation::Latest => quantity(
                standing().max_by_key(|record| (record.occurred_at, record.recorded_at, record.id)),
            ),
            Aggregation::UniqueCount => {
                let values: BTreeSet<_> = standing()
                    .filter_map(|record| record.unique_value.as_ref())
                    .collect();
                number(i64::try_from(values.len()).unwrap_or(i64::MAX))
            }
        };
        UsageTotal::of(self.meter, self.period, sum, self.count)
    }
}

/// What these records of a meter add up to in a period: see [`Tally`].
///
/// # Errors
/// `TooLarge` for a sum that cannot be told exactly.
pub fn aggregate<'r>(
    meter: &'r Meter,
    period: Period,
    records: impl IntoIterator<Item = &'r UsageRecord>,
) -> Result<UsageTotal, MeteringError> {
    let mut tally = Tally::new(meter, period);
    for record in records {
        tally.add(record);
    }
    tally.total()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;
    use crate::domain::json::Document;
    use crate::domain::metering::NewUsage;
    use crate::domain::text::{UniqueValue, UsageKey};

    fn t(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn period(start: &str, end: &str) -> Period {
        Period::new(t(start), t(end)).unwrap()
    }

    fn meter(aggregation: Aggregation) -> Meter {
        Meter::new(MeterName::new("m").unwrap(), aggregation)
    }

    /// A record of `quantity` at `at`; the key is its unique value too.
    fn record(at: &str, key: &str, quantity: &str) -> UsageRecord {
        let name = MeterName::new("m").unwrap();
        let mut new = NewUsage::new(UsageKey::new(key).unwrap(), name, d(quantity), t(at));
        new.unique_value = Some(UniqueValue::new(key).unwrap());
        UsageRecord::supplied(&new, t(at)).unwrap()
    }

    fn value(aggregation: Aggregation, period: Period, records: &[UsageRecord]) -> Decimal {
        aggregate(&meter(aggregation), period, records)
            .unwrap()
            .value
    }

    const MARCH: (&str, &str) = ("2024-03-01T00:00:00Z", "2024-04-01T00:00:00Z");

    /// The cases that other systems publish of their own aggregations.
    #[test]
    fn aggregations_agree_with_published_cases() {
        let max = [
            record("2024-03-06T00:00:00Z", "a", "5"),
            record("2024-03-06T00:00:01Z", "b", "20"),
            record("2024-03-06T00:00:02Z", "c", "3"),
        ];
        let latest = [
            record("2024-03-05T01:00:00Z", "a", "10"),
            record("2024-03-05T03:00:00Z", "c", "50"),
            record("2024-03-05T02:00:00Z", "b", "3"),
        ];
        let weighted = [record("2023-03-05T00:00:00Z", "a", "2500")];
        let minute = [
            record("2023-01-01T00:00:00.001Z", "00001", "10"),
            record("2023-01-01T00:00:00.001Z", "00002", "20"),
        ];
        let march = period(MARCH.0, MARCH.1);
        for (source, aggregation, period, records, expected) in [
            ("Lago, max", Aggregation::Max, march, &max[..], "20"),
            (
                "Lago, latest",
                Aggregation::Latest,
                march,
                &latest[..],
                "50",
            ),
            (
                "Lago, weighted sum",
                Aggregation::TimeWeightedSum,
                period("2023-03-01T00:00:00Z", "2023-04-01T00:00:00Z"),
                &weighted[..],
                "2177.41935483871",
            ),
            (
                "OpenMeter, sum of a window",
                Aggregation::Sum,
                period("2023-01-01T00:00:00Z", "2023-01-01T00:01:00Z"),
                &minute[..],
                "30",
            ),
        ] {
            assert_eq!(value(aggregation, period, records), d(expected), "{source}");
        }
    }

    #[test]
    fn a_record_at_the_boundary_is_in_one_period() {
        let records = [record("2024-02-01T00:00:00Z", "x", "1")];
        let january = period("2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z");
        let february = period("2024-02-01T00:00:00Z", MARCH.0);
        for aggregation in [
            Aggregation::Count,
            Aggregation::Sum,
            Aggregation::Max,
            Aggregation::Latest,
            Aggregation::UniqueCount,
        ] {
            assert_eq!(value(aggregation, january, &records), Decimal::ZERO);
            assert_eq!(value(aggregation, february, &records), Decimal::ONE);
        }
    }

    #[test]
    fn unique_values_are_counted_once() {
        let mut records = vec![
            record("2024-03-02T00:00:00Z", "a", "1"),
            record("2024-03-03T00:00:00Z", "b", "1"),
            record("2024-03-04T00:00:00Z", "c", "1"),
        ];
        records[2].unique_value = UniqueValue::new("a").ok();
        let total = aggregate(
            &meter(Aggregation::UniqueCount),
            period(MARCH.0, MARCH.1),
            &records,
        )
        .unwrap();
        assert_eq!((total.value, total.count), (Decimal::TWO, 3));
    }

    #[test]
    fn a_level_is_carried_from_period_to_period() {
        let records = [
            record("2024-02-10T00:00:00Z", "a", "100"),
            record("2024-03-16T12:00:00Z", "b", "-40"),
            record("2024-04-01T00:00:00Z", "c", "7"),
        ];
        let march = period(MARCH.0, MARCH.1);
        assert_eq!(value(Aggregation::Level, march, &records), d("60"));
        // 100 for the first half of March, 60 for the second.
        assert_eq!(
            value(Aggregation::TimeWeightedSum, march, &records),
            d("80")
        );
        let quarter = period(MARCH.0, "2024-06-01T00:00:00Z");
        assert_eq!(value(Aggregation::Level, quarter, &records), d("67"));
        let nothing = Period::at(t(MARCH.0));
        assert_eq!(value(Aggregation::Level, nothing, &records), d("100"));
        assert_eq!(
            value(Aggregation::TimeWeightedSum, nothing, &records),
            d("0")
        );
    }

    #[test]
    fn a_voided_record_does_not_count() {
        let kept = record("2024-03-02T00:00:00Z", "a", "5");
        let wrong = record("2024-03-20T00:00:00Z", "b", "50");
        let void = wrong.void(Document::empty(), t(MARCH.1)).unwrap();
        assert_eq!(
            void.void(Document::empty(), t(MARCH.1)),
            Err(MeteringError::IsVoid { id: void.id })
        );
        let march = period(MARCH.0, MARCH.1);
        for (aggregation, expected) in [
            (Aggregation::Sum, "5"),
            (Aggregation::Count, "1"),
            (Aggregation::Max, "5"),
            (Aggregation::Latest, "5"),
            (Aggregation::UniqueCount, "1"),
            (Aggregation::Level, "5"),
        ] {
            let total = aggregate(&meter(aggregation), march, [&void, &wrong, &kept]).unwrap();
            assert_eq!(
                (total.value, total.count),
                (d(expected), 1),
                "{aggregation}"
            );
        }
        let alone = value(
            Aggregation::TimeWeightedSum,
            march,
            std::slice::from_ref(&kept),
        );
        assert_eq!(
            value(Aggregation::TimeWeightedSum, march, &[kept, wrong, void]),
            alone
        );
    }

    #[test]
    fn what_cannot_be_told_exactly_is_refused() {
        let records: Vec<_> = (0..8)
            .map(|n| record(MARCH.0, &n.to_string(), "9999999999999999.999999999999"))
            .collect();
        assert_eq!(
            aggregate(&meter(Aggregation::Sum), period(MARCH.0, MARCH.1), &records)
                .unwrap_err()
                .to_string(),
            "the total of meter `m` is too large to be told exactly"
        );
    }
}

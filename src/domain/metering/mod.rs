//! Metering: what was consumed, by which meter, and what it adds up to.
//!
//! A [`UsageRecord`] says that a quantity was consumed at an instant. It is never changed: a
//! correction is another record, which voids it. A [`Meter`] says how the records of a period
//! become one number. Periods are half-open, and the instant alone decides to which a record
//! belongs: late usage belongs to its own period.
//!
//! # What deduplicates
//! - Usage that a host supplies has a [`UsageKey`]. The same key with the
//!   same content is recorded once, however often, wherever and at whatever time it is sent; with
//!   other content it is refused, with the fields that differ. A key is remembered as long as its
//!   record is kept, within the calendar month (UTC) of `occurred_at`. So a retry must repeat its
//!   `occurred_at`: a changed instant is noticed within the month, and is a new record in another.
//! - Usage that follows from an execution has an id made of the execution and the meter.
//! - A record can be voided once: the id of what voids it is made of its own.

mod exact;
mod meter;
mod total;
mod usage;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

pub(crate) use self::exact::{Exact, Weighted};
pub use self::meter::{Aggregation, CustomMeter, Meter, MeterName};
// Only a store that sums by itself has sums to hand over.
#[cfg(feature = "postgres")]
pub(crate) use self::total::Sum;
pub use self::total::{Tally, UsageTotal, aggregate};
pub use self::usage::{Correction, NewUsage, Receipt, Recorded, UsageRecord};

use super::ids::UsageId;
use super::json::DocumentError;
use super::text::{TextError, UsageKey};

/// A broken rule about metering.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MeteringError {
    /// A text that does not fit its field.
    #[error("usage: {0}")]
    Text(#[from] TextError),
    /// A document that does not fit its field.
    #[error("usage: {0}")]
    Document(#[from] DocumentError),
    /// A number that cannot be kept exactly.
    #[error("{field} {value} must have at most 16 digits before and 12 after the decimal point")]
    Bounds {
        /// The field.
        field: &'static str,
        /// What was given.
        value: Decimal,
    },
    /// Usage of an instant for which nothing can be stored.
    #[error("usage of {instant} is outside the months that are kept: {window}")]
    OutsideWindow {
        /// When it occurred.
        instant: DateTime<Utc>,
        /// The window in words.
        window: String,
    },
    /// A negative number where none can be.
    #[error("{field} {value} must not be negative: only meters of levels take negative quantities")]
    Negative {
        /// The field.
        field: &'static str,
        /// What was given.
        value: Decimal,
    },
    /// A record of a meter of unique values without one.
    #[error("unique value must be given: the meter `{meter}` counts unique values")]
    NoUniqueValue {
        /// The meter.
        meter: MeterName,
    },
    /// A meter that is neither built in nor defined by the tenant.
    #[error("meter `{meter}` is not defined; define it first")]
    UnknownMeter {
        /// The meter.
        meter: MeterName,
    },
    /// A definition of a meter that every tenant has.
    #[error("meter `{meter}` is built in and cannot be defined")]
    BuiltIn {
        /// The meter.
        meter: MeterName,
    },
    /// A key that was used for something else.
    #[error("usage key `{key}` is taken by a record with another {}", fields.join(", "))]
    KeyTaken {
        /// The key.
        key: UsageKey,
        /// The fields that differ.
        fields: Vec<&'static str>,
    },
    /// A record that voids another cannot be voided.
    #[error("usage {id} voids another record and cannot be corrected itself")]
    IsVoid {
        /// The record.
        id: UsageId,
    },
    /// A record that was corrected in another way.
    #[error("usage {id} is corrected already")]
    AlreadyCorrected {
        /// The record.
        id: UsageId,
    },
    /// A total that is too large to be kept exactly.
    #[error("the total of meter `{meter}` is too large to be told exactly")]
    TooLarge {
        /// The meter.
        meter: MeterName,
    },
}

//! Limits: what a tenant may use, over which stretch of time, and what was reserved of it.
//!
//! [`LimitTerms`] are what a tenant's plan and the tenant's own overrides say; [`Bounds`] are what
//! follows for one limit. How a limit is counted depends on what it is about ([`CountedBy`]):
//!
//! - workflows and users are counted from their rows, whenever one is added: nothing can drift;
//! - what has a built-in meter follows the usage that is recorded;
//! - everything else is what the host reserves and commits, or records.
//!
//! The last two are kept in counters, one per limit and window ([`LimitSpan`]). A [`Reservation`]
//! holds a part of a counter until it is committed, released, or expires.

mod bounds;
mod reservation;
mod span;
mod threshold;

use chrono::{DateTime, Utc};

pub use bounds::{Bounds, LimitTerms};
pub use reservation::{Reservation, ReservationState, Settlement};
pub use span::{LimitSpan, window_at};
pub use threshold::{Crossing, Threshold, crossed};

use super::catalogue::LimitName;
use super::ids::ReservationId;
use super::metering::MeterName;

/// A broken rule about limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// More than the hard bound allows.
    #[error(
        "limit `{limit}`: {used} of {bound} are in use, so {requested} more cannot be had{}",
        until(*resets_at)
    )]
    Exceeded {
        /// The limit.
        limit: LimitName,
        /// The hard bound.
        bound: u64,
        /// What is used and reserved.
        used: u64,
        /// What was asked for.
        requested: u64,
        /// When the count begins anew; `None` for a limit on what there is at one time.
        resets_at: Option<DateTime<Utc>>,
    },
    /// A level above the hard bound.
    #[error("limit `{limit}`: a level of {level} is above the bound of {bound}")]
    LevelExceeded {
        /// The limit.
        limit: LimitName,
        /// The hard bound.
        bound: u64,
        /// The level that was given.
        level: u64,
    },
    /// A limit that only the tenant's overrides name, as a misspelt one does.
    #[error(
        "limit `{limit}` is overridden for this tenant, but neither its plan nor the library has \
         it; there are {}",
        list(there_are)
    )]
    Unknown {
        /// The name.
        limit: String,
        /// The names there are.
        there_are: Vec<LimitName>,
    },
    /// A call that does not fit how the limit is counted.
    #[error("limit `{limit}` is counted by its {by}; it cannot be reserved or set")]
    Counted {
        /// The limit.
        limit: LimitName,
        /// What is counted.
        by: &'static str,
    },
    /// An amount that is none.
    #[error("amount {amount} must be from 1 to {}", Reservation::MAX_AMOUNT)]
    Amount {
        /// What was given.
        amount: u64,
    },
    /// A reservation for too short or too long a time.
    #[error(
        "a reservation of {seconds} seconds must last from 1 second to {} days",
        Reservation::MAX_DAYS
    )]
    Lasting {
        /// What was given, in whole seconds.
        seconds: i64,
    },
    /// A reservation that holds nothing any more.
    #[error("reservation {id} is {state}; only one that is held can be {to}")]
    NotHeld {
        /// The reservation.
        id: ReservationId,
        /// What became of it.
        state: ReservationState,
        /// What was to become of it.
        to: ReservationState,
    },
}

fn until(resets_at: Option<DateTime<Utc>>) -> String {
    resets_at.map_or_else(String::new, |at| {
        format!(" before {}", at.format("%Y-%m-%dT%H:%M:%SZ"))
    })
}

fn list(names: &[LimitName]) -> String {
    let names: Vec<&str> = names.iter().map(LimitName::as_str).collect();
    names.join(", ")
}

/// Rows that are counted, rather than a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CountedRows {
    /// Workflows that are not archived.
    Workflows,
    /// Users that are active.
    Users,
}

impl CountedRows {
    /// The limit that is about them.
    #[must_use]
    pub fn limit(self) -> LimitName {
        match self {
            Self::Workflows => LimitName::WORKFLOWS,
            Self::Users => LimitName::USERS,
        }
    }

    /// Their name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workflows => "workflows",
            Self::Users => "users",
        }
    }
}

/// Where the number comes from that a limit bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CountedBy {
    /// Rows, counted whenever one is added.
    Rows(CountedRows),
    /// Usage of this meter: what is recorded moves the counter.
    Usage(MeterName),
    /// The host: what it reserves and commits, records or sets.
    Host,
}

impl CountedBy {
    /// How this limit is counted.
    #[must_use]
    pub fn of(limit: &LimitName) -> Self {
        const METERS: [MeterName; 4] = [
            MeterName::EXECUTIONS,
            MeterName::AI_CALLS,
            MeterName::EXECUTION_MS,
            MeterName::STORAGE,
        ];
        if *limit == LimitName::WORKFLOWS {
            return Self::Rows(CountedRows::Workflows);
        }
        if *limit == LimitName::USERS {
            return Self::Rows(CountedRows::Users);
        }
        let meter = METERS
            .into_iter()
            .find(|meter| meter.as_str() == limit.as_str());
        meter.map_or(Self::Host, Self::Usage)
    }

    /// The limit that usage of a meter counts for; `None` for a meter that a tenant defined.
    #[must_use]
    pub fn limit_of(meter: &MeterName) -> Option<LimitName> {
        let limit = LimitName::new(meter.as_str()).ok()?;
        matches!(Self::of(&limit), Self::Usage(_)).then_some(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn every_limit_is_counted_in_one_way() {
        assert_eq!(
            CountedBy::of(&LimitName::WORKFLOWS),
            CountedBy::Rows(CountedRows::Workflows)
        );
        assert_eq!(
            CountedBy::of(&LimitName::STORAGE),
            CountedBy::Usage(MeterName::STORAGE)
        );
        let own = LimitName::new("exports").unwrap();
        assert_eq!(CountedBy::of(&own), CountedBy::Host);
        assert_eq!(
            CountedBy::limit_of(&MeterName::AI_CALLS),
            Some(LimitName::AI_CALLS)
        );
        let users = MeterName::new("users").unwrap();
        assert_eq!(CountedBy::limit_of(&users), None);
        let own = MeterName::new("exports").unwrap();
        assert_eq!(CountedBy::limit_of(&own), None);
    }

    #[test]
    fn messages_say_what_is_there_and_until_when() {
        let resets_at = Some(Utc.with_ymd_and_hms(2026, 12, 1, 0, 0, 0).unwrap());
        let exceeded = LimitError::Exceeded {
            limit: LimitName::EXECUTIONS,
            bound: 100,
            used: 99,
            requested: 2,
            resets_at,
        };
        assert_eq!(
            exceeded.to_string(),
            "limit `executions`: 99 of 100 are in use, so 2 more cannot be had before \
             2026-12-01T00:00:00Z"
        );
        let unknown = LimitError::Unknown {
            limit: "exections".to_owned(),
            there_are: vec![LimitName::EXECUTIONS, LimitName::USERS],
        };
        assert_eq!(
            unknown.to_string(),
            "limit `exections` is overridden for this tenant, but neither its plan nor the \
             library has it; there are executions, users"
        );
    }
}

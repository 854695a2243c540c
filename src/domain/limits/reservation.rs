//! Reservations: a part of a limit that is held for a while.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{LimitError, LimitSpan};
use crate::domain::catalogue::LimitName;
use crate::domain::ids::ReservationId;
use crate::domain::text::TextError;
use crate::domain::time::micros;

/// What became of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReservationState {
    /// Its amount counts against the bound.
    Held,
    /// Its amount was used.
    Committed,
    /// Its amount was given back.
    Released,
    /// Nobody settled it in time: its amount was given back.
    Expired,
}

impl ReservationState {
    const ALL: [Self; 4] = [Self::Held, Self::Committed, Self::Released, Self::Expired];

    /// The name that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Committed => "committed",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for ReservationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ReservationState {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let mut all = Self::ALL.into_iter();
        all.find(|state| state.as_str() == text)
            .ok_or_else(|| TextError::form("state", text, "held, committed, released or expired"))
    }
}

/// What is to become of reservations that are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Settlement {
    /// What they hold was used.
    Commit,
    /// What they hold is given back.
    Release,
}

impl Settlement {
    /// The state that follows.
    #[must_use]
    pub fn state(self) -> ReservationState {
        match self {
            Self::Commit => ReservationState::Committed,
            Self::Release => ReservationState::Released,
        }
    }
}

/// A part of a limit, held until it is settled or expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Its id.
    pub id: ReservationId,
    /// The limit.
    pub limit: LimitName,
    /// The first instant of the window in which it counts, whenever it is settled.
    pub window_start: DateTime<Utc>,
    /// How much.
    pub amount: u64,
    /// From then on its amount may be given back. It is forgotten some time after.
    pub expires_at: DateTime<Utc>,
    /// What became of it.
    pub state: ReservationState,
}

impl Reservation {
    /// The most that can be reserved or recorded at once.
    pub const MAX_AMOUNT: u64 = 1_000_000_000_000_000;
    /// The longest that a reservation can last, in days.
    pub const MAX_DAYS: i64 = 31;
    /// How long what became of a reservation is remembered after it expired, in hours.
    pub const KEPT_HOURS: i64 = 1;

    /// A reservation that is held from now on.
    ///
    /// # Errors
    /// `Amount` for nothing or too much, `Lasting` for less than a second or more than 31 days.
    pub fn hold(
        id: ReservationId,
        span: &LimitSpan,
        amount: u64,
        now: DateTime<Utc>,
        lasting: TimeDelta,
    ) -> Result<Self, LimitError> {
        Self::check_amount(amount)?;
        let lasts = TimeDelta::seconds(1)..=TimeDelta::days(Self::MAX_DAYS);
        if !lasts.contains(&lasting) {
            let seconds = lasting.num_seconds();
            return Err(LimitError::Lasting { seconds });
        }
        Ok(Self {
            id,
            limit: span.limit.clone(),
            window_start: span.start,
            amount,
            expires_at: micros(now + lasting),
            state: ReservationState::Held,
        })
    }

    /// Checks an amount.
    ///
    /// # Errors
    /// `Amount` unless it is from 1 to [`Reservation::MAX_AMOUNT`].
    pub fn check_amount(amount: u64) -> Result<(), LimitError> {
        if (1..=Self::MAX_AMOUNT).contains(&amount) {
            Ok(())
        } else {
            Err(LimitError::Amount { amount })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_has_an_amount_and_an_end() {
        let span = LimitSpan {
            limit: LimitName::EXECUTIONS,
            start: DateTime::UNIX_EPOCH,
            end: None,
        };
        let id = ReservationId::from_uuid(uuid::Uuid::from_u128(1));
        let hold = |amount, seconds| {
            let lasting = TimeDelta::seconds(seconds);
            Reservation::hold(id, &span, amount, DateTime::UNIX_EPOCH, lasting)
        };
        let held = hold(3, 60).unwrap();
        assert_eq!(held.state, ReservationState::Held);
        assert_eq!(held.expires_at.timestamp(), 60);
        assert_eq!(hold(0, 60), Err(LimitError::Amount { amount: 0 }));
        assert!(hold(Reservation::MAX_AMOUNT + 1, 60).is_err());
        assert_eq!(hold(1, 0), Err(LimitError::Lasting { seconds: 0 }));
        assert!(hold(1, 31 * 86_400).is_ok());
        assert!(hold(1, 31 * 86_400 + 1).is_err());
        for state in ReservationState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
    }
}

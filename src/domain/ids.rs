//! Identifiers: one type per entity, all of them UUIDv7 underneath.
//!
//! An id carries the instant its row is *about* in its first 48 bits (milliseconds, RFC 9562
//! section 5.7). Tables that grow without end are partitioned by it, so a query by time is also a
//! query by id: see [`floor`].

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: `{text}` is not a UUID")]
pub struct ParseIdError {
    kind: &'static str,
    text: String,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID of the host's or of an earlier call.
            #[must_use]
            pub const fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            /// The UUID inside.
            #[must_use]
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text).map(Self).map_err(|_| ParseIdError {
                    kind: stringify!($name),
                    text: text.chars().take(64).collect(),
                })
            }
        }
    )+};
}

ids! {
    /// A tenant: the customer whose data nobody else sees.
    TenantId;
    /// A person in one tenant. May be an id of the host's identity provider.
    UserId;
    /// One grant of a role to a user.
    GrantId;
    /// A role that a tenant defined.
    RoleId;
    /// A registered n8n instance (or another origin of executions) of one tenant.
    SourceId;
    /// A workflow.
    WorkflowId;
    /// One run of a workflow.
    ExecutionId;
    /// One entry of an execution's error log.
    ErrorLogId;
    /// One record of consumption.
    UsageId;
    /// A meter that a tenant defined.
    MeterId;
    /// A plan.
    PlanId;
    /// One version of a plan.
    PlanVersionId;
    /// A price in the price book.
    PriceId;
    /// A price that one tenant has, in place of the book's.
    OverrideId;
    /// A subscription of a tenant to a plan.
    SubscriptionId;
    /// One analytics event.
    EventId;
    /// One entry of the audit trail.
    AuditId;
    /// The token of a relay that holds keys of the outbox.
    LeaseId;
    /// A part of a limit that is held for a while.
    ReservationId;
}

/// Makes the ids of one unit of work: time from the unit, randomness from a seed.
///
/// Equal seeds give equal ids, which is what tests want; a store seeds each unit from its
/// [`Entropy`](crate::store::Entropy).
#[derive(Debug, Clone)]
pub struct IdGenerator {
    now: DateTime<Utc>,
    random: ChaCha8Rng,
}

impl IdGenerator {
    /// A generator for a unit that began at `now`.
    #[must_use]
    pub fn new(now: DateTime<Utc>, seed: [u8; 32]) -> Self {
        Self {
            now,
            random: ChaCha8Rng::from_seed(seed),
        }
    }

    /// A new id that carries the instant at which the unit began.
    #[must_use]
    pub fn fresh<T: From<Uuid>>(&mut self) -> T {
        self.fresh_at(self.now)
    }

    /// A new id that carries `instant`, for a row that is about that instant.
    #[must_use]
    pub fn fresh_at<T: From<Uuid>>(&mut self, instant: DateTime<Utc>) -> T {
        let mut tail = [0; 10];
        self.random.fill_bytes(&mut tail);
        v7(instant, tail).into()
    }
}

/// An id that anybody computes alike from the same instant and parts, so that a repeated write
/// meets its own row.
///
/// The tail is the head of a SHA-256 over the parts, each preceded by its length.
#[must_use]
pub fn derived<T: From<Uuid>>(instant: DateTime<Utc>, parts: &[&[u8]]) -> T {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut tail = [0; 10];
    for (to, from) in tail.iter_mut().zip(digest.iter()) {
        *to = *from;
    }
    v7(instant, tail).into()
}

/// An id that carries the instant and then a number: rows of one instant keep their order.
///
/// The number is kept below 2^62.
#[must_use]
pub fn numbered<T: From<Uuid>>(instant: DateTime<Utc>, number: u64) -> T {
    let mut tail = [0; 10];
    for (to, from) in tail
        .iter_mut()
        .skip(2)
        .zip((number & (u64::MAX >> 2)).to_be_bytes())
    {
        *to = from;
    }
    v7(instant, tail).into()
}

/// The smallest id that carries `instant`: every id of a row about that instant or later is not
/// below it.
#[must_use]
pub fn floor(instant: DateTime<Utc>) -> Uuid {
    Uuid::from_u128(u128::from(millis(instant)) << 80)
}

/// The smallest id above all that carry `instant` or an earlier one.
#[must_use]
pub fn after(instant: DateTime<Utc>) -> Uuid {
    let next = u128::from(millis(instant)) + 1;
    Uuid::from_u128(next.saturating_mul(1 << 80))
}

/// The instant an id carries, to the millisecond; `None` unless it is a UUIDv7.
#[must_use]
pub fn instant_of(id: Uuid) -> Option<DateTime<Utc>> {
    if id.get_version_num() != 7 {
        return None;
    }
    let millis = i64::try_from(id.as_u128() >> 80).ok()?;
    DateTime::from_timestamp_millis(millis)
}

fn millis(instant: DateTime<Utc>) -> u64 {
    const MAX: u64 = (1 << 48) - 1;
    u64::try_from(instant.timestamp_millis())
        .unwrap_or(0)
        .min(MAX)
}

fn v7(instant: DateTime<Utc>, tail: [u8; 10]) -> Uuid {
    let mut low = [0; 16];
    for (to, from) in low.iter_mut().skip(6).zip(tail) {
        *to = from;
    }
    let mut value = u128::from(millis(instant)) << 80 | u128::from_be_bytes(low);
    value = value & !(0xF << 76) | 0x7 << 76;
    value = value & !(0x3 << 62) | 0x2 << 62;
    Uuid::from_u128(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    fn at(millis: i64) -> DateTime<Utc> {
        Utc.timestamp_millis_opt(millis).unwrap()
    }

    #[test]
    fn an_id_carries_its_instant_and_is_a_valid_v7() {
        let mut ids = IdGenerator::new(at(1_795_406_099_742), [7; 32]);
        let id: Uuid = ids.fresh();
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(instant_of(id), Some(at(1_795_406_099_742)));
        let other: Uuid = ids.fresh();
        assert_ne!(id, other);
    }

    #[test]
    fn equal_seeds_and_equal_parts_give_equal_ids() {
        let mut a = IdGenerator::new(at(5), [1; 32]);
        let mut b = IdGenerator::new(at(5), [1; 32]);
        assert_eq!(a.fresh::<Uuid>(), b.fresh::<Uuid>());
        let one: UsageId = derived(at(5), &[b"ab", b"c"]);
        assert_eq!(one, derived(at(5), &[b"ab", b"c"]));
        assert_ne!(
            one,
            derived(at(5), &[b"a", b"bc"]),
            "the parts' bounds count"
        );
        assert_ne!(one, derived(at(6), &[b"ab", b"c"]));
    }

    #[test]
    fn the_floor_is_not_above_any_id_of_its_instant() {
        let instant = at(1_795_406_099_742);
        assert!(floor(instant) <= v7(instant, [0; 10]));
        assert!(floor(instant) > v7(at(1_795_406_099_741), [0xFF; 10]));
        assert!(after(instant) > v7(instant, [0xFF; 10]));
        assert!(after(instant) <= v7(at(1_795_406_099_743), [0; 10]));
        assert_eq!(after(DateTime::<Utc>::MAX_UTC), Uuid::max());
        assert_eq!(floor(DateTime::<Utc>::MIN_UTC), Uuid::nil());
    }

    #[test]
    fn a_text_that_is_no_id_is_named() {
        let error = "x".parse::<TenantId>().unwrap_err();
        assert_eq!(error.to_string(), "TenantId: `x` is not a UUID");
    }
}

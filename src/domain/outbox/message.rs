//! Messages: what a unit of work writes, what a publisher gets, what is kept.

use std::fmt;
use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::domain::catalogue::LimitName;
use crate::domain::execution::Execution;
use crate::domain::ids::{SubscriptionId, TenantId, WorkflowId};
use crate::domain::limits::Crossing;
use crate::domain::payload::PayloadError;
use crate::domain::payload::scan::Scanner;
use crate::domain::subscription::{Subscription, SubscriptionChange};
use crate::domain::text::{TextError, line};
use crate::domain::time::micros;

/// Why a message was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// A key or a kind that does not fit.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A payload that is not JSON, or too large.
    #[error("message payload: {0}")]
    Payload(#[from] PayloadError),
    /// A value that has no JSON form, such as a map whose keys are not texts.
    #[error("message payload: the value cannot be written as JSON: {reason}")]
    Unwritable {
        /// What serde_json says.
        reason: String,
    },
}

/// Defines a checked text of one line that is cheap to clone.
macro_rules! shared_text {
    ($($(#[$doc:meta])* $name:ident, $field:literal, $max:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The most characters it may have.
            pub const MAX: usize = $max;

            /// Checks and trims the text.
            ///
            /// # Errors
            /// When it is empty, too long or has a control character.
            pub fn new(text: &str) -> Result<Self, TextError> {
                line($field, text, Self::MAX).map(|text| Self(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = TextError;

            fn try_from(text: String) -> Result<Self, TextError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )+};
}

shared_text! {
    /// What a message is about, such as `workflow:{id}`: messages of one key keep their order.
    ///
    /// One line, at most 255 characters. A key that once had a message is remembered for ever, so
    /// choose things that stay (a workflow), not things that pass (each execution).
    MessageKey, "message key", 255;
    /// What happened, such as `execution_complete`: one line, at most 100 characters.
    MessageKind, "message kind", 100;
}

impl MessageKey {
    /// The key of what happens to a subscription: `subscription:{id}`.
    #[must_use]
    pub fn subscription(id: SubscriptionId) -> Self {
        Self(format!("subscription:{id}").into())
    }

    /// The key of what happens to a workflow: `workflow:{id}`.
    #[must_use]
    pub fn workflow(id: WorkflowId) -> Self {
        Self(format!("workflow:{id}").into())
    }

    /// The key of what happens to a limit: `limit:{name}`.
    #[must_use]
    pub fn limit(limit: &LimitName) -> Self {
        Self(format!("limit:{limit}").into())
    }
}

/// The details of a message: JSON text, kept as it was given. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct MessagePayload(Arc<str>);

impl MessagePayload {
    /// The most bytes of a payload: a message tells what happened and where to read of it.
    pub const MAX_BYTES: usize = 256 * 1024;

    /// Checks a JSON text.
    ///
    /// # Errors
    /// When it is larger than [`MessagePayload::MAX_BYTES`], not JSON, or nested too deep.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, MessageError> {
        let text = text.into();
        if text.len() > Self::MAX_BYTES {
            return Err(PayloadError::TooLarge {
                actual: text.len(),
                max: Self::MAX_BYTES,
            }
            .into());
        }
        let mut scanner = Scanner::new(&text);
        scanner.skip()?;
        scanner.end()?;
        Ok(Self(text))
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    /// When the value has no JSON form; otherwise as [`MessagePayload::new`].
    pub fn of(value: &(impl Serialize + ?Sized)) -> Result<Self, MessageError> {
        let text = serde_json::to_string(value).map_err(|error| MessageError::Unwritable {
            reason: error.to_string(),
        })?;
        Self::new(text)
    }

    /// A text that this crate wrote, or that was checked before it was stored.
    pub(crate) fn trusted(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessagePayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Without the text, which is the tenant's and may be long.
impl fmt::Debug for MessagePayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessagePayload")
            .field("bytes", &self.0.len())
            .finish_non_exhaustive()
    }
}

/// Written as the JSON it is, not as a string. Needs serde_json's serializer.
impl Serialize for MessagePayload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0)
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

/// Read from the JSON it is. Needs serde_json's deserializer.
impl<'de> Deserialize<'de> for MessagePayload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::new(raw.get()).map_err(serde::de::Error::custom)
    }
}

/// A message to be written in the unit of work of what it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxMessage {
    key: MessageKey,
    kind: MessageKind,
    payload: MessagePayload,
    occurred_at: DateTime<Utc>,
}

impl OutboxMessage {
    /// A message about what happened at `occurred_at`, to the microsecond.
    #[must_use]
    pub fn new(
        key: MessageKey,
        kind: MessageKind,
        payload: MessagePayload,
        occurred_at: DateTime<Utc>,
    ) -> Self {
        Self {
            key,
            kind,
            payload,
            occurred_at: micros(occurred_at),
        }
    }

    /// Tells that an execution has ended: `execution_complete` under its workflow's key, with
    /// `{"execution": …}` as the execution's JSON form.
    #[must_use]
    pub fn execution_complete(execution: &Execution) -> Self {
        static KIND: LazyLock<MessageKind> =
            LazyLock::new(|| MessageKind("execution_complete".into()));
        #[derive(Serialize)]
        struct Told<'e> {
            execution: &'e Execution,
        }
        // Made for every execution there is, so its text is given room at once.
        let mut text = Vec::with_capacity(1_024);
        // Every field of an execution has a JSON form, and writing to memory cannot fail.
        let _ = serde_json::to_writer(&mut text, &Told { execution });
        let text = String::from_utf8(text).unwrap_or_default();
        Self::new(
            MessageKey::workflow(execution.workflow),
            KIND.clone(),
            MessagePayload::trusted(text),
            execution.finished_at.unwrap_or(execution.started_at),
        )
    }

    /// Tells that a share of a limit's bound was reached: `limit_threshold` under the limit's key,
    /// with the crossing's JSON form, the share in percent and when the count begins anew.
    #[must_use]
    pub fn limit_threshold(
        crossing: &Crossing,
        resets_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Self {
        #[derive(Serialize)]
        struct Told<'c> {
            #[serde(flatten)]
            crossing: &'c Crossing,
            percent: u8,
            resets_at: Option<DateTime<Utc>>,
        }
        let told = Told {
            crossing,
            percent: crossing.threshold.percent(),
            resets_at,
        };
        // Names, numbers and instants always have a JSON form.
        let text = serde_json::to_string(&told).unwrap_or_default();
        Self::new(
            MessageKey::limit(&crossing.limit),
            MessageKind("limit_threshold".into()),
            MessagePayload::trusted(text),
            now,
        )
    }

    /// Tells what happened to a subscription, under its key: `subscription_created` and so on, with
    /// `{"subscription": …, "lines": […]}`, where the lines are those that wait for the next invoice
    /// because of it. `stored` is the subscription as the store answered it.
    #[must_use]
    pub fn subscription(change: &SubscriptionChange, stored: &Subscription) -> Self {
        let told = serde_json::json!({ "subscription": stored, "lines": change.lines });
        Self::new(
            MessageKey::subscription(stored.id),
            MessageKind(change.event.as_str().into()),
            MessagePayload::trusted(told.to_string()),
            change.at,
        )
    }

    /// What it is about.
    #[must_use]
    pub fn key(&self) -> &MessageKey {
        &self.key
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> &MessageKind {
        &self.kind
    }

    /// The details.
    #[must_use]
    pub fn payload(&self) -> &MessagePayload {
        &self.payload
    }

    /// When it happened.
    #[must_use]
    pub fn occurred_at(&self) -> DateTime<Utc> {
        self.occurred_at
    }
}

/// A message on its way to a publisher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Whose it is.
    pub tenant: TenantId,
    /// What it is about.
    pub key: MessageKey,
    /// Its number within the tenant's key, from 1 and without gaps. A message that comes again has
    /// the same number, so a consumer ignores numbers that are not above the last one it took.
    pub sequence: i64,
    /// What happened.
    pub kind: MessageKind,
    /// The details.
    pub payload: MessagePayload,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// Which try this is, from 1.
    pub attempt: u32,
}

/// A message that was published, or skipped, and is kept for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastMessage {
    /// Its number within the key.
    pub sequence: i64,
    /// What happened.
    pub kind: MessageKind,
    /// The details.
    pub payload: MessagePayload,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// When it was published, or skipped.
    pub settled_at: DateTime<Utc>,
    /// The error for which it was skipped; `None` if it was published.
    pub skipped: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use serde_json::json;

    #[test]
    fn a_payload_is_checked_and_kept_as_it_is() {
        let text = r#"{"a": "\u0000\ud800", "n": 123456789012345678901234567890}"#;
        let payload = MessagePayload::new(text).unwrap();
        assert_eq!(payload.as_str(), text);
        assert_eq!(payload.to_string(), text);
        assert_eq!(
            MessagePayload::new("{]").unwrap_err().to_string(),
            "message payload: not JSON: expected a key in quotation marks at byte 1"
        );
        assert!(matches!(
            MessagePayload::new("[".repeat(1_001)),
            Err(MessageError::Payload(PayloadError::TooDeep { .. }))
        ));
        let large = format!("\"{}\"", "x".repeat(MessagePayload::MAX_BYTES));
        assert!(matches!(
            MessagePayload::new(large),
            Err(MessageError::Payload(PayloadError::TooLarge { .. }))
        ));
        assert_eq!(
            MessagePayload::of(&json!({"a": [1]})).unwrap().as_str(),
            r#"{"a":[1]}"#
        );
        let keys = std::collections::BTreeMap::from([(vec![1], 1)]);
        assert!(matches!(
            MessagePayload::of(&keys),
            Err(MessageError::Unwritable { .. })
        ));
    }

    #[test]
    fn a_delivery_travels_as_json_with_its_payload_inside() {
        let delivery = Delivery {
            tenant: TenantId::from_uuid(uuid::Uuid::from_u128(7)),
            key: MessageKey::new("workflow:1").unwrap(),
            sequence: 3,
            kind: MessageKind::new("execution_complete").unwrap(),
            payload: MessagePayload::new(r#"{"big":12345678901234567890123}"#).unwrap(),
            occurred_at: Utc.timestamp_opt(0, 0).unwrap(),
            attempt: 1,
        };
        let text = serde_json::to_string(&delivery).unwrap();
        assert_eq!(
            text,
            r#"{"tenant":"00000000-0000-0000-0000-000000000007","key":"workflow:1","sequence":3,"kind":"execution_complete","payload":{"big":12345678901234567890123},"occurred_at":"1970-01-01T00:00:00Z","attempt":1}"#
        );
        assert_eq!(serde_json::from_str::<Delivery>(&text).unwrap(), delivery);
    }

    #[test]
    fn a_key_has_bounds() {
        assert_eq!(
            MessageKey::new(" ").unwrap_err().to_string(),
            "message key must not be empty"
        );
        assert!(MessageKey::new(&"k".repeat(255)).is_ok());
        assert!(MessageKey::new(&"k".repeat(256)).is_err());
        assert!(MessageKind::new(&"k".repeat(101)).is_err());
    }
}

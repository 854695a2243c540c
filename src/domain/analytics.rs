//! Analytics events: what happened, when, to whom, with a small JSON object of details.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::context::Origin;
use super::ids::{EventId, IdGenerator, UserId, derived};
use super::json::{Document, DocumentError};
use super::text::{ExternalId, code_type};
use super::time::micros;

code_type! {
    /// The kind of an event: letters, digits, `.`, `_` and `-`, at most 100 characters.
    EventType, "event type", 100;
    /// An execution reached its end.
    WORKFLOW_EXECUTION = "workflow_execution";
    /// A user signed in.
    USER_LOGIN = "user_login";
    /// A template was bought; its data hold `amount` and `currency`.
    TEMPLATE_PURCHASE = "template_purchase";
}

/// The details of an event: a JSON object, kept as text, since most events are written once and
/// only counted afterwards. Clones share the text.
///
/// Two are equal when they are the same JSON, however it is spaced and ordered.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Document")]
pub struct EventData(Arc<str>);

impl EventData {
    /// The details in a document.
    #[must_use]
    pub fn new(document: &Document) -> Self {
        Self::trusted(document.to_text())
    }

    /// The details in a JSON text that this crate wrote: an object within a document's bounds.
    pub(crate) fn trusted(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The details as a document, for those who read them.
    ///
    /// # Errors
    /// When the text is not a document.
    pub fn document(&self) -> Result<Document, DocumentError> {
        Document::new("event data", self.value())
    }

    fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl Default for EventData {
    fn default() -> Self {
        Self::trusted("{}")
    }
}

impl From<Document> for EventData {
    fn from(document: Document) -> Self {
        Self::new(&document)
    }
}

impl PartialEq for EventData {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.value() == other.value()
    }
}

impl Serialize for EventData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

/// What a host records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewEvent {
    /// What happened.
    pub event_type: EventType,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// The details.
    #[serde(default)]
    pub data: EventData,
    /// Who did it.
    #[serde(default)]
    pub user: Option<UserId>,
    /// From where; the id of the request is not kept.
    #[serde(default)]
    pub origin: Origin,
    /// The host's key: an event of the same type, instant and key is recorded once, and stays as
    /// it was first. Without a key every call records another event.
    #[serde(default)]
    pub key: Option<ExternalId>,
}

impl NewEvent {
    /// An event without user, origin and key.
    #[must_use]
    pub fn new(event_type: EventType, occurred_at: DateTime<Utc>, data: EventData) -> Self {
        Self {
            event_type,
            occurred_at,
            data,
            user: None,
            origin: Origin::default(),
            key: None,
        }
    }

    /// The event as it is stored, with an id made from its key, or a new one.
    #[must_use]
    pub fn into_event(self, ids: &mut IdGenerator) -> AnalyticsEvent {
        let occurred_at = micros(self.occurred_at);
        let kind = self.event_type.as_str().as_bytes();
        let id = match &self.key {
            Some(key) => derived(occurred_at, &[b"key", kind, key.as_str().as_bytes()]),
            None => ids.fresh_at(occurred_at),
        };
        AnalyticsEvent {
            id,
            occurred_at,
            event_type: self.event_type,
            data: self.data,
            user: self.user,
            origin: kept(&self.origin),
        }
    }
}

/// One analytics event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnalyticsEvent {
    id: EventId,
    occurred_at: DateTime<Utc>,
    event_type: EventType,
    data: EventData,
    user: Option<UserId>,
    origin: Origin,
}

impl AnalyticsEvent {
    /// An event that follows from something else that is stored, such as an execution: its id is
    /// made from the instant, the type and `about`, so that it is recorded once.
    #[must_use]
    pub fn derived(
        about: &[u8],
        event_type: EventType,
        occurred_at: DateTime<Utc>,
        data: EventData,
    ) -> Self {
        let occurred_at = micros(occurred_at);
        Self {
            id: derived(occurred_at, &[about, event_type.as_str().as_bytes()]),
            occurred_at,
            event_type,
            data,
            user: None,
            origin: Origin::default(),
        }
    }

    /// An event as a store read it: `id` carries `occurred_at`.
    #[must_use]
    pub fn stored(id: EventId, new: NewEvent) -> Self {
        Self {
            id,
            occurred_at: new.occurred_at,
            event_type: new.event_type,
            data: new.data,
            user: new.user,
            origin: new.origin,
        }
    }

    /// The same event, done by this user.
    #[must_use]
    pub fn by(mut self, user: UserId) -> Self {
        self.user = Some(user);
        self
    }

    /// The same event, done from there. The id of the request is not kept.
    #[must_use]
    pub fn from_origin(mut self, origin: &Origin) -> Self {
        self.origin = kept(origin);
        self
    }

    /// The same event without what tells where the person was.
    #[must_use]
    pub fn without_origin(mut self) -> Self {
        self.origin = Origin::default();
        self
    }

    /// Its id, which carries the instant.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.id
    }

    /// When it happened.
    #[must_use]
    pub fn occurred_at(&self) -> DateTime<Utc> {
        self.occurred_at
    }

    /// What happened.
    #[must_use]
    pub fn event_type(&self) -> &EventType {
        &self.event_type
    }

    /// The details.
    #[must_use]
    pub fn data(&self) -> &EventData {
        &self.data
    }

    /// Who did it.
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        self.user
    }

    /// From where: address, user agent and session.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

fn kept(origin: &Origin) -> Origin {
    Origin {
        request: None,
        ..origin.cleaned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(millis).unwrap()
    }

    fn data(value: Value) -> EventData {
        EventData::new(&Document::new("data", value).unwrap())
    }

    #[test]
    fn a_type_is_a_short_plain_name() {
        assert_eq!(EventType::new("user_login").unwrap(), EventType::USER_LOGIN);
        assert!(EventType::new("acme.cart-item_2").is_ok());
        for bad in ["", "a b", "é", "a\0", &"x".repeat(101)] {
            assert!(EventType::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            EventType::new("a b").unwrap_err().to_string(),
            "event type `a b` is not 1 to 100 letters, digits, `.`, `_` or `-`"
        );
    }

    #[test]
    fn data_are_compared_as_json() {
        let given = data(json!({"b": 1, "a": {"x": [1.5, null]}}));
        assert_eq!(
            given,
            EventData::trusted(r#"{"b": 1, "a": {"x": [1.50, null]}}"#)
        );
        assert_ne!(given, EventData::default());
        assert_eq!(given.document().unwrap().get("b"), Some(&json!(1)));
        let read: EventData = serde_json::from_str(r#"{"b":1,"a":{"x":[1.5,null]}}"#).unwrap();
        assert_eq!(read, given);
        assert!(serde_json::from_str::<EventData>("[1]").is_err());
    }

    #[test]
    fn equal_keys_give_equal_ids() {
        let mut ids = IdGenerator::new(at(9), [0; 32]);
        let new = NewEvent::new(EventType::USER_LOGIN, at(5), EventData::default());
        let keyed = NewEvent {
            key: Some(ExternalId::new("k").unwrap()),
            ..new.clone()
        };
        let first = keyed.clone().into_event(&mut ids);
        assert_eq!(first.id(), keyed.clone().into_event(&mut ids).id());
        assert_eq!(
            super::super::ids::instant_of(first.id().as_uuid()),
            Some(at(5))
        );
        assert_ne!(
            new.clone().into_event(&mut ids).id(),
            new.into_event(&mut ids).id()
        );
        let other_type = NewEvent {
            event_type: EventType::TEMPLATE_PURCHASE,
            ..keyed
        };
        assert_ne!(first.id(), other_type.into_event(&mut ids).id());
    }

    #[test]
    fn a_derived_event_is_made_from_what_it_is_about() {
        let make = |about: &[u8]| {
            AnalyticsEvent::derived(
                about,
                EventType::WORKFLOW_EXECUTION,
                at(5),
                EventData::default(),
            )
        };
        assert_eq!(make(b"one"), make(b"one"));
        assert_ne!(make(b"one").id(), make(b"two").id());
    }

    #[test]
    fn the_request_is_not_kept_and_texts_are_cleaned() {
        let origin = Origin {
            session: Some("s\0".into()),
            request: Some("r".into()),
            ..Origin::default()
        };
        let mut ids = IdGenerator::new(at(9), [0; 32]);
        let event = NewEvent {
            origin,
            ..NewEvent::new(EventType::USER_LOGIN, at(5), EventData::default())
        }
        .into_event(&mut ids);
        assert_eq!(event.origin().session.as_deref(), Some("s"));
        assert_eq!(event.origin().request, None);
    }
}

//! The audit trail: which row changed, from what to what, by whom, from where.
//!
//! On PostgreSQL a trigger writes the entries, so that no path can forget them; in memory the
//! journal does, by the rules in this file. Both give equal entries.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::context::{Actor, Origin};
use super::ids::{AuditId, UserId};
use super::text::TextError;

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuditAction {
    /// It was created.
    Insert,
    /// Some of its columns changed.
    Update,
    /// It was removed.
    Delete,
}

impl AuditAction {
    /// The name that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for AuditAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AuditAction {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        [Self::Insert, Self::Update, Self::Delete]
            .into_iter()
            .find(|action| action.as_str() == text)
            .ok_or_else(|| TextError::form("action", text, "insert, update or delete"))
    }
}

/// One entry of the audit trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its id, which carries the instant of the change.
    pub id: AuditId,
    /// Who acted.
    pub actor: Actor,
    /// What happened.
    pub action: AuditAction,
    /// The kind of row: its table's name.
    pub resource_type: String,
    /// The row's id.
    pub resource_id: Option<Uuid>,
    /// The changed columns before; empty for a new row.
    pub old_values: Map<String, Value>,
    /// The changed columns after; empty for a removed row.
    pub new_values: Map<String, Value>,
    /// Where the call came from.
    pub origin: Origin,
    /// Why, if the caller said so.
    pub reason: Option<String>,
    /// The database's login that made the change; none in memory.
    pub database_user: Option<String>,
    /// When the unit that made the change began.
    pub created_at: DateTime<Utc>,
}

/// Columns that change with every write and say nothing.
pub const UNAUDITED: [&str; 2] = ["revision", "updated_at"];

/// The keys of JSON documents whose values the trail keeps only as hashes.
///
/// Compared whole and without regard to case. The trigger has the same list; a test compares them.
pub const SECRET_KEYS: [&str; 16] = [
    "access_token",
    "api_key",
    "api-key",
    "apikey",
    "authorization",
    "client_secret",
    "cookie",
    "credential",
    "credentials",
    "password",
    "private_key",
    "refresh_token",
    "secret",
    "set-cookie",
    "token",
    "x-api-key",
];

/// The columns of a user's row that tell who the person is. The database has the same list; a case
/// of the conformance suite compares what both do.
pub const PERSONAL: [&str; 6] = [
    "subject",
    "email",
    "email_key",
    "full_name",
    "preferences",
    "last_login_at",
];

/// What stands in the trail for a value of an erased person.
pub const ERASED: &str = "[erased]";

/// An entry without what it tells of an erased person; `None` if it tells nothing.
///
/// Entries about the person's own row lose the values that were personal; entries of what the
/// person did lose from where. Ids, instants and reasons stay: a host keeps names out of reasons.
#[must_use]
pub fn without_person(entry: &AuditEntry, person: UserId) -> Option<AuditEntry> {
    let about = entry.resource_type == "users" && entry.resource_id == Some(person.as_uuid());
    let by = entry.actor.user() == Some(person);
    if !about && !by {
        return None;
    }
    let mut entry = entry.clone();
    if about {
        for values in [&mut entry.old_values, &mut entry.new_values] {
            for (column, value) in values.iter_mut() {
                if PERSONAL.contains(&column.as_str()) && !value.is_null() {
                    *value = Value::String(ERASED.to_owned());
                }
            }
        }
    }
    if by {
        entry.origin = Origin {
            request: entry.origin.request,
            ..Origin::default()
        };
    }
    Some(entry)
}

/// What a write did to a row, as the trail keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditChange {
    /// What happened.
    pub action: AuditAction,
    /// The changed columns before; empty for a new row.
    pub old_values: Map<String, Value>,
    /// The changed columns after; empty for a removed row.
    pub new_values: Map<String, Value>,
}

/// The columns that differ between two states of a row, before and after; `None` if nothing that
/// is audited changed.
#[must_use]
pub fn difference(
    old: Option<&Map<String, Value>>,
    new: Option<&Map<String, Value>>,
) -> Option<AuditChange> {
    let kept = |row: &Map<String, Value>, other: Option<&Map<String, Value>>| {
        row.iter()
            .filter(|(column, value)| {
                !UNAUDITED.contains(&column.as_str())
                    && other.is_none_or(|other| other.get(*column) != Some(*value))
            })
            .map(|(column, value)| (column.clone(), hide_secrets(value)))
            .collect::<Map<_, _>>()
    };
    let (action, old_values, new_values) = match (old, new) {
        (None, Some(new)) => (AuditAction::Insert, Map::new(), kept(new, None)),
        (Some(old), None) => (AuditAction::Delete, kept(old, None), Map::new()),
        (Some(old), Some(new)) => (
            AuditAction::Update,
            kept(old, Some(new)),
            kept(new, Some(old)),
        ),
        (None, None) => return None,
    };
    let changed = !old_values.is_empty() || !new_values.is_empty();
    changed.then_some(AuditChange {
        action,
        old_values,
        new_values,
    })
}

/// Replaces the value of every secret key, at any depth, by its hash.
#[must_use]
pub fn hide_secrets(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, value)| {
                    let secret = SECRET_KEYS.contains(&key.to_lowercase().as_str());
                    let shown = match value {
                        Value::Null => Value::Null,
                        value if secret => Value::String(secret_hash(value)),
                        value => hide_secrets(value),
                    };
                    (key.clone(), shown)
                })
                .collect(),
        ),
        Value::Array(items) => items.iter().map(hide_secrets).collect(),
        other => other.clone(),
    }
}

/// The hash that stands for a secret: a change of it shows, the secret does not.
#[must_use]
pub fn secret_hash(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => {
            let mut text = String::new();
            write_jsonb(other, &mut text);
            text
        }
    };
    format!("sha256:{}", sha256_hex(text.as_bytes()))
}

/// SHA-256 in lower-case hexadecimal digits.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// An instant as PostgreSQL's `to_jsonb` writes it in UTC: `2026-11-23T03:54:59.742+00:00`.
#[must_use]
pub fn audited_instant(instant: DateTime<Utc>) -> Value {
    let text = instant.to_rfc3339_opts(SecondsFormat::Micros, false);
    let (whole, fraction) = text.split_at_checked(19).unwrap_or((&text, ""));
    let digits = fraction
        .trim_end_matches("+00:00")
        .trim_end_matches('0')
        .trim_end_matches('.');
    Value::String(format!("{whole}{digits}+00:00"))
}

/// Writes a value as PostgreSQL writes a jsonb: keys by length and then by bytes, a space after
/// each comma and colon, numbers without exponent.
fn write_jsonb(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|(a, _), (b, _)| {
                a.len()
                    .cmp(&b.len())
                    .then_with(|| a.as_bytes().cmp(b.as_bytes()))
            });
            out.push('{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push_str(": ");
                write_jsonb(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_jsonb(item, out);
            }
            out.push(']');
        }
        Value::Number(number) => out.push_str(&without_exponent(&number.to_string())),
        other => out.push_str(&other.to_string()),
    }
}

/// `1.5e21` as `1500000000000000000000`, as PostgreSQL's numeric prints it.
fn without_exponent(number: &str) -> String {
    let Some((mantissa, exponent)) = number.split_once(['e', 'E']) else {
        return number.to_owned();
    };
    let Ok(exponent) = exponent.parse::<i32>() else {
        return number.to_owned();
    };
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let point = i32::try_from(whole.len())
        .unwrap_or(i32::MAX)
        .saturating_add(exponent);
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    let length = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let plain = if point <= 0 {
        format!("0.{}{digits}", zeros(-point))
    } else if point >= length {
        format!("{digits}{}", zeros(point - length))
    } else {
        let (before, after) = digits.split_at(usize::try_from(point).unwrap_or(0));
        format!("{before}.{after}")
    };
    format!("{sign}{plain}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use serde_json::json;

    fn row(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn only_what_changed_is_kept() {
        let old = row(json!({"id": 1, "name": "a", "plan": "x", "revision": 1}));
        let new = row(json!({"id": 1, "name": "b", "plan": "x", "revision": 2}));
        let change = difference(Some(&old), Some(&new)).unwrap();
        assert_eq!(change.action, AuditAction::Update);
        assert_eq!(change.old_values, row(json!({"name": "a"})));
        assert_eq!(change.new_values, row(json!({"name": "b"})));
        let touched = row(json!({"id": 1, "name": "a", "plan": "x", "revision": 3}));
        assert_eq!(difference(Some(&old), Some(&touched)), None);
    }

    #[test]
    fn secrets_become_hashes_that_still_show_a_change() {
        let hidden = hide_secrets(&json!({"smtp": {"Password": "p1", "host": "h"}, "token": null}));
        assert_eq!(hidden["smtp"]["host"], "h");
        assert_eq!(hidden["token"], Value::Null);
        let hash = hidden["smtp"]["Password"].as_str().unwrap();
        assert_eq!(hash, format!("sha256:{}", sha256_hex(b"p1")));
        assert_ne!(hash, secret_hash(&json!("p2")));
    }

    #[test]
    fn an_erased_person_leaves_ids_and_instants() {
        let person = UserId::from_uuid(Uuid::from_u128(1));
        let entry = |actor, kind: &str| AuditEntry {
            id: Uuid::nil().into(),
            actor,
            action: AuditAction::Update,
            resource_type: kind.to_owned(),
            resource_id: Some(person.as_uuid()),
            old_values: row(json!({"email": "a@b", "subject": null, "status": "active"})),
            new_values: Map::new(),
            origin: Origin {
                ip: Some([127, 0, 0, 1].into()),
                user_agent: Some("x".to_owned()),
                session: Some("s".to_owned()),
                request: Some("r".to_owned()),
            },
            reason: None,
            database_user: None,
            created_at: DateTime::UNIX_EPOCH,
        };
        let about = entry(Actor::System, "users");
        let redacted = without_person(&about, person).unwrap();
        let left = json!({"email": ERASED, "subject": null, "status": "active"});
        assert_eq!(redacted.old_values, row(left));
        assert_eq!(redacted.origin, about.origin);
        let by = entry(Actor::User(person), "workflows");
        let redacted = without_person(&by, person).unwrap();
        assert_eq!(redacted.old_values, by.old_values);
        assert_eq!(redacted.origin.request.as_deref(), Some("r"));
        assert_eq!((redacted.origin.ip, redacted.origin.session), (None, None));
        assert_eq!(
            without_person(&entry(Actor::System, "workflows"), person),
            None
        );
    }

    #[test]
    fn instants_and_numbers_are_written_as_postgres_writes_them() {
        let at = |micros| audited_instant(Utc.timestamp_micros(micros).unwrap());
        assert_eq!(at(1_795_406_099_742_000), "2026-11-23T03:54:59.742+00:00");
        assert_eq!(at(1_795_406_099_000_000), "2026-11-23T03:54:59+00:00");
        assert_eq!(without_exponent("1.5e21"), "1500000000000000000000");
        assert_eq!(without_exponent("-1.25e-7"), "-0.000000125");
        assert_eq!(without_exponent("12.5e1"), "125");
        let mut text = String::new();
        write_jsonb(&json!({"bb": [1, "é"], "a": {"x": true}}), &mut text);
        assert_eq!(text, r#"{"a": {"x": true}, "bb": [1, "é"]}"#);
    }
}

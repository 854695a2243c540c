//! Small values of n8n's JSON: ids, times, texts, flags.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use super::N8nError;
use crate::domain::payload::decode;
use crate::domain::payload::scan::{Kind, Scanner};
use crate::domain::text::ExternalId;

/// A cursor in n8n's JSON.
pub(super) type Cursor<'t, 'p> = Scanner<'t, 'p>;

pub(super) fn type_error(field: impl Into<String>, expected: &'static str) -> N8nError {
    N8nError::Type {
        field: field.into(),
        expected,
    }
}

pub(super) fn missing(field: &str) -> N8nError {
    N8nError::Missing {
        field: field.to_owned(),
    }
}

/// Passes over the next value, whatever it is.
pub(super) fn ignore(cursor: &mut Cursor<'_, '_>) -> Result<(), N8nError> {
    cursor.skip()?;
    Ok(())
}

/// Whether the next value is null; if so it is passed over.
pub(super) fn null(cursor: &mut Cursor<'_, '_>) -> Result<bool, N8nError> {
    let null = cursor.kind()? == Kind::Null;
    if null {
        cursor.skip()?;
    }
    Ok(null)
}

/// What stands between the quotation marks of the next value, if it is a string; anything else is
/// passed over.
pub(super) fn string<'t>(cursor: &mut Cursor<'t, '_>) -> Result<Option<&'t str>, N8nError> {
    let kind = cursor.kind()?;
    let raw = cursor.raw()?;
    Ok(match kind {
        Kind::String => raw.get(1..raw.len() - 1),
        _ => None,
    })
}

/// A string or null.
pub(super) fn text<'t>(
    cursor: &mut Cursor<'t, '_>,
    field: &str,
) -> Result<Option<Cow<'t, str>>, N8nError> {
    match cursor.kind()? {
        Kind::String | Kind::Null => Ok(string(cursor)?.map(decode)),
        _ => Err(type_error(field, "a text")),
    }
}

/// An id or null. Older versions of n8n write ids as numbers.
pub(super) fn id(cursor: &mut Cursor<'_, '_>, field: &str) -> Result<Option<ExternalId>, N8nError> {
    const EXPECTED: &str = "a text or a whole number";
    let kind = cursor.kind()?;
    let raw = cursor.raw()?;
    let text = match kind {
        Kind::Null => return Ok(None),
        Kind::String => decode(raw.get(1..raw.len() - 1).unwrap_or_default()),
        Kind::Number if raw.bytes().all(|b| b.is_ascii_digit()) => Cow::Borrowed(raw),
        _ => return Err(type_error(field, EXPECTED)),
    };
    ExternalId::new(&text)
        .map(Some)
        .map_err(|error| N8nError::Text {
            field: field.to_owned(),
            error,
        })
}

/// An instant or null.
pub(super) fn time(
    cursor: &mut Cursor<'_, '_>,
    field: &str,
) -> Result<Option<DateTime<Utc>>, N8nError> {
    let Some(text) = text(cursor, field)? else {
        return Ok(None);
    };
    match DateTime::parse_from_rfc3339(&text) {
        Ok(instant) => Ok(Some(instant.to_utc())),
        Err(_) => Err(N8nError::Time {
            field: field.to_owned(),
            value: text.chars().take(64).collect(),
        }),
    }
}

/// An instant in milliseconds since 1970, as run data has it; `None` for anything else.
pub(super) fn millis(cursor: &mut Cursor<'_, '_>) -> Result<Option<DateTime<Utc>>, N8nError> {
    let millis = cursor.raw()?.parse().ok();
    Ok(millis.and_then(DateTime::from_timestamp_millis))
}

/// True or false; anything else is passed over and is false.
pub(super) fn flag(cursor: &mut Cursor<'_, '_>) -> Result<bool, N8nError> {
    Ok(cursor.raw()? == "true")
}

/// Whether a key, as the text has it, is this name.
pub(super) fn is_object(cursor: &mut Cursor<'_, '_>, field: &str) -> Result<(), N8nError> {
    match cursor.kind()? {
        Kind::Object => Ok(()),
        _ => Err(type_error(field, "an object")),
    }
}

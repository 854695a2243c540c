//! JSON documents that belong to a tenant: settings, preferences, metadata, event data.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The deepest nesting a document may have.
pub const MAX_DEPTH: usize = 64;
/// The most bytes a document may have when written without white space.
pub const MAX_BYTES: usize = 256 * 1024;

/// Why a document was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Not an object.
    #[error("{field} must be a JSON object, not {found}")]
    NotAnObject {
        /// The field the document was meant for.
        field: &'static str,
        /// What was found instead.
        found: &'static str,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("{field} is nested deeper than {MAX_DEPTH} levels")]
    TooDeep {
        /// The field the document was meant for.
        field: &'static str,
    },
    /// Larger than [`MAX_BYTES`].
    #[error("{field} has {actual} bytes; at most {MAX_BYTES} are allowed")]
    TooLarge {
        /// The field the document was meant for.
        field: &'static str,
        /// The bytes given.
        actual: usize,
    },
    /// U+0000 in a key or a text, which PostgreSQL's jsonb cannot hold.
    #[error("{field} has the character U+0000 at `{path}`, which cannot be stored")]
    Nul {
        /// The field the document was meant for.
        field: &'static str,
        /// Where, as a JSON pointer (RFC 6901).
        path: String,
    },
}

/// A JSON object that every backend can hold, filter and audit.
///
/// At most [`MAX_DEPTH`] levels and [`MAX_BYTES`] bytes, without U+0000. A number is its value,
/// however it was written: 1e16 is the integer 10000000000000000, and there is no negative zero.
/// Payloads of executions are not documents: they are kept as the text they came in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Document(Map<String, Value>);

impl Document {
    /// An empty object.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Checks the value; `field` names it in errors.
    ///
    /// # Errors
    /// When it is not an object, too deep, too large or has U+0000.
    pub fn new(field: &'static str, value: Value) -> Result<Self, DocumentError> {
        let found = match value {
            Value::Object(mut map) => {
                for (key, value) in &map {
                    check(field, value, &format!("/{key}"), 1)?;
                    if key.contains('\0') {
                        return Err(DocumentError::Nul {
                            field,
                            path: format!("/{key}"),
                        });
                    }
                }
                map.values_mut().for_each(write_plainly);
                let document = Self(map);
                let actual = document.to_text().len();
                return if actual > MAX_BYTES {
                    Err(DocumentError::TooLarge { field, actual })
                } else {
                    Ok(document)
                };
            }
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
        };
        Err(DocumentError::NotAnObject { field, found })
    }

    /// The entries.
    #[must_use]
    pub fn entries(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The value under a key of the outermost object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// The document as a JSON value.
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// The document as JSON text without white space.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.to_value().to_string()
    }
}

impl TryFrom<Value> for Document {
    type Error = DocumentError;

    fn try_from(value: Value) -> Result<Self, DocumentError> {
        Self::new("document", value)
    }
}

impl From<Document> for Value {
    fn from(document: Document) -> Self {
        Self::Object(document.0)
    }
}

fn check(
    field: &'static str,
    value: &Value,
    path: &str,
    depth: usize,
) -> Result<(), DocumentError> {
    let nul = |path: &str| DocumentError::Nul {
        field,
        path: path.to_owned(),
    };
    match value {
        Value::Array(_) | Value::Object(_) if depth >= MAX_DEPTH => {
            Err(DocumentError::TooDeep { field })
        }
        Value::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
            check(field, item, &format!("{path}/{index}"), depth + 1)
        }),
        Value::Object(map) => map.iter().try_for_each(|(key, value)| {
            let path = format!("{path}/{key}");
            if key.contains('\0') {
                return Err(nul(&path));
            }
            check(field, value, &path, depth + 1)
        }),
        Value::String(text) if text.contains('\0') => Err(nul(path)),
        _ => Ok(()),
    }
}

/// Gives numbers the form in which PostgreSQL's jsonb gives them back: it keeps decimal digits
/// without an exponent, so that a whole float of 1e16 or more, which is written with one, comes
/// back as an integer.
fn write_plainly(value: &mut Value) {
    /// From here on, floats are written with an exponent. All of them are whole.
    const EXPONENT: f64 = 1e16;
    match value {
        Value::Array(items) => items.iter_mut().for_each(write_plainly),
        Value::Object(map) => map.values_mut().for_each(write_plainly),
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().unwrap_or_default();
            // 2^64 and -2^63: what no longer fits an integer stays a float in both forms.
            if (EXPONENT..18_446_744_073_709_551_616.0).contains(&float) {
                *number = (float as u64).into();
            } else if (-9_223_372_036_854_775_808.0..=-EXPONENT).contains(&float) {
                *number = (float as i64).into();
            } else if float == 0.0 {
                *value = Value::from(0.0);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cannot_be_stored_is_refused_with_its_place() {
        let error = Document::new("settings", json!([1])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "settings must be a JSON object, not an array"
        );
        let error = Document::new("settings", json!({"a": [1, {"b": "x\u{0}"}]})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "settings has the character U+0000 at `/a/1/b`, which cannot be stored"
        );
        let mut deep = json!(1);
        for _ in 0..MAX_DEPTH {
            deep = json!([deep]);
        }
        assert!(matches!(
            Document::new("settings", json!({ "a": deep })),
            Err(DocumentError::TooDeep { .. })
        ));
        let large = json!({"a": "x".repeat(MAX_BYTES)});
        assert!(matches!(
            Document::new("settings", large),
            Err(DocumentError::TooLarge { .. })
        ));
    }
    #[test]
    fn a_number_has_one_form() {
        let document = Document::new(
            "settings",
            json!({"a": [1e16, -1e18, -0.0, 1.5, 1.0, 1e20, 9_007_199_254_740_993.0_f64]}),
        );
        assert_eq!(
            document.unwrap().to_text(),
            r#"{"a":[10000000000000000,-1000000000000000000,0.0,1.5,1.0,1e+20,9007199254740992.0]}"#
        );
    }
}

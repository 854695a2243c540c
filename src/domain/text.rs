//! Texts with bounds: names, e-mail addresses, external ids.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::UserId;

/// Why a text was refused, with the field it was meant for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// Nothing, or only white space.
    #[error("{field} must not be empty")]
    Empty {
        /// The field the text was meant for.
        field: &'static str,
    },
    /// More characters than the field holds.
    #[error("{field} has {actual} characters; at most {max} are allowed")]
    TooLong {
        /// The field the text was meant for.
        field: &'static str,
        /// The most characters allowed.
        max: usize,
        /// The characters given.
        actual: usize,
    },
    /// A control character, which neither a terminal nor PostgreSQL's text should see.
    #[error("{field} has the control character U+{code:04X} at character {at}")]
    Control {
        /// The field the text was meant for.
        field: &'static str,
        /// The character's code point.
        code: u32,
        /// Its position, counted in characters from 0.
        at: usize,
    },
    /// Not of the form that the field asks for.
    #[error("{field} `{value}` is not {expected}")]
    Form {
        /// The field the text was meant for.
        field: &'static str,
        /// The text, cut at 64 characters.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
}

impl TextError {
    pub(crate) fn form(field: &'static str, value: &str, expected: &'static str) -> Self {
        Self::Form {
            field,
            value: value.chars().take(64).collect(),
            expected,
        }
    }
}

/// Checks a text of one line: trimmed, not empty, at most `max` characters, no control character.
///
/// # Errors
/// [`TextError`] with the field's name and what was wrong.
pub fn line(field: &'static str, text: &str, max: usize) -> Result<String, TextError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(TextError::Empty { field });
    }
    check(field, text, max, |c| c.is_control())?;
    Ok(text.to_owned())
}

/// Checks a text of several lines: at most `max` characters, no control characters but line
/// breaks and tabs.
///
/// # Errors
/// [`TextError`] with the field's name and what was wrong.
pub fn prose(field: &'static str, text: &str, max: usize) -> Result<String, TextError> {
    check(field, text, max, |c| {
        c.is_control() && !matches!(c, '\n' | '\r' | '\t')
    })?;
    Ok(text.to_owned())
}

fn check(
    field: &'static str,
    text: &str,
    max: usize,
    refused: impl Fn(char) -> bool,
) -> Result<(), TextError> {
    let actual = text.chars().count();
    if actual > max {
        return Err(TextError::TooLong { field, max, actual });
    }
    match text.chars().enumerate().find(|(_, c)| refused(*c)) {
        Some((at, c)) => Err(TextError::Control {
            field,
            code: u32::from(c),
            at,
        }),
        None => Ok(()),
    }
}

/// Defines a checked text of one line: trimmed, not empty, bounded, without control characters.
macro_rules! line_type {
    ($($(#[$doc:meta])* $name:ident, $field:literal, $max:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The most characters it may have.
            pub const MAX: usize = $max;

            /// Checks and trims the text.
            ///
            /// # Errors
            /// When it is empty, too long or has a control character.
            pub fn new(text: &str) -> Result<Self, TextError> {
                line($field, text, Self::MAX).map(Self)
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
                text.0
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

/// Defines a plain name: letters, digits, `.`, `_` and `-`, bounded. Known names are constants
/// that cost no allocation.
macro_rules! code_type {
    (
        $(#[$doc:meta])* $name:ident, $field:literal, $max:literal;
        $($(#[$known_doc:meta])* $known:ident = $text:expr;)*
    ) => {
        $(#[$doc])*
        #[derive(
            Clone, PartialEq, Eq, Hash, PartialOrd, Ord, ::serde::Serialize, ::serde::Deserialize,
        )]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(::std::borrow::Cow<'static, str>);

        impl $name {
            /// The most characters it may have.
            pub const MAX: usize = $max;
            $(
                $(#[$known_doc])*
                pub const $known: Self = Self(::std::borrow::Cow::Borrowed($text));
            )*

            /// Checks the name.
            ///
            /// # Errors
            /// When it is empty, too long or has another character.
            pub fn new(text: &str) -> Result<Self, $crate::domain::text::TextError> {
                let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
                if text.is_empty() || text.len() > Self::MAX || !text.chars().all(allowed) {
                    return Err($crate::domain::text::TextError::form(
                        $field,
                        text,
                        concat!("1 to ", $max, " letters, digits, `.`, `_` or `-`"),
                    ));
                }
                Ok(Self(::std::borrow::Cow::Owned(text.to_owned())))
            }

            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::domain::text::TextError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::domain::text::TextError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.into_owned()
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}
pub(super) use code_type;

line_type! {
    /// The name of a tenant, a person, a workflow, a source: one line, at most 255 characters.
    Name, "name", 255;
    /// An id that another system gave: one line, at most 255 characters.
    ExternalId, "external id", 255;
    /// A person's id at an identity provider (the claim `sub` of OpenID Connect Core 1.0,
    /// section 2: at most 255 characters, compared with regard to case).
    Subject, "subject", 255;
    /// The name of a plan: one line, at most 100 characters.
    PlanCode, "plan", 100;
    /// The host's key of a record of usage: one line, at most 255 characters.
    UsageKey, "usage key", 255;
    /// What a meter of unique values counts once, such as a user's id: one line, at most 255
    /// characters.
    UniqueValue, "unique value", 255;
}

/// An e-mail address: kept as it was given, compared without regard to case.
///
/// Checked for the shape that RFC 5321 gives a mailbox (one `@`, a local part of at most 64
/// bytes, a domain, 254 bytes in all), not for existence.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email {
    given: String,
    key: String,
}

impl Email {
    /// Checks the address.
    ///
    /// # Errors
    /// When it has not the shape of a mailbox.
    pub fn new(text: &str) -> Result<Self, TextError> {
        const FIELD: &str = "email";
        const EXPECTED: &str = "an address like name@example.com, at most 254 bytes";
        let text = line(FIELD, text, 254)?;
        let refuse = || TextError::form(FIELD, &text, EXPECTED);
        let (local, domain) = text.rsplit_once('@').ok_or_else(refuse)?;
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && !part.ends_with('.')
                && !part.contains("..")
                && !part.contains(|c: char| c.is_whitespace() || "@,;:<>()[]\\\"".contains(c))
        };
        if text.len() > 254 || local.len() > 64 || !plain(local) || !plain(domain) {
            return Err(refuse());
        }
        Ok(Self {
            key: text.to_lowercase(),
            given: text,
        })
    }

    /// The address in place of an erased one: unique by its id, and ending in `.invalid`, which no
    /// mail can reach (RFC 2606, section 2).
    #[must_use]
    pub fn erased(id: UserId) -> Self {
        let text = format!("erased-{id}@erased.invalid");
        Self {
            key: text.clone(),
            given: text,
        }
    }

    /// The address as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.given
    }

    /// The address in lower case: what is compared and what must be unique.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl PartialEq for Email {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Email {}

impl TryFrom<String> for Email {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        Self::new(&text)
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.given
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_bounded() {
        assert_eq!(Name::new("  Ñandú  ").unwrap().as_str(), "Ñandú");
        assert_eq!(
            Name::new(" ").unwrap_err(),
            TextError::Empty { field: "name" }
        );
        assert_eq!(
            Name::new(&"é".repeat(256)).unwrap_err().to_string(),
            "name has 256 characters; at most 255 are allowed"
        );
        assert_eq!(
            Name::new("a\0b").unwrap_err().to_string(),
            "name has the control character U+0000 at character 1"
        );
    }

    #[test]
    fn emails_are_equal_without_regard_to_case() {
        let email = Email::new("Ana.Ruiz@Example.com").unwrap();
        assert_eq!(email, Email::new("ana.ruiz@example.COM").unwrap());
        assert_eq!(email.as_str(), "Ana.Ruiz@Example.com");
        for bad in [
            "", "a", "a@", "@b", "a@b@c", "a b@c", ".a@b", "a..b@c", "a@b,c",
        ] {
            assert!(Email::new(bad).is_err(), "{bad}");
        }
        let erased = Email::erased(uuid::Uuid::nil().into());
        assert_eq!(Email::new(erased.as_str()).unwrap().key(), erased.key());
    }
}

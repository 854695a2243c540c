//! Which keys of a JSON payload hold secrets, and are masked before anything is stored.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::payload::decode;
use super::text::{self, TextError};

/// What stands in place of a masked value, as JSON text.
pub const MASK: &str = "\"[redacted]\"";

/// The keys that [`Redaction::default`] masks: headers, passwords, tokens and keys under the names
/// that HTTP, OAuth 2.0 (RFC 6749) and common cloud services give them.
pub const DEFAULT_KEYS: &[&str] = &[
    "access-token",
    "access_key",
    "access_token",
    "accesstoken",
    "api-key",
    "api_key",
    "api_secret",
    "apikey",
    "apisecret",
    "auth_token",
    "authorization",
    "authtoken",
    "bearer_token",
    "bearertoken",
    "client_assertion",
    "client_secret",
    "clientsecret",
    "connection_string",
    "connectionstring",
    "cookie",
    "csrf_token",
    "encryption_key",
    "encryptionkey",
    "id_token",
    "idtoken",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "privatekey",
    "proxy-authorization",
    "pwd",
    "refresh_token",
    "refreshtoken",
    "secret",
    "secret_access_key",
    "secret_key",
    "secretaccesskey",
    "secretkey",
    "session_token",
    "sessiontoken",
    "set-cookie",
    "signing_secret",
    "token",
    "webhook_secret",
    "x-access-token",
    "x-api-key",
    "x-auth-token",
    "x-csrf-token",
];

/// A set of keys whose values are masked, wherever they stand in a payload.
///
/// A key is matched whole and without regard to ASCII case: `tokenUsage` is not `token`,
/// `Authorization` is `authorization`. Keys that a payload writes with escapes (`"to\u006ben"`)
/// are compared by what they mean. The value under a matched key is replaced as a whole, whatever
/// its type.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeSet<String>", into = "BTreeSet<String>")]
pub struct Redaction {
    keys: BTreeSet<String>,
    /// For each initial letter (and for anything else, the last entry) the lengths of the keys
    /// that begin with it, as bits. Nearly every key of a payload is turned away here.
    lengths: [u64; INITIALS],
}

const INITIALS: usize = 27;

impl Redaction {
    /// The most characters a key of the policy may have.
    pub const MAX_KEY: usize = 128;

    /// The policy that masks exactly these keys.
    ///
    /// # Errors
    /// When a key is empty, too long or has a control character.
    pub fn of<K: AsRef<str>>(keys: impl IntoIterator<Item = K>) -> Result<Self, TextError> {
        let keys = keys
            .into_iter()
            .map(|key| normal(key.as_ref()))
            .collect::<Result<_, _>>()?;
        Ok(Self::indexed(keys))
    }

    /// The same policy that masks one more key.
    ///
    /// # Errors
    /// When the key is empty, too long or has a control character.
    pub fn with(mut self, key: &str) -> Result<Self, TextError> {
        self.keys.insert(normal(key)?);
        Ok(Self::indexed(self.keys))
    }

    /// The same policy that leaves one key alone.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.keys.remove(&key.trim().to_ascii_lowercase());
        Self::indexed(self.keys)
    }

    /// The keys, in lower case and in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(String::as_str)
    }

    /// Whether the value under this key is masked.
    #[must_use]
    pub fn masks(&self, key: &str) -> bool {
        let Some(initial) = key.bytes().next() else {
            return false;
        };
        let lengths = self.lengths.get(initial_of(initial)).copied();
        lengths.unwrap_or(0) & length_bit(key.len()) != 0
            && self
                .keys
                .iter()
                .any(|known| known.eq_ignore_ascii_case(key))
    }

    /// [`masks`](Self::masks) for a key as JSON text has it, without its quotation marks.
    pub(crate) fn masks_raw(&self, raw: &str, escaped: bool) -> bool {
        if escaped {
            self.masks(&decode(raw))
        } else {
            self.masks(raw)
        }
    }

    fn indexed(keys: BTreeSet<String>) -> Self {
        let mut lengths = [0; INITIALS];
        for key in &keys {
            let initial = key.bytes().next().map_or(INITIALS, initial_of);
            if let Some(lengths) = lengths.get_mut(initial) {
                *lengths |= length_bit(key.len());
            }
        }
        Self { keys, lengths }
    }
}

fn normal(key: &str) -> Result<String, TextError> {
    text::line("redacted key", key, Redaction::MAX_KEY).map(|key| key.to_ascii_lowercase())
}

fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

fn initial_of(byte: u8) -> usize {
    match byte.to_ascii_lowercase() {
        letter @ b'a'..=b'z' => usize::from(letter - b'a'),
        _ => INITIALS - 1,
    }
}

impl Default for Redaction {
    fn default() -> Self {
        Self::indexed(DEFAULT_KEYS.iter().map(|key| (*key).to_owned()).collect())
    }
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(&self.keys).finish()
    }
}

impl TryFrom<BTreeSet<String>> for Redaction {
    type Error = TextError;

    fn try_from(keys: BTreeSet<String>) -> Result<Self, TextError> {
        Self::of(keys)
    }
}

impl From<Redaction> for BTreeSet<String> {
    fn from(redaction: Redaction) -> Self {
        redaction.keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_matched_whole_and_without_regard_to_case() {
        let policy = Redaction::default();
        for masked in ["token", "Token", "AUTHORIZATION", "Set-Cookie", "apiKey"] {
            assert!(policy.masks(masked), "{masked}");
        }
        for kept in ["tokenUsage", "tokens", "", "secretary", "tok", "x-api-keys"] {
            assert!(!policy.masks(kept), "{kept}");
        }
        for key in DEFAULT_KEYS {
            assert!(policy.masks(key), "{key}");
        }
    }

    #[test]
    fn an_escaped_key_is_compared_by_what_it_means() {
        let policy = Redaction::default();
        assert!(policy.masks_raw("to\\u006ben", true));
        assert!(policy.masks_raw("\\u0054OKEN", true));
        assert!(!policy.masks_raw("to\\u006b", true));
        assert!(!policy.masks_raw("token\\ud800", true));
    }

    #[test]
    fn the_host_adds_and_removes_keys() {
        let policy = Redaction::default()
            .with(" IBAN ")
            .unwrap()
            .without("Cookie");
        assert!(policy.masks("iban"));
        assert!(!policy.masks("cookie"));
        assert!(policy.masks("token"));
        let long = "k".repeat(100);
        assert!(Redaction::of([&long]).unwrap().masks(&long.to_uppercase()));
        assert_eq!(
            Redaction::of([""]).unwrap_err().to_string(),
            "redacted key must not be empty"
        );
    }

    #[test]
    fn a_policy_is_written_as_the_list_of_its_keys() {
        let policy = Redaction::of(["b", "A"]).unwrap();
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(json, r#"["a","b"]"#);
        assert_eq!(serde_json::from_str::<Redaction>(&json).unwrap(), policy);
    }
}

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
    "jwt",
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
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-csrf-token",
    "x-goog-api-key",
    "x-n8n-api-key",
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
    /// In lower case, each once, shorter ones first.
    keys: Vec<Box<str>>,
    /// One bit for each [`trait_of`] a key: nearly every key of a payload is turned away here.
    traits: [u64; TRAITS / 64],
}

const TRAITS: usize = 1024;

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
        self.keys.push(normal(key)?);
        Ok(Self::indexed(self.keys))
    }

    /// The same policy that leaves one key alone.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.keys
            .retain(|known| !known.eq_ignore_ascii_case(key.trim()));
        Self::indexed(self.keys)
    }

    /// The keys, in lower case.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(AsRef::as_ref)
    }

    /// Whether the value under this key is masked.
    #[must_use]
    #[inline(always)]
    pub fn masks(&self, key: &str) -> bool {
        let (word, bit) = trait_of(key);
        let word = self.traits.get(word).copied().unwrap_or(0);
        word & bit != 0 && self.contains(key)
    }

    /// [`masks`](Self::masks) for a key as JSON text has it, without its quotation marks.
    #[inline(always)]
    pub(crate) fn masks_raw(&self, raw: &str, escaped: bool) -> bool {
        if escaped {
            self.masks(&decode(raw))
        } else {
            self.masks(raw)
        }
    }

    fn contains(&self, key: &str) -> bool {
        let from = self.keys.partition_point(|known| known.len() < key.len());
        let longer = self.keys.get(from..).unwrap_or_default();
        longer
            .iter()
            .take_while(|known| known.len() == key.len())
            .any(|known| known.eq_ignore_ascii_case(key))
    }

    fn indexed(mut keys: Vec<Box<str>>) -> Self {
        keys.sort_unstable_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        keys.dedup();
        let mut traits = [0; TRAITS / 64];
        for (word, bit) in keys.iter().map(|key| trait_of(key)) {
            if let Some(word) = traits.get_mut(word) {
                *word |= bit;
            }
        }
        Self { keys, traits }
    }
}

fn normal(key: &str) -> Result<Box<str>, TextError> {
    let key = text::line("redacted key", key, Redaction::MAX_KEY)?;
    Ok(key.to_ascii_lowercase().into())
}

/// A number made of the length and three bytes of a key, alike in upper and lower case, as the
/// place of a bit.
#[inline(always)]
fn trait_of(key: &str) -> (usize, u64) {
    let bytes = key.as_bytes();
    let byte = |at: usize| u32::from(bytes.get(at).copied().unwrap_or(0) | 0x20);
    let length = bytes.len();
    let mixed = byte(0).wrapping_mul(0x9E37_79B1)
        ^ byte(length / 2).wrapping_mul(0x85EB_CA77)
        ^ byte(length.wrapping_sub(1)).wrapping_mul(0xC2B2_AE3D)
        ^ (length as u32).wrapping_mul(0x27D4_EB2F);
    let place = (mixed >> 20) as usize % TRAITS;
    (place / 64, 1 << (place % 64))
}

impl Default for Redaction {
    fn default() -> Self {
        Self::indexed(DEFAULT_KEYS.iter().map(|key| (*key).into()).collect())
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
        redaction.keys.into_iter().map(String::from).collect()
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

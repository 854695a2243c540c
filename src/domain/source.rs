//! Sources: the n8n instances (or other origins) of a tenant's workflows and executions.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::audit::sha256_hex;
use super::ids::SourceId;
use super::text::{Name, TextError};
use super::time::micros;

/// A broken rule about sources.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is no source of this name with this secret. Which of the two is wrong is not said.
    #[error("source: the name or the secret is wrong")]
    NotAuthentic,
}

/// A registered source. External ids are unique only within one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Its id.
    pub id: SourceId,
    /// Its name, unique in the tenant.
    pub name: Name,
    /// The hash of its secret, if it was given one.
    #[serde(skip)]
    pub secret: Option<SecretHash>,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts its changes, from 1; a writer must name the one it has read.
    pub revision: i64,
}

impl Source {
    /// A new source without a secret.
    #[must_use]
    pub fn register(id: SourceId, name: Name, now: DateTime<Utc>) -> Self {
        let now = micros(now);
        Self {
            id,
            name,
            secret: None,
            created_at: now,
            updated_at: now,
            revision: 1,
        }
    }

    /// The source under another name; `None` if that is its name.
    #[must_use]
    pub fn renamed(&self, name: &Name, now: DateTime<Utc>) -> Option<Self> {
        (self.name != *name).then(|| Self {
            name: name.clone(),
            updated_at: micros(now),
            ..self.clone()
        })
    }

    /// The source with another secret in place of its former one.
    #[must_use]
    pub fn with_secret(&self, secret: &SourceSecret, now: DateTime<Utc>) -> Self {
        Self {
            secret: Some(secret.hash()),
            updated_at: micros(now),
            ..self.clone()
        }
    }

    /// Checks that somebody who speaks for the source knows its secret. A source without a secret
    /// is spoken for by nobody.
    ///
    /// # Errors
    /// [`SourceError::NotAuthentic`].
    pub fn authenticate(&self, secret: &str) -> Result<(), SourceError> {
        match &self.secret {
            Some(hash) if hash.matches(secret) => Ok(()),
            _ => Err(SourceError::NotAuthentic),
        }
    }
}

/// A secret that was just made: shown once, kept nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceSecret(String);

impl SourceSecret {
    /// A secret of 32 random bytes, written as 64 hexadecimal digits.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The secret itself: to be handed to the source, and not to be logged.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash(sha256_hex(self.0.as_bytes()))
    }
}

impl fmt::Debug for SourceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceSecret(..)")
    }
}

/// The SHA-256 of a source's secret, in lower-case hexadecimal digits.
///
/// A plain, fast hash is enough: the secrets are 256 random bits of our own making, and nobody
/// finds one by trying.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHash(String);

impl SecretHash {
    /// A hash that was stored.
    ///
    /// # Errors
    /// Unless it is 64 lower-case hexadecimal digits.
    pub fn new(text: &str) -> Result<Self, TextError> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 64 && text.bytes().all(digit) {
            return Ok(Self(text.to_owned()));
        }
        // The text itself is not repeated: it could be a secret in the wrong place.
        Err(TextError::form(
            "secret hash",
            "…",
            "64 lower-case hexadecimal digits",
        ))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the hash of the secret. Takes as long for a wrong secret as for the right
    /// one of the same length.
    #[must_use]
    pub fn matches(&self, secret: &str) -> bool {
        let given = sha256_hex(secret.as_bytes());
        let differing = self.0.bytes().zip(given.bytes());
        self.0.len() == given.len() && differing.fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn only_the_secret_opens_a_source() {
        let now = DateTime::UNIX_EPOCH;
        let source = Source::register(Uuid::nil().into(), Name::new("main").unwrap(), now);
        assert_eq!(source.authenticate(""), Err(SourceError::NotAuthentic));
        let secret = SourceSecret::from_random([7; 32]);
        assert_eq!(secret.reveal(), "07".repeat(32));
        let source = source.with_secret(&secret, now);
        assert_eq!(source.authenticate(secret.reveal()), Ok(()));
        for wrong in ["", "07", source.secret.as_ref().unwrap().as_str()] {
            assert_eq!(source.authenticate(wrong), Err(SourceError::NotAuthentic));
        }
    }

    #[test]
    fn neither_secret_nor_hash_is_printed() {
        let secret = SourceSecret::from_random([7; 32]);
        let now = DateTime::UNIX_EPOCH;
        let source = Source::register(Uuid::nil().into(), Name::new("main").unwrap(), now)
            .with_secret(&secret, now);
        let hash = secret.hash();
        let shown = format!(
            "{secret:?} {source:?} {}",
            serde_json::to_string(&source).unwrap()
        );
        assert!(!shown.contains(secret.reveal()) && !shown.contains(hash.as_str()));
        assert_eq!(SecretHash::new(hash.as_str()), Ok(hash));
        let refused = SecretHash::new("swordfish").unwrap_err().to_string();
        assert!(!refused.contains("swordfish"), "{refused}");
    }
}

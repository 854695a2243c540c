//! The one error type of the services.

use chrono::{DateTime, Utc};

use crate::domain::access::Denied;
use crate::domain::catalogue::CatalogueError;
use crate::domain::identity::IdentityError;
use crate::domain::json::DocumentError;
use crate::domain::limits::LimitError;
use crate::domain::metering::MeteringError;
use crate::domain::outbox::MessageError;
use crate::domain::page::CursorError;
use crate::domain::source::SourceError;
use crate::domain::subscription::SubscriptionError;
use crate::domain::tenancy::TenancyError;
use crate::domain::text::TextError;
use crate::domain::workflow::WorkflowError;
use crate::store::{Retryable, StoreError, StoreErrorKind, Window};

/// The result of a service's call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, and so what a caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such thing in this tenant.
    NotFound,
    /// The input breaks a rule; the message says which and what would be right.
    Invalid,
    /// The actor may not do this.
    Forbidden,
    /// A limit of the tenant's plan would be exceeded.
    LimitExceeded,
    /// There is one with this key already.
    AlreadyExists,
    /// The caller's revision is old: read again, decide again.
    Stale,
    /// Lost a race, again and again; the call may be repeated.
    Conflict,
    /// The store cannot be reached; the call may be repeated later.
    Unavailable,
    /// Stored data cannot be read.
    Corrupt,
    /// A fault of this library or of its surroundings.
    Internal,
}

/// An error of a service.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such thing in this tenant.
    #[error("{entity} {key} not found")]
    NotFound {
        /// What was looked for.
        entity: &'static str,
        /// By which key, as the caller gave it.
        key: String,
    },
    /// The caller's revision is not the present one.
    #[error("{entity} has been changed since: revision {given} was given, {present} is present")]
    Stale {
        /// What was to be changed.
        entity: &'static str,
        /// The caller's revision.
        given: i64,
        /// The stored revision.
        present: i64,
    },
    /// Something about an instant for which nothing can be stored.
    #[error("{entity} of {instant} is outside the months that are kept: {window}")]
    OutsideWindow {
        /// What was to be stored.
        entity: &'static str,
        /// The instant it is about.
        instant: DateTime<Utc>,
        /// The window in words.
        window: String,
    },
    /// The actor may not do this.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A text that does not fit its field.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A JSON document that does not fit its field.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A cursor of another list.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// A broken rule about tenants.
    #[error(transparent)]
    Tenancy(#[from] TenancyError),
    /// A broken rule about users and roles.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A broken rule about sources.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A broken rule about workflows.
    #[error(transparent)]
    Workflow(#[from] WorkflowError),
    /// A broken rule about metering.
    #[error(transparent)]
    Metering(#[from] MeteringError),
    /// A limit that would be exceeded, or a broken rule about limits.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A broken rule about plans and prices.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// A broken rule about subscriptions.
    #[error(transparent)]
    Subscription(#[from] SubscriptionError),
    /// A message that cannot be published.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A failure of the store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Error {
    pub(crate) fn not_found(entity: &'static str, key: impl ToString) -> Self {
        Self::NotFound {
            entity,
            key: key.to_string(),
        }
    }

    pub(crate) fn outside(window: &Window, entity: &'static str, instant: DateTime<Utc>) -> Self {
        Self::OutsideWindow {
            entity,
            instant,
            window: window.describe(),
        }
    }

    /// What kind of failure it was.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Stale { .. } => ErrorKind::Stale,
            Self::Denied(_) => ErrorKind::Forbidden,
            Self::OutsideWindow { .. } => ErrorKind::Invalid,
            Self::Text(_)
            | Self::Document(_)
            | Self::Cursor(_)
            | Self::Catalogue(_)
            | Self::Subscription(_)
            | Self::Message(_) => ErrorKind::Invalid,
            Self::Tenancy(TenancyError::NotActive { .. } | TenancyError::Closed)
            | Self::Identity(IdentityError::NotActive { .. }) => ErrorKind::Forbidden,
            Self::Tenancy(_) | Self::Identity(_) => ErrorKind::Invalid,
            Self::Source(SourceError::NotAuthentic) => ErrorKind::Forbidden,
            Self::Workflow(WorkflowError::Limit(error)) | Self::Limit(error) => match error {
                LimitError::Exceeded { .. } | LimitError::LevelExceeded { .. } => {
                    ErrorKind::LimitExceeded
                }
                _ => ErrorKind::Invalid,
            },
            Self::Workflow(_) => ErrorKind::Invalid,
            Self::Metering(
                MeteringError::KeyTaken { .. } | MeteringError::AlreadyCorrected { .. },
            ) => ErrorKind::AlreadyExists,
            Self::Metering(_) => ErrorKind::Invalid,
            Self::Store(error) => match error.kind() {
                StoreErrorKind::Conflict => ErrorKind::Conflict,
                StoreErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
                StoreErrorKind::NotFound => ErrorKind::NotFound,
                StoreErrorKind::Invalid | StoreErrorKind::OutsideWindow => ErrorKind::Invalid,
                StoreErrorKind::Unavailable | StoreErrorKind::Ambiguous => ErrorKind::Unavailable,
                StoreErrorKind::Corrupt => ErrorKind::Corrupt,
                StoreErrorKind::Forbidden => ErrorKind::Forbidden,
                StoreErrorKind::Spent | StoreErrorKind::Internal => ErrorKind::Internal,
            },
        }
    }

    /// Whether the same call may succeed when it is repeated unchanged.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), ErrorKind::Conflict | ErrorKind::Unavailable)
    }
}

impl Retryable for Error {
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_retryable())
    }
}

//! What can go wrong in a store, in terms that every backend shares.

use std::error::Error as StdError;
use std::fmt;

/// The result of a store's operation.
pub type StoreResult<T> = Result<T, StoreError>;

/// What kind of failure it was, and so what a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Somebody else was faster: a serialization failure, a deadlock, a lock not granted in time,
    /// a row that changed inside the unit. Run the whole unit again.
    Conflict,
    /// A row with this key exists already.
    AlreadyExists,
    /// The row that is to be changed, or one that is referred to, does not exist in this tenant.
    NotFound,
    /// A value breaks a constraint that the domain should have caught.
    Invalid,
    /// The row is about an instant outside the months that are kept, or too far ahead.
    OutsideWindow,
    /// The unit failed earlier and can only be dropped.
    Spent,
    /// The store cannot be reached, or not in time.
    Unavailable,
    /// The connection was lost during a commit: it may have landed. Natural keys make it safe to
    /// call again.
    Ambiguous,
    /// A stored row cannot be read: it names its table, column and key.
    Corrupt,
    /// The database refuses the statement to this role.
    Forbidden,
    /// Anything else.
    Internal,
}

/// A failure of a store: its kind, the operation, what is known, and the cause.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    operation: &'static str,
    detail: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl StoreError {
    /// A failure of `operation`, which is named `area.method`.
    #[must_use]
    pub fn new(kind: StoreErrorKind, operation: &'static str) -> Self {
        Self {
            kind,
            operation,
            detail: None,
            source: None,
        }
    }

    /// Adds what is known: a constraint, a table, never a tenant's data.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// The error as a lost race, if it is of this kind: for a unit that has looked, and finds when
    /// it writes that it is no longer so.
    #[must_use]
    pub fn as_lost_race(self, kind: StoreErrorKind) -> Self {
        if self.kind == kind {
            Self::new(StoreErrorKind::Conflict, self.operation).with_source(self)
        } else {
            self
        }
    }

    /// What kind of failure it was.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// The operation that failed.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// What is known beyond the kind.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// Whether running the whole unit again may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind == StoreErrorKind::Conflict
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            StoreErrorKind::Conflict => "lost a race with another unit of work",
            StoreErrorKind::AlreadyExists => "exists already",
            StoreErrorKind::NotFound => "not found",
            StoreErrorKind::Invalid => "breaks a constraint",
            StoreErrorKind::OutsideWindow => "is outside the months that are kept",
            StoreErrorKind::Spent => "this unit of work failed earlier; begin another",
            StoreErrorKind::Unavailable => "the store cannot be reached",
            StoreErrorKind::Ambiguous => {
                "the connection was lost during the commit; it may have landed"
            }
            StoreErrorKind::Corrupt => "a stored row cannot be read",
            StoreErrorKind::Forbidden => "the database refuses this to the present role",
            StoreErrorKind::Internal => "failed",
        };
        write!(f, "{}: {what}", self.operation)?;
        match &self.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

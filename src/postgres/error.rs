//! What PostgreSQL's errors mean to the contract: the one place that reads SQLSTATE.

use sqlx::postgres::PgDatabaseError;

use crate::store::{StoreError, StoreErrorKind};

/// The store's error for a failed statement.
pub(super) fn store_error(operation: &'static str, error: sqlx::Error) -> StoreError {
    let (kind, detail) = classify(&error);
    let store = StoreError::new(kind, operation);
    let store = match detail {
        Some(detail) => store.with_detail(detail),
        None => store,
    };
    store.with_source(error)
}

/// The store's error for a failed commit: a connection that is lost there may have committed.
pub(super) fn commit_error(error: sqlx::Error) -> StoreError {
    let lost = matches!(
        error,
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_)
    ) || sqlstate(&error)
        .is_some_and(|code| code.starts_with("57P") || code.starts_with("08"));
    if lost {
        StoreError::new(StoreErrorKind::Ambiguous, "commit").with_source(error)
    } else {
        store_error("commit", error)
    }
}

/// The error for a stored row that cannot be read.
pub(super) fn corrupt(
    operation: &'static str,
    place: &str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, operation)
        .with_detail(place)
        .with_source(error)
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error
        .as_database_error()?
        .code()
        .map(|code| code.into_owned())
}

fn classify(error: &sqlx::Error) -> (StoreErrorKind, Option<String>) {
    use StoreErrorKind as Kind;
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => (Kind::Unavailable, None),
        sqlx::Error::ColumnDecode { index, .. } => (Kind::Corrupt, Some(format!("column {index}"))),
        sqlx::Error::Decode(_) => (Kind::Corrupt, None),
        sqlx::Error::Database(database) => {
            let error = database.try_downcast_ref::<PgDatabaseError>();
            let place = error.and_then(|error| error.constraint().or(error.table()));
            (kind_of(error), place.map(str::to_owned))
        }
        _ => (Kind::Internal, None),
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn kind_of(error: Option<&PgDatabaseError>) -> StoreErrorKind {
    use StoreErrorKind as Kind;
    let Some(error) = error else {
        return Kind::Internal;
    };
    match error.code() {
        // Serialization failure, deadlock, lock not available.
        "40001" | "40P01" | "55P03" => Kind::Conflict,
        // A unique key, and an exclusion.
        "23505" | "23P01" => Kind::AlreadyExists,
        "23503" => Kind::NotFound,
        // A row that fits no partition is refused as a check without a constraint's name.
        "23514" if error.constraint().is_none() => Kind::OutsideWindow,
        "23502" | "23514" => Kind::Invalid,
        "42501" => Kind::Forbidden,
        "25P02" => Kind::Spent,
        // Statement timeout, too many connections, shutdown, out of disk or memory.
        "57014" => Kind::Unavailable,
        code if code.starts_with("08")
            || code.starts_with("53")
            || code.starts_with("57P")
            || code.starts_with("28") =>
        {
            Kind::Unavailable
        }
        code if code.starts_with("22") => Kind::Invalid,
        _ => Kind::Internal,
    }
}

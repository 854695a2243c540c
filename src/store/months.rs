//! The months for which rows that grow without end are kept.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::time::Month;

/// Creates the months that partition events, usage, payloads, error logs and the audit trail.
#[async_trait]
pub trait MonthDirectory: Send {
    /// The months there are, oldest first.
    async fn months(&mut self) -> StoreResult<Vec<Month>>;

    /// Creates the months from `first` to `last`, both included, as far as they are missing;
    /// answers how many it created.
    async fn ensure(&mut self, first: Month, last: Month) -> StoreResult<usize>;
}

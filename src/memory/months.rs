//! The months that growing tables keep, in memory.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use imbl::OrdSet;

use super::platform::MemoryPlatform;
use crate::domain::time::Month;
use crate::store::{MonthDirectory, StoreError, StoreErrorKind, StoreResult};

/// Checks that there are months for rows of `table` about these instants.
pub(super) fn must_be_kept(
    months: &OrdSet<Month>,
    operation: &'static str,
    table: &'static str,
    instants: impl IntoIterator<Item = DateTime<Utc>>,
) -> StoreResult<()> {
    for instant in instants {
        if !months.contains(&Month::of(instant)) {
            return Err(
                StoreError::new(StoreErrorKind::OutsideWindow, operation).with_detail(table)
            );
        }
    }
    Ok(())
}

#[async_trait]
impl MonthDirectory for MemoryPlatform {
    async fn months(&mut self) -> StoreResult<Vec<Month>> {
        Ok(self.read("months.months")?.months.iter().copied().collect())
    }

    async fn ensure(&mut self, first: Month, last: Month) -> StoreResult<usize> {
        // Two units that create the same month agree, so the answer may differ at the commit.
        let known = self.read("months.ensure")?.months.clone();
        let missing: Vec<Month> = first
            .through(last)
            .filter(|month| !known.contains(month))
            .collect();
        let created = missing.len();
        self.write("months.ensure", move |state| {
            state.months.extend(missing.iter().copied());
            Ok(())
        })?;
        Ok(created)
    }
}

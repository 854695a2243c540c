//! The months that growing tables keep, on PostgreSQL: one partition each.

use async_trait::async_trait;

use super::platform::PgPlatform;
use super::session::Session;
use crate::domain::time::Month;
use crate::store::{MonthDirectory, StoreResult};

/// One statement.
pub(super) async fn read_months(
    session: &mut Session<'_>,
    operation: &'static str,
) -> StoreResult<Vec<Month>> {
    let rows = sqlx::query_scalar!("SELECT month FROM tenantry.months ORDER BY month")
        .fetch_all(session.run(operation)?)
        .await;
    let days = session.check(operation, rows)?;
    Ok(days.into_iter().filter_map(Month::beginning).collect())
}

#[async_trait]
impl MonthDirectory for PgPlatform {
    async fn months(&mut self) -> StoreResult<Vec<Month>> {
        read_months(&mut self.session, "months.months").await
    }

    async fn ensure(&mut self, first: Month, last: Month) -> StoreResult<usize> {
        const OPERATION: &str = "months.ensure";
        let created = sqlx::query_scalar!(
            r#"SELECT tenantry.ensure_months($1, $2) AS "created!""#,
            first.first_day(),
            last.first_day(),
        )
        .fetch_one(self.session.run(OPERATION)?)
        .await;
        let created = self.session.check(OPERATION, created)?;
        Ok(usize::try_from(created).unwrap_or(0))
    }
}

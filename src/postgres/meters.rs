//! The meters that tenants defined, on PostgreSQL: one statement per call.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::corrupt;
use super::session::Session;
use super::unit::PgTx;
use crate::domain::metering::{CustomMeter, Meter, MeterName};
use crate::domain::text::{Name, TextError};
use crate::store::{MeterRepo, StoreError, StoreErrorKind, StoreResult};

struct MeterRow {
    id: Uuid,
    name: String,
    aggregation: String,
    unit: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl MeterRow {
    fn read(self, operation: &'static str) -> StoreResult<CustomMeter> {
        let place = format!("meters {}", self.id);
        let broken = |error: TextError| corrupt(operation, &place, error);
        Ok(CustomMeter {
            id: self.id.into(),
            meter: Meter {
                name: MeterName::new(&self.name).map_err(broken)?,
                aggregation: self.aggregation.parse().map_err(broken)?,
                unit: self
                    .unit
                    .as_deref()
                    .map(Name::new)
                    .transpose()
                    .map_err(broken)?,
            },
            created_at: self.created_at,
            updated_at: self.updated_at,
            revision: self.revision,
        })
    }
}

/// Reads rows; one that cannot be read spends the unit.
fn read(
    session: &mut Session<'_>,
    operation: &'static str,
    rows: Result<Vec<MeterRow>, sqlx::Error>,
) -> StoreResult<Vec<CustomMeter>> {
    let rows = session.check(operation, rows)?;
    let meters = rows.into_iter().map(|row| row.read(operation)).collect();
    session.keep(meters)
}

#[async_trait]
impl MeterRepo for PgTx<'_> {
    async fn insert(&mut self, meter: &CustomMeter) -> StoreResult<()> {
        const OPERATION: &str = "meters.insert";
        let tenant = self.tenant();
        let done = sqlx::query!(
            "INSERT INTO tenantry.meters (tenant_id, id, name, aggregation, unit, created_at,
                updated_at, revision)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            tenant,
            meter.id.as_uuid(),
            meter.meter.name.as_str(),
            meter.meter.aggregation.as_str(),
            meter.meter.unit.as_ref().map(Name::as_str),
            meter.created_at,
            meter.updated_at,
            meter.revision,
        )
        .execute(self.session.run(OPERATION)?)
        .await;
        self.session.check(OPERATION, done).map(drop)
    }

    async fn find(&mut self, names: &[MeterName]) -> StoreResult<Vec<CustomMeter>> {
        const OPERATION: &str = "meters.find";
        let tenant = self.tenant();
        let names: Vec<&str> = names.iter().map(MeterName::as_str).collect();
        let rows = sqlx::query_as!(
            MeterRow,
            "SELECT id, name, aggregation, unit, created_at, updated_at, revision
            FROM tenantry.meters WHERE tenant_id = $1 AND name = ANY($2) ORDER BY name",
            tenant,
            &names as &[&str],
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        read(&mut self.session, OPERATION, rows)
    }

    async fn all(&mut self) -> StoreResult<Vec<CustomMeter>> {
        const OPERATION: &str = "meters.all";
        let tenant = self.tenant();
        let rows = sqlx::query_as!(
            MeterRow,
            "SELECT id, name, aggregation, unit, created_at, updated_at, revision
            FROM tenantry.meters WHERE tenant_id = $1 ORDER BY name",
            tenant,
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        read(&mut self.session, OPERATION, rows)
    }

    async fn update(&mut self, meter: &CustomMeter) -> StoreResult<CustomMeter> {
        const OPERATION: &str = "meters.update";
        let tenant = self.tenant();
        let rows = sqlx::query_as!(
            MeterRow,
            "UPDATE tenantry.meters SET unit = $4, updated_at = $5, revision = revision + 1
            WHERE tenant_id = $1 AND id = $2 AND revision = $3
            RETURNING id, name, aggregation, unit, created_at, updated_at, revision",
            tenant,
            meter.id.as_uuid(),
            meter.revision,
            meter.meter.unit.as_ref().map(Name::as_str),
            meter.updated_at,
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let stored = read(&mut self.session, OPERATION, rows)?.pop();
        self.session
            .keep(stored.ok_or_else(|| StoreError::new(StoreErrorKind::Conflict, OPERATION)))
    }
}

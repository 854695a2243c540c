//! The outbox on PostgreSQL: one statement per call.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::error::corrupt;
use super::unit::PgTx;
use crate::domain::outbox::{MessageKey, MessageKind, MessagePayload, OutboxMessage, PastMessage};
use crate::domain::page::{Page, PageRequest};
use crate::store::{OutboxRepo, StoreError, StoreErrorKind, StoreResult, page_key};

struct PastRow {
    sequence: i64,
    kind: String,
    payload: String,
    occurred_at: DateTime<Utc>,
    settled_at: DateTime<Utc>,
    error: Option<String>,
}

impl PastRow {
    fn read(self, operation: &'static str, key: &MessageKey) -> StoreResult<PastMessage> {
        let place = || format!("outbox {key} {} kind", self.sequence);
        Ok(PastMessage {
            sequence: self.sequence,
            kind: MessageKind::new(&self.kind)
                .map_err(|error| corrupt(operation, &place(), error))?,
            payload: MessagePayload::trusted(self.payload),
            occurred_at: self.occurred_at,
            settled_at: self.settled_at,
            skipped: self.error,
        })
    }
}

#[async_trait]
impl OutboxRepo for PgTx<'_> {
    async fn enqueue(&mut self, messages: &[OutboxMessage]) -> StoreResult<()> {
        const OPERATION: &str = "outbox.enqueue";
        let (tenant, now) = (self.tenant(), self.now);
        let statements = self.session.run(OPERATION)?;
        if messages.is_empty() {
            return Ok(());
        }
        let column = |text: fn(&OutboxMessage) -> &str| messages.iter().map(text).collect();
        let keys: Vec<&str> = column(|message| message.key().as_str());
        let kinds: Vec<&str> = column(|message| message.kind().as_str());
        let payloads: Vec<&str> = column(|message| message.payload().as_str());
        let instants: Vec<_> = messages.iter().map(OutboxMessage::occurred_at).collect();
        // The tenant is looked up once for the batch; a foreign key would look for every row.
        let done = sqlx::query!(
            "INSERT INTO tenantry.outbox (tenant_id, key, kind, payload, occurred_at, written_at)
            SELECT $1, m.key, m.kind, m.payload::json, m.occurred_at, $6
            FROM UNNEST($2::text[], $3::text[], $4::text[], $5::timestamptz[])
                WITH ORDINALITY AS m (key, kind, payload, occurred_at, place)
            WHERE EXISTS (SELECT FROM tenantry.tenants WHERE id = $1)
            ORDER BY m.place",
            tenant,
            &keys as &[&str],
            &kinds as &[&str],
            &payloads as &[&str],
            &instants,
            now,
        )
        .execute(statements)
        .await;
        let written = self.session.check(OPERATION, done)?.rows_affected();
        self.tells = true;
        self.session.keep(if written == 0 {
            Err(StoreError::new(StoreErrorKind::NotFound, OPERATION).with_detail("tenant"))
        } else {
            Ok(())
        })
    }

    async fn history(
        &mut self,
        key: &MessageKey,
        page: &PageRequest,
    ) -> StoreResult<Page<PastMessage>> {
        const OPERATION: &str = "outbox.history";
        let after = self.session.keep(page_key::<i64>(OPERATION, page))?;
        let (tenant, limit) = (self.tenant(), page.limit());
        let rows = sqlx::query_as!(
            PastRow,
            r#"SELECT sequence AS "sequence!", kind, payload::text AS "payload!", occurred_at,
                settled_at AS "settled_at!", error
            FROM tenantry.outbox
            WHERE tenant_id = $1 AND key = $2 AND sequence > $3 AND settled_at IS NOT NULL
            ORDER BY sequence LIMIT $4"#,
            tenant,
            key.as_str(),
            after.unwrap_or(0),
            limit as i64 + 1,
        )
        .fetch_all(self.session.run(OPERATION)?)
        .await;
        let rows = self.session.check(OPERATION, rows)?;
        let rows = rows.into_iter().map(|row| row.read(OPERATION, key));
        let rows = self.session.keep(rows.collect())?;
        Ok(Page::of(rows, limit, |row: &PastMessage| row.sequence))
    }
}

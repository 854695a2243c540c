//! Analytics events on PostgreSQL: one statement per call.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::ipnetwork::IpNetwork;
use uuid::Uuid;

use super::error::corrupt;
use super::platform::PgPlatform;
use super::unit::PgTx;
use crate::domain::analytics::{AnalyticsEvent, EventData, EventType, NewEvent};
use crate::domain::context::Origin;
use crate::domain::ids::{EventId, UserId};
use crate::domain::page::{Page, PageRequest};
use crate::store::{EventFilter, EventRepo, StoreResult, id_range, page_key};

const APPEND: &str = "events.append";
const PAGE: &str = "events.page";
const ERASE: &str = "events.erase_person";

struct EventRow {
    id: Uuid,
    user_id: Option<Uuid>,
    event_type: String,
    event_data: Value,
    session_id: Option<String>,
    ip_address: Option<IpNetwork>,
    user_agent: Option<String>,
    occurred_at: DateTime<Utc>,
}

impl EventRow {
    fn read(self, operation: &'static str) -> StoreResult<AnalyticsEvent> {
        let event_type = EventType::new(&self.event_type)
            .map_err(|error| corrupt(operation, &format!("events {}", self.id), error))?;
        let new = NewEvent {
            user: self.user_id.map(UserId::from),
            origin: Origin {
                ip: self.ip_address.map(|network| network.ip()),
                user_agent: self.user_agent,
                session: self.session_id,
                request: None,
            },
            ..NewEvent::new(
                event_type,
                self.occurred_at,
                EventData::trusted(self.event_data.to_string()),
            )
        };
        Ok(AnalyticsEvent::stored(self.id.into(), new))
    }
}

/// A batch by columns, in the order of the ids: units that append the same events wait for each
/// other and never in a circle.
struct Columns<'e> {
    ids: Vec<Uuid>,
    users: Vec<Option<Uuid>>,
    types: Vec<&'e str>,
    data: Vec<&'e str>,
    sessions: Vec<Option<&'e str>>,
    addresses: Vec<Option<IpNetwork>>,
    agents: Vec<Option<&'e str>>,
    instants: Vec<DateTime<Utc>>,
}

impl<'e> Columns<'e> {
    fn of(events: &'e [AnalyticsEvent]) -> Self {
        let mut events: Vec<&AnalyticsEvent> = events.iter().collect();
        events.sort_unstable_by_key(|event| event.id());
        let origins = || events.iter().map(|event| event.origin());
        Self {
            ids: events.iter().map(|event| event.id().as_uuid()).collect(),
            users: events
                .iter()
                .map(|event| event.user().map(UserId::as_uuid))
                .collect(),
            types: events.iter().map(|e| e.event_type().as_str()).collect(),
            data: events.iter().map(|event| event.data().as_str()).collect(),
            sessions: origins().map(|origin| origin.session.as_deref()).collect(),
            addresses: origins().map(|o| o.ip.map(IpNetwork::from)).collect(),
            agents: origins().map(|o| o.user_agent.as_deref()).collect(),
            instants: events.iter().map(|event| event.occurred_at()).collect(),
        }
    }
}

#[async_trait]
impl EventRepo for PgTx<'_> {
    async fn append(&mut self, events: &[AnalyticsEvent]) -> StoreResult<u64> {
        let (tenant, rows) = (self.tenant(), Columns::of(events));
        let done = sqlx::query!(
            "INSERT INTO tenantry.events (tenant_id, id, user_id, event_type, event_data,
                session_id, ip_address, user_agent, occurred_at)
            SELECT $1, e.id, e.user_id, e.event_type, e.event_data::jsonb,
                e.session_id, e.ip_address, e.user_agent, e.occurred_at
            FROM UNNEST($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::inet[],
                $8::text[], $9::timestamptz[])
                AS e (id, user_id, event_type, event_data, session_id, ip_address, user_agent,
                    occurred_at)
            ON CONFLICT DO NOTHING",
            tenant,
            &rows.ids,
            &rows.users as &[Option<Uuid>],
            &rows.types as &[&str],
            &rows.data as &[&str],
            &rows.sessions as &[Option<&str>],
            &rows.addresses as &[Option<IpNetwork>],
            &rows.agents as &[Option<&str>],
            &rows.instants,
        )
        .execute(self.session.run(APPEND)?)
        .await;
        Ok(self.session.check(APPEND, done)?.rows_affected())
    }

    async fn page(
        &mut self,
        filter: &EventFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<AnalyticsEvent>> {
        let before = self.session.keep(page_key::<EventId>(PAGE, page))?;
        let (tenant, limit) = (self.tenant(), page.limit());
        let (first, end) = id_range(filter.period, before.map(EventId::as_uuid));
        let rows = sqlx::query_as!(
            EventRow,
            "SELECT id, user_id, event_type, event_data, session_id, ip_address, user_agent,
                occurred_at
            FROM tenantry.events
            WHERE tenant_id = $1 AND id >= $2 AND id < $3
                AND ($4::timestamptz IS NULL OR occurred_at >= $4)
                AND ($5::timestamptz IS NULL OR occurred_at < $5)
                AND ($6::text IS NULL OR event_type = $6)
                AND ($7::uuid IS NULL OR user_id = $7)
            ORDER BY id DESC LIMIT $8",
            tenant,
            first,
            end,
            filter.period.map(|period| period.start()),
            filter.period.map(|period| period.end()),
            filter.event_type.as_ref().map(EventType::as_str),
            filter.user.map(UserId::as_uuid),
            limit as i64 + 1,
        )
        .fetch_all(self.session.run(PAGE)?)
        .await;
        let rows = self.session.check(PAGE, rows)?;
        let events = rows.into_iter().map(|row| row.read(PAGE)).collect();
        let events = self.session.keep(events)?;
        Ok(Page::of(events, limit, AnalyticsEvent::id))
    }

    async fn erase_person(&mut self, user: UserId) -> StoreResult<u64> {
        let tenant = self.tenant();
        let done = sqlx::query!(
            "UPDATE tenantry.events
            SET session_id = NULL, ip_address = NULL, user_agent = NULL
            WHERE tenant_id = $1 AND user_id = $2
                AND (session_id IS NOT NULL OR ip_address IS NOT NULL OR user_agent IS NOT NULL)",
            tenant,
            user.as_uuid(),
        )
        .execute(self.session.run(ERASE)?)
        .await;
        Ok(self.session.check(ERASE, done)?.rows_affected())
    }
}

#[async_trait]
impl EventRepo for PgPlatform {
    async fn append(&mut self, events: &[AnalyticsEvent]) -> StoreResult<u64> {
        let rows = Columns::of(events);
        let done = sqlx::query!(
            "INSERT INTO tenantry.platform_events (id, user_id, event_type, event_data,
                session_id, ip_address, user_agent, occurred_at)
            SELECT e.id, e.user_id, e.event_type, e.event_data::jsonb,
                e.session_id, e.ip_address, e.user_agent, e.occurred_at
            FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::inet[],
                $7::text[], $8::timestamptz[])
                AS e (id, user_id, event_type, event_data, session_id, ip_address, user_agent,
                    occurred_at)
            ON CONFLICT DO NOTHING",
            &rows.ids,
            &rows.users as &[Option<Uuid>],
            &rows.types as &[&str],
            &rows.data as &[&str],
            &rows.sessions as &[Option<&str>],
            &rows.addresses as &[Option<IpNetwork>],
            &rows.agents as &[Option<&str>],
            &rows.instants,
        )
        .execute(self.session.run(APPEND)?)
        .await;
        Ok(self.session.check(APPEND, done)?.rows_affected())
    }

    async fn page(
        &mut self,
        filter: &EventFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<AnalyticsEvent>> {
        let before = self.session.keep(page_key::<EventId>(PAGE, page))?;
        let limit = page.limit();
        let (first, end) = id_range(filter.period, before.map(EventId::as_uuid));
        let rows = sqlx::query_as!(
            EventRow,
            "SELECT id, user_id, event_type, event_data, session_id, ip_address, user_agent,
                occurred_at
            FROM tenantry.platform_events
            WHERE id >= $1 AND id < $2
                AND ($3::timestamptz IS NULL OR occurred_at >= $3)
                AND ($4::timestamptz IS NULL OR occurred_at < $4)
                AND ($5::text IS NULL OR event_type = $5)
                AND ($6::uuid IS NULL OR user_id = $6)
            ORDER BY id DESC LIMIT $7",
            first,
            end,
            filter.period.map(|period| period.start()),
            filter.period.map(|period| period.end()),
            filter.event_type.as_ref().map(EventType::as_str),
            filter.user.map(UserId::as_uuid),
            limit as i64 + 1,
        )
        .fetch_all(self.session.run(PAGE)?)
        .await;
        let rows = self.session.check(PAGE, rows)?;
        let events = rows.into_iter().map(|row| row.read(PAGE)).collect();
        let events = self.session.keep(events)?;
        Ok(Page::of(events, limit, AnalyticsEvent::id))
    }

    async fn erase_person(&mut self, user: UserId) -> StoreResult<u64> {
        let done = sqlx::query!(
            "UPDATE tenantry.platform_events
            SET session_id = NULL, ip_address = NULL, user_agent = NULL
            WHERE user_id = $1
                AND (session_id IS NOT NULL OR ip_address IS NOT NULL OR user_agent IS NOT NULL)",
            user.as_uuid(),
        )
        .execute(self.session.run(ERASE)?)
        .await;
        Ok(self.session.check(ERASE, done)?.rows_affected())
    }
}

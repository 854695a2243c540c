//! Sources in memory.

use std::sync::Arc;

use async_trait::async_trait;
use imbl::OrdMap;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::audit::{Audited, Stamp};
use super::state::Shard;
use super::unit::MemoryTx;
use crate::domain::audit::{audited_instant, secret_hash};
use crate::domain::ids::SourceId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::source::Source;
use crate::domain::text::Name;
use crate::store::{SourceRepo, StoreError, StoreErrorKind, StoreResult, page_key};

/// One tenant's sources.
#[derive(Debug, Clone, Default)]
pub(super) struct SourceTable {
    rows: OrdMap<SourceId, Arc<Source>>,
    by_name: OrdMap<Name, SourceId>,
}

impl SourceTable {
    pub(super) fn has(&self, id: SourceId) -> bool {
        self.rows.contains_key(&id)
    }
}

impl Audited for Source {
    const RESOURCE: &'static str = "n8n_sources";

    fn resource_id(&self) -> Uuid {
        self.id.as_uuid()
    }

    fn columns(&self) -> Map<String, Value> {
        let hidden = |hash: &str| secret_hash(&json!(hash));
        [
            ("id", json!(self.id)),
            ("name", json!(self.name)),
            (
                "secret_hash",
                json!(self.secret.as_ref().map(|hash| hidden(hash.as_str()))),
            ),
            ("created_at", audited_instant(self.created_at)),
        ]
        .into_iter()
        .map(|(column, value)| (column.to_owned(), value))
        .collect()
    }
}

#[async_trait]
impl SourceRepo for MemoryTx {
    async fn insert(&mut self, source: &Source) -> StoreResult<()> {
        const OPERATION: &str = "sources.insert";
        let (source, stamp) = (source.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |shard| {
            if shard.sources.has(source.id) {
                return Err(taken(OPERATION, "n8n_sources_pkey"));
            }
            put(shard, OPERATION, &stamp, None, &source)
        })
    }

    async fn get(&mut self, id: SourceId) -> StoreResult<Option<Source>> {
        let table = &self.read("sources.get")?.sources;
        Ok(table.rows.get(&id).map(|source| Source::clone(source)))
    }

    async fn find_by_name(&mut self, name: &Name) -> StoreResult<Option<Source>> {
        let table = &self.read("sources.find_by_name")?.sources;
        let found = table.by_name.get(name).and_then(|id| table.rows.get(id));
        Ok(found.map(|source| Source::clone(source)))
    }

    async fn page(&mut self, page: &PageRequest) -> StoreResult<Page<Source>> {
        const OPERATION: &str = "sources.page";
        let after = self.check(page_key::<Name>(OPERATION, page))?;
        let table = &self.read(OPERATION)?.sources;
        let rows = table
            .by_name
            .iter()
            .filter(|(name, _)| after.as_ref().is_none_or(|after| *name > after))
            .filter_map(|(_, id)| table.rows.get(id))
            .take(page.limit() + 1)
            .map(|source| Source::clone(source))
            .collect();
        Ok(Page::of(rows, page.limit(), |source: &Source| {
            source.name.clone()
        }))
    }

    async fn update(&mut self, source: &Source) -> StoreResult<Source> {
        const OPERATION: &str = "sources.update";
        let (given, stamp) = (source.clone(), Arc::clone(&self.stamp));
        self.write(OPERATION, move |shard| {
            let stored = match shard.sources.rows.get(&given.id) {
                Some(stored) if stored.revision == given.revision => Arc::clone(stored),
                _ => return Err(StoreError::new(StoreErrorKind::Conflict, OPERATION)),
            };
            let next = Source {
                created_at: stored.created_at,
                revision: stored.revision + 1,
                ..given.clone()
            };
            put(shard, OPERATION, &stamp, Some(&stored), &next)?;
            Ok(next)
        })
    }
}

fn taken(operation: &'static str, constraint: &str) -> StoreError {
    StoreError::new(StoreErrorKind::AlreadyExists, operation).with_detail(constraint)
}

fn put(
    shard: &mut Shard,
    operation: &'static str,
    stamp: &Stamp,
    former: Option<&Source>,
    next: &Source,
) -> StoreResult<()> {
    let table = &mut shard.sources;
    match table.by_name.get(&next.name) {
        Some(owner) if *owner != next.id => return Err(taken(operation, "n8n_sources_name")),
        _ => {}
    }
    if let Some(former) = former {
        table.by_name.remove(&former.name);
    }
    table.by_name.insert(next.name.clone(), next.id);
    table.rows.insert(next.id, Arc::new(next.clone()));
    shard.audit.record(stamp, former, Some(next));
    Ok(())
}

//! Sources: registered, renamed, given secrets, found.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::access::authorize;
use super::tenants::must_be_present;
use crate::domain::access::Permission;
use crate::domain::context::Context;
use crate::domain::ids::SourceId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::source::{Source, SourceError, SourceSecret};
use crate::domain::text::Name;
use crate::error::{Error, Result};
use crate::store::{Store, Tx, on_conflict};

/// A source and its new secret, which is shown here and never again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedSecret {
    /// The source.
    pub source: Source,
    /// Its secret.
    pub secret: SourceSecret,
}

/// Registers and finds the sources of a tenant's workflows and executions.
#[derive(Debug, Clone)]
pub struct Sources {
    store: Arc<dyn Store>,
}

impl Sources {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Registers a source without a secret.
    ///
    /// # Errors
    /// `AlreadyExists` for a name that is taken in this tenant.
    pub async fn register(&self, ctx: &Context, name: Name) -> Result<Source> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let source = self.register_in(&mut *unit, name.clone()).await?;
            unit.commit().await?;
            Ok(source)
        })
        .await
    }

    /// Registers a source in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Sources::register`].
    pub async fn register_in(&self, tx: &mut dyn Tx, name: Name) -> Result<Source> {
        authorize(tx, Permission::SourcesManage).await?;
        let now = tx.now();
        let source = Source::register(tx.ids().fresh(), name, now);
        tx.sources().insert(&source).await?;
        Ok(source)
    }

    /// Gives a source another name.
    ///
    /// # Errors
    /// `NotFound`; `Stale` unless `revision` is the present one; `AlreadyExists` for a name that is
    /// taken in this tenant.
    pub async fn rename(
        &self,
        ctx: &Context,
        id: SourceId,
        revision: i64,
        name: &Name,
    ) -> Result<Source> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let source = self.rename_in(&mut *unit, id, revision, name).await?;
            unit.commit().await?;
            Ok(source)
        })
        .await
    }

    /// Gives a source another name in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Sources::rename`].
    pub async fn rename_in(
        &self,
        tx: &mut dyn Tx,
        id: SourceId,
        revision: i64,
        name: &Name,
    ) -> Result<Source> {
        change(tx, id, revision, |source, now| source.renamed(name, now)).await
    }

    /// Gives a source a new secret: its first one, or one in place of the former, which no longer
    /// counts. Only its hash is kept.
    ///
    /// # Errors
    /// `NotFound`; `Stale` unless `revision` is the present one.
    pub async fn rotate_secret(
        &self,
        ctx: &Context,
        id: SourceId,
        revision: i64,
    ) -> Result<IssuedSecret> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let issued = self.rotate_secret_in(&mut *unit, id, revision).await?;
            unit.commit().await?;
            Ok(issued)
        })
        .await
    }

    /// Gives a source a new secret in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Sources::rotate_secret`].
    pub async fn rotate_secret_in(
        &self,
        tx: &mut dyn Tx,
        id: SourceId,
        revision: i64,
    ) -> Result<IssuedSecret> {
        let secret = SourceSecret::from_random(self.store.entropy().seed()?);
        let source = change(tx, id, revision, |source, now| {
            Some(source.with_secret(&secret, now))
        })
        .await?;
        Ok(IssuedSecret { source, secret })
    }

    /// The source of this name, if the secret is its own: how a host knows who calls its webhook.
    ///
    /// # Errors
    /// `Forbidden` when the tenant has no such source, the source has no secret, or another one.
    /// Which of these is not said.
    pub async fn authenticate(&self, ctx: &Context, name: &Name, secret: &str) -> Result<Source> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::ExecutionsSync).await?;
        let found = unit.sources().find_by_name(name).await?;
        let source = found.ok_or(SourceError::NotAuthentic)?;
        source.authenticate(secret)?;
        Ok(source)
    }

    /// A source by its id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, ctx: &Context, id: SourceId) -> Result<Source> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::WorkflowsRead).await?;
        let found = unit.sources().get(id).await?;
        found.ok_or_else(|| Error::not_found("source", id))
    }

    /// The source of this very name: case counts.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn find_by_name(&self, ctx: &Context, name: &Name) -> Result<Source> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::WorkflowsRead).await?;
        let found = unit.sources().find_by_name(name).await?;
        found.ok_or_else(|| Error::not_found("source", name))
    }

    /// The sources in the order of their names, by code point.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    pub async fn list(&self, ctx: &Context, page: &PageRequest) -> Result<Page<Source>> {
        page.key::<Name>()?;
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::WorkflowsRead).await?;
        Ok(unit.sources().page(page).await?)
    }
}

/// Changes a source, unless there is nothing to change.
async fn change(
    tx: &mut dyn Tx,
    id: SourceId,
    revision: i64,
    next: impl Fn(&Source, DateTime<Utc>) -> Option<Source> + Send,
) -> Result<Source> {
    authorize(tx, Permission::SourcesManage).await?;
    let now = tx.now();
    let found = tx.sources().get(id).await?;
    let source = found.ok_or_else(|| Error::not_found("source", id))?;
    must_be_present("source", revision, source.revision)?;
    match next(&source, now) {
        Some(next) => Ok(tx.sources().update(&next).await?),
        None => Ok(source),
    }
}

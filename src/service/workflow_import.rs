//! Brings a tenant's workflows in line with what their source shows.

use std::collections::HashMap;

use super::access::authorize;
use super::limit_notes::admit;
use super::workflows::{WorkflowOutcome, Workflows, write};
use crate::domain::access::Permission;
use crate::domain::context::Context;
use crate::domain::ids::SourceId;
use crate::domain::limits::{CountedRows, LimitError};
use crate::domain::text::ExternalId;
use crate::domain::workflow::{Workflow, WorkflowError, WorkflowSnapshot};
use crate::error::{Error, Result};
use crate::store::{Tx, on_conflict};

/// What became of one snapshot: what was done, or why nothing could be.
pub type Imported = Result<WorkflowOutcome, WorkflowError>;

impl Workflows {
    /// Brings workflows in line with what their source shows of them, and answers what became of
    /// each snapshot, in order. A workflow that is not known is created; one that is known gets the
    /// name, the settings, the tags, the state and, if it differs, the definition of the snapshot,
    /// as a new version.
    ///
    /// A snapshot that is refused stops none of the others: so is one of a workflow that is not
    /// known, where the tenant has as many as it may. A workflow in the archive refuses every
    /// snapshot and stays as it is. The same import again changes nothing and says so. Five
    /// statements, and one more for each workflow that changed.
    ///
    /// # Errors
    /// `NotFound` when the source is not registered.
    pub async fn import(
        &self,
        ctx: &Context,
        source: SourceId,
        snapshots: &[WorkflowSnapshot],
    ) -> Result<Vec<Imported>> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin(ctx).await?;
            let imported = self.import_in(&mut *unit, source, snapshots).await?;
            unit.commit().await?;
            Ok(imported)
        })
        .await
    }

    /// Imports in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Workflows::import`].
    pub async fn import_in(
        &self,
        tx: &mut dyn Tx,
        source: SourceId,
        snapshots: &[WorkflowSnapshot],
    ) -> Result<Vec<Imported>> {
        authorize(tx, Permission::WorkflowsWrite).await?;
        if tx.sources().get(source).await?.is_none() {
            return Err(Error::not_found("source", source));
        }
        let (by, now) = (tx.context().actor().user(), tx.now());
        let external: Vec<_> = snapshots
            .iter()
            .map(|snapshot| snapshot.external_id().clone())
            .collect();
        let found = tx.workflows().find_by_external(source, &external).await?;
        let mut known: HashMap<_, _> = by_external(found).collect();

        let mut missing = Vec::new();
        let mut made = HashMap::new();
        let mut refused = HashMap::new();
        let mut over_the_limit = HashMap::new();
        for (index, snapshot) in snapshots.iter().enumerate() {
            let external = snapshot.external_id();
            if known.contains_key(external) || made.contains_key(external) {
                continue;
            }
            let id = tx.ids().fresh();
            match Workflow::mirror(id, source, snapshot, by, now) {
                Ok(new) => {
                    made.insert(external, (index, id));
                    missing.push(new);
                }
                Err(reason) => {
                    refused.insert(index, reason);
                }
            }
        }
        if !missing.is_empty() {
            let asked = missing.len() as u64;
            if let Some(full) = admit(tx, CountedRows::Workflows, asked).await? {
                let granted = usize::try_from(full.granted).unwrap_or(usize::MAX);
                for over in missing.drain(granted.min(missing.len())..) {
                    over_the_limit.insert(over.workflow.id, LimitError::from(&full));
                }
            }
        }
        known.extend(by_external(tx.workflows().ensure_external(&missing).await?));

        let mut imported = Vec::with_capacity(snapshots.len());
        for (index, snapshot) in snapshots.iter().enumerate() {
            let external = snapshot.external_id();
            if let Some(reason) = refused.remove(&index) {
                imported.push(Err(reason));
                continue;
            }
            if !known.contains_key(external)
                && let Some((_, id)) = made.get(external)
                && let Some(reason) = over_the_limit.get(id)
            {
                imported.push(Err(LimitError::clone(reason).into()));
                continue;
            }
            let workflow = known
                .get_mut(external)
                .ok_or_else(|| Error::not_found("workflow", external))?;
            // Another unit may have been faster to create it: then it has another id.
            if made.get(external) == Some(&(index, workflow.id)) {
                imported.push(Ok(WorkflowOutcome::Created(workflow.clone())));
                continue;
            }
            imported.push(match workflow.follow(snapshot, by, now) {
                Ok(change) => {
                    let outcome = write(tx, workflow.clone(), change).await?;
                    outcome.workflow().clone_into(workflow);
                    Ok(outcome)
                }
                Err(reason) => Err(reason),
            });
        }
        Ok(imported)
    }
}

fn by_external(workflows: Vec<Workflow>) -> impl Iterator<Item = (ExternalId, Workflow)> {
    workflows
        .into_iter()
        .filter_map(|workflow| Some((workflow.external_id.clone()?, workflow)))
}

//! The check that every service makes before every act.
//!
//! Who may do what is the table of [`crate::domain::identity`]. A check of a user costs one
//! statement, which reads the tenant's state too; one of a service or of the system costs nothing.

use crate::domain::access::{Denied, Permission, Powers};
use crate::domain::context::Actor;
use crate::domain::identity::{Rights, UserStatus};
use crate::domain::ids::UserId;
use crate::error::{Error, Result};
use crate::store::Tx;

/// Checks that the unit's actor may do this, and answers what else they may do. A service and the
/// system may do everything; a person, what their roles allow and the tenant's state admits.
///
/// # Errors
/// `Forbidden`, with the permission that is missing or the state of the tenant.
pub(super) async fn authorize(tx: &mut dyn Tx, permission: Permission) -> Result<Powers> {
    let actor = tx.context().actor().clone();
    let Actor::User(user) = actor else {
        return Ok(Powers::unbounded(actor));
    };
    let rights = tx.roles().rights_of(user).await?;
    let permissions = rights.as_ref().map(Rights::permissions);
    let powers = Powers::bounded(actor, permissions.unwrap_or_default());
    powers.require(permission)?;
    if let Some(rights) = rights {
        rights.tenant.must_admit(permission)?;
    }
    Ok(powers)
}

/// Locks the tenant and then checks as [`authorize`] does: for rules over several rows, among
/// which are the actor's own roles. What was checked stays so until the unit ends.
///
/// # Errors
/// As [`authorize`]; `NotFound` when the tenant does not exist.
pub(super) async fn authorize_alone(tx: &mut dyn Tx, permission: Permission) -> Result<Powers> {
    let tenant = tx.context().tenant();
    if tx.tenants().lock().await?.is_none() {
        return Err(Error::not_found("tenant", tenant));
    }
    authorize(tx, permission).await
}

/// Checks as [`authorize`] does, but lets an active user act on themselves without the permission.
///
/// # Errors
/// As [`authorize`].
pub(super) async fn authorize_own(
    tx: &mut dyn Tx,
    whose: UserId,
    permission: Permission,
) -> Result<()> {
    let actor = tx.context().actor().clone();
    if actor != Actor::User(whose) {
        return authorize(tx, permission).await.map(drop);
    }
    let rights = tx.roles().rights_of(whose).await?;
    match rights.filter(|rights| rights.user == UserStatus::Active) {
        Some(rights) => Ok(rights.tenant.must_admit(permission)?),
        None => Err(Denied { actor, permission }.into()),
    }
}

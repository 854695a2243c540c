//! The check that every service makes before every act.

use crate::domain::access::{Denied, Permission};
use crate::domain::context::Actor;
use crate::error::Result;
use crate::store::Tx;

/// Checks that the unit's actor may do this. A service and the system may do everything; a person,
/// what their roles allow.
///
/// # Errors
/// `Forbidden`, with the permission that is missing.
pub(super) async fn authorize(tx: &mut dyn Tx, permission: Permission) -> Result<()> {
    match tx.context().actor() {
        Actor::Service(_) | Actor::System => Ok(()),
        actor @ Actor::User(_) => Err(Denied {
            actor: actor.clone(),
            permission,
        }
        .into()),
    }
}

//! The contract as an executable suite, for every backend through `dyn Store`.
//!
//! One case per sentence of the contract. The author of a backend implements [`Backend`] and
//! awaits [`run`] for each of [`areas`] in a test; a case fails by panicking.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a case fails by panicking"
)]

mod analytics;
mod catalogue;
mod execution_attachments;
mod execution_lists;
mod executions;
mod fixture;
mod limits;
mod metering;
mod meters;
mod outbox;
mod prices;
mod relay;
mod roles;
mod sources;
mod subscriptions;
mod tenants;
mod units;
mod users;
mod workflow_external;
mod workflow_lists;
mod workflows;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

pub use fixture::Fixture;

use super::{ManualClock, Store};

/// Makes fresh, empty stores.
#[async_trait]
pub trait Backend: Send + Sync {
    /// An empty store with this clock, with room for the month of its instant, the one before and
    /// two after.
    async fn fresh(&self, clock: Arc<ManualClock>) -> Arc<dyn Store>;
}

/// One sentence of the contract.
pub struct Case {
    /// The area of the contract: a file of this module.
    pub area: &'static str,
    /// The sentence, as a name.
    pub name: &'static str,
    run: fn(Fixture) -> BoxFuture<'static, ()>,
}

/// Lists the cases of one file.
macro_rules! list_cases {
    ($area:literal: $($name:ident),+ $(,)?) => {
        pub(super) fn cases() -> Vec<super::Case> {
            vec![$(super::Case {
                area: $area,
                name: stringify!($name),
                run: |fixture| Box::pin($name(fixture)),
            }),+]
        }
    };
}
use list_cases;

/// All cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    [
        units::cases(),
        tenants::cases(),
        users::cases(),
        roles::cases(),
        sources::cases(),
        workflows::cases(),
        workflow_external::cases(),
        workflow_lists::cases(),
        executions::cases(),
        execution_attachments::cases(),
        execution_lists::cases(),
        analytics::cases(),
        outbox::cases(),
        relay::cases(),
        metering::cases(),
        meters::cases(),
        catalogue::cases(),
        prices::cases(),
        subscriptions::cases(),
        limits::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The areas that have cases, in the order of [`cases`].
#[must_use]
pub fn areas() -> Vec<&'static str> {
    let mut areas: Vec<_> = cases().iter().map(|case| case.area).collect();
    areas.dedup();
    areas
}

/// Runs the cases of one area, each on a store of its own, and answers how many there were.
///
/// # Panics
/// After the last case, if one failed or there is no such area; the message names every case that
/// failed.
pub async fn run(backend: &dyn Backend, area: &str) -> usize {
    let cases: Vec<_> = cases()
        .into_iter()
        .filter(|case| case.area == area)
        .collect();
    assert!(!cases.is_empty(), "there are no cases in the area `{area}`");
    let mut failed = Vec::new();
    for case in &cases {
        let fixture = Fixture::new(backend).await;
        if AssertUnwindSafe((case.run)(fixture))
            .catch_unwind()
            .await
            .is_err()
        {
            failed.push(format!("{}::{}", case.area, case.name));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {} cases failed: {failed:?}",
        failed.len(),
        cases.len()
    );
    cases.len()
}

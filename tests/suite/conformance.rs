//! The contract, on every backend: one test per area and backend.

use std::sync::Arc;

use async_trait::async_trait;
use tenantry::memory::MemoryStore;
use tenantry::store::conformance::{Backend, areas, run};
use tenantry::store::{FixedEntropy, ManualClock, Store};

use crate::backend::{Login, Postgres};

struct Memory;

#[async_trait]
impl Backend for Memory {
    async fn fresh(&self, clock: Arc<ManualClock>) -> Arc<dyn Store> {
        Arc::new(MemoryStore::with(clock, Arc::new(FixedEntropy::new(1))))
    }
}

/// Makes a test per area and backend, and one that no area was forgotten.
macro_rules! areas {
    ($($area:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $area() {
                super::run(&super::Memory, stringify!($area)).await;
            })+
        }

        mod postgres_as_superuser {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $area() {
                super::run(&super::Postgres::new(super::Login::Superuser), stringify!($area)).await;
            })+
        }

        mod postgres_as_plain_role {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $area() {
                super::run(&super::Postgres::new(super::Login::Plain), stringify!($area)).await;
            })+
        }

        mod postgres_through_pooler {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $area() {
                super::run(&super::Postgres::new(super::Login::Pooler), stringify!($area)).await;
            })+
        }

        #[test]
        fn every_area_is_tested() {
            assert_eq!(areas(), [$(stringify!($area)),+]);
        }
    };
}

areas! {
    units,
    tenants,
    users,
    roles,
    sources,
    workflows,
    workflow_external,
    workflow_lists,
    executions,
    execution_attachments,
    execution_lists,
    analytics,
    outbox,
    relay,
    metering,
    meters,
    catalogue,
    prices,
    subscriptions,
    limits,
}

//! The data layer of a multi-tenant workflow platform: tenants and their users, workflows and
//! their executions, usage metering, analytics events, an audit trail, real-time messages; in
//! memory and on PostgreSQL.
//!
//! ```
//! use std::sync::Arc;
//! use tenantry::domain::execution::{ExecutionMode, ExecutionReport, ExecutionStatus};
//! use tenantry::domain::{tenancy::NewTenant, text::{ExternalId, Name}, workflow};
//! use tenantry::{memory::MemoryStore, Context, PlatformContext, Tenantry};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app = Tenantry::new(Arc::new(MemoryStore::new()));
//! let acme = app.tenants().create(&PlatformContext::system(), NewTenant::named("Acme")?).await?;
//! let ctx = Context::system(acme.id);
//! let source = app.sources().register(&ctx, Name::new("n8n, Frankfurt")?).await?;
//! # let now = tenantry::store::Clock::now(&tenantry::store::SystemClock);
//! # let policy = Default::default();
//! # let nodes = tenantry::domain::payload::Payload::new(r#"{"nodes":[],"connections":{}}"#, &policy)?;
//! let shown = workflow::WorkflowSnapshot::new(ExternalId::new("wf-1")?, "Order intake", nodes);
//! let (id, of) = (ExternalId::new("17")?, ExternalId::new("wf-1")?);
//! let report = ExecutionReport::new(id, of, ExecutionStatus::Success, ExecutionMode::Webhook, now)
//!     .with_stopped_at(now)
//!     .with_snapshot(shown);
//! let first = app.executions().sync(&ctx, source.id, &[report.clone()]).await?;
//! let again = app.executions().sync(&ctx, source.id, &[report]).await?;
//! assert_eq!((first.counts().stored, again.counts().known), (1, 1));
//! # Ok(())
//! # }
//! ```
//!
//! Pure rules are in [`domain`]; [`store`] is the contract of a backend, [`memory`] and
//! [`postgres`](https://docs.rs/tenantry) implement it; [`service`] holds the use cases, of which
//! [`Tenantry`] is the door. How it is built and why is in [`docs::architecture`].
//!
//! # Features
//! | feature | what it adds |
//! |---|---|
//! | `memory` (default) | the store in memory |
//! | `postgres` | the store on PostgreSQL 15 and later |
//! | `n8n` | the adapter for what n8n's API and hooks send |
//! | `conformance` | the contract as a suite, for authors of other stores |
//! | `fixtures` | builders for the tests of a service that embeds tenantry |
//! | `toml` | reads plans and prices from TOML too |
//! | `tracing` | spans around the pipeline and the migration, an event for each unit that is run again |

pub mod adapter;
pub mod docs;
pub mod domain;
mod error;
#[cfg(feature = "fixtures")]
pub mod fixtures;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod service;
pub mod store;

pub use domain::context::{Actor, Context, Origin, PlatformContext, ServiceName};
pub use error::{Error, ErrorKind, Result};
pub use service::Tenantry;

#[cfg(all(doctest, feature = "n8n", feature = "memory"))]
#[doc = include_str!("../README.md")]
struct Readme;

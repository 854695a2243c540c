//! Tests of the whole crate, in one binary: `cargo test --test suite AREA` runs one area.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]
#![allow(
    clippy::disallowed_methods,
    clippy::future_not_send,
    reason = "tests play the host, who begins transactions as sqlx does and awaits in place"
)]

#[cfg(feature = "postgres")]
mod backend;
#[cfg(feature = "postgres")]
mod catalogue;
#[cfg(all(feature = "conformance", feature = "postgres"))]
mod conformance;
#[cfg(feature = "postgres")]
mod differential;
#[cfg(all(feature = "fixtures", feature = "postgres"))]
mod fixtures;
#[cfg(feature = "postgres")]
mod identity;
#[cfg(feature = "postgres")]
mod isolation;
#[cfg(feature = "postgres")]
mod join;
mod layering;
#[cfg(feature = "postgres")]
mod limits;
#[cfg(feature = "postgres")]
mod metering;
#[cfg(feature = "postgres")]
mod migration;
#[cfg(feature = "postgres")]
mod outbox;
#[cfg(feature = "postgres")]
mod pipeline;
#[cfg(feature = "postgres")]
mod pooler;
#[cfg(all(feature = "postgres", feature = "n8n"))]
mod quickstart;
#[cfg(feature = "postgres")]
mod subscriptions;
#[cfg(feature = "postgres")]
mod support;
#[cfg(feature = "postgres")]
mod tls;
mod vectors;
#[cfg(all(feature = "postgres", feature = "n8n"))]
mod workflows;

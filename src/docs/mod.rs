//! Texts: how tenantry is built and why, how it is operated, what changed.

/// How tenantry is built, and why.
#[doc = include_str!("architecture.md")]
pub mod architecture {}

/// How amounts of money are computed, with an example for each rule.
#[doc = include_str!("billing.md")]
pub mod billing {}

/// How a host runs tenantry on PostgreSQL.
#[doc = include_str!("operation.md")]
pub mod operation {}

/// What changed from version to version.
#[doc = include_str!("changelog.md")]
pub mod changelog {}

//! Types, state machines, arithmetic and policies: pure functions of their arguments.
//!
//! Deliberately absent: `async`, a clock, a random source, a store, SQL.

pub mod access;
pub mod analytics;
pub mod audit;
pub mod billing_cycle;
pub mod catalogue;
pub mod commitment;
pub mod context;
mod decimal;
pub mod discount;
pub mod execution;
pub mod identity;
pub mod ids;
pub mod json;
pub mod limits;
pub mod metering;
pub mod money;
pub mod outbox;
pub mod page;
pub mod payload;
pub mod percent;
pub mod prepaid;
pub mod pricing;
pub mod proration;
pub mod redaction;
pub mod rerate;
pub mod source;
pub mod subscription;
pub mod tax;
pub mod tenancy;
pub mod text;
pub mod time;
pub mod totals;
pub mod workflow;

//! Types, state machines, arithmetic and policies: pure functions of their arguments.
//!
//! Deliberately absent: `async`, a clock, a random source, a store, SQL.

pub mod access;
pub mod analytics;
pub mod audit;
pub mod context;
pub mod execution;
pub mod identity;
pub mod ids;
pub mod json;
pub mod metering;
pub mod money;
pub mod outbox;
pub mod page;
pub mod payload;
pub mod redaction;
pub mod source;
pub mod tenancy;
pub mod text;
pub mod time;
pub mod workflow;

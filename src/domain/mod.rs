//! Types, state machines, arithmetic and policies: pure functions of their arguments.
//!
//! Deliberately absent: `async`, a clock, a random source, a store, SQL.

pub mod execution;
pub mod ids;
pub mod json;
pub mod payload;
pub mod redaction;
pub mod text;
pub mod time;
pub mod workflow;

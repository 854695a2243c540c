//! Types, state machines, arithmetic and policies: pure functions of their arguments.
//!
//! Deliberately absent: `async`, a clock, a random source, a store, SQL.

pub mod access;
pub mod audit;
pub mod context;
pub mod ids;
pub mod json;
pub mod money;
pub mod page;
pub mod tenancy;
pub mod text;
pub mod time;

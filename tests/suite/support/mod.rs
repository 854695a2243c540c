//! What the tests stand on: a throw-away PostgreSQL and a throw-away pgbouncer.

pub(crate) mod pgbouncer;
pub(crate) mod postgres;
mod tests;

//! What the benchmarks share: ratios, and a PostgreSQL whose commits wait for the disk.

#![allow(
    dead_code,
    unused_imports,
    reason = "every benchmark is a crate of its own and uses a part of this"
)]

pub(crate) mod database;
#[path = "../../tests/suite/support/postgres/mod.rs"]
pub(crate) mod postgres;
pub(crate) mod psql;
mod ratios;

pub(crate) use ratios::Ratios;

//! The data layer of a multi-tenant workflow platform.

pub mod adapter;
pub mod domain;

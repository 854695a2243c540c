//! The data layer of a multi-tenant workflow platform.

pub mod adapter;
pub mod domain;
mod error;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod service;
pub mod store;

pub use domain::context::{Actor, Context, Origin, PlatformContext, ServiceName};
pub use error::{Error, ErrorKind, Result};
pub use service::Tenantry;

//! Tenants cannot see, change or sense each other, whatever the caller does.

mod cancellation;
mod lint;
mod probe;

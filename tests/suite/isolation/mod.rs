//! Tenants cannot see, change or sense each other, whatever the caller does.

mod cancellation;
mod cancelled_services;
mod lint;
mod probe;
mod slow;

//! What other systems send, parsed into domain values.
//!
//! Deliberately absent: I/O. An adapter is given text and gives back values; who fetches the text,
//! and what becomes of the values, is the host's and the services' affair.

#[cfg(feature = "n8n")]
pub mod n8n;

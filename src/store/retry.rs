//! Runs a whole unit of work again when it lost a race.

use std::time::Duration;

use super::Store;

/// How often a unit is tried before its conflict is reported.
pub const TRIES: u32 = 10;

/// An error that says whether running the whole unit again may succeed.
pub trait Retryable {
    /// Whether running the whole unit again may succeed.
    fn is_retryable(&self) -> bool;
}

impl Retryable for super::StoreError {
    fn is_retryable(&self) -> bool {
        Self::is_retryable(self)
    }
}

/// Runs `attempt`, which begins, works and commits, again while it fails with a conflict, at most
/// [`TRIES`] times.
///
/// Waits longer before each try, from about 2 ms to about 200 ms, each time a random half of it.
///
/// # Errors
/// The first error that is not a conflict, or the last conflict.
pub async fn on_conflict<T, E, F, Fut>(store: &dyn Store, attempt: F) -> Result<T, E>
where
    T: Send,
    E: Retryable + Send,
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<T, E>> + Send,
{
    for round in 0..TRIES.saturating_sub(1) {
        match attempt().await {
            Err(error) if error.is_retryable() => {
                #[cfg(feature = "tracing")]
                tracing::debug!(round, "a unit of work lost a race and is run again");
                store.sleeper().sleep(delay(store, round)).await;
            }
            done => return done,
        }
    }
    attempt().await
}

fn delay(store: &dyn Store, round: u32) -> Duration {
    let longest = 2_000_u64.saturating_mul(1 << round.min(16)).min(200_000);
    let random = match store.entropy().seed() {
        Ok([first, second, ..]) => u64::from(u16::from_be_bytes([first, second])),
        Err(_) => 0,
    };
    Duration::from_micros(longest / 2 + longest / 2 * random / u64::from(u16::MAX))
}

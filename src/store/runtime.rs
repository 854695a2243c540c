//! What a store takes from its surroundings: time, randomness and waiting.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::error::{StoreError, StoreErrorKind, StoreResult};
use crate::domain::time::micros;

/// Tells the time. A unit of work reads it once, when it begins.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clock"
    )]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A clock that stands still until it is moved: for tests and replays.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `instant`, to the microsecond.
    #[must_use]
    pub fn at(instant: DateTime<Utc>) -> Self {
        Self(AtomicI64::new(instant.timestamp_micros()))
    }

    /// Moves the clock, forward or back.
    pub fn advance(&self, by: TimeDelta) {
        self.0
            .fetch_add(by.num_microseconds().unwrap_or(0), Ordering::Relaxed);
    }

    /// Sets the clock.
    pub fn set(&self, instant: DateTime<Utc>) {
        self.0.store(instant.timestamp_micros(), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0.load(Ordering::Relaxed)).unwrap_or_default()
    }
}

/// Gives the seed of each unit's ids.
pub trait Entropy: Debug + Send + Sync + 'static {
    /// 32 bytes that nobody can guess.
    ///
    /// # Errors
    /// `Unavailable` when the operating system gives none.
    fn seed(&self) -> StoreResult<[u8; 32]>;
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one place that asks for randomness"
    )]
    fn seed(&self) -> StoreResult<[u8; 32]> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| {
            StoreError::new(StoreErrorKind::Unavailable, "entropy.seed").with_source(error)
        })?;
        Ok(seed)
    }
}

/// Counts up from a seed, so that a test sees the same ids in every run.
#[derive(Debug, Default)]
pub struct FixedEntropy(AtomicU64);

impl FixedEntropy {
    /// Begins at `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Entropy for FixedEntropy {
    fn seed(&self) -> StoreResult<[u8; 32]> {
        let count = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut seed = [0; 32];
        for (to, from) in seed.iter_mut().zip(count) {
            *to = from;
        }
        Ok(seed)
    }
}

/// Waits between two tries; given by the host, so that the core needs no runtime.
#[async_trait]
pub trait Sleeper: Debug + Send + Sync + 'static {
    /// Returns after about this time.
    async fn sleep(&self, time: Duration);
}

/// Does not wait: lets other tasks run once and goes on. Right where a conflict is over as soon
/// as the other unit has committed, as in memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct YieldSleeper;

#[async_trait]
impl Sleeper for YieldSleeper {
    async fn sleep(&self, _: Duration) {
        let mut yielded = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

/// Waits on a thread of its own: for waits of a second or more where no runtime's timer is at hand,
/// such as a relay's between two looks. A wait that is dropped leaves its thread until it is over.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThreadSleeper;

#[async_trait]
impl Sleeper for ThreadSleeper {
    async fn sleep(&self, time: Duration) {
        let alarm = Arc::new(Mutex::new(Alarm::default()));
        let set = Arc::clone(&alarm);
        let ring = move || {
            std::thread::sleep(time);
            let waker = {
                let mut alarm = set.lock().unwrap_or_else(PoisonError::into_inner);
                alarm.over = true;
                alarm.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        let name = "tenantry-sleeper".to_owned();
        if std::thread::Builder::new().name(name).spawn(ring).is_err() {
            // No thread is to be had: too short a wait is better than one without an end.
            return YieldSleeper.sleep(time).await;
        }
        std::future::poll_fn(|context| {
            let mut alarm = alarm.lock().unwrap_or_else(PoisonError::into_inner);
            if alarm.over {
                return Poll::Ready(());
            }
            alarm.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[derive(Debug, Default)]
struct Alarm {
    over: bool,
    waker: Option<Waker>,
}

/// The time at which a unit begins, as it is stored.
#[must_use]
pub fn unit_time(clock: &dyn Clock) -> DateTime<Utc> {
    micros(clock.now())
}

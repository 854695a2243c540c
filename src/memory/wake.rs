//! Tells relays in the same process of new messages.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use async_trait::async_trait;

use super::MemoryStore;
use crate::store::Wake;

/// Rung by every commit that wrote messages.
#[derive(Debug, Default)]
pub(super) struct Bell(Mutex<Rung>);

#[derive(Debug, Default)]
struct Rung {
    times: u64,
    waiting: Vec<Waker>,
}

impl Bell {
    pub(super) fn ring(&self) {
        let waiting = {
            let mut rung = self.rung();
            rung.times += 1;
            std::mem::take(&mut rung.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    fn rung(&self) -> MutexGuard<'_, Rung> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes a relay when a unit of this store has written messages.
pub struct MemoryWake {
    bell: Arc<Bell>,
    heard: AtomicU64,
}

impl fmt::Debug for MemoryWake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryWake").finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// Makes a handle that wakes one relay. Each relay needs its own.
    #[must_use]
    pub fn wake(&self) -> MemoryWake {
        let bell = Arc::clone(&self.shared.bell);
        let heard = AtomicU64::new(bell.rung().times);
        MemoryWake { bell, heard }
    }
}

#[async_trait]
impl Wake for MemoryWake {
    async fn wait(&self) {
        poll_fn(|context| {
            let mut rung = self.bell.rung();
            if self.heard.swap(rung.times, Ordering::Relaxed) != rung.times {
                return Poll::Ready(());
            }
            // Waits that were dropped leave their waker behind; the next one takes its place.
            if !rung
                .waiting
                .iter()
                .any(|other| other.will_wake(context.waker()))
            {
                rung.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

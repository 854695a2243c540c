//! Several futures at once in one task, without a runtime.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Runs the futures of an iterator, at most `limit` at a time.
pub(super) struct Concurrent<I: Iterator> {
    source: I,
    running: Vec<Pin<Box<I::Item>>>,
    limit: usize,
}

impl<I, F> Concurrent<I>
where
    I: Iterator<Item = F>,
    F: Future,
{
    pub(super) fn new(source: I, limit: usize) -> Self {
        Self {
            source,
            running: Vec::new(),
            limit: limit.max(1),
        }
    }

    /// Waits until at least one has finished, and answers all that have. Nothing once all are
    /// done.
    pub(super) async fn finished(&mut self) -> Vec<F::Output> {
        poll_fn(|context| {
            let (mut finished, mut place) = (Vec::new(), 0);
            self.start();
            while let Some(future) = self.running.get_mut(place) {
                match future.as_mut().poll(context) {
                    Poll::Pending => place += 1,
                    Poll::Ready(output) => {
                        drop(self.running.swap_remove(place));
                        finished.push(output);
                        self.start();
                    }
                }
            }
            if finished.is_empty() && !self.running.is_empty() {
                Poll::Pending
            } else {
                Poll::Ready(finished)
            }
        })
        .await
    }

    fn start(&mut self) {
        let room = self.limit - self.running.len();
        self.running
            .extend(self.source.by_ref().take(room).map(Box::pin));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::Relaxed;
    use std::task::{Context, Waker};

    use super::*;

    /// Finishes when it is polled for the n-th time, and counts how many run.
    async fn slow(polls: u32, running: &AtomicU32, most: &AtomicU32) -> u32 {
        most.fetch_max(running.fetch_add(1, Relaxed) + 1, Relaxed);
        let mut left = polls;
        poll_fn(|_| {
            left -= 1;
            if left == 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        running.fetch_sub(1, Relaxed);
        polls
    }

    #[test]
    fn all_finish_and_never_too_many_run() {
        let (running, most) = (AtomicU32::new(0), AtomicU32::new(0));
        let futures = [3, 1, 1, 2, 1].map(|polls| slow(polls, &running, &most));
        let mut all = Concurrent::new(futures.into_iter(), 2);
        let mut context = Context::from_waker(Waker::noop());
        let mut rounds = Vec::new();
        for _ in 0..4 {
            if let Poll::Ready(finished) = std::pin::pin!(all.finished()).poll(&mut context) {
                rounds.push(finished);
            }
        }
        assert_eq!(rounds, [vec![1, 1], vec![2, 1], vec![3], vec![]]);
        assert_eq!((running.load(Relaxed), most.load(Relaxed)), (0, 2));
    }
}

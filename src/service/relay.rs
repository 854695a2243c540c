//! The relay: takes messages from the outbox and hands them to the host's publisher.

use std::fmt;
use std::future::poll_fn;
use std::ops::AddAssign;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::concurrent::Concurrent;
use super::outbox::{PRUNED_AT_ONCE, prune_some};
use crate::domain::context::PlatformContext;
use crate::domain::ids::LeaseId;
use crate::domain::outbox::{Claim, Delivery, LeaseHeld, RetryPolicy, Settlement, StreamId, Then};
use crate::error::Result;
use crate::store::{Sleeper, Store, ThreadSleeper, Wake, on_conflict};

/// How often a relay that runs on looks for messages to prune.
const PRUNE_EVERY: TimeDelta = TimeDelta::hours(1);

/// Where messages go: the host's websockets, its message broker, its webhooks.
///
/// A message may come more than once, with the same [`Delivery::sequence`]. Messages of one key
/// come one after the other; messages of different keys come at once. A call that may hang must
/// bound itself, well below the relay's lease.
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Publishes a message. When it answers, the message is out of the relay's hands.
    ///
    /// # Errors
    /// [`PublishError`], which says whether another try makes sense.
    async fn publish(&self, delivery: &Delivery) -> Result<(), PublishError>;
}

/// Why a message could not be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct PublishError {
    reason: String,
    permanent: bool,
}

impl PublishError {
    /// A failure that may pass: the message is tried again later. Of the reason the first 1,000
    /// characters are kept, for operators.
    #[must_use]
    pub fn new(reason: impl fmt::Display) -> Self {
        Self {
            reason: reason.to_string(),
            permanent: false,
        }
    }

    /// A failure that will not pass: the message is parked at once.
    #[must_use]
    pub fn permanent(reason: impl fmt::Display) -> Self {
        Self {
            permanent: true,
            ..Self::new(reason)
        }
    }
}

/// What a relay did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[must_use]
pub struct RelayReport {
    /// Messages that were published.
    pub published: u64,
    /// Tries in vain after which a message waits for its next one.
    pub failed: u64,
    /// Keys that were parked.
    pub parked: u64,
    /// Keys whose lease ended before they were settled: their messages will come again.
    pub lost: u64,
}

impl AddAssign for RelayReport {
    fn add_assign(&mut self, other: Self) {
        self.published += other.published;
        self.failed += other.failed;
        self.parked += other.parked;
        self.lost += other.lost;
    }
}

/// Publishes the messages of all tenants, at least once each, those of a key in their order.
///
/// Any number of relays may run, in one process or in several. A batch is claimed in one unit of
/// work, published outside of any, and settled in others, so that no transaction waits for a
/// publisher. A relay that goes down in between holds its keys until its lease ends; then others
/// publish the same messages, again perhaps.
#[must_use]
pub struct Relay {
    store: Arc<dyn Store>,
    publisher: Arc<dyn Publisher>,
    context: PlatformContext,
    retry: RetryPolicy,
    lease: Duration,
    batch: usize,
    concurrency: usize,
    poll: Duration,
    keep: Duration,
    wake: Option<Arc<dyn Wake>>,
    sleeper: Arc<dyn Sleeper>,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("retry", &self.retry)
            .field("lease", &self.lease)
            .field("batch", &self.batch)
            .field("concurrency", &self.concurrency)
            .field("poll", &self.poll)
            .field("keep", &self.keep)
            .field("wake", &self.wake)
            .finish_non_exhaustive()
    }
}

impl Relay {
    pub(super) fn new(store: Arc<dyn Store>, publisher: Arc<dyn Publisher>) -> Self {
        Self {
            store,
            publisher,
            context: PlatformContext::system().because("relay"),
            retry: RetryPolicy::default(),
            lease: Duration::from_secs(60),
            batch: 200,
            concurrency: 32,
            poll: Duration::from_secs(1),
            keep: Duration::from_secs(7 * 24 * 3600),
            wake: None,
            sleeper: Arc::new(ThreadSleeper),
        }
    }

    /// How often and how soon a message is tried again.
    pub fn retry(self, retry: RetryPolicy) -> Self {
        Self { retry, ..self }
    }

    /// How long a claimed key is this relay's: a minute unless said otherwise, at least a second.
    /// In the last quarter no message is begun any more.
    pub fn lease(self, lease: Duration) -> Self {
        let lease = lease.max(Duration::from_secs(1));
        Self { lease, ..self }
    }

    /// How many messages are claimed at once: 200 unless said otherwise, from 1 to 5,000.
    pub fn batch(self, batch: usize) -> Self {
        let batch = batch.clamp(1, 5_000);
        Self { batch, ..self }
    }

    /// How many keys are published at once: 32 unless said otherwise.
    pub fn concurrency(self, concurrency: usize) -> Self {
        Self {
            concurrency,
            ..self
        }
    }

    /// How long a relay that runs on waits at most before it looks again: a second unless said
    /// otherwise.
    pub fn poll(self, poll: Duration) -> Self {
        Self { poll, ..self }
    }

    /// How long published messages are kept by a relay that runs on: a week unless said otherwise.
    pub fn keep(self, keep: Duration) -> Self {
        Self { keep, ..self }
    }

    /// What tells this relay of new messages, so that it need not wait for its next look.
    pub fn wake(self, wake: Arc<dyn Wake>) -> Self {
        let wake = Some(wake);
        Self { wake, ..self }
    }

    /// What a relay that runs on waits with: a thread that sleeps unless said otherwise. A host
    /// with a runtime has something lighter.
    pub fn sleeper(self, sleeper: Arc<dyn Sleeper>) -> Self {
        Self { sleeper, ..self }
    }

    /// Publishes until nothing is due.
    ///
    /// Dropping the future loses nothing: what it held comes again when the lease ends.
    ///
    /// # Errors
    /// Those of the store, never the publisher's.
    pub async fn run_once(&self) -> Result<RelayReport> {
        let mut total = RelayReport::default();
        while let Some(report) = self.batch_once().await? {
            total += report;
        }
        Ok(total)
    }

    /// Publishes whenever something is due, and removes what was published long ago, until `stop`
    /// is done. The batch in hand is finished first.
    ///
    /// While the store cannot be reached, it looks again at every poll.
    ///
    /// # Errors
    /// Those of the store that do not pass, such as a row that cannot be read.
    pub async fn run_until(&self, stop: impl Future<Output = ()> + Send) -> Result<RelayReport> {
        let (mut stop, mut total) = (pin!(stop), RelayReport::default());
        let mut timer = self.sleeper.sleep(self.poll);
        let mut next_prune = self.store.clock().now();
        loop {
            let busy = match self.work(&mut next_prune).await {
                Ok(Some(report)) => {
                    total += report;
                    true
                }
                Ok(None) => false,
                Err(error) if error.is_retryable() => false,
                Err(error) => return Err(error),
            };
            match self.rest(busy, stop.as_mut(), timer.as_mut()).await {
                Rest::Stop => return Ok(total),
                Rest::GoOn => {}
                Rest::Over => timer = self.sleeper.sleep(self.poll),
            }
        }
    }

    /// One batch, or if there is none, some pruning; `None` when there is nothing to do.
    async fn work(&self, next_prune: &mut DateTime<Utc>) -> Result<Option<RelayReport>> {
        if let Some(report) = self.batch_once().await? {
            return Ok(Some(report));
        }
        let now = self.store.clock().now();
        let keep = TimeDelta::from_std(self.keep).unwrap_or(TimeDelta::MAX);
        let Some(before) = now.checked_sub_signed(keep).filter(|_| now >= *next_prune) else {
            return Ok(None);
        };
        let removed = prune_some(&*self.store, &self.context, before).await?;
        if removed < PRUNED_AT_ONCE as u64 {
            *next_prune = now + PRUNE_EVERY;
            return Ok(None);
        }
        Ok(Some(RelayReport::default()))
    }

    /// Waits for a wake or the timer, unless there was something to do; sees whether to stop.
    async fn rest(
        &self,
        busy: bool,
        mut stop: Pin<&mut (impl Future<Output = ()> + Send)>,
        mut timer: Pin<&mut (dyn Future<Output = ()> + Send + '_)>,
    ) -> Rest {
        let mut woken = self.wake.as_ref().map(|wake| wake.wait());
        let mut yielded = false;
        poll_fn(|context| {
            if stop.as_mut().poll(context).is_ready() {
                return Poll::Ready(Rest::Stop);
            }
            if busy && yielded {
                return Poll::Ready(Rest::GoOn);
            }
            if busy {
                // A store in memory never lets other tasks run by itself.
                yielded = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if timer.as_mut().poll(context).is_ready() {
                return Poll::Ready(Rest::Over);
            }
            match &mut woken {
                Some(woken) => woken.as_mut().poll(context).map(|()| Rest::GoOn),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Claims, publishes and settles one batch; `None` when nothing is due.
    async fn batch_once(&self) -> Result<Option<RelayReport>> {
        let claim = self.claim().await?;
        if claim.is_idle() {
            return Ok(None);
        }
        let mut report = RelayReport::default();
        let streams = claim
            .deliveries
            .chunk_by(|one, other| (one.tenant, &one.key) == (other.tenant, &other.key));
        // A list, since futures that hold a closure over references are not `Send` for a caller.
        let mut work = Vec::new();
        for (head, rest) in streams.filter_map(<[Delivery]>::split_first) {
            work.push(self.deliver(claim.until, head, rest));
        }
        let mut work = Concurrent::new(work.into_iter(), self.concurrency);
        loop {
            let done = work.finished().await;
            if done.is_empty() {
                return Ok(Some(report));
            }
            report += self.settle(claim.lease, done).await?;
        }
    }

    async fn claim(&self) -> Result<Claim> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin_platform(&self.context).await?;
            let claim = unit.relay().claim(self.lease, self.batch).await?;
            unit.commit().await?;
            Ok(claim)
        })
        .await
    }

    /// Publishes messages of one key in their order, up to the first that fails.
    async fn deliver(&self, until: DateTime<Utc>, head: &Delivery, rest: &[Delivery]) -> Done {
        let last_quarter = TimeDelta::from_std(self.lease / 4).unwrap_or_default();
        let begin_before = until - last_quarter;
        let (mut published, mut then) = (0, Then::GiveBack);
        for delivery in std::iter::once(head).chain(rest) {
            if self.store.clock().now() >= begin_before {
                break;
            }
            if let Some(park) = self.retry.before_attempt(delivery.attempt) {
                then = park;
                break;
            }
            match self.publisher.publish(delivery).await {
                Ok(()) => published += 1,
                Err(error) => {
                    then = self.after(&error, delivery.attempt);
                    break;
                }
            }
        }
        let stream = StreamId {
            tenant: head.tenant,
            key: head.key.clone(),
        };
        let settlement = Settlement {
            stream,
            through: head.sequence - 1 + published,
            then,
        };
        Done {
            settlement,
            published,
        }
    }

    fn after(&self, error: &PublishError, attempt: u32) -> Then {
        if error.permanent {
            return Then::park(&error.reason);
        }
        let jitter = match self.store.entropy().seed() {
            Ok([first, second, ..]) => u16::from_be_bytes([first, second]),
            Err(_) => u16::MAX,
        };
        let now = self.store.clock().now();
        self.retry
            .after_failure(attempt, now, jitter, &error.reason)
    }

    async fn settle(&self, lease: LeaseId, done: Vec<Done>) -> Result<RelayReport> {
        let (settlements, published): (Vec<_>, Vec<_>) = done
            .into_iter()
            .map(|done| (done.settlement, done.published))
            .unzip();
        let settled: Result<Vec<LeaseHeld>> = on_conflict(&*self.store, || async {
            let mut unit = self.store.begin_platform(&self.context).await?;
            let held = unit.relay().settle(lease, &settlements).await?;
            unit.commit().await?;
            Ok(held)
        })
        .await;
        let held = settled?;
        let mut report = RelayReport::default();
        for ((held, settlement), published) in held.iter().zip(&settlements).zip(published) {
            if *held == LeaseHeld::Lost {
                report.lost += 1;
                continue;
            }
            report.published += published.unsigned_abs();
            match settlement.then {
                Then::GiveBack => {}
                Then::Retry { .. } => report.failed += 1,
                Then::Park { .. } => report.parked += 1,
            }
        }
        Ok(report)
    }
}

/// What was done with one key.
struct Done {
    settlement: Settlement,
    published: i64,
}

/// Why a relay that runs on does not rest any more.
enum Rest {
    Stop,
    GoOn,
    Over,
}

//! NOTIFY and LISTEN: relays hear of new messages without polling.
//!
//! NOTIFY inside a transaction holds a lock of the whole cluster through its commit, so that such
//! commits follow each other one by one: measured with 16 connections that commit small units, 500
//! a second against 3,300 without. So a unit does not notify. The store does, after the commit and
//! in a transaction of its own that writes nothing, once for all units that commit within a few
//! milliseconds. What is lost with a process is a hint; relays also poll.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::Mutex;

use super::PgStore;
use super::error::store_error;
use crate::store::{StoreResult, Wake};

const CHANNEL: &str = "tenantry_outbox";
/// How long commits are gathered for one notification.
const GATHER: Duration = Duration::from_millis(5);
/// How long to wait before a listener that cannot connect tries again.
const PAUSE: Duration = Duration::from_secs(5);

/// Rung after every commit that wrote messages. Clones ring the same bell.
#[derive(Debug, Clone)]
pub(super) struct Bell {
    pool: PgPool,
    /// Whether a notification is on its way that will tell of this commit, too.
    rung: Arc<AtomicBool>,
}

impl Bell {
    pub(super) fn new(pool: PgPool) -> Self {
        Self {
            pool,
            rung: Arc::default(),
        }
    }

    pub(super) fn ring(&self) {
        if self.rung.swap(true, Ordering::SeqCst) {
            return;
        }
        let bell = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(GATHER).await;
            bell.rung.store(false, Ordering::SeqCst);
            // A hint that is lost costs a poll's delay, so its error is nobody's business.
            let _ = notify(&bell.pool).await;
        });
    }
}

/// One message of the simple protocol, which a pooler in transaction mode passes on as a whole.
async fn notify(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("NOTIFY tenantry_outbox")
        .execute(pool)
        .await
        .map(drop)
}

/// Wakes a relay when messages were written in any process.
pub struct PgWake {
    pool: PgPool,
    listener: Mutex<Option<PgListener>>,
}

impl fmt::Debug for PgWake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgWake").finish_non_exhaustive()
    }
}

impl PgStore {
    /// Listens for new messages, on one connection of its own that is kept open. Each relay needs
    /// its own.
    ///
    /// The options must lead to the server itself: a pooler in transaction mode passes no
    /// notifications on.
    ///
    /// # Errors
    /// `Unavailable` when the server cannot be reached.
    pub async fn listen(options: PgConnectOptions) -> StoreResult<PgWake> {
        const OPERATION: &str = "listen";
        let failed = |error| store_error(OPERATION, error);
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await
            .map_err(failed)?;
        let listener = listener(&pool).await.map_err(failed)?;
        Ok(PgWake {
            pool,
            listener: Mutex::new(Some(listener)),
        })
    }

    /// Wakes the relays. A store does so by itself after the commit of a unit that wrote messages;
    /// a host calls it after the commit of a transaction that a unit has joined.
    ///
    /// # Errors
    /// `Unavailable` when the server cannot be reached.
    pub async fn wake_relays(&self) -> StoreResult<()> {
        notify(&self.pool)
            .await
            .map_err(|error| store_error("wake_relays", error))
    }
}

async fn listener(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.ignore_pool_close_event(true);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

#[async_trait]
impl Wake for PgWake {
    async fn wait(&self) {
        let mut held = self.listener.lock().await;
        if held.is_none() {
            match listener(&self.pool).await {
                // Something may have been written while nobody listened.
                Ok(new) => return *held = Some(new),
                Err(_) => return tokio::time::sleep(PAUSE).await,
            }
        }
        let Some(listener) = held.as_mut() else {
            return;
        };
        match listener.try_recv().await {
            // A notification, or a connection that was lost and is back.
            Ok(_) => while listener.next_buffered().is_some() {},
            Err(_) => *held = None,
        }
    }
}

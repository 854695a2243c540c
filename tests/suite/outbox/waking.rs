//! Relays that are woken, and those that look by themselves.

use super::*;

/// Never lets a relay look by itself.
#[derive(Debug)]
struct Asleep;

#[async_trait]
impl Sleeper for Asleep {
    async fn sleep(&self, _: Duration) {
        pending().await
    }
}

/// Runs a relay while `work` goes on.
async fn while_it_runs(relay: Relay, work: impl Future<Output = ()>) -> RelayReport {
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async {
        let _ = stopped.await;
    };
    let running = tokio::spawn(async move { relay.run_until(stopped).await.unwrap() });
    work.await;
    stop.send(()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), running).await;
    ended.expect("the relay stops when it is told to").unwrap()
}

async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_woken_by_a_commit() {
    on_both(async |scene| {
        let ctx = scene.tenant("t").await;
        let recorder = Recorder::new();
        let relay = scene.relay(&recorder).sleeper(Arc::new(Asleep));
        let relay = relay.wake(scene.wake().await);
        let work = async {
            for number in 1..=3 {
                // Long enough for the relay to have seen that there is nothing to do.
                tokio::time::sleep(Duration::from_millis(100)).await;
                scene.send(&ctx, "a", number..=number).await;
                let arrived = || recorder.published.lock().unwrap().len() == number;
                until("the delivery", arrived).await;
            }
        };
        assert_eq!(while_it_runs(relay, work).await.published, 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_nobody_wakes_looks_by_itself_and_prunes() {
    on_both(async |scene| {
        let ctx = scene.tenant("t").await;
        let recorder = Recorder::new();
        let relay = || {
            let relay = scene.relay(&recorder).poll(Duration::from_millis(20));
            relay.keep(Duration::from_secs(3600))
        };
        let key = MessageKey::new("a").unwrap();
        let outbox = scene.app.outbox();
        let kept = async || {
            let page = outbox
                .history(&ctx, &key, &PageRequest::default())
                .await
                .unwrap();
            page.items.len()
        };
        let work = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            scene.send(&ctx, "a", 1..=2).await;
            until("the delivery", || {
                recorder.published.lock().unwrap().len() == 2
            })
            .await;
        };
        assert_eq!(while_it_runs(relay(), work).await.published, 2);
        assert_eq!(kept().await, 2);
        scene.clock.advance(TimeDelta::minutes(61));
        let work = async {
            scene.send(&ctx, "a", 3..=3).await;
            until("the delivery", || {
                recorder.published.lock().unwrap().len() == 3
            })
            .await;
            for _ in 0..500 {
                if kept().await == 1 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            panic!("old messages are still there");
        };
        let _ = while_it_runs(relay(), work).await;
        let old = scene.clock_now() + TimeDelta::seconds(1);
        let system = PlatformContext::system();
        assert_eq!(outbox.prune(&system, old).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_relay_stops_when_it_is_told_to() {
    on_both(async |scene| {
        let ctx = scene.tenant("t").await;
        scene.send(&ctx, "a", 1..=1_000).await;
        let recorder = Recorder::new();
        let relay = scene.relay(&recorder).batch(10);
        let work = async {
            until("a delivery", || {
                !recorder.published.lock().unwrap().is_empty()
            })
            .await;
        };
        let report = while_it_runs(relay, work).await;
        let published = recorder.take().len();
        assert_eq!(
            report.published, published as u64,
            "the batch in hand was settled"
        );
        assert_eq!(scene.lag().await.pending, 1_000 - published as u64);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_wakes_relays_after_its_own_transaction() {
    let scene = Scene::on_postgres().await;
    let store = &scene.database.as_ref().unwrap().store;
    let ctx = scene.tenant("t").await;
    let recorder = Recorder::new();
    let relay = scene.relay(&recorder).sleeper(Arc::new(Asleep));
    let relay = relay.wake(scene.wake().await);
    let work = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut transaction = store.pool().begin().await.unwrap();
        let mut joined = store.join(&mut transaction, &ctx).await.unwrap();
        let messages = [message("a", 1)];
        scene
            .app
            .outbox()
            .send_in(&mut *joined, &messages)
            .await
            .unwrap();
        joined.leave().await.unwrap();
        transaction.commit().await.unwrap();
        store.wake_relays().await.unwrap();
        until("the delivery", || {
            !recorder.published.lock().unwrap().is_empty()
        })
        .await;
    };
    assert_eq!(while_it_runs(relay, work).await.published, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_survives_the_loss_of_its_connection() {
    let scene = Scene::on_postgres().await;
    let database = scene.database.as_ref().unwrap();
    let ctx = scene.tenant("t").await;
    let wake = scene.wake().await;
    let admin = database.database.pool().await;
    let lost = admin
        .execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
            WHERE datname = current_database() AND query LIKE 'LISTEN%'",
        )
        .await
        .unwrap();
    assert_eq!(lost.rows_affected(), 1);
    let soon = |wait| tokio::time::timeout(Duration::from_secs(20), wait);
    soon(wake.wait())
        .await
        .expect("woken, since something may have been missed");
    let waiting = async {
        // Whatever comes of the loss itself first.
        while tokio::time::timeout(Duration::from_millis(300), wake.wait())
            .await
            .is_ok()
        {}
        scene.send(&ctx, "a", 1..=1).await;
        wake.wait().await;
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("it listens again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_told_not_to_notify_stays_silent() {
    let scene = Scene::on_postgres().await;
    let database = scene.database.as_ref().unwrap();
    let ctx = scene.tenant("t").await;
    let wake = scene.wake().await;
    let options = tenantry::postgres::PgOptions::new().notify(false);
    let silent = PgStore::connect(database.store.pool().clone(), options)
        .await
        .unwrap();
    let app = Tenantry::new(Arc::new(silent));
    app.outbox().send(&ctx, &[message("a", 1)]).await.unwrap();
    let woken = tokio::time::timeout(Duration::from_millis(500), wake.wait()).await;
    assert!(woken.is_err());
    assert_eq!(scene.lag().await.pending, 1, "it is written all the same");
}

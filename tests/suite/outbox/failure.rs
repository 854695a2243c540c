//! Messages that cannot be published, and relays that die or are too slow.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_fails_is_tried_later_and_parked_at_last() {
    on_both(async |scene| {
        let (one, two) = (scene.tenant("one").await, scene.tenant("two").await);
        let down = Arc::new(AtomicBool::new(true));
        let recorder = Recorder::that({
            let (down, sick) = (Arc::clone(&down), one.tenant());
            move |delivery| {
                let fails = delivery.tenant == sick && delivery.key.as_str() == "a";
                if fails && number(delivery) == 2 && down.load(Ordering::SeqCst) {
                    return Err(PublishError::new(format!(
                        "try {} failed",
                        delivery.attempt
                    )));
                }
                Ok(())
            }
        });
        let policy = RetryPolicy {
            attempts: 3,
            first: Duration::from_secs(10),
            factor: 3,
            longest: Duration::from_secs(60),
        };
        let relay = scene.relay(&recorder).retry(policy);
        let run = async || relay.run_once().await.unwrap();
        let report = |published, failed, parked| RelayReport {
            published,
            failed,
            parked,
            lost: 0,
        };
        scene.send(&one, "a", 1..=3).await;
        scene.send(&one, "b", 1..=1).await;
        scene.send(&two, "a", 1..=2).await;
        assert_eq!(run().await, report(4, 1, 0));
        assert_eq!(recorder.take().len(), 4);
        assert_eq!(run().await, report(0, 0, 0), "not before its time");
        scene.clock.advance(TimeDelta::seconds(10));
        assert_eq!(run().await, report(0, 1, 0));
        scene.clock.advance(TimeDelta::seconds(14));
        assert_eq!(run().await, report(0, 0, 0), "at least half of 30 s");
        scene.clock.advance(TimeDelta::seconds(16));
        assert_eq!(run().await, report(0, 0, 1));
        scene.clock.advance(TimeDelta::days(1));
        scene.send(&one, "b", 2..=2).await;
        scene.send(&one, "a", 4..=4).await;
        assert_eq!(run().await, report(1, 0, 0), "nothing else is held back");
        assert_eq!(recorder.told(), [("b".to_owned(), 2, 2)]);

        let system = PlatformContext::system();
        let outbox = scene.app.outbox();
        let parked = outbox
            .parked(&system, &PageRequest::default())
            .await
            .unwrap()
            .items;
        assert_eq!(parked.len(), 1);
        assert_eq!(
            (parked[0].tenant, parked[0].key.as_str(), parked[0].sequence),
            (one.tenant(), "a", 2)
        );
        assert_eq!((parked[0].attempts, parked[0].held_back), (3, 2));
        assert_eq!(parked[0].error, "try 3 failed");

        outbox.release(&system, &stream(&one, "a")).await.unwrap();
        assert_eq!(run().await, report(0, 1, 0), "three tries again");
        for (seconds, expected) in [(10, report(0, 1, 0)), (30, report(0, 0, 1))] {
            scene.clock.advance(TimeDelta::seconds(seconds));
            assert_eq!(run().await, expected);
        }
        outbox.skip(&system, &stream(&one, "a")).await.unwrap();
        assert_eq!(run().await, report(2, 0, 0));
        let key = MessageKey::new("a").unwrap();
        let history = outbox
            .history(&one, &key, &PageRequest::default())
            .await
            .unwrap();
        let skipped: Vec<_> = history
            .items
            .iter()
            .map(|past| past.skipped.as_deref())
            .collect();
        assert_eq!(skipped, [None, Some("try 3 failed"), None, None]);

        scene.send(&one, "a", 2..=2).await;
        assert_eq!(run().await, report(0, 1, 0));
        down.store(false, Ordering::SeqCst);
        scene.clock.advance(TimeDelta::seconds(10));
        assert_eq!(run().await, report(1, 0, 0), "it is up again");
        assert_eq!(scene.lag().await, Lag::default());
        for id in [stream(&one, "a"), stream(&one, "never written")] {
            let error = outbox.release(&system, &id).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            let error = outbox.skip(&system, &id).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_will_not_pass_parks_at_once() {
    on_both(async |scene| {
        let ctx = scene.tenant("t").await;
        let recorder = Recorder::that(|_| Err(PublishError::permanent("gone: no such channel")));
        scene.send(&ctx, "a", 1..=2).await;
        let report = scene.relay(&recorder).run_once().await.unwrap();
        assert_eq!((report.failed, report.parked), (0, 1));
        let lag = scene.lag().await;
        assert_eq!((lag.pending, lag.parked_keys, lag.held_back), (0, 1, 2));
    })
    .await;
}

/// Publishes, and never comes back to say so.
struct Dying(Arc<Recorder>);

#[async_trait]
impl Publisher for Dying {
    async fn publish(&self, delivery: &Delivery) -> Result<(), PublishError> {
        self.0.publish(delivery).await?;
        pending().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_relay_published_before_it_died_comes_again_with_its_number() {
    on_both(async |scene| {
        let ctx = scene.tenant("t").await;
        let recorder = Recorder::new();
        scene.send(&ctx, "a", 1..=2).await;
        let dying = scene.app.relay(Arc::new(Dying(Arc::clone(&recorder))));
        let dead = tokio::time::timeout(Duration::from_secs(1), dying.run_once()).await;
        assert!(dead.is_err());
        assert_eq!(recorder.told(), [("a".to_owned(), 1, 1)]);
        let relay = scene.relay(&recorder);
        scene.clock.advance(TimeDelta::seconds(59));
        assert_eq!(
            relay.run_once().await.unwrap().published,
            0,
            "the lease holds"
        );
        scene.clock.advance(TimeDelta::seconds(1));
        assert_eq!(relay.run_once().await.unwrap().published, 2);
        let again = recorder.take();
        let told: Vec<_> = again.iter().map(|d| (d.sequence, d.attempt)).collect();
        assert_eq!(told, [(1, 2), (2, 1)]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_brings_every_relay_down_is_parked() {
    on_both(async |scene| {
        let ctx = scene.tenant("t").await;
        let recorder = Recorder::new();
        scene.send(&ctx, "a", 1..=1).await;
        let policy = RetryPolicy {
            attempts: 2,
            ..RetryPolicy::default()
        };
        for _ in 0..2 {
            let dying = scene.app.relay(Arc::new(Dying(Arc::clone(&recorder))));
            let dead = tokio::time::timeout(Duration::from_secs(1), dying.run_once()).await;
            assert!(dead.is_err());
            scene.clock.advance(TimeDelta::seconds(60));
        }
        assert_eq!(recorder.take().len(), 2);
        let report = scene
            .relay(&recorder)
            .retry(policy)
            .run_once()
            .await
            .unwrap();
        assert_eq!((report.published, report.parked), (0, 1));
        let system = PlatformContext::system();
        let parked = scene
            .app
            .outbox()
            .parked(&system, &PageRequest::default())
            .await;
        let error = &parked.unwrap().items[0].error;
        assert!(error.starts_with("the lease ended before"), "{error}");
    })
    .await;
}

/// A publisher with which every message takes some seconds by the store's clock.
fn taking(seconds: i64, scene: &Scene) -> Arc<Recorder> {
    let clock = Arc::clone(&scene.clock);
    Recorder::that(move |_| {
        clock.advance(TimeDelta::seconds(seconds));
        Ok(())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_begins_no_message_that_it_may_not_finish_in_time() {
    on_both(async |scene| {
        let ctx = scene.tenant("t").await;
        scene.send(&ctx, "a", 1..=8).await;
        let recorder = taking(14, &scene);
        let report = scene.relay(&recorder).run_once().await.unwrap();
        let all = RelayReport {
            published: 8,
            ..RelayReport::default()
        };
        assert_eq!(report, all);
        assert_eq!(
            in_order(recorder.take())
                .into_values()
                .next()
                .unwrap()
                .len(),
            8
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_too_slow_loses_its_lease_and_what_it_did() {
    on_both(async |scene| {
        let ctx = scene.tenant("t").await;
        scene.send(&ctx, "a", 1..=2).await;
        let recorder = taking(60, &scene);
        let policy = RetryPolicy {
            attempts: 3,
            ..RetryPolicy::default()
        };
        let report = scene
            .relay(&recorder)
            .retry(policy)
            .run_once()
            .await
            .unwrap();
        let expected = RelayReport {
            lost: 3,
            parked: 1,
            ..RelayReport::default()
        };
        assert_eq!(report, expected);
        let told: Vec<_> = recorder
            .take()
            .iter()
            .map(|d| (d.sequence, d.attempt))
            .collect();
        assert_eq!(told, [(1, 1), (1, 2), (1, 3)]);
        assert_eq!(scene.lag().await.held_back, 2);
    })
    .await;
}

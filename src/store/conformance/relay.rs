//! The outbox as relays and operators see it.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::join;
use serde_json::json;

use super::fixture::{Fixture, all, fails};
use super::outbox::{by_key, key, message, messages, number, stream};
use crate::domain::context::Context;
use crate::domain::outbox::{Claim, Lag, LeaseHeld, Settlement, StreamId, Then};
use crate::domain::page::{Cursor, PageRequest};
use crate::store::{StoreErrorKind, on_conflict};

super::list_cases! { "relay":
    a_key_is_numbered_without_gaps_whatever_is_claimed_at_once,
    keys_that_are_claimed_together_get_about_the_same_number,
    the_key_that_is_due_longest_comes_first,
    a_held_key_is_not_claimed_until_its_lease_ends,
    a_lease_that_ended_counts_as_a_try_in_vain,
    two_claims_at_once_never_get_one_key,
    a_claim_that_is_not_committed_holds_nothing,
    what_was_not_tried_is_due_at_once,
    a_failed_message_waits_for_its_next_try,
    a_success_forgets_the_tries_before_it,
    a_parked_key_holds_back_itself_and_nothing_else,
    a_released_key_goes_on_with_its_head,
    a_skipped_message_is_set_aside,
    only_a_parked_key_is_released_or_skipped,
    parked_keys_are_listed_by_tenant_and_key,
    a_lease_that_ended_settles_nothing,
    a_lease_settles_only_what_it_holds,
    several_keys_are_settled_at_once,
    messages_of_a_held_key_wait_for_its_settlement,
    the_lag_counts_what_is_not_published,
    what_is_settled_can_be_pruned,
}

async fn a_key_is_numbered_without_gaps_whatever_is_claimed_at_once(f: Fixture) {
    let ctx = f.tenant("t").await;
    f.write(&ctx, &messages("a", 7)).await;
    let mut seen = Vec::new();
    for limit in [1, 2, 3, 4] {
        let claim = f.claim(limit).await;
        let last = claim.deliveries.last().unwrap().sequence;
        seen.extend(claim.deliveries.iter().map(|d| (d.sequence, number(d))));
        let held = f.settle(claim.lease, stream(&ctx, "a"), last, Then::GiveBack);
        assert_eq!(held.await, LeaseHeld::Yes);
        assert!(claim.deliveries.len() <= limit);
    }
    assert_eq!(seen, (1..=7).map(|n| (n as i64, n)).collect::<Vec<_>>());
    assert!(f.claim(9).await.deliveries.is_empty());
    f.write(&ctx, &[message("a", 8)]).await;
    assert_eq!(by_key(&f.claim(9).await), [("a", vec![8])], "it goes on");
}

async fn keys_that_are_claimed_together_get_about_the_same_number(f: Fixture) {
    let ctx = f.tenant("t").await;
    for under in ["a", "b", "c"] {
        f.write(&ctx, &messages(under, 9)).await;
    }
    let claim = f.claim(6).await;
    let of: Vec<_> = by_key(&claim).iter().map(|(_, of)| of.len()).collect();
    assert_eq!(of, [2, 2, 2]);
    assert!(f.claim(6).await.deliveries.is_empty(), "all are held");
}

async fn the_key_that_is_due_longest_comes_first(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    for (ctx, under) in [(&two, "c"), (&one, "b"), (&two, "a"), (&one, "d")] {
        f.write(ctx, &messages(under, 2)).await;
        let claim = f.claim(1).await;
        let held = f.settle(claim.lease, stream(ctx, under), 1, Then::GiveBack);
        assert_eq!(held.await, LeaseHeld::Yes);
        f.clock.advance(TimeDelta::seconds(1));
        let mut park = f.platform().await;
        let claim = park.relay().claim(Duration::from_secs(1), 1).await.unwrap();
        let later = Then::retry(park.now() + TimeDelta::hours(1), "later");
        let settlement = Settlement {
            stream: stream(ctx, under),
            through: 1,
            then: later,
        };
        park.relay()
            .settle(claim.lease, &[settlement])
            .await
            .unwrap();
        park.commit().await.unwrap();
    }
    f.clock.advance(TimeDelta::hours(2));
    let mut order = Vec::new();
    for _ in 0..2 {
        let claim = f.claim(2).await;
        let keys = claim.deliveries.iter();
        order.extend(keys.map(|delivery| delivery.key.to_string()));
    }
    assert_eq!(order, ["c", "b", "a", "d"]);
}

async fn a_held_key_is_not_claimed_until_its_lease_ends(f: Fixture) {
    let ctx = f.tenant("t").await;
    f.write(&ctx, &messages("a", 2)).await;
    let first = f.claim(9).await;
    assert_eq!(first.until, Fixture::start() + TimeDelta::seconds(30));
    f.clock.advance(TimeDelta::seconds(29));
    assert!(f.claim(9).await.deliveries.is_empty());
    f.clock.advance(TimeDelta::seconds(1));
    let second = f.claim(9).await;
    assert_eq!(
        by_key(&second),
        by_key(&first),
        "the same messages, with their numbers"
    );
    assert_ne!(second.lease, first.lease);
}

async fn a_lease_that_ended_counts_as_a_try_in_vain(f: Fixture) {
    let ctx = f.tenant("t").await;
    f.write(&ctx, &messages("a", 2)).await;
    for attempt in 1..=3 {
        let claim = f.claim(9).await;
        let attempts: Vec<_> = claim.deliveries.iter().map(|d| d.attempt).collect();
        assert_eq!(attempts, [attempt, 1], "the first message's only");
        f.clock.advance(TimeDelta::seconds(30));
    }
    let claim = f.claim(9).await;
    f.settle(claim.lease, stream(&ctx, "a"), 0, Then::GiveBack)
        .await;
    assert_eq!(f.claim(9).await.deliveries[0].attempt, 4);
}

async fn two_claims_at_once_never_get_one_key(f: Fixture) {
    let ctx = f.tenant("t").await;
    let (limit, lease) = (4, Duration::from_secs(30));
    for round in 0..5 {
        let under: Vec<String> = (0..10).map(|n| format!("{round} {n}")).collect();
        let written: Vec<_> = under.iter().map(|under| message(under, 1)).collect();
        f.write(&ctx, &written).await;
        let claim = || {
            on_conflict(&*f.store, || async {
                let context = crate::domain::context::PlatformContext::system();
                let mut unit = f.store.begin_platform(&context).await?;
                let claim = unit.relay().claim(lease, limit).await?;
                unit.commit().await?;
                Ok::<Claim, crate::store::StoreError>(claim)
            })
        };
        let (a, b, c) = join!(claim(), claim(), claim());
        let mut claims = vec![a.unwrap(), b.unwrap(), c.unwrap()];
        while claims
            .iter()
            .map(|claim| claim.deliveries.len())
            .sum::<usize>()
            < 10
        {
            claims.push(claim().await.unwrap());
        }
        let mut keys: Vec<_> = claims
            .iter()
            .flat_map(|claim| &claim.deliveries)
            .map(|delivery| delivery.key.to_string())
            .collect();
        keys.sort_unstable();
        assert_eq!(keys, under);
    }
}

async fn a_claim_that_is_not_committed_holds_nothing(f: Fixture) {
    let ctx = f.tenant("t").await;
    f.write(&ctx, &messages("a", 2)).await;
    let mut unit = f.platform().await;
    let lease = Duration::from_secs(30);
    let dropped = unit.relay().claim(lease, 9).await.unwrap();
    drop(unit);
    // A dropped unit may take a moment to let go of what it has locked.
    let mut claim = f.claim(9).await;
    for _ in 0..500 {
        if !claim.deliveries.is_empty() {
            break;
        }
        f.store.sleeper().sleep(Duration::from_millis(10)).await;
        claim = f.claim(9).await;
    }
    assert_eq!(by_key(&claim), by_key(&dropped));
    let held = f.settle(dropped.lease, stream(&ctx, "a"), 2, Then::GiveBack);
    assert_eq!(held.await, LeaseHeld::Lost);
}

async fn what_was_not_tried_is_due_at_once(f: Fixture) {
    let ctx = f.tenant("t").await;
    f.write(&ctx, &messages("a", 3)).await;
    let claim = f.claim(9).await;
    f.settle(claim.lease, stream(&ctx, "a"), 1, Then::GiveBack)
        .await;
    let claim = f.claim(9).await;
    assert_eq!(by_key(&claim), [("a", vec![2, 3])]);
    assert!(
        claim
            .deliveries
            .iter()
            .all(|delivery| delivery.attempt == 1)
    );
    f.settle(claim.lease, stream(&ctx, "a"), 3, Then::GiveBack)
        .await;
    assert!(f.claim(9).await.deliveries.is_empty(), "published once");
}

async fn a_failed_message_waits_for_its_next_try(f: Fixture) {
    let ctx = f.tenant("t").await;
    f.write(&ctx, &messages("a", 3)).await;
    f.write(&ctx, &messages("b", 1)).await;
    let claim = f.claim(1).await;
    let at = Fixture::start() + TimeDelta::seconds(8);
    f.settle(claim.lease, stream(&ctx, "a"), 0, Then::retry(at, "down"))
        .await;
    assert_eq!(
        by_key(&f.claim(9).await),
        [("b", vec![1])],
        "another key goes on"
    );
    f.clock.advance(TimeDelta::seconds(7));
    assert!(f.claim(9).await.deliveries.is_empty());
    f.clock.advance(TimeDelta::seconds(1));
    let claim = f.claim(9).await;
    assert_eq!(by_key(&claim), [("a", vec![1, 2, 3])]);
    assert_eq!(claim.deliveries[0].attempt, 2);
}

async fn a_success_forgets_the_tries_before_it(f: Fixture) {
    let ctx = f.tenant("t").await;
    f.write(&ctx, &messages("a", 2)).await;
    let now = Fixture::start();
    let claim = f.claim(9).await;
    f.settle(claim.lease, stream(&ctx, "a"), 0, Then::retry(now, "down"))
        .await;
    let claim = f.claim(9).await;
    assert_eq!(claim.deliveries[0].attempt, 2);
    f.settle(
        claim.lease,
        stream(&ctx, "a"),
        1,
        Then::retry(now, "down again"),
    )
    .await;
    let claim = f.claim(9).await;
    assert_eq!(by_key(&claim), [("a", vec![2])]);
    assert_eq!(claim.deliveries[0].attempt, 2, "one failure of its own");
}

async fn a_parked_key_holds_back_itself_and_nothing_else(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    f.write(&one, &messages("a", 3)).await;
    f.park(&one, "a", "refused").await;
    f.write(&one, &messages("a", 2)).await;
    f.write(&one, &messages("b", 1)).await;
    f.write(&two, &messages("a", 1)).await;
    f.clock.advance(TimeDelta::days(9));
    let published = f.publish().await;
    let mut keys: Vec<_> = published
        .iter()
        .map(|delivery| (delivery.tenant, delivery.key.as_str()))
        .collect();
    keys.sort_unstable();
    let mut expected = [(one.tenant(), "b"), (two.tenant(), "a")];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    f.write(&one, &messages("0", 1)).await;
    for under in ["1", "2", "3", "4"] {
        f.write(&one, &messages(under, 1)).await;
        f.clock.advance(TimeDelta::seconds(1));
    }
    let mut parked = 0;
    while let claim = f.claim(1).await
        && let Some(head) = claim.deliveries.first()
    {
        let id = StreamId {
            tenant: head.tenant,
            key: head.key.clone(),
        };
        f.settle(claim.lease, id, 0, Then::park("refused")).await;
        f.write(&one, &messages(head.key.as_str(), 9)).await;
        parked += 1;
    }
    assert_eq!(parked, 5);
    f.write(&one, &messages("5", 1)).await;
    assert_eq!(
        by_key(&f.claim(1).await),
        [("5", vec![1])],
        "however many are parked"
    );
}

async fn a_released_key_goes_on_with_its_head(f: Fixture) {
    let ctx = f.tenant("t").await;
    f.write(&ctx, &messages("a", 2)).await;
    f.park(&ctx, "a", "refused").await;
    f.write(&ctx, &[message("a", 3)]).await;
    let mut unit = f.platform().await;
    assert!(unit.relay().release(&stream(&ctx, "a")).await.unwrap());
    assert!(!unit.relay().release(&stream(&ctx, "a")).await.unwrap());
    unit.commit().await.unwrap();
    let published = f.publish().await;
    assert_eq!(published.iter().map(number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(published[0].attempt, 1, "as often as a new one");
}

async fn a_skipped_message_is_set_aside(f: Fixture) {
    let ctx = f.tenant("t").await;
    f.write(&ctx, &messages("a", 3)).await;
    f.park(&ctx, "a", "refused").await;
    let mut unit = f.platform().await;
    assert!(unit.relay().skip(&stream(&ctx, "a")).await.unwrap());
    assert!(!unit.relay().skip(&stream(&ctx, "a")).await.unwrap());
    assert!(unit.relay().parked(&all()).await.unwrap().items.is_empty());
    unit.commit().await.unwrap();
    let published = f.publish().await;
    let told: Vec<_> = published.iter().map(|d| (d.sequence, number(d))).collect();
    assert_eq!(told, [(2, 2), (3, 3)]);
    f.write(&ctx, &[message("b", 1)]).await;
    f.park(&ctx, "b", "refused").await;
    let mut unit = f.platform().await;
    assert!(unit.relay().skip(&stream(&ctx, "b")).await.unwrap());
    unit.commit().await.unwrap();
    assert!(f.publish().await.is_empty(), "nothing was behind it");
}

async fn only_a_parked_key_is_released_or_skipped(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    f.write(&one, &messages("a", 1)).await;
    f.write(&two, &messages("a", 1)).await;
    f.publish().await;
    f.write(&one, &[message("a", 2)]).await;
    f.park(&one, "a", "refused").await;
    f.write(&two, &[message("a", 2)]).await;
    let mut unit = f.platform().await;
    for other in [stream(&two, "a"), stream(&one, "b")] {
        assert!(!unit.relay().release(&other).await.unwrap());
        assert!(!unit.relay().skip(&other).await.unwrap());
    }
    unit.commit().await.unwrap();
    assert_eq!(
        by_key(&f.claim(9).await),
        [("a", vec![2])],
        "the other tenant's"
    );
    let parked = f.platform().await.relay().parked(&all()).await.unwrap();
    assert_eq!(parked.items.len(), 1);
}

async fn parked_keys_are_listed_by_tenant_and_key(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let mut expected = Vec::new();
    for (ctx, under) in [(&two, "b"), (&one, "é"), (&two, "a"), (&one, "B")] {
        f.write(ctx, &messages(under, 3)).await;
        f.park(ctx, under, &format!("error of {under}")).await;
        f.write(ctx, &messages(under, 2)).await;
        expected.push(stream(ctx, under));
    }
    expected.sort();
    let mut unit = f.platform().await;
    let id = |row: &crate::domain::outbox::ParkedStream| StreamId {
        tenant: row.tenant,
        key: row.key.clone(),
    };
    let whole = unit.relay().parked(&all()).await.unwrap();
    assert_eq!(whole.items.iter().map(id).collect::<Vec<_>>(), expected);
    let first = unit.relay().parked(&PageRequest::first(3)).await.unwrap();
    let next = PageRequest::first(3).after(first.next.unwrap());
    let rest = unit.relay().parked(&next).await.unwrap();
    let paged: Vec<_> = first.items.iter().chain(&rest.items).map(id).collect();
    assert_eq!((paged, rest.next), (expected, None));
    let row = whole.items.iter().find(|row| row.key == key("é")).unwrap();
    assert_eq!(
        (
            row.sequence,
            row.payload.as_str(),
            row.attempts,
            row.held_back
        ),
        (1, "1", 1, 4)
    );
    assert_eq!(row.kind.as_str(), "counted");
    assert_eq!(row.error, "error of é");
    assert_eq!(row.parked_at, Fixture::start());
    let alien = PageRequest::first(3).after(Cursor::after(&json!(7)));
    fails(unit.relay().parked(&alien).await, StoreErrorKind::Invalid);
}

async fn a_lease_that_ended_settles_nothing(f: Fixture) {
    let ctx = f.tenant("t").await;
    f.write(&ctx, &messages("a", 2)).await;
    let late = f.claim(9).await;
    f.clock.advance(TimeDelta::seconds(30));
    for then in [
        Then::GiveBack,
        Then::park("refused"),
        Then::retry(Fixture::start() + TimeDelta::days(1), "down"),
    ] {
        let held = f.settle(late.lease, stream(&ctx, "a"), 2, then).await;
        assert_eq!(held, LeaseHeld::Lost, "nobody else holds it yet");
    }
    let claim = f.claim(9).await;
    assert_eq!(by_key(&claim), [("a", vec![1, 2])]);
    let held = f.settle(late.lease, stream(&ctx, "a"), 2, Then::GiveBack);
    assert_eq!(held.await, LeaseHeld::Lost, "somebody else holds it");
    let held = f.settle(claim.lease, stream(&ctx, "a"), 2, Then::GiveBack);
    assert_eq!(held.await, LeaseHeld::Yes);
    let held = f.settle(claim.lease, stream(&ctx, "a"), 2, Then::GiveBack);
    assert_eq!(held.await, LeaseHeld::Lost, "it was given back");
    let mut unit = f.unit(&ctx).await;
    let history = unit.outbox().history(&key("a"), &all()).await.unwrap();
    assert_eq!(history.items.len(), 2);
}

async fn a_lease_settles_only_what_it_holds(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    f.write(&one, &messages("a", 1)).await;
    let mine = f.claim(1).await;
    f.write(&two, &messages("a", 1)).await;
    let yours = f.claim(1).await;
    let nobody = stream(&two, "never written");
    for other in [stream(&two, "a"), nobody] {
        let held = f.settle(mine.lease, other, 1, Then::GiveBack);
        assert_eq!(held.await, LeaseHeld::Lost);
    }
    let held = f.settle(yours.lease, stream(&two, "a"), 1, Then::GiveBack);
    assert_eq!(held.await, LeaseHeld::Yes);
}

async fn several_keys_are_settled_at_once(f: Fixture) {
    let ctx = f.tenant("t").await;
    for under in ["a", "b", "c", "d"] {
        f.write(&ctx, &messages(under, 2)).await;
    }
    let claim = f.claim(9).await;
    let settlement = |under: &str, through, then| Settlement {
        stream: stream(&ctx, under),
        through,
        then,
    };
    let later = Fixture::start() + TimeDelta::seconds(5);
    let settlements = [
        settlement("d", 1, Then::retry(later, "down")),
        settlement("x", 2, Then::GiveBack),
        settlement("a", 2, Then::GiveBack),
        settlement("c", 0, Then::park("refused")),
        settlement("a", 2, Then::GiveBack),
    ];
    let mut unit = f.platform().await;
    let held = unit
        .relay()
        .settle(claim.lease, &settlements)
        .await
        .unwrap();
    unit.commit().await.unwrap();
    use LeaseHeld::{Lost, Yes};
    assert_eq!(held, [Yes, Lost, Yes, Yes, Lost]);
    f.clock.advance(TimeDelta::seconds(5));
    assert_eq!(by_key(&f.claim(9).await), [("d", vec![2])], "b is held");
    let mut unit = f.platform().await;
    assert_eq!(unit.relay().parked(&all()).await.unwrap().items.len(), 1);
    assert!(
        unit.relay()
            .settle(claim.lease, &[])
            .await
            .unwrap()
            .is_empty()
    );
}

async fn messages_of_a_held_key_wait_for_its_settlement(f: Fixture) {
    let ctx = f.tenant("t").await;
    f.write(&ctx, &messages("a", 1)).await;
    let claim = f.claim(9).await;
    f.write(&ctx, &[message("a", 2)]).await;
    assert!(f.claim(9).await.deliveries.is_empty());
    f.settle(claim.lease, stream(&ctx, "a"), 1, Then::GiveBack)
        .await;
    assert_eq!(by_key(&f.claim(9).await), [("a", vec![2])]);
}

async fn the_lag_counts_what_is_not_published(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let lag = async || f.platform().await.relay().lag().await.unwrap();
    assert_eq!(lag().await, Lag::default());
    let second = |n| Fixture::start() + TimeDelta::seconds(n);
    let write = async |ctx: &Context, under: &str, count| {
        f.write(ctx, &messages(under, count)).await;
        f.clock.advance(TimeDelta::seconds(1));
    };
    write(&one, "a", 3).await;
    f.park(&one, "a", "refused").await;
    write(&two, "b", 2).await;
    write(&one, "a", 2).await;
    let expected = Lag {
        pending: 2,
        oldest: Some(second(1)),
        parked_keys: 1,
        held_back: 5,
    };
    assert_eq!(lag().await, expected, "before they have numbers");
    let claim = f.claim(9).await;
    assert_eq!(lag().await, expected, "after they have numbers");
    f.settle(
        claim.lease,
        stream(&two, "b"),
        1,
        Then::retry(second(99), "down"),
    )
    .await;
    write(&one, "c", 4).await;
    let expected = Lag {
        pending: 5,
        ..expected
    };
    assert_eq!(lag().await, expected);
    let mut unit = f.platform().await;
    unit.relay().skip(&stream(&one, "a")).await.unwrap();
    unit.commit().await.unwrap();
    let expected = Lag {
        pending: 9,
        oldest: Some(second(0)),
        parked_keys: 0,
        held_back: 0,
    };
    assert_eq!(lag().await, expected);
    f.clock.advance(TimeDelta::minutes(2));
    f.publish().await;
    assert_eq!(lag().await, Lag::default());
}

async fn what_is_settled_can_be_pruned(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    f.write(&one, &messages("a", 3)).await;
    f.write(&two, &messages("a", 2)).await;
    f.publish().await;
    let published = Fixture::start();
    f.clock.advance(TimeDelta::hours(1));
    f.write(&one, &messages("b", 2)).await;
    f.park(&one, "b", "refused").await;
    let mut unit = f.platform().await;
    unit.relay().skip(&stream(&one, "b")).await.unwrap();
    unit.commit().await.unwrap();
    let prune = async |before, limit| {
        let mut unit = f.platform().await;
        let pruned = unit.relay().prune(before, limit).await.unwrap();
        unit.commit().await.unwrap();
        pruned
    };
    assert_eq!(prune(published, 9).await, 0, "not what is as old");
    let later = published + TimeDelta::seconds(1);
    assert_eq!(prune(later, 4).await, 4);
    assert_eq!(prune(later, 4).await, 1);
    assert_eq!(prune(later, 4).await, 0);
    let mut unit = f.unit(&one).await;
    assert!(
        unit.outbox()
            .history(&key("a"), &all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert_eq!(
        unit.outbox()
            .history(&key("b"), &all())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    assert_eq!(
        prune(later + TimeDelta::hours(2), 4).await,
        1,
        "what was skipped"
    );
    f.write(&one, &[message("a", 4)]).await;
    let published = f.publish().await;
    let mut told: Vec<_> = published
        .iter()
        .map(|d| (d.key.as_str(), d.sequence))
        .collect();
    told.sort_unstable();
    assert_eq!(told, [("a", 4), ("b", 2)], "numbers go on");
}

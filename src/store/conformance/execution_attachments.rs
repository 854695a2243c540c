//! What hangs on an execution: payloads, error logs, contradictions.

use std::sync::Arc;

use super::executions::{at, attachments, ended, one, payload, place, report};
use super::fixture::{Fixture, fails};
use crate::domain::execution::{Contradiction, End, ErrorEntry, ExecutionStatus, PayloadKind};
use crate::store::{Attachments, StoreErrorKind};

super::list_cases! { "execution_attachments":
    payloads_are_read_back_byte_for_byte,
    attachments_replace_those_of_an_earlier_report,
    attachments_need_their_execution_and_its_month,
    an_attachment_that_brings_nothing_asks_for_nothing,
    executions_without_attachments_are_told_apart,
    error_logs_keep_their_order,
    a_contradiction_is_kept_once,
}

async fn payloads_are_read_back_byte_for_byte(f: Fixture) {
    let ctx = f.tenant("t").await;
    let place = place(&f, &ctx, "p").await;
    let row = one(&f, &ctx, &place, "1").await;
    let deep = format!("{}1{}", "[".repeat(1_000), "]".repeat(1_000));
    let texts = [
        r#" { "a" : "\u0000 \ud800 \ud83d\ude00" , "a":1e400, "b": 123456789012345678901234567890 }"#,
        &deep,
        r#""""#,
    ];
    let kinds = [PayloadKind::Input, PayloadKind::Output, PayloadKind::Error];
    let payloads = kinds.into_iter().zip(texts.map(payload)).collect();
    let kept = Attachments {
        execution: row.id,
        replace: false,
        payloads,
        errors: Arc::default(),
    };
    let mut unit = f.unit(&ctx).await;
    unit.executions().attach(&[kept]).await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = f.unit(&ctx).await;
    for (kind, text) in kinds.into_iter().zip(texts) {
        let read = unit
            .executions()
            .payload(row.id, kind)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(read.as_str(), text);
    }
}

async fn attachments_replace_those_of_an_earlier_report(f: Fixture) {
    let ctx = f.tenant("t").await;
    let place = place(&f, &ctx, "p").await;
    let (row, other) = (
        one(&f, &ctx, &place, "1").await,
        one(&f, &ctx, &place, "2").await,
    );
    let errors: Arc<[ErrorEntry]> = Arc::new([ErrorEntry::new("first", at(0))]);
    let mut first = Attachments {
        errors,
        ..attachments(row.id, "1")
    };
    first.payloads.push((PayloadKind::Error, payload("0")));
    let mut unit = f.unit(&ctx).await;
    unit.executions()
        .attach(&[first, attachments(other.id, "9")])
        .await
        .unwrap();
    let second = Attachments {
        replace: true,
        ..attachments(row.id, "2")
    };
    unit.executions().attach(&[second]).await.unwrap();
    let read = unit
        .executions()
        .payload(row.id, PayloadKind::Output)
        .await
        .unwrap();
    assert_eq!(read.unwrap().as_str(), "2");
    assert_eq!(
        unit.executions()
            .payload(row.id, PayloadKind::Error)
            .await
            .unwrap(),
        None
    );
    assert!(unit.executions().errors(row.id).await.unwrap().is_empty());
    let read = unit
        .executions()
        .payload(other.id, PayloadKind::Output)
        .await
        .unwrap();
    assert_eq!(read.unwrap().as_str(), "9");
    let again = attachments(other.id, "10");
    fails(
        unit.executions().attach(&[again]).await,
        StoreErrorKind::AlreadyExists,
    );
}

async fn attachments_need_their_execution_and_its_month(f: Fixture) {
    let ctx = f.tenant("t").await;
    let place = place(&f, &ctx, "p").await;
    let mut unit = f.unit(&ctx).await;
    let ghost = unit.ids().fresh_at(at(0));
    fails(
        unit.executions().attach(&[attachments(ghost, "1")]).await,
        StoreErrorKind::NotFound,
    );
    let mut unit = f.unit(&ctx).await;
    let told = report("1", ExecutionStatus::Success, -86_400 * 300, 5);
    let old = ended(&mut *unit, &place, &told);
    unit.executions()
        .insert(std::slice::from_ref(&old))
        .await
        .unwrap();
    fails(
        unit.executions().attach(&[attachments(old.id, "1")]).await,
        StoreErrorKind::OutsideWindow,
    );
}

async fn an_attachment_that_brings_nothing_asks_for_nothing(f: Fixture) {
    let ctx = f.tenant("t").await;
    let mut unit = f.unit(&ctx).await;
    for (replace, seconds) in [(true, 0), (false, -86_400 * 300)] {
        let nothing = Attachments {
            replace,
            payloads: Vec::new(),
            ..attachments(unit.ids().fresh_at(at(seconds)), "1")
        };
        unit.executions().attach(&[nothing]).await.unwrap();
    }
}

async fn executions_without_attachments_are_told_apart(f: Fixture) {
    let (ctx, other) = f.two_tenants().await;
    let place = place(&f, &ctx, "p").await;
    let mut rows = Vec::new();
    for name in ["1", "2", "3"] {
        rows.push(one(&f, &ctx, &place, name).await.id);
    }
    let failed = Attachments {
        payloads: Vec::new(),
        errors: Arc::new([ErrorEntry::new("no", at(0))]),
        ..attachments(rows[1], "1")
    };
    let mut unit = f.unit(&ctx).await;
    let kept = [attachments(rows[0], "1"), failed];
    unit.executions().attach(&kept).await.unwrap();
    let ghost = unit.ids().fresh_at(at(0));
    let asked = [rows[0], rows[1], rows[2], ghost];
    let mut bare = unit.executions().bare(&asked).await.unwrap();
    bare.sort_unstable();
    let mut expected = [rows[2], ghost];
    expected.sort_unstable();
    assert_eq!(bare, expected);
    assert_eq!(unit.executions().bare(&[]).await.unwrap(), []);
    unit.commit().await.unwrap();
    let mut unit = f.unit(&other).await;
    let unseen = unit.executions().bare(&asked[..1]).await.unwrap();
    assert_eq!(unseen, asked[..1], "nothing of another tenant is seen");
}

async fn error_logs_keep_their_order(f: Fixture) {
    let ctx = f.tenant("t").await;
    let place = place(&f, &ctx, "p").await;
    let row = one(&f, &ctx, &place, "1").await;
    let errors: Arc<[ErrorEntry]> = (0..12)
        .map(|n| {
            let entry = ErrorEntry::new(&format!("error {n}"), at(12 - n));
            if n % 2 == 0 {
                entry
            } else {
                entry.with_node("Ñ").with_kind("K").with_stack("a\nb")
            }
        })
        .collect();
    let kept = Attachments {
        errors: Arc::clone(&errors),
        ..attachments(row.id, "1")
    };
    let mut unit = f.unit(&ctx).await;
    unit.executions().attach(&[kept]).await.unwrap();
    assert_eq!(
        unit.executions().errors(row.id).await.unwrap(),
        errors.to_vec()
    );
}

async fn a_contradiction_is_kept_once(f: Fixture) {
    let ctx = f.tenant("t").await;
    let place = place(&f, &ctx, "p").await;
    let row = one(&f, &ctx, &place, "1").await;
    let end = |status, seconds| End {
        status,
        at: at(seconds),
    };
    let told = |status, seconds| Contradiction {
        execution: row.id,
        kept: end(ExecutionStatus::Success, 1),
        reported: end(status, seconds),
        observed_at: Fixture::start(),
    };
    let (error, late) = (
        told(ExecutionStatus::Error, 1),
        told(ExecutionStatus::Success, 2),
    );
    let mut unit = f.unit(&ctx).await;
    let new = unit
        .executions()
        .contradict(&[late.clone(), error.clone(), late.clone()])
        .await;
    assert_eq!(new.unwrap(), [true, true, false]);
    let again = unit
        .executions()
        .contradict(std::slice::from_ref(&error))
        .await
        .unwrap();
    assert_eq!(again, [false]);
    assert_eq!(
        unit.executions().contradictions(row.id).await.unwrap(),
        [error, late.clone()]
    );
    let ghost = Contradiction {
        execution: unit.ids().fresh(),
        ..late
    };
    fails(
        unit.executions().contradict(&[ghost]).await,
        StoreErrorKind::NotFound,
    );
}

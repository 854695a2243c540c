//! Meters that tenants define.

use serde_json::{Value, json};

use super::fixture::{Fixture, all, fails};
use crate::domain::audit::AuditAction;
use crate::domain::ids::MeterId;
use crate::domain::metering::{Aggregation, CustomMeter, Meter, MeterName};
use crate::domain::text::Name;
use crate::store::{AuditFilter, StoreErrorKind};

super::list_cases! { "meters":
    a_meter_is_read_back_as_it_was_written,
    the_name_of_a_meter_is_taken_once,
    meters_are_read_in_the_order_of_their_names,
    an_update_of_a_meter_names_the_revision_it_has_read,
    meters_belong_to_their_tenant,
    every_change_of_a_meter_is_in_the_trail,
}

fn meter(id: MeterId, name: &str, aggregation: Aggregation) -> CustomMeter {
    let meter = Meter {
        unit: Some(Name::new("seats").unwrap()),
        ..Meter::new(MeterName::new(name).unwrap(), aggregation)
    };
    CustomMeter::define(id, meter, Fixture::start()).unwrap()
}

async fn a_meter_is_read_back_as_it_was_written(f: Fixture) {
    let ctx = f.tenant("t").await;
    let mut unit = f.unit(&ctx).await;
    for (place, aggregation) in [
        Aggregation::Sum,
        Aggregation::Count,
        Aggregation::Max,
        Aggregation::Latest,
        Aggregation::UniqueCount,
        Aggregation::TimeWeightedSum,
        Aggregation::Level,
    ]
    .into_iter()
    .enumerate()
    {
        let mut meter = meter(unit.ids().fresh(), &format!("m{place}"), aggregation);
        meter.meter.unit = meter.meter.unit.filter(|_| place > 0);
        unit.meters().insert(&meter).await.unwrap();
        let found = unit.meters().find(std::slice::from_ref(&meter.meter.name));
        assert_eq!(found.await.unwrap(), [meter]);
    }
}

async fn the_name_of_a_meter_is_taken_once(f: Fixture) {
    let ctx = f.tenant("t").await;
    let mut unit = f.unit(&ctx).await;
    let first = meter(unit.ids().fresh(), "seats", Aggregation::Level);
    let second = meter(unit.ids().fresh(), "seats", Aggregation::Sum);
    unit.meters().insert(&first).await.unwrap();
    fails(
        unit.meters().insert(&second).await,
        StoreErrorKind::AlreadyExists,
    );
}

async fn meters_are_read_in_the_order_of_their_names(f: Fixture) {
    let ctx = f.tenant("t").await;
    let mut unit = f.unit(&ctx).await;
    for name in ["b", "a", "Z", "a.1"] {
        let meter = meter(unit.ids().fresh(), name, Aggregation::Sum);
        unit.meters().insert(&meter).await.unwrap();
    }
    let names = |meters: Vec<CustomMeter>| -> Vec<String> {
        let names = meters.into_iter().map(|meter| meter.meter.name.into());
        names.collect()
    };
    assert_eq!(
        names(unit.meters().all().await.unwrap()),
        ["Z", "a", "a.1", "b"]
    );
    let wanted = ["b", "unknown", "Z"].map(|name| MeterName::new(name).unwrap());
    assert_eq!(
        names(unit.meters().find(&wanted).await.unwrap()),
        ["Z", "b"]
    );
    assert_eq!(unit.meters().find(&[]).await.unwrap(), []);
}

async fn an_update_of_a_meter_names_the_revision_it_has_read(f: Fixture) {
    let ctx = f.tenant("t").await;
    let mut unit = f.unit(&ctx).await;
    let first = meter(unit.ids().fresh(), "seats", Aggregation::Level);
    unit.meters().insert(&first).await.unwrap();
    let mut wish = first.in_unit(None, Fixture::start()).unwrap();
    wish.meter.aggregation = Aggregation::Sum;
    let next = unit.meters().update(&wish).await.unwrap();
    assert_eq!((next.meter.unit.clone(), next.revision), (None, 2));
    assert_eq!(next.meter.aggregation, Aggregation::Level, "it stays");
    fails(unit.meters().update(&wish).await, StoreErrorKind::Conflict);
}

async fn meters_belong_to_their_tenant(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let mut unit = f.unit(&one).await;
    let mine = meter(unit.ids().fresh(), "seats", Aggregation::Level);
    unit.meters().insert(&mine).await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = f.unit(&two).await;
    assert_eq!(unit.meters().all().await.unwrap(), []);
    let names = std::slice::from_ref(&mine.meter.name);
    assert_eq!(unit.meters().find(names).await.unwrap(), []);
    unit.meters().insert(&mine).await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = f.unit(&two).await;
    unit.meters().update(&mine).await.unwrap();
    unit.commit().await.unwrap();
    let kept = f.unit(&one).await.meters().all().await.unwrap();
    assert_eq!(kept, std::slice::from_ref(&mine));
    let mut foreign = mine;
    foreign.id = f.platform().await.ids().fresh();
    fails(
        f.unit(&two).await.meters().update(&foreign).await,
        StoreErrorKind::Conflict,
    );
}

async fn every_change_of_a_meter_is_in_the_trail(f: Fixture) {
    let ctx = f.tenant("t").await;
    let mut unit = f.unit(&ctx).await;
    let meter = meter(unit.ids().fresh(), "seats", Aggregation::Level);
    unit.meters().insert(&meter).await.unwrap();
    let changed = meter.in_unit(None, Fixture::start()).unwrap();
    unit.meters().update(&changed).await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = f.unit(&ctx).await;
    let filter = AuditFilter {
        resource_type: Some("meters".to_owned()),
        ..AuditFilter::default()
    };
    let trail = unit.audit().page(&filter, &all()).await.unwrap().items;
    let told: Vec<_> = trail
        .into_iter()
        .map(|entry| {
            assert_eq!(entry.resource_id, Some(meter.id.as_uuid()));
            let values = [entry.old_values, entry.new_values].map(Value::from);
            (entry.action, values)
        })
        .collect();
    let inserted = json!({
        "id": meter.id, "name": "seats", "aggregation": "level", "unit": "seats",
        "created_at": "2026-11-15T12:00:00+00:00",
    });
    assert_eq!(
        told,
        [
            (
                AuditAction::Update,
                [json!({"unit": "seats"}), json!({"unit": null})]
            ),
            (AuditAction::Insert, [json!({}), inserted]),
        ]
    );
}

//! Plans and their versions.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::fixture::{Fixture, all, fails};
use crate::domain::audit::AuditEntry;
use crate::domain::billing_cycle::{Interval, IntervalUnit};
use crate::domain::catalogue::{
    Charge, ChargeCode, ChargeKind, Entitlement, Limit, LimitName, LimitWindow, Plan,
    PlanDefinition, PlanVersion,
};
use crate::domain::metering::MeterName;
use crate::domain::page::{Cursor, PageRequest};
use crate::domain::text::{Name, PlanCode};
use crate::store::{AuditFilter, PlatformUnit, StoreErrorKind};

super::list_cases! { "catalogue":
    a_plan_is_read_back_as_it_was_written,
    a_name_belongs_to_one_plan,
    a_version_is_added_and_the_former_one_stays,
    an_update_of_a_plan_names_the_revision_it_has_read,
    two_units_that_lock_one_plan_come_one_after_the_other,
    plans_are_listed_by_name_page_by_page,
    every_tenant_reads_what_is_sold,
    changes_of_the_catalogue_are_in_the_operator_s_trail,
}

pub(super) fn code(text: &str) -> PlanCode {
    PlanCode::new(text).unwrap()
}

/// A definition in which nothing is left out.
pub(super) fn definition() -> PlanDefinition {
    let charge = |code: &str, kind| Charge {
        code: ChargeCode::new(code).unwrap(),
        name: Name::new(code).unwrap(),
        kind,
    };
    PlanDefinition {
        name: Name::new("Pro").unwrap(),
        interval: Interval::new(IntervalUnit::Week, 2).unwrap(),
        trial_days: 14,
        charges: vec![
            charge("setup", ChargeKind::OneTime),
            charge("base", ChargeKind::Recurring { per_seat: false }),
            charge("seats", ChargeKind::Recurring { per_seat: true }),
            charge(
                "executions",
                ChargeKind::Usage {
                    meter: MeterName::EXECUTIONS,
                    included: Decimal::new(100_005, 1),
                },
            ),
        ],
        limits: BTreeMap::from([
            (LimitName::WORKFLOWS, Limit::hard(50)),
            (
                LimitName::EXECUTIONS,
                Limit {
                    hard: None,
                    soft: Some(u64::from(u32::MAX) * 8),
                    window: LimitWindow::BillingPeriod,
                },
            ),
        ]),
        entitlements: BTreeSet::from([Entitlement::new("sso").unwrap()]),
        retention_days: Some(30),
    }
}

/// Writes a plan in a unit of the caller's.
pub(super) async fn insert(unit: &mut dyn PlatformUnit, name: &str) -> (Plan, PlanVersion) {
    let (plan, version, now) = (unit.ids().fresh(), unit.ids().fresh(), unit.now());
    let (plan, version) = Plan::create(plan, version, code(name), definition(), now).unwrap();
    unit.catalogue().insert(&plan, &version).await.unwrap();
    (plan, version)
}

/// Writes a plan.
pub(super) async fn inserted(f: &Fixture, name: &str) -> (Plan, PlanVersion) {
    let mut unit = f.platform().await;
    let made = insert(&mut *unit, name).await;
    unit.commit().await.unwrap();
    made
}

async fn a_plan_is_read_back_as_it_was_written(f: Fixture) {
    let (plan, version) = inserted(&f, "pro").await;
    let mut unit = f.platform().await;
    let catalogue = unit.catalogue();
    assert_eq!(catalogue.find(&plan.code).await.unwrap().unwrap(), plan);
    let by_id = catalogue.version(version.id).await.unwrap();
    assert_eq!(by_id.unwrap(), version);
    let by_number = catalogue.numbered(&plan.code, 1).await.unwrap();
    assert_eq!(by_number.unwrap(), version);
    assert_eq!(catalogue.find(&code("Pro")).await.unwrap(), None);
    assert_eq!(catalogue.numbered(&plan.code, 2).await.unwrap(), None);
    assert_eq!(catalogue.prices(version.id).await.unwrap(), []);
    let ghost = unit.ids().fresh();
    assert_eq!(unit.catalogue().version(ghost).await.unwrap(), None);
}

async fn a_name_belongs_to_one_plan(f: Fixture) {
    let (plan, version) = inserted(&f, "pro").await;
    let mut unit = f.platform().await;
    let (rival, of_rival) = (unit.ids().fresh(), unit.ids().fresh());
    let (rival, of_rival) =
        Plan::create(rival, of_rival, plan.code.clone(), definition(), unit.now()).unwrap();
    fails(
        unit.catalogue().insert(&rival, &of_rival).await,
        StoreErrorKind::AlreadyExists,
    );
    let mut unit = f.platform().await;
    let same = Plan {
        code: code("other"),
        ..plan
    };
    fails(
        unit.catalogue().insert(&same, &version).await,
        StoreErrorKind::AlreadyExists,
    );
}

async fn a_version_is_added_and_the_former_one_stays(f: Fixture) {
    let (plan, first) = inserted(&f, "pro").await;
    let mut unit = f.platform().await;
    let changed = PlanDefinition {
        trial_days: 0,
        charges: Vec::new(),
        ..definition()
    };
    let (next, second) = plan
        .publish(unit.ids().fresh(), changed, unit.now())
        .unwrap();
    let stored = unit.catalogue().publish(&next, &second).await.unwrap();
    assert_eq!((stored.version, stored.revision), (2, 2));
    unit.commit().await.unwrap();
    let mut unit = f.platform().await;
    for version in [first, second] {
        let found = unit.catalogue().numbered(&plan.code, version.version).await;
        assert_eq!(found.unwrap().unwrap(), version);
    }
    let (next, third) = plan
        .publish(unit.ids().fresh(), definition(), unit.now())
        .unwrap();
    fails(
        unit.catalogue().publish(&next, &third).await,
        StoreErrorKind::Conflict,
    );
}

async fn an_update_of_a_plan_names_the_revision_it_has_read(f: Fixture) {
    let (plan, _) = inserted(&f, "pro").await;
    let mut unit = f.platform().await;
    let retired = plan.with_active(false, unit.now()).unwrap();
    let stored = unit.catalogue().update(&retired).await.unwrap();
    assert_eq!((stored.active, stored.revision), (false, 2));
    unit.commit().await.unwrap();
    let mut unit = f.platform().await;
    let found = unit.catalogue().find(&plan.code).await.unwrap();
    assert_eq!(found.unwrap(), stored);
    fails(
        unit.catalogue().update(&retired).await,
        StoreErrorKind::Conflict,
    );
}

async fn two_units_that_lock_one_plan_come_one_after_the_other(f: Fixture) {
    let (plan, _) = inserted(&f, "pro").await;
    let mut one = f.platform().await;
    let held = one.catalogue().lock(&plan.code).await.unwrap();
    assert_eq!(held.unwrap(), plan);
    let ghost = one.catalogue().lock(&code("ghost")).await.unwrap();
    assert_eq!(ghost, None);
    let retired = plan.with_active(false, one.now()).unwrap();
    one.catalogue().update(&retired).await.unwrap();
    let rival = async {
        let mut two = f.platform().await;
        let seen = two.catalogue().lock(&plan.code).await?;
        two.commit().await?;
        Ok::<_, crate::store::StoreError>(seen)
    };
    match futures_util::join!(rival, one.commit()) {
        (Ok(seen), Ok(())) => assert!(!seen.unwrap().active, "it waited for the other unit"),
        (Ok(seen), Err(error)) => {
            assert!(seen.unwrap().active, "it was first");
            assert_eq!(error.kind(), StoreErrorKind::Conflict);
        }
        (Err(error), committed) => {
            committed.unwrap();
            assert_eq!(error.kind(), StoreErrorKind::Conflict);
        }
    }
}

async fn plans_are_listed_by_name_page_by_page(f: Fixture) {
    let mut unit = f.platform().await;
    let mut names = Vec::new();
    for name in ["b", "B", "ä", "a"] {
        names.push(insert(&mut *unit, name).await.0.code);
    }
    unit.commit().await.unwrap();
    names.sort();
    let mut unit = f.platform().await;
    let first = unit.catalogue().page(&PageRequest::first(3)).await.unwrap();
    let next = PageRequest::first(3).after(first.next.unwrap());
    let second = unit.catalogue().page(&next).await.unwrap();
    let listed = first.items.into_iter().chain(second.items);
    assert_eq!(listed.map(|plan| plan.code).collect::<Vec<_>>(), names);
    assert_eq!(second.next, None);
    let other = PageRequest::first(3).after(Cursor::after(&7));
    fails(unit.catalogue().page(&other).await, StoreErrorKind::Invalid);
}

async fn every_tenant_reads_what_is_sold(f: Fixture) {
    let (plan, version) = inserted(&f, "pro").await;
    let (one, two) = f.two_tenants().await;
    for ctx in [one, two] {
        let mut unit = f.unit(&ctx).await;
        let plans = unit.plans();
        assert_eq!(plans.find(&plan.code).await.unwrap().as_ref(), Some(&plan));
        assert_eq!(
            plans.page(&all()).await.unwrap().items,
            std::slice::from_ref(&plan)
        );
        let by_number = plans.numbered(&plan.code, 1).await.unwrap();
        assert_eq!(by_number.as_ref(), Some(&version));
        let by_id = plans.version(version.id).await.unwrap();
        assert_eq!(by_id.as_ref(), Some(&version));
        assert_eq!(plans.prices(version.id).await.unwrap(), []);
    }
}

/// The operator's trail, oldest first, as (table, old, new).
pub(super) async fn operator_trail(f: &Fixture) -> Vec<(String, Value, Value)> {
    let mut unit = f.platform().await;
    let page = unit.audit().page(&AuditFilter::default(), &all()).await;
    let entry = |entry: AuditEntry| {
        let (old, new) = (entry.old_values.into(), entry.new_values.into());
        (entry.resource_type, old, new)
    };
    page.unwrap().items.into_iter().rev().map(entry).collect()
}

async fn changes_of_the_catalogue_are_in_the_operator_s_trail(f: Fixture) {
    let (plan, version) = inserted(&f, "pro").await;
    let mut unit = f.platform().await;
    let retired = plan.with_active(false, unit.now()).unwrap();
    unit.catalogue().update(&retired).await.unwrap();
    unit.commit().await.unwrap();
    let at = "2026-11-15T12:00:00+00:00";
    let expected = [
        (
            "plans",
            json!({}),
            json!({
                "id": plan.id, "code": "pro", "active": true, "version": 1, "created_at": at,
            }),
        ),
        (
            "plan_versions",
            json!({}),
            json!({
                "id": version.id, "plan_id": plan.id, "version": 1, "name": "Pro",
                "billing_interval": "week", "interval_count": 2, "trial_days": 14,
                "limits": {
                    "executions": {
                        "hard": null, "soft": 34_359_738_360_u64, "window": "billing_period",
                    },
                    "workflows": {"hard": 50, "soft": null, "window": "lifetime"},
                },
                "entitlements": ["sso"], "retention_days": 30, "created_at": at,
            }),
        ),
        ("plans", json!({"active": true}), json!({"active": false})),
    ];
    let expected = expected.map(|(table, old, new)| (table.to_owned(), old, new));
    assert_eq!(operator_trail(&f).await, expected);
    let ctx = f.tenant("t").await;
    let mut unit = f.unit(&ctx).await;
    let of_tenant = unit.audit().page(&AuditFilter::default(), &all()).await;
    let plans = of_tenant.unwrap().items;
    assert!(plans.iter().all(|entry| entry.resource_type == "tenants"));
}

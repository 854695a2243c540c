//! The builders for other people's tests, on both backends.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use rust_decimal::Decimal;
use tenantry::ErrorKind;
use tenantry::domain::execution::{ExecutionMode, ExecutionStatus};
use tenantry::domain::identity::Role;
use tenantry::domain::metering::MeterName;
use tenantry::domain::time::{Month, Period};
use tenantry::fixtures::World;
use tenantry::store::ManualClock;

use crate::backend::{Login, fresh, noon};

async fn on_both(test: impl AsyncFn(World)) {
    test(World::in_memory()).await;
    let clock = Arc::new(ManualClock::at(noon()));
    let database = fresh(Login::Plain, Arc::clone(&clock)).await;
    test(World::on(Arc::new(database.store.clone()), clock)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_world_is_made_in_a_few_lines() {
    on_both(async |world| {
        let (acme, globex) = (
            world.tenant("Acme").await.unwrap(),
            world.tenant("Globex").await.unwrap(),
        );
        let ada = acme.user("ada@acme.example", &[Role::Editor]).await;
        let ada = ada.unwrap();
        let intake = acme.workflow("Order intake").await.unwrap();
        let run = acme.run_of(&intake).by(&ada).took(Duration::from_secs(2));
        let run = run.report().await.unwrap();
        assert_eq!((run.workflow, run.triggered_by), (intake.id, Some(ada.id)));
        assert_eq!(
            (run.duration_ms, run.finished_at),
            (Some(2_000), Some(noon()))
        );

        world.advance(TimeDelta::minutes(1));
        let failed = acme.run_of(&intake).failed("no such order").report().await;
        let failed = failed.unwrap();
        assert_eq!(failed.status, ExecutionStatus::Error);
        let log = world.app().executions().errors(acme.ctx(), failed.id).await;
        assert_eq!(log.unwrap()[0].message, "no such order");
        let manual = acme.run_of(&intake).mode(ExecutionMode::Manual);
        let running = manual.status(ExecutionStatus::Running).report().await;
        assert_eq!(running.unwrap().finished_at, None);

        let receipt = globex.usage(MeterName::AI_CALLS, 3).await.unwrap();
        assert!(receipt.new);
        let month = Month::of(world.now());
        let month = Period::new(month.start(), month.end()).unwrap();
        for (tenant, meter, sum) in [
            (&acme, MeterName::EXECUTIONS, 2),
            (&acme, MeterName::AI_CALLS, 0),
            (&globex, MeterName::AI_CALLS, 3),
        ] {
            let metering = world.app().metering();
            let total = metering.total(tenant.ctx(), &meter, &month, None).await;
            assert_eq!(total.unwrap().value, Decimal::from(sum));
        }
        let pro = acme.subscribe("pro", 30).await.unwrap();
        let again = globex.subscribe("pro", 30).await.unwrap();
        assert_eq!(pro.plan_version, again.plan_version);
        world.advance(TimeDelta::days(45));
        let renewed = world.app().subscriptions().renew(acme.ctx(), pro.id).await;
        assert_eq!(renewed.unwrap().subscription.revision, 2);
        let foreign = globex.run_of(&intake).report().await.unwrap_err();
        assert_eq!(foreign.kind(), ErrorKind::NotFound);
        let taken = acme.user("Ada@ACME.example", &[]).await.unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
        let viewer = acme.as_user(&acme.user("bob@acme.example", &[]).await.unwrap());
        let denied = world.app().workflows().get(&viewer, intake.id).await;
        assert_eq!(denied.unwrap_err().kind(), ErrorKind::Forbidden);
    })
    .await;
}

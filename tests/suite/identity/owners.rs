//! The last owner stays, whoever acts at the same time.

use std::sync::Arc;

use tenantry::domain::identity::{IdentityError, Role, UserStatus};
use tenantry::domain::ids::UserId;
use tenantry::{Context, Error, ErrorKind, Tenantry};
use tokio::sync::Barrier;

use super::{House, breaks, create, id};
use crate::backend::each_backend;

#[tokio::test(flavor = "multi_thread")]
async fn the_last_owner_stays() {
    for backed in each_backend().await {
        let house = House::build(&backed).await;
        let (users, roles) = (house.tenantry.users(), house.tenantry.roles());
        let last = id(&house.owner);
        for ctx in [&house.owner, &house.system] {
            let rule = &IdentityError::LastOwner;
            breaks(roles.revoke(ctx, last, &Role::Owner).await, rule);
            breaks(users.deactivate(ctx, last).await, rule);
            breaks(users.erase(ctx, last).await, rule);
        }
        // A deactivated owner does not count, and so may go.
        let second = create(&house.tenantry, &house.owner, "second", &[Role::Owner]).await;
        users.deactivate(&house.owner, second.id).await.unwrap();
        breaks(
            users.deactivate(&house.owner, last).await,
            &IdentityError::LastOwner,
        );
        roles
            .revoke(&house.owner, second.id, &Role::Owner)
            .await
            .unwrap();
        assert!(house.get(&house.owner).await.status == UserStatus::Active);
    }
}

/// How an owner goes.
#[derive(Debug, Clone, Copy)]
enum Exit {
    Revoke,
    Deactivate,
    Erase,
}

impl Exit {
    async fn of(self, tenantry: &Tenantry, ctx: &Context, owner: UserId) -> Result<(), Error> {
        let users = tenantry.users();
        match self {
            Self::Revoke => {
                let gone = tenantry.roles().revoke(ctx, owner, &Role::Owner).await;
                gone.map(drop)
            }
            Self::Deactivate => users.deactivate(ctx, owner).await.map(drop),
            Self::Erase => users.erase(ctx, owner).await.map(drop),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_owners_who_remove_each_other_one_stays() {
    const EXITS: [Exit; 3] = [Exit::Revoke, Exit::Deactivate, Exit::Erase];
    for backed in each_backend().await {
        for round in 0..27 {
            let house = House::build(&backed).await;
            let second = create(&house.tenantry, &house.owner, "second", &[Role::Owner]).await;
            let (one, two) = (id(&house.owner), second.id);
            let tenant = house.system.tenant();
            // As each other, both may; as the system, nothing but the rule stops the second.
            let actors = if round % 2 == 0 {
                [Context::user(tenant, one), Context::user(tenant, two)]
            } else {
                [house.system.clone(), house.system.clone()]
            };
            let start = Arc::new(Barrier::new(2));
            let leave = |ctx: &Context, owner: UserId, exit: Exit| {
                let (tenantry, ctx) = (house.tenantry.clone(), ctx.clone());
                let start = Arc::clone(&start);
                tokio::spawn(async move {
                    start.wait().await;
                    exit.of(&tenantry, &ctx, owner).await
                })
            };
            let first = leave(&actors[0], two, EXITS[round % 3]);
            let second = leave(&actors[1], one, EXITS[round / 3 % 3]);
            let done = [first.await.unwrap(), second.await.unwrap()];
            let place = format!("{} round {round}: {done:?}", backed.name);
            let succeeded = done.iter().filter(|result| result.is_ok()).count();
            assert_eq!(succeeded, 1, "{place}");
            for error in done.into_iter().filter_map(Result::err) {
                let refused = matches!(
                    &error,
                    Error::Denied(_) | Error::Identity(IdentityError::LastOwner)
                );
                assert!(refused, "{place}");
            }
            let mut unit = backed.store.begin(&house.system).await.unwrap();
            let left = unit.roles().active_owners().await.unwrap();
            assert_eq!(left, 1, "{place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_open_units_that_remove_the_owners_one_loses() {
    for backed in each_backend().await {
        let house = House::build(&backed).await;
        let second = create(&house.tenantry, &house.owner, "second", &[Role::Owner]).await;
        let users = house.tenantry.users();
        let mut a = backed.store.begin(&house.system).await.unwrap();
        let mut b = backed.store.begin(&house.system).await.unwrap();
        users.deactivate_in(&mut *a, second.id).await.unwrap();
        // The second may wait for the first, so both go on at the same time.
        let later = async {
            users.deactivate_in(&mut *b, id(&house.owner)).await?;
            Ok::<_, Error>(b.commit().await?)
        };
        let (first, later) = tokio::join!(a.commit(), later);
        first.unwrap();
        match later {
            Err(Error::Identity(IdentityError::LastOwner)) => {}
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            other => panic!("{}: {other:?}", backed.name),
        }
    }
}

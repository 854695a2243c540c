//! Who may do what, and to whom.

use std::collections::BTreeSet;

use tenantry::domain::access::Permission;
use tenantry::domain::identity::{IdentityError, Role, RoleName, UserPatch};
use tenantry::domain::page::PageRequest;
use tenantry::domain::text::{Email, Name, Subject};
use tenantry::{Context, ErrorKind, PlatformContext};

use super::{House, as_tenant, breaks, create, custom, fails, forbidden, id, new_user};
use crate::backend::{each_backend, noon};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_do_what_the_table_says() {
    for backed in each_backend().await {
        let house = House::build(&backed).await;
        let users = [
            (&house.owner, Role::Owner),
            (&house.admin, Role::Admin),
            (&house.editor, Role::Editor),
            (&house.viewer, Role::Viewer),
        ];
        let roles = house.tenantry.roles();
        for permission in Permission::ALL.iter().copied() {
            roles.check(&house.system, permission).await.unwrap();
            for (ctx, role) in &users {
                let allowed = role.built_in_permissions().unwrap();
                let checked = roles.check(ctx, permission).await;
                if allowed.contains(&permission) {
                    checked.unwrap();
                } else {
                    forbidden(checked, permission);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_a_place_in_the_tenant_may_do_nothing() {
    for backed in each_backend().await {
        let house = House::build(&backed).await;
        let elsewhere = House::build(&backed).await;
        let (tenant, roles) = (house.system.tenant(), house.tenantry.roles());
        let stranger = Context::user(tenant, id(&elsewhere.owner));
        let bare = create(&house.tenantry, &house.system, "bare", &[]).await;
        let bare = Context::user(tenant, bare.id);
        for permission in Permission::ALL.iter().copied() {
            forbidden(roles.check(&stranger, permission).await, permission);
            forbidden(roles.check(&bare, permission).await, permission);
        }
        let users = house.tenantry.users();
        users
            .deactivate(&house.system, id(&house.admin))
            .await
            .unwrap();
        let away = users
            .list(&house.admin, None, &PageRequest::default())
            .await;
        forbidden(away, Permission::UsersRead);
        forbidden(
            users.get(&house.admin, id(&house.admin)).await,
            Permission::UsersRead,
        );
        users
            .reactivate(&house.system, id(&house.admin))
            .await
            .unwrap();
        let back = users
            .list(&house.admin, None, &PageRequest::default())
            .await;
        assert_eq!(back.unwrap().items.len(), 5, "{}", backed.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_read_a_suspended_tenant_and_nothing_of_a_closed_one() {
    for backed in each_backend().await {
        let house = House::build(&backed).await;
        let (operator, tenants) = (PlatformContext::system(), house.tenantry.tenants());
        let users = house.tenantry.users();
        let patch = UserPatch::default();
        let myself = id(&house.owner);
        tenants
            .suspend(&operator, house.system.tenant())
            .await
            .unwrap();
        users.get(&house.owner, id(&house.viewer)).await.unwrap();
        fails(
            users.deactivate(&house.owner, id(&house.viewer)).await,
            ErrorKind::Forbidden,
        );
        fails(
            users.change(&house.owner, myself, 1, &patch).await,
            ErrorKind::Forbidden,
        );
        fails(
            users.record_login(&house.owner, myself).await,
            ErrorKind::Forbidden,
        );
        users.record_login(&house.system, myself).await.unwrap();
        tenants
            .close(&operator, house.system.tenant())
            .await
            .unwrap();
        fails(users.get(&house.owner, myself).await, ErrorKind::Forbidden);
        fails(tenants.own(&house.owner).await, ErrorKind::Forbidden);
        users.get(&house.system, myself).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gives_or_takes_what_they_do_not_have() {
    for backed in each_backend().await {
        let house = House::build(&backed).await;
        let (users, roles) = (house.tenantry.users(), house.tenantry.roles());
        let (admin, viewer) = (&house.admin, id(&house.viewer));
        forbidden(
            roles.grant(admin, viewer, &Role::Owner).await,
            Permission::OwnersManage,
        );
        forbidden(
            roles.revoke(admin, id(&house.owner), &Role::Owner).await,
            Permission::OwnersManage,
        );
        forbidden(
            users
                .create(admin, &new_user("friend", &[Role::Owner]))
                .await,
            Permission::OwnersManage,
        );
        forbidden(
            roles.grant(&house.editor, viewer, &Role::Editor).await,
            Permission::RolesManage,
        );
        let grant = roles.grant(admin, viewer, &Role::Editor).await.unwrap();
        assert_eq!(grant.granted_by, Some(id(admin)));
        assert_eq!(grant.granted_at, noon());
        roles
            .grant(&house.owner, viewer, &Role::Owner)
            .await
            .unwrap();

        let name = RoleName::new("biller").unwrap();
        let billing = BTreeSet::from([Permission::UsageRecord]);
        let modest = BTreeSet::from([Permission::UsageRead]);
        forbidden(
            roles.define(admin, &name, &billing).await,
            Permission::UsageRecord,
        );
        let biller = roles.define(admin, &name, &modest).await.unwrap();
        forbidden(
            roles
                .redefine(admin, &name, biller.revision, &billing)
                .await,
            Permission::UsageRecord,
        );
        let biller = roles
            .redefine(&house.system, &name, biller.revision, &billing)
            .await
            .unwrap();
        forbidden(
            roles.redefine(admin, &name, biller.revision, &modest).await,
            Permission::UsageRecord,
        );
        forbidden(
            roles.grant(admin, viewer, &custom("biller")).await,
            Permission::UsageRecord,
        );
        forbidden(roles.delete(admin, &name).await, Permission::UsageRecord);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_over_the_account_of_somebody_above_them() {
    for backed in each_backend().await {
        let house = House::build(&backed).await;
        let users = house.tenantry.users();
        let (admin, owner) = (&house.admin, id(&house.owner));
        let takeover = UserPatch {
            email: Some(Email::new("mine@house.example").unwrap()),
            subject: Some(Some(Subject::new("idp|mine").unwrap())),
            ..UserPatch::default()
        };
        let missing = Permission::OwnersManage;
        forbidden(users.change(admin, owner, 1, &takeover).await, missing);
        forbidden(users.deactivate(admin, owner).await, missing);
        forbidden(users.erase(admin, owner).await, missing);
        users
            .change(admin, id(&house.editor), 1, &takeover)
            .await
            .unwrap();
        users
            .change(&house.owner, id(admin), 1, &UserPatch::default())
            .await
            .unwrap();

        users
            .create(&house.owner, &new_user("second", &[Role::Owner]))
            .await
            .unwrap();
        users.deactivate(&house.owner, owner).await.unwrap();
        forbidden(users.reactivate(admin, owner).await, missing);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_reads_themselves_and_changes_their_name_and_preferences() {
    for backed in each_backend().await {
        let house = House::build(&backed).await;
        let users = house.tenantry.users();
        let viewer = id(&house.viewer);
        let patch = UserPatch {
            full_name: Some(Some(Name::new("Vera").unwrap())),
            ..UserPatch::default()
        };
        let vera = users
            .change(&house.viewer, viewer, 1, &patch)
            .await
            .unwrap();
        assert_eq!(vera.full_name, patch.full_name.clone().unwrap());
        fails(
            users.change(&house.viewer, viewer, 1, &patch).await,
            ErrorKind::Stale,
        );
        forbidden(
            users
                .change(&house.viewer, id(&house.editor), 1, &patch)
                .await,
            Permission::UsersManage,
        );
        let login = UserPatch {
            email: Some(Email::new("vera@house.example").unwrap()),
            ..patch
        };
        forbidden(
            users.change(&house.viewer, viewer, 2, &login).await,
            Permission::UsersManage,
        );
        let bare = create(&house.tenantry, &house.system, "bare", &[]).await;
        let herself = Context::user(house.system.tenant(), bare.id);
        assert_eq!(users.get(&herself, bare.id).await.unwrap(), bare);
        let roles = house.tenantry.roles();
        assert!(roles.grants_of(&herself, bare.id).await.unwrap().is_empty());
        let rights = roles.rights_of(&herself, bare.id).await.unwrap();
        assert!(rights.permissions().is_empty());
        forbidden(users.get(&herself, viewer).await, Permission::UsersRead);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_role_allows_what_it_is_defined_to() {
    for backed in each_backend().await {
        let house = House::build(&backed).await;
        let roles = house.tenantry.roles();
        let name = RoleName::new("auditor").unwrap();
        let role = custom("auditor");
        let bare = create(&house.tenantry, &house.system, "bare", &[]).await;
        let auditor = Context::user(house.system.tenant(), bare.id);
        fails(
            roles.grant(&house.owner, bare.id, &role).await,
            ErrorKind::NotFound,
        );
        let audit = BTreeSet::from([Permission::AuditRead]);
        let defined = roles.define(&house.owner, &name, &audit).await.unwrap();
        roles.grant(&house.owner, bare.id, &role).await.unwrap();
        fails(
            roles.grant(&house.owner, bare.id, &role).await,
            ErrorKind::AlreadyExists,
        );
        roles.check(&auditor, Permission::AuditRead).await.unwrap();
        let nothing = BTreeSet::new();
        fails(
            roles.redefine(&house.owner, &name, 7, &nothing).await,
            ErrorKind::Stale,
        );
        roles
            .redefine(&house.owner, &name, defined.revision, &nothing)
            .await
            .unwrap();
        forbidden(
            roles.check(&auditor, Permission::AuditRead).await,
            Permission::AuditRead,
        );
        let in_use = IdentityError::RoleInUse { role: name.clone() };
        breaks(roles.delete(&house.owner, &name).await, &in_use);
        roles.revoke(&house.owner, bare.id, &role).await.unwrap();
        fails(
            roles.revoke(&house.owner, bare.id, &role).await,
            ErrorKind::NotFound,
        );
        roles.delete(&house.owner, &name).await.unwrap();
        fails(roles.get(&house.owner, &name).await, ErrorKind::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_of_a_newer_version_allows_nothing_and_breaks_nothing() {
    let [_, backed] = each_backend().await;
    let house = House::build(&backed).await;
    let roles = house.tenantry.roles();
    let name = RoleName::new("pilot").unwrap();
    let audit = BTreeSet::from([Permission::AuditRead]);
    roles.define(&house.owner, &name, &audit).await.unwrap();
    let viewer = id(&house.viewer);
    roles
        .grant(&house.owner, viewer, &custom("pilot"))
        .await
        .unwrap();
    let newer = "UPDATE tenantry.roles SET permissions = permissions || ARRAY['rockets.fly']";
    as_tenant(&backed, &house.system, newer).await.unwrap();
    roles
        .check(&house.viewer, Permission::AuditRead)
        .await
        .unwrap();
    let rights = roles.rights_of(&house.owner, viewer).await.unwrap();
    let mut expected = Role::Viewer.built_in_permissions().unwrap();
    expected.extend(audit);
    assert_eq!(rights.permissions(), expected);
    fails(roles.get(&house.owner, &name).await, ErrorKind::Corrupt);
}

//! Roles: definitions, grants, and what both together allow.

use std::collections::BTreeSet;

use futures_util::join;
use serde_json::{Value, json};

use super::fixture::{Fixture, all, fails};
use crate::domain::access::Permission;
use crate::domain::audit::AuditAction;
use crate::domain::context::Context;
use crate::domain::identity::{
    Rights, Role, RoleDefinition, RoleGrant, RoleName, User, UserStatus,
};
use crate::domain::page::{Cursor, PageRequest};
use crate::domain::tenancy::TenantStatus;
use crate::store::{AuditFilter, StoreError, StoreErrorKind};

super::list_cases! { "roles":
    a_role_is_read_back_as_it_was_defined,
    an_id_and_a_name_are_taken_once,
    a_redefinition_names_the_revision_it_has_read,
    a_role_that_nobody_has_can_be_deleted,
    roles_are_listed_by_name_page_by_page,
    a_grant_is_read_back_with_what_the_role_allows,
    a_user_has_a_role_once,
    a_grant_refers_to_what_the_tenant_has,
    a_revoked_role_is_gone,
    holders_are_listed_page_by_page,
    a_cursor_of_another_list_is_refused,
    rights_are_all_that_the_roles_allow,
    rights_tell_the_states,
    only_active_owners_are_counted,
    of_two_grants_of_one_role_one_wins,
    every_change_is_in_the_trail,
    another_tenant_s_roles_are_not_there,
    a_grant_cannot_refer_to_another_tenant,
}

fn name(text: &str) -> RoleName {
    RoleName::new(text).unwrap()
}

fn custom(text: &str) -> Role {
    Role::Custom(name(text))
}

async fn defined(
    f: &Fixture,
    ctx: &Context,
    text: &str,
    permissions: &[Permission],
) -> RoleDefinition {
    let mut unit = f.unit(ctx).await;
    let role = RoleDefinition {
        id: unit.ids().fresh(),
        name: name(text),
        permissions: permissions.iter().copied().collect(),
        created_at: unit.now(),
        updated_at: unit.now(),
        revision: 1,
    };
    unit.roles().define(&role).await.unwrap();
    unit.commit().await.unwrap();
    role
}

async fn new_grant(f: &Fixture, ctx: &Context, user: &User, role: Role) -> RoleGrant {
    let mut unit = f.unit(ctx).await;
    RoleGrant {
        id: unit.ids().fresh(),
        user: user.id,
        permissions: role.built_in_permissions().unwrap_or_default(),
        role,
        granted_by: None,
        granted_at: unit.now(),
    }
}

async fn write(f: &Fixture, ctx: &Context, grant: &RoleGrant) -> Result<(), StoreError> {
    let mut unit = f.unit(ctx).await;
    unit.roles().grant(grant).await?;
    unit.commit().await
}

async fn granted(f: &Fixture, ctx: &Context, user: &User, role: Role) -> RoleGrant {
    let grant = new_grant(f, ctx, user, role).await;
    write(f, ctx, &grant).await.unwrap();
    grant
}

async fn a_role_is_read_back_as_it_was_defined(f: Fixture) {
    let ctx = f.tenant("t").await;
    let permissions = [Permission::UsageRecord, Permission::TenantRead];
    let clerk = defined(&f, &ctx, "clerk", &permissions).await;
    let nothing = defined(&f, &ctx, "nothing", &[]).await;
    let mut unit = f.unit(&ctx).await;
    for role in [clerk, nothing] {
        let found = unit.roles().find(&role.name).await.unwrap();
        assert_eq!(found, Some(role));
    }
    assert_eq!(unit.roles().find(&name("cleaner")).await.unwrap(), None);
}

async fn an_id_and_a_name_are_taken_once(f: Fixture) {
    let ctx = f.tenant("t").await;
    let clerk = defined(&f, &ctx, "clerk", &[]).await;
    let same_id = RoleDefinition {
        name: name("other"),
        ..clerk.clone()
    };
    let same_name = RoleDefinition {
        id: f.platform().await.ids().fresh(),
        ..clerk
    };
    for taken in [same_id, same_name] {
        let mut unit = f.unit(&ctx).await;
        let refused = unit.roles().define(&taken).await;
        fails(refused, StoreErrorKind::AlreadyExists);
    }
}

async fn a_redefinition_names_the_revision_it_has_read(f: Fixture) {
    let ctx = f.tenant("t").await;
    let clerk = defined(&f, &ctx, "clerk", &[Permission::UsageRead]).await;
    let wish = RoleDefinition {
        permissions: BTreeSet::from([Permission::UsageRecord]),
        updated_at: clerk.updated_at + chrono::TimeDelta::days(1),
        ..clerk.clone()
    };
    let mut unit = f.unit(&ctx).await;
    let stored = unit.roles().redefine(&wish).await.unwrap();
    unit.commit().await.unwrap();
    let expected = RoleDefinition {
        revision: 2,
        ..wish.clone()
    };
    assert_eq!(stored, expected);
    let mut unit = f.unit(&ctx).await;
    let found = unit.roles().find(&clerk.name).await.unwrap();
    assert_eq!(found, Some(expected));
    let stale = unit.roles().redefine(&wish).await;
    fails(stale, StoreErrorKind::Conflict);
}

async fn a_role_that_nobody_has_can_be_deleted(f: Fixture) {
    let ctx = f.tenant("t").await;
    let clerk = defined(&f, &ctx, "clerk", &[]).await;
    let user = f.user(&ctx, "ana@acme.example").await;
    let grant = granted(&f, &ctx, &user, custom("clerk")).await;
    let stale = RoleDefinition {
        revision: 2,
        ..clerk.clone()
    };
    for kept in [&clerk, &stale] {
        let mut unit = f.unit(&ctx).await;
        let refused = unit.roles().delete(kept).await;
        fails(refused, StoreErrorKind::Conflict);
    }
    let mut unit = f.unit(&ctx).await;
    unit.roles().revoke(grant.id).await.unwrap();
    unit.roles().delete(&clerk).await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = f.unit(&ctx).await;
    assert_eq!(unit.roles().find(&clerk.name).await.unwrap(), None);
    let again = unit.roles().delete(&clerk).await;
    fails(again, StoreErrorKind::Conflict);
}

async fn roles_are_listed_by_name_page_by_page(f: Fixture) {
    let ctx = f.tenant("t").await;
    for text in ["c", "a-b", "ab", "a_b", "a1"] {
        defined(&f, &ctx, text, &[]).await;
    }
    let mut unit = f.unit(&ctx).await;
    let (mut names, mut request) = (Vec::new(), PageRequest::first(2));
    loop {
        let page = unit.roles().page(&request).await.unwrap();
        names.extend(page.items.into_iter().map(|role| role.name.to_string()));
        let Some(next) = page.next else { break };
        request = PageRequest::first(2).after(next);
    }
    assert_eq!(
        names,
        ["a-b", "a1", "a_b", "ab", "c"],
        "in the order of bytes"
    );
}

async fn a_grant_is_read_back_with_what_the_role_allows(f: Fixture) {
    let ctx = f.tenant("t").await;
    let clerk = defined(&f, &ctx, "clerk", &[Permission::UsageRecord]).await;
    let giver = f.user(&ctx, "giver@acme.example").await;
    let user = f.user(&ctx, "ana@acme.example").await;
    let editor = RoleGrant {
        granted_by: Some(giver.id),
        ..new_grant(&f, &ctx, &user, Role::Editor).await
    };
    write(&f, &ctx, &editor).await.unwrap();
    f.clock.advance(chrono::TimeDelta::seconds(1));
    let by_system = RoleGrant {
        permissions: clerk.permissions,
        ..granted(&f, &ctx, &user, custom("clerk")).await
    };
    let mut unit = f.unit(&ctx).await;
    let grants = unit.roles().grants_of(user.id).await.unwrap();
    assert_eq!(grants, [editor, by_system]);
    let none = unit.roles().grants_of(giver.id).await.unwrap();
    assert!(none.is_empty());
}

async fn a_user_has_a_role_once(f: Fixture) {
    let ctx = f.tenant("t").await;
    let user = f.user(&ctx, "ana@acme.example").await;
    let grant = granted(&f, &ctx, &user, Role::Editor).await;
    let twice = new_grant(&f, &ctx, &user, Role::Editor).await;
    let same_id = RoleGrant {
        role: Role::Viewer,
        ..grant
    };
    for taken in [twice, same_id] {
        let refused = write(&f, &ctx, &taken).await;
        fails(refused, StoreErrorKind::AlreadyExists);
    }
}

async fn a_grant_refers_to_what_the_tenant_has(f: Fixture) {
    let ctx = f.tenant("t").await;
    let user = f.user(&ctx, "ana@acme.example").await;
    let ghost = f.platform().await.ids().fresh();
    let good = new_grant(&f, &ctx, &user, Role::Viewer).await;
    let to_nobody = RoleGrant {
        user: ghost,
        ..good.clone()
    };
    let of_nothing = RoleGrant {
        role: custom("clerk"),
        ..good.clone()
    };
    let by_nobody = RoleGrant {
        granted_by: Some(ghost),
        ..good.clone()
    };
    for bad in [to_nobody, of_nothing, by_nobody] {
        fails(write(&f, &ctx, &bad).await, StoreErrorKind::NotFound);
    }
    write(&f, &ctx, &good).await.unwrap();
}

async fn a_revoked_role_is_gone(f: Fixture) {
    let ctx = f.tenant("t").await;
    let user = f.user(&ctx, "ana@acme.example").await;
    let kept = granted(&f, &ctx, &user, Role::Viewer).await;
    let grant = granted(&f, &ctx, &user, Role::Owner).await;
    let mut unit = f.unit(&ctx).await;
    unit.roles().revoke(grant.id).await.unwrap();
    let left = unit.roles().grants_of(user.id).await.unwrap();
    assert_eq!(left, [kept], "the unit sees it at once");
    unit.commit().await.unwrap();
    let mut unit = f.unit(&ctx).await;
    let owners = unit.roles().holders(&Role::Owner, &all()).await.unwrap();
    assert!(owners.items.is_empty());
    let again = unit.roles().revoke(grant.id).await;
    fails(again, StoreErrorKind::NotFound);
    granted(&f, &ctx, &user, Role::Owner).await;
}

async fn holders_are_listed_page_by_page(f: Fixture) {
    let ctx = f.tenant("t").await;
    let mut expected = Vec::new();
    for number in 0..5 {
        let user = f.user(&ctx, &format!("user{number}@acme.example")).await;
        granted(&f, &ctx, &user, Role::Viewer).await;
        expected.push(granted(&f, &ctx, &user, Role::Editor).await);
    }
    expected.sort_by_key(|grant| grant.user);
    let mut unit = f.unit(&ctx).await;
    let (mut found, mut request) = (Vec::new(), PageRequest::first(2));
    loop {
        let page = unit.roles().holders(&Role::Editor, &request).await.unwrap();
        found.extend(page.items);
        let Some(next) = page.next else { break };
        request = PageRequest::first(2).after(next);
    }
    assert_eq!(found, expected);
}

async fn a_cursor_of_another_list_is_refused(f: Fixture) {
    let ctx = f.tenant("t").await;
    let foreign = PageRequest::first(1).after(Cursor::after(&[1, 2]));
    let mut unit = f.unit(&ctx).await;
    fails(unit.roles().page(&foreign).await, StoreErrorKind::Invalid);
    let mut unit = f.unit(&ctx).await;
    let holders = unit.roles().holders(&Role::Owner, &foreign).await;
    fails(holders, StoreErrorKind::Invalid);
}

async fn rights_are_all_that_the_roles_allow(f: Fixture) {
    let ctx = f.tenant("t").await;
    let clerk = defined(&f, &ctx, "clerk", &[Permission::UsageRecord]).await;
    let user = f.user(&ctx, "ana@acme.example").await;
    let rights = |roles: Vec<Role>, granted: BTreeSet<Permission>| {
        Some(Rights {
            tenant: TenantStatus::Active,
            user: UserStatus::Active,
            roles: roles.into_iter().collect(),
            granted,
        })
    };
    let mut unit = f.unit(&ctx).await;
    let found = unit.roles().rights_of(user.id).await.unwrap();
    assert_eq!(found, rights(vec![], BTreeSet::new()));
    let ghost = unit.ids().fresh();
    assert_eq!(unit.roles().rights_of(ghost).await.unwrap(), None);

    granted(&f, &ctx, &user, Role::Viewer).await;
    granted(&f, &ctx, &user, custom("clerk")).await;
    let mut both = Role::Viewer.built_in_permissions().unwrap();
    both.insert(Permission::UsageRecord);
    let mut unit = f.unit(&ctx).await;
    let found = unit.roles().rights_of(user.id).await.unwrap();
    assert_eq!(found, rights(vec![Role::Viewer, custom("clerk")], both));

    let redefined = RoleDefinition {
        permissions: BTreeSet::from([Permission::AuditRead]),
        ..clerk
    };
    unit.roles().redefine(&redefined).await.unwrap();
    let found = unit.roles().rights_of(user.id).await.unwrap().unwrap();
    assert!(found.granted.contains(&Permission::AuditRead));
    assert!(!found.granted.contains(&Permission::UsageRecord));
}

async fn rights_tell_the_states(f: Fixture) {
    let ctx = f.tenant("t").await;
    let mut user = f.user(&ctx, "ana@acme.example").await;
    granted(&f, &ctx, &user, Role::Owner).await;
    let mut unit = f.unit(&ctx).await;
    user.deactivate(unit.now()).unwrap();
    unit.users().update(&user).await.unwrap();
    unit.commit().await.unwrap();
    let mut platform = f.platform().await;
    let mut tenant = platform.tenants().get(ctx.tenant()).await.unwrap().unwrap();
    tenant.suspend(platform.now()).unwrap();
    platform.tenants().update(&tenant).await.unwrap();
    platform.commit().await.unwrap();
    let mut unit = f.unit(&ctx).await;
    let rights = unit.roles().rights_of(user.id).await.unwrap().unwrap();
    assert_eq!(rights.tenant, TenantStatus::Suspended);
    assert_eq!(rights.user, UserStatus::Deactivated);
    assert_eq!(rights.granted, Role::Owner.built_in_permissions().unwrap());
    assert!(rights.permissions().is_empty());
}

async fn only_active_owners_are_counted(f: Fixture) {
    let ctx = f.tenant("t").await;
    let mut owners = Vec::new();
    for number in 0..3 {
        let user = f.user(&ctx, &format!("user{number}@acme.example")).await;
        let role = if number == 0 {
            Role::Admin
        } else {
            Role::Owner
        };
        granted(&f, &ctx, &user, role).await;
        owners.push(user);
    }
    let mut unit = f.unit(&ctx).await;
    assert_eq!(unit.roles().active_owners().await.unwrap(), 2);
    owners[2].deactivate(unit.now()).unwrap();
    unit.users().update(&owners[2]).await.unwrap();
    assert_eq!(unit.roles().active_owners().await.unwrap(), 1);
    let holders = unit.roles().holders(&Role::Owner, &all()).await.unwrap();
    assert_eq!(holders.items.len(), 2, "whatever their states");
}

async fn of_two_grants_of_one_role_one_wins(f: Fixture) {
    let ctx = f.tenant("t").await;
    let user = f.user(&ctx, "ana@acme.example").await;
    let one = new_grant(&f, &ctx, &user, Role::Editor).await;
    let two = new_grant(&f, &ctx, &user, Role::Editor).await;
    let (mut a, mut b) = (f.unit(&ctx).await, f.unit(&ctx).await);
    a.roles().grant(&one).await.unwrap();
    // The second writer may wait for the first, so both go on at the same time.
    let second = async {
        b.roles().grant(&two).await?;
        b.commit().await
    };
    let (first, second) = join!(a.commit(), second);
    first.unwrap();
    fails(second, StoreErrorKind::AlreadyExists);
    let grants = f.unit(&ctx).await.roles().grants_of(user.id).await;
    assert_eq!(grants.unwrap(), [one]);
}

async fn every_change_is_in_the_trail(f: Fixture) {
    let ctx = f.tenant("t").await;
    let clerk = defined(
        &f,
        &ctx,
        "clerk",
        &[Permission::UsageRead, Permission::AuditRead],
    )
    .await;
    let user = f.user(&ctx, "ana@acme.example").await;
    let mut unit = f.unit(&Context::user(ctx.tenant(), user.id)).await;
    let redefined = RoleDefinition {
        permissions: BTreeSet::new(),
        ..clerk.clone()
    };
    let redefined = unit.roles().redefine(&redefined).await.unwrap();
    unit.commit().await.unwrap();
    let grant = RoleGrant {
        granted_by: Some(user.id),
        ..new_grant(&f, &ctx, &user, custom("clerk")).await
    };
    write(&f, &ctx, &grant).await.unwrap();
    let owner = granted(&f, &ctx, &user, Role::Owner).await;
    let mut unit = f.unit(&ctx).await;
    unit.roles().revoke(grant.id).await.unwrap();
    unit.roles().delete(&redefined).await.unwrap();
    unit.commit().await.unwrap();

    let mut unit = f.unit(&ctx).await;
    let trail = unit.audit().page(&AuditFilter::default(), &all()).await;
    let changes: Vec<_> = trail
        .unwrap()
        .items
        .into_iter()
        .rev()
        .filter(|entry| matches!(&*entry.resource_type, "roles" | "user_roles"))
        .map(|entry| {
            let values = json!([entry.old_values, entry.new_values]);
            (entry.action, entry.resource_id, values)
        })
        .collect();
    let at = "2026-11-15T12:00:00+00:00";
    let role = |permissions: Value| {
        json!({
            "id": clerk.id, "name": "clerk", "permissions": permissions, "created_at": at,
        })
    };
    let clerkship = json!({
        "id": grant.id, "user_id": user.id, "role": "clerk", "custom_role": "clerk",
        "granted_by": user.id, "granted_at": at,
    });
    let ownership = json!({
        "id": owner.id, "user_id": user.id, "role": "owner", "custom_role": null,
        "granted_by": null, "granted_at": at,
    });
    let both = json!(["usage.read", "audit.read"]);
    let (the_role, the_grant) = (Some(clerk.id.as_uuid()), Some(grant.id.as_uuid()));
    let expected = [
        (
            AuditAction::Insert,
            the_role,
            json!([{}, role(both.clone())]),
        ),
        (
            AuditAction::Update,
            the_role,
            json!([{"permissions": both}, {"permissions": []}]),
        ),
        (AuditAction::Insert, the_grant, json!([{}, clerkship])),
        (
            AuditAction::Insert,
            Some(owner.id.as_uuid()),
            json!([{}, ownership]),
        ),
        (AuditAction::Delete, the_grant, json!([clerkship, {}])),
        (AuditAction::Delete, the_role, json!([role(json!([])), {}])),
    ];
    assert_eq!(changes, expected);
}

async fn another_tenant_s_roles_are_not_there(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let clerk = defined(&f, &one, "clerk", &[Permission::UsageRead]).await;
    let user = f.user(&one, "ana@acme.example").await;
    let grant = granted(&f, &one, &user, custom("clerk")).await;
    granted(&f, &one, &user, Role::Owner).await;
    let mut unit = f.unit(&two).await;
    let roles = unit.roles();
    assert_eq!(roles.find(&clerk.name).await.unwrap(), None);
    assert!(roles.page(&all()).await.unwrap().items.is_empty());
    assert_eq!(roles.rights_of(user.id).await.unwrap(), None);
    assert!(roles.grants_of(user.id).await.unwrap().is_empty());
    for role in [custom("clerk"), Role::Owner] {
        let holders = roles.holders(&role, &all()).await.unwrap();
        assert!(holders.items.is_empty());
    }
    assert_eq!(roles.active_owners().await.unwrap(), 0);
    fails(roles.revoke(grant.id).await, StoreErrorKind::NotFound);
    let mut unit = f.unit(&two).await;
    let changed = unit.roles().redefine(&clerk).await;
    fails(changed, StoreErrorKind::Conflict);
    let mut unit = f.unit(&two).await;
    fails(unit.roles().delete(&clerk).await, StoreErrorKind::Conflict);
    let own = defined(&f, &two, "clerk", &[]).await;
    assert_eq!(own.name, clerk.name, "the name is free in every tenant");
    let mut unit = f.unit(&one).await;
    let found = unit.roles().find(&clerk.name).await.unwrap();
    assert_eq!(found, Some(clerk));
    assert_eq!(unit.roles().grants_of(user.id).await.unwrap().len(), 2);
}

async fn a_grant_cannot_refer_to_another_tenant(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    defined(&f, &one, "clerk", &[]).await;
    let theirs = f.user(&one, "ana@acme.example").await;
    let ours = f.user(&two, "bob@acme.example").await;
    let good = new_grant(&f, &two, &ours, Role::Viewer).await;
    let to_theirs = RoleGrant {
        user: theirs.id,
        ..good.clone()
    };
    let of_theirs = RoleGrant {
        role: custom("clerk"),
        ..good.clone()
    };
    let by_theirs = RoleGrant {
        granted_by: Some(theirs.id),
        ..good
    };
    for foreign in [to_theirs, of_theirs, by_theirs] {
        fails(write(&f, &two, &foreign).await, StoreErrorKind::NotFound);
    }
}

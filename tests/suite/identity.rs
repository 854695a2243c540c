//! Users and roles through the services, on both backends.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::Connection;
use tenantry::domain::access::Permission;
use tenantry::domain::analytics::EventType;
use tenantry::domain::audit::AuditAction;
use tenantry::domain::context::Origin;
use tenantry::domain::identity::{
    IdentityError, NewUser, Role, RoleName, User, UserPatch, UserStatus,
};
use tenantry::domain::ids::UserId;
use tenantry::domain::page::PageRequest;
use tenantry::domain::tenancy::NewTenant;
use tenantry::domain::text::{Email, Name, Subject};
use tenantry::store::{AuditFilter, EventFilter};
use tenantry::{Context, Error, ErrorKind, PlatformContext, Tenantry};
use tokio::sync::Barrier;

use crate::backend::{Backed, each_backend, noon};

/// A tenant with one user per built-in role.
struct House {
    tenantry: Tenantry,
    system: Context,
    owner: Context,
    admin: Context,
    editor: Context,
    viewer: Context,
}

impl House {
    async fn build(backed: &Backed) -> Self {
        let tenantry = Tenantry::new(Arc::clone(&backed.store));
        let new = NewTenant::named("house").unwrap();
        let operator = PlatformContext::system();
        let tenant = tenantry.tenants().create(&operator, new).await.unwrap();
        let system = Context::system(tenant.id);
        let mut contexts = Vec::new();
        for role in [Role::Owner, Role::Admin, Role::Editor, Role::Viewer] {
            let user = create(&tenantry, &system, role.as_str(), std::slice::from_ref(&role)).await;
            contexts.push(Context::user(system.tenant(), user.id));
        }
        let [owner, admin, editor, viewer] = contexts.try_into().unwrap();
        Self {
            tenantry,
            system,
            owner,
            admin,
            editor,
            viewer,
        }
    }

    async fn get(&self, ctx: &Context) -> User {
        let user = self.tenantry.users().get(&self.system, id(ctx)).await;
        user.unwrap()
    }
}

fn id(ctx: &Context) -> UserId {
    ctx.actor().user().unwrap()
}

fn new_user(name: &str, roles: &[Role]) -> NewUser {
    let mut new = NewUser::new(Email::new(&format!("{name}@house.example")).unwrap());
    new.roles = roles.to_vec();
    new
}

async fn create(tenantry: &Tenantry, ctx: &Context, name: &str, roles: &[Role]) -> User {
    let user = tenantry.users().create(ctx, &new_user(name, roles)).await;
    user.unwrap()
}

fn custom(text: &str) -> Role {
    Role::Custom(RoleName::new(text).unwrap())
}

#[track_caller]
fn forbidden<T: std::fmt::Debug>(result: Result<T, Error>, missing: Permission) {
    match result {
        Err(Error::Denied(denied)) => assert_eq!(denied.permission, missing),
        other => panic!("expected {missing} to be missing, got {other:?}"),
    }
}

#[track_caller]
fn fails<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind) {
    match result {
        Err(error) if error.kind() == kind => {}
        other => panic!("expected {kind:?}, got {other:?}"),
    }
}

#[track_caller]
fn breaks<T: std::fmt::Debug>(result: Result<T, Error>, rule: &IdentityError) {
    match result {
        Err(Error::Identity(broken)) => assert_eq!(&broken, rule),
        other => panic!("expected {rule:?}, got {other:?}"),
    }
}

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

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_person_is_nowhere_to_be_found() {
    for backed in each_backend().await {
        let house = House::build(&backed).await;
        let (users, tenant) = (house.tenantry.users(), house.system.tenant());
        let mut new = new_user("Penelope", &[Role::Editor, Role::Viewer]);
        new.full_name = Some(Name::new("Penelope Cruz").unwrap());
        new.subject = Some(Subject::new("idp|penelope").unwrap());
        let person = users.create(&house.owner, &new).await.unwrap();
        let origin = Origin {
            ip: Some("192.0.2.66".parse().unwrap()),
            user_agent: Some("Penelope's browser".to_owned()),
            session: Some("session-66".to_owned()),
            request: None,
        };
        let herself = Context::user(tenant, person.id).with_origin(&origin);
        let patch = UserPatch {
            full_name: Some(Some(Name::new("Penelope C.").unwrap())),
            ..UserPatch::default()
        };
        users.change(&herself, person.id, 1, &patch).await.unwrap();
        users.record_login(&herself, person.id).await.unwrap();

        let erased = users.erase(&house.owner, person.id).await.unwrap();
        assert_eq!(erased.status, UserStatus::Erased);
        let mut unit = backed.store.begin(&house.system).await.unwrap();
        let everything = PageRequest::first(PageRequest::MAX);
        let filter = AuditFilter::default();
        let trail = unit.audit().page(&filter, &everything).await.unwrap().items;
        let listed = users.list(&house.owner, None, &everything).await.unwrap();
        let filter = EventFilter::default();
        let events = unit.events().page(&filter, &everything).await.unwrap();
        assert_eq!(events.items[0].user(), Some(person.id), "the login stays");
        let text = serde_json::to_string(&(&trail, &listed, &events)).unwrap();
        for trace in ["enelope", "192.0.2.66", "session-66"] {
            assert!(!text.contains(trace), "{}: {trace} in {text}", backed.name);
        }
        let erasure = &trail[0];
        assert_eq!(erasure.resource_id, Some(person.id.as_uuid()));
        assert_eq!(erasure.new_values["status"], "erased");
        assert_eq!(erasure.actor, *house.owner.actor());
        let revoked = trail.iter().filter(|e| e.action == AuditAction::Delete);
        assert_eq!(revoked.count(), 2, "her roles went, and the trail says so");
        assert!(trail.iter().any(|e| e.actor == *herself.actor()));

        let roles = house.tenantry.roles();
        fails(users.get(&herself, person.id).await, ErrorKind::Forbidden);
        breaks(
            roles.grant(&house.owner, person.id, &Role::Viewer).await,
            &IdentityError::Erased,
        );
        breaks(
            users.change(&house.owner, person.id, 3, &patch).await,
            &IdentityError::Erased,
        );
        fails(
            users.erase(&house.owner, person.id).await,
            ErrorKind::Invalid,
        );
        users.create(&house.owner, &new).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_kept_for_an_active_user_only() {
    for backed in each_backend().await {
        let house = House::build(&backed).await;
        let users = house.tenantry.users();
        let (viewer, editor) = (id(&house.viewer), id(&house.editor));
        let origin = Origin {
            ip: Some("192.0.2.1".parse().unwrap()),
            user_agent: Some("browser".to_owned()),
            session: Some("session".to_owned()),
            request: None,
        };
        let ctx = house.viewer.clone().with_origin(&origin);
        let user = users.record_login(&ctx, viewer).await.unwrap();
        assert_eq!(user.last_login_at, Some(noon()));
        assert_eq!(house.get(&house.viewer).await, user);
        forbidden(
            users.record_login(&house.viewer, editor).await,
            Permission::UsersManage,
        );
        users.deactivate(&house.owner, viewer).await.unwrap();
        let away = IdentityError::NotActive {
            status: UserStatus::Deactivated,
        };
        breaks(users.record_login(&house.system, viewer).await, &away);
        fails(
            users.record_login(&house.viewer, viewer).await,
            ErrorKind::Forbidden,
        );
        let ghost = UserId::from_uuid(house.system.tenant().as_uuid());
        fails(
            users.record_login(&house.system, ghost).await,
            ErrorKind::NotFound,
        );
        let all = (EventFilter::default(), PageRequest::default());
        let analytics = house.tenantry.analytics();
        let events = analytics.list(&house.owner, &all.0, &all.1).await.unwrap();
        let [login] = &events.items[..] else {
            panic!("{}: {events:?}", backed.name);
        };
        assert_eq!(*login.event_type(), EventType::USER_LOGIN);
        assert_eq!(login.user(), Some(viewer));
        assert_eq!(login.occurred_at(), noon());
        assert_eq!(*login.origin(), origin);
    }
}

/// Statements of a tenant's unit, at the database's own prompt.
async fn as_tenant(backed: &Backed, ctx: &Context, sql: &str) -> Result<(), sqlx::Error> {
    let fresh = backed.database.as_ref().unwrap();
    let mut connection = fresh.store.pool().acquire().await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    let settings = format!(
        "SET LOCAL ROLE tenantry_tenant; SET LOCAL tenantry.tenant_id = '{}'; {sql}",
        ctx.tenant()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(settings))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_covers_their_tracks_at_the_database_s_prompt() {
    let [_, backed] = each_backend().await;
    let house = House::build(&backed).await;
    let owner = id(&house.owner);
    for (sql, code) in [
        (
            format!("SELECT tenantry.forget_in_audit('{owner}')"),
            "23514",
        ),
        (
            "UPDATE tenantry.audit_logs SET user_agent = NULL".into(),
            "42501",
        ),
        ("DELETE FROM tenantry.audit_logs".into(), "42501"),
        ("DELETE FROM tenantry.users".into(), "42501"),
        (format!("UPDATE tenantry.users SET id = '{owner}'"), "42501"),
        (
            "UPDATE tenantry.user_roles SET role = 'owner'".into(),
            "42501",
        ),
    ] {
        let error = as_tenant(&backed, &house.system, &sql).await.unwrap_err();
        let found = error.as_database_error().unwrap().code().unwrap();
        assert_eq!(found, code, "{sql}: {error}");
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

//! Users: what is unique, what a login changes, and what an erasure leaves.

use chrono::TimeDelta;
use futures_util::join;
use serde_json::{Value, json};

use super::fixture::{Fixture, all, fails};
use crate::domain::audit::{AuditAction, AuditEntry, ERASED};
use crate::domain::context::{Context, Origin};
use crate::domain::identity::{NewUser, User, UserStatus};
use crate::domain::json::Document;
use crate::domain::page::{Cursor, PageRequest};
use crate::domain::text::{Email, Name, Subject};
use crate::store::{AuditFilter, StoreError, StoreErrorKind};

super::list_cases! { "users":
    a_user_is_read_back_as_it_was_written,
    those_that_exist_are_told_from_those_that_do_not,
    an_id_an_address_and_a_subject_are_taken_once,
    a_freed_address_can_be_taken_again,
    a_user_of_a_tenant_that_does_not_exist_is_refused,
    an_update_names_the_revision_it_has_read,
    of_two_updates_of_one_user_one_wins,
    users_are_listed_page_by_page,
    a_cursor_of_another_list_is_refused,
    a_login_never_goes_back,
    a_login_changes_neither_the_revision_nor_the_trail,
    two_logins_at_once_are_both_kept,
    only_an_active_user_logs_in,
    every_change_is_in_the_trail,
    an_erased_user_keeps_nothing_but_the_id,
    the_trail_forgets_an_erased_user,
    the_trail_forgets_nobody_else,
    another_tenant_s_user_is_not_there,
    two_tenants_may_have_the_same_person,
}

/// A user with every field filled.
async fn full(f: &Fixture, ctx: &Context, name: &str) -> User {
    let mut unit = f.unit(ctx).await;
    let mut new = NewUser::new(email(&format!("{name}@Acme.example")));
    new.subject = Some(Subject::new(&format!("idp|{name}")).unwrap());
    new.full_name = Some(Name::new("Ana Ñ. Ruiz").unwrap());
    new.preferences =
        Document::new("preferences", json!({"theme": "dark", "token": "hunter2"})).unwrap();
    let user = User::create(unit.ids().fresh(), new, unit.now());
    unit.users().insert(&user).await.unwrap();
    unit.commit().await.unwrap();
    user
}

async fn those_that_exist_are_told_from_those_that_do_not(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let (ana, foreign) = (full(&f, &one, "ana").await, full(&f, &two, "bea").await);
    let mut unit = f.unit(&one).await;
    let unknown = unit.ids().fresh();
    let found = unit
        .users()
        .existing(&[foreign.id, ana.id, unknown, ana.id])
        .await
        .unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [ana.id]);
    assert!(unit.users().existing(&[]).await.unwrap().is_empty());
}

fn email(text: &str) -> Email {
    Email::new(text).unwrap()
}

async fn insert(f: &Fixture, ctx: &Context, user: &User) -> Result<(), StoreError> {
    let mut unit = f.unit(ctx).await;
    unit.users().insert(user).await?;
    unit.commit().await
}

async fn update(f: &Fixture, ctx: &Context, user: &User) -> Result<User, StoreError> {
    let mut unit = f.unit(ctx).await;
    let user = unit.users().update(user).await?;
    unit.commit().await?;
    Ok(user)
}

async fn erase(f: &Fixture, ctx: &Context, user: &User) -> User {
    let mut user = user.clone();
    user.erase(f.unit(ctx).await.now()).unwrap();
    update(f, ctx, &user).await.unwrap()
}

async fn get(f: &Fixture, ctx: &Context, user: &User) -> Option<User> {
    f.unit(ctx).await.users().get(user.id).await.unwrap()
}

async fn trail(f: &Fixture, ctx: &Context, kind: &str) -> Vec<AuditEntry> {
    let filter = AuditFilter {
        resource_type: Some(kind.to_owned()),
        ..AuditFilter::default()
    };
    let mut unit = f.unit(ctx).await;
    unit.audit().page(&filter, &all()).await.unwrap().items
}

async fn a_user_is_read_back_as_it_was_written(f: Fixture) {
    let ctx = f.tenant("t").await;
    let user = full(&f, &ctx, "ana").await;
    let bare = f.user(&ctx, "bob@acme.example").await;
    let mut unit = f.unit(&ctx).await;
    let users = unit.users();
    assert_eq!(users.get(user.id).await.unwrap().as_ref(), Some(&user));
    assert_eq!(users.get(bare.id).await.unwrap(), Some(bare));
    let found = users.find_by_email(&email("ANA@acme.EXAMPLE")).await;
    assert_eq!(found.unwrap().as_ref(), Some(&user));
    for (text, expected) in [("idp|ana", Some(user)), ("IDP|ana", None)] {
        let subject = Subject::new(text).unwrap();
        let found = users.find_by_subject(&subject).await.unwrap();
        assert_eq!(found, expected, "{text}");
    }
}

async fn an_id_an_address_and_a_subject_are_taken_once(f: Fixture) {
    let ctx = f.tenant("t").await;
    let user = full(&f, &ctx, "ana").await;
    let other = full(&f, &ctx, "bob").await;
    let fresh = || User {
        subject: None,
        email: email("new@acme.example"),
        ..user.clone()
    };
    let same_email = User {
        id: f.platform().await.ids().fresh(),
        email: email("aNA@acme.example"),
        ..fresh()
    };
    let same_subject = User {
        id: f.platform().await.ids().fresh(),
        subject: user.subject.clone(),
        ..fresh()
    };
    for taken in [fresh(), same_email, same_subject] {
        fails(
            insert(&f, &ctx, &taken).await,
            StoreErrorKind::AlreadyExists,
        );
    }
    let greedy = User {
        email: email("ANA@ACME.example"),
        ..other.clone()
    };
    fails(
        update(&f, &ctx, &greedy).await,
        StoreErrorKind::AlreadyExists,
    );
    let greedy = User {
        subject: user.subject.clone(),
        ..other.clone()
    };
    fails(
        update(&f, &ctx, &greedy).await,
        StoreErrorKind::AlreadyExists,
    );
    assert_eq!(get(&f, &ctx, &other).await, Some(other));
}

async fn a_freed_address_can_be_taken_again(f: Fixture) {
    let ctx = f.tenant("t").await;
    let user = full(&f, &ctx, "ana").await;
    let moved = User {
        email: email("moved@acme.example"),
        subject: None,
        ..user.clone()
    };
    update(&f, &ctx, &moved).await.unwrap();
    let heir = full(&f, &ctx, "ana").await;
    let mut unit = f.unit(&ctx).await;
    let found = unit.users().find_by_email(&user.email).await.unwrap();
    assert_eq!(found.as_ref(), Some(&heir));
    let found = unit.users().find_by_email(&moved.email).await.unwrap();
    assert_eq!(found.map(|user| user.id), Some(user.id));
    let subject = user.subject.unwrap();
    let found = unit.users().find_by_subject(&subject).await.unwrap();
    assert_eq!(found, Some(heir));
}

async fn a_user_of_a_tenant_that_does_not_exist_is_refused(f: Fixture) {
    let ctx = f.tenant("t").await;
    let user = f.user(&ctx, "ana@acme.example").await;
    let nowhere = Context::system(f.platform().await.ids().fresh());
    fails(insert(&f, &nowhere, &user).await, StoreErrorKind::NotFound);
}

async fn an_update_names_the_revision_it_has_read(f: Fixture) {
    let ctx = f.tenant("t").await;
    let user = full(&f, &ctx, "ana").await;
    let mut wish = User {
        full_name: None,
        created_at: user.created_at + TimeDelta::days(1),
        ..user.clone()
    };
    wish.deactivate(user.updated_at + TimeDelta::days(1))
        .unwrap();
    let stored = update(&f, &ctx, &wish).await.unwrap();
    let expected = User {
        created_at: user.created_at,
        revision: 2,
        ..wish.clone()
    };
    assert_eq!(stored, expected);
    fails(update(&f, &ctx, &wish).await, StoreErrorKind::Conflict);
    let ghost = User {
        id: f.platform().await.ids().fresh(),
        email: email("ghost@acme.example"),
        subject: None,
        ..stored
    };
    fails(update(&f, &ctx, &ghost).await, StoreErrorKind::Conflict);
}

async fn of_two_updates_of_one_user_one_wins(f: Fixture) {
    let ctx = f.tenant("t").await;
    let user = full(&f, &ctx, "ana").await;
    let (mut a, mut b) = (f.unit(&ctx).await, f.unit(&ctx).await);
    a.users().update(&user).await.unwrap();
    // The second writer may wait for the first, so both go on at the same time.
    let second = async {
        b.users().update(&user).await?;
        b.commit().await
    };
    let (first, second) = join!(a.commit(), second);
    first.unwrap();
    fails(second, StoreErrorKind::Conflict);
}

async fn users_are_listed_page_by_page(f: Fixture) {
    let ctx = f.tenant("t").await;
    for number in 0..5 {
        f.user(&ctx, &format!("user{number}@acme.example")).await;
    }
    let mut unit = f.unit(&ctx).await;
    let whole = unit.users().page(None, &all()).await.unwrap();
    assert_eq!((whole.items.len(), whole.next.clone()), (5, None));
    assert!(whole.items.is_sorted_by_key(|user| user.id));
    let mut away = whole.items[1].clone();
    away.deactivate(unit.now()).unwrap();
    let away = unit.users().update(&away).await.unwrap();
    let status = Some(UserStatus::Deactivated);
    let deactivated = unit.users().page(status, &all()).await.unwrap();
    assert_eq!(deactivated.items, [away]);
    let (mut ids, mut request) = (Vec::new(), PageRequest::first(2));
    loop {
        let page = unit.users().page(None, &request).await.unwrap();
        ids.extend(page.items.iter().map(|user| user.id));
        let Some(next) = page.next else { break };
        request = PageRequest::first(2).after(next);
    }
    let expected: Vec<_> = whole.items.iter().map(|user| user.id).collect();
    assert_eq!(ids, expected);
}

async fn a_cursor_of_another_list_is_refused(f: Fixture) {
    let ctx = f.tenant("t").await;
    let foreign = PageRequest::first(1).after(Cursor::after(&"a name"));
    let mut unit = f.unit(&ctx).await;
    let page = unit.users().page(None, &foreign).await;
    fails(page, StoreErrorKind::Invalid);
}

async fn a_login_never_goes_back(f: Fixture) {
    let ctx = f.tenant("t").await;
    let user = full(&f, &ctx, "ana").await;
    let at = |hours| Fixture::start() + TimeDelta::hours(hours);
    for (hours, last) in [(2, 2), (1, 2), (3, 3)] {
        let mut unit = f.unit(&ctx).await;
        let kept = unit.users().record_login(user.id, at(hours)).await.unwrap();
        assert_eq!(kept, at(last));
        unit.commit().await.unwrap();
        let stored = get(&f, &ctx, &user).await.unwrap();
        assert_eq!(stored.last_login_at, Some(at(last)));
    }
    let renamed = User {
        full_name: None,
        last_login_at: None,
        ..user
    };
    let stored = update(&f, &ctx, &renamed).await.unwrap();
    assert_eq!(
        stored.last_login_at,
        Some(at(3)),
        "an update leaves it alone"
    );
}

async fn a_login_changes_neither_the_revision_nor_the_trail(f: Fixture) {
    let ctx = f.tenant("t").await;
    let user = full(&f, &ctx, "ana").await;
    let mut unit = f.unit(&ctx).await;
    let now = unit.now();
    unit.users().record_login(user.id, now).await.unwrap();
    unit.commit().await.unwrap();
    let expected = User {
        last_login_at: Some(now),
        ..user.clone()
    };
    assert_eq!(get(&f, &ctx, &user).await, Some(expected));
    assert_eq!(trail(&f, &ctx, "users").await.len(), 1);
}

async fn two_logins_at_once_are_both_kept(f: Fixture) {
    let ctx = f.tenant("t").await;
    let user = full(&f, &ctx, "ana").await;
    let (now, later) = (Fixture::start(), Fixture::start() + TimeDelta::hours(1));
    let (mut a, mut b) = (f.unit(&ctx).await, f.unit(&ctx).await);
    a.users().record_login(user.id, later).await.unwrap();
    let second = async {
        b.users().record_login(user.id, now).await?;
        b.commit().await
    };
    let (first, second) = join!(a.commit(), second);
    first.unwrap();
    second.unwrap();
    let stored = get(&f, &ctx, &user).await.unwrap();
    assert_eq!(stored.last_login_at, Some(later));
}

async fn only_an_active_user_logs_in(f: Fixture) {
    let ctx = f.tenant("t").await;
    let mut user = full(&f, &ctx, "ana").await;
    user.deactivate(Fixture::start()).unwrap();
    update(&f, &ctx, &user).await.unwrap();
    let ghost = f.platform().await.ids().fresh();
    for id in [user.id, ghost] {
        let mut unit = f.unit(&ctx).await;
        let login = unit.users().record_login(id, Fixture::start()).await;
        fails(login, StoreErrorKind::NotFound);
        fails(unit.commit().await, StoreErrorKind::Spent);
    }
}

async fn every_change_is_in_the_trail(f: Fixture) {
    let ctx = f.tenant("t").await;
    let user = full(&f, &ctx, "ana").await;
    let mut changed = User {
        email: email("ruiz@acme.example"),
        full_name: None,
        ..user.clone()
    };
    changed.deactivate(Fixture::start()).unwrap();
    update(&f, &ctx, &changed).await.unwrap();
    let entries = trail(&f, &ctx, "users").await;
    assert_eq!(entries.len(), 2);
    let (update, insert) = (&entries[0], &entries[1]);
    assert_eq!(insert.action, AuditAction::Insert);
    assert_eq!(insert.resource_id, Some(user.id.as_uuid()));
    let hidden = crate::domain::audit::secret_hash(&json!("hunter2"));
    assert_eq!(
        Value::from(insert.new_values.clone()),
        json!({
            "id": user.id, "subject": "idp|ana", "email": "ana@Acme.example",
            "email_key": "ana@acme.example", "full_name": "Ana Ñ. Ruiz",
            "preferences": {"theme": "dark", "token": hidden}, "status": "active",
            "last_login_at": null, "created_at": "2026-11-15T12:00:00+00:00",
        })
    );
    assert_eq!(update.action, AuditAction::Update);
    assert_eq!(
        Value::from(update.old_values.clone()),
        json!({
            "email": "ana@Acme.example", "email_key": "ana@acme.example",
            "full_name": "Ana Ñ. Ruiz", "status": "active",
        })
    );
    assert_eq!(
        Value::from(update.new_values.clone()),
        json!({
            "email": "ruiz@acme.example", "email_key": "ruiz@acme.example", "full_name": null,
            "status": "deactivated",
        })
    );
}

async fn an_erased_user_keeps_nothing_but_the_id(f: Fixture) {
    let ctx = f.tenant("t").await;
    let user = full(&f, &ctx, "ana").await;
    let mut unit = f.unit(&ctx).await;
    let now = unit.now();
    unit.users().record_login(user.id, now).await.unwrap();
    unit.commit().await.unwrap();
    let erased = erase(&f, &ctx, &user).await;
    let bare = User {
        status: UserStatus::Erased,
        revision: 2,
        ..User::create(user.id, NewUser::new(Email::erased(user.id)), now)
    };
    assert_eq!(erased, bare);
    let other = full(&f, &ctx, "ana").await;
    assert_ne!(other.id, user.id, "the address is free again");
}

async fn the_trail_forgets_an_erased_user(f: Fixture) {
    let ctx = f.tenant("t").await;
    let user = full(&f, &ctx, "ana").await;
    let other = full(&f, &ctx, "bob").await;
    let origin = Origin {
        ip: Some("192.0.2.7".parse().unwrap()),
        user_agent: Some("browser".to_owned()),
        session: Some("session".to_owned()),
        request: Some("request".to_owned()),
    };
    let herself = Context::user(ctx.tenant(), user.id).with_origin(&origin);
    let admin = Context::user(ctx.tenant(), other.id).with_origin(&origin);
    let renamed = User {
        full_name: Some(Name::new("Bob").unwrap()),
        ..other.clone()
    };
    update(&f, &herself, &renamed).await.unwrap();

    let mut unit = f.unit(&admin).await;
    let mut gone = user.clone();
    gone.erase(unit.now()).unwrap();
    unit.users().update(&gone).await.unwrap();
    assert_eq!(unit.audit().forget(user.id).await.unwrap(), 3);
    unit.commit().await.unwrap();

    let entries = trail(&f, &ctx, "users").await;
    assert_eq!(entries.len(), 4);
    let (erasure, by_her, of_bob, of_her) = (&entries[0], &entries[1], &entries[2], &entries[3]);
    let personal = |status: &str| {
        json!({
            "subject": ERASED, "email": ERASED, "email_key": ERASED, "full_name": ERASED,
            "preferences": ERASED, "status": status,
        })
    };
    assert_eq!(Value::from(erasure.old_values.clone()), personal("active"));
    let mut left = personal("erased");
    left["subject"] = Value::Null;
    left["full_name"] = Value::Null;
    assert_eq!(Value::from(erasure.new_values.clone()), left);
    assert_eq!(erasure.origin, origin, "where the admin was stays");
    let mut inserted = personal("active");
    inserted["id"] = json!(user.id);
    inserted["last_login_at"] = Value::Null;
    inserted["created_at"] = json!("2026-11-15T12:00:00+00:00");
    assert_eq!(Value::from(of_her.new_values.clone()), inserted);
    let nowhere = Origin {
        request: Some("request".to_owned()),
        ..Origin::default()
    };
    assert_eq!(by_her.origin, nowhere);
    assert_eq!(by_her.actor.user(), Some(user.id));
    assert_eq!(by_her.new_values["full_name"], "Bob", "bob's name stays");
    assert_eq!(of_bob.new_values["email"], "bob@Acme.example");
}

async fn the_trail_forgets_nobody_else(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let user = full(&f, &one, "ana").await;
    let gone = full(&f, &two, "bob").await;
    erase(&f, &two, &gone).await;
    let ghost = f.platform().await.ids().fresh();
    for (ctx, id) in [
        (&one, user.id),
        (&one, gone.id),
        (&two, user.id),
        (&one, ghost),
        (&Context::system(f.platform().await.ids().fresh()), ghost),
    ] {
        let mut unit = f.unit(ctx).await;
        fails(unit.audit().forget(id).await, StoreErrorKind::Invalid);
        fails(unit.commit().await, StoreErrorKind::Spent);
    }
    let kept = trail(&f, &one, "users").await;
    assert_eq!(kept[0].new_values["email"], "ana@Acme.example");
}

async fn another_tenant_s_user_is_not_there(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let user = full(&f, &one, "ana").await;
    let mut unit = f.unit(&two).await;
    let users = unit.users();
    assert_eq!(users.get(user.id).await.unwrap(), None);
    assert_eq!(users.find_by_email(&user.email).await.unwrap(), None);
    let subject = user.subject.clone().unwrap();
    assert_eq!(users.find_by_subject(&subject).await.unwrap(), None);
    assert!(users.page(None, &all()).await.unwrap().items.is_empty());
    fails(update(&f, &two, &user).await, StoreErrorKind::Conflict);
    let mut unit = f.unit(&two).await;
    let login = unit.users().record_login(user.id, Fixture::start()).await;
    fails(login, StoreErrorKind::NotFound);
    assert!(trail(&f, &two, "users").await.is_empty());
    assert_eq!(get(&f, &one, &user).await, Some(user));
}

async fn two_tenants_may_have_the_same_person(f: Fixture) {
    let (one, two) = f.two_tenants().await;
    let user = full(&f, &one, "ana").await;
    insert(&f, &two, &user).await.unwrap();
    erase(&f, &two, &user).await;
    let mut unit = f.unit(&two).await;
    assert_eq!(unit.audit().forget(user.id).await.unwrap(), 2);
    unit.commit().await.unwrap();
    assert_eq!(get(&f, &one, &user).await.as_ref(), Some(&user));
    let kept = trail(&f, &one, "users").await;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].new_values["full_name"], "Ana Ñ. Ruiz");
}

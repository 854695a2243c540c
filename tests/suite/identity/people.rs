//! Logins are kept, and erased people are forgotten.

use tenantry::domain::access::Permission;
use tenantry::domain::analytics::EventType;
use tenantry::domain::audit::AuditAction;
use tenantry::domain::context::Origin;
use tenantry::domain::identity::{IdentityError, Role, UserPatch, UserStatus};
use tenantry::domain::ids::UserId;
use tenantry::domain::page::PageRequest;
use tenantry::domain::text::{Name, Subject};
use tenantry::store::{AuditFilter, EventFilter};
use tenantry::{Context, ErrorKind};

use super::{House, as_tenant, breaks, fails, forbidden, id, new_user};
use crate::backend::{each_backend, noon};

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

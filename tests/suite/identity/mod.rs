//! Users and roles through the services, on both backends.

mod access;
mod owners;
mod people;

use std::sync::Arc;

use sqlx::Connection;
use tenantry::domain::access::Permission;
use tenantry::domain::identity::{IdentityError, NewUser, Role, RoleName, User};
use tenantry::domain::ids::UserId;
use tenantry::domain::tenancy::NewTenant;
use tenantry::domain::text::Email;
use tenantry::{Context, Error, ErrorKind, PlatformContext, Tenantry};

use crate::backend::Backed;

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
            let user = create(
                &tenantry,
                &system,
                role.as_str(),
                std::slice::from_ref(&role),
            )
            .await;
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

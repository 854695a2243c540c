//! Holes in the isolation of tenants, looked for in the catalogue.

use std::collections::BTreeSet;

use sqlx::{PgPool, Row};

use crate::backend::SCHEMA;

const LINT: &str = include_str!("lint.sql");
const BROKEN: &str = include_str!("broken.sql");

/// What is sold is for everybody to read.
const SOLD: &str = "what is sold, and at which price, is the same for every tenant";

/// Findings that are meant, and why.
const MEANT: [(&str, &str, &str); 12] = [
    (
        "a policy lets every row through",
        "audit_logs.write_by_trigger",
        "the trigger's function writes for whichever tenant's row was changed; only its owner has this policy",
    ),
    (
        "it refers to a tenant table and has no tenant",
        "tenant_domains.tenant_domains_owner_fkey",
        "domains are unique across tenants; no tenant may read the table",
    ),
    (
        "it refers to a tenant table and has no tenant",
        "stripe_objects.stripe_objects_owner_fkey",
        "Stripe's ids are unique across tenants; no tenant may read the table",
    ),
    (
        "a tenant can reach a table without policies",
        "months",
        "which months there are is the same for every tenant",
    ),
    (
        "a tenant can reach a table without policies",
        "schema_migrations",
        "which migrations are applied is the same for every tenant",
    ),
    (
        "a policy lets every row through",
        "platform_audit_logs.write_by_trigger",
        "the trigger's function writes for the operator; only its owner has this policy",
    ),
    (
        "a tenant can reach a table without policies",
        "plan_charges",
        SOLD,
    ),
    (
        "a tenant can reach a table without policies",
        "plan_versions",
        SOLD,
    ),
    ("a tenant can reach a table without policies", "plans", SOLD),
    (
        "a tenant can reach a table without policies",
        "price_book",
        SOLD,
    ),
    (
        "an exclusion constraint tells of other rows",
        "price_overrides.price_overrides_one_at_a_time",
        "its key begins with the tenant, and no tenant may write the table",
    ),
    (
        "an index is of no use under row-level security",
        "price_overrides.price_overrides_one_at_a_time",
        "it is there to exclude; reads go by the primary key",
    ),
];

async fn findings(pool: &PgPool, schema: &str) -> Vec<(String, String)> {
    let rows = sqlx::query(LINT)
        .bind(schema)
        .fetch_all(pool)
        .await
        .unwrap();
    rows.iter()
        .map(|row| (row.get("hole"), row.get("place")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_has_no_hole() {
    let database = SCHEMA.database().await;
    let found = findings(&database.pool().await, "tenantry").await;
    let meant: BTreeSet<_> = MEANT
        .iter()
        .map(|(hole, place, _)| (*hole, *place))
        .collect();
    let found: BTreeSet<_> = found
        .iter()
        .map(|(h, p)| (h.as_str(), p.as_str()))
        .collect();
    let holes: Vec<_> = found.difference(&meant).collect();
    assert!(holes.is_empty(), "{holes:#?}");
    let stale: Vec<_> = meant.difference(&found).collect();
    assert!(
        stale.is_empty(),
        "no longer there, so no longer to be excused: {stale:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_fires_on_a_broken_schema() {
    let database = SCHEMA.database().await;
    let pool = database.pool().await;
    sqlx::raw_sql(BROKEN).execute(&pool).await.unwrap();
    let fired: BTreeSet<_> = findings(&pool, "broken")
        .await
        .into_iter()
        .map(|(hole, _)| hole)
        .collect();
    let rules: BTreeSet<String> = LINT
        .lines()
        .filter_map(|line| line.strip_prefix("SELECT '"))
        .filter_map(|line| {
            line.rsplit_once("',")
                .or_else(|| line.rsplit_once("' AS hole"))
        })
        .map(|(rule, _)| rule.replace("''", "'"))
        .collect();
    assert_eq!(rules.len(), LINT.matches("UNION ALL").count() + 1);
    let silent: Vec<_> = rules.difference(&fired).collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

//! The attacks find what is wrong, on schemas that were broken on purpose.

use super::{World, attack};

/// What was broken, and where and how it shows.
const BROKEN: [(&str, &str, &str); 13] = [
    (
        "DROP POLICY tenant_isolation ON tenantry.users;
        CREATE POLICY open ON tenantry.users TO tenantry_tenant USING (true) WITH CHECK (true)",
        "users",
        "SELECT 1 FROM tenantry.users WHERE tenant_id = ",
    ),
    (
        "ALTER TABLE tenantry.workflows DISABLE ROW LEVEL SECURITY",
        "workflows",
        "DELETE FROM tenantry.workflows WHERE tenant_id = ",
    ),
    (
        "DROP POLICY tenant_isolation ON tenantry.meters;
        CREATE POLICY reads ON tenantry.meters TO tenantry_tenant
            USING (tenant_id = tenantry.tenant_id()) WITH CHECK (true)",
        "meters",
        "INSERT INTO tenantry.meters",
    ),
    (
        "CREATE POLICY more ON tenantry.usage_records FOR SELECT TO tenantry_tenant
            USING (coalesce(tenantry.tenant_id() IS NULL, true))",
        "usage_records",
        "Unset: SELECT 1 FROM tenantry.usage_records",
    ),
    (
        "GRANT SELECT ON tenantry.tenant_domains TO tenantry_tenant",
        "tenant_domains",
        "SELECT 1 FROM tenantry.tenant_domains: Done(2)",
    ),
    (
        "GRANT SELECT ON tenantry.usage_records_y2026m11 TO tenantry_tenant",
        "usage_records_y2026m11",
        "SELECT 1 FROM tenantry.usage_records_y2026m11",
    ),
    (
        "GRANT SELECT ON ALL SEQUENCES IN SCHEMA tenantry TO tenantry_tenant",
        "outbox_position_seq",
        "SELECT last_value FROM",
    ),
    (
        "GRANT UPDATE (tenant_id) ON tenantry.meters TO tenantry_tenant;
        ALTER TABLE tenantry.meters DISABLE ROW LEVEL SECURITY",
        "meters",
        "UPDATE tenantry.meters SET tenant_id = '",
    ),
    (
        "ALTER TABLE tenantry.workflows ADD UNIQUE (id);
        ALTER TABLE tenantry.executions DROP CONSTRAINT executions_tenant_id_workflow_id_fkey;
        ALTER TABLE tenantry.executions ADD FOREIGN KEY (workflow_id)
            REFERENCES tenantry.workflows (id)",
        "executions",
        "of something that never was: Refused { code: \"23503\"",
    ),
    (
        "ALTER TABLE tenantry.roles ADD CONSTRAINT everywhere UNIQUE (name)",
        "roles",
        "Refused { code: \"23505\"",
    ),
    (
        "CREATE FUNCTION tenantry.how_many() RETURNS bigint LANGUAGE sql SECURITY DEFINER
        RETURN (SELECT count(*) FROM tenantry.users)",
        "how_many",
        "nobody reviewed it",
    ),
    (
        "CREATE VIEW tenantry.everybody AS SELECT * FROM tenantry.users;
        GRANT SELECT ON tenantry.everybody TO tenantry_tenant",
        "everybody",
        "SELECT 1 FROM tenantry.everybody",
    ),
    (
        "CREATE TABLE tenantry.things (tenant_id uuid NOT NULL, id uuid, PRIMARY KEY (tenant_id, id))",
        "things",
        "fill it in tests/suite/isolation/probe/seed.rs",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_breakage_is_found() {
    let world = World::new().await;
    let mut connection = world.connection().await;
    for (breakage, place, how) in BROKEN {
        let (found, _) = attack(&world, &mut connection, breakage, Some(place)).await;
        let shown = found
            .iter()
            .any(|finding| finding.starts_with(&format!("{place}: ")) && finding.contains(how));
        assert!(
            shown,
            "{breakage}\nis not found as `{place} … {how}`: {found:#?}"
        );
    }
}

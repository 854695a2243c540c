-- Tenants. A tenant's own unit sees its own row and may change what describes it; plan, status,
-- limits and domain are the operator's.
CREATE TABLE tenantry.tenants (
    id uuid PRIMARY KEY,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 255),
    domain text CHECK (char_length(domain) BETWEEN 1 AND 253),
    plan_type text NOT NULL DEFAULT 'starter' CHECK (char_length(plan_type) BETWEEN 1 AND 100),
    status text NOT NULL CHECK (status IN ('active', 'suspended', 'closed')),
    settings jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object'),
    limits jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(limits) = 'object'),
    time_zone text NOT NULL,
    locale text NOT NULL,
    currency text NOT NULL CHECK (char_length(currency) = 3),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL CHECK (revision > 0)
);
ALTER TABLE tenantry.tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenantry.tenants TO tenantry_tenant
    USING (id = tenantry.tenant_id()) WITH CHECK (id = tenantry.tenant_id());
CREATE POLICY platform ON tenantry.tenants TO tenantry_platform USING (true) WITH CHECK (true);
GRANT SELECT, UPDATE (name, settings, time_zone, locale, currency, updated_at, revision)
    ON tenantry.tenants TO tenantry_tenant;
GRANT SELECT, INSERT, UPDATE ON tenantry.tenants TO tenantry_platform;

-- Domains are unique across tenants, so they are claimed in a table that no tenant can read:
-- a key on the tenants' own table would tell one tenant of another's domain.
CREATE TABLE tenantry.tenant_domains (
    domain text PRIMARY KEY,
    owner uuid NOT NULL REFERENCES tenantry.tenants (id)
);
CREATE INDEX tenant_domains_owner ON tenantry.tenant_domains (owner);
GRANT SELECT, INSERT, DELETE ON tenantry.tenant_domains TO tenantry_platform;

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON tenantry.tenants
    FOR EACH ROW EXECUTE FUNCTION tenantry.audit_row('id');

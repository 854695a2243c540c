-- The registry of sources, and workflows with every version of their definitions.

-- Where workflows and executions come from: an n8n instance's ids are unique only within it.
CREATE TABLE tenantry.n8n_sources (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (id),
    id uuid NOT NULL,
    -- COLLATE "C": lists have the same order in every database and in memory.
    name text COLLATE "C" NOT NULL CHECK (char_length(name) BETWEEN 1 AND 255),
    secret_hash text CHECK (secret_hash ~ '^[0-9a-f]{64}$'),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL CHECK (revision > 0),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT n8n_sources_name UNIQUE (tenant_id, name)
);
ALTER TABLE tenantry.n8n_sources ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.n8n_sources FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenantry.n8n_sources TO tenantry_tenant
    USING (tenant_id = tenantry.tenant_id()) WITH CHECK (tenant_id = tenantry.tenant_id());
GRANT SELECT, INSERT, UPDATE (name, secret_hash, updated_at, revision)
    ON tenantry.n8n_sources TO tenantry_tenant;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON tenantry.n8n_sources
    FOR EACH ROW EXECUTE FUNCTION tenantry.audit_row('tenant_id', 'secret_hash');

-- Narrow: the definition is in workflow_versions, under (id, version), and here only its hash. So
-- lists read little, and the audit trail shows that a definition changed without a copy of it.
CREATE TABLE tenantry.workflows (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (id),
    id uuid NOT NULL,
    source_id uuid,
    n8n_id text COLLATE "C" CHECK (char_length(n8n_id) BETWEEN 1 AND 255),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 255),
    -- The name in lower case, as the library writes it: what is searched, and the order of lists.
    -- lower(name) would follow the database's locale, and could not use an index here.
    name_key text COLLATE "C" NOT NULL,
    description text CHECK (char_length(description) <= 10000),
    settings jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object'),
    -- Searched among the tenant's own rows: an index for it would have to be GIN, whose operators
    -- are not leakproof and so are not used under row-level security. Of 10,000 workflows of one
    -- tenant the first page takes 0.7 ms, and a search that reads them all 35 ms, on two cores that
    -- were busy with other work. A table (tenant_id, tag, workflow_id) was faster for tags that
    -- hardly any workflow has, not for the others, and would be one more write for every change.
    tags text[] NOT NULL DEFAULT '{}',
    active boolean NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    definition_sha256 text NOT NULL CHECK (definition_sha256 ~ '^[0-9a-f]{64}$'),
    created_by uuid,
    archived_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL CHECK (revision > 0),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT workflows_external UNIQUE (tenant_id, source_id, n8n_id),
    CONSTRAINT workflows_source FOREIGN KEY (tenant_id, source_id)
        REFERENCES tenantry.n8n_sources (tenant_id, id),
    CONSTRAINT workflows_created_by FOREIGN KEY (tenant_id, created_by)
        REFERENCES tenantry.users (tenant_id, id),
    CONSTRAINT workflows_source_and_id CHECK ((source_id IS NULL) = (n8n_id IS NULL)),
    CONSTRAINT workflows_archived_inactive CHECK (archived_at IS NULL OR NOT active)
);
CREATE INDEX workflows_by_name ON tenantry.workflows (tenant_id, name_key, id);
ALTER TABLE tenantry.workflows ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.workflows FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenantry.workflows TO tenantry_tenant
    USING (tenant_id = tenantry.tenant_id()) WITH CHECK (tenant_id = tenantry.tenant_id());
GRANT SELECT, INSERT, DELETE, UPDATE (name, name_key, description, settings, tags, active, version,
    definition_sha256, archived_at, updated_at, revision) ON tenantry.workflows TO tenantry_tenant;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON tenantry.workflows
    FOR EACH ROW EXECUTE FUNCTION tenantry.audit_row('tenant_id');

-- Every version of every definition, the newest included. Never changed: no role may update. They
-- go only with their workflow.
CREATE TABLE tenantry.workflow_versions (
    tenant_id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    -- json keeps the text as it came, and \u0000, which jsonb refuses.
    definition json NOT NULL,
    definition_sha256 text NOT NULL CHECK (definition_sha256 ~ '^[0-9a-f]{64}$'),
    created_by uuid,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, workflow_id, version),
    CONSTRAINT workflow_versions_workflow FOREIGN KEY (tenant_id, workflow_id)
        REFERENCES tenantry.workflows (tenant_id, id),
    CONSTRAINT workflow_versions_created_by FOREIGN KEY (tenant_id, created_by)
        REFERENCES tenantry.users (tenant_id, id)
);
ALTER TABLE tenantry.workflow_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.workflow_versions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenantry.workflow_versions TO tenantry_tenant
    USING (tenant_id = tenantry.tenant_id()) WITH CHECK (tenant_id = tenantry.tenant_id());
GRANT SELECT, INSERT, DELETE ON tenantry.workflow_versions TO tenantry_tenant;

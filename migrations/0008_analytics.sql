-- Analytics events: a tenant's own, and those that belong to no tenant.
--
-- The id carries occurred_at, so the primary key serves every read by time. Events are appended
-- in batches: the key and the few events that name a user are all that is indexed.
CREATE TABLE tenantry.events (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (id),
    id uuid NOT NULL,
    user_id uuid,
    event_type text NOT NULL CHECK (char_length(event_type) BETWEEN 1 AND 100),
    event_data jsonb NOT NULL CHECK (jsonb_typeof(event_data) = 'object'),
    session_id text CHECK (char_length(session_id) <= 512),
    ip_address inet,
    user_agent text CHECK (char_length(user_agent) <= 512),
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT events_of_user FOREIGN KEY (tenant_id, user_id)
        REFERENCES tenantry.users (tenant_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX events_user ON tenantry.events (tenant_id, user_id, id) WHERE user_id IS NOT NULL;

ALTER TABLE tenantry.events ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenantry.events TO tenantry_tenant
    USING (tenant_id = tenantry.tenant_id()) WITH CHECK (tenant_id = tenantry.tenant_id());
-- What happened stays; what tells where a person was can be erased.
GRANT SELECT, INSERT, UPDATE (session_id, ip_address, user_agent)
    ON tenantry.events TO tenantry_tenant;

-- The user is the host's: there is no tenant whose user it could be.
CREATE TABLE tenantry.platform_events (
    id uuid PRIMARY KEY,
    user_id uuid,
    event_type text NOT NULL CHECK (char_length(event_type) BETWEEN 1 AND 100),
    event_data jsonb NOT NULL CHECK (jsonb_typeof(event_data) = 'object'),
    session_id text CHECK (char_length(session_id) <= 512),
    ip_address inet,
    user_agent text CHECK (char_length(user_agent) <= 512),
    occurred_at timestamptz NOT NULL
) PARTITION BY RANGE (id);
CREATE INDEX platform_events_user ON tenantry.platform_events (user_id, id)
    WHERE user_id IS NOT NULL;

ALTER TABLE tenantry.platform_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.platform_events FORCE ROW LEVEL SECURITY;
CREATE POLICY platform ON tenantry.platform_events TO tenantry_platform
    USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE (session_id, ip_address, user_agent)
    ON tenantry.platform_events TO tenantry_platform;

-- Limits: a counter per limit and window, and what is reserved of it.
--
-- Neither is audited: they are touched for every admission, and both follow from other rows.

CREATE TABLE tenantry.limit_counters (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (id),
    limit_name text COLLATE "C" NOT NULL CHECK (char_length(limit_name) BETWEEN 1 AND 50),
    -- The first instant of the window; that of 1970 for a limit on what there is at one time.
    window_start timestamptz NOT NULL,
    used bigint NOT NULL CHECK (used >= 0),
    reserved bigint NOT NULL CHECK (reserved >= 0),
    PRIMARY KEY (tenant_id, limit_name, window_start)
-- One hot row, changed again and again: room on its page keeps every change out of the index.
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

ALTER TABLE tenantry.limit_counters ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.limit_counters FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenantry.limit_counters TO tenantry_tenant
    USING (tenant_id = tenantry.tenant_id()) WITH CHECK (tenant_id = tenantry.tenant_id());
CREATE POLICY platform ON tenantry.limit_counters TO tenantry_platform
    USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE (used, reserved) ON tenantry.limit_counters TO tenantry_tenant;
GRANT SELECT, UPDATE (used, reserved) ON tenantry.limit_counters TO tenantry_platform;

-- No reference to the counter: it would lock the counter's row once more for every reservation. A
-- reservation is only ever written by the statement that has changed the counter.
CREATE TABLE tenantry.limit_reservations (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    limit_name text COLLATE "C" NOT NULL CHECK (char_length(limit_name) BETWEEN 1 AND 50),
    window_start timestamptz NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    expires_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('held', 'committed', 'released', 'expired')),
    PRIMARY KEY (tenant_id, id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
-- What a counter holds, the first to expire first.
CREATE INDEX limit_reservations_held
    ON tenantry.limit_reservations (tenant_id, limit_name, window_start, expires_at)
    WHERE state = 'held';
-- What the sweep takes next: the only statement that reads it works across tenants.
CREATE INDEX limit_reservations_due ON tenantry.limit_reservations (expires_at);

ALTER TABLE tenantry.limit_reservations ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.limit_reservations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenantry.limit_reservations TO tenantry_tenant
    USING (tenant_id = tenantry.tenant_id()) WITH CHECK (tenant_id = tenantry.tenant_id());
CREATE POLICY platform ON tenantry.limit_reservations TO tenantry_platform
    USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE (state) ON tenantry.limit_reservations TO tenantry_tenant;
GRANT SELECT, UPDATE (state), DELETE ON tenantry.limit_reservations TO tenantry_platform;

-- The thresholds that were told: each once per window and bound, since another bound is crossed
-- anew.
CREATE TABLE tenantry.limit_thresholds (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (id),
    limit_name text COLLATE "C" NOT NULL CHECK (char_length(limit_name) BETWEEN 1 AND 50),
    window_start timestamptz NOT NULL,
    percent smallint NOT NULL CHECK (percent BETWEEN 1 AND 100),
    bound bigint NOT NULL CHECK (bound >= 0),
    used bigint NOT NULL CHECK (used >= 0),
    crossed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, limit_name, window_start, percent, bound)
);
ALTER TABLE tenantry.limit_thresholds ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.limit_thresholds FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenantry.limit_thresholds TO tenantry_tenant
    USING (tenant_id = tenantry.tenant_id()) WITH CHECK (tenant_id = tenantry.tenant_id());
GRANT SELECT, INSERT ON tenantry.limit_thresholds TO tenantry_tenant;

-- Workflows in use are counted, under the tenant's lock, before one is added.
CREATE INDEX workflows_kept ON tenantry.workflows (tenant_id) WHERE archived_at IS NULL;
CREATE INDEX users_active ON tenantry.users (tenant_id) WHERE status = 'active';
